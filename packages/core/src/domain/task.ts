/** A task: one processor on one set of inputs, one assessor in the archive. Identity outlives retries. */

import { createHash } from 'node:crypto'
import type { ArchiveRef, Checksum, FileEntry, ResourceRef } from './archive.js'
import type { FailureCause } from './cause.js'
import { MAX_LABEL_LENGTH } from './labels.js'

export const TASK_STATES = [
  'waiting',
  'held',
  'ready',
  'queued',
  'running',
  'uploading',
  'complete',
  'failed',
  'cancelled',
] as const

/**
 * How far the work is. Kept apart from the quality status, which is a person's verdict.
 *
 * `waiting` an input is missing · `held` waits for a person · `ready` will be submitted when limits allow ·
 * `queued` the scheduler has the job · `running` it has started · `uploading` ended well, results are being sent and verified ·
 * `complete` the archive holds every declared file, verified · `failed` with a cause · `cancelled` by a person.
 */
export type TaskState = (typeof TASK_STATES)[number]

/** States in which an attempt is under way and a job may exist. */
export const ACTIVE_STATES: ReadonlySet<TaskState> = new Set<TaskState>(['queued', 'running', 'uploading'])
/** States that stay unless a person or the retry policy says otherwise. */
export const FINAL_STATES: ReadonlySet<TaskState> = new Set<TaskState>(['complete', 'failed', 'cancelled'])

const NEXT: Readonly<Record<TaskState, readonly TaskState[]>> = {
  waiting: ['held', 'ready', 'cancelled'],
  held: ['waiting', 'ready', 'cancelled'],
  // `failed` straight from ready: staging gave up or the scheduler refused.
  ready: ['waiting', 'held', 'queued', 'running', 'failed', 'cancelled'],
  // back to ready: the attempt never came to be (refused for load), or is tried again.
  queued: ['running', 'uploading', 'failed', 'cancelled', 'ready'],
  running: ['queued', 'uploading', 'failed', 'cancelled', 'ready'],
  uploading: ['complete', 'failed', 'cancelled', 'ready'],
  complete: ['ready', 'held'],
  failed: ['ready', 'waiting', 'held', 'cancelled'],
  cancelled: ['ready', 'waiting', 'held'],
}

/** Whether a task may go from one state to another; staying is always allowed. */
export function canBecome(from: TaskState, to: TaskState): boolean {
  return from === to || NEXT[from].includes(to)
}

/** One concrete input of a task: which files of the archive go where in the workspace. */
export interface InputBinding {
  /** The processor's name for it. */
  readonly name: string
  /** In order. More than one only for `all: true` inputs; none for an absent optional input. */
  readonly sources: readonly InputSource[]
}

export interface InputSource extends ResourceRef {
  /** Globs on file paths in the resource; absent: every file. */
  readonly files?: readonly string[]
  /** The scan that this result stands for (`orFrom`). The label is made from it, wherever the files come from. */
  readonly standsFor?: ResourceRef
  /** Scan type or procType, for people and for the job. */
  readonly type?: string
}

/** The unchanging part of a task. */
export interface TaskIdentity {
  /** `PROJECT-x-SUBJECT-x-SESSION-x-PROCTYPE-x-HASH8`; levels that do not apply are left out. */
  readonly label: string
  /** The assessor: the target's own session (or subject, or project) plus `assessor: label`. */
  readonly ref: ArchiveRef
  /** `NAME_vMAJOR`. */
  readonly procType: string
  /** The node the processor runs on. */
  readonly target: ArchiveRef
  readonly inputs: readonly InputBinding[]
}

/** What the archive keeps of a task beside its status words. Plain JSON; unknown keys of later versions are kept. */
export interface TaskRecord {
  readonly schema: 1
  readonly label: string
  readonly procType: string
  readonly procVersion: string
  readonly target: ArchiveRef
  readonly inputs: readonly InputBinding[]
  readonly params: Readonly<Record<string, unknown>>
  readonly state: TaskState
  /** Why it is in this state; one sentence. */
  readonly reason: string
  readonly cause?: FailureCause
  /** 0 before the first attempt. */
  readonly attempt: number
  /** Failures that count against the retry budget, by cause kind. */
  readonly failures: Readonly<Record<string, number>>
  readonly retryAtMs?: number
  readonly job?: JobRecord
  /** Once complete: every file of every resource, as read back from the archive. */
  readonly outputs?: readonly OutputManifest[]
  /** Set while a person has paused it. */
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

export interface JobRecord {
  /** Our unique name of the attempt, `ow-HASH-N`. */
  readonly name: string
  /** As the scheduler printed it; absent until it has. */
  readonly id?: string
  readonly backend: string
  readonly workspace: string
  readonly submittedAtMs?: number
  readonly startedAtMs?: number
  readonly endedAtMs?: number
  readonly node?: string
  /** How often the scheduler itself started it again (requeue, preemption). Absent: never, as far as it tells. */
  readonly restarts?: number
  readonly exitCode?: number
  readonly peakMemoryBytes?: number
  readonly cpuSeconds?: number
  readonly elapsedSeconds?: number
  /** What was asked for in this attempt. */
  readonly memoryBytes?: number
  readonly walltimeSeconds?: number
  readonly cpus?: number
}

export interface OutputManifest {
  readonly resource: string
  readonly files: readonly FileEntry[]
}

/** `NAME_vMAJOR`: results of one major version stand for each other. */
export function procTypeOf(name: string, version: string): string {
  return `${name}_v${version.split('.')[0] ?? '0'}`
}

/**
 * The label that two engines, seeing the same session, both compute.
 * HASH8 is the first 8 hex digits of SHA-256 over the procType and the sorted input references.
 * Never longer than a label may be: very long names of levels are cut.
 */
export function taskLabel(procType: string, target: ArchiveRef, inputs: readonly InputBinding[]): string {
  const references = inputs
    .flatMap((input) => input.sources.map((source) => `${input.name}=${formatSource(source)}`))
    .sort()
  const hash = createHash('sha256')
    .update([procType, ...references].join('\n'))
    .digest('hex')
    .slice(0, 8)
  const levels = [target.project, target.subject, target.session].filter((part) => part !== undefined)
  const label = [...levels, procType, hash].join('-x-')
  if (Buffer.byteLength(label) <= MAX_LABEL_LENGTH) return label
  // Very long labels lose their ends. The hash is made of the whole references, so the result is as unique as before.
  const room =
    Math.floor((MAX_LABEL_LENGTH - Buffer.byteLength(`-x-${procType}-x-${hash}`)) / levels.length) - 3
  return [...levels.map((level) => shortened(level, Math.max(room, 4))), procType, hash].join('-x-')
}

/** At most so many bytes, whole characters, no blank at the end. */
function shortened(text: string, bytes: number): string {
  let short = ''
  for (const character of text) {
    if (Buffer.byteLength(short + character) > bytes) break
    short += character
  }
  return short.trimEnd()
}

function formatSource(source: InputSource): string {
  const { node, resource } = source.standsFor ?? source
  const { project, subject = '', session = '', scan = '', assessor = '' } = node
  return [project, subject, session, scan, assessor, resource, ...(source.files ?? [])].join('/')
}

/**
 * Unique per attempt and free of anything about a person: every user of a cluster sees the queue.
 *
 * @param createdAtMs - of the task's record in the archive: a task that was deleted and made again has other jobs
 */
export function attemptName(label: string, attempt: number, createdAtMs = 0): string {
  const hash = createHash('sha256').update(`${label}\n${createdAtMs}`).digest('hex').slice(0, 16)
  return `ow-${hash}-${attempt}`
}

/** Same bytes? Compared by checksum where both have the same algorithm, else by size. */
export function sameContent(a: FileEntry, b: FileEntry): boolean {
  return a.bytes === b.bytes && sameChecksum(a.checksum, b.checksum) !== false
}

/** `undefined`: cannot be compared. */
export function sameChecksum(a: Checksum | undefined, b: Checksum | undefined): boolean | undefined {
  if (a === undefined || b === undefined || a.algorithm !== b.algorithm) return undefined
  return a.hex.toLowerCase() === b.hex.toLowerCase()
}
