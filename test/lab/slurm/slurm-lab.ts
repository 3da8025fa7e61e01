/** A real Slurm for tests: starts and stops the daemons with the script beside this file, and clears everything away. */

import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** Seen from `dist-test/lab/slurm/`. */
const SCRIPT = path.resolve(
  path.dirname(fileURLToPath(import.meta.url)),
  '..',
  '..',
  '..',
  'test',
  'lab',
  'slurm',
  'slurm-lab',
)

export type Daemon = 'munged' | 'mariadbd' | 'slurmdbd' | 'slurmctld' | 'slurmd'

export interface SlurmLabOptions {
  /** Each has a slurmd of its own. Default 1. */
  readonly nodes?: number
  /** What each node claims to have. Default 64 cpus and 64 000 MB. */
  readonly cpus?: number
  readonly memoryMb?: number
  /** Default `true`. */
  readonly accounting?: boolean
  /** Memory limits are kept by the kernel. Default: sampled every two seconds. Needs {@link hasMemoryController}. */
  readonly cgroup?: boolean
  /** Seconds that squeue knows a job after its end. Default 300; 2 is the least. */
  readonly minJobAge?: number
  /** Seconds; programs give up on a controller that is away after about half of it. Default 2. */
  readonly messageTimeout?: number
  /** More lines of slurm.conf. */
  readonly extra?: string
}

export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

export interface SlurmLab {
  /** `SLURM_CONF`: all that a program of Slurm needs. */
  readonly environment: Readonly<Record<string, string>>
  readonly directory: string
  /** Throw-away account that owns the jobs; removed by `stop`. */
  readonly account: Account
  /** First process of a daemon. */
  pid(daemon: Daemon): number
  start(daemon: Daemon): Promise<void>
  /** Politely: it saves its state. */
  halt(daemon: Daemon): Promise<void>
  kill(daemon: Daemon): Promise<void>
  stopController(): Promise<void>
  /** Stops it where it runs, starts it, waits until jobs can start again. */
  restartController(): Promise<void>
  stopDbd(): Promise<void>
  startDbd(): Promise<void>
  /** Run a program of Slurm, as root unless `as` names the lab's account. Fails with what it said. */
  run(argv: readonly string[], options?: { readonly as?: Account; readonly input?: string }): Promise<string>
  /** Ends all jobs and daemons, removes the folder and the account. */
  stop(): Promise<void>
}

/** Why no lab can run here; undefined: it can. */
export function slurmLabProblem(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux'
  const { status, stderr } = spawnSync(SCRIPT, ['check'], { encoding: 'utf8' })
  if (status === 0) return undefined
  return `${stderr.trim().replace(/^slurm-lab: /, '')} (test/lab/slurm/slurm-lab install, as root, installs the programs)`
}

/** Whether memory limits can be kept by the kernel here: `cgroup: true`. */
export const hasMemoryController = (): boolean => fs.existsSync('/sys/fs/cgroup/memory')

/** Start a Slurm and wait until it can run a job. What was started is ended when it fails. */
export async function startSlurmLab(options: SlurmLabOptions = {}): Promise<SlurmLab> {
  const { nodes = 1, cpus = 64, memoryMb = 64_000, minJobAge = 300, messageTimeout = 2, extra = '' } = options
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-slurm-'))
  const name = `owlab${randomBytes(4).toString('hex')}`
  const words = (flags: Readonly<Record<string, string | number>>): string[] =>
    Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)])
  const script = async (...args: readonly string[]): Promise<void> => {
    await runProgram([SCRIPT, ...args])
  }
  const stop = async (): Promise<void> => {
    running.delete(directory)
    if (fs.existsSync(path.join(directory, 'settings'))) await script('down', directory)
    fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
  running.add(directory)
  try {
    await script(
      'up',
      directory,
      ...words({
        port: await freePorts(nodes + 2),
        nodes,
        cpus,
        memory: memoryMb,
        accounting: options.accounting === false ? 'no' : 'yes',
        cgroup: options.cgroup === true ? 'yes' : 'no',
        'min-job-age': minJobAge,
        'message-timeout': messageTimeout,
        account: name,
        extra,
      }),
    )
  } catch (error) {
    const logs = tails(path.join(directory, 'log'))
    await stop()
    throw new Error(`Slurm did not start.\n${logs}`, { cause: error })
  }
  const environment = { SLURM_CONF: path.join(directory, 'etc', 'slurm.conf') }
  const run: SlurmLab['run'] = (argv, { as, input } = {}) =>
    runProgram(as === undefined ? argv : [...asAccount(as), ...argv], {
      environment,
      ...(input !== undefined && { input }),
    })
  const nodesUsable = async (): Promise<void> => {
    for (;;) {
      const states = (await run(['sinfo', '-h', '-N', '-p', 'main', '-o', '%t'])).trim().split('\n')
      if (states.filter((state) => /^(idle|mix|alloc)$/.test(state)).length >= nodes) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const id = async (flag: string): Promise<number> => Number(await runProgram(['id', flag, name]))
  return {
    environment,
    directory,
    account: { name, uid: await id('-u'), gid: await id('-g') },
    pid: (daemon) => {
      const file = daemon === 'slurmd' ? 'slurmd-node1' : daemon
      return Number(fs.readFileSync(path.join(directory, 'run', `${file}.pid`), 'utf8'))
    },
    start: (daemon) => script('start', directory, daemon),
    halt: (daemon) => script('stop', directory, daemon),
    kill: (daemon) => script('kill', directory, daemon),
    stopController: () => script('stop', directory, 'slurmctld'),
    restartController: async () => {
      await script('stop', directory, 'slurmctld')
      await script('start', directory, 'slurmctld')
      await nodesUsable()
    },
    stopDbd: () => script('stop', directory, 'slurmdbd'),
    startDbd: () => script('start', directory, 'slurmdbd'),
    run,
    stop,
  }
}

/** Words before a command that make it another account's, with nothing of root left. */
export const asAccount = ({ uid, gid }: Pick<Account, 'uid' | 'gid'>): readonly string[] => [
  'setpriv',
  `--reuid=${uid}`,
  `--regid=${gid}`,
  '--keep-groups',
  '--',
]

// ---------------------------------------------------------------- small tools

/** Labs of this process. A test run that is interrupted ends them. */
const running = new Set<string>()
process.once('exit', () => {
  for (const directory of running) {
    spawnSync(SCRIPT, ['down', directory], { stdio: 'ignore' })
    fs.rmSync(directory, { recursive: true, force: true })
  }
})

/** Port numbers below those that the system hands out by itself. */
const [LOWEST, HIGHEST] = [20_000, 32_000]

/** First of some ports in a row that are free now. */
async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const first = LOWEST + (randomBytes(4).readUInt32BE() % (HIGHEST - LOWEST))
    const free = await Promise.all([...Array(count).keys()].map((index) => isFree(first + index)))
    if (free.every(Boolean)) return first
  }
  throw new Error(`no ${count} free ports in a row between ${LOWEST} and ${HIGHEST}`)
}

async function isFree(port: number): Promise<boolean> {
  const server = net.createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

async function runProgram(
  argv: readonly string[],
  {
    environment = {},
    input,
  }: { readonly environment?: Readonly<Record<string, string>>; readonly input?: string } = {},
): Promise<string> {
  const [program = '', ...args] = argv
  const child = spawn(program, args, {
    env: { PATH: process.env['PATH'], LANG: 'C.UTF-8', ...environment },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin?.end(input)
  await once(child, 'close')
  if (child.exitCode === 0) return stdout
  throw new Error(`${argv.join(' ')}: exit code ${child.exitCode ?? child.signalCode}\n${stdout}${stderr}`)
}

/** The end of each log, for the message of a start that failed. */
function tails(folder: string): string {
  if (!fs.existsSync(folder)) return ''
  return fs
    .readdirSync(folder)
    .map(
      (name) =>
        `${name}: ${fs.readFileSync(path.join(folder, name), 'utf8').split('\n').slice(-6).join('\n  ')}`,
    )
    .join('\n')
}
