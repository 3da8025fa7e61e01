/**
 * What the programs complain about, by their words. Exit codes are not used: 35, 153 and 170 mean different things in the two.
 *
 * Sources: OpenPBS `src/lib/Liblog/pbs_messages.c` (v23.06.06), Torque `src/include/pbs_error_db.h` (git master of June 2020),
 * and replies seen on OpenPBS 23.06 and Torque 7.0.
 */

import type { Reading, ReadingFailure, Reply } from '@orbweaver/core/command-line'

export type ComplaintKind =
  | 'gone'
  | 'ended'
  | 'unreachable'
  | 'authentication'
  | 'permission'
  | 'limit'
  | 'array-size'
  | 'refused'
  | 'no-history'
  | 'element'
  | 'unsupported'

export interface Complaint {
  readonly kind: ComplaintKind
  readonly rule: string
  readonly text: string
}

const TABLE: readonly (readonly [RegExp, ComplaintKind, string?])[] = [
  [/Unknown Job Id|nonexistent job id|Unknown Array ID/, 'gone'],
  [/Job has finished|Request invalid for (?:state of job|finished)/, 'ended'],
  [/PBS is not configured to maintain job history/, 'no-history'],
  // What OpenPBS 23.06 says to qhold and qrls of one element.
  [/: Invalid request .*\[[\d,-]+\]/, 'element'],
  [
    /cannot connect to (?:server|specified)|could(?: not|n't) connect to (?:cluster|batch server|trqauthd)|Unable to communicate with|Can not establish connection|Connection (?:refused|timed out|reset)|Communication failure|errno=150(?:10|33)|End of File|Server shutting down|too busy to service|No free connections|connection table full|trqauthd unable to authorize|Resource temporarily unavailable/i,
    'unreachable',
  ],
  [
    /\bpbs_iff\b|\bmunge\b|(?:Invalid|Expired) credential|No Permission|socket information is not accessible/i,
    'authentication',
  ],
  [
    /Array job exceeds server or queue size limit|Bad Job Array Request MSG=Requested array size too large/,
    'array-size',
    'array size',
  ],
  [
    /Maximum number of jobs (?:for .{1,80} )?already in (?:queue|complex)|would exceed (?:queue|complex|limit|per-)/,
    'limit',
    'jobs in the queue',
  ],
  [
    /Unauthorized Request|Access to queue is denied|Access from host not allowed|client is not allowed\/trusted/,
    'permission',
    'permission',
  ],
  [/Bad UID for job execution|can not be run as root/, 'permission', 'account that submits'],
  [/Unknown queue|Queue is not enabled|No default queue specified/, 'refused', 'queue'],
  [/Queue does not allow/, 'refused', 'kind of job'],
  [/Unknown resource|Illegal attribute or resource value/, 'refused', 'resource'],
  [
    /Job (?:violates|exceeds) queue|Resource limit exceeds allowable|Job rejected by all possible destinations/,
    'refused',
    'limits of the queue',
  ],
  [/Invalid Account/, 'refused', 'account'],
  [/illegal -N value|name is too long/, 'refused', 'name'],
  [
    /illegal -[A-Za-z]+ value|(?:invalid|unknown|unrecognized) option|is not a valid option|cannot submit non-rerunable|^usage: q/im,
    'unsupported',
    'options of qsub',
  ],
]

export function classify(text: string): Complaint | undefined {
  const row = TABLE.find(([pattern]) => pattern.test(text))
  return row === undefined ? undefined : { kind: row[1], rule: row[2] ?? '', text: brief(text) }
}

/** On one line, without the name of the program. */
export function brief(text: string): string {
  const joined = text
    .split(/\r?\n/)
    .map((line) => line.trim().replace(/^q[a-z]+: /, ''))
    .filter((line) => line !== '')
    .join('; ')
  return joined.length > 400 ? `${joined.slice(0, 400)} …` : joined
}

/**
 * Why a question got no answer; undefined: it did. Each line of stderr is about one id: those that say that a job is gone are
 * part of an answer, whatever the exit code.
 */
export function failure({ exitCode, signal, stderr }: Reply): ReadingFailure | undefined {
  if (exitCode === undefined) return { kind: 'unavailable', message: `ended by ${signal ?? 'a signal'}` }
  const complaints = stderr
    .split(/\r?\n/)
    .map(classify)
    .filter((complaint) => complaint !== undefined)
  const message = brief(stderr)
  const has = (...kinds: readonly ComplaintKind[]): boolean =>
    complaints.some(({ kind }) => kinds.includes(kind))
  if (has('unreachable', 'authentication')) return { kind: 'unavailable', message }
  // OpenPBS says it for each id, with exit code 0 and no answer.
  if (has('no-history')) return { kind: 'unsupported', message }
  if (exitCode === 0) return undefined
  if (has('element'))
    return { kind: 'bad-request', message: `${message} (only whole arrays can be held: set arrays: false)` }
  if (has('unsupported')) return { kind: 'unsupported', message }
  if (has('permission')) return { kind: 'denied', message }
  if (has('gone', 'ended')) return undefined
  return { kind: 'unreadable', message: `exit code ${exitCode}: ${message}` }
}

/**
 * Cancel, hold and release: what has ended or is not known is no failure. Torque's qhold and qrls say nothing of an id that
 * they do not know, but for their exit code.
 */
export function readAction(reply: Reply): Reading<undefined> {
  const silent = reply.exitCode === 153 && reply.stderr.trim() === ''
  return (silent ? undefined : failure(reply)) ?? { kind: 'answer', value: undefined }
}
