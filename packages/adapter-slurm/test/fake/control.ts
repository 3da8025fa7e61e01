/** `scancel` and `scontrol`. */

import type { Cluster } from './cluster.js'
import { isOver, shownId, type Job } from './model.js'
import type { Output, Request } from './programs.js'
import { clock, readIndices, readLine, time, type OptionTable } from './words.js'

const SCANCEL: OptionTable = {
  batch: ['b', false],
  clusters: ['M', true],
  me: ['', false],
  name: ['n', true],
  signal: ['s', true],
  user: ['u', true],
  verbose: ['v', false],
  version: ['V', false],
}
const NOT_FOUND = 'Invalid job id specified'
const ENDED = 'Job/step already completing or completed'
const DENIED = 'Access/permission denied'

const mayTouch = (job: Job, { uid }: Request): boolean => uid === 0 || uid === job.wish.uid

export function scancel(request: Request, cluster: Cluster): Output {
  const { options, words } = readLine('scancel', request.args, SCANCEL)
  const bad = words.find((word) => !/^\d+(_(\d+|\[[^\]]*\]))?$/.test(word))
  if (bad !== undefined) return { exitCode: 1, stdout: '', stderr: `scancel: error: Invalid job id ${bad}\n` }
  const name = options.get('name')
  const user = options.has('me') ? request.user : options.get('user')
  const verbose = options.has('verbose')
  let stderr = ''
  let exitCode = 0
  const filter = (job: Job): boolean =>
    (name === undefined || job.wish.name === name) && (user === undefined || job.wish.user === user)
  const targets: (readonly [string, readonly Job[]])[] =
    words.length > 0
      ? words.map((word) => [word, jobsOf(word, cluster).filter(filter)])
      : name === undefined && user === undefined
        ? []
        : cluster.jobs.filter((job) => !isOver(job) && filter(job)).map((job) => [shownId(job), [job]])
  for (const [word, jobs] of targets) {
    if (verbose) stderr += `scancel: Terminating job ${word}\n`
    const live = jobs.filter((job) => !isOver(job))
    if (live.some((job) => !mayTouch(job, request))) {
      stderr += `scancel: error: Kill job error on job id ${word}: ${DENIED}\n`
      exitCode = 210
      continue
    }
    if (live.length === 0 && verbose)
      stderr += `scancel: error: Kill job error on job id ${word}: ${jobs.length === 0 ? NOT_FOUND : ENDED}\n`
    for (const job of live) {
      const signal = options.get('signal')
      if (signal === undefined) cluster.cancel(job, request.uid)
      else cluster.signalJob(job, signal, options.has('batch'))
    }
  }
  return { exitCode, stdout: '', stderr }
}

/** `20`, `20_3`, `20_[1-3,7]`. */
function jobsOf(word: string, cluster: Cluster): readonly Job[] {
  const match = /^(\d+)_\[([^\]]*)\]$/.exec(word)
  if (match === null) return cluster.select(word)
  return (readIndices(match[2] ?? '') ?? []).flatMap((index) => cluster.select(`${match[1]}_${index}`))
}

const SCONTROL: OptionTable = {
  all: ['a', false],
  clusters: ['M', true],
  details: ['d', false],
  oneliner: ['o', false],
  version: ['V', false],
}

export function scontrol(request: Request, cluster: Cluster): Output {
  const { words, options } = readLine('scontrol', request.args, SCONTROL)
  const [verb = '', ...rest] = words
  switch (verb) {
    case 'ping':
      return { exitCode: 0, stdout: 'Slurmctld(primary) at login1 is UP\n', stderr: '' }
    case 'show':
      return show(rest, options.has('oneliner'), request, cluster)
    case 'update':
      return update(rest, request, cluster)
    case 'hold':
    case 'release':
    case 'requeue':
    case 'requeuehold':
    case 'suspend':
    case 'resume':
      return act(verb, rest, request, cluster)
    default:
      return { exitCode: 1, stdout: '', stderr: `invalid keyword: ${verb}\n` }
  }
}

function act(verb: string, words: readonly string[], request: Request, cluster: Cluster): Output {
  const done: Record<string, (job: Job) => void> = {
    hold: (job) => {
      job.held = request.uid === 0 && job.wish.uid !== 0 ? 'admin' : 'user'
      job.reason = job.held === 'admin' ? 'JobHeldAdmin' : 'JobHeldUser'
    },
    release: (job) => {
      job.held = undefined
      job.reason = 'None'
      job.beginMs = undefined
    },
    requeue: (job) => {
      cluster.requeue(job, false)
    },
    requeuehold: (job) => {
      cluster.requeue(job, true)
    },
    suspend: (job) => {
      cluster.suspend(job, true)
    },
    resume: (job) => {
      cluster.suspend(job, false)
    },
  }
  let stderr = ''
  // Ids may come apart and with commas; a comma within brackets belongs to one id.
  for (const word of words.flatMap((one) => one.match(/(?:[^,[]|\[[^\]]*\])+/g) ?? [])) {
    const found = jobsOf(word, cluster)
    const why = problemOf(verb, found, request)
    if (why !== undefined) stderr += `${why} for job ${word}\nslurm_suspend error: ${why}\n`
    else for (const job of found.filter((one) => touchable(verb, one))) done[verb]?.(job)
  }
  cluster.schedule()
  return { exitCode: stderr === '' ? 0 : 1, stdout: '', stderr }
}

const touchable = (verb: string, job: Job): boolean =>
  verb === 'hold' || verb === 'release' ? job.state === 'PENDING' : !isOver(job) || verb.startsWith('requeue')

function problemOf(verb: string, jobs: readonly Job[], request: Request): string | undefined {
  if (jobs.length === 0) return NOT_FOUND
  if (jobs.some((job) => !mayTouch(job, request))) return DENIED
  if (verb === 'release' && request.uid !== 0 && jobs.some(({ held }) => held === 'admin')) return DENIED
  if ((verb === 'suspend' || verb === 'resume') && request.uid !== 0) return DENIED
  if (verb.startsWith('requeue'))
    return jobs.every(({ state }) => state === 'PENDING') ? 'Job is pending execution' : undefined
  return jobs.every(isOver) ? 'Job has already finished' : undefined
}

function update(words: readonly string[], request: Request, cluster: Cluster): Output {
  const values = new Map(
    words.map((word) => [word.split('=')[0]?.toLowerCase() ?? '', word.replace(/^[^=]*=/, '')]),
  )
  if (request.uid !== 0) return { exitCode: 1, stdout: '', stderr: `slurm_update error: ${DENIED}\n` }
  const state = values.get('state')?.toUpperCase() ?? ''
  const node = values.get('nodename')
  const partition = values.get('partitionname')
  if (node !== undefined) cluster.setNode(node, /^(DOWN|DRAIN)$/.test(state) ? state : undefined)
  if (partition !== undefined) cluster.partitionStates.set(partition, state === 'UP')
  cluster.schedule()
  return { exitCode: 0, stdout: '', stderr: '' }
}

function show(
  [what = '', id]: readonly string[],
  oneLine: boolean,
  request: Request,
  cluster: Cluster,
): Output {
  const said = (stdout: string): Output => ({ exitCode: 0, stdout, stderr: '' })
  if (what === 'config') return said(config(cluster, request.timeFormat))
  if (what.startsWith('job')) {
    const known = cluster.queue()
    const jobs = id === undefined ? known : jobsOf(id, cluster).filter((job) => known.includes(job))
    if (jobs.length === 0) return { exitCode: 1, stdout: '', stderr: `slurm_load_jobs error: ${NOT_FOUND}\n` }
    return said(jobs.map((job) => shown(job, request.timeFormat, oneLine)).join(''))
  }
  if (what.startsWith('node'))
    return said(
      cluster.site.nodes
        .map((node) => {
          const used = cluster.usedOf(node)
          const state = cluster.downNodes.get(node.name) ?? (used.cpus === 0 ? 'IDLE' : 'MIXED')
          return (
            `NodeName=${node.name} Arch=x86_64 CoresPerSocket=1 \n   CPUAlloc=${used.cpus} CPUEfctv=${node.cpus} CPUTot=${node.cpus} CPULoad=0.10\n` +
            `   RealMemory=${node.memoryMb} AllocMem=${used.memoryMb} Sockets=${node.cpus} Boards=1\n   State=${state} ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A\n\n`
          )
        })
        .join(''),
    )
  return { exitCode: 1, stdout: '', stderr: `invalid entity: ${what} for keyword:show \n` }
}

function shown(job: Job, timeFormat: string, oneLine: boolean): string {
  const at = (ms: number | undefined): string => (ms === undefined ? 'Unknown' : time(ms, timeFormat))
  const { wish } = job
  const seconds = job.startMs === undefined ? 0 : ((job.endMs ?? Date.now()) - job.startMs) / 1000
  const array = job.arrayId === undefined ? '' : ` ArrayJobId=${job.arrayId} ArrayTaskId=${job.index}`
  const groups = [
    `JobId=${job.rawId}${array} JobName=${wish.name}`,
    `UserId=${wish.user}(${wish.uid}) GroupId=${wish.user}(${wish.uid}) MCS_label=N/A`,
    `Priority=4294901745 Nice=${wish.nice} Account=${wish.account} QOS=${wish.qos}`,
    `JobState=${job.completing ? 'COMPLETING' : job.state} Reason=${job.reason.replaceAll(' ', '_')} Dependency=(null)`,
    `Requeue=${wish.requeue ? 1 : 0} Restarts=${job.restarts} BatchFlag=1 Reboot=0 ExitCode=${job.waitStatus >> 8}:${job.waitStatus & 0x7f}`,
    `RunTime=${clock(seconds, true)} TimeLimit=${wish.limitMinutes === undefined ? 'UNLIMITED' : clock(wish.limitMinutes * 60, true)} TimeMin=N/A`,
    `SubmitTime=${at(job.submitMs)} EligibleTime=${at(job.wasEligible ? job.submitMs : undefined)}`,
    `StartTime=${at(job.startMs)} EndTime=${at(job.endMs)} Deadline=N/A`,
    `Partition=${wish.partitions.join(',')} AllocNode:Sid=localhost:773`,
    `NodeList=${job.node ?? ''}`,
    `WorkDir=${wish.directory}`,
  ]
  return oneLine ? `${groups.join(' ')} \n` : `${groups.join('\n   ')}\n   \n\n`
}

function config(cluster: Cluster, timeFormat: string): string {
  const { site } = cluster
  const settings: Readonly<Record<string, string>> = {
    AccountingStorageEnforce: site.enforceAssociations ? 'associations,limits,qos' : 'none',
    AccountingStorageType: cluster.hasAccounting ? 'accounting_storage/slurmdbd' : 'accounting_storage/none',
    AuthType: 'auth/munge',
    ClusterName: site.clusterName,
    EnforcePartLimits: site.enforcePartLimits ? 'ALL' : 'NO',
    FirstJobId: String(site.firstJobId),
    JobAcctGatherParams: site.memoryKill === 'plugin' ? 'OverMemoryKill' : '(null)',
    JobRequeue: '1',
    KillWait: `${Math.ceil(site.killWaitMs / 1000)} sec`,
    MaxArraySize: String(site.maxArraySize),
    MaxJobCount: String(site.maxJobCount),
    MaxMemPerNode: 'UNLIMITED',
    MinJobAge: `${Math.ceil(site.minJobAgeMs / 1000)} sec`,
    NEXT_JOB_ID: String(cluster.nextId),
    ProctrackType: site.memoryKill === 'cgroup' ? 'proctrack/cgroup' : 'proctrack/linuxproc',
    SelectType: 'select/cons_tres',
    SLURM_VERSION: site.version,
    TaskPlugin: site.memoryKill === 'cgroup' ? 'task/cgroup' : 'task/none',
  }
  const lines = Object.entries(settings).map(([key, value]) => `${key.padEnd(23)} = ${value}\n`)
  return `Configuration data as of ${time(Date.now(), timeFormat)}\n${lines.join('')}\nSlurmctld(primary) at login1 is UP\n`
}
