/** How an attempt ends: results collected, verified and stored, or a cause with its evidence. */

import type { ArchiveRef } from '../domain/archive.js'
import type { FailureCause } from '../domain/cause.js'
import type { Processor } from '../domain/processor.js'
import { formatDuration } from '../domain/requirements.js'
import { type JobRecord, type TaskRecord, type TaskState } from '../domain/task.js'
import { InputError, isAbort, NotFoundError, PipelineError } from '../errors.js'
import { pathsOf } from '../job/workspace.js'
import type { AttemptRow } from '../ports/journal.js'
import { clearStale, collectLogs, findOutputs, uploadVerified } from './collect.js'
import { isAway, messageOf, withSignal } from './deps.js'
import { decideRetry, type RetryDecision } from './retry.js'
import { refOf, UPLOAD_FAILED, type Pending, type RunState } from './run-state.js'

/** Lines of a log kept as evidence. */
const LOG_TAIL_BYTES = 2_000

export class Finisher {
  constructor(private readonly state: RunState) {}

  conclude(row: AttemptRow, pending: Pending): void {
    this.state.work(row.label, () =>
      this.state.transfers(async () => {
        this.state.signal.throwIfAborted()
        const ref = refOf(row)
        const { verdict, job } = pending
        if (verdict.kind === 'succeeded') await this.collect(row, ref, pending)
        else if (verdict.kind === 'cancelled') await this.cancelled(row, ref, verdict.note, job)
        else await this.fail(row, ref, await this.withLogTail(row, verdict.cause), job)
      }),
    )
  }

  private async collect(row: AttemptRow, ref: ArchiveRef, pending: Pending): Promise<void> {
    const { store, transport, clock, settings, notifier } = this.state.deps
    const processor = this.state.processorOf(row)
    if (processor === undefined) {
      throw new InputError(
        `it has ended, and its processor ${row.procType} is not configured any more; its results wait in ${row.workspace}`,
      )
    }
    const paths = pathsOf(row.workspace)
    const found = await findOutputs(transport.files, processor, paths, clock.now(), this.state.signal)
    if (found.cause !== undefined) {
      await this.fail(row, ref, await this.withLogTail(row, found.cause), pending.job)
      return
    }
    const before = await this.move(
      row,
      ref,
      'uploading',
      'the job ended well; results are being sent',
      pending.job,
    )
    if (before === undefined) return
    try {
      await this.writeProvenance(row, processor, before)
      const resources = [...found.resources, await collectLogs(transport.files, paths, this.state.signal)]
      const outputs = await uploadVerified(store, transport.files, ref, resources, this.state.signal)
      for (const { resource, files } of outputs) {
        const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
        this.state.emit({ kind: 'uploaded', label: row.label, resource, bytes, files: files.length })
      }
      const labels = new Set(outputs.map(({ resource }) => resource))
      const stale = (before.outputs ?? [])
        .map(({ resource }) => resource)
        .filter((label) => !labels.has(label))
      await clearStale(store, ref, stale, this.state.signal)
      const done = await this.move(
        row,
        ref,
        'complete',
        'the archive holds every output, verified',
        pending.job,
        { outputs },
      )
      if (done === undefined) return
    } catch (error) {
      if (isAbort(error) || this.state.signal.aborted || isAway(error)) throw error
      await this.uploadFailed(row, ref, pending, error)
      return
    }
    this.state.totals.completed += 1
    this.state.close(row, 'complete')
    this.state.touchRow(row)
    void this.state.tell(() => notifier.notify({ kind: 'task-complete', label: row.label }))
    if (settings.keepComplete !== true) await this.state.removeWorkspace(row)
  }

  private async uploadFailed(
    row: AttemptRow,
    ref: ArchiveRef,
    pending: Pending,
    error: unknown,
  ): Promise<void> {
    const { clock, settings, logger } = this.state.deps
    const { times, delaySeconds } = settings.retry.causes.upload
    const uploadFailures = pending.uploadFailures + 1
    logger.log('warn', `results of ${row.label} could not be stored: ${messageOf(error)}`, {
      label: row.label,
      try: uploadFailures,
    })
    if (uploadFailures <= times && error instanceof PipelineError && error.retryable) {
      // The job is not run again for this: its results are still there.
      const notBeforeMs = clock.now() + delaySeconds * 1000 * 2 ** (uploadFailures - 1)
      this.state.save({ ...row, result: JSON.stringify({ ...pending, uploadFailures, notBeforeMs }) })
      this.state.remind(row, notBeforeMs)
      return
    }
    await this.fail(
      row,
      ref,
      {
        kind: 'upload',
        summary: `The results could not be stored: ${messageOf(error)}`,
        evidence: [
          {
            source: 'store',
            atMs: clock.now(),
            text: `${messageOf(error)} (after ${uploadFailures} tries; results are kept in ${row.workspace})`,
          },
        ],
      },
      pending.job,
    )
  }

  private async cancelled(
    row: AttemptRow,
    ref: ArchiveRef,
    note: string,
    job: Partial<JobRecord>,
  ): Promise<void> {
    await this.move(
      row,
      ref,
      'cancelled',
      row.cancelAsked ? 'cancelled' : `cancelled by someone else: ${note}`,
      job,
    )
    this.state.close(row, 'cancelled')
  }

  async fail(row: AttemptRow, ref: ArchiveRef, cause: FailureCause, job: Partial<JobRecord>): Promise<void> {
    const { settings, clock, notifier } = this.state.deps
    const record = await this.state.records.get(ref, this.state.signal)
    // Sending the results has been tried often enough by now, and running the job again would not help that.
    const retry: RetryDecision =
      cause.kind === 'upload'
        ? { again: false, reason: 'the results are kept; `retry` sends them again' }
        : decideRetry(cause, record?.failures ?? {}, settings.retry)
    const retryAtMs = retry.again ? clock.now() + retry.delaySeconds * 1000 : undefined
    await this.saveLogs(row, ref)
    const counted = retry.again ? retry.countsAs : cause.kind
    const failures = { ...record?.failures, [counted]: (record?.failures[counted] ?? 0) + 1 }
    const next = retry.again
      ? `${cause.summary} Next: ${retry.reason}${retry.delaySeconds > 0 ? `, in ${formatDuration(retry.delaySeconds)}` : ''}.`
      : cause.summary
    const written = await this.move(row, ref, 'failed', next, job, {
      cause,
      failures,
      ...(retryAtMs !== undefined && { retryAtMs }),
    })
    this.state.totals.failedAttempts += 1
    if (!retry.again) this.state.totals.failedTasks += 1
    if (retryAtMs !== undefined && written !== undefined) {
      this.state.remind(row, retryAtMs)
    }
    this.state.close(row, cause.kind === 'upload' ? UPLOAD_FAILED : `failed: ${cause.kind}`)
    void this.state.tell(() =>
      notifier.notify({ kind: 'task-failed', label: row.label, cause: cause.kind, final: !retry.again }),
    )
  }

  /** Write a state of this attempt. Undefined: the assessor is gone, and so is the attempt. */
  private async move(
    row: AttemptRow,
    ref: ArchiveRef,
    to: TaskState,
    reason: string,
    job: Partial<JobRecord>,
    more: Partial<TaskRecord> = {},
  ): Promise<TaskRecord | undefined> {
    let from: TaskState | undefined
    const write = async (): Promise<TaskRecord | undefined> =>
      this.state.records.write(
        ref,
        (now) => {
          from ??= now.state
          const known: JobRecord = {
            ...(now.job?.name === row.name
              ? now.job
              : { name: row.name, backend: this.state.deps.backend.name, workspace: row.workspace }),
            ...(row.jobId !== undefined && { id: row.jobId }),
            ...job,
          }
          const { retryAtMs: _retry, cause: _cause, ...rest } = now
          return {
            ...rest,
            state: stepTowards(now.state, to),
            reason,
            attempt: row.attempt,
            job: known,
            ...more,
          }
        },
        { signal: this.state.signal },
      )
    let record = await write()
    while (record !== undefined && record.state !== to) record = await write()
    if (record === undefined) {
      this.state.remind(row, 0)
      this.state.close(row, 'the assessor was deleted')
      return undefined
    }
    this.state.emit({
      kind: 'task',
      label: row.label,
      ref,
      processor: row.procType,
      ...(from !== undefined && { from }),
      to,
      reason,
      attempt: row.attempt,
      ...(more.cause !== undefined && { cause: more.cause }),
    })
    return record
  }

  private async withLogTail(row: AttemptRow, cause: FailureCause): Promise<FailureCause> {
    const { transport, clock } = this.state.deps
    const paths = pathsOf(row.workspace)
    for (const path of [paths.stderr, paths.stdout]) {
      try {
        const text = await transport.files.read(path, {
          ...withSignal(this.state.signal),
          maxBytes: LOG_TAIL_BYTES,
          tail: true,
        })
        const lines = text.trimEnd()
        if (lines === '') continue
        const last = lines.split('\n').slice(-10).join('\n')
        return { ...cause, evidence: [...cause.evidence, { source: 'log', atMs: clock.now(), text: last }] }
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error
      }
    }
    return cause
  }

  /** The log of a failed attempt goes to the archive too: the workspace is kept for some time only. */
  private async saveLogs(row: AttemptRow, ref: ArchiveRef): Promise<void> {
    const { store, transport, logger } = this.state.deps
    const logs = await collectLogs(transport.files, pathsOf(row.workspace), this.state.signal)
    if (logs.files.length === 0) return
    try {
      await uploadVerified(store, transport.files, ref, [logs], this.state.signal)
    } catch (error) {
      if (isAbort(error) || isAway(error)) throw error
      logger.log('warn', `the log of ${row.label} could not be stored: ${messageOf(error)}`, {
        label: row.label,
      })
    }
  }

  private async writeProvenance(row: AttemptRow, processor: Processor, record: TaskRecord): Promise<void> {
    const { transport, settings, clock } = this.state.deps
    const { name, version, container } = processor
    const provenance = {
      schema: 1,
      label: row.label,
      attempt: row.attempt,
      site: settings.site,
      processor: { name, version, ...(container !== undefined && { container: container.image }) },
      params: processor.params,
      inputs: record.inputs,
      target: record.target,
      job: record.job,
      collectedAt: new Date(record.updatedAtMs === 0 ? clock.now() : record.updatedAtMs).toISOString(),
    }
    await transport.files.writeAtomic(
      `${row.workspace}/provenance.json`,
      `${JSON.stringify(provenance, undefined, 2)}\n`,
      withSignal(this.state.signal),
    )
  }
}

/** States on the way that nobody saw (a job may start and end between two looks). */
function stepTowards(from: TaskState, to: TaskState): TaskState {
  if (to === 'complete' && from !== 'uploading')
    return from === 'queued' || from === 'running' ? 'uploading' : via(from)
  if (to === 'uploading' && from !== 'queued' && from !== 'running')
    return from === 'uploading' ? to : via(from)
  if (
    to === 'failed' &&
    (from === 'waiting' || from === 'held' || from === 'cancelled' || from === 'complete')
  )
    return 'ready'
  return to
}

const via = (from: TaskState): TaskState => (from === 'ready' ? 'queued' : 'ready')
