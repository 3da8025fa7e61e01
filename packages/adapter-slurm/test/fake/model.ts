/** What the fake Slurm knows: its site, its jobs, what it remembers of those that ended. */

export interface FakeNode {
  readonly name: string
  readonly cpus: number
  readonly memoryMb: number
  readonly gpus?: number
}

export interface FakePartition {
  readonly name: string
  /** Default: the first one is. */
  readonly isDefault?: boolean
  /** Default: no limit. */
  readonly maxMinutes?: number
  readonly up?: boolean
  /** Default: all nodes. */
  readonly nodes?: readonly string[]
}

export interface FakeAccount {
  readonly name: string
  readonly maxSubmit?: number
  readonly maxWallMinutes?: number
}

export interface FakeQos {
  readonly name: string
  readonly maxWallMinutes?: number
  readonly maxSubmit?: number
}

/** What a site administrator would decide. All of it has a default. */
export interface FakeSite {
  readonly version: string
  readonly clusterName: string
  readonly nodes: readonly FakeNode[]
  readonly partitions: readonly FakePartition[]
  readonly accounts: readonly FakeAccount[]
  readonly qos: readonly FakeQos[]
  /** Accounts, QOS and their limits are enforced at submit. */
  readonly enforceAssociations: boolean
  /** Limits of partitions are enforced at submit; else such jobs are accepted and wait for ever. */
  readonly enforcePartLimits: boolean
  readonly maxArraySize: number
  readonly maxJobCount: number
  readonly firstJobId: number
  /** The queue forgets a job so long after its end. */
  readonly minJobAgeMs: number
  /** How long a minute of a walltime is. */
  readonly minuteMs: number
  /** Between SIGTERM and SIGKILL. */
  readonly killWaitMs: number
  /** A requeued job waits so long (`BeginTime`). */
  readonly requeueDelayMs: number
  /** The accounting hears of everything so much later. */
  readonly accountingLagMs: number
  /** How the site ends jobs over their memory. */
  readonly memoryKill: 'cgroup' | 'plugin' | 'none'
  readonly sampleMs: number
}

export const DEFAULT_SITE: FakeSite = {
  version: '22.05.8',
  clusterName: 'fake',
  nodes: [{ name: 'node1', cpus: 8, memoryMb: 16_000 }],
  partitions: [
    { name: 'main', isDefault: true, maxMinutes: 1440 },
    { name: 'short', maxMinutes: 2 },
    { name: 'closed', maxMinutes: 60, up: false },
  ],
  accounts: [{ name: 'proj1' }],
  qos: [{ name: 'normal' }],
  enforceAssociations: false,
  enforcePartLimits: false,
  maxArraySize: 1001,
  maxJobCount: 10_000,
  firstJobId: 101,
  minJobAgeMs: 300_000,
  minuteMs: 60_000,
  killWaitMs: 300,
  requeueDelayMs: 1000,
  accountingLagMs: 0,
  memoryKill: 'cgroup',
  sampleMs: 200,
}

/** Switches that make things go wrong: a file of this name in the folder `faults`. */
export const FAULTS = [
  /** No program reaches slurmctld. Jobs go on. */
  'controller-down',
  /** slurmctld answers nobody: programs give up. */
  'controller-busy',
  'munge-down',
  'accounting-down',
  /** The site keeps no accounting. */
  'accounting-off',
  /** Once: sbatch is accepted, and its answer is lost. */
  'lose-answer',
  /** Once: sbatch is accepted, and never says so. */
  'hang-after-accept',
] as const
export type Fault = (typeof FAULTS)[number]

export type BaseState =
  | 'PENDING'
  | 'RUNNING'
  | 'SUSPENDED'
  | 'COMPLETED'
  | 'CANCELLED'
  | 'FAILED'
  | 'TIMEOUT'
  | 'NODE_FAIL'
  | 'PREEMPTED'
  | 'OUT_OF_MEMORY'
  /** Of an earlier run only. */
  | 'REQUEUED'

/** What sbatch was asked for. */
export interface Wish {
  readonly name: string
  readonly user: string
  readonly uid: number
  readonly account: string
  readonly qos: string
  readonly partitions: readonly string[]
  readonly script: string
  readonly args: readonly string[]
  readonly directory: string
  readonly stdout: string | undefined
  readonly stderr: string | undefined
  readonly append: boolean
  readonly cpus: number
  readonly memoryMb: number
  readonly gpus: number
  readonly exclusive: boolean
  readonly limitMinutes: number | undefined
  readonly beginMs: number | undefined
  readonly dependencies: readonly Dependency[]
  readonly throttle: number | undefined
  readonly requeue: boolean
  readonly signal:
    { readonly name: string; readonly batchOnly: boolean; readonly seconds: number } | undefined
  readonly environment: Readonly<Record<string, string>>
  readonly nice: number
}

export interface Dependency {
  readonly kind: 'after' | 'afterok' | 'afternotok' | 'afterany' | 'singleton'
  readonly id: number
}

export interface Job {
  readonly wish: Wish
  /** Of an element that waits, the id of its array. */
  rawId: number
  readonly arrayId: number | undefined
  readonly index: number | undefined
  state: BaseState
  completing: boolean
  reason: string
  held: 'user' | 'admin' | 'requeue' | undefined
  beginMs: number | undefined
  /** As wait(2) has it. */
  waitStatus: number
  batchState: string
  batchExit: string
  submitMs: number
  startMs: number | undefined
  endMs: number | undefined
  node: string | undefined
  restarts: number
  cancelledBy: number | undefined
  pid: number | undefined
  peakKb: number
  cpuMs: number
  /** The accounting has heard of it: it could have started. */
  wasEligible: boolean
  /** Frozen copies of earlier runs, oldest first. */
  readonly earlier: Job[]
}

/** `123`, `124_3`. */
export const shownId = (job: Job): string =>
  job.arrayId === undefined ? String(job.rawId) : `${job.arrayId}_${job.index}`

export const isOver = (job: Job): boolean => !['PENDING', 'RUNNING', 'SUSPENDED'].includes(job.state)
