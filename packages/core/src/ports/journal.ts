/**
 * The engine's own small memory on this machine. Synchronous on purpose: an intent is on disk before the next line runs.
 * Deleting the journal costs time (everything is looked at again), never correctness: the archive is the record.
 */

import type { JobId } from '../domain/job.js'

/**
 * `staging` inputs are on their way · `submitting` the scheduler may or may not have the job · `submitted` it has ·
 * `collecting` the job has ended well and results are being sent · `closed` over, one way or another.
 */
export type AttemptStage = 'staging' | 'submitting' | 'submitted' | 'collecting' | 'closed'

export interface AttemptRow {
  readonly label: string
  readonly attempt: number
  /** Unique name of the job. */
  readonly name: string
  readonly project: string
  readonly subject?: string
  readonly session?: string
  readonly procType: string
  readonly stage: AttemptStage
  /** Name of the backend that the job was given to: no other one is ever asked about it. */
  readonly backend?: string
  readonly jobId?: JobId
  readonly workspace: string
  readonly submittedAtMs?: number
  /** First time a query did not know the job; cleared when it is seen again. */
  readonly missingSinceMs?: number
  /** A person asked for this job to be cancelled. */
  readonly cancelAsked: boolean
  readonly createdAtMs: number
  /** How it ended: a task state and a cause kind, for `status` and `report`. */
  readonly result?: string
  readonly closedAtMs?: number
}

/** A task that is ready and waits for room, or failed and waits for its time. */
export interface BacklogRow {
  readonly label: string
  readonly project: string
  /** Absent for project-level tasks. */
  readonly subject?: string
  /** Epoch milliseconds; 0: at once. */
  readonly notBeforeMs: number
}

export interface ProjectCursor {
  /** From the store's change feed. */
  readonly cursor: string
  /** Of processors and policy: another one means that everything is looked at again. */
  readonly fingerprint: string
  readonly fullPassAtMs: number
}

export interface LeaseHolder {
  readonly host: string
  readonly pid: number
  /** Start time of the process as the kernel has it: a reused pid does not pass for the holder. */
  readonly processStart: string
  readonly bootId: string
  readonly sinceMs: number
  readonly heartbeatMs: number
  /** What it runs, for the message: `run`. */
  readonly purpose: string
}

export interface Journal {
  // -- attempts
  /** Insert or replace by (label, attempt). */
  putAttempt(row: AttemptRow): void
  getAttempt(label: string, attempt: number): AttemptRow | undefined
  /** Not `closed`. */
  openAttempts(projects?: readonly string[]): readonly AttemptRow[]
  /** Newest first. */
  attemptsOf(label: string): readonly AttemptRow[]
  /** Closed attempts whose workspace is still kept. */
  keptWorkspaces(closedBeforeMs: number): readonly AttemptRow[]
  forgetWorkspace(label: string, attempt: number): void

  // -- backlog
  putBacklog(rows: readonly BacklogRow[]): void
  removeBacklog(labels: readonly string[]): void
  /** Due ones first in, first out. */
  dueBacklog(project: string, nowMs: number, limit: number): readonly BacklogRow[]
  backlogCount(project: string): number
  /** The earliest `notBeforeMs` in the future, if any. */
  nextDueMs(projects: readonly string[], nowMs: number): number | undefined

  // -- what was unchanged
  getCursor(project: string): ProjectCursor | undefined
  putCursor(project: string, cursor: ProjectCursor | undefined): void

  // -- single writer
  /**
   * Take the leases of all these projects, or none.
   *
   * @returns undefined when taken, or the living holder of one that is not free. A holder is dead when its process is
   * gone (same host and boot), or when its heartbeat is older than `staleMs` (other host).
   */
  acquireLeases(
    projects: readonly string[],
    holder: LeaseHolder,
    staleMs: number,
  ): { readonly project: string; readonly holder: LeaseHolder } | undefined
  /** @returns false: lost to another (the machine slept past `staleMs`); the caller must stop at once. */
  beatLeases(projects: readonly string[], holder: LeaseHolder): boolean
  releaseLeases(projects: readonly string[], holder: LeaseHolder): void

  close(): void
}
