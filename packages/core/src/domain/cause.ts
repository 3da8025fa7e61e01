/** Why a task failed. A cause is never guessed: it carries the evidence it was read from. */

export const CAUSE_KINDS = [
  'memory',
  'walltime',
  'node',
  'preempted',
  'killed',
  'tool',
  'no-output',
  'missing-output',
  'staging',
  'upload',
  'rejected',
  'lost',
] as const

/**
 * - `memory`, `walltime`: the limit was hit. `node`, `preempted`: the cluster's doing.
 * - `killed`: ended by a signal that was not ours. `tool`: the program ended with an exit code other than 0.
 * - `no-output`: ended well and wrote nothing (the notebook's XVFB_ERROR). `missing-output`: a required output is not there.
 * - `staging`, `upload`: inputs or results could not be moved whole. `rejected`: the scheduler refused the job.
 * - `lost`: gone, and no witness says how it ended.
 */
export type CauseKind = (typeof CAUSE_KINDS)[number]

export interface Evidence {
  /** Which witness spoke. */
  readonly source: 'queue' | 'accounting' | 'exit-record' | 'start-record' | 'log' | 'engine' | 'store'
  /** What it said, in its own words; a line or a few. */
  readonly text: string
  /** When we heard it. Epoch milliseconds. */
  readonly atMs: number
}

export interface FailureCause {
  readonly kind: CauseKind
  /** One sentence for a person. */
  readonly summary: string
  readonly exitCode?: number
  /** Name as `SIGKILL`. */
  readonly signal?: string
  readonly evidence: readonly Evidence[]
}
