/** A record of qstat → how the job stands. */

import { createHash } from 'node:crypto'
import { jobId, type JobId, type JobPhase, type JobStatus } from '@orbweaver/core'
import { answer, type Reading, type Reply } from '@orbweaver/core/command-line'
import { brief, failure } from './complaints.js'
import type { Flavour } from './config.js'
import { endOf, isOfArray, type Site } from './ends.js'
import { exitMeaning } from './exits.js'
import { indexOf, keyOf, partsOf } from './ids.js'
import { readRecords, type PbsRecord } from './records.js'
import { readBytes, readHosts, readSeconds, readTime } from './values.js'

/** As OpenPBS 23.06 prints them. M is not here: the job has moved to another server, and only that one knows it. */
const OPENPBS_LETTERS: Readonly<Record<string, JobPhase>> = {
  Q: 'queued',
  W: 'queued',
  T: 'queued',
  H: 'held',
  R: 'running',
  B: 'running',
  S: 'suspended',
  U: 'suspended',
  E: 'finishing',
  F: 'finished',
  X: 'finished',
}
/** As Torque 7.0 prints them. */
const TORQUE_LETTERS: Readonly<Record<string, JobPhase>> = {
  Q: 'queued',
  W: 'queued',
  T: 'queued',
  H: 'held',
  R: 'running',
  S: 'suspended',
  E: 'finishing',
  C: 'finished',
}

/** Name of the variable by which a job tells our own name, which is longer than names of PBS may be. */
export const NAME_VARIABLE = 'ORBWEAVER_JOB'
/**
 * Job_Name of one of our names: 15 characters, which every release takes whole (old ones cut or refuse longer ones), 65 bits
 * of the name's hash.
 */
export function shortName(name: string): string {
  const digest = createHash('sha256').update(name).digest()
  return `ow${[...digest.subarray(0, 13)].map((byte) => (byte & 31).toString(32)).join('')}`
}

export function toStatus(record: PbsRecord, site: Site, atMs: number): JobStatus {
  const { fields } = record
  const { flavour } = site
  const letter = fields.get('job_state') ?? ''
  const letters = flavour === 'torque' ? TORQUE_LETTERS : OPENPBS_LETTERS
  // OpenPBS holds arrays as a whole: their elements keep the letter Q.
  const told =
    letter === 'Q' && isOfArray(record) && /[uosp]/.test(fields.get('Hold_Types') ?? '') ? 'H' : letter
  const known = Object.hasOwn(letters, told) ? letters[told] : undefined
  const phase = record.contradictory ? 'unknown' : (known ?? 'unknown')
  const comment = fields.get('comment')
  // Of a record made up from the array's these are the array's.
  const own = (name: string): string | undefined => (isOfArray(record) ? undefined : fields.get(name))
  const exit = own('exit_status') ?? own('Exit_status')
  const substate = own('substate')
  const meaning = exit === undefined ? undefined : exitMeaning(flavour, exit)
  return {
    id: jobId(record.id),
    ...ourName(record),
    ...(phase === 'finished'
      ? { phase, ...endOf(record, site) }
      : phase === 'queued' || phase === 'held'
        ? waiting(record, phase, letter, flavour)
        : { phase }),
    restarts: Math.max(0, (readCount(fields.get('run_count') ?? fields.get('start_count')) ?? 1) - 1),
    native: {
      state: letter,
      ...(comment !== undefined && { reason: brief(comment) }),
      ...(substate !== undefined && { flags: [`substate ${substate}`] }),
    },
    evidence: [
      {
        source: 'queue',
        text: [
          `qstat: ${letter}`,
          ...(substate === undefined ? [] : [`substate ${substate}`]),
          ...(exit === undefined ? [] : [`Exit_status ${exit}`]),
          ...(meaning === undefined ? [] : [meaning]),
          ...(comment === undefined ? [] : [brief(comment)]),
          ...(record.contradictory ? ['the reply contradicts itself'] : []),
        ].join(', '),
        atMs,
      },
    ],
    ...facts(fields, phase),
  }
}

/** Of an element the name of its array, as both flavours hand it to all elements. */
function ourName({ id, fields }: PbsRecord): { readonly name?: string } {
  const match = new RegExp(`(?:^|,)${NAME_VARIABLE}=([a-z0-9-]{1,60})(?:,|$)`).exec(
    fields.get('Variable_List') ?? '',
  )
  const name = match?.[1]
  if (name === undefined) return {}
  // Only a name that the job's own carries the hash of. Torque adds the index.
  const [job, index] = [fields.get('Job_Name'), indexOf(jobId(id))]
  const carries = job === shortName(name) || (index !== undefined && job === `${shortName(name)}-${index}`)
  return carries ? { name } : {}
}

const readCount = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,6}$/.test(text.trim()) ? Number(text) : undefined

function facts(fields: PbsRecord['fields'], phase: JobPhase): Partial<JobStatus> {
  const elapsedSeconds = readSeconds(fields.get('resources_used.walltime'))
  const cpuSeconds = readSeconds(fields.get('resources_used.cput'))
  const peakMemoryBytes = readBytes(fields.get('resources_used.mem'))
  const submittedAtMs = readTime(fields.get('ctime'))
  const startedAtMs = readTime(fields.get('stime') ?? fields.get('start_time'))
  const endedAtMs =
    phase === 'finished'
      ? readTime(fields.get('obittime') ?? fields.get('comp_time') ?? fields.get('mtime'))
      : undefined
  const nodes = readHosts(fields.get('exec_host'))
  const queue = fields.get('queue')
  const usage = {
    ...(elapsedSeconds !== undefined && { elapsedSeconds }),
    ...(cpuSeconds !== undefined && { cpuSeconds }),
    // 0: it has not been sampled.
    ...(peakMemoryBytes !== undefined && peakMemoryBytes > 0 && { peakMemoryBytes }),
  }
  return {
    ...(queue !== undefined && { queue }),
    ...(nodes.length > 0 && { nodes }),
    ...(submittedAtMs !== undefined && { submittedAtMs }),
    ...(startedAtMs !== undefined && { startedAtMs }),
    ...(endedAtMs !== undefined && { endedAtMs }),
    ...(Object.keys(usage).length > 0 && { usage }),
  }
}

/** Held is for a person to end. Waiting for a job, a time or a place in an array is not. */
function waiting(
  { id, fields }: PbsRecord,
  phase: 'queued' | 'held',
  letter: string,
  flavour: Flavour,
): Pick<JobStatus, 'phase' | 'waitingOn' | 'heldBy' | 'willNeverRun'> {
  const comment = fields.get('comment') ?? ''
  if (phase === 'held') {
    const holds = fields.get('Hold_Types') ?? ''
    if (holds.includes('u')) return { phase, heldBy: /[os]/.test(holds) ? 'admin' : 'user' }
    if (/\b(?:after|on:|syncwith)/.test(fields.get('depend') ?? ''))
      return { phase: 'queued', waitingOn: 'dependency' }
    const index = partsOf(id)?.index
    // Elements beyond the slot limit of a Torque array.
    if (flavour === 'torque' && index !== undefined && index !== '' && !/[os]/.test(holds))
      return { phase: 'queued', waitingOn: 'array-throttle' }
    return { phase, heldBy: /[osp]/.test(holds) ? 'admin' : 'unknown' }
  }
  if (/^Can Never Run/i.test(comment)) return { phase, waitingOn: 'limit', willNeverRun: true }
  if (letter === 'W') return { phase, waitingOn: 'begin-time' }
  if (/limit/i.test(comment)) return { phase, waitingOn: 'limit' }
  if (/queue not started|not enough (?:total )?nodes available/i.test(comment))
    return { phase, waitingOn: 'partition-down' }
  if (/reservation|dedicated/i.test(comment)) return { phase, waitingOn: 'reservation' }
  if (/insufficient|not enough|no available resources/i.test(comment))
    return { phase, waitingOn: 'resources' }
  return { phase }
}

/**
 * qstat of Torque (seen on its master of 2020) keeps a connection open for each id that the server does not know, and has ten.
 * From the ninth on it looks for such jobs on servers whose names are what happened to be in its memory, and says that it
 * cannot connect to those. Jobs that are known are answered all the same. A server that is away is told by its own name.
 */
function withoutStrayNames(reply: Reply, asked: readonly JobId[], site: Site): Reply {
  const unknown = reply.stderr.split(/\r?\n/).filter((line) => /Unknown Job Id/.test(line))
  if (site.flavour !== 'torque' || unknown.length < LEAKED) return reply
  const label = (name: string): string => name.split('.')[0]?.toLowerCase() ?? ''
  const ours = new Set([site.server, ...asked.map((id) => partsOf(id)?.server ?? '')].map(label))
  const named = [...reply.stderr.matchAll(/cannot connect to server (.*?) \(errno=/gs)]
  if (named.length === 0 || named.some(([, name = '']) => ours.has(label(name)))) return reply
  return { ...reply, stderr: unknown.join('\n') }
}
const LEAKED = 8

/**
 * Statuses under the ids that were asked for. Array parents are left out: PBS gives them exit status 1 as soon as one element
 * fails, and it is no element's.
 */
export function readStatuses(
  whole: Reply,
  asked: readonly JobId[],
  site: Site,
  nowMs: number,
): Reading<ReadonlyMap<JobId, JobStatus>> {
  const reply = withoutStrayNames(whole, asked, site)
  const failed = failure(reply)
  if (failed !== undefined) return failed
  const records = readRecords(reply.stdout)
  if (records.length === 0 && reply.stdout.trim() !== '')
    return {
      kind: 'unreadable',
      message: `no job in the answer of qstat: ${brief(reply.stdout).slice(0, 200)}`,
    }
  if (records.length === 0 && reply.stderr.trim() === '' && reply.exitCode === 0 && asked.length > 0)
    return { kind: 'unreadable', message: 'qstat said nothing at all about the jobs it was asked for' }
  const byKey = new Map(asked.map((id) => [keyOf(id), id]))
  const found = new Map<JobId, JobStatus>()
  for (const record of records) {
    const id = byKey.get(keyOf(record.id))
    if (id === undefined || partsOf(id)?.index === '') continue
    found.set(id, { ...toStatus(record, site, nowMs), id })
  }
  return answer(found)
}
