/** What a fake PBS server is made of. */

export type Flavour = 'openpbs' | 'torque'

export interface FakeQueue {
  readonly name: string
  readonly enabled?: boolean
  readonly started?: boolean
  readonly maxWalltimeSeconds?: number
  readonly maxCpus?: number
}

export interface FakeSite {
  readonly host: string
  readonly queues: readonly FakeQueue[]
  readonly cpus: number
  readonly memoryMb: number
  readonly gpus: number
  readonly maxArraySize: number
  /** OpenPBS: jobs that have ended are told of with -x. */
  readonly history: boolean
  /** Torque: so long an ended job is told of. */
  readonly keepCompletedSeconds: number
  /** Between the polite signal and the other one. */
  readonly killDelayMs: number
  /** Torque sets this on jobs that ask for none. */
  readonly defaultWalltime: string
}

export const DEFAULT_SITE: FakeSite = {
  host: 'pbs01.cluster.example',
  queues: [
    { name: 'workq' },
    { name: 'short', maxWalltimeSeconds: 600 },
    { name: 'closed', enabled: false },
    { name: 'stopped', started: false },
  ],
  cpus: 8,
  memoryMb: 64 * 1024,
  gpus: 2,
  maxArraySize: 1000,
  history: true,
  keepCompletedSeconds: 300,
  killDelayMs: 300,
  defaultWalltime: '01:00:00',
}

/**
 * Switches. `lose-answer` and `hang-after-accept` work once: qsub accepts, then fails or never comes back. `node-down`:
 * the jobs on the node are started again, or ended where they may not be. `vanish`: once, all running jobs are gone as if
 * they had never been.
 */
export const FAULTS = [
  'server-down',
  'history-off',
  'lose-answer',
  'hang-after-accept',
  'node-down',
  'vanish',
  'queue-disabled',
  'queue-stopped',
] as const
export type Fault = (typeof FAULTS)[number]

export type State = 'Q' | 'H' | 'W' | 'R' | 'E' | 'S' | 'done'

/** Why the server itself ends a job. */
export type Killer = 'qdel' | 'walltime' | 'memory' | 'requeue' | 'node' | 'purge'

export interface Used {
  cpuSeconds: number
  memoryKb: number
  virtualKb: number
  walltimeSeconds: number
}

export interface Job {
  readonly sequence: number
  /** Of an element. */
  readonly index: number | undefined
  readonly parent: Job | undefined
  /** Of an array: its elements by index. */
  readonly elements: readonly Job[]
  readonly indices: string
  readonly throttle: number | undefined
  name: string
  readonly owner: string
  readonly queue: string
  readonly script: string
  readonly shell: string
  readonly directory: string
  readonly submitDirectory: string
  readonly variables: Readonly<Record<string, string>>
  readonly exported: Readonly<Record<string, string>>
  readonly resources: Map<string, string>
  readonly cpus: number
  readonly memoryKb: number | undefined
  readonly gpus: number
  walltimeSeconds: number | undefined
  readonly rerunable: boolean
  readonly join: string
  readonly keep: string
  readonly mail: string
  readonly priority: number
  readonly account: string | undefined
  readonly project: string
  readonly submitArguments: string
  readonly stdout: string
  readonly stderr: string
  readonly depend: readonly { readonly type: string; readonly sequence: number; readonly id: string }[]
  readonly beginMs: number | undefined
  state: State
  holds: string
  comment: string | undefined
  substate: number
  createdMs: number
  eligibleMs: number | undefined
  changedMs: number
  startedMs: number | undefined
  endedMs: number | undefined
  exit: number | undefined
  session: number | undefined
  slot: number | undefined
  runCount: number
  killer: Killer | undefined
  /** Who asked qdel. */
  killedBy: string | undefined
  /** Deleted before it ran. */
  unstarted: boolean
  used: Used | undefined
}

export interface Output {
  readonly exit: number
  readonly stdout?: string
  readonly stderr?: string
}

/** One run of a program. */
export interface Request {
  readonly program: string
  readonly words: readonly string[]
  readonly directory: string
  readonly user: string
  readonly variables: Readonly<Record<string, string>>
  readonly stdin: string
}
