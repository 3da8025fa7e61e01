/** The queue: `squeue` asked once for all jobs of the account, whatever their number. */

import type { Evidence, JobId, JobOutcome, JobStatus } from '@orbweaver/core'
import { answer, type FoundJob, type Reading, type Reply } from '@orbweaver/core/command-line'
import { failureOf } from './complaints.js'
import { arrayOf, expandId } from './ids.js'
import { readRows, type Table } from './rows.js'
import { readNative } from './states.js'
import { readEpoch, readNodes, readWaitStatus } from './values.js'

/** Field of ours → field of `squeue --Format`. The name is last: it may hold anything. */
const FORMAT = {
  id: 'JobArrayID',
  state: 'State',
  reason: 'Reason',
  exit: 'exit_code',
  restarts: 'RestartCnt',
  submitted: 'SubmitTime',
  started: 'StartTime',
  ended: 'EndTime',
  queue: 'Partition',
  nodes: 'NodeList',
  name: 'Name',
} as const

/** The same for `squeue -o`, for releases without the fields or the separators of `--Format`. */
const OLD_FORMAT = {
  id: '%i',
  state: '%T',
  reason: '%r',
  submitted: '%V',
  started: '%S',
  ended: '%e',
  queue: '%P',
  nodes: '%N',
  name: '%j',
} as const

export type QueueField = keyof typeof FORMAT
/** A row may come from a format with fewer fields. */
export type QueueRow = Readonly<Partial<Record<QueueField, string>>> & { readonly line: string }

const SEPARATOR = '|'
const isRow = (first: string): boolean => expandId(first) !== undefined

/** Newest first. */
const TABLES: readonly Table<QueueField>[] = [
  { fields: Object.keys(FORMAT) as QueueField[], separator: SEPARATOR, closed: true, isRow },
  { fields: Object.keys(OLD_FORMAT) as QueueField[], separator: SEPARATOR, closed: true, isRow },
]
export const QUEUE_FORMS = TABLES.length

/** Times as epoch seconds; lists of array elements not cut. */
export const QUERY_ENVIRONMENT = { SLURM_TIME_FORMAT: '%s', SLURM_BITSTR_LEN: '0' } as const

export function queueWords(user: string, form: number): readonly string[] {
  const format =
    form === 0
      ? `--Format=${Object.values(FORMAT)
          .map((field) => `${field}:${SEPARATOR}`)
          .join(',')}`
      : `--format=${Object.values(OLD_FORMAT)
          .map((field) => `${field}${SEPARATOR}`)
          .join('')}`
  // --all: also partitions that are hidden. --array: one row for each element.
  return ['--noheader', '--all', '--array', '--states=all', `--user=${user}`, format]
}

export function readQueue(reply: Reply, form: number, nowMs: number): Reading<ReadonlyMap<JobId, JobStatus>> {
  const read = readQueueRows(reply, form)
  if (read.kind !== 'answer') return read
  const statuses = new Map<JobId, JobStatus>()
  for (const row of read.value) {
    for (const id of expandId(row.id ?? '') ?? []) statuses.set(id, queueStatus(row, id, nowMs))
  }
  return answer(statuses)
}

export function readQueueNames(reply: Reply, form: number): Reading<readonly FoundJob[]> {
  const read = readQueueRows(reply, form)
  if (read.kind !== 'answer') return read
  return answer(
    read.value.flatMap((row) => {
      const [id] = expandId(row.id ?? '') ?? []
      if (id === undefined || row.name === undefined) return []
      const submittedAtMs = readEpoch(row.submitted)
      return [{ name: row.name, id: arrayOf(id), ...(submittedAtMs !== undefined && { submittedAtMs }) }]
    }),
  )
}

function readQueueRows(reply: Reply, form: number): Reading<readonly QueueRow[]> {
  const failure = failureOf(reply)
  if (failure !== undefined) return failure
  const table = TABLES[form] ?? TABLES[0]
  if (table === undefined) return { kind: 'unsupported', message: `no form ${form}` }
  const { rows, cut } = readRows(reply.stdout, table)
  if (cut === undefined) return answer(rows)
  if (form === 0 && rows.length === 0 && !cut.includes(SEPARATOR))
    return { kind: 'unsupported', message: 'columns without separators' }
  return {
    kind: 'unreadable',
    message: `a row is cut or has other fields than asked for: ${cut.slice(0, 200)}`,
  }
}

/** What a row says of one job. What the format lacks is not known; an end that contradicts itself is `unknown`. */
export function queueStatus(row: QueueRow, id: JobId, nowMs: number): JobStatus {
  const { cancelledBy: _by, ...native } = readNative(row.state ?? '', row.reason)
  const finished = native.phase === 'finished'
  const spoken = finished && row.exit !== undefined ? speakExit(native.outcome, readWaitStatus(row.exit)) : {}
  const outcome = spoken.outcome ?? native.outcome
  const submittedAtMs = readEpoch(row.submitted)
  const waits = native.phase === 'queued' || native.phase === 'held'
  // Of a job that waits, the time at which it is expected to start.
  const startedAtMs = waits || outcome === 'dependency-failed' ? undefined : readEpoch(row.started)
  const endedAtMs = finished ? readEpoch(row.ended) : undefined
  const nodes = readNodes(row.nodes)
  const evidence: Evidence = { source: 'queue', text: `squeue: ${row.line}`, atMs: nowMs }
  const elapsedSeconds = elapsed(startedAtMs, endedAtMs)
  return {
    id,
    ...native,
    ...(outcome !== undefined && { outcome }),
    ...(spoken.exit !== undefined && spoken.exit),
    restarts: count(row.restarts),
    evidence: [evidence],
    ...(row.name !== undefined && row.name !== '' && { name: row.name }),
    ...(row.queue !== undefined && row.queue !== '' && { queue: row.queue }),
    ...(nodes.length > 0 && { nodes }),
    ...(submittedAtMs !== undefined && { submittedAtMs }),
    ...(startedAtMs !== undefined && { startedAtMs }),
    ...(endedAtMs !== undefined && { endedAtMs }),
    ...(elapsedSeconds !== undefined && { usage: { elapsedSeconds } }),
  }
}

/** Exit code and signal, where they mean something beside this outcome. */
function speakExit(
  outcome: JobStatus['outcome'],
  exit: ReturnType<typeof readWaitStatus>,
): {
  readonly outcome?: JobOutcome
  readonly exit?: Pick<JobStatus, 'exitCode' | 'signal' | 'exitCodeExact'>
} {
  if (outcome === 'succeeded') {
    // Success with another exit code than 0, or one that cannot be read, is a contradiction: no success.
    return exit?.exitCode === 0 ? { exit: { exitCode: 0, exitCodeExact: true } } : { outcome: 'unknown' }
  }
  const { exitCode, signal, signalNumber } = exit ?? {}
  // 0 beside any other outcome means nothing.
  if (exitCode !== undefined) return exitCode === 0 ? {} : { exit: { exitCode, exitCodeExact: true } }
  return {
    ...(outcome === 'failed' && neverRan(signalNumber) && { outcome: 'launch-failed' }),
    ...(signal !== undefined && { exit: { signal } }),
  }
}

/** Slurm's own number in place of a signal: the output files could not be opened, so the script never ran. */
export const neverRan = (signalNumber: number | undefined): boolean => signalNumber === 53

const count = (text: string | undefined): number => (/^\d{1,6}$/.test(text ?? '') ? Number(text) : 0)

/** Never below zero: clocks are set back, and start times of short jobs are rounded. */
export function elapsed(startedAtMs: number | undefined, endedAtMs: number | undefined): number | undefined {
  if (startedAtMs === undefined || endedAtMs === undefined) return undefined
  return Math.max(0, endedAtMs - startedAtMs) / 1000
}
