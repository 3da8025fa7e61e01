/** Jobs → `sbatch`: what goes into one command, its words, its answer. */

import { createHash } from 'node:crypto'
import { formatClock, jobId, printable, type BackendLimits, type JobSpec } from '@orbweaver/core'
import type { Reply, Submission, SubmitContext, SubmitReading } from '@orbweaver/core/command-line'
import { plain, readComplaint, type Complaint } from './complaints.js'
import { optionProblem, type SlurmConfig } from './config.js'
import { elementId, isJobId } from './ids.js'
import { renderArrayScript, renderScript, renderTasks } from './script.js'

const MIB = 1024 ** 2
/** `max_script_size` of slurm.conf, unless the site says otherwise. */
const MAX_SCRIPT_BYTES = 4 * MIB
/** Paths without anything that `sbatch` would read a pattern or an escape into, and within its own limit. */
const PLAIN_PATH = /^\/[\w./+=:,@-]{0,900}$/
/** sbatch waits and tries again for minutes when the controller is busy. */
const SUBMIT_TIMEOUT_MS = 180_000

/** Specs of one key and one set of requests become arrays; the others are jobs of their own. */
export function group(
  specs: readonly JobSpec[],
  context: SubmitContext,
  config: SlurmConfig,
  program: (name: string) => string,
): readonly Submission[] {
  const groups = new Map<string, JobSpec[]>()
  for (const [index, spec] of specs.entries()) {
    const { groupKey, requirements, queue, account, nativeOptions, warnSeconds } = spec
    const key =
      groupKey === undefined || context.arraySize < 2
        ? `single ${index}`
        : JSON.stringify([groupKey, requirements, queue, account, nativeOptions, warnSeconds])
    groups.set(key, [...(groups.get(key) ?? []), spec])
  }
  const submissions: Submission[] = []
  for (const members of groups.values()) {
    for (let at = 0; at < members.length; at += context.arraySize) {
      const part = members.slice(at, at + context.arraySize)
      const [only] = part
      if (only === undefined) continue
      submissions.push(
        part.length === 1
          ? single(only, config, program)
          : array(part, context, config, program, submissions.length),
      )
    }
  }
  return submissions
}

function single(spec: JobSpec, config: SlurmConfig, program: (name: string) => string): Submission {
  return {
    name: spec.name,
    members: [spec],
    array: false,
    files: [],
    command: {
      argv: [
        program('sbatch'),
        ...words(spec, config, spec.name),
        `--output=${PLAIN_PATH.test(spec.stderrPath) ? spec.stderrPath : '/dev/null'}`,
      ],
      stdin: renderScript(spec, config.environment),
      timeoutMs: SUBMIT_TIMEOUT_MS,
    },
  }
}

function array(
  members: readonly JobSpec[],
  { token, stateFolder }: SubmitContext,
  config: SlurmConfig,
  program: (name: string) => string,
  serial: number,
): Submission {
  const [first] = members
  if (first === undefined) throw new TypeError('an array has members')
  // Unique, and it tells its age: see arrayToken.
  const name = `ow-arr-${token}${serial.toString(36)}${hashOf(members.map((spec) => spec.name).join(' ')).slice(0, 4)}`
  const tasksPath = `${stateFolder}/${name}.sh`
  const logPath = `${stateFolder}/${name}.log`
  const throttle = config.arrayThrottle === undefined ? '' : `%${config.arrayThrottle}`
  return {
    name,
    members,
    array: true,
    files: [{ path: tasksPath, text: renderTasks(members, config.environment) }],
    command: {
      argv: [
        program('sbatch'),
        ...words(first, config, name),
        `--array=0-${members.length - 1}${throttle}`,
        // What Slurm itself has to say of any element; what an element prints goes to its own files.
        `--output=${PLAIN_PATH.test(logPath) ? logPath : '/dev/null'}`,
      ],
      stdin: renderArrayScript(tasksPath),
      timeoutMs: SUBMIT_TIMEOUT_MS,
    },
  }
}

/** What a job asks for, in sbatch's words; each option is one word, so no value can become an option. */
function words(spec: JobSpec, config: SlurmConfig, name: string): readonly string[] {
  const { cpus, gpus, memoryBytes, walltimeSeconds } = spec.requirements
  const partition = spec.queue ?? config.partition ?? config.queue
  const account = spec.account ?? config.account
  const warnSeconds = spec.warnSeconds ?? config.warn
  const option = (flag: string, value: string | number | undefined): readonly string[] =>
    value === undefined ? [] : [`--${flag}=${value}`]
  return [
    '--parsable',
    // Commands run in a clean environment, so this is what they are given and nothing of ours. NONE would make each node run
    // a login of the user before each job: seconds of work, start files that print or fail, jobs held for it.
    '--export=ALL',
    '--open-mode=append',
    // The script goes to the job's own folder; there is always a root.
    '--chdir=/',
    ...option('clusters', config.cluster),
    ...option('job-name', name),
    ...option('partition', partition),
    ...option('account', account),
    ...option('qos', config.qos),
    ...option('constraint', config.constraint),
    ...option('reservation', config.reservation),
    ...option('licenses', config.licenses),
    ...option('nodes', config.nodes),
    '--ntasks-per-node=1',
    ...option('cpus-per-task', cpus),
    // Of each node. Whole mebibytes: 0 would mean all memory of the node.
    ...option('mem', `${Math.max(1, Math.ceil(memoryBytes / MIB))}M`),
    // Slurm counts in minutes and would round by itself.
    ...option('time', formatClock(Math.ceil(walltimeSeconds / 60) * 60)),
    ...(gpus > 0
      ? option('gres', config.gpuType === undefined ? `gpu:${gpus}` : `gpu:${config.gpuType}:${gpus}`)
      : []),
    ...(config.exclusive ? ['--exclusive'] : []),
    ...option('begin', config.begin),
    ...option('nice', config.nice),
    ...(config.mail.length > 0 ? option('mail-type', config.mail.join(',')) : []),
    ...option('mail-user', config.mailUser),
    config.requeue ? '--requeue' : '--no-requeue',
    // B: to the script's own shell, which the command has become.
    ...(warnSeconds === undefined ? [] : option('signal', `B:USR1@${Math.min(65_535, warnSeconds)}`)),
    ...config.sbatchOptions,
    ...(spec.nativeOptions ?? []),
  ]
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/**
 * What can never be run, told before Slurm is asked: it accepts jobs beyond the limits of a partition, and lets them wait
 * for ever.
 */
export function refusal(
  spec: JobSpec,
  limits: BackendLimits,
  config: SlurmConfig,
): { readonly rule: string; readonly message: string } | undefined {
  const odd = spec.nativeOptions?.map(optionProblem).find((problem) => problem !== undefined)
  if (odd !== undefined) return { rule: 'options of sbatch', message: odd }
  const nul = [
    ...spec.command,
    ...Object.entries(spec.environment ?? {}).flat(),
    spec.directory,
    spec.stdoutPath,
    spec.stderrPath,
  ].find((text) => text.includes('\0'))
  if (nul !== undefined)
    return {
      rule: 'command',
      message: `${printable(nul)} holds a NUL character, which no program can be given`,
    }
  const name = Object.keys(spec.environment ?? {}).find((key) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(key))
  if (name !== undefined)
    return { rule: 'environment', message: `${printable(name)} cannot be the name of a variable` }
  if (Buffer.byteLength(renderScript(spec, config.environment)) > MAX_SCRIPT_BYTES)
    return { rule: 'size of the script', message: 'its command and variables are longer than 4 MiB' }
  // The limits are those of the configured partition.
  const partition = config.partition ?? config.queue
  if (spec.queue !== undefined && spec.queue !== partition) return undefined
  const { cpus, gpus, memoryBytes, walltimeSeconds } = spec.requirements
  const beyond = (
    [
      ['cpus', cpus, 'maxCpus'],
      ['gpus', gpus, 'maxGpus'],
      ['bytes of memory', memoryBytes, 'maxMemoryBytes'],
      ['seconds of walltime', walltimeSeconds, 'maxWalltimeSeconds'],
    ] as const
  ).find(([, asked, key]) => asked > (limits[key] ?? Infinity))
  if (beyond === undefined) return undefined
  const [what, asked, key] = beyond
  return {
    rule: limits.source[key] ?? key,
    message: `asks for ${asked} ${what}; at most ${limits[key]} are given`,
  }
}

/** The id stands alone on the last line that looks like one; sites print banners before it. */
export function readSubmit(reply: Reply, submission: Pick<Submission, 'array' | 'members'>): SubmitReading {
  const { exitCode, signal, stdout, stderr } = reply
  if (exitCode === undefined)
    return { kind: 'unavailable', message: `sbatch was ended by ${signal ?? 'a signal'}` }
  if (exitCode === 0) {
    const found = readSubmittedId(stdout)
    if (found === undefined)
      return { kind: 'unreadable', message: `no job id in the answer of sbatch ${plain(stderr)}`.trim() }
    const id = jobId(found.id)
    return {
      kind: 'accepted',
      ids: submission.array ? submission.members.map((_, index) => elementId(id, index)) : [id],
    }
  }
  const complaint = readComplaint(stderr) ?? readComplaint(stdout)
  if (complaint === undefined) {
    const text = plain(stderr) || plain(stdout)
    // It ended by itself and says why, in words of the site's own: understood, and refused.
    if (/^sbatch: (?:error|fatal): /m.test(stderr))
      return { kind: 'refused', rule: 'rule of the site', message: text }
    return { kind: 'unreadable', message: `sbatch ended with exit code ${exitCode} ${text}`.trim() }
  }
  return readRefusal(complaint, submission.array)
}

function readRefusal({ kind, text, rule = '' }: Complaint, isArray: boolean): SubmitReading {
  switch (kind) {
    case 'unreachable':
    case 'authentication':
      return { kind: 'unavailable', message: text }
    case 'limit':
      return { kind: 'later', reason: `${rule}: ${text}` }
    case 'refused':
      if (rule === 'array size' && isArray) return { kind: 'too-large', reason: text }
      return { kind: 'refused', rule, message: text, ...hintFor(rule) }
    case 'permission':
    case 'bad-request':
      return { kind: 'refused', rule, message: text, ...hintFor(rule) }
    default:
      return { kind: 'refused', rule: 'rule of the site', message: text }
  }
}

const HINTS: Readonly<Record<string, string>> = {
  partition: 'Set `cluster.partition` in the site file; `sinfo` lists the partitions.',
  account: 'Set `cluster.account` in the site file; `sacctmgr show assoc user=$USER` lists your accounts.',
  QOS: 'Set `cluster.qos` in the site file; `sacctmgr show assoc user=$USER format=account,qos` lists yours.',
  walltime:
    'Lower `requirements.walltime` of the processor, or set `cluster.partition` to one that allows more.',
  'memory of the nodes':
    'Lower `requirements.memory` of the processor, or choose a partition with larger nodes.',
  'cpus of the nodes': 'Lower `requirements.cpus` of the processor, or choose a partition with larger nodes.',
  'size of the nodes': 'Lower the requirements of the processor, or choose a partition with larger nodes.',
  constraint: 'Set `cluster.constraint` to features the nodes have; `sinfo -o "%P %f"` lists them.',
  reservation: 'Set `cluster.reservation` to one that exists; `scontrol show reservation` lists them.',
  gpus: 'The partition has no such GPUs; `sinfo -o "%P %G"` lists them.',
  'options of sbatch': 'Look at `cluster.sbatchOptions` in the site file.',
}

function hintFor(rule: string): { readonly hint?: string } {
  const hint = HINTS[rule]
  return hint === undefined ? {} : { hint }
}

/** `123`, `123;cluster`, `Submitted batch job 123 on cluster c`. */
export function readSubmittedId(
  stdout: string,
): { readonly id: string; readonly cluster?: string } | undefined {
  for (const line of stdout.split(/\r?\n/).reverse()) {
    const match =
      /^(\d+)(?:;([\w.-]+))?$/.exec(line.trim()) ??
      /^Submitted batch job (\d+)(?: on cluster ([\w.-]+))?$/.exec(line.trim())
    const [, id, cluster] = match ?? []
    if (id !== undefined && isJobId(id)) return { id, ...(cluster !== undefined && { cluster }) }
  }
  return undefined
}
