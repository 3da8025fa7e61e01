/** The engine's public face. */

import type { ArchiveRef, AssessorNode, FileEntry } from '../domain/archive.js'
import type { FailureCause } from '../domain/cause.js'
import type { Processor } from '../domain/processor.js'
import type { TaskRecord, TaskState } from '../domain/task.js'
import type { AttemptRow } from '../ports/journal.js'
import type { CallOptions } from '../ports/options.js'
import type { RetryPolicy } from './retry.js'
import type { Decision, Plan, PlanCounts } from './plan.js'
import type { Selection } from './selection.js'

export interface EngineLimits {
  /** Jobs of this engine in the scheduler at once. */
  readonly jobs: number
  /** Files transfers (staging, collecting) at once. */
  readonly transfers: number
}

export interface EngineTiming {
  /** How often jobs are asked for, at most. */
  readonly pollMs: number
  /** How long a job may be missing from every witness before it is `lost`. */
  readonly graceMs: number
  /** Workspaces of failed attempts are kept this long; of complete ones not at all. */
  readonly keepFailedMs: number
  /** A full look at every session at least this often, even where the archive tells changes. */
  readonly fullPassMs: number
  /** Pause after the archive or the scheduler was away; doubled up to ten times this. */
  readonly outageMs: number
}

export interface EngineProject {
  readonly id: string
  readonly processors: readonly Processor[]
}

/** What an engine serves. Made from the site file by `cli`, or by hand. */
export interface EngineSettings {
  readonly site: string
  /** As seen from where jobs run. */
  readonly workRoot: string
  /** On this machine; for pauses. */
  readonly stateDirectory: string
  readonly projects: readonly EngineProject[]
  readonly limits: EngineLimits
  readonly retry: RetryPolicy
  readonly timing: EngineTiming
  /** Site default for containers. */
  readonly containerRuntime?: 'apptainer' | 'singularity' | 'podman' | 'docker'
  /** Keep workspaces of complete tasks too. */
  readonly keepComplete?: boolean
}

/** Which parts of a pass to do. `build` create and mark, `launch` submit, `update` follow jobs, `upload` send results. */
export interface PassSteps {
  readonly build: boolean
  readonly launch: boolean
  readonly update: boolean
  readonly upload: boolean
}
export const ALL_STEPS: PassSteps = { build: true, launch: true, update: true, upload: true }

export type EngineEvent =
  | {
      readonly kind: 'pass'
      readonly project: string
      readonly full: boolean
      readonly subjects: number | 'all'
    }
  | { readonly kind: 'planned'; readonly project: string; readonly counts: PlanCounts }
  | {
      readonly kind: 'task'
      readonly label: string
      readonly ref: ArchiveRef
      readonly processor: string
      readonly from?: TaskState
      readonly to: TaskState
      readonly reason: string
      readonly attempt: number
      readonly cause?: FailureCause
    }
  | { readonly kind: 'staging'; readonly label: string; readonly bytes: number; readonly files: number }
  | {
      readonly kind: 'uploaded'
      readonly label: string
      readonly resource: string
      readonly bytes: number
      readonly files: number
    }
  | { readonly kind: 'idle'; readonly open: number; readonly backlog: number; readonly untilMs?: number }
  | {
      readonly kind: 'away'
      readonly what: 'archive' | 'cluster'
      readonly message: string
      readonly untilMs: number
    }

export interface PlanOptions extends CallOptions {
  /** Each decision as it is made, in archive order; also those with nothing to do. */
  readonly onDecision?: (decision: Decision) => void | Promise<void>
}

export interface RunOptions extends CallOptions {
  readonly steps?: PassSteps
  /** `once`: one pass, then leave with jobs running. `done` (default): until nothing is left to do. `forever`: until aborted. */
  readonly until?: 'once' | 'done' | 'forever'
  /** Look at every session even where the archive tells what changed. */
  readonly full?: boolean
  /** When another engine serves a project: wait for it instead of throwing LeaseHeldError. */
  readonly waitForLease?: boolean
  readonly onEvent?: (event: EngineEvent) => void
  /** For messages of other engines: `run`, `launch`. */
  readonly purpose?: string
}

export interface RunSummary {
  readonly counts: PlanCounts
  readonly submitted: number
  readonly completed: number
  /** Attempts that failed; of them, tasks that will not be tried again. */
  readonly failedAttempts: number
  readonly failedTasks: number
  /** Attempts still open (with `until: 'once'`). */
  readonly open: number
  readonly backlog: number
  /** What hurt single tasks or projects and was left for later; one line each, at most 100. */
  readonly problems: readonly string[]
  /** The archive or the cluster could not be reached, and work is left waiting for that. */
  readonly away: boolean
}

/** One task as the archive has it. */
export interface TaskView {
  readonly ref: ArchiveRef
  readonly label: string
  readonly processor: string
  readonly procType: string
  readonly node: AssessorNode
  /** The open attempt, if this machine's journal has one. */
  readonly attempt?: AttemptRow
}

export interface VerifyResult {
  readonly label: string
  readonly ref: ArchiveRef
  readonly ok: boolean
  /** One line each: `PDF/report.pdf: missing`, `STATS/a.tsv: 12 bytes, recorded 40`. */
  readonly problems: readonly string[]
  readonly files: number
  readonly bytes: number
}

export interface LogChunk {
  readonly stream: 'stdout' | 'stderr'
  readonly text: string
}

export interface TryResult {
  readonly label: string
  readonly state: 'complete' | 'failed'
  readonly cause?: FailureCause
  /** On the side where jobs run. */
  readonly workspace: string
  /** The argument list that ran. */
  readonly command: readonly string[]
  readonly outputs: readonly { readonly resource: string; readonly files: readonly FileEntry[] }[]
}

export interface TryOptions extends CallOptions {
  readonly onEvent?: (event: EngineEvent) => void
  /** Keep it elsewhere than below the work root. */
  readonly directory?: string
}

/** Task logic over the ports. Knows no scheduler and no archive. */
export interface Engine {
  readonly settings: EngineSettings

  /** Decide for everything selected, and do nothing. Reads the archive once, and the scheduler once for open jobs. */
  plan(selection: Selection, options?: PlanOptions): Promise<PlanCounts>
  /** The same for little: everything in memory. */
  planAll(selection: Selection, options?: CallOptions): Promise<Plan>
  /** Plan and apply, again until `until`. @throws LeaseHeldError another engine serves one of the projects */
  run(selection: Selection, options?: RunOptions): Promise<RunSummary>

  /** Every task in the archive that is selected. */
  tasks(selection: Selection, options?: CallOptions): AsyncIterable<TaskView>
  /** The full record with cause and evidence. */
  record(ref: ArchiveRef, options?: CallOptions): Promise<TaskRecord | undefined>
  /** Attempts the journal remembers, newest first. */
  attempts(label: string): readonly AttemptRow[]

  /** Make failed or cancelled (with `force`: also complete) tasks ready again, with a fresh retry budget. Returns their labels. */
  retry(
    selection: Selection,
    options?: CallOptions & { readonly force?: boolean },
  ): Promise<readonly string[]>
  /** End their jobs and mark them cancelled. */
  cancel(selection: Selection, options?: CallOptions): Promise<readonly string[]>
  /** No new submissions for what is selected (projects, processors, labels) until resumed; running jobs go on and are uploaded. */
  pause(selection: Selection, note: string): Promise<void>
  /** Returns how many pauses were lifted. */
  resume(selection: Selection): Promise<number>
  pauses(): readonly Pause[]
  /** Set a person's verdict on results. */
  approve(selection: Selection, quality: string, options?: CallOptions): Promise<readonly string[]>
  /** Read the archive again and compare with what was recorded. `deep`: download and hash every file. */
  verify(
    selection: Selection,
    options: CallOptions & { readonly deep?: boolean; readonly onResult: (result: VerifyResult) => void },
  ): Promise<void>
  /** What the job printed: from the workspace while it is there, else from the archive's LOG resource. */
  logs(
    label: string,
    options: CallOptions & {
      readonly attempt?: number
      readonly follow?: boolean
      readonly onChunk: (chunk: LogChunk) => void
    },
  ): Promise<void>
  /** Run one processor on one session (or other target) in an area of its own; the archive is only read. */
  try(processor: Processor, target: Selection, options?: TryOptions): Promise<readonly TryResult[]>

  close(): Promise<void>
}

export interface Pause {
  readonly projects?: readonly string[]
  readonly processors?: readonly string[]
  readonly labels?: readonly string[]
  readonly note: string
  readonly atMs: number
}
