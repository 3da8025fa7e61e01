/** qdel, qhold, qrls, qrerun, qalter, qsig and pbsnodes. */

import type { Job, Output, Request } from './model.js'
import { fullId, isId, lookUp } from './qstat.js'
import { seconds } from './sizes.js'
import { isDone, type Server } from './server.js'

interface Outcome {
  readonly exit: number
  readonly message?: string
}
const OK: Outcome = { exit: 0 }

/** Options that take a value, by program. */
const VALUED: Readonly<Record<string, string>> = {
  qdel: 'Wmt',
  qhold: 'ht',
  qrls: 'ht',
  qrerun: 'W',
  qalter: 'AaceJjklmMNopPqrSuWvx',
  qsig: 's',
}

export function control(request: Request, server: Server): Output {
  const { program } = request
  const options = new Map<string, string>()
  const ids: string[] = []
  for (let at = 0; at < request.words.length; at++) {
    const word = request.words[at] ?? ''
    if (!/^-[A-Za-z]/.test(word)) ids.push(word)
    else if ((VALUED[program] ?? '').includes(word[1] ?? ''))
      options.set(word[1] ?? '', word.slice(2) || (request.words[++at] ?? ''))
    else for (const letter of word.slice(1)) options.set(letter, '')
  }
  let exit = 0
  let stderr = ''
  for (const id of ids.flatMap((word) => elementsOf(word, server))) {
    const outcome = one(request, server, options, id)
    if (outcome.message !== undefined) stderr += `${program}: ${outcome.message}\n`
    if (outcome.exit !== 0) exit = outcome.exit
  }
  server.schedule()
  return { exit, stderr }
}

/** `12[0-3]` of OpenPBS: those of its elements that have not ended, or the first of them when all have. */
function elementsOf(word: string, server: Server): readonly string[] {
  const [, sequence = '', from, to, rest = ''] = /^(\d+)\[(\d+)-(\d+)\](.*)$/.exec(word) ?? []
  if (server.flavour !== 'openpbs' || from === undefined || to === undefined) return [word]
  const all: string[] = []
  for (let index = Number(from); index <= Number(to); index++) all.push(`${sequence}[${index}]${rest}`)
  const live = all.filter((id) => {
    const job = lookUp(id, server)
    return job !== undefined && !isDone(job)
  })
  return live.length > 0 ? live : all.slice(0, 1)
}

function one(request: Request, server: Server, options: ReadonlyMap<string, string>, id: string): Outcome {
  const { program } = request
  const isTorque = server.flavour === 'torque'
  if (!isId(id)) return { exit: 1, message: `illegally formed job identifier: ${id}` }
  const job = lookUp(id, server)
  const full = fullId(id, server)
  const isGone = job !== undefined && !isTorque && !server.hasHistory && server.isOver(job.parent ?? job)
  if (job === undefined || isGone) {
    if (!isTorque) return { exit: 153, message: `Unknown Job Id ${full}` }
    // Recorded: some of them say nothing.
    if (program === 'qdel') return { exit: 153, message: `nonexistent job id: ${id}` }
    if (program === 'qsig' || program === 'qrerun')
      return { exit: 153, message: `Unknown Job Id Error MSG=cannot locate job ${full}` }
    return { exit: 153 }
  }
  const isManager = request.user === 'root' || request.user === 'operator'
  if (job.owner !== request.user && !isManager) return { exit: 159, message: `Unauthorized Request  ${full}` }
  const purges = isTorque ? options.has('p') : options.has('x') || options.get('W') === 'force'
  if (program === 'qdel' && purges) {
    server.purge(job)
    return OK
  }
  // OpenPBS 23.06 holds arrays as a whole only.
  if (!isTorque && job.parent !== undefined && (program === 'qhold' || program === 'qrls'))
    return { exit: 156, message: `Invalid request ${full}` }
  if (server.isOver(job)) {
    if (isTorque)
      return {
        exit: 170,
        message: `Request invalid for state of job MSG=invalid state for job - COMPLETE ${full}`,
      }
    return { exit: 35, message: `Job has finished${program === 'qdel' ? ` ${full}` : ''}` }
  }
  const units = (job.elements.length > 0 ? job.elements : [job]).filter((each) => !isDone(each))
  switch (program) {
    case 'qdel':
      for (const unit of units) remove(unit, server, request.user)
      return OK
    case 'qhold':
      return hold(units, job, server, options.get('h') ?? 'u', isManager)
    case 'qrls':
      return release(units, server, options.get('h') ?? 'u', isManager, full)
    case 'qrerun': {
      if (!isManager) return { exit: 159, message: `Unauthorized Request  ${full}` }
      const running = units.filter(({ state }) => state === 'R')
      if (running.length === 0)
        return { exit: isTorque ? 170 : 168, message: `Request invalid for state of job ${full}` }
      if (running.some(({ rerunable }) => !rerunable))
        return { exit: isTorque ? 170 : 168, message: `Job is not rerunnable ${full}` }
      for (const unit of running) server.kill(unit, 'requeue')
      return OK
    }
    case 'qalter':
      for (const unit of units) {
        const name = options.get('N')
        if (name !== undefined) unit.name = name
        const walltime = /(?:^|,)walltime=([^,]+)/.exec(options.get('l') ?? '')?.[1]
        if (walltime === undefined) continue
        unit.walltimeSeconds = seconds(walltime)
        unit.resources.set('walltime', walltime)
      }
      return OK
    default:
      return { exit: 1, message: `the fake does not know ${program}` }
  }
}

function remove(job: Job, server: Server, user: string): void {
  const now = Date.now()
  job.changedMs = now
  if (job.state === 'R') {
    job.killedBy = user
    if (server.flavour === 'openpbs')
      job.comment = `${job.comment ?? ''} and terminated by ${user}@${server.site.host}`
    server.kill(job, 'qdel')
    return
  }
  job.state = 'done'
  job.endedMs = now
  job.unstarted = true
  if (server.flavour === 'torque') {
    if (!server.hasHistory) server.forget(job.parent ?? job)
    return
  }
  job.substate = 91
}

function hold(units: readonly Job[], job: Job, server: Server, kinds: string, isManager: boolean): Outcome {
  if (/[so]/.test(kinds) && !isManager) return { exit: 159, message: 'Unauthorized Request ' }
  for (const unit of units) {
    // Of a running job it only says that a checkpoint is wanted; there is none.
    if (unit.state === 'R') continue
    unit.holds = [...new Set([...unit.holds.replace(/n|throttle/, ''), ...kinds])].sort().join('')
    unit.state = 'H'
    unit.substate = 20
    unit.changedMs = Date.now()
    if (server.flavour === 'openpbs' && /[so]/.test(kinds)) unit.comment = 'Job held by root'
  }
  job.changedMs = Date.now()
  return OK
}

function release(
  units: readonly Job[],
  server: Server,
  kinds: string,
  isManager: boolean,
  id: string,
): Outcome {
  if (/[so]/.test(kinds) && !isManager) return { exit: 159, message: `Unauthorized Request  ${id}` }
  for (const unit of units) {
    if (unit.state !== 'H') continue
    unit.holds = [...unit.holds].filter((kind) => !kinds.includes(kind)).join('')
    unit.changedMs = Date.now()
    if (unit.holds !== '') continue
    unit.holds = 'n'
    unit.state = 'Q'
    unit.substate = 10
    unit.eligibleMs = Date.now()
  }
  server.schedule()
  return OK
}

export function pbsnodes(request: Request, server: Server, isDown: boolean): Output {
  const { site, node } = server
  const running = [...server.units()].filter(({ state }) => state === 'R')
  const state = isDown ? 'down' : 'free'
  const used = running.reduce((sum, { cpus }) => sum + cpus, 0)
  if (request.words.includes('json')) {
    const text = JSON.stringify(
      {
        timestamp: Math.floor(Date.now() / 1000),
        pbs_version: '23.06.06',
        pbs_server: server.server,
        nodes: {
          [node]: {
            Mom: site.host,
            ntype: 'PBS',
            state,
            pcpus: site.cpus,
            jobs: running.map((job) => server.idOf(job)),
            resources_available: {
              arch: 'linux',
              host: node,
              mem: `${site.memoryMb * 1024}kb`,
              ncpus: site.cpus,
              ngpus: site.gpus,
              vnode: node,
            },
            resources_assigned: { ncpus: used },
            resv_enable: 'True',
            sharing: 'default_shared',
            license: 'l',
          },
        },
      },
      undefined,
      '\t',
    )
    return { exit: 0, stdout: `${text}\n` }
  }
  if (server.flavour === 'torque') {
    const jobs = running.map((job, slot) => `${slot}/${server.idOf(job)}`).join(',')
    const status = `opsys=linux,uname=Linux ${node} 6.1.0,nsessions=0,totmem=${site.memoryMb * 1024}kb,availmem=${site.memoryMb * 1024}kb,physmem=${site.memoryMb * 1024}kb,ncpus=${site.cpus},loadave=0.20,gres=,state=${state},jobs=`
    if (request.words.includes('-x'))
      return {
        exit: 0,
        stdout: `<Data><Node><name>${node}</name><state>${state}</state><power_state>Running</power_state><np>${site.cpus}</np><ntype>cluster</ntype>${jobs === '' ? '' : `<jobs>${jobs}</jobs>`}<status>${status}</status><gpus>${site.gpus}</gpus></Node></Data>\n`,
      }
    return {
      exit: 0,
      stdout: `${node}\n     state = ${state}\n     power_state = Running\n     np = ${site.cpus}\n     ntype = cluster\n${jobs === '' ? '' : `     jobs = ${jobs}\n`}     status = ${status}\n     mom_service_port = 15002\n     mom_manager_port = 15003\n     gpus = ${site.gpus}\n\n`,
    }
  }
  const jobs = running.map((job, slot) => `${server.idOf(job)}/${slot}`).join(', ')
  return {
    exit: 0,
    stdout: `${node}\n     Mom = ${site.host}\n     ntype = PBS\n     state = ${state}\n     pcpus = ${site.cpus}\n${jobs === '' ? '' : `     jobs = ${jobs}\n`}     resources_available.arch = linux\n     resources_available.host = ${node}\n     resources_available.mem = ${site.memoryMb * 1024}kb\n     resources_available.ncpus = ${site.cpus}\n     resources_available.ngpus = ${site.gpus}\n     resources_available.vnode = ${node}\n     resources_assigned.ncpus = ${used}\n     resv_enable = True\n     sharing = default_shared\n     license = l\n\n`,
  }
}
