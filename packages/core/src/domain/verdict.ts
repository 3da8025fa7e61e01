/**
 * How did a job end? Judged from three witnesses: queue and accounting (both in a {@link JobStatus}) and the exit record the
 * job wrote itself. Absence is never success and never failure before the grace time is over; a failed query is no evidence.
 */

import type { CauseKind, Evidence, FailureCause } from './cause.js'
import type { ExitRecord, JobStatus, StartRecord } from './job.js'

export interface Witnesses {
  /** Absent: the scheduler answered, and does not know the job. */
  readonly status: JobStatus | undefined
  readonly exit: ExitRecord | undefined
  readonly start: StartRecord | undefined
  /** Milliseconds since the scheduler first did not know the job; undefined while it does. */
  readonly missingForMs: number | undefined
  readonly graceMs: number
  readonly cancelAsked: boolean
  readonly nowMs: number
}

export type Verdict =
  /** Under way. `neverRuns`: the scheduler says that it cannot run as asked for. */
  | { readonly kind: 'queued'; readonly note: string; readonly neverRuns: boolean }
  | { readonly kind: 'running'; readonly note: string }
  /** Not enough is known yet: look again. */
  | { readonly kind: 'unclear'; readonly note: string }
  | { readonly kind: 'succeeded' }
  | { readonly kind: 'failed'; readonly cause: FailureCause }
  | { readonly kind: 'cancelled'; readonly note: string }

/** A scheduler has this long to see the end of a job that its own record tells of. */
const TRUST_RECORD_MS = 300_000

export function judge(witnesses: Witnesses): Verdict {
  const { status, exit, cancelAsked } = witnesses
  const verdict =
    status === undefined
      ? judgeAbsent(witnesses)
      : status.phase === 'finished'
        ? judgeFinished(status, witnesses)
        : judgeLive(status, witnesses)
  // What a person cancelled is cancelled, however its end looked; unless it had ended well before the cancel reached it.
  if (cancelAsked && verdict.kind === 'failed') {
    return {
      kind: 'cancelled',
      note: exit?.received ? `cancelled; the job received ${exit.received}` : 'cancelled',
    }
  }
  return verdict
}

function judgeLive(status: JobStatus, witnesses: Witnesses): Verdict {
  const { exit, nowMs } = witnesses
  const native = [status.native.state, status.native.reason].filter((word) => word !== undefined).join(', ')
  switch (status.phase) {
    case 'queued':
    case 'held':
      return {
        kind: 'queued',
        neverRuns: status.willNeverRun === true,
        note: status.phase === 'held' ? `held by ${status.heldBy ?? 'unknown'} (${native})` : native,
      }
    case 'unknown':
      // The scheduler uses a word we do not know: the job's own record decides, if there is one.
      return exit === undefined ? { kind: 'unclear', note: `state ${native}` } : judgeExit(exit, nowMs, [])
    default:
      if (exit !== undefined && nowMs - exit.endedAt * 1000 > TRUST_RECORD_MS) {
        const text = `the scheduler still says ${native}, long after the job wrote that it had ended`
        return judgeExit(exit, nowMs, [...status.evidence, { source: 'engine', text, atMs: nowMs }])
      }
      return { kind: 'running', note: native }
  }
}

function judgeFinished(status: JobStatus, witnesses: Witnesses): Verdict {
  const { exit, nowMs } = witnesses
  const evidence = [...status.evidence, ...(exit === undefined ? [] : [exitEvidence(exit, nowMs)])]
  const exitCode = exit?.exitCode ?? status.exitCode
  const signal = exit?.signal ?? status.signal
  const fail = (kind: CauseKind, summary: string): Verdict => ({
    kind: 'failed',
    cause: {
      kind,
      summary,
      ...(exitCode !== undefined && exitCode !== 0 && { exitCode }),
      ...(signal !== undefined && { signal }),
      evidence,
    },
  })
  switch (status.outcome) {
    case 'succeeded':
      // The script hides nothing: where the two differ the job's own record is exact.
      return exit === undefined || exit.exitCode === 0
        ? { kind: 'succeeded' }
        : judgeExit(exit, nowMs, status.evidence)
    case 'failed':
      if (exit !== undefined && (exit.exitCode !== 0 || exit.timedOut === true))
        return judgeExit(exit, nowMs, status.evidence)
      return status.signal === undefined
        ? fail('tool', `The program ended with exit code ${status.exitCode ?? 'unknown'}.`)
        : fail('killed', `The job was ended by ${status.signal}.`)
    case 'cancelled':
      return { kind: 'cancelled', note: status.native.reason ?? status.native.state }
    case 'timeout':
    case 'deadline':
      return fail('walltime', 'The job used up its walltime.')
    case 'out-of-memory':
      return fail('memory', 'The job used more memory than it asked for.')
    case 'node-fail':
      return fail('node', `The node failed${status.nodes?.[0] === undefined ? '' : ` (${status.nodes[0]})`}.`)
    case 'preempted':
      return fail('preempted', 'The scheduler took the job off its node for another.')
    case 'launch-failed':
    case 'revoked':
      return fail('node', 'The cluster could not start the job.')
    case 'dependency-failed':
      return fail('rejected', 'A job that this one depends on will never end well.')
    default:
      return exit === undefined
        ? judgeAbsent({ ...witnesses, missingForMs: witnesses.missingForMs ?? witnesses.graceMs })
        : judgeExit(exit, nowMs, status.evidence)
  }
}

function judgeAbsent(witnesses: Witnesses): Verdict {
  const { status, exit, start, missingForMs = 0, graceMs, nowMs } = witnesses
  if (exit !== undefined) return judgeExit(exit, nowMs, [])
  if (missingForMs < graceMs)
    return { kind: 'unclear', note: 'the scheduler does not know the job, and it left no exit record' }
  const evidence: Evidence[] = [
    ...(status?.evidence ?? []),
    {
      source: 'engine',
      atMs: nowMs,
      text: `not known to the scheduler for ${Math.round(missingForMs / 1000)} s; no exit record`,
    },
  ]
  if (start !== undefined) {
    evidence.push({
      source: 'start-record',
      atMs: nowMs,
      text: `started on ${start.host} as process ${start.pid}`,
    })
  }
  return {
    kind: 'failed',
    cause: {
      kind: 'lost',
      summary:
        start === undefined
          ? 'The job is gone and never started, as far as anybody knows.'
          : `The job started on ${start.host} and is gone; nobody says how it ended.`,
      evidence,
    },
  }
}

function judgeExit(exit: ExitRecord, nowMs: number, others: readonly Evidence[]): Verdict {
  const evidence = [...others, exitEvidence(exit, nowMs)]
  const common = {
    evidence,
    exitCode: exit.exitCode,
    ...(exit.signal !== undefined && { signal: exit.signal }),
  }
  if (exit.timedOut === true) {
    return {
      kind: 'failed',
      cause: { kind: 'walltime', summary: 'The job used up its walltime.', ...common },
    }
  }
  if (exit.exitCode === 0) return { kind: 'succeeded' }
  if (exit.signal !== undefined) {
    return {
      kind: 'failed',
      // A shell tells both by the same number.
      cause: {
        kind: 'killed',
        summary: `The program was ended by ${exit.signal}, or chose exit code ${exit.exitCode} itself.`,
        ...common,
      },
    }
  }
  return {
    kind: 'failed',
    cause: { kind: 'tool', summary: `The program ended with exit code ${exit.exitCode}.`, ...common },
  }
}

function exitEvidence(exit: ExitRecord, atMs: number): Evidence {
  const how =
    exit.signal === undefined ? `exit code ${exit.exitCode}` : `${exit.signal} (exit code ${exit.exitCode})`
  const received = exit.received === undefined ? '' : `; received ${exit.received}`
  const late = exit.timedOut === true ? '; ended by its own timer' : ''
  return {
    source: 'exit-record',
    atMs,
    text: `${how} on ${exit.host} after ${exit.endedAt - exit.startedAt} s${received}${late}`,
  }
}
