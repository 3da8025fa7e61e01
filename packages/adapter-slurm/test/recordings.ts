/** Recorded replies, in whatever format their command asked for, through the adapter's own readers. */

import { constants } from 'node:os'
import { expect } from 'chai'
import type { Recording } from '@orbweaver/conformance'
import type { JobId, JobStatus } from '@orbweaver/core'
import { failureOf, readComplaint } from '#src/complaints.js'
import { expandId } from '#src/ids.js'
import { readRows } from '#src/rows.js'
import { accountStatuses, type AccountRow } from '#src/sacct.js'
import { queueStatus, type QueueRow } from '#src/squeue.js'
import { readState } from '#src/states.js'
import { readSubmit, readSubmittedId } from '#src/submit.js'

const NOW_MS = Date.UTC(2026, 10, 22)

/** Letters of `squeue -o` and fields of `sacct -o` and `squeue -O` that the adapter reads. Others are carried along. */
const FIELDS: Readonly<Record<string, string>> = {
  '%i': 'id',
  '%T': 'state',
  '%t': 'state',
  '%r': 'reason',
  '%P': 'queue',
  '%N': 'nodes',
  '%j': 'name',
  jobid: 'id',
  jobidraw: 'raw',
  jobname: 'name',
  name: 'name',
  state: 'state',
  exitcode: 'exit',
  reason: 'reason',
  submit: 'submitted',
  submittime: 'submitted',
  start: 'started',
  starttime: 'started',
  end: 'ended',
  endtime: 'ended',
  elapsed: 'elapsed',
  elapsedraw: 'elapsed',
  totalcpu: 'cpu',
  maxrss: 'memory',
  reqmem: 'asked',
  ncpus: 'cpus',
  alloccpus: 'cpus',
  nodelist: 'nodes',
  partition: 'queue',
}
const DEFAULT_SACCT = 'JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode'
/** The recorded command is told with `...`; these are the columns of its reply. */
const AIIDA = '%i^^^%t^^^%r^^^%B^^^%u^^^%D^^^%C^^^%R^^^%P^^^%l^^^%M^^^%S^^^%j^^^%V'

/** Statuses by id, as the adapter reads them. */
export function statusesOf(recording: Recording): ReadonlyMap<string, JobStatus> {
  const { command, stdout } = recording
  if (/--json/.test(command)) return fromJson(stdout)
  if (/^scontrol/.test(command)) return queue(stdout.split('\n').flatMap(fromScontrol))
  const account = /^sacct/.test(command)
  const { words, separator, text } = formatOf(command, stdout)
  const fields = words.map((word, index) => FIELDS[word.toLowerCase()] ?? FIELDS[word] ?? `other${index}`)
  const free = fields.includes('name') ? 'name' : undefined
  // --parsable and -p end each row with the separator; -P, --parsable2 and squeue -o do not.
  const closed = account && /(?:--parsable|-p)(?:\s|$)/.test(command)
  const { rows } = readRows(text, {
    fields,
    separator,
    closed,
    ...(free !== undefined && { free }),
    isRow: (first) => expandId(account ? first.replace(/\..*$/, '') : first) !== undefined,
  })
  return account ? accountStatuses(rows.map(withId) as unknown as AccountRow[], NOW_MS) : queue(rows)
}

/** A query for raw ids has them in place of the others. */
function withId(row: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return row['id'] === undefined ? { ...row, id: row['raw'] ?? '' } : row
}

function queue(rows: readonly QueueRow[]): ReadonlyMap<string, JobStatus> {
  const found = new Map<string, JobStatus>()
  for (const row of rows)
    for (const id of expandId(row.id ?? '') ?? []) found.set(id, queueStatus(row, id, NOW_MS))
  return found
}

function formatOf(
  command: string,
  stdout: string,
): { readonly words: readonly string[]; readonly separator: string; readonly text: string } {
  if (command.includes('%i^^^')) return { words: AIIDA.split('^^^'), separator: '^^^', text: stdout }
  if (command.includes('GC3Pie^')) {
    const text = stdout.replace(/^GC3Pie\^/gm, '')
    return { words: ['%i', '%T', '%r'], separator: '^', text }
  }
  if (/0x1F/i.test(command)) {
    const [header = ''] = stdout.split('\n')
    // The account stands before the id.
    const words = header
      .split('\u001f')
      .slice(1)
      .map((word) => word.toLowerCase().replace('_', ''))
    const lines = stdout.replaceAll('\u001e', '\n').split('\n')
    const text = lines.map((line) => line.slice(line.indexOf('\u001f') + 1)).join('\n')
    return { words, separator: '\u001f', text }
  }
  const given = /(?:-o|-O|--format|--Format)[ =]'?([^']+?)'?(?= -|$)/.exec(command)?.[1]
  if (/^sacct/.test(command)) {
    const words = (given ?? DEFAULT_SACCT).split(' ')[0]?.split(',') ?? []
    return { words: words.map((word) => word.replace(/%.*/, '')), separator: '|', text: stdout }
  }
  if (given?.startsWith('%') === true) {
    const separator = given.includes('|') ? '|' : ' '
    return { words: given.split(separator), separator, text: stdout }
  }
  const words = (given ?? '').split(',').map((word) => word.replace(/:.*/, ''))
  if (given?.includes('|') === true) {
    // Two of its columns ask for a doubled bar: an empty one beside each.
    const spread = given
      .split(',')
      .flatMap((word) => [word.replace(/:.*/, ''), ...(word.endsWith('||') ? ['none'] : [])])
    return { words: spread, separator: '|', text: stdout }
  }
  return {
    words: words.slice(0, 4),
    separator: '|',
    text: stdout.replace(/[ \t]+$/gm, '').replace(/[ \t]+/g, '|'),
  }
}

function fromScontrol(line: string): readonly QueueRow[] {
  const field = (key: string): string => new RegExp(`(?:^|\\s)${key}=(\\S*)`).exec(line)?.[1] ?? ''
  const id = field('JobId')
  if (id === '') return []
  const exit = field('ExitCode')
  return [{ id, state: field('JobState'), reason: field('Reason'), restarts: field('Restarts'), exit, line }]
}

/** The adapter asks for no JSON; lists of words it reads all the same. */
function fromJson(text: string): ReadonlyMap<string, JobStatus> {
  const { jobs } = JSON.parse(text) as {
    readonly jobs: readonly {
      readonly job_id: number
      readonly job_state?: string | readonly string[]
      readonly state?: { readonly current: string | readonly string[] }
    }[]
  }
  return new Map(
    jobs.map(({ job_id: id, job_state: state, state: states }) => {
      const { meaning } = readState(state ?? states?.current ?? '')
      return [
        String(id),
        { ...meaning, id: String(id) as JobId, restarts: 0, native: { state: '' }, evidence: [] },
      ]
    }),
  )
}

/** The class of an error, in the words of the recordings' index; undefined when the reply is an answer. */
export function errorClassOf({ command, exit, stdout, stderr }: Recording): string | undefined {
  if (/^sbatch|sbatch /.test(command) && exit === 0 && readSubmittedId(stdout) === undefined && stdout !== '')
    return 'UNPARSABLE'
  const complaint = readComplaint(stderr) ?? (exit === 0 ? undefined : readComplaint(stdout))
  const failure = failureOf({ exitCode: exit, stdout, stderr })
  if (complaint === undefined) return failure === undefined ? undefined : 'UNPARSABLE'
  return CLASSES[complaint.kind]
}

const CLASSES = {
  'not-found': 'NOT_FOUND',
  'already-finished': 'ALREADY_FINISHED',
  unreachable: 'UNREACHABLE',
  authentication: 'AUTH',
  permission: 'PERMISSION',
  limit: 'LIMIT',
  refused: 'REJECTED',
  'bad-request': 'BAD_REQUEST',
  unsupported: 'BAD_REQUEST',
  'accounting-off': 'ACCOUNTING_DISABLED',
} as const

export const TRANSIENT: ReadonlySet<string> = new Set(['UNREACHABLE', 'AUTH', 'LIMIT'])

// ---------------------------------------------------------------- expectations of the public index

export interface Expectation {
  readonly error?: { readonly class: string; readonly transient: boolean } | null
  readonly absent?: readonly string[]
  readonly minRows?: number
  readonly submit?: { readonly jobId: string; readonly cluster: string | null; readonly isArray: boolean }
  readonly jobs?: Readonly<Record<string, ExpectedJob>>
}
interface ExpectedJob {
  readonly phase: string
  readonly outcome: string | null
  readonly exitCode: number | null
  readonly signal: number | null
  readonly exitCodeExact?: boolean
  readonly waitingOn?: string
  readonly heldBy?: string
  readonly willNeverRun?: boolean
  readonly elapsedSeconds?: number
  readonly cpuSeconds?: number
  readonly maxRssBytes?: number
  readonly cancelledByUid?: number
}

/** Limits that pass by themselves are waited for, although the index calls one of them a refusal. */
const WAITED_FOR = new Set(['slurm-firecrest-sbatch-quota'])

export function checkCase(recording: Recording, expected: Expectation): void {
  if (expected.error !== null && expected.error !== undefined) {
    const wanted = WAITED_FOR.has(recording.id) ? { class: 'LIMIT', transient: true } : expected.error
    expect(errorClassOf(recording), 'class of the error').to.equal(wanted.class)
    expect(TRANSIENT.has(wanted.class)).to.equal(wanted.transient)
  } else if (expected.error === null)
    expect(errorClassOf(recording), 'class of the error').to.equal(undefined)
  if (expected.submit !== undefined) checkSubmit(recording, expected.submit)
  if (expected.jobs === undefined && expected.absent === undefined && expected.minRows === undefined) return
  const found = statusesOf(recording)
  if (expected.minRows !== undefined) expect(found.size).to.be.at.least(expected.minRows)
  for (const id of expected.absent ?? []) expect(found.has(id), `${id} is reported`).to.equal(false)
  if (expected.jobs === undefined) return
  expect([...found.keys()]).to.have.members(Object.keys(expected.jobs))
  for (const [id, job] of Object.entries(expected.jobs)) checkJob(id, found.get(id), job, recording)
}

function checkSubmit(recording: Recording, submit: NonNullable<Expectation['submit']>): void {
  const { id, cluster } = readSubmittedId(recording.stdout) ?? {}
  expect({ id, cluster: cluster ?? null }).to.deep.equal({ id: submit.jobId, cluster: submit.cluster })
  const reply = { exitCode: recording.exit, stdout: recording.stdout, stderr: recording.stderr }
  expect(readSubmit(reply, { array: false, members: [] })).to.deep.equal({
    kind: 'accepted',
    ids: [submit.jobId],
  })
}

function checkJob(id: string, status: JobStatus | undefined, job: ExpectedJob, { command }: Recording): void {
  if (status === undefined) expect.fail(`${id} is not reported`)
  const word = (text: string): string => text.toLowerCase().replaceAll('_', '-')
  expect(status.phase, `phase of ${id}`).to.equal(word(job.phase))
  expect(status.outcome ?? null, `outcome of ${id}`).to.equal(job.outcome === null ? null : word(job.outcome))
  // The queue's own code is exact; where the format of a recording has none, nothing is made up.
  if (job.exitCode !== 0 || status.exitCode !== undefined || /^sacct/.test(command))
    expect(status.exitCode ?? null, `exit code of ${id}`).to.equal(job.exitCode)
  const signal = status.signal === undefined ? null : constants.signals[status.signal as NodeJS.Signals]
  expect(signal, `signal of ${id}`).to.equal(job.signal)
  if (job.exitCodeExact !== undefined) expect(status.exitCodeExact).to.equal(job.exitCodeExact)
  if (job.waitingOn !== undefined) expect(status.waitingOn, `${id} waits on`).to.equal(job.waitingOn)
  if (job.heldBy !== undefined) expect(status.heldBy, `${id} is held by`).to.equal(job.heldBy)
  if (job.willNeverRun !== undefined) expect(status.willNeverRun ?? false).to.equal(job.willNeverRun)
  if (/^sacct/.test(command)) {
    if (job.elapsedSeconds !== undefined) expect(status.usage?.elapsedSeconds).to.equal(job.elapsedSeconds)
    if (job.cpuSeconds !== undefined) expect(status.usage?.cpuSeconds).to.equal(job.cpuSeconds)
    if (job.maxRssBytes !== undefined) expect(status.usage?.peakMemoryBytes).to.be.closeTo(job.maxRssBytes, 1)
  }
  if (job.cancelledByUid !== undefined) {
    const said = status.evidence.map(({ text }) => text).join('\n')
    expect(said).to.contain(`uid ${job.cancelledByUid}`)
  }
}
