/** What the parts of one run share: the attempts that are open, what is being done right now, and who is away. */

import pLimit, { type LimitFunction } from 'p-limit'
import type { ArchiveRef } from '../domain/archive.js'
import type { JobRecord, TaskState } from '../domain/task.js'
import type { Processor } from '../domain/processor.js'
import type { Verdict } from '../domain/verdict.js'
import { isAbort, PipelineError } from '../errors.js'
import type { AttemptRow } from '../ports/journal.js'
import { isAway, messageOf, withSignal, type EngineDeps } from './deps.js'
import { ALL_STEPS, type EngineEvent, type EngineProject, type PassSteps, type RunOptions } from './engine.js'
import type { Decision } from './plan.js'
import { Records } from './records.js'
import { Reminders } from './reminders.js'

/** Archive writes at once beside the transfers. */
export const WRITES = 8
/** Result of attempts that never reached the scheduler: their number is used again. */
export const DROPPED = 'dropped: '
/** Result of attempts whose results lie in the workspace and could not be stored. */
export const UPLOAD_FAILED = 'failed: upload'

/** What `collecting` rows keep in the journal: how the job ended, and how often sending has failed. */
export interface Pending {
  readonly verdict: Extract<Verdict, { kind: 'succeeded' | 'failed' | 'cancelled' }>
  readonly job: Partial<JobRecord>
  readonly uploadFailures: number
  readonly notBeforeMs: number
}

export class RunState {
  readonly steps: PassSteps

  readonly transfers: LimitFunction

  readonly writes: LimitFunction

  readonly projects: readonly EngineProject[]

  readonly names: readonly string[]

  readonly records: Records
  readonly reminders: Reminders

  /** Attempts that are not closed, by task label: a mirror of the journal. */
  readonly open = new Map<string, AttemptRow>()

  /** What this process is doing right now, by task label. */
  readonly busy = new Map<string, Promise<void>>()

  readonly writing = new Set<Promise<void>>()

  /** Subjects to look at again because a result came in; the empty word stands for the project itself. */
  readonly touched = new Map<string, Set<string>>()

  nextFollowMs = 0

  /** Nothing is asked of the archive or the cluster before. */
  awayUntilMs = 0

  private awayDelayMs: number

  readonly totals = { submitted: 0, completed: 0, failedAttempts: 0, failedTasks: 0 }

  wasAway = false

  isAwayNow(): boolean {
    return this.deps.clock.now() < this.awayUntilMs
  }

  /** Run a step; when something is away, remember until when and go on without it. */
  async attempt(step: () => Promise<void>): Promise<boolean> {
    if (this.isAwayNow()) return false
    try {
      await step()
      return true
    } catch (error) {
      if (!isAway(error)) throw error
      this.goneAway(error)
      return false
    }
  }

  goneAway(error: PipelineError): void {
    const { clock, logger, notifier, settings } = this.deps
    this.wasAway = true
    if (!this.isAwayNow()) {
      this.awayUntilMs = clock.now() + this.awayDelayMs
      this.awayDelayMs = Math.min(this.awayDelayMs * 2, settings.timing.outageMs * 10)
      const what = error.code === 'STORE_UNAVAILABLE' ? 'archive' : 'cluster'
      logger.log('warn', `${what} away, work waits: ${error.message}`, { code: error.code })
      this.emit({ kind: 'away', what, message: error.message, untilMs: this.awayUntilMs })
      void this.tell(() =>
        notifier.notify({
          kind: `${what === 'archive' ? 'archive' : 'backend'}-away`,
          message: error.message,
        }),
      )
    }
  }

  cameBack(): void {
    this.awayDelayMs = this.deps.settings.timing.outageMs
  }

  quietly(error: unknown): void {
    if (!isAbort(error)) this.deps.logger.log('debug', `while waiting: ${messageOf(error)}`)
  }

  /** Something that hurts one task or one project must not stop the others: it is said, counted, and tried again later. */
  problem(what: string, error: unknown): void {
    const message = `${what}: ${messageOf(error)}`
    this.deps.logger.log('error', message, error instanceof PipelineError ? { code: error.code } : {})
    if (this.problems.length < 100) this.problems.push(message)
  }

  readonly problems: string[] = []
  private toldOverwritten = false

  emit(event: EngineEvent): void {
    this.options.onEvent?.(event)
  }

  /** A notifier that fails is logged and otherwise ignored. */
  async tell(notify: () => Promise<void>): Promise<void> {
    try {
      await notify()
    } catch (error) {
      this.deps.logger.log('warn', `a notification could not be sent: ${messageOf(error)}`)
    }
  }

  /** A write of a decision, in the background. Never rejects; what fails keeps the project from being taken as looked at. */
  write(work: () => Promise<void>): void {
    const promise = this.writes(work)
      .catch((error: unknown) => {
        this.writeFailed = true
        if (isAbort(error)) return
        if (isAway(error)) this.goneAway(error)
        else this.problem('a task could not be written to the archive', error)
      })
      .finally(() => this.writing.delete(promise))
    this.writing.add(promise)
  }

  writeFailed = false

  announce(decision: Decision, to: TaskState, reason: string, attempt: number): void {
    const { task } = decision
    if (task === undefined) return
    this.emit({
      kind: 'task',
      label: task.label,
      ref: task.ref,
      processor: decision.processor,
      ...(decision.from !== undefined && { from: decision.from }),
      to,
      reason,
      attempt,
    })
  }

  /**
   * Tasks that something unexpected happened to in this run (the archive refuses a write, …). They are left for the next one:
   * trying at once gives the same answer, and waiting for it would keep a run from ever ending.
   */
  readonly hurt = new Set<string>()

  /** Run something for a task in the background; one thing at a time for each. Never rejects. */
  work(label: string, job: () => Promise<void>): void {
    const promise = job()
      .catch((error: unknown) => {
        if (isAbort(error) || this.signal.aborted) return
        if (isAway(error)) {
          this.goneAway(error)
          return
        }
        this.problem(`task ${label}`, error)
        this.hurt.add(label)
        const row = this.open.get(label)
        const laterMs = this.deps.clock.now() + this.deps.settings.timing.outageMs
        const pending = row === undefined ? undefined : readPending(row)
        if (row?.stage === 'staging') {
          // No reminder for this run; without a cursor the next look sees everything.
          this.deps.journal.putCursor(row.project, undefined)
          this.writeFailed = true
          this.close(row, `${DROPPED}${messageOf(error)}`)
        } else if (row?.stage === 'collecting' && pending !== undefined) {
          this.save({ ...row, result: JSON.stringify({ ...pending, notBeforeMs: laterMs }) })
        }
      })
      .finally(() => this.busy.delete(label))
    this.busy.set(label, promise)
  }

  /** The attempt never came to be; the task stays ready and is looked at again. */
  drop(row: AttemptRow, why: string, notBeforeMs = 0): void {
    const { logger } = this.deps
    logger.log('debug', `attempt ${row.name} dropped: ${why}`, { label: row.label })
    this.remind(row, notBeforeMs)
    this.close(row, `${DROPPED}${why}`)
  }

  /** Look at the task of this attempt again. Always before the attempt is closed: a crash in between must not forget it. */
  remind({ label, project, subject }: AttemptRow, notBeforeMs: number): void {
    this.reminders.put({ label, project, ...(subject !== undefined && { subject }), notBeforeMs })
  }

  processorOf(row: AttemptRow): Processor | undefined {
    const project = this.deps.settings.projects.find(({ id }) => id === row.project)
    return project?.processors.find(({ procType }) => procType === row.procType)
  }

  save(row: AttemptRow): void {
    this.deps.journal.putAttempt(row)
    this.open.set(row.label, row)
  }

  close(row: AttemptRow, result: string): void {
    this.deps.journal.putAttempt({ ...row, stage: 'closed', result, closedAtMs: this.deps.clock.now() })
    this.open.delete(row.label)
    this.records.forget(row.label)
  }

  touchRow(row: AttemptRow): void {
    this.touch(row.project, row.subject ?? '')
  }

  touch(project: string, subject: string): void {
    const subjects = this.touched.get(project)
    if (subjects === undefined) this.touched.set(project, new Set([subject]))
    else subjects.add(subject)
  }

  async removeWorkspace(row: AttemptRow): Promise<void> {
    const { transport, journal } = this.deps
    await transport.files.remove(row.workspace, withSignal(this.signal))
    journal.forgetWorkspace(row.label, row.attempt)
  }

  constructor(
    readonly deps: EngineDeps,
    readonly options: RunOptions,
    readonly signal: AbortSignal,
    partial: boolean,
  ) {
    this.reminders = new Reminders(deps.journal, partial)
    const { settings } = deps
    this.steps = options.steps ?? ALL_STEPS
    this.transfers = pLimit(settings.limits.transfers)
    this.writes = pLimit(WRITES)
    this.projects = settings.projects
    this.names = this.projects.map((project) => project.id)
    this.records = new Records(deps.store, deps.clock, (error) => {
      // Once is enough to act on; what was written is decided anew each time.
      if (!this.toldOverwritten) this.problem('two engines at work', error)
      this.toldOverwritten = true
    })
    this.awayDelayMs = settings.timing.outageMs
  }
}

/** The assessor of an attempt hangs on its session, subject or project. */
export function refOf(row: AttemptRow): ArchiveRef {
  return {
    project: row.project,
    ...(row.subject !== undefined && { subject: row.subject }),
    ...(row.session !== undefined && { session: row.session }),
    assessor: row.label,
  }
}

export function readPending(row: AttemptRow): Pending | undefined {
  return row.result === undefined ? undefined : (JSON.parse(row.result) as Pending)
}
