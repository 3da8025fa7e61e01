/** qsub of both flavours: limits, a job or an array of them, and what it says when it refuses. */

import { existsSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { indices } from './indices.js'
import type { Fault, Job, Output, Request } from './model.js'
import { commas, directives, parse } from './options.js'
import { Refused, USAGE } from './refused.js'
import type { Server } from './server.js'
import { kilobytes, openpbsSize, seconds, torqueSize } from './sizes.js'

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
