/** `sbatch`: what it takes, what it refuses, in which words. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from './cluster.js'
import { isOver, type Dependency, type Wish } from './model.js'
import type { Output, Request } from './programs.js'
import { readIndices, readLine, readMegabytes, readMinutes, type Line, type OptionTable } from './words.js'

const OPTIONS: OptionTable = {
  account: ['A', true],
  array: ['a', true],
  begin: ['b', true],
  chdir: ['D', true],
  clusters: ['M', true],
  comment: ['', true],
  constraint: ['C', true],
  'cpus-per-task': ['c', true],
  dependency: ['d', true],
  error: ['e', true],
  exclusive: ['', '?'],
  export: ['', true],
  gpus: ['G', true],
  gres: ['', true],
  hold: ['H', false],
  input: ['i', true],
  'job-name': ['J', true],
  licenses: ['L', true],
  'mail-type': ['', true],
  'mail-user': ['', true],
  mem: ['', true],
  'mem-per-cpu': ['', true],
  nice: ['', '?'],
  'no-requeue': ['', false],
  nodelist: ['w', true],
  nodes: ['N', true],
  ntasks: ['n', true],
  'ntasks-per-node': ['', true],
  'open-mode': ['', true],
  output: ['o', true],
  parsable: ['', false],
  partition: ['p', true],
  qos: ['q', true],
  requeue: ['', false],
  reservation: ['', true],
  signal: ['', true],
  time: ['t', true],
  tmp: ['', true],
  version: ['V', false],
  wrap: ['', true],
}

class Refusal extends Error {
  constructor(
    readonly exitCode: number,
    ...lines: readonly string[]
  ) {
    super(lines.map((line) => `sbatch: error: ${line}\n`).join(''))
  }
}
const failed = (why: string): string => `Batch job submission failed: ${why}`

/** Variables a login shell on the node would have, of which nothing is the submitter's. */
const LOGIN_ENVIRONMENT = {
  LANG: 'en_GB.UTF-8',
  LOADEDMODULES: 'site/base',
  PATH: '/usr/local/bin:/usr/bin:/bin',
}

export async function sbatch(request: Request, cluster: Cluster): Promise<Output> {
  try {
    const { id, clusters } = await submit(request, cluster)
    return { exitCode: 0, stdout: answer(id, clusters, request.args), stderr: '' }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { exitCode: error.exitCode, stdout: '', stderr: error.message }
  }
}

function answer(id: number, clusters: string | undefined, args: readonly string[]): string {
  if (args.includes('--parsable')) return clusters === undefined ? `${id}\n` : `${id};${clusters}\n`
  return `Submitted batch job ${id}${clusters === undefined ? '' : ` on cluster ${clusters}`}\n`
}

async function submit(
  request: Request,
  cluster: Cluster,
): Promise<{ readonly id: number; readonly clusters: string | undefined }> {
  const given = readLine('sbatch', request.args, OPTIONS, true)
  const script = await scriptOf(given, request)
  // The command line wins over the script.
  const options = new Map([...readLine('sbatch', directives(script), OPTIONS).options, ...given.options])
  const wish = wishOf(options, given, script, request, cluster)
  const indices = indicesOf(options.get('array'), cluster)
  checkSite(wish, indices?.length ?? 1, options, cluster)
  const throttle = /%(\d+)$/.exec(options.get('array') ?? '')?.[1]
  const whole = { ...wish, throttle: throttle === undefined ? undefined : Number(throttle) }
  return { id: cluster.submit(whole, indices, options.has('hold')), clusters: options.get('clusters') }
}

async function scriptOf({ options, words }: Line, request: Request): Promise<string> {
  const wrap = options.get('wrap')
  if (wrap !== undefined) return `#!/bin/sh\n# This script was created by sbatch --wrap.\n\n${wrap}\n`
  const [file] = words
  let text: string
  if (file === undefined) text = await request.stdin()
  else {
    try {
      text = readFileSync(file.startsWith('/') ? file : join(request.directory, file), 'utf8')
    } catch {
      throw new Refusal(1, `Unable to open file ${file}`)
    }
  }
  if (!text.startsWith('#!'))
    throw new Refusal(
      1,
      'This does not look like a batch script.  The first',
      'line must start with #! followed by the path to an interpreter.',
      'For instance: #!/bin/sh',
    )
  if (text.includes('\r\n'))
    throw new Refusal(
      1,
      'Batch script contains DOS line breaks (\\r\\n)',
      'instead of expected UNIX line breaks (\\n).',
    )
  return text
}

function directives(script: string): readonly string[] {
  const words: string[] = []
  for (const line of script.split('\n').slice(1)) {
    if (line.startsWith('#SBATCH')) words.push(...line.slice(7).trim().split(/\s+/).filter(Boolean))
    else if (line.trim() !== '' && !line.startsWith('#')) break
  }
  return words
}

function wishOf(
  options: ReadonlyMap<string, string>,
  { words }: Line,
  script: string,
  request: Request,
  cluster: Cluster,
): Wish {
  const cpus = Number(options.get('cpus-per-task') ?? 1) * Number(options.get('ntasks') ?? 1)
  const perCpu = options.get('mem-per-cpu')
  const memoryMb =
    perCpu === undefined ? readMegabytes(options.get('mem') ?? '16') : readMegabytes(perCpu) * cpus
  if (Number.isNaN(memoryMb)) throw new Refusal(255, 'Invalid --mem specification')
  const limitMinutes = options.has('time') ? readMinutes(options.get('time') ?? '') : 60
  if (Number.isNaN(limitMinutes)) throw new Refusal(255, 'Invalid --time specification')
  const [file] = words
  return {
    name: options.get('job-name') ?? (options.has('wrap') ? 'wrap' : (file?.split('/').at(-1) ?? 'sbatch')),
    user: request.user,
    uid: request.uid,
    account: options.get('account') ?? cluster.site.accounts[0]?.name ?? '',
    qos: options.get('qos') ?? 'normal',
    partitions: (options.get('partition') ?? cluster.defaultPartition ?? '').split(','),
    script,
    args: words.slice(1),
    directory: options.get('chdir') ?? request.directory,
    stdout: options.get('output'),
    stderr: options.get('error'),
    append: options.get('open-mode') === 'append',
    cpus,
    memoryMb,
    gpus: gpusOf(options),
    exclusive: options.has('exclusive'),
    limitMinutes,
    beginMs: beginOf(options.get('begin')),
    dependencies: dependenciesOf(options.get('dependency'), cluster),
    throttle: undefined,
    requeue: options.has('requeue') || !options.has('no-requeue'),
    signal: signalOf(options.get('signal')),
    environment: environmentOf(options.get('export'), request),
    nice: Number(options.get('nice') ?? 0),
  }
}

function gpusOf(options: ReadonlyMap<string, string>): number {
  const gres = options.get('gres') ?? ''
  const gpus = options.get('gpus')
  return Number(/^gpu(?::[^:]+)?:(\d+)$/.exec(gres)?.[1] ?? gpus?.split(':').at(-1) ?? 0)
}

function beginOf(text: string | undefined): number | undefined {
  if (text === undefined || text === 'now') return undefined
  const match = /^now\+(\d+)(seconds?|minutes?|hours?|days?)?$/.exec(text)
  const unit = { s: 1, m: 60, h: 3600, d: 86_400 }[match?.[2]?.[0] ?? 's'] ?? 1
  const at = match === null ? Date.parse(text) : Date.now() + Number(match[1]) * unit * 1000
  if (Number.isNaN(at)) throw new Refusal(255, 'Invalid --begin specification')
  return at
}

function dependenciesOf(text: string | undefined, cluster: Cluster): readonly Dependency[] {
  if (text === undefined) return []
  return text.split(',').flatMap((part) => {
    const [kind = '', ...ids] = part.split(':')
    const known = ['after', 'afterok', 'afternotok', 'afterany', 'singleton'].includes(kind)
    const numbers = ids.map(Number)
    const sound = known && numbers.every((id) => cluster.select(String(id)).length > 0)
    if (!sound) throw new Refusal(1, failed('Job dependency problem'))
    const of = kind as Dependency['kind']
    return kind === 'singleton' ? [{ kind: of, id: 0 }] : numbers.map((id) => ({ kind: of, id }))
  })
}

function signalOf(text: string | undefined): Wish['signal'] {
  if (text === undefined) return undefined
  const match = /^(?:([BR]+):)?(\w+)(?:@(\d+))?$/.exec(text)
  if (match === null) throw new Refusal(255, 'Invalid --signal specification')
  return {
    name: match[2] ?? '',
    batchOnly: match[1]?.includes('B') === true,
    seconds: Number(match[3] ?? 60),
  }
}

/** `NONE`: what a login on the node gives. `ALL`: what sbatch has. Assignments come on top. */
function environmentOf(
  text: string | undefined,
  { user, home, environment }: Request,
): Readonly<Record<string, string>> {
  const words = (text ?? 'ALL').split(',')
  const given = words.filter((word) => word.includes('='))
  const login = {
    ...LOGIN_ENVIRONMENT,
    HOME: home,
    USER: user,
    LOGNAME: user,
    SHELL: '/bin/sh',
    SLURM_EXPORT_ENV: 'NONE',
    SLURM_GET_USER_ENV: '1',
  }
  const base = words.includes('ALL') ? environment : login
  const entries = given.map((word): [string, string] => [
    word.slice(0, word.indexOf('=')),
    word.slice(word.indexOf('=') + 1),
  ])
  return { ...base, ...Object.fromEntries(entries) }
}

function indicesOf(text: string | undefined, cluster: Cluster): readonly number[] | undefined {
  if (text === undefined) return undefined
  const indices = readIndices(text.replace(/%\d+$/, ''))
  if (indices === undefined || indices.some((index) => index >= cluster.site.maxArraySize))
    throw new Refusal(1, failed('Invalid job array specification'))
  return indices
}

function checkSite(wish: Wish, count: number, options: ReadonlyMap<string, string>, cluster: Cluster): void {
  const { site } = cluster
  const unknown = wish.partitions.find((name) => cluster.partition(name) === undefined)
  if (unknown !== undefined)
    throw new Refusal(
      1,
      `invalid partition specified: ${unknown}`,
      failed('Invalid partition name specified'),
    )
  if (options.has('reservation')) throw new Refusal(1, failed('Requested reservation is invalid'))
  if (options.has('constraint')) throw new Refusal(1, failed('Invalid feature specification'))
  const node = options.get('nodelist')
  if (node !== undefined && !site.nodes.some(({ name }) => name === node))
    throw new Refusal(1, failed('Invalid node name specified'))
  const partitions = wish.partitions.map((name) => cluster.partition(name)).filter((one) => one !== undefined)
  const nodes = partitions.flatMap((partition) => cluster.nodesOf(partition))
  if (wish.gpus > Math.max(0, ...nodes.map(({ gpus = 0 }) => gpus)))
    throw new Refusal(1, 'Invalid generic resource (gres) specification')
  const impossible = failed('Requested node configuration is not available')
  if (wish.memoryMb > Math.max(...nodes.map(({ memoryMb }) => memoryMb)))
    throw new Refusal(1, 'Memory specification can not be satisfied', impossible)
  if (wish.cpus > Math.max(...nodes.map(({ cpus }) => cpus)))
    throw new Refusal(1, 'CPU count per node can not be satisfied', impossible)
  const longest = Math.max(...partitions.map(({ maxMinutes }) => maxMinutes ?? Infinity))
  if (site.enforcePartLimits && (wish.limitMinutes ?? 0) > longest)
    throw new Refusal(1, failed('Requested time limit is invalid (missing or exceeds some limit)'))
  if (site.enforceAssociations) checkAssociation(wish, count, cluster)
  const held = cluster.queue().length + count
  if (held > site.maxJobCount) throw new Refusal(1, failed('Resource temporarily unavailable'))
}

function checkAssociation(wish: Wish, count: number, { site, jobs }: Cluster): void {
  const account = site.accounts.find(({ name }) => name === wish.account)
  if (account === undefined)
    throw new Refusal(1, failed('Invalid account or account/partition combination specified'))
  const qos = site.qos.find(({ name }) => name === wish.qos)
  if (qos === undefined) throw new Refusal(1, failed('Invalid qos specification'))
  const policy = failed(
    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
  )
  const live = jobs.filter((job) => !isOver(job) && job.wish.account === wish.account).length
  if (live + count > (account.maxSubmit ?? Infinity)) throw new Refusal(1, 'AssocMaxSubmitJobLimit', policy)
  const ofQos = jobs.filter((job) => !isOver(job) && job.wish.qos === wish.qos).length
  if (ofQos + count > (qos.maxSubmit ?? Infinity)) throw new Refusal(1, 'QOSMaxSubmitJobPerUserLimit', policy)
  if ((wish.limitMinutes ?? Infinity) > (account.maxWallMinutes ?? Infinity))
    throw new Refusal(1, 'AssocMaxWallDurationPerJobLimit', policy)
  if ((wish.limitMinutes ?? Infinity) > (qos.maxWallMinutes ?? Infinity))
    throw new Refusal(1, 'QOSMaxWallDurationPerJobLimit', policy)
}
