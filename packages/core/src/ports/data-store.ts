import type { Readable } from 'node:stream'
import type {
  ArchiveRef,
  AssessorNode,
  ChecksumAlgorithm,
  FileEntry,
  ProjectNode,
  ResourceRef,
  SubjectNode,
} from '../domain/archive.js'
import type { TaskRecord } from '../domain/task.js'
import type { Diagnosis } from './cluster-backend.js'
import type { CallOptions } from './options.js'

export interface StoreCapabilities {
  /** Checksums in file listings; `none`: sizes only. */
  readonly checksums: ChecksumAlgorithm | 'none'
  /** {@link DataStore.changedSince} is there. */
  readonly changedSince: boolean
  /** `localPath` of sources is there: files can be read in place. */
  readonly localFiles: boolean
}

/** A whole project, streamed: the header at once, the subjects as they come, ordered by label. */
export interface ProjectSnapshot {
  readonly project: ProjectNode
  /** May be iterated once. */
  readonly subjects: AsyncIterable<SubjectNode>
}

export interface SnapshotOptions extends CallOptions {
  /** Only these subjects (labels). What is not there is skipped. Default: all. */
  readonly subjects?: readonly string[]
  /** Only these sessions (labels). */
  readonly sessions?: readonly string[]
  /** `false`: results that hang on subjects may be left out; some archives are asked for them apart. Default: true. */
  readonly subjectResults?: boolean
}

/** What is needed to make an assessor. */
export interface AssessorInit {
  readonly procType: string
  readonly procVersion: string
  /** Scan labels it is made from, where the inputs are scans of the same session. */
  readonly scans: readonly string[]
  readonly record: TaskRecord
}

/** A change of an assessor; what is absent stays. */
export interface AssessorChange {
  /** Also sets the status words. */
  readonly record?: TaskRecord
  /** A person's verdict; only set on behalf of a person. */
  readonly quality?: string
}

export interface AssessorDetail {
  readonly node: AssessorNode
  /** Absent: not one of ours (made by DAX or by hand). */
  readonly record?: TaskRecord
}

/** Where files come from. */
export interface FileSource {
  /** In no special order. */
  readonly files: readonly FileEntry[]
  open(path: string, options?: CallOptions): Promise<Readable>
  /** The file on this machine, to be read in place and never changed; undefined where there is none. */
  localPath?(path: string): string | undefined
}

/** Where files go. Paths are checked by the caller to be relative and contained. */
export interface FileSink {
  /** Creates parent folders; the file appears whole or not at all. */
  write(path: string, content: Readable, entry: FileEntry, options?: CallOptions): Promise<void>
  /** Offered by sinks on this machine: copy (clone where the file system can) instead of streaming. */
  copyFrom?(path: string, localPath: string, options?: CallOptions): Promise<void>
}

export interface UploadOptions extends CallOptions {
  /** Bytes sent so far, for progress. */
  readonly onProgress?: (bytes: number) => void
}

/** A change feed's answer. */
export interface Changes {
  /** Opaque; give it back next time. */
  readonly cursor: string
  /** Subjects (labels) in which anything changed; `all`: the store cannot tell, look at everything. */
  readonly subjects: readonly string[] | 'all'
  /** The project's own resources or assessors changed. */
  readonly project: boolean
}

/**
 * One archive: a tree of projects, subjects, sessions, scans, assessors and their resources.
 *
 * All labels given are checked by the store ({@link InputError} names the bad one). What a user may not see is
 * {@link NotFoundError}, like what does not exist. {@link StoreUnavailableError} means nothing was learnt; repeat.
 */
export interface DataStore {
  /** As in the site file. */
  readonly name: string
  readonly capabilities: StoreCapabilities

  /** Labels of the projects this user can see, sorted. */
  projects(options?: CallOptions): Promise<readonly string[]>

  /**
   * The tree of a project with all assessors and the labels of all resources; a handful of requests however many
   * sessions. Memory used does not grow with the number of subjects.
   *
   * @throws NotFoundError no such project
   */
  snapshot(project: string, options?: SnapshotOptions): Promise<ProjectSnapshot>

  /** What changed since `cursor` (undefined: a cursor for now, with `subjects: 'all'`). Never misses a change; may name too much. */
  changedSince?(project: string, cursor: string | undefined, options?: CallOptions): Promise<Changes>

  /** @throws NotFoundError */
  readAssessor(ref: ArchiveRef, options?: CallOptions): Promise<AssessorDetail>

  /**
   * Make an assessor, or find it: two engines may do this at once, and exactly one makes it.
   *
   * @returns `created: false` and what is there when it exists already; that is not changed
   * @throws NotFoundError the session (subject, project) is not there
   */
  createAssessor(
    ref: ArchiveRef,
    init: AssessorInit,
    options?: CallOptions,
  ): Promise<AssessorDetail & { readonly created: boolean }>

  /**
   * Change an assessor that nobody has changed since it was read.
   *
   * @param revision - from the node that was read
   * @returns the new node; its revision serves the next update
   * @throws ConflictError somebody changed it: read, decide, try again. `overwritten: true` in its details: an archive that
   *   cannot compare and write at once has found that another engine wrote over an earlier write of this one
   * @throws NotFoundError somebody deleted it
   */
  updateAssessor(
    ref: ArchiveRef,
    change: AssessorChange,
    revision: string,
    options?: CallOptions,
  ): Promise<AssessorNode>

  /** Gone already is no error. */
  deleteAssessor(ref: ArchiveRef, options?: CallOptions): Promise<void>

  /** Files of a resource as the archive lists them now. @throws NotFoundError no such node or resource */
  listFiles(ref: ResourceRef, options?: CallOptions): Promise<readonly FileEntry[]>

  /**
   * Bring files of a resource to a sink, each verified against the listing (size, and checksum where there is one).
   *
   * @param files - which; from {@link listFiles}
   * @throws IntegrityError what arrived is not what was listed
   */
  download(
    ref: ResourceRef,
    files: readonly FileEntry[],
    sink: FileSink,
    options?: CallOptions,
  ): Promise<void>

  /**
   * Make a resource hold exactly these files. Files that are there and identical are not sent again, others of the
   * resource are removed, an interrupted upload goes on where it stopped. Nobody sees a half-written file.
   *
   * @returns what the archive then lists
   * @throws IntegrityError the archive lists something else than was sent
   */
  upload(ref: ResourceRef, source: FileSource, options?: UploadOptions): Promise<readonly FileEntry[]>

  /** Checks for `orbweaver doctor`. */
  diagnose(options?: CallOptions): Promise<readonly Diagnosis[]>

  close(): Promise<void>
}
