/** How the jobs stand: one question to the scheduler for all of them, then the jobs' own records. */

import type { JobId, JobStatus, WaitingOn } from '../domain/job.js'
import { judge, type Verdict } from '../domain/verdict.js'
import { InputError, isAbort } from '../errors.js'
import { parseExitRecord, parseStartRecord } from '../job/job-script.js'
import { pathsOf } from '../job/workspace.js'
import type { AttemptRow } from '../ports/journal.js'
import { isAway, messageOf, withSignal } from './deps.js'
import { Finisher } from './finish.js'
import { Launcher } from './launch.js'
import { readPending, refOf, type Pending, type RunState } from './run-state.js'

/** How often the record of a job that is said to run is looked for: a scheduler may never notice an end. */
const LOOK_AT_RUNNING_MS = 300_000

export class Follower {
  /** Jobs whose submit is not known to have worked are not asked for before. */
  private unsureUntilMs = 0
  /** Label → when the record of its running job was last looked for. */
  private readonly lookedMs = new Map<string, number>()

  constructor(
    private readonly state: RunState,
    private readonly launcher: Launcher,
    private readonly finisher: Finisher,
  ) {}

  reloadOpen(): void {
    this.state.open.clear()
    for (const row of this.state.deps.journal.openAttempts(this.state.names))
      this.state.open.set(row.label, row)
  }

  /** Some submits are not known to have worked, and the scheduler cannot tell now: what changes at it says nothing of them. */
  isUnsure(): boolean {
    return this.state.deps.clock.now() < this.unsureUntilMs
  }

  /** Ask the scheduler once for all jobs, and act on what it says. */
  async follow(): Promise<void> {
    const { clock, settings, backend, journal } = this.state.deps
    this.state.nextFollowMs = clock.now() + settings.timing.pollMs
    // Another command may have asked for a cancel, so the journal is read anew; what is in our hands stays.
    for (const row of journal.openAttempts(this.state.names))
      if (!this.state.busy.has(row.label)) this.state.open.set(row.label, row)
    const rows = [...this.state.open.values()].filter(
      (row) => !this.state.busy.has(row.label) && !this.launcher.isQueued(row.label) && this.isOurs(row),
    )
    for (const row of rows) if (row.stage === 'staging') this.state.drop(row, 'staging was interrupted')
    await this.resolveUnsure(rows.filter((row) => row.stage === 'submitting'))
    for (const row of rows) {
      if (row.stage !== 'collecting' || !this.state.steps.upload) continue
      if (this.state.hurt.has(row.label) && this.state.options.until !== 'forever') continue
      const pending = readPending(row)
      if (pending !== undefined && pending.notBeforeMs <= clock.now()) this.finisher.conclude(row, pending)
    }
    if (!this.state.steps.update) return
    const submitted = [...this.state.open.values()].filter(
      (row) => row.stage === 'submitted' && !this.state.busy.has(row.label) && this.isOurs(row),
    )
    if (submitted.length === 0) return
    const ids = submitted.flatMap(({ jobId }) => (jobId === undefined ? [] : [jobId]))
    const statuses =
      ids.length === 0 ? new Map<JobId, JobStatus>() : await backend.query(ids, withSignal(this.state.signal))
    await this.judgeAll(submitted, this.withoutStrangers(submitted, statuses))
    this.state.cameBack()
  }

  /**
   * A scheduler that loses its state gives ids out a second time, and numbers begin anew. A job of another name is another
   * job, whatever its id: ours is unknown to the scheduler then.
   */
  private withoutStrangers(
    rows: readonly AttemptRow[],
    statuses: ReadonlyMap<JobId, JobStatus>,
  ): ReadonlyMap<JobId, JobStatus> {
    const ours = new Map(statuses)
    for (const { jobId, name, label } of rows) {
      const told = jobId === undefined ? undefined : statuses.get(jobId)?.name
      // Schedulers cut names, or tell that of the array: those say nothing.
      if (jobId === undefined || told === undefined || told === name || !JOB_NAME.test(told)) continue
      ours.delete(jobId)
      this.state.deps.logger.log('warn', `job ${jobId} is another job by now (${told}); ours was ${name}`, {
        label,
      })
    }
    return ours
  }

  /** A job that another scheduler has (the site was moved while it ran) is not asked for here: silence would look like loss. */
  private isOurs(row: AttemptRow): boolean {
    const { backend } = this.state.deps
    const jobElsewhere = row.stage === 'submitting' || row.stage === 'submitted'
    if (!jobElsewhere || row.backend === undefined || row.backend === backend.name) return true
    if (!this.state.hurt.has(row.label)) {
      this.state.hurt.add(row.label)
      this.state.problem(
        `task ${row.label}`,
        new InputError(
          `its job ${row.jobId ?? row.name} was given to ${row.backend}, and the site uses ${backend.name} now; run it with the old settings once more, or \`cancel\` it there`,
        ),
      )
    }
    return false
  }

  /** A submit whose answer was lost: ask by name before anything else. */
  private async resolveUnsure(rows: readonly AttemptRow[]): Promise<void> {
    const { logger } = this.state.deps
    if (rows.length === 0 || this.isUnsure()) return
    const found = await this.find(rows)
    if (found === undefined) return
    for (const row of rows) {
      const id = found.get(row.name)
      if (id === undefined && !(await this.launcher.hasBegun(row))) {
        logger.log('info', `the scheduler does not know ${row.name}: it is submitted again`, {
          label: row.label,
        })
        this.state.drop(row, 'the submit did not reach the scheduler')
      } else {
        await this.launcher.accepted(row, id, refOf(row), undefined)
      }
    }
  }

  /** `undefined`: the scheduler cannot tell now. That must not keep the other jobs from being followed. */
  private async find(rows: readonly AttemptRow[]): Promise<ReadonlyMap<string, JobId> | undefined> {
    const { backend, logger, clock, settings } = this.state.deps
    try {
      return await backend.find(
        rows.map(({ name }) => name),
        withSignal(this.state.signal),
      )
    } catch (error) {
      if (!isAway(error)) throw error
      this.unsureUntilMs = clock.now() + settings.timing.outageMs
      logger.log(
        'warn',
        `whether ${rows.length === 1 ? 'a job' : `${rows.length} jobs`} reached the scheduler cannot be told now; waiting, nothing is submitted again: ${messageOf(error)}`,
        { code: error.code },
      )
      return undefined
    }
  }

  /** Whose own record is looked at: jobs that are not live any more, and from time to time those that are said to run. */
  private toLookAt(row: AttemptRow, status: JobStatus | undefined): boolean {
    const phase = status?.phase
    if (phase === undefined || phase === 'finished' || phase === 'unknown') return true
    if (phase === 'queued' || phase === 'held') return false
    const nowMs = this.state.deps.clock.now()
    const lookedMs = this.lookedMs.get(row.label)
    if (lookedMs !== undefined && nowMs - lookedMs < LOOK_AT_RUNNING_MS) return false
    this.lookedMs.set(row.label, nowMs)
    // When it is first seen to run there cannot be an old record.
    return lookedMs !== undefined
  }

  private async judgeAll(
    rows: readonly AttemptRow[],
    statuses: ReadonlyMap<JobId, JobStatus>,
  ): Promise<void> {
    const { transport, clock, settings } = this.state.deps
    const statusOf = (row: AttemptRow): JobStatus | undefined =>
      row.jobId === undefined ? undefined : statuses.get(row.jobId)
    const ended = rows.filter((row) => this.toLookAt(row, statusOf(row)))
    const texts = await transport.files.readMany(
      ended.flatMap(({ workspace }) => [pathsOf(workspace).exit, pathsOf(workspace).started]),
      withSignal(this.state.signal),
    )
    const nowMs = clock.now()
    const live: Promise<void>[] = []
    for (const row of rows) {
      const status = statusOf(row)
      const paths = pathsOf(row.workspace)
      const exit = parseExitRecord(texts.get(paths.exit) ?? '')
      const start = parseStartRecord(texts.get(paths.started) ?? '')
      const missingSinceMs = status === undefined ? (row.missingSinceMs ?? nowMs) : undefined
      const verdict = judge({
        status,
        exit: exit?.name === row.name ? exit : undefined,
        start: start?.name === row.name ? start : undefined,
        missingForMs: missingSinceMs === undefined ? undefined : nowMs - missingSinceMs,
        graceMs: settings.timing.graceMs,
        cancelAsked: row.cancelAsked,
        nowMs,
      })
      if (verdict.kind === 'queued' || verdict.kind === 'running' || verdict.kind === 'unclear') {
        const { missingSinceMs: _before, ...seen } = row
        const next = missingSinceMs === undefined ? seen : { ...row, missingSinceMs }
        if (row.missingSinceMs !== missingSinceMs) this.state.save(next)
        if (verdict.kind !== 'unclear') {
          live.push(
            this.state
              .writes(() => this.noteLive(next, status, verdict))
              .catch((error: unknown) => {
                if (isAbort(error) || isAway(error)) throw error
                this.state.problem(`task ${row.label}`, error)
              }),
          )
        }
        continue
      }
      this.lookedMs.delete(row.label)
      const usage = status?.usage
      const peakMemoryBytes = larger(usage?.peakMemoryBytes, exit?.peakMemoryBytes)
      const startedAtMs = status?.startedAtMs ?? (exit === undefined ? undefined : exit.startedAt * 1000)
      const endedAtMs = status?.endedAtMs ?? (exit === undefined ? undefined : exit.endedAt * 1000)
      const elapsedSeconds =
        usage?.elapsedSeconds ??
        (startedAtMs === undefined || endedAtMs === undefined ? undefined : (endedAtMs - startedAtMs) / 1000)
      const cpuSeconds = usage?.cpuSeconds ?? exit?.cpuSeconds
      const node = exit?.host ?? status?.nodes?.[0]
      const exitCode = exit?.exitCode ?? status?.exitCode
      const pending: Pending = {
        verdict,
        uploadFailures: 0,
        notBeforeMs: 0,
        job: {
          ...(peakMemoryBytes !== undefined && { peakMemoryBytes }),
          ...(startedAtMs !== undefined && { startedAtMs }),
          ...(endedAtMs !== undefined && { endedAtMs }),
          ...(elapsedSeconds !== undefined && { elapsedSeconds }),
          ...(cpuSeconds !== undefined && { cpuSeconds }),
          ...(node !== undefined && { node }),
          ...((status?.restarts ?? 0) > 0 && { restarts: status?.restarts ?? 0 }),
          ...(exitCode !== undefined && { exitCode }),
        },
      }
      // The verdict is kept: a scheduler forgets its jobs, and sending may take days when the archive is away.
      const collecting = { ...row, stage: 'collecting' as const, result: JSON.stringify(pending) }
      this.state.save(collecting)
      if (this.state.steps.upload) this.finisher.conclude(collecting, pending)
    }
    await Promise.all(live)
  }

  private async noteLive(
    row: AttemptRow,
    status: JobStatus | undefined,
    verdict: Extract<Verdict, { kind: 'queued' | 'running' }>,
  ): Promise<void> {
    const { logger } = this.state.deps
    const ref = refOf(row)
    if (verdict.kind === 'queued' && verdict.neverRuns) {
      logger.log('warn', `job ${row.jobId ?? row.name} will never run as it was asked for: ${verdict.note}`, {
        label: row.label,
      })
    }
    const node = status?.nodes?.[0]
    // Thousands of jobs wait for their turn, and say so in changing words; only what a person can do something about is kept.
    const stuck =
      verdict.kind === 'queued' &&
      (verdict.neverRuns || !TURN.has(status?.waitingOn ?? (status?.phase === 'held' ? 'other' : 'priority')))
    await this.launcher.writeState(
      row,
      ref,
      verdict.kind,
      verdict.kind === 'running'
        ? 'running'
        : verdict.neverRuns
          ? `will never run as it was asked for: ${verdict.note}`
          : `waits in the queue: ${verdict.note}`,
      undefined,
      {
        ...(status?.startedAtMs !== undefined && { startedAtMs: status.startedAtMs }),
        ...(node !== undefined && { node }),
        ...((status?.restarts ?? 0) > 0 && { restarts: status?.restarts ?? 0 }),
      },
      { renew: stuck },
    )
  }
}

/** A whole name as the engine gives it to a job. */
const JOB_NAME = /^ow-[0-9a-f]{16}-\d+$/

/** What a job waits on when it only has to wait for its turn. */
const TURN: ReadonlySet<WaitingOn> = new Set(['resources', 'priority', 'array-throttle'])

/** A scheduler samples and misses short peaks; a job's own record misses what ran outside of its processes. */
function larger(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return Math.max(one, other)
}
