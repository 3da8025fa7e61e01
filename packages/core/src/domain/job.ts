/** A job: one submission to a scheduler. Two axes: the phase says where it is, the outcome why it ended. */

import type { Evidence } from './cause.js'
import type { Requirements } from './requirements.js'

/** The scheduler's own id, exactly as printed. Opaque. */
export type JobId = string & { readonly __brand: 'JobId' }
export const jobId = (text: string): JobId => text as JobId

export const JOB_PHASES = [
  'queued',
  'held',
  'starting',
  'running',
  'suspended',
  'finishing',
  'finished',
  'unknown',
] as const
export type JobPhase = (typeof JOB_PHASES)[number]

export const JOB_OUTCOMES = [
  'succeeded',
  'failed',
  'cancelled',
  'timeout',
  'out-of-memory',
  'node-fail',
  'preempted',
  'deadline',
  'launch-failed',
  'dependency-failed',
  'revoked',
  'unknown',
] as const
export type JobOutcome = (typeof JOB_OUTCOMES)[number]

export type WaitingOn =
  | 'resources'
  | 'priority'
  | 'dependency'
  | 'begin-time'
  | 'array-throttle'
  | 'limit'
  | 'partition-down'
  | 'reservation'
  | 'licence'
  | 'other'

export interface NativeState {
  /** The scheduler's word, untouched. */
  readonly state: string
  readonly reason?: string
  readonly flags?: readonly string[]
}

export interface JobUsage {
  readonly peakMemoryBytes?: number
  readonly cpuSeconds?: number
  readonly elapsedSeconds?: number
}

/** What a backend knows of one job now. */
export interface JobStatus {
  readonly id: JobId
  /** Our unique name, if the scheduler told. */
  readonly name?: string
  readonly phase: JobPhase
  /** Only with phase `finished`. */
  readonly outcome?: JobOutcome
  readonly waitingOn?: WaitingOn
  readonly heldBy?: 'user' | 'admin' | 'requeue' | 'scheduler-error' | 'unknown'
  /** The scheduler says that the job cannot run as it was asked for. */
  readonly willNeverRun?: boolean
  /** 0 to 255. Means success only beside outcome `succeeded`. */
  readonly exitCode?: number
  /** As `SIGKILL`. */
  readonly signal?: string
  /** `false`: the scheduler may have changed the exit code on the way. */
  readonly exitCodeExact?: boolean
  /** Earlier incarnations (requeue, preemption). A finished job may come back under a higher number. */
  readonly restarts: number
  readonly native: NativeState
  readonly evidence: readonly Evidence[]
  readonly queue?: string
  readonly nodes?: readonly string[]
  readonly submittedAtMs?: number
  readonly startedAtMs?: number
  readonly endedAtMs?: number
  readonly usage?: JobUsage
}

/** What to run, free of any scheduler's words. All paths are as seen from the compute nodes. */
export interface JobSpec {
  /** Unique; `[a-z0-9-]`, at most 60 characters. Submitting the same name twice is what `find` prevents. */
  readonly name: string
  /** Argument list, run without a shell; first word an absolute path or found on a plain system PATH. */
  readonly command: readonly string[]
  /** Working directory; exists before submit. */
  readonly directory: string
  readonly stdoutPath: string
  readonly stderrPath: string
  readonly requirements: Requirements
  /** Variables for the job beside the backend's documented minimal environment. */
  readonly environment?: Readonly<Record<string, string>>
  /** Overrides the backend's configured queue or partition. */
  readonly queue?: string
  readonly account?: string
  /** Passed to the scheduler's submit program as they are: the way out for what we do not model. */
  readonly nativeOptions?: readonly string[]
  /** Specs with the same key and requirements may become one array job. */
  readonly groupKey?: string
  /** Ask for a warning signal this long before the walltime, where the scheduler can. */
  readonly warnSeconds?: number
}

/** What `job.sh` writes when it starts; by write-then-rename. */
export interface StartRecord {
  readonly schema: 1
  readonly name: string
  readonly host: string
  readonly pid: number
  /** Epoch seconds of the node's clock. Compare only with times of the same node. */
  readonly startedAt: number
  readonly schedulerJobId?: string
}

/** What `job.sh` writes when it ends; by write-then-rename. */
export interface ExitRecord {
  readonly schema: 1
  readonly name: string
  readonly host: string
  readonly exitCode: number
  /** As `SIGTERM`, when the command was ended by a signal. */
  readonly signal?: string
  /** The script itself ended the command because its time was up. */
  readonly timedOut?: boolean
  /** The signal the script was sent from outside (scheduler's warning, cancel), if any. */
  readonly received?: string
  readonly startedAt: number
  readonly endedAt: number
  readonly peakMemoryBytes?: number
  readonly cpuSeconds?: number
}
