/** The archive tree as plain data: Project → Subject → Session → Scan, assessors, and the resources each owns. */

import type { TaskState } from './task.js'
import type { CauseKind } from './cause.js'

/** The levels a processor can run on, outermost first. */
export const LEVELS = ['project', 'subject', 'session', 'scan', 'assessor'] as const
export type Level = (typeof LEVELS)[number]

/**
 * The address of a node, by the labels people see. What is absent is above the node: `{ project, subject }` is a subject.
 * Assessors hang on a session, or on a subject or project when `session` (and `subject`) are absent.
 */
export interface ArchiveRef {
  readonly project: string
  readonly subject?: string
  readonly session?: string
  readonly scan?: string
  readonly assessor?: string
}

/** A labelled folder of files on one node. */
export interface ResourceRef {
  readonly node: ArchiveRef
  /** `DICOM`, `NIFTI`, `PDF`, … */
  readonly resource: string
}

export type ChecksumAlgorithm = 'sha256' | 'md5'

export interface Checksum {
  readonly algorithm: ChecksumAlgorithm
  /** Lower case. */
  readonly hex: string
}

/** One file of a resource. */
export interface FileEntry {
  /** Relative to the resource, with `/` between parts; never absolute, never with `..` or empty parts. */
  readonly path: string
  readonly bytes: number
  /** Absent when the archive does not keep one. */
  readonly checksum?: Checksum
}

/** What a snapshot says of a resource without listing its files. */
export interface ResourceNode {
  readonly label: string
  /** Absent when the archive cannot tell without being asked for each resource. `0` means: there, but empty. */
  readonly fileCount?: number
  readonly bytes?: number
  /** Changes whenever the content does, where the archive can tell; compared for equality only. */
  readonly digest?: string
}

/** A person's word on a scan's images. Other words are kept as they are. XNAT's three are usual. */
export type ScanQuality = 'usable' | 'questionable' | 'unusable' | (string & {})

export interface ScanNode {
  /** XNAT's scan ID: a short word, unique in its session, often a number. */
  readonly label: string
  readonly type: string
  readonly quality: ScanQuality
  /** The series description as acquired, if it differs from `type`. */
  readonly description?: string
  readonly resources: readonly ResourceNode[]
}

/** A processing result in the archive, as much of it as decisions need. The full record is read on demand. */
export interface AssessorNode {
  readonly label: string
  /** The processor's type, `NAME_vMAJOR`; for foreign assessors whatever type they have. */
  readonly procType: string
  /** The exact version that made it, if known. */
  readonly procVersion?: string
  /** Undefined: not one of ours and with no status word we know. */
  readonly state?: TaskState
  /** The archive's own status word, untouched. */
  readonly statusWord: string
  readonly cause?: CauseKind
  /** 0 before the first attempt. */
  readonly attempt: number
  /** Not before this time may the task be tried again. Epoch milliseconds. */
  readonly retryAtMs?: number
  /** A person's verdict, untouched, as `Passed`, `Needs QA`; empty when none. */
  readonly quality: string
  readonly resources: readonly ResourceNode[]
  /** Scan labels this result came from, where known: for `sameScanAs`. */
  readonly scans?: readonly string[]
  /**
   * What it was made from, by input name; only of results that another program made, where the archive tells. Empty: that
   * program keeps such a note, and left none here. A task with the same procType and inputs counts as made.
   */
  readonly inputs?: Readonly<Record<string, readonly ArchiveRef[]>>
  /** For updates that must not overwrite somebody's change. Opaque. */
  readonly revision: string
}

export interface SessionNode {
  readonly label: string
  /** The archive's own id where it has one. */
  readonly id?: string
  /** `MR`, `PET`, … if known. */
  readonly modality?: string
  /** `YYYY-MM-DD` if known. */
  readonly date?: string
  readonly resources: readonly ResourceNode[]
  readonly scans: readonly ScanNode[]
  readonly assessors: readonly AssessorNode[]
}

export interface SubjectNode {
  readonly label: string
  readonly id?: string
  readonly resources: readonly ResourceNode[]
  readonly assessors: readonly AssessorNode[]
  readonly sessions: readonly SessionNode[]
}

export interface ProjectNode {
  readonly label: string
  readonly resources: readonly ResourceNode[]
  /** Results of project-level processors. */
  readonly assessors: readonly AssessorNode[]
}

/** Which level a reference names. */
export function levelOf(ref: ArchiveRef): Level {
  if (ref.assessor !== undefined) return 'assessor'
  if (ref.scan !== undefined) return 'scan'
  if (ref.session !== undefined) return 'session'
  if (ref.subject !== undefined) return 'subject'
  return 'project'
}

/**
 * One line for people and for hashing, `P/S/E`, `P/S/E/scans/3`, `P/S/E/assessors/L`; a subject's assessor is `P/S/assessors/L`.
 * Labels never contain `/` and never start with `.`, so the form is unambiguous: a subject that is called `assessors`
 * is written `.assessors`, or its session would look like a result of the project.
 */
export function formatRef(ref: ArchiveRef): string {
  const parts = [ref.project]
  if (ref.subject !== undefined) parts.push(ref.subject === 'assessors' ? '.assessors' : ref.subject)
  if (ref.session !== undefined) parts.push(ref.session)
  if (ref.scan !== undefined) parts.push('scans', ref.scan)
  if (ref.assessor !== undefined) parts.push('assessors', ref.assessor)
  return parts.join('/')
}

/** `P/S/E/scans/3:NIFTI`. */
export function formatResourceRef(ref: ResourceRef): string {
  return `${formatRef(ref.node)}:${ref.resource}`
}

/** The node an assessor or scan hangs on; a session's subject; a subject's project. A project has no parent. */
export function parentOf(ref: ArchiveRef): ArchiveRef | undefined {
  const { project, subject, session, scan, assessor } = ref
  if (assessor !== undefined || scan !== undefined) {
    return { project, ...(subject !== undefined && { subject }), ...(session !== undefined && { session }) }
  }
  if (session !== undefined) return { project, ...(subject !== undefined && { subject }) }
  return subject === undefined ? undefined : { project }
}
