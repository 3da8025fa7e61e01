/** qstat and qselect: tables, full texts, JSON, DSV and XML, with their oddities. */

import { attributes, stateOf, textLines, type Attribute } from './attributes.js'
import type { Job, Output, Request } from './model.js'
import { clock, date, type Server } from './server.js'

interface Found {
  readonly jobs: readonly Job[]
  readonly problems: string
  readonly exit: number
}

/** 12, 12.server, 12[], 12[3]: what is meant, or undefined. */
export function lookUp(text: string, server: Server): Job | undefined {
  const found = /^(\d+)(?:\[(\d*)\])?/.exec(text)
  const job = server.jobs.get(Number(found?.[1] ?? -1))
  if (job === undefined || found?.[2] === undefined) return job?.elements.length === 0 ? job : undefined
  if (found[2] === '') return job.elements.length > 0 ? job : undefined
  return job.elements.find(({ index }) => index === Number(found[2]))
}
export const isId = (text: string): boolean => /^\d+(\[\d*\])?(\.[\w.-]+)?(@[\w.-]+)?$/.test(text)
export const fullId = (text: string, server: Server): string =>
  text.includes('.') ? text : `${text}.${server.server}`

export function qstat(request: Request, server: Server): Output {
  const flags = new Set<string>()
  let format = 'text'
  let separator = '|'
  let user: string | undefined
  const ids: string[] = []
  for (let at = 0; at < request.words.length; at++) {
    const word = request.words[at] ?? ''
    if (word === '-F') format = request.words[++at] ?? ''
    else if (word === '-D') separator = request.words[++at] ?? ''
    else if (word === '-u') user = request.words[++at]
    else if (word.startsWith('-F')) format = word.slice(2)
    else if (word.startsWith('-D')) separator = word.slice(2)
    else if (word.startsWith('-')) for (const letter of word.slice(1)) flags.add(letter)
    else ids.push(word)
  }
  if (flags.has('B')) return aboutServer(server, flags.has('f'), format)
  if (flags.has('Q')) return aboutQueues(server, flags.has('f'), format, ids)
  const found = select(ids, flags, server)
  const done = (stdout: string): Output => ({ exit: found.exit, stdout, stderr: found.problems })
  if (server.flavour === 'torque' && flags.has('x')) return done(xml(found.jobs, server))
  if (!flags.has('f')) {
    if (user === undefined) return done(table(found.jobs, server))
    return done(
      ofUser(
        found.jobs.filter(({ owner }) => owner === user),
        flags.has('w'),
        server,
      ),
    )
  }
  if (format === 'json') return done(json(found.jobs, ids.length > 0, server))
  const blocks = found.jobs.map((job) => {
    const all = attributes(job, server)
    if (format === 'dsv')
      return `${[`Job Id: ${server.idOf(job)}`, ...all.map(({ name, value }) => `${name}=${plain(value)}`)].join(separator)}\n`
    return `Job Id: ${server.idOf(job)}\n${textLines(all, !flags.has(server.flavour === 'torque' ? '1' : 'w'))}\n`
  })
  return done(blocks.join(''))
}

const plain = (value: Attribute['value']): string =>
  value instanceof Date ? date(value.getTime()) : String(value)

function select(ids: readonly string[], flags: ReadonlySet<string>, server: Server): Found {
  const isTorque = server.flavour === 'torque'
  const history = !isTorque && flags.has('x')
  const open = (job: Job): readonly Job[] => {
    if (job.elements.length === 0 || !flags.has('t')) return [job]
    return isTorque ? job.elements : [job, ...job.elements]
  }
  const everything = (): Job[] =>
    [...server.jobs.values()].filter((job) => isTorque || history || !server.isOver(job)).flatMap(open)
  if (ids.length === 0) return { jobs: everything(), problems: '', exit: 0 }
  const jobs: Job[] = []
  let problems = ''
  let exit = 0
  for (const id of ids) {
    if (!isId(id)) {
      problems += `qstat: Unknown queue destination ${id}\n`
      exit = isTorque ? 172 : 170
      continue
    }
    const job = lookUp(id, server)
    const full = fullId(id, server)
    const top = job?.parent ?? job
    if (history && !server.hasHistory && (job === undefined || (top !== undefined && server.isOver(top)))) {
      problems += `qstat: PBS is not configured to maintain job history ${full}\n`
      continue
    }
    if (job === undefined || top === undefined || (!isTorque && !server.hasHistory && server.isOver(top))) {
      problems += `qstat: Unknown Job Id ${isTorque ? 'Error ' : ''}${full}\n`
      exit = 153
      continue
    }
    if (!isTorque && !history && server.isOver(top)) {
      problems += `qstat: ${full} Job has finished, use -x or -H to obtain historical job information\n`
      exit = 35
      continue
    }
    // Recorded: Torque takes the id of an array for all jobs, unless it is asked for the elements.
    if (isTorque && job.elements.length > 0 && !flags.has('t')) jobs.push(...everything())
    else jobs.push(...open(job))
  }
  return { jobs, problems, exit }
}

function table(jobs: readonly Job[], server: Server): string {
  if (jobs.length === 0) return ''
  const isTorque = server.flavour === 'torque'
  const head = isTorque
    ? 'Job ID                    Name             User            Time Use S Queue\n------------------------- ---------------- --------------- -------- - -----\n'
    : 'Job id            Name             User              Time Use S Queue\n----------------  ---------------- ----------------  -------- - -----\n'
  return (
    head +
    jobs
      .map((job) => {
        const time = job.used === undefined || job.elements.length > 0 ? '0' : clock(job.used.cpuSeconds)
        const id = server.idOf(job)
        return isTorque
          ? `${id.padEnd(26)} ${job.name.slice(-16).padEnd(16)} ${job.owner.slice(0, 15).padEnd(15)} ${time.padStart(8)} ${stateOf(job, server)} ${job.queue.padEnd(15)}\n`
          : `${(id.length > 17 ? `${id.slice(0, 16)}*` : id).padEnd(17)} ${(job.name.length > 16 ? `${job.name.slice(0, 15)}*` : job.name).padEnd(16)} ${job.owner.slice(0, 16).padEnd(16)}  ${time.padStart(8)} ${stateOf(job, server)} ${job.queue.padEnd(16)}\n`
      })
      .join('')
  )
}

/** The other table, of one user's jobs: names are cut, ids as well. */
function ofUser(jobs: readonly Job[], wide: boolean, server: Server): string {
  if (jobs.length === 0) return ''
  const isTorque = server.flavour === 'torque'
  const widths = isTorque
    ? [23, 11, 8, 16, 6, 5, 6, 6, 9, 1, 9]
    : wide
      ? [30, 15, 15, 15, 8, 4, 4, 6, 5, 1, 5]
      : [15, 8, 8, 10, 6, 3, 3, 6, 5, 1, 5]
  const titles = [
    'Job ID',
    'Username',
    'Queue',
    'Jobname',
    'SessID',
    'NDS',
    'TSK',
    'Memory',
    'Time',
    'S',
    'Time',
  ]
  const row = (words: readonly string[]): string =>
    `${words
      .map((word, column) => {
        const width = widths[column] ?? 0
        const shown = !isTorque && word.length > width ? `${word.slice(0, width - 1)}*` : word.slice(0, width)
        return column < 4 ? shown.padEnd(width) : shown.padStart(width)
      })
      .join(' ')}\n`
  const lines = jobs.map((job) =>
    row([
      server.idOf(job),
      job.owner,
      job.queue,
      job.name,
      String(job.session ?? '--'),
      job.resources.get('nodect') ?? '--',
      String(job.cpus),
      '--',
      '--',
      stateOf(job, server),
      job.used === undefined ? '--' : clock(job.used.walltimeSeconds).slice(0, 5),
    ]),
  )
  return `\n${server.node}: \n${row(titles)}${row(widths.map((width) => '-'.repeat(width)))}${lines.join('')}`
}

/** Nested by the dots of the names; `\t` and `:\t` as its writer has them. */
function nest(found: readonly Attribute[]): Record<string, unknown> {
  const all: Record<string, unknown> = {}
  for (const { name, value } of found) {
    const [first = '', second] = name.split('.')
    if (name === 'Variable_List') {
      const variables: Record<string, unknown> = {}
      for (const part of plain(value).match(/(?:\\.|[^,\\])+/g) ?? []) {
        const [key = '', ...rest] = part.split('=')
        const text = rest.join('=')
        // What looks like a number becomes one.
        variables[key] = text !== '' && Number.isFinite(Number(text)) ? Number(text) : text
      }
      all[name] = variables
    } else if (second === undefined) all[first] = value instanceof Date ? plain(value) : value
    else {
      const inner = (all[first] ?? {}) as Record<string, unknown>
      inner[second] = value instanceof Date ? plain(value) : value
      all[first] = inner
    }
  }
  return all
}

const print = (document: unknown): string =>
  `${JSON.stringify(document, undefined, '\t').replace(/^(\t*"(?:[^"\\]|\\.)*":) /gm, '$1\t')}\n`

function document(server: Server, rest: Record<string, unknown>): string {
  return print({
    timestamp: Math.floor(Date.now() / 1000),
    pbs_version: '23.06.06',
    pbs_server: server.server,
    ...rest,
  })
}

/** Recorded: of several ids named, its container is made for the first only. */
function json(jobs: readonly Job[], isNamed: boolean, server: Server): string {
  const [first] = jobs
  const shown =
    isNamed &&
    first !== undefined &&
    jobs.every((job) => (job.parent ?? job) !== (first.parent ?? first) || job === first)
      ? [first]
      : jobs
  if (shown.length === 0) return document(server, {})
  return document(server, {
    Jobs: Object.fromEntries(shown.map((job) => [server.idOf(job), nest(attributes(job, server))])),
  })
}

const escape = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll("'", '&apos;')
    .replaceAll('"', '&quot;')

function xml(jobs: readonly Job[], server: Server): string {
  if (jobs.length === 0) return ''
  const one = (job: Job): string => {
    const open = new Map<string, string>()
    const add = (name: string, text: string): void => {
      open.set(name, `${open.get(name) ?? ''}${text}`)
    }
    for (const { name, value } of attributes(job, server)) {
      const [first = '', second] = name.split('.')
      const text = escape(value instanceof Date ? String(Math.floor(value.getTime() / 1000)) : String(value))
      add(first, second === undefined ? text : `<${second}>${text}</${second}>`)
    }
    return `<Job><Job_Id>${server.idOf(job)}</Job_Id>${[...open].map(([name, text]) => `<${name}>${text}</${name}>`).join('')}</Job>`
  }
  return `<?xml version="1.0"?>\n<Data>${jobs.map(one).join('')}</Data>\n`
}

function counts(server: Server, queue?: string): string {
  const states = [...server.units()]
    .filter((job) => queue === undefined || job.queue === queue)
    .map(({ state }) => state)
  const count = (state: string): number => states.filter((each) => each === state).length
  return `Transit:0 Queued:${count('Q')} Held:${count('H')} Waiting:${count('W')} Running:${count('R')} Exiting:${count('E')} ${server.flavour === 'openpbs' ? 'Begun:0 ' : `Complete:${count('done')} `}`
}
const text = (name: string, value: string | number | undefined): readonly Attribute[] =>
  value === undefined ? [] : [{ name, value }]

function aboutServer(server: Server, full: boolean, format: string): Output {
  const { site } = server
  const isTorque = server.flavour === 'torque'
  const total = [...server.units()].length
  if (!full)
    return {
      exit: 0,
      stdout: isTorque
        ? `Server             Max   Tot   Que   Run   Hld   Wat   Trn   Ext   Com Status    \n----------------   ---   ---   ---   ---   ---   ---   ---   ---   --- ----------\n${server.server.slice(0, 16).padEnd(16)}     0 ${String(total).padStart(5)}     0     0     0     0     0     0     0 Active    \n`
        : `Server             Max   Tot   Que   Run   Hld   Wat   Trn   Ext Status\n---------------- ----- ----- ----- ----- ----- ----- ----- ----- -----------\n${server.server.padEnd(16)}     0 ${String(total).padStart(5)}     0     0     0     0     0     0 Active    \n`,
    }
  const list: readonly Attribute[] = isTorque
    ? [
        ...text('server_state', 'Active'),
        ...text('scheduling', 'True'),
        ...text('total_jobs', total),
        ...text('state_count', counts(server)),
        ...text('acl_hosts', site.host),
        ...text('default_queue', site.queues[0]?.name),
        ...text('scheduler_iteration', 5),
        ...text('pbs_version', '6.1.3'),
        ...text('kill_delay', 3),
        ...text('keep_completed', server.hasHistory ? site.keepCompletedSeconds : 0),
        ...text('max_job_array_size', site.maxArraySize),
        ...text('submit_hosts', server.node),
        ...text('next_job_number', server.jobs.size),
        ...text('moab_array_compatible', 'True'),
      ]
    : [
        ...text('server_state', 'Active'),
        ...text('server_host', site.host),
        ...text('scheduling', 'True'),
        ...text('total_jobs', total),
        ...text('state_count', counts(server)),
        ...text('default_queue', site.queues[0]?.name),
        ...text('query_other_jobs', 'True'),
        ...text('resources_default.ncpus', 1),
        ...text('default_chunk.ncpus', 1),
        ...text('scheduler_iteration', 10),
        ...text('node_fail_requeue', 310),
        ...text('max_array_size', site.maxArraySize),
        ...text('pbs_version', '23.06.06'),
        ...text('job_history_enable', server.hasHistory ? 'True' : undefined),
        ...text('job_history_duration', server.hasHistory ? '24:00:00' : undefined),
        ...text('max_job_sequence_id', 9999999),
      ]
  if (format === 'json')
    return { exit: 0, stdout: document(server, { Server: { [server.server]: nest(list) } }) }
  return { exit: 0, stdout: `Server: ${server.server}\n${textLines(list, true)}\n` }
}

function aboutQueues(server: Server, full: boolean, format: string, names: readonly string[]): Output {
  const wanted = server.site.queues.filter(({ name }) => names.length === 0 || names.includes(name))
  const lists = wanted.map((queue) => ({
    name: queue.name,
    list: [
      ...text('queue_type', 'Execution'),
      ...text('total_jobs', [...server.units()].filter((job) => job.queue === queue.name).length),
      ...text('state_count', counts(server, queue.name)),
      ...text('resources_max.ncpus', queue.maxCpus),
      ...text(
        'resources_max.walltime',
        queue.maxWalltimeSeconds === undefined ? undefined : clock(queue.maxWalltimeSeconds),
      ),
      ...text('enabled', queue.enabled === false ? 'False' : 'True'),
      ...text('started', queue.started === false ? 'False' : 'True'),
    ],
  }))
  if (!full) {
    const head =
      'Queue              Max   Tot Ena Str   Que   Run   Hld   Wat   Trn   Ext Type\n---------------- ----- ----- --- --- ----- ----- ----- ----- ----- ----- ----\n'
    const line = (queue: (typeof wanted)[number]): string =>
      `${queue.name.padEnd(16)}     0     0 ${queue.enabled === false ? ' no' : 'yes'} ${queue.started === false ? ' no' : 'yes'}     0     0     0     0     0     0 Exe*\n`
    return { exit: 0, stdout: head + wanted.map(line).join('') }
  }
  if (format === 'json')
    return {
      exit: 0,
      stdout: document(server, {
        Queue: Object.fromEntries(lists.map(({ name, list }) => [name, nest(list)])),
      }),
    }
  return {
    exit: 0,
    stdout: lists.map(({ name, list }) => `Queue: ${name}\n${textLines(list, true)}\n`).join(''),
  }
}

/** Arrays: OpenPBS names the array, Torque its elements. */
export function qselect(request: Request, server: Server): Output {
  const options = new Map<string, string>()
  const flags = new Set<string>()
  for (let at = 0; at < request.words.length; at++) {
    const word = request.words[at] ?? ''
    if (/^-[xJTH]$/.test(word)) flags.add(word[1] ?? '')
    else options.set(word[1] ?? '', word.slice(2) || (request.words[++at] ?? ''))
  }
  const isTorque = server.flavour === 'torque'
  const history = isTorque || flags.has('x') || flags.has('H')
  const jobs = [...server.jobs.values()]
    .filter((job) => history || !server.isOver(job))
    .flatMap((job) => (job.elements.length > 0 && (isTorque || flags.has('T')) ? job.elements : [job]))
  const users = options
    .get('u')
    ?.split(',')
    .map((user) => user.split('@')[0])
  const chosen = jobs.filter(
    (job) =>
      (users?.includes(job.owner) ?? true) &&
      (options.get('N') ?? job.name) === job.name &&
      (options.get('q') ?? job.queue).split('@')[0] === job.queue &&
      (options.get('s') ?? stateOf(job, server)).includes(stateOf(job, server)) &&
      (!flags.has('J') || job.elements.length > 0),
  )
  return { exit: 0, stdout: chosen.map((job) => `${server.idOf(job)}\n`).join('') }
}
