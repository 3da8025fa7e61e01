/** How a job that has ended came to its end: Exit_status, substate, comment and what it used. Nothing missing makes success. */

import type { JobOutcome, JobStatus } from '@orbweaver/core'
import type { Flavour } from './config.js'
import { OPENPBS_EXITS, TORQUE_EXITS } from './exits.js'
import { partsOf } from './ids.js'
import type { PbsRecord } from './records.js'
import { nameOfSignal, readBytes, readSeconds } from './values.js'

/** What reading depends on. */
export interface Site {
  readonly flavour: Flavour
  /** The server keeps jobs that have ended. */
  readonly ended: boolean
  /**
   * Elements of arrays that ran keep records of their own. So they do on OpenPBS 23.06 with history; without, and on servers
   * before 19, all records of ended elements are made up from the array's.
   */
  readonly elements: boolean
  /** Name of the server, with which ids end. */
  readonly server: string
}

type Fields = PbsRecord['fields']
type End = Pick<JobStatus, 'exitCode' | 'signal'> & { readonly outcome: JobOutcome }

/** Which only a job that has begun tells. */
const BEGUN =
  /^(?:exec_host2?|exec_vnode|session_id|run_count|start_count|start_time|total_runtime|resources_used\..+)$/
const hasBegun = (fields: Fields): boolean => [...fields.keys()].some((name) => BEGUN.test(name))

/**
 * The record of an element that OpenPBS made up from the array's: substate, Exit_status and stime are the array's, only letter
 * and comment are the element's own.
 */
export const isOfArray = ({ id, fields }: PbsRecord): boolean =>
  (partsOf(id)?.index ?? '') !== '' && !hasBegun(fields)

export function endOf(record: PbsRecord, site: Site): End {
  if (site.flavour === 'torque') return endOnTorque(record.fields)
  return isOfArray(record) ? endOfElement(record.fields, site) : endOnOpenPbs(record.fields)
}

/** Exit_status as it is: a number that fits no process is none. */
function exitOf(fields: Fields): number | undefined {
  const text = (fields.get('Exit_status') ?? fields.get('exit_status'))?.trim()
  return text !== undefined && /^-?\d{1,5}$/.test(text) ? Number(text) : undefined
}

/**
 * Seen on OpenPBS 23.06: an element that was deleted before it began has the comment "Subjob finished", and an Exit_status that
 * is 0, 1 or missing, as the array's is just then.
 */
function endOfElement(fields: Fields, { elements }: Site): End {
  const comment = fields.get('comment') ?? ''
  if (/^Subjob failed/.test(comment)) return { outcome: 'failed' }
  if (/^Subjob terminated/.test(comment)) return { outcome: 'cancelled' }
  return { outcome: /^Subjob finished/.test(comment) && elements ? 'cancelled' : 'unknown' }
}

function endOnOpenPbs(fields: Fields): End {
  const code = exitOf(fields)
  const substate = fields.get('substate')
  // A job that was removed because the one before it failed is told by what is missing.
  if (code === undefined && substate === '92' && !fields.has('stime') && !fields.has('comment'))
    return { outcome: fields.has('depend') ? 'dependency-failed' : 'unknown' }
  if (substate === '94') return { outcome: 'revoked' }
  if (code !== undefined && code < 0) return { outcome: OPENPBS_EXITS.get(code)?.outcome ?? 'failed' }
  // Ended by force: by a person or by a limit. Releases before 2022 tell both alike.
  if (substate === '91') return { outcome: beyondLimit(fields) ?? 'cancelled', ...killedBy(code) }
  // 92: ended with 0. Another substate beside it: two witnesses that disagree make no success.
  if (code === 0 && substate !== undefined && substate !== '92') return { outcome: 'unknown' }
  return endByCode(code, fields)
}

function endOnTorque(fields: Fields): End {
  const code = exitOf(fields)
  // It has exit_status 271 although it never ran.
  if (/Job deleted as result of dependency/i.test(fields.get('comment') ?? ''))
    return { outcome: 'dependency-failed' }
  if (code === undefined && wasDeletedInQueue(fields)) return { outcome: 'cancelled' }
  if (code !== undefined && code < 0) return { outcome: TORQUE_EXITS.get(code)?.outcome ?? 'failed' }
  if (code === 0 && !hasBegun(fields)) return { outcome: 'unknown' }
  return endByCode(code, fields)
}

/**
 * Torque 7.0 keeps a job that was deleted in the queue as C without exit_status. Only of a record that is told to its end, with
 * fields that come after those that are missing, their absence says that it never began.
 */
function wasDeletedInQueue(fields: Fields): boolean {
  const whole = ['job_state', 'ctime', 'mtime', 'job_radix', 'submit_host'].every((name) => fields.has(name))
  return whole && !hasBegun(fields) && !fields.has('comp_time')
}

const signalOf = (code: number | undefined): string | undefined =>
  code === undefined || code < 256 ? undefined : nameOfSignal(code - 256)
function killedBy(code: number | undefined): Pick<End, 'signal'> {
  const signal = signalOf(code)
  return signal === undefined ? {} : { signal }
}

/** 0 to 255: the code of the program. 256 and a signal: its top process was killed. */
function endByCode(code: number | undefined, fields: Fields): End {
  if (code === undefined) return { outcome: 'unknown' }
  if (code === 0) return { outcome: 'succeeded', exitCode: 0 }
  if (code < 256) return { outcome: 'failed', exitCode: code }
  const signal = signalOf(code)
  if (signal === undefined) return { outcome: 'failed' }
  return { outcome: beyondLimit(fields) ?? (signal === 'SIGTERM' ? 'cancelled' : 'failed'), signal }
}

function beyondLimit(fields: Fields): JobOutcome | undefined {
  const comment = fields.get('comment') ?? ''
  if (/exceeded resource (?:p?v?mem)\b/i.test(comment)) return 'out-of-memory'
  if (/exceeded resource (?:walltime|p?cput)\b/i.test(comment)) return 'timeout'
  const exceeds = (name: string, read: (text: string | undefined) => number | undefined): boolean => {
    const [used, asked] = [
      read(fields.get(`resources_used.${name}`)),
      read(fields.get(`Resource_List.${name}`)),
    ]
    return used !== undefined && asked !== undefined && asked > 0 && used >= asked
  }
  if (exceeds('walltime', readSeconds)) return 'timeout'
  return exceeds('mem', readBytes) ? 'out-of-memory' : undefined
}
