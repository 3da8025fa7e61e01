/**
 * What Slurm's programs complain about on stderr. Texts: `slurm_strerror` of slurm_errno.c and the programs' own, releases
 * 20.02 to 26.05; most were seen. One place, so that no text is understood in two ways.
 */

import type { ReadingFailure, Reply } from '@orbweaver/core/command-line'

export type ComplaintKind =
  | 'not-found'
  | 'already-finished'
  | 'unreachable'
  | 'authentication'
  | 'permission'
  | 'limit'
  | 'refused'
  | 'bad-request'
  | 'unsupported'
  | 'accounting-off'

export interface Complaint {
  readonly kind: ComplaintKind
  /** The lines that say it, without the program's name. */
  readonly text: string
  /** Of a refusal or limit: what was broken, in a few words. */
  readonly rule?: string
}

type Rule = readonly [pattern: RegExp, kind: ComplaintKind, rule?: string]

/** First match wins; the more special text stands first. */
const RULES: readonly Rule[] = [
  [/accounting storage is disabled/i, 'accounting-off'],
  [
    /Invalid field requested|Invalid job format specification|Invalid (?:sort|format) specification/i,
    'unsupported',
  ],
  [
    /munge|Protocol authentication error|Invalid authentication credential|auth_\w+ plugin|authentication/i,
    'authentication',
  ],
  [
    /Unable to contact slurm controller|Unable to contact|Socket timed out|Zero Bytes were transmitted|Problem talking to the database|Connection refused|Connection (?:reset|timed out)|Unable to establish con|Communication (?:connection|shutdown) failure|failed to open persistent connection|slurmdbd: |Slurm backup controller in standby|Slurm controller in standby|is DOWN$|Transport endpoint is not connected|Incompatible versions of client|No route to host|Rate limit exceeded|RPC limit/im,
    'unreachable',
  ],
  [
    /already completing or completed|Job is no longer (?:pending|running)|Job has already finished|Job is not pending/i,
    'already-finished',
  ],
  [/Invalid job id specified|Job\/step not found|No job found/i, 'not-found'],

  // ---- limits that pass by themselves
  [
    /(?:Max|Grp)Submit\w*Limit|MaxSubmitJobs?\w*|(?:Assoc|QOS)\w*Submit\w*/i,
    'limit',
    'number of jobs submitted',
  ],
  [
    /(?:Assoc|QOS)\w*Per(?:Job|Node)\w*|(?:Assoc|QOS)MaxWall\w*|QOSMin\w+|QOSTimeLimit/i,
    'refused',
    'limit of one job of the account or QOS',
  ],
  [
    /temporarily unable to accept job|MaxJobCount|Too many (?:jobs|pending)|job queue is full|Resource temporarily unavailable/i,
    'limit',
    'number of jobs of the cluster',
  ],
  [
    /Required partition not available|Requested partition configuration not available now|Required node not available/i,
    'limit',
    'partition or node not available',
  ],
  [/violates accounting\/QOS policy|Job violates accounting policy/i, 'limit', 'limit of the account or QOS'],

  // ---- refused for good
  [/Invalid job array specification/i, 'refused', 'array size'],
  [/invalid partition|Invalid partition name/i, 'refused', 'partition'],
  [/Invalid account|account\/partition combination/i, 'refused', 'account'],
  [/Invalid qos/i, 'refused', 'QOS'],
  [
    /Memory specification can not be satisfied|Memory required by task is not available/i,
    'refused',
    'memory of the nodes',
  ],
  [
    /CPU count per node can not be satisfied|More processors requested than permitted|CPU count specification invalid/i,
    'refused',
    'cpus of the nodes',
  ],
  [
    /Node count specification invalid|Requested node configuration is not available/i,
    'refused',
    'size of the nodes',
  ],
  [/time limit (?:is invalid|exceeds)|Requested time limit|Invalid --time|walltime/i, 'refused', 'walltime'],
  [
    /reservation is invalid|Invalid reservation|Access denied to requested reservation|reservation/i,
    'refused',
    'reservation',
  ],
  [/Invalid feature|Invalid constraint/i, 'refused', 'constraint'],
  [/generic resource|\bgres\b|Invalid Trackable RESource|invalid TRES/i, 'refused', 'gpus'],
  [/Invalid licens/i, 'refused', 'licences'],
  [/Invalid node name/i, 'refused', 'node'],
  [/dependency problem/i, 'refused', 'dependency'],
  [
    /group not permitted|not authorized|Access\/permission denied|User is not (?:permitted|allowed)|Operation not permitted/i,
    'permission',
    'permission',
  ],
  [
    /does not look like a batch script|DOS line breaks|Unable to open file|No job identification|Invalid job id\b|unrecognized option|invalid option|option '.*' (?:is ambiguous|requires|doesn't)|Invalid \w+ specification|Invalid (?:--)?[\w-]+ (?:specified|specification)|unknown (?:field|key)|not a valid/i,
    'bad-request',
    'options of sbatch',
  ],
  [/Batch job submission failed/i, 'refused', 'rule of the site'],
]

/** What a program complains about; undefined when it does not, or in words that nobody knows. */
export function readComplaint(text: string): Complaint | undefined {
  const found = RULES.find(([pattern]) => pattern.test(text))
  if (found === undefined) return undefined
  const [, kind, rule] = found
  return { kind, text: plain(text), ...(rule !== undefined && { rule }) }
}

/** The complaint without program names, on one line. */
export function plain(text: string): string {
  const lines = text
    .split('\n')
    .map((line) => line.trim().replace(/^(?:\w+: )?(?:error|fatal): /, ''))
    .filter((line) => line !== '' && !/^\*+( .*\*+)?$/.test(line))
  const short = lines.join('; ')
  return short.length <= 500 ? short : `${short.slice(0, 500)} …`
}

/**
 * Why a question got no answer; undefined: it did. Programs exit with 0 beside an error on stderr (multi-cluster and
 * permission errors), and with 1 for questions about ids that nobody has.
 */
export function failureOf(reply: Reply): ReadingFailure | undefined {
  const { exitCode, signal, stderr, stdout } = reply
  if (exitCode === undefined) return { kind: 'unavailable', message: `ended by ${signal ?? 'a signal'}` }
  const complaint = readComplaint(stderr) ?? (exitCode === 0 ? undefined : readComplaint(stdout))
  const message = complaint?.text ?? plain(stderr)
  switch (complaint?.kind) {
    case 'unreachable':
    case 'authentication':
      return { kind: 'unavailable', message }
    case 'accounting-off':
      return { kind: 'absent', message }
    case 'unsupported':
      return { kind: 'unsupported', message }
    case 'not-found':
    case 'already-finished':
      return undefined
    case 'permission':
      return exitCode === 0 ? undefined : { kind: 'denied', message }
    default:
      if (exitCode === 0) return undefined
      if (complaint?.kind === 'bad-request') return { kind: 'bad-request', message }
      return { kind: 'unreadable', message: `exit code ${exitCode}${message === '' ? '' : `: ${message}`}` }
  }
}
