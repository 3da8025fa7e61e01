/** `squeue` and `sacct`: the same jobs, seen by the queue and by the accounting. */

import { isOver, shownId, type Job } from './model.js'
import type { Cluster } from './cluster.js'
import type { Output, Request } from './programs.js'
import { clock, foldIndices, readLine, time, type OptionTable } from './words.js'

const SQUEUE: OptionTable = {
  all: ['a', false],
  array: ['r', false],
  clusters: ['M', true],
  format: ['o', true],
  Format: ['O', true],
  jobs: ['j', true],
  me: ['', false],
  name: ['n', true],
  noheader: ['h', false],
  partition: ['p', true],
  states: ['t', true],
  user: ['u', true],
  version: ['V', false],
}

/** One row: a job, or elements of an array that wait for the same. */
interface Row {
  readonly job: Job
  readonly id: string
}

const COMPACT: Readonly<Record<string, string>> = {
  PENDING: 'PD',
  RUNNING: 'R',
  SUSPENDED: 'S',
  COMPLETING: 'CG',
  COMPLETED: 'CD',
  CANCELLED: 'CA',
  FAILED: 'F',
  TIMEOUT: 'TO',
  NODE_FAIL: 'NF',
  PREEMPTED: 'PR',
  OUT_OF_MEMORY: 'OOM',
}

export function squeue(request: Request, cluster: Cluster): Output {
  const { options } = readLine('squeue', request.args, SQUEUE)
  const ids = options.get('jobs')?.split(',')
  const bad = ids?.find((id) => !/^\d+(_\d+)?$/.test(id))
  if (bad !== undefined) return { exitCode: 1, stdout: '', stderr: `squeue: error: Invalid job id: ${bad}\n` }
  const queue = cluster.queue()
  const known =
    ids === undefined ? queue : queue.filter((job) => ids.some((id) => cluster.select(id).includes(job)))
  // Of several ids unknown ones are left out in silence.
  if (ids?.length === 1 && known.length === 0)
    return { exitCode: 1, stdout: '', stderr: 'slurm_load_jobs error: Invalid job id specified\n' }
  const user = options.has('me') ? request.user : options.get('user')
  const names = options.get('name')?.split(',')
  const states = options.get('states')?.toUpperCase()
  const shown = known.filter((job) => {
    if (user !== undefined && !user.split(',').includes(job.wish.user)) return false
    if (names?.includes(job.wish.name) === false) return false
    const word = stateOf(job)
    if (states === undefined) return !isOver(job) || job.completing
    return states === 'ALL' || states.split(',').some((one) => one === word || one === COMPACT[word])
  })
  const rows = options.has('array') ? shown.map((job) => ({ job, id: shownId(job) })) : folded(shown)
  const { header, print } = squeueFormat(options, request.timeFormat, cluster)
  const lines = [...(options.has('noheader') || header === undefined ? [] : [header]), ...rows.map(print)]
  return { exitCode: 0, stdout: lines.map((line) => `${line}\n`).join(''), stderr: '' }
}

const stateOf = (job: Job): string => (job.completing ? 'COMPLETING' : job.state)

function folded(jobs: readonly Job[]): readonly Row[] {
  const rows: Row[] = []
  const groups = new Map<string, Job[]>()
  for (const job of jobs) {
    if (job.state !== 'PENDING' || job.arrayId === undefined) rows.push({ job, id: shownId(job) })
    else {
      const key = `${job.arrayId} ${job.reason} ${job.restarts > 0 ? job.index : ''}`
      groups.set(key, [...(groups.get(key) ?? []), job])
    }
  }
  const waiting = [...groups.values()].flatMap((members) => {
    const [job] = members
    if (job === undefined) return []
    const throttle = job.wish.throttle === undefined ? '' : `%${job.wish.throttle}`
    return [{ job, id: `${job.arrayId}_[${foldIndices(members.map(({ index }) => index ?? 0))}${throttle}]` }]
  })
  return [...waiting, ...rows]
}

type Field = (row: Row) => string

function squeueFields(
  timeFormat: string,
  cluster: Cluster,
): Readonly<Record<string, readonly [header: string, Field]>> {
  const at = (ms: number | undefined): string => (ms === undefined ? 'N/A' : time(ms, timeFormat))
  const limit = ({ job }: Row): string =>
    job.wish.limitMinutes === undefined ? 'UNLIMITED' : clock(job.wish.limitMinutes * 60)
  return {
    i: ['JOBID', ({ id }) => id],
    A: ['JOBID', ({ job }) => String(job.rawId)],
    F: ['ARRAY_JOB_ID', ({ job }) => String(job.arrayId ?? job.rawId)],
    K: ['ARRAY_TASK_ID', ({ job }) => (job.index === undefined ? 'N/A' : String(job.index))],
    T: ['STATE', ({ job }) => stateOf(job)],
    t: ['ST', ({ job }) => COMPACT[stateOf(job)] ?? '?'],
    r: ['REASON', ({ job }) => job.reason],
    R: [
      'NODELIST(REASON)',
      ({ job }) => (job.state === 'PENDING' || isOver(job) ? `(${job.reason})` : (job.node ?? '')),
    ],
    P: ['PARTITION', ({ job }) => job.wish.partitions.join(',')],
    N: ['NODELIST', ({ job }) => job.node ?? ''],
    D: ['NODES', () => '1'],
    j: ['NAME', ({ job }) => job.wish.name],
    u: ['USER', ({ job }) => job.wish.user],
    l: ['TIME_LIMIT', limit],
    M: [
      'TIME',
      ({ job }) => clock(job.state === 'CANCELLED' && job.node === undefined ? 0 : runSeconds(job)),
    ],
    V: ['SUBMIT_TIME', ({ job }) => at(job.submitMs)],
    S: ['START_TIME', ({ job }) => at(job.startMs)],
    e: ['END_TIME', ({ job }) => at(job.endMs ?? expectedEnd(job, cluster))],
  }
}

const runSeconds = (job: Job): number =>
  job.startMs === undefined ? 0 : ((job.endMs ?? Date.now()) - job.startMs) / 1000

function expectedEnd(job: Job, { site }: Cluster): number | undefined {
  if (job.startMs === undefined || job.wish.limitMinutes === undefined) return undefined
  return job.startMs + job.wish.limitMinutes * site.minuteMs
}

/** Field of `--Format` → letter of `--format`, or what it prints. */
const LONG_FIELDS: Readonly<Record<string, string | Field>> = {
  jobarrayid: 'i',
  jobid: 'A',
  arrayjobid: 'F',
  arraytaskid: 'K',
  state: 'T',
  statecompact: 't',
  reason: 'r',
  reasonlist: 'R',
  exit_code: ({ job }) => String(job.waitStatus),
  restartcnt: ({ job }) => String(job.restarts),
  submittime: 'V',
  starttime: 'S',
  endtime: 'e',
  partition: 'P',
  nodelist: 'N',
  name: 'j',
  username: 'u',
  timelimit: 'l',
  timeused: 'M',
}

function squeueFormat(
  options: ReadonlyMap<string, string>,
  timeFormat: string,
  cluster: Cluster,
): { readonly header: string | undefined; readonly print: Field } {
  const fields = squeueFields(timeFormat, cluster)
  const long = options.get('Format')
  if (long !== undefined) {
    const columns = long.split(',').map((word) => {
      const [name = '', suffix] = word.split(':')
      const field = LONG_FIELDS[name.toLowerCase()]
      const print = typeof field === 'string' ? fields[field]?.[1] : field
      const shape = (text: string): string => {
        const match = /^(\d*)(.*)$/.exec(suffix ?? '20')
        const width = Number(match?.[1] === '' ? 0 : match?.[1])
        return `${width === 0 ? text : text.slice(0, width).padEnd(width)}${match?.[2] ?? ''}`
      }
      return { name, shape, print: print ?? (() => 'N/A') }
    })
    return {
      header: columns.map(({ name, shape }) => shape(name.toUpperCase())).join(''),
      print: (row) => columns.map(({ print, shape }) => shape(print(row))).join(''),
    }
  }
  const format = options.get('format') ?? '%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R'
  const fill = (of: (letter: string) => string): string =>
    format.replace(/%(\.?)(\d*)([A-Za-z])/g, (_all, right: string, digits: string, letter: string) => {
      const text = of(letter)
      const width = Number(digits)
      if (digits === '') return text
      return right === '' ? text.slice(0, width).padEnd(width) : text.slice(0, width).padStart(width)
    })
  return {
    header: fill((letter) => fields[letter]?.[0] ?? letter),
    print: (row) => fill((letter) => fields[letter]?.[1](row) ?? ''),
  }
}

// ---------------------------------------------------------------- sacct

const SACCT: OptionTable = {
  allocations: ['X', false],
  clusters: ['M', true],
  duplicates: ['D', false],
  endtime: ['E', true],
  format: ['o', true],
  jobs: ['j', true],
  name: ['', true],
  noheader: ['n', false],
  parsable: ['p', false],
  parsable2: ['P', false],
  starttime: ['S', true],
  user: ['u', true],
  version: ['V', false],
}

/** A run of a job as the accounting has it, or its batch step. */
interface Entry {
  readonly job: Job
  readonly id: string
  readonly step: boolean
  readonly state: string
  readonly nowMs: number
}

const WIDTHS: Readonly<Record<string, number>> = { JobID: -12 }
const DEFAULT_FIELDS = 'JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode'

export function sacct(request: Request, cluster: Cluster): Output {
  const { options } = readLine('sacct', request.args, SACCT)
  const ids = options.get('jobs')?.split(',')
  const bad = ids?.find((id) => !/^\d+(_(\d+|\[[^\]]*\]))?(\.\w+)?$/.test(id))
  if (bad !== undefined)
    return { exitCode: 1, stdout: '', stderr: `sacct: fatal: Bad job/step specified: ${bad}\n` }
  const sinceMs = sinceOf(options.get('starttime'))
  const names = options.get('name')?.split(',')
  const wanted = (job: Job): boolean =>
    (ids === undefined || ids.some((id) => cluster.select(id).includes(job))) &&
    (names?.includes(job.wish.name) ?? true) &&
    (options.get('user') === undefined || options.get('user') === job.wish.user) &&
    (job.endMs ?? Date.now()) >= sinceMs
  const records = recordsOf(cluster, cluster.jobs.filter(wanted), options.has('duplicates'))
  const shown = options.has('allocations') ? records.filter(({ step }) => !step) : records
  const words = (options.get('format') ?? DEFAULT_FIELDS).split(',').map((word) => word.split('%')[0] ?? '')
  const fields = sacctFields(request.timeFormat)
  const odd = words.find((word) => fields[word.toLowerCase()] === undefined)
  if (odd !== undefined)
    return { exitCode: 1, stdout: '', stderr: `sacct: error: Invalid field requested: "${odd}"\n` }
  const parsable = options.has('parsable') || options.has('parsable2')
  const join = (texts: readonly string[]): string => {
    if (options.has('parsable2')) return texts.join('|')
    if (options.has('parsable')) return texts.map((text) => `${text}|`).join('')
    return texts.map((text, index) => `${cut(text, words[index] ?? '')} `).join('')
  }
  const lines = shown.map((record) => join(words.map((word) => fields[word.toLowerCase()]?.(record) ?? '')))
  const rules = parsable ? [] : [join(words.map((word) => '-'.repeat(Math.abs(WIDTHS[word] ?? 10))))]
  const header = options.has('noheader') ? [] : [join(words), ...rules]
  return { exitCode: 0, stdout: [...header, ...lines].map((line) => `${line}\n`).join(''), stderr: '' }
}

function cut(text: string, word: string): string {
  const width = WIDTHS[word] ?? (word === 'ExitCode' ? 8 : 10)
  const size = Math.abs(width)
  const short = text.length > size ? `${text.slice(0, size - 1)}+` : text
  return width < 0 ? short.padEnd(size) : short.padStart(size)
}

function sinceOf(text: string | undefined): number {
  const match = /^now-(\d+)(second|minute|hour|day)s?$/.exec(text ?? '')
  const units: Readonly<Record<string, number>> = { second: 1, minute: 60, hour: 3600, day: 86_400 }
  if (match !== null) return Date.now() - Number(match[1]) * (units[match[2] ?? ''] ?? 1) * 1000
  const at = Date.parse(text ?? '')
  return Number.isNaN(at) ? 0 : at
}

function recordsOf(cluster: Cluster, jobs: readonly Job[], duplicates: boolean): readonly Entry[] {
  const nowMs = Date.now() - cluster.site.accountingLagMs
  const records: Entry[] = []
  const waiting: Job[] = []
  for (const job of jobs) {
    if (job.submitMs > nowMs && job.earlier.length === 0) continue
    const never = job.node === undefined && job.earlier.length === 0
    // Nothing is told of a job that could not have started yet, nor of an element that never did.
    if (never && (isOver(job) ? job.arrayId !== undefined : !job.wasEligible)) continue
    if (duplicates)
      for (const earlier of job.earlier) records.push(...withStep(earlier, earlier.state, nowMs))
    if (job.state === 'PENDING' && job.arrayId !== undefined && job.restarts === 0) waiting.push(job)
    else records.push(...withStep(job, stateThen(job, nowMs), nowMs))
  }
  for (const { job, id } of folded(waiting)) records.push({ job, id, step: false, state: 'PENDING', nowMs })
  return records
}

/** What the accounting has heard until then. */
function stateThen(job: Job, nowMs: number): string {
  if (job.startMs === undefined || job.startMs > nowMs) return 'PENDING'
  if (job.endMs !== undefined && job.endMs > nowMs) return 'RUNNING'
  if (job.state === 'CANCELLED' && job.cancelledBy !== undefined) return `CANCELLED by ${job.cancelledBy}`
  return job.state
}

function withStep(job: Job, state: string, nowMs: number): readonly Entry[] {
  const own: Entry = { job, id: shownId(job), step: false, state, nowMs }
  if (job.node === undefined || state === 'PENDING') return [own]
  const stepState = state === 'RUNNING' ? 'RUNNING' : job.batchState
  return [own, { job, id: `${shownId(job)}.batch`, step: true, state: stepState, nowMs }]
}

function sacctFields(timeFormat: string): Readonly<Record<string, (record: Entry) => string>> {
  const at = (ms: number | undefined): string => (ms === undefined ? 'Unknown' : time(ms, timeFormat))
  const over = ({ state }: Entry): boolean => !['PENDING', 'RUNNING', 'SUSPENDED'].includes(state)
  const started = (record: Entry): number | undefined =>
    record.state === 'PENDING' ? undefined : record.job.startMs
  const seconds = (record: Entry): number => {
    const from = started(record)
    if (from === undefined || record.job.node === undefined) return 0
    return Math.max(
      0,
      Math.floor(((over(record) ? record.job.endMs : undefined) ?? Date.now()) / 1000) -
        Math.floor(from / 1000),
    )
  }
  const own = (of: (record: Entry) => string) => (record: Entry) => (record.step ? '' : of(record))
  return {
    jobid: ({ id }) => id,
    jobidraw: ({ job, step }) => `${job.rawId}${step ? '.batch' : ''}`,
    jobname: ({ job, step }) => (step ? 'batch' : job.wish.name.replaceAll('"', '`')),
    partition: own(({ job }) => job.wish.partitions.join(',')),
    account: ({ job }) => job.wish.account,
    user: own(({ job }) => job.wish.user),
    alloccpus: ({ job, state }) => String(state === 'PENDING' ? 0 : job.wish.cpus),
    state: ({ state }) => state,
    exitcode: (record) => (record.step ? stepExit(record) : exitOf(record, over(record))),
    derivedexitcode: own(() => '0:0'),
    reason: own(({ job }) => (isOver(job) ? 'None' : job.reason)),
    submit: ({ job, step }) => at(step ? job.startMs : job.submitMs),
    start: (record) => at(started(record)),
    end: (record) => at(over(record) ? record.job.endMs : undefined),
    elapsed: (record) => clock(seconds(record), true),
    elapsedraw: (record) => String(seconds(record)),
    timelimit: own(({ job }) =>
      job.wish.limitMinutes === undefined ? 'UNLIMITED' : clock(job.wish.limitMinutes * 60, true),
    ),
    totalcpu: (record) => {
      if (!over(record)) return '00:00:00'
      const text = `00:${String(Math.floor(record.job.cpuMs / 60_000)).padStart(2, '0')}`
      return `${text.slice(3)}:${((record.job.cpuMs % 60_000) / 1000).toFixed(3).padStart(6, '0')}`
    },
    maxrss: (record) =>
      record.step && over(record) && record.job.peakKb > 0 ? `${Math.floor(record.job.peakKb)}K` : '',
    reqmem: own(({ job }) => `${job.wish.memoryMb}M`),
    nodelist: ({ job, state }) =>
      state === 'PENDING' || job.node === undefined ? 'None assigned' : job.node,
  }
}

const stepExit = ({ job, state }: Entry): string => (state === 'RUNNING' ? '0:0' : job.batchExit)

function exitOf({ job, state }: Entry, over: boolean): string {
  // A time limit and a cancel have no code here; codes above 127 are printed minus 128.
  if (!over || !['FAILED', 'OUT_OF_MEMORY'].includes(state)) return '0:0'
  const code = job.waitStatus >> 8
  return `${code > 127 ? code - 128 : code}:${job.waitStatus & 0x7f}`
}
