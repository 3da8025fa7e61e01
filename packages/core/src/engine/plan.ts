/** What would be done and why: plain data that `plan` prints, `explain` reads and `apply` executes. */

import type { ArchiveRef } from '../domain/archive.js'
import type { FailureCause } from '../domain/cause.js'
import type { TaskIdentity, TaskState } from '../domain/task.js'

/**
 * - `none` nothing to do. `create` make the assessor in the given state. `mark` write a new state.
 * - `submit` (create if need be,) stage inputs, submit an attempt. `rerun` the same after removing old results.
 * - `recover` an open attempt of an earlier run goes on. `follow` a job is under way; its state is looked at.
 */
export type Action = 'none' | 'create' | 'mark' | 'submit' | 'rerun' | 'follow'

/** One rule that was looked at, in order: the answer to "why". */
export interface TraceStep {
  /** What was asked: `input t1: scans of type T1w or MPRAGE*`. */
  readonly rule: string
  readonly result: 'yes' | 'no' | 'info'
  /** What was found: `2 scans, 1 usable: 301`. */
  readonly found: string
}

/** What is to become of one processor on one target. */
export interface Decision {
  readonly processor: string
  readonly procVersion: string
  readonly procType: string
  readonly target: ArchiveRef
  /** Absent: no set of inputs could be formed, so there is no task (yet) and nothing is written. */
  readonly task?: TaskIdentity
  /** State in the archive now; absent: no assessor yet. */
  readonly from?: TaskState
  /** The state after the action; for a target without a task always `waiting`. */
  readonly to: TaskState
  readonly action: Action
  /** One sentence. */
  readonly reason: string
  /** Attempt to be made by `submit` and `rerun`. */
  readonly attempt?: number
  readonly cause?: FailureCause
  /** Not before this time. Epoch milliseconds. */
  readonly notBeforeMs?: number
  readonly trace: readonly TraceStep[]
  /** Revision of the assessor that was read. */
  readonly revision?: string
  /** Label of the assessor by which another program has this very task; it is left to that program. */
  readonly madeBy?: string
}

export interface PlanCounts {
  readonly subjects: number
  readonly sessions: number
  readonly scans: number
  /** Decisions by action. */
  readonly actions: Readonly<Record<Action, number>>
  /** Tasks by the state they will have; targets without a task are counted in `noTask`. */
  readonly states: Readonly<Record<TaskState, number>>
  readonly noTask: number
}

/** A whole plan in memory: for one session or a small project. Large ones are streamed. */
export interface Plan {
  readonly decisions: readonly Decision[]
  readonly counts: PlanCounts
}
