/** How an attempt begins: staged, journaled, handed to the scheduler, and never twice. */

import type { ArchiveRef } from '../domain/archive.js'
import type { JobId, JobSpec } from '../domain/job.js'
import type { FailureCause } from '../domain/cause.js'
import type { Processor } from '../domain/processor.js'
import type { Requirements } from '../domain/requirements.js'
import {
  attemptName,
  type JobRecord,
  type TaskIdentity,
  type TaskRecord,
  type TaskState,
} from '../domain/task.js'
import { isAbort } from '../errors.js'
import { parseExitRecord, parseStartRecord } from '../job/job-script.js'
import { pathsOf, workspacePaths } from '../job/workspace.js'
import type { AttemptRow } from '../ports/journal.js'
import { isAway, messageOf, withSignal } from './deps.js'
import type { EngineProject } from './engine.js'
import type { Finisher } from './finish.js'
import type { Decision } from './plan.js'
import { grownRequirements } from './retry.js'
import { DROPPED, UPLOAD_FAILED, type RunState } from './run-state.js'
import { stage, type Staged, type StageTask } from './stage.js'

/** Largest batch handed to the scheduler in one call. */
const SUBMIT_BATCH = 500
/** Wait after "not now" from the scheduler. */
const LATER_MS = 60_000
const UNDER_WAY: ReadonlySet<TaskState> = new Set<TaskState>(['queued', 'running', 'uploading'])

interface Waiting {
  readonly row: AttemptRow
  readonly staged: Staged
  readonly ref: ArchiveRef
}

export class Launcher {
  constructor(
    private readonly state: RunState,
    private readonly finisher: Finisher,
  ) {}

  submitQueue: Waiting[] = []

  private submitting: Promise<void> | undefined

  stagingCount = 0

  planning = false

  start(project: EngineProject, processor: Processor, decision: Decision): void {
    const { journal, clock, settings } = this.state.deps
    const { task } = decision
    if (task === undefined) return
    const { subject, session } = task.ref
    // The journal may remember more than the archive does: an assessor that was deleted starts again, its old jobs do not.
    const [last] = journal.attemptsOf(task.label)
    const spent = last === undefined || last.result?.startsWith(DROPPED) === true ? 0 : last.attempt
    const attempt = Math.max(decision.attempt ?? 1, spent + 1)
    const before = journal.getAttempt(task.label, attempt)
    const row: AttemptRow = {
      label: task.label,
      attempt,
      name: attemptName(task.label, attempt),
      project: project.id,
      ...(subject !== undefined && { subject }),
      ...(session !== undefined && { session }),
      procType: processor.procType,
      stage: 'staging',
      backend: this.state.deps.backend.name,
      workspace: workspacePaths(settings.workRoot, project.id, task.label, attempt).root,
      cancelAsked: false,
      createdAtMs: clock.now(),
    }
    this.state.save(row)
    this.state.reminders.remove([task.label])
    this.stagingCount += 1
    this.state.work(task.label, async () => {
      await this.state
        .transfers(() => this.stageAttempt(row, processor, decision, before, last))
        .finally(() => {
          this.stagingCount -= 1
        })
      await this.submitNow(false)
    })
  }

  private async stageAttempt(
    begun: AttemptRow,
    processor: Processor,
    decision: Decision,
    before: AttemptRow | undefined,
    last: AttemptRow | undefined,
  ): Promise<void> {
    const { backend, transport, settings } = this.state.deps
    const { task } = decision
    if (task === undefined) return
    this.state.signal.throwIfAborted()
    try {
      const record = await this.readied(begun, processor, decision)
      if (record === undefined) return
      const row = { ...begun, name: attemptName(begun.label, begun.attempt, record.createdAtMs) }
      this.state.save(row)
      if (last?.result === UPLOAD_FAILED && (await this.hasBegun(last))) {
        // The job did its work; only its results never reached the archive. They are sent again, it is not run again.
        this.state.close(row, `${DROPPED}the results of attempt ${last.attempt} are sent again`)
        const { result: _result, closedAtMs: _closedAtMs, ...again } = last
        this.state.save({ ...again, stage: 'submitted' })
        return
      }
      const paths = pathsOf(row.workspace)
      const unknown = before?.name !== row.name
      if (unknown && (await transport.files.exists(paths.root, withSignal(this.state.signal)))) {
        // The journal does not know this folder, so it was deleted or never written: a job may exist.
        const found = await backend.find([row.name], withSignal(this.state.signal))
        const id = found.get(row.name)
        if (id !== undefined || (await this.hasBegun(row))) {
          await this.accepted({ ...row, stage: 'submitting' }, id, task.ref, undefined)
          return
        }
      }
      const requirements = grownRequirements(processor.requirementsFor(task), record, settings.retry)
      await this.stageInputs(row, processor, task, requirements)
    } catch (error) {
      if (isAway(error)) this.state.drop(begun, messageOf(error))
      throw error
    }
  }

  /** The task's record in the archive, made if need be, in state `ready` or `failed`. Undefined: it is not ours to run. */
  private async readied(
    row: AttemptRow,
    processor: Processor,
    decision: Decision,
  ): Promise<TaskRecord | undefined> {
    const { task } = decision
    const { records, signal } = this.state
    const { node, record, created } = await records.ensure(
      decision,
      processor.params,
      'ready',
      decision.reason,
      signal,
    )
    const foreign =
      record === undefined || (!created && decision.from === undefined && record.state !== 'ready')
    if (foreign || task === undefined) {
      this.state.drop(row, `made elsewhere, and ${node.state ?? node.statusWord} by now`)
      return undefined
    }
    if (created) this.state.announce(decision, 'ready', decision.reason, 0)
    const rerun = decision.action === 'rerun'
    if (!rerun && (record.state === 'ready' || record.state === 'failed')) return record
    const fresh = (now: TaskRecord): TaskRecord =>
      withoutOutcome({ ...now, state: 'ready', reason: decision.reason, ...(rerun && { failures: {} }) })
    return records.write(task.ref, fresh, { signal, ...(rerun && { quality: '' }) })
  }

  private async stageInputs(
    row: AttemptRow,
    processor: Processor,
    task: TaskIdentity,
    requirements: Requirements,
  ): Promise<void> {
    const { store, transport, settings, clock } = this.state.deps
    const { containerRuntime } = settings
    const order: StageTask = {
      processor,
      task,
      attempt: row.attempt,
      name: row.name,
      requirements,
      paths: pathsOf(row.workspace),
      ...(containerRuntime !== undefined && { containerRuntime }),
    }
    let staged: Staged
    try {
      staged = await stage(store, transport.files, order, this.state.signal)
    } catch (error) {
      if (isAbort(error) || this.state.signal.aborted || isAway(error)) throw error
      const text = messageOf(error)
      const cause: FailureCause = {
        kind: 'staging',
        summary: `The inputs could not be staged: ${text}`,
        evidence: [{ source: 'engine', atMs: clock.now(), text }],
      }
      await this.finisher.fail(row, task.ref, cause, {})
      return
    }
    this.state.emit({ kind: 'staging', label: task.label, bytes: staged.bytes, files: staged.files })
    this.submitQueue.push({ row, staged, ref: task.ref })
  }

  /** Hand what is staged to the scheduler. With arrays, wait for a good batch unless `all`. */
  async submitNow(all: boolean): Promise<void> {
    const { backend } = this.state.deps
    while (this.submitting !== undefined) await this.submitting
    const gather = backend.capabilities.arrays && !all && (this.planning || this.stagingCount > 1)
    if (this.submitQueue.length === 0 || (gather && this.submitQueue.length < SUBMIT_BATCH)) return
    this.submitting = this.submitBatches().finally(() => {
      this.submitting = undefined
    })
    await this.submitting
  }

  private async submitBatches(): Promise<void> {
    const { backend, clock } = this.state.deps
    while (this.submitQueue.length > 0) {
      this.state.signal.throwIfAborted()
      const batch = this.submitQueue
        .splice(0, SUBMIT_BATCH)
        .map((item) => ({ ...item, row: { ...item.row, stage: 'submitting' as const } }))
      for (const { row } of batch) this.state.save(row)
      const specs: JobSpec[] = batch.map(({ staged }) => staged.spec)
      // An error here leaves the rows in `submitting`: the next look asks the scheduler for their names.
      const outcomes = await backend.submit(specs, withSignal(this.state.signal))
      await Promise.all(
        batch.map(async ({ row, staged, ref }, index) => {
          const outcome = outcomes[index]
          if (outcome === undefined) return
          switch (outcome.kind) {
            case 'accepted':
              return this.accepted(row, outcome.id, ref, staged)
            case 'refused':
              return this.finisher.fail(
                row,
                ref,
                {
                  kind: 'rejected',
                  summary: `The scheduler refused the job: ${outcome.error.message}`,
                  evidence: [{ source: 'queue', atMs: clock.now(), text: outcome.error.message }],
                },
                {},
              )
            case 'later':
              return this.state.drop(row, outcome.reason, clock.now() + LATER_MS)
          }
        }),
      )
    }
  }

  /** The scheduler has the job. Journal first, archive second: a crash in between costs nothing. */
  async accepted(
    row: AttemptRow,
    id: JobId | undefined,
    ref: ArchiveRef,
    staged: Staged | undefined,
  ): Promise<void> {
    const { clock } = this.state.deps
    const submitted: AttemptRow = {
      ...row,
      stage: 'submitted',
      ...(id !== undefined && { jobId: id }),
      submittedAtMs: row.submittedAtMs ?? clock.now(),
    }
    this.state.save(submitted)
    this.state.totals.submitted += 1
    await this.writeState(submitted, ref, 'queued', `submitted as job ${id ?? row.name}`, staged?.spec)
  }

  /** Bring the archive's record in line with a live attempt. */
  async writeState(
    row: AttemptRow,
    ref: ArchiveRef,
    state: 'queued' | 'running',
    reason: string,
    spec?: JobSpec,
    more: Partial<JobRecord> = {},
    { renew = false }: { readonly renew?: boolean } = {},
  ): Promise<void> {
    const { backend } = this.state.deps
    let from: TaskState | undefined
    let stopped = false
    const record = await this.state.records.write(
      ref,
      (now) => {
        if (now.state === 'cancelled') {
          stopped = true
          return undefined
        }
        const known = now.state === state && now.attempt === row.attempt && now.job?.name === row.name
        if (known && (!renew || now.reason === reason)) return undefined
        from = now.state
        const requirements = spec?.requirements
        const job: JobRecord = {
          ...(now.job?.name === row.name ? now.job : {}),
          name: row.name,
          ...(row.jobId !== undefined && { id: row.jobId }),
          backend: backend.name,
          workspace: row.workspace,
          ...(row.submittedAtMs !== undefined && { submittedAtMs: row.submittedAtMs }),
          ...(requirements !== undefined && {
            memoryBytes: requirements.memoryBytes,
            walltimeSeconds: requirements.walltimeSeconds,
            cpus: requirements.cpus,
          }),
          ...more,
        }
        // From `ready` or `failed` a job that already runs was queued for a moment nobody saw.
        return withoutOutcome({
          ...now,
          state: now.state === 'failed' ? 'ready' : state,
          reason,
          attempt: row.attempt,
          job,
        })
      },
      { signal: this.state.signal },
    )
    if (record?.state === 'ready') {
      await this.writeState(row, ref, state, reason, spec, more)
      return
    }
    if (record === undefined || stopped) {
      // Deleted or cancelled in the archive by a person while we were not looking.
      if (row.jobId !== undefined) await backend.cancel([row.jobId], withSignal(this.state.signal))
      if (record === undefined) this.state.remind(row, 0)
      this.state.close(row, record === undefined ? 'the assessor was deleted' : 'cancelled')
      return
    }
    if (from !== undefined && record.state === state) {
      this.state.emit({
        kind: 'task',
        label: row.label,
        ref,
        processor: row.procType,
        from,
        to: state,
        reason,
        attempt: row.attempt,
      })
    }
  }

  /** The archive says that an attempt is under way, and the journal does not know it (it was deleted). */
  async adopt(project: string, decision: Decision): Promise<void> {
    const { store, backend, settings, logger, clock, journal } = this.state.deps
    const { task } = decision
    if (task === undefined || this.state.busy.has(task.label)) return
    const askedMs = clock.now()
    const { record } = await store.readAssessor(task.ref, withSignal(this.state.signal))
    if (record === undefined || record.job === undefined) return
    // A snapshot is read over some time: what it shows under way may have ended since, by our own doing, and its workspace
    // is gone. Taken up once more it would seem to have written nothing.
    if (!UNDER_WAY.has(record.state) || this.state.open.has(task.label) || this.state.busy.has(task.label))
      return
    const known = journal.getAttempt(task.label, record.attempt)
    if (known?.stage === 'closed' && (known.closedAtMs ?? 0) >= askedMs) return
    const { job } = record
    if (
      job.backend !== backend.name ||
      !job.workspace.startsWith(`${settings.workRoot.replace(/\/+$/, '')}/`)
    ) {
      logger.log(
        'info',
        `task ${task.label} is under way elsewhere (${job.backend}, ${job.workspace}); left alone`,
      )
      return
    }
    const { subject, session } = task.ref
    const row: AttemptRow = {
      label: task.label,
      attempt: record.attempt,
      name: job.name,
      project,
      ...(subject !== undefined && { subject }),
      ...(session !== undefined && { session }),
      procType: decision.procType,
      stage: 'submitted',
      backend: job.backend,
      ...(job.id !== undefined && { jobId: job.id as JobId }),
      workspace: job.workspace,
      ...(job.submittedAtMs !== undefined && { submittedAtMs: job.submittedAtMs }),
      cancelAsked: false,
      createdAtMs: clock.now(),
    }
    this.state.save(row)
  }

  isQueued(label: string): boolean {
    return this.submitQueue.some(({ row }) => row.label === label)
  }

  /** Whether the job of this attempt has left a record of its own in the workspace. */
  async hasBegun(row: AttemptRow): Promise<boolean> {
    const { started, exit } = pathsOf(row.workspace)
    const texts = await this.state.deps.transport.files.readMany(
      [started, exit],
      withSignal(this.state.signal),
    )
    const records = [parseStartRecord(texts.get(started) ?? ''), parseExitRecord(texts.get(exit) ?? '')]
    return records.some((record) => record?.name === row.name)
  }
}

function withoutOutcome(record: TaskRecord): TaskRecord {
  const { cause: _cause, retryAtMs: _retryAtMs, ...rest } = record
  return rest
}
