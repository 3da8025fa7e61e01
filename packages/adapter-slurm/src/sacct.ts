/** The accounting: `sacct` for jobs that left the queue, and for what only it knows: memory, cpu time, who cancelled. */

import type { Evidence, JobId, JobOutcome, JobStatus, JobUsage } from '@orbweaver/core'
import { answer, type FoundJob, type Reading, type Reply } from '@orbweaver/core/command-line'
import { failureOf } from './complaints.js'
import { arrayOf, expandId, foldIds } from './ids.js'
import { readRows, type Table } from './rows.js'
import { elapsed, neverRan } from './squeue.js'
import { readNative } from './states.js'
import { readAskedMemory, readClock, readEpoch, readExit, readMemory, readNodes } from './values.js'

/** Field of ours → field of `sacct --format`. */
const FORMAT = {
  id: 'JobID',
  state: 'State',
  exit: 'ExitCode',
  reason: 'Reason',
  submitted: 'Submit',
  started: 'Start',
  ended: 'End',
  elapsed: 'ElapsedRaw',
  cpu: 'TotalCPU',
  memory: 'MaxRSS',
  asked: 'ReqMem',
  cpus: 'AllocCPUS',
  nodes: 'NodeList',
  queue: 'Partition',
  name: 'JobName',
} as const

export type AccountField = keyof typeof FORMAT
export type AccountRow = Readonly<Partial<Record<AccountField, string>>> & { readonly line: string }

const SEPARATOR = '|'
/** `123`, `123_4`, `123_[1-3]`, and their steps `123.batch`, `123_4.0`, `123.ext+`. */
const jobOf = (first: string): string => first.replace(/\..*$/, '')
const isRow = (first: string): boolean => expandId(jobOf(first)) !== undefined

const table = (fields: readonly AccountField[]): Table<AccountField> => ({
  fields,
  separator: SEPARATOR,
  closed: true,
  isRow,
})
const ALL = Object.keys(FORMAT) as AccountField[]
/** Newest first: releases before 20.11 have no reason. */
const TABLES = [table(ALL), table(ALL.filter((field) => field !== 'reason'))]
export const ACCOUNT_FORMS = TABLES.length

const NAME_TABLE = table(['id', 'submitted', 'name'])

/** One argument may have 128 KiB at most on Linux. */
export const ACCOUNT_CHUNK = { count: 5000, bytes: 90_000 } as const

/** A start time, always: without one the accounting is searched from 1970 on, or only from midnight. */
const since = (sinceMs: number, nowMs: number): string =>
  `--starttime=now-${Math.max(1, Math.ceil((nowMs - sinceMs) / 60_000))}minutes`

export function accountWords(
  ids: readonly JobId[],
  sinceMs: number,
  nowMs: number,
  form: number,
): readonly string[] {
  const { fields } = TABLES[form] ?? NAME_TABLE
  return [
    '--noheader',
    '--parsable',
    // Every incarnation of a job that was requeued.
    '--duplicates',
    since(sinceMs, nowMs),
    `--jobs=${arraysOf(ids).join(',')}`,
    `--format=${fields.map((field) => FORMAT[field]).join(',')}`,
  ]
}

/** Many elements of an array are asked for by the array's own id. */
function arraysOf(ids: readonly JobId[]): readonly string[] {
  return foldIds(ids).map((word) => (word.includes('[') ? arrayOf(word) : word))
}

export function accountNameWords(
  names: readonly string[],
  user: string,
  sinceMs: number,
  nowMs: number,
): readonly string[] {
  return [
    '--noheader',
    '--parsable',
    '--allocations',
    since(sinceMs, nowMs),
    `--user=${user}`,
    `--name=${names.join(',')}`,
    `--format=${NAME_TABLE.fields.map((field) => FORMAT[field]).join(',')}`,
  ]
}

export function readAccount(
  reply: Reply,
  form: number,
  nowMs: number,
): Reading<ReadonlyMap<JobId, JobStatus>> {
  const read = readAccountRows(reply, TABLES[form] ?? NAME_TABLE)
  return read.kind === 'answer' ? answer(accountStatuses(read.value, nowMs)) : read
}

export function readAccountNames(reply: Reply): Reading<readonly FoundJob[]> {
  const read = readAccountRows(reply, NAME_TABLE)
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

function readAccountRows(reply: Reply, format: Table<AccountField>): Reading<readonly AccountRow[]> {
  const failure = failureOf(reply)
  if (failure !== undefined) return failure
  const { rows, cut } = readRows(reply.stdout, format)
  if (cut === undefined) return answer(rows)
  return {
    kind: 'unreadable',
    message: `a row is cut or has other fields than asked for: ${cut.slice(0, 200)}`,
  }
}

/** One incarnation: the row of the job, and the rows of its steps that follow it. */
interface Incarnation {
  readonly row: AccountRow
  readonly steps: AccountRow[]
}

/** Statuses of all jobs in some rows, in the order in which `sacct` prints them: oldest incarnation first. */
export function accountStatuses(rows: readonly AccountRow[], nowMs: number): ReadonlyMap<JobId, JobStatus> {
  const jobs = new Map<JobId, Incarnation[]>()
  for (const row of rows) {
    const first = row.id ?? ''
    const step = first.includes('.')
    for (const id of expandId(jobOf(first)) ?? []) {
      const known = jobs.get(id)
      if (!step) jobs.set(id, [...(known ?? []), { row, steps: [] }])
      else known?.at(-1)?.steps.push(row)
    }
  }
  const statuses = new Map<JobId, JobStatus>()
  for (const [id, incarnations] of jobs) {
    const last = incarnations.at(-1)
    if (last === undefined) continue
    statuses.set(id, accountStatus(last, id, incarnations.length - 1, nowMs))
  }
  return statuses
}

function accountStatus({ row, steps }: Incarnation, id: JobId, restarts: number, nowMs: number): JobStatus {
  const { cancelledBy, ...native } = readNative(row.state ?? '', row.reason)
  const finished = native.phase === 'finished'
  const exit = readExit(row.exit)
  // Success with another exit code than 0 is a contradiction: no success.
  const told =
    native.outcome === 'succeeded' && row.exit !== undefined && exit?.exitCode !== 0
      ? 'unknown'
      : (native.outcome ?? 'unknown')
  const usage = usageOf(row, steps)
  const outcome = finished ? outcomeOf(told, exit?.signalNumber, row, steps, usage) : undefined
  const submittedAtMs = readEpoch(row.submitted)
  const waits = native.phase === 'queued' || native.phase === 'held'
  const startedAtMs = waits ? undefined : readEpoch(row.started)
  const endedAtMs = finished ? readEpoch(row.ended) : undefined
  const nodes = readNodes(row.nodes)
  const why = cancelledBy === undefined ? [] : [{ text: `cancelled by the account with uid ${cancelledBy}` }]
  const memory = memoryLine(outcome, row, steps, usage)
  const evidence: Evidence[] = [
    { text: `sacct: ${row.line}` },
    ...(finished && outcome !== 'succeeded'
      ? steps.slice(0, 3).map(({ line }) => ({ text: `sacct: ${line}` }))
      : []),
    ...why,
    ...(memory === undefined ? [] : [{ text: memory }]),
  ].map(({ text }) => ({ source: 'accounting', text, atMs: nowMs }))
  return {
    id,
    ...native,
    ...(outcome !== undefined && { outcome }),
    ...(finished && exitFields(outcome, exit)),
    restarts,
    evidence,
    ...(row.name !== undefined && row.name !== '' && { name: row.name }),
    ...(row.queue !== undefined && row.queue !== '' && { queue: row.queue }),
    ...(nodes.length > 0 && { nodes }),
    ...(submittedAtMs !== undefined && { submittedAtMs }),
    ...(startedAtMs !== undefined && { startedAtMs }),
    ...(endedAtMs !== undefined && { endedAtMs }),
    ...(Object.keys(usage).length > 0 && { usage }),
  }
}

/**
 * Exit codes as the accounting tells them. Until 25.05 `sacct` prints codes above 127 minus 128 (137 becomes 9), so no code
 * but 0 is taken for exact.
 */
function exitFields(
  outcome: JobOutcome | undefined,
  exit: ReturnType<typeof readExit>,
): Pick<JobStatus, 'exitCode' | 'signal' | 'exitCodeExact'> {
  if (exit === undefined) return {}
  if (outcome === 'succeeded') return { exitCode: 0, exitCodeExact: true }
  if (outcome !== 'failed') return {}
  if (exit.exitCode === 0) return {}
  if (exit.exitCode !== undefined) return { exitCode: exit.exitCode, exitCodeExact: false }
  return exit.signal === undefined ? {} : { signal: exit.signal }
}

function usageOf(row: AccountRow, steps: readonly AccountRow[]): JobUsage {
  const peaks = [row, ...steps].map(({ memory }) => readMemory(memory)).filter((bytes) => bytes !== undefined)
  const peakMemoryBytes = Math.max(0, ...peaks)
  const cpuSeconds = readClock(row.cpu)
  const told = /^\d+$/.test(row.elapsed ?? '') ? Number(row.elapsed) : readClock(row.elapsed)
  const elapsedSeconds = told ?? elapsed(readEpoch(row.started), readEpoch(row.ended))
  return {
    // 0 is what a sampler writes that never came to sample.
    ...(peakMemoryBytes > 0 && { peakMemoryBytes }),
    ...(cpuSeconds !== undefined && cpuSeconds > 0 && { cpuSeconds }),
    ...(elapsedSeconds !== undefined && { elapsedSeconds }),
  }
}

/** Memory kills that the state of the job does not tell. */
function outcomeOf(
  told: JobOutcome,
  signalNumber: number | undefined,
  row: AccountRow,
  steps: readonly AccountRow[],
  usage: JobUsage,
): JobOutcome {
  if (told !== 'failed') return told
  // The kernel ended a step for memory, and the script made a failure of it.
  if (steps.some((step) => step.state === 'OUT_OF_MEMORY') || signalNumber === 125) return 'out-of-memory'
  // The accounting plug-in ends a job that was sampled above what it asked for: as signal 9 from nobody (uid 0).
  const asked = readAskedMemory(row.asked, Number(row.cpus))
  const { peakMemoryBytes } = usage
  const above = asked !== undefined && peakMemoryBytes !== undefined && peakMemoryBytes > asked
  if (signalNumber === 9 && above) return 'out-of-memory'
  if (neverRan(signalNumber)) return 'launch-failed'
  return told
}

function memoryLine(
  outcome: JobOutcome | undefined,
  row: AccountRow,
  steps: readonly AccountRow[],
  { peakMemoryBytes }: JobUsage,
): string | undefined {
  if (outcome !== 'out-of-memory') return undefined
  const step = steps.find(({ state }) => state === 'OUT_OF_MEMORY')
  const seen = peakMemoryBytes === undefined ? 'not sampled' : `${peakMemoryBytes} bytes`
  const asked = row.asked === undefined || row.asked === '' ? 'an unknown amount' : row.asked
  return `memory: at most ${seen} seen, ${asked} asked for${step === undefined ? '' : `; step ${step.id ?? ''} was ended for memory`}`
}
