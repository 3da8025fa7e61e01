/** qstat and qselect: tables, full texts, JSON, DSV and XML, with their oddities. */

import { attributes, stateOf, textLines } from './attributes.js'
import { aboutQueues, aboutServer } from './about.js'
import { json, plain, xml } from './documents.js'
import type { Job, Output, Request } from './model.js'
import { ofUser, table } from './tables.js'
import type { Server } from './server.js'

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

/** So many unknown jobs Torque's qstat can look for elsewhere: it leaves a connection open for each, and has no more. */
const CONNECTIONS = 8

/** What it says of each further one, with a name that happened to be in its memory. */
function stray(server: Server, count: number): string {
  const { host } = server.site
  const name = `k\u0001${String.fromCharCode(160 + (count % 60))}.`
  return `Unable to communicate with ${host}(10.99.0.2)
Can not resolve name for server ${name}. (rc = -1 - )
Cannot resolve specified server host '${name}'.
qstat: cannot connect to server ${name} (errno=15010) Access from host not allowed, or unknown host
`
}

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
  let strays = ''
  let unknown = 0
  let lastUnknown = ''
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
      unknown += 1
      if (isTorque && unknown > CONNECTIONS) strays += stray(server, unknown)
      else lastUnknown = full
      problems += `qstat: Unknown Job Id ${isTorque ? 'Error ' : ''}${isTorque ? lastUnknown : full}\n`
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
  return { jobs, problems: strays + problems, exit }
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
