/** Jobs → qsub: what goes into one command, its words in each flavour, its answer. */

import { jobId, printable, type BackendLimits, type JobSpec } from '@orbweaver/core'
import type { Reply, Submission, SubmitContext, SubmitReading } from '@orbweaver/core/command-line'
import { brief, classify } from './complaints.js'
import { qsubOptionProblem, type Flavour, type PbsConfig } from './config.js'
import { elementOf, partsOf } from './ids.js'
import { arrayScript, arrayTable, jobScript } from './script.js'
import { NAME_VARIABLE, shortName } from './status.js'
import { writeWalltime } from './values.js'

const MEBIBYTE = 1024 * 1024
/** Paths in which PBS reads no host, no variable and no list; one place for the index of an element, which Torque has not. */
const PLAIN_PATH: Readonly<Record<Flavour, RegExp>> = {
  openpbs: /^\/[\w./+=@-]{0,200}(?:\^array_index\^)?[\w./+=@-]{0,200}$/,
  torque: /^\/[\w./+=@-]{0,400}$/,
}

export function submissions(
  specs: readonly JobSpec[],
  context: SubmitContext,
  config: PbsConfig,
  flavour: Flavour,
  qsub: string,
): readonly Submission[] {
  const alike = new Map<unknown, JobSpec[]>()
  for (const spec of specs) {
    const { groupKey, requirements, queue, account, nativeOptions } = spec
    const key =
      context.arraySize > 1 && groupKey !== undefined
        ? JSON.stringify({ groupKey, requirements, queue, account, nativeOptions })
        : Symbol('alone')
    const others = alike.get(key)
    if (others === undefined) alike.set(key, [spec])
    else others.push(spec)
  }
  let serial = 0
  return [...alike.values()].flatMap((members) =>
    parts(members, Math.max(1, context.arraySize)).map((part): Submission => {
      const [first] = part
      // An array of one is refused by OpenPBS.
      if (part.length === 1) {
        const messages = `${first.stderrPath}.pbs`
        const argv = [qsub, ...words(first, first.name, config, flavour, false, messages)]
        return {
          name: first.name,
          members: part,
          array: false,
          files: [],
          command: { argv, stdin: jobScript(first, config) },
        }
      }
      const name = `ow-arr-${context.token}${(serial++).toString(36)}${shortName(first.name).slice(2, 6)}`
      const path = `${context.stateFolder}/${name}.sh`
      const throttle = config.arrayThrottle === undefined ? '' : `%${config.arrayThrottle}`
      const argv = [
        qsub,
        ...words(first, name, config, flavour, true, `${context.stateFolder}/${name}.^array_index^.log`),
        flavour === 'torque' ? '-t' : '-J',
        `0-${part.length - 1}${throttle}`,
      ]
      return {
        name,
        members: part,
        array: true,
        files: [{ path, text: arrayTable(part, config) }],
        command: { argv, stdin: arrayScript(path) },
      }
    }),
  )
}

type Part = readonly [JobSpec, ...JobSpec[]]
function parts(members: readonly JobSpec[], size: number): readonly Part[] {
  const found: Part[] = []
  for (let at = 0; at < members.length; at += size) {
    const [first, ...others] = members.slice(at, at + size)
    if (first !== undefined) found.push([first, ...others])
  }
  return found
}

/** Never -V: it would drag functions and line breaks of the caller into Variable_List, which breaks every reader of it. */
function words(
  spec: JobSpec,
  name: string,
  config: PbsConfig,
  flavour: Flavour,
  array: boolean,
  messages: string,
): readonly string[] {
  const { cpus, gpus, memoryBytes, walltimeSeconds } = spec.requirements
  const memory = `${Math.max(1, Math.ceil(memoryBytes / MEBIBYTE))}mb`
  const pair = (flag: string, value: string | undefined): readonly string[] =>
    value === undefined ? [] : [flag, value]
  const resources =
    flavour === 'torque'
      ? [
          ...pair(
            '-l',
            [`nodes=1:ppn=${cpus}`, ...(gpus > 0 ? [`gpus=${gpus}`] : []), ...config.nodeProperties].join(
              ':',
            ),
          ),
          ...pair('-l', `mem=${memory}`),
        ]
      : [
          ...pair(
            '-l',
            [
              `select=1:ncpus=${cpus}:mem=${memory}`,
              ...(gpus > 0 ? [`ngpus=${gpus}`] : []),
              ...Object.entries(config.select).map(([key, value]) => `${key}=${value}`),
            ].join(':'),
          ),
          ...pair('-l', `place=${config.place ?? 'pack'}`),
          ...pair('-P', config.project),
        ]
  return [
    ...pair('-N', shortName(name)),
    ...pair('-q', spec.queue ?? config.queue),
    ...pair('-A', spec.account ?? config.account),
    ...resources,
    ...pair('-l', `walltime=${writeWalltime(walltimeSeconds)}`),
    ...pair('-m', config.mail),
    ...pair('-M', config.mailUser),
    ...pair('-S', '/bin/sh'),
    // What a job prints goes to its own files, by its script. What PBS adds it would copy over such a file, not append to it.
    ...pair('-j', 'oe'),
    ...pair('-o', config.messages && PLAIN_PATH[flavour].test(messages) ? messages : '/dev/null'),
    ...pair('-W', 'umask=077'),
    ...pair('-v', `${NAME_VARIABLE}=${name}`),
    // OpenPBS takes no array that is not rerunnable.
    ...pair('-r', config.rerunnable || (array && flavour === 'openpbs') ? 'y' : 'n'),
    ...(config.hold ? ['-h'] : []),
    ...config.qsubOptions,
    ...(spec.nativeOptions ?? []),
  ]
}

/** The id is the last line that is one, whole; sites print banners. */
export function readQsub(
  reply: Reply,
  { array, members }: Pick<Submission, 'array' | 'members'>,
): SubmitReading {
  const { exitCode, signal, stdout, stderr } = reply
  if (exitCode === undefined)
    return { kind: 'unavailable', message: `qsub was ended by ${signal ?? 'a signal'}` }
  if (exitCode === 0) {
    const fits = (line: string): boolean => {
      const found = partsOf(line)
      return (
        found !== undefined &&
        (found.index === '') === array &&
        (found.server !== '' || /^\d+(\[\])?$/.test(line))
      )
    }
    const line = stdout
      .split(/\r?\n/)
      .map((one) => one.trim())
      .findLast(fits)
    if (line === undefined)
      return { kind: 'unreadable', message: `no job id in the answer of qsub: ${brief(stdout + stderr)}` }
    const id = jobId(line)
    return { kind: 'accepted', ids: array ? members.map((_, index) => elementOf(id, index)) : [id] }
  }
  const said = stderr.trim() === '' ? stdout : stderr
  const complaint = classify(said)
  if (complaint === undefined)
    return /^qsub: /m.test(said)
      ? { kind: 'refused', rule: 'rule of the site', message: brief(said) }
      : { kind: 'unreadable', message: `qsub ended with exit code ${exitCode}: ${brief(said)}` }
  switch (complaint.kind) {
    case 'unreachable':
    case 'authentication':
      return { kind: 'unavailable', message: complaint.text }
    case 'limit':
      return { kind: 'later', reason: complaint.text }
    case 'array-size':
      return array
        ? { kind: 'too-large', reason: complaint.text }
        : { kind: 'refused', rule: complaint.rule, message: complaint.text }
    default:
      return { kind: 'refused', rule: complaint.rule, message: complaint.text, ...hint(complaint.rule) }
  }
}

const HINTS: ReadonlyMap<string, string> = new Map([
  ['queue', 'Set `cluster.queue` in the site file; `qstat -Q` lists the queues.'],
  [
    'limits of the queue',
    'Lower the requirements of the processor, or set `cluster.queue`; `qstat -Qf` tells the limits.',
  ],
  ['account', 'Set `cluster.account` or `cluster.project` in the site file.'],
  ['account that submits', 'PBS runs no jobs of root; run Orbweaver as another account.'],
  ['options of qsub', 'Look at `cluster.qsubOptions`; is `cluster.flavour` right?'],
])
const hint = (rule: string): { readonly hint?: string } => {
  const found = HINTS.get(rule)
  return found === undefined ? {} : { hint: found }
}

/** What can never run, before PBS is asked: OpenPBS accepts much that then waits for ever. */
export function refusalOf(
  spec: JobSpec,
  limits: BackendLimits,
  config: PbsConfig,
): { readonly rule: string; readonly message: string } | undefined {
  for (const option of spec.nativeOptions ?? []) {
    const message = qsubOptionProblem(option)
    if (message !== undefined) return { rule: 'options of qsub', message }
  }
  const texts = [
    spec.directory,
    spec.stdoutPath,
    spec.stderrPath,
    ...spec.command,
    ...Object.values(spec.environment ?? {}),
  ]
  if (texts.some((text) => text.includes('\0')))
    return { rule: 'command', message: 'it holds a NUL character, which no program can be given' }
  const odd = Object.keys(spec.environment ?? {}).find((key) => !/^[A-Za-z_]\w*$/.test(key))
  if (odd !== undefined)
    return { rule: 'environment', message: `${printable(odd)} cannot be the name of a variable` }
  // The limits are those of the configured queue.
  if (spec.queue !== undefined && spec.queue !== config.queue) return undefined
  const { requirements } = spec
  const checks = [
    { key: 'maxWalltimeSeconds', asked: requirements.walltimeSeconds, unit: 's of walltime' },
    { key: 'maxMemoryBytes', asked: requirements.memoryBytes, unit: 'bytes of memory' },
    { key: 'maxCpus', asked: requirements.cpus, unit: 'cpus' },
    { key: 'maxGpus', asked: requirements.gpus, unit: 'gpus' },
  ] as const
  for (const { key, asked, unit } of checks) {
    const most = limits[key]
    if (most !== undefined && asked > most)
      return { rule: limits.source[key] ?? key, message: `asks for ${asked} ${unit}; the most is ${most}` }
  }
  return undefined
}
