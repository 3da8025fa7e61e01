/** qsub of both flavours: options, directives in the script, limits, and what it says when it refuses. */

import { existsSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import type { Fault, Job, Output, Request } from './model.js'
import type { Server } from './server.js'

class Refused extends Error {
  readonly exit: number
  constructor(exit: number, message: string) {
    super(message)
    this.exit = exit
  }
}

const FLAGS = { openpbs: 'fhIVXz', torque: 'fhInVxXzE' } as const
const VALUED = { openpbs: 'aAcCejJklmMNopPqrRSuvW', torque: 'aAbcCdDejkKlLmMNopPqrStTuvwW' } as const

interface Options {
  readonly one: Map<string, string>
  readonly resources: Map<string, string>
  readonly more: Map<string, string>
  readonly flags: Set<string>
  readonly rest: readonly string[]
}

export function seconds(text: string): number | undefined {
  if (!/^\d+(:\d+){0,2}(\.\d+)?$/.test(text)) return undefined
  return text.split(':').reduce((sum, part) => sum * 60 + Number(part), 0)
}
export function kilobytes(text: string): number | undefined {
  const found = /^(\d+)(b|kb|mb|gb|tb|w)?$/i.exec(text)
  if (found === null) return undefined
  const unit = (found[2] ?? 'b').toLowerCase()
  const factor = { b: 1 / 1024, w: 8 / 1024, kb: 1, mb: 1024, gb: 1024 ** 2, tb: 1024 ** 3 }[unit] ?? 1
  return Math.ceil(Number(found[1]) * factor)
}

/** At commas that are not quoted and not after a backslash. */
export function commas(text: string): string[] {
  const parts: string[] = ['']
  let quote = ''
  for (let at = 0; at < text.length; at++) {
    const letter = text[at] ?? ''
    if (letter === '\\' && at + 1 < text.length) parts[parts.length - 1] += text[++at] ?? ''
    else if (quote !== '' ? letter === quote : letter === '"' || letter === "'")
      quote = quote === '' ? letter : ''
    else if (letter === ',' && quote === '') parts.push('')
    else parts[parts.length - 1] += letter
  }
  return parts
}

function parse(words: readonly string[], server: Server, fromScript: boolean): Options {
  const { flavour } = server
  const options: Options = {
    one: new Map(),
    resources: new Map(),
    more: new Map(),
    flags: new Set(),
    rest: [],
  }
  let at = 0
  for (; at < words.length; at++) {
    const word = words[at] ?? ''
    if (word === '--') {
      at++
      break
    }
    if (!word.startsWith('-') || word === '-') break
    for (let place = 1; place < word.length; place++) {
      const letter = word[place] ?? ''
      if (FLAGS[flavour].includes(letter)) {
        options.flags.add(letter)
        continue
      }
      if (!VALUED[flavour].includes(letter))
        throw new Refused(
          2,
          flavour === 'openpbs'
            ? `qsub: invalid option -- '${letter}'\n${USAGE}`
            : `[a single ${letter} is not a valid option]\n\n${USAGE}`,
        )
      const value = word.slice(place + 1) || words[++at]
      if (value === undefined)
        throw new Refused(2, `qsub: option requires an argument -- '${letter}'\n${USAGE}`)
      option(letter, value, options)
      break
    }
  }
  if (!fromScript) return { ...options, rest: words.slice(at) }
  return options
}
const USAGE = 'usage: qsub [-a date_time] [-A account_string] [-e path] [-h ] [-l resource_list] [script]'

function option(letter: string, value: string, { one, resources, more }: Options): void {
  if (letter === 'l' || letter === 'W')
    for (const part of commas(value)) {
      const [name = '', ...rest] = part.split('=')
      ;(letter === 'l' ? resources : more).set(name, rest.join('='))
    }
  else one.set(letter, letter === 'v' && one.has('v') ? `${one.get('v') ?? ''},${value}` : value)
}

function directives(script: string, server: Server): Options {
  const words: string[] = []
  for (const line of script.split('\n')) {
    if (line.startsWith('#PBS '))
      for (const [, double, single, plain] of line.slice(5).matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g))
        words.push(double ?? single ?? plain ?? '')
    else if (line.trim() !== '' && !line.startsWith('#') && !line.startsWith(':')) break
  }
  return parse(words, server, true)
}

export function qsub(request: Request, server: Server, has: (fault: Fault) => boolean): Output {
  try {
    const job = make(request, server, has)
    server.add(job)
    return { exit: 0, stdout: `${server.idOf(job)}\n` }
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    return { exit: error.exit, stderr: `${error.message}\n` }
  }
}

function make(request: Request, server: Server, has: (fault: Fault) => boolean): Job {
  const { flavour, site } = server
  const isTorque = flavour === 'torque'
  const no = (exit: number, text: string, detail?: string): Refused =>
    new Refused(
      exit,
      isTorque
        ? `qsub: submit error (${text}${detail === undefined ? '' : ` MSG=${detail}`})`
        : `qsub: ${text}`,
    )
  const line = parse(request.words, server, false)
  const [file] = line.rest
  let script = request.stdin
  if (file !== undefined) {
    const path = resolve(request.directory, file)
    if (!existsSync(path))
      throw new Refused(
        1,
        isTorque
          ? `qsub: script file '${file}' cannot be loaded - No such file or directory`
          : 'qsub: script file:: No such file or directory',
      )
    script = readFileSync(path, 'utf8')
  }
  const inside = directives(script, server)
  const one = new Map([...inside.one, ...line.one])
  const asked = new Map([...inside.resources, ...line.resources])
  const more = new Map([...inside.more, ...line.more])
  const flags = new Set([...inside.flags, ...line.flags])

  const name = one.get('N') ?? (file === undefined ? 'STDIN' : basename(file))
  if (/[\s/]/.test(name) || name === '' || name.length > (isTorque ? 1024 : 230))
    throw new Refused(
      2,
      isTorque ? `[qsub: illegal -N value]\n\n${USAGE}` : `qsub: illegal -N value\n${USAGE}`,
    )

  // Queue.
  const queue = one.has('q')
    ? site.queues.find((each) => each.name === one.get('q')?.split('@')[0])
    : site.queues[0]
  if (queue === undefined)
    throw isTorque ? no(172, 'Unknown queue', 'requested queue not found') : no(170, 'Unknown queue')
  if (queue.enabled === false || (queue === site.queues[0] && has('queue-disabled')))
    throw isTorque
      ? no(
          175,
          'Queue is not enabled',
          `queue is disabled: user ${request.user}@${site.host}, queue ${queue.name}`,
        )
      : no(173, 'Queue is not enabled')

  // Resources.
  const known = isTorque
    ? [
        'nodes',
        'walltime',
        'mem',
        'pmem',
        'vmem',
        'pvmem',
        'ncpus',
        'procs',
        'gres',
        'feature',
        'naccesspolicy',
        'qos',
        'advres',
        'file',
        'nice',
        'cput',
        'pcput',
        'host',
        'arch',
        'software',
        'depend',
      ]
    : [
        'select',
        'place',
        'walltime',
        'ncpus',
        'mem',
        'vmem',
        'ngpus',
        'pmem',
        'cput',
        'pcput',
        'nodes',
        'nice',
        'file',
        'software',
        'host',
        'min_walltime',
        'max_walltime',
        'arch',
        'mpiprocs',
      ]
  for (const [key, value] of asked) {
    if (!known.includes(key))
      throw isTorque
        ? new Refused(189, `qsub: submit error (Unknown resource type  Resource_List.${key})`)
        : no(187, `Unknown resource Resource_List.${key}`)
    const wrong =
      (/walltime|cput/.test(key) && seconds(value) === undefined) ||
      (/mem$/.test(key) && kilobytes(value) === undefined) ||
      (/^n(cpus|gpus)$/.test(key) && !/^\d+$/.test(value))
    if (wrong)
      throw isTorque
        ? new Refused(
            168,
            `qsub: submit error (Illegal attribute or resource value for Resource_List.${key})`,
          )
        : no(166, `Illegal attribute or resource value Resource_List.${key}`)
  }
  const size = isTorque ? torqueSize(asked, site.defaultWalltime) : openpbsSize(asked, no)
  const walltime = asked.get('walltime') ?? (isTorque ? site.defaultWalltime : undefined)
  const walltimeSeconds = walltime === undefined ? undefined : seconds(walltime)
  const tooLong = queue.maxWalltimeSeconds !== undefined && (walltimeSeconds ?? 0) > queue.maxWalltimeSeconds
  const tooWide = queue.maxCpus !== undefined && size.cpus > queue.maxCpus
  if (tooLong || tooWide)
    throw isTorque
      ? no(
          190,
          'Job exceeds queue resource limits',
          `cannot satisfy queue max ${tooLong ? 'walltime' : 'ncpus'} requirement`,
        )
      : no(188, 'Job violates queue and/or server resource limits')
  if (
    isTorque &&
    (size.cpus > site.cpus || size.gpus > site.gpus || (size.memoryKb ?? 0) > site.memoryMb * 1024)
  )
    throw no(
      190,
      'Job exceeds queue resource limits',
      'cannot locate feasible nodes (nodes file is empty, all systems are busy, or no nodes have the requested feature)',
    )

  // Array.
  const range = one.get(isTorque ? 't' : 'J')
  const array = range === undefined ? undefined : indices(range, isTorque, site.maxArraySize, no)

  // Dependencies.
  const depend = (more.get('depend') ?? '')
    .split(',')
    .filter(Boolean)
    .flatMap((entry) => {
      const [type = '', ...ids] = entry.split(':')
      return ids.map((id) => {
        const sequence = Number.parseInt(id, 10)
        if (!server.jobs.has(sequence)) throw no(isTorque ? 168 : 153, 'Invalid job dependency')
        return { type, sequence, id }
      })
    })

  const sequence = server.nextSequence()
  const now = Date.now()
  const begin = one.get('a')
  const held = flags.has('h') ? 'u' : depend.length > 0 ? 's' : 'n'
  const home = homedir()
  const submitted = request.directory
  const directory = isTorque ? resolve(home, one.get('d') ?? one.get('w') ?? home) : home
  const output = (letter: 'o' | 'e', index: number | undefined): string => {
    const suffix = index === undefined ? '' : isTorque ? `-${index}` : `.${index}`
    const given = one.get(letter)
    const plain = join(submitted, `${name}.${letter}${sequence}${suffix}`)
    if (given === undefined) return plain
    const path = resolve(
      submitted,
      given.replace(/^[^/:]*:/, '').replaceAll('^array_index^', String(index ?? '')),
    )
    return existsSync(path) && statSync(path).isDirectory()
      ? join(
          path,
          isTorque
            ? basename(plain)
            : `${sequence}${index === undefined ? '' : `[${index}]`}.${server.server}.${letter === 'o' ? 'OU' : 'ER'}`,
        )
      : path
  }
  const exported = Object.fromEntries(
    commas(one.get('v') ?? '')
      .filter(Boolean)
      .map((part) => [part.split('=')[0] ?? '', part.split('=').slice(1).join('=')]),
  )
  const base = (index: number | undefined, parent: Job | undefined): Job => ({
    sequence,
    index,
    parent,
    elements: [],
    indices: range?.split('%')[0] ?? '',
    throttle: array?.throttle,
    name: index !== undefined && isTorque ? `${name}-${index}` : name,
    owner: request.user,
    queue: queue.name,
    script,
    shell: one.get('S') ?? '/bin/sh',
    directory,
    submitDirectory: submitted,
    variables: { ...request.variables, PBS_O_QUEUE: queue.name },
    exported,
    resources: size.shown,
    cpus: size.cpus,
    memoryKb: size.memoryKb,
    gpus: size.gpus,
    walltimeSeconds,
    rerunable: array !== undefined || (one.get('r') ?? 'y') === 'y',
    join: one.get('j') ?? 'n',
    keep: one.get('k') ?? 'n',
    mail: one.get('m') ?? 'a',
    priority: Number(one.get('p') ?? 0),
    account: one.get('A'),
    project: one.get('P') ?? '_pbs_project_default',
    submitArguments: request.words.join(' '),
    stdout: output('o', index),
    stderr: output('e', index),
    depend,
    beginMs: begin === undefined ? undefined : beginning(begin),
    state: held !== 'n' ? 'H' : begin !== undefined ? 'W' : 'Q',
    holds: held,
    comment: undefined,
    substate: held === 'u' ? 20 : held === 's' ? 22 : begin !== undefined ? 30 : 10,
    createdMs: now,
    eligibleMs: held === 'n' && begin === undefined ? now : undefined,
    changedMs: now,
    startedMs: undefined,
    endedMs: undefined,
    exit: undefined,
    session: undefined,
    slot: undefined,
    runCount: 0,
    killer: undefined,
    killedBy: undefined,
    unstarted: false,
    used: undefined,
  })
  const job = base(undefined, undefined)
  if (array === undefined) return job
  const elements: Job[] = []
  const parent: Job = { ...job, elements }
  for (const index of array.indices) elements.push(base(index, parent))
  return parent
}

/** [[CC]YY]MMDDhhmm[.SS], local time. */
function beginning(text: string): number {
  const digits = text.replace(/\..*/, '')
  const two = (from: number): number => Number(digits.slice(-from, -from + 2 || undefined))
  const year = digits.length > 8 ? Number(`20${digits.slice(-10, -8)}`) : new Date().getFullYear()
  return new Date(year, two(8) - 1, two(6), two(4), two(2)).getTime()
}

interface Size {
  readonly cpus: number
  readonly gpus: number
  readonly memoryKb: number | undefined
  /** Resource_List, in the server's order. */
  readonly shown: Map<string, string>
}

function openpbsSize(asked: ReadonlyMap<string, string>, no: (exit: number, text: string) => Refused): Size {
  const select =
    asked.get('select') ??
    [
      '1',
      ...['ncpus', 'mem', 'ngpus'].flatMap((key) =>
        asked.has(key) ? [`${key}=${asked.get(key) ?? ''}`] : [],
      ),
    ].join(':')
  if (asked.has('select') && ['ncpus', 'mem', 'ngpus'].some((key) => asked.has(key)))
    throw no(184, '"-lresource=" cannot be used with "select" or "place", resource is: ncpus')
  let cpus = 0
  let gpus = 0
  let memory = 0
  let chunks = 0
  const whole = select
    .split('+')
    .map((chunk) => (/(^|:)ncpus=/.test(chunk) ? chunk : `${chunk}:ncpus=1`))
    .join('+')
  for (const chunk of whole.split('+')) {
    const [first = '1', ...rest] = chunk.split(':')
    const count = /^\d+$/.test(first) ? Number(first) : 1
    const values = new Map(
      (/^\d+$/.test(first) ? rest : [first, ...rest]).map((part) => part.split('=') as [string, string]),
    )
    for (const [key, value] of values) {
      if (!['ncpus', 'ngpus', 'mem', 'vmem', 'mpiprocs', 'ompthreads', 'host', 'vnode', 'arch'].includes(key))
        throw no(187, `Unknown resource: ${key}`)
      if (value === undefined || (key === 'mem' && kilobytes(value) === undefined))
        throw no(166, `Illegal attribute or resource value Resource_List.select`)
    }
    chunks += count
    cpus += count * Number(values.get('ncpus') ?? 1)
    gpus += count * Number(values.get('ngpus') ?? 0)
    memory += count * (kilobytes(values.get('mem') ?? '0') ?? 0)
  }
  const shown = new Map<string, string>()
  if (memory > 0) shown.set('mem', short(memory))
  shown.set('ncpus', String(cpus))
  if (gpus > 0) shown.set('ngpus', String(gpus))
  shown.set('nodect', String(chunks))
  shown.set('place', asked.get('place') ?? (asked.has('select') ? 'free' : 'pack'))
  shown.set('select', whole)
  const walltime = asked.get('walltime')
  if (walltime !== undefined) shown.set('walltime', walltime.includes(':') ? walltime : hms(Number(walltime)))
  return { cpus, gpus, memoryKb: memory === 0 ? undefined : memory, shown }
}

/** The largest unit that leaves no rest, as the server does. */
function short(kb: number): string {
  const units = ['kb', 'mb', 'gb', 'tb']
  let value = kb
  let unit = 0
  while (value % 1024 === 0 && unit < 3) {
    value /= 1024
    unit += 1
  }
  return `${value}${units[unit] ?? 'kb'}`
}
const hms = (total: number): string =>
  [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60]
    .map((part) => String(part).padStart(2, '0'))
    .join(':')

function torqueSize(asked: ReadonlyMap<string, string>, defaultWalltime: string): Size {
  const nodes = asked.get('nodes') ?? (asked.has('ncpus') ? `1:ppn=${asked.get('ncpus') ?? '1'}` : '1')
  let cpus = 0
  let gpus = 0
  let count = 0
  for (const chunk of nodes.split('+')) {
    const [first = '1', ...rest] = chunk.split(':')
    const times = /^\d+$/.test(first) ? Number(first) : 1
    count += times
    cpus += times * Number(rest.find((part) => part.startsWith('ppn='))?.slice(4) ?? 1)
    gpus += times * Number(rest.find((part) => part.startsWith('gpus='))?.slice(5) ?? 0)
  }
  const perJob = kilobytes(asked.get('mem') ?? '')
  const perProcess = kilobytes(asked.get('pmem') ?? '')
  const shown = new Map<string, string>()
  for (const key of ['mem', 'pmem', 'vmem', 'pvmem']) {
    const value = asked.get(key)
    if (value !== undefined) shown.set(key, value)
  }
  const walltime = asked.get('walltime') ?? defaultWalltime
  shown.set('walltime', walltime.includes(':') ? walltime : hms(Number(walltime)))
  shown.set('nodes', nodes)
  shown.set('nodect', String(count))
  return { cpus, gpus, memoryKb: perJob ?? (perProcess === undefined ? undefined : perProcess * cpus), shown }
}

function indices(
  range: string,
  isTorque: boolean,
  most: number,
  no: (exit: number, text: string, detail?: string) => Refused,
): { readonly indices: readonly number[]; readonly throttle: number | undefined } {
  const [list = '', throttle] = range.split('%')
  const found: number[] = []
  for (const part of isTorque ? list.split(',') : [list]) {
    const words = /^(\d+)(?:-(\d+)(?::(\d+))?)?$/.exec(part)
    const from = Number(words?.[1])
    const to = Number(words?.[2] ?? words?.[1])
    const bad = words === null || to < from || (!isTorque && to === from)
    if (bad)
      throw isTorque ? no(235, 'Bad Job Array Request') : new Refused(2, `qsub: illegal -J value\n${USAGE}`)
    if (to - from + 1 > most * Number(words[3] ?? 1))
      throw isTorque
        ? no(235, 'Bad Job Array Request', `Requested array size too large, limit is ${most}`)
        : no(3, 'Array job exceeds server or queue size limit')
    for (let index = from; index <= to; index += Number(words[3] ?? 1)) found.push(index)
  }
  return { indices: found, throttle: throttle === undefined ? undefined : Number(throttle) }
}
