import type { JobId, JobSpec, JobStatus } from '../domain/job.js'
import type { JobRejectedError } from '../errors.js'
import type { CallOptions } from './options.js'

/** What a scheduler can do, as data: the engine and the conformance kit ask, nobody guesses. */
export interface BackendCapabilities {
  /** Finished jobs can still be asked for by id (accounting or history). */
  readonly history: boolean
  /** `find` also sees finished jobs. */
  readonly findsFinished: boolean
  /** A batch of one `groupKey` becomes array jobs. */
  readonly arrays: boolean
  /** `hold` and `release` work on waiting jobs. */
  readonly hold: boolean
  /** The walltime of a job is enforced by the scheduler. */
  readonly enforcesWalltime: boolean
  /** The memory limit is enforced. */
  readonly enforcesMemory: boolean
  /** Jobs may ask for GPUs. */
  readonly gpus: boolean
  /** Peak memory is reported for finished jobs. */
  readonly peakMemory: boolean
}

/** Limits of the site, as far as the scheduler tells. What is absent is not known, which is not the same as unlimited. */
export interface BackendLimits {
  readonly maxWalltimeSeconds?: number
  readonly maxMemoryBytes?: number
  readonly maxCpus?: number
  readonly maxGpus?: number
  /** Jobs this user may have in the queue at once. */
  readonly maxJobs?: number
  readonly maxArraySize?: number
  /** Where each number comes from, for messages: `maxWalltimeSeconds` → `partition short`. */
  readonly source: Readonly<Record<string, string>>
}

/** The fate of one spec of a batch. */
export type SubmitOutcome =
  /** The scheduler has accepted it; it may still wait, be held or be cancelled. */
  | { readonly kind: 'accepted'; readonly id: JobId }
  /** Understood and refused: the same spec will be refused again. */
  | { readonly kind: 'refused'; readonly error: JobRejectedError }
  /** Refused for now (a limit is reached): try again later, nothing was created. */
  | { readonly kind: 'later'; readonly reason: string }

/**
 * One scheduler on one cluster.
 *
 * Silence is never success: a job that is missing from a reply is missing from the map, a call that failed throws.
 * Only the engine decides what absence means, after a grace time and a look at the job's own exit record.
 */
export interface ClusterBackend {
  /** As in the site file: `local`, `slurm`. Kept with every attempt. */
  readonly name: string
  readonly capabilities: BackendCapabilities

  /**
   * Hand jobs to the scheduler.
   *
   * Not idempotent by itself: after an error, or a crash, any job of the batch may or may not exist. Ask {@link find}
   * for the names before submitting them again.
   *
   * @returns one outcome per spec, in order
   * @throws BackendUnavailableError nothing is known about the fate of specs; worth a retry, with the caution above
   */
  submit(specs: readonly JobSpec[], options?: CallOptions): Promise<readonly SubmitOutcome[]>

  /**
   * How do these jobs stand? Asks the scheduler once (or a few times for very many ids), never once per job.
   *
   * @returns what is known; an id the scheduler does not know is absent
   * @throws BackendUnavailableError no evidence about anything
   */
  query(ids: readonly JobId[], options?: CallOptions): Promise<ReadonlyMap<JobId, JobStatus>>

  /**
   * Which of these names have the scheduler's acceptance? For recovery after a lost answer.
   *
   * @returns name → id; of several jobs of one name the newest. A name that is absent was not accepted, provided that
   * `capabilities.findsFinished` or that the job cannot have ended unseen.
   */
  find(names: readonly string[], options?: CallOptions): Promise<ReadonlyMap<string, JobId>>

  /**
   * Ask for jobs to be ended, with all their processes. A request: the effect shows in {@link query} later.
   * Cancelling a job that has ended, or that is not known, is no error.
   */
  cancel(ids: readonly JobId[], options?: CallOptions): Promise<void>

  /** @throws NotSupportedError unless `capabilities.hold` */
  hold(ids: readonly JobId[], options?: CallOptions): Promise<void>
  /** @throws NotSupportedError unless `capabilities.hold` */
  release(ids: readonly JobId[], options?: CallOptions): Promise<void>

  /** The site's limits, if known. Cheap to ask often: implementations keep them for a while. */
  limits(options?: CallOptions): Promise<BackendLimits>

  /**
   * Wait until some job may have changed, at most `timeoutMs`. Resolving early is allowed, never resolving is not.
   * Absent: the engine polls at its own pace.
   */
  changes?(timeoutMs: number, options?: CallOptions): Promise<void>

  /** How the scheduler has been answering. Absent: it cannot be away. No question is asked for this. */
  health?(): BackendHealth

  /** Checks for `orbweaver doctor`: is the scheduler there, which version, may we use it. */
  diagnose(options?: CallOptions): Promise<readonly Diagnosis[]>

  /** Let go of connections and timers. Jobs go on. */
  close(): Promise<void>
}

/** How a scheduler answers, for `status` and `doctor`. */
export interface BackendHealth {
  /** `closed`: calls go through. `open`: calls fail at once until `nextTryMs`. `probing`: the next call tries again. */
  readonly state: 'closed' | 'open' | 'probing'
  /** In a row. */
  readonly failures: number
  readonly lastFailure?: { readonly message: string; readonly atMs: number }
  /** Epoch milliseconds. */
  readonly nextTryMs?: number
  /** What is survived without: `sacct does not answer: …`. */
  readonly notes: readonly string[]
}

/** One line of `doctor`. */
export interface Diagnosis {
  /** As `slurm: account`. */
  readonly check: string
  readonly status: 'ok' | 'warning' | 'problem'
  /** What was found. */
  readonly found: string
  /** What to do about it. */
  readonly hint?: string
}
