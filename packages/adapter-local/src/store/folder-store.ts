/** The folder archive: a {@link DataStore} on a directory. */

import { resolve } from 'node:path'
import { createReadStream } from 'node:fs'
import {
  InputError,
  StoreUnavailableError,
  formatRef,
  printable,
  type ArchiveRef,
  type AssessorChange,
  type AssessorDetail,
  type AssessorInit,
  type AssessorNode,
  type CallOptions,
  type Changes,
  type DataStore,
  type Diagnosis,
  type FileEntry,
  type FileSink,
  type FileSource,
  type ProjectSnapshot,
  type ResourceRef,
  type SnapshotOptions,
  type StatusVocabulary,
  type StoreCapabilities,
  type UploadOptions,
} from '@orbweaver/core'
import { ArchiveDb } from './archive-db.js'
import { Assessors, type AssessorRef } from './assessors.js'
import { checkArchive, type CheckOptions, type CheckProblem } from './check.js'
import { Content } from './content.js'
import { diagnoseFolder } from './diagnose.js'
import { downloadFiles } from './download.js'
import type { IngestItem, IngestOptions, IngestSummary } from './ingest.js'
import { ingestItems } from './ingest-run.js'
import { checkRef, checkResourceRef } from './layout.js'
import { toFileEntry } from './rows.js'
import { readSnapshot } from './snapshot.js'
import { storeError, shownPath } from './store-errors.js'
import { Tree } from './tree.js'

export interface FolderStoreOptions {
  /** Folder of the archive. */
  readonly path: string
  /** Which status words people see. Default: `dax`. */
  readonly words?: StatusVocabulary
  /** Make the archive, and the folder, when there is none. Default: false, so that a missing mount is noticed. */
  readonly create?: boolean
  /** Called at each point where a crash would leave another state on the disk: for tests. @internal */
  readonly onStep?: (name: string) => void
}

/** The parts of an open archive. @internal */
export interface OpenArchive {
  readonly db: ArchiveDb
  readonly tree: Tree
  readonly assessors: Assessors
  readonly content: Content
}

/**
 * An archive in a folder: files in a tree that a person can browse, what exists in `archive.db` beside it. Files that the
 * database does not know are not seen. Safe for any number of processes at once; a crash at any moment leaves the state
 * before or after a change. Opened at first use, so a wrong path is told by the first call and by {@link diagnose}.
 */
export class FolderStore implements DataStore {
  readonly name = 'folder'
  readonly capabilities: StoreCapabilities = { checksums: 'sha256', changedSince: true, localFiles: true }
  /** Absolute. */
  readonly root: string
  readonly #options: FolderStoreOptions
  #opening: Promise<OpenArchive> | undefined
  #archive: OpenArchive | undefined
  readonly #outdated: OpenArchive[] = []
  #closed = false

  constructor(options: FolderStoreOptions) {
    this.root = resolve(options.path)
    this.#options = options
  }

  /** Made at once, and opened: errors of the archive itself come here. */
  static async open(options: FolderStoreOptions): Promise<FolderStore> {
    const store = new FolderStore(options)
    await store.opened()
    return store
  }

  /** @internal */
  async opened(): Promise<OpenArchive> {
    if (this.#closed) throw new TypeError('The archive has been closed.')
    const archive = await this.#openOnce()
    if (isCurrent(archive, this.root)) return archive
    // Moved away, unmounted or replaced by a backup: begin anew. Snapshots under way keep the old one until the end.
    if (this.#archive === archive) {
      this.#archive = undefined
      this.#opening = undefined
      this.#outdated.push(archive)
    }
    return await this.#openOnce()
  }

  async #openOnce(): Promise<OpenArchive> {
    this.#opening ??= this.#open()
    try {
      this.#archive = await this.#opening
      return this.#archive
    } catch (error) {
      // The next call tries again: a file system may have been mounted meanwhile.
      this.#opening = undefined
      if (this.#outdated.length > 0 && error instanceof InputError) throw goneAway(this.root, error)
      throw error
    }
  }

  async #open(): Promise<OpenArchive> {
    const { create = false, words = 'dax', onStep } = this.#options
    // What was there and is away must not be made anew on an empty mount point.
    const db = await ArchiveDb.open(this.root, { create: create && this.#outdated.length === 0 })
    try {
      const tree = new Tree(db)
      const content = new Content(db, tree, { step: onStep ?? (() => undefined) })
      if (!db.readOnly) await content.recover()
      return { db, tree, assessors: new Assessors(db, tree, words), content }
    } catch (error) {
      await db.close()
      throw storeError(error, 'open the archive', this.root)
    }
  }

  async projects({ signal }: CallOptions = {}): Promise<readonly string[]> {
    signal?.throwIfAborted()
    const { db } = await this.opened()
    const rows = db.read(() =>
      db.prepare<{ label: string }>('SELECT label FROM project ORDER BY label').all(),
    )
    return rows.map((row) => row.label)
  }

  /**
   * Subjects, sessions and assessors by label in code point order, scans by number, then by word. Each subject is read
   * whole at one moment; different subjects may be read at different ones. With `sessions`, only subjects that have one
   * of them are given.
   */
  async snapshot(project: string, options: SnapshotOptions = {}): Promise<ProjectSnapshot> {
    options.signal?.throwIfAborted()
    checkRef({ project })
    const { db, tree } = await this.opened()
    return readSnapshot(db, tree, project, options)
  }

  /** What is named is exactly what changed, unless the cursor is of another archive or of a later state than this one. */
  async changedSince(
    project: string,
    cursor: string | undefined,
    options: CallOptions = {},
  ): Promise<Changes> {
    const { signal } = options
    signal?.throwIfAborted()
    checkRef({ project })
    const { db, tree } = await this.opened()
    const { seq, changes } = db.read(() => {
      const { id } = tree.get({ project })
      const now = db.currentSeq()
      const since = cursorSeq(cursor, db.archiveId)
      if (since === undefined || since > now) {
        return { seq: now, changes: { subjects: 'all' as const, project: true } }
      }
      const rows = db
        .prepare<{ label: string }>(
          'SELECT label FROM subject WHERE project = ? AND changed > ? ORDER BY label',
        )
        .all(id, since)
      const own = db.prepare<{ changed: number }>('SELECT changed FROM project WHERE id = ?').get(id)
      return {
        seq: now,
        changes: { subjects: rows.map((row) => row.label), project: (own?.changed ?? now) > since },
      }
    })
    await db.makeDurable(seq, signal)
    return { cursor: `${db.archiveId}:${seq}`, ...changes }
  }

  async readAssessor(ref: ArchiveRef, { signal }: CallOptions = {}): Promise<AssessorDetail> {
    signal?.throwIfAborted()
    const assessor = assessorRef(ref)
    const { db, assessors } = await this.opened()
    return db.read(() => {
      const detail = assessors.find(assessor)
      if (detail === undefined) throw assessors.missing(assessor)
      return detail
    })
  }

  async createAssessor(
    ref: ArchiveRef,
    init: AssessorInit,
    { signal }: CallOptions = {},
  ): Promise<AssessorDetail & { readonly created: boolean }> {
    signal?.throwIfAborted()
    const assessor = assessorRef(ref)
    const { db, assessors } = await this.opened()
    // Most often it is there already; then nobody else has to wait for the write lock.
    const there = db.read(() => assessors.find(assessor))
    if (there !== undefined) return { ...there, created: false }
    return await db.write(() => assessors.create(assessor, init), { signal })
  }

  async updateAssessor(
    ref: ArchiveRef,
    change: AssessorChange,
    revision: string,
    { signal }: CallOptions = {},
  ): Promise<AssessorNode> {
    signal?.throwIfAborted()
    const assessor = assessorRef(ref)
    const { db, assessors } = await this.opened()
    return await db.write(() => assessors.update(assessor, change, revision), { signal })
  }

  async deleteAssessor(ref: ArchiveRef, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    const assessor = assessorRef(ref)
    const { db, tree, content } = await this.opened()
    if (db.read(() => tree.find(assessor)) === undefined) return
    await content.deleteAssessor(assessor, signal)
  }

  async listFiles(ref: ResourceRef, { signal }: CallOptions = {}): Promise<readonly FileEntry[]> {
    signal?.throwIfAborted()
    checkResourceRef(ref)
    const { content } = await this.opened()
    return content.list(ref).map(toFileEntry)
  }

  async download(
    ref: ResourceRef,
    files: readonly FileEntry[],
    sink: FileSink,
    options: CallOptions = {},
  ): Promise<void> {
    options.signal?.throwIfAborted()
    checkResourceRef(ref)
    const { content } = await this.opened()
    await downloadFiles(content, ref, files, sink, options)
  }

  async upload(
    ref: ResourceRef,
    source: FileSource,
    options: UploadOptions = {},
  ): Promise<readonly FileEntry[]> {
    options.signal?.throwIfAborted()
    checkResourceRef(ref)
    const { content } = await this.opened()
    return (await content.upload(ref, source, options)).map(toFileEntry)
  }

  /**
   * The files of a resource, to be read in place and never changed. A place is good until somebody changes the resource.
   *
   * @throws NotFoundError
   */
  async source(ref: ResourceRef, { signal }: CallOptions = {}): Promise<Required<FileSource>> {
    signal?.throwIfAborted()
    checkResourceRef(ref)
    const { content } = await this.opened()
    const files = content.list(ref).map(toFileEntry)
    const localPath = (path: string): string | undefined => {
      const { rows, place } = content.locate(ref)
      return rows.has(path) ? place(path) : undefined
    }
    return {
      files,
      localPath,
      open: async (path, options = {}) => {
        const place = localPath(path)
        if (place === undefined)
          throw new TypeError(`${printable(path)} is not one of the files of the source.`)
        return createReadStream(place, { ...(options.signal !== undefined && { signal: options.signal }) })
      },
    }
  }

  /**
   * Bring local files in; nodes that are missing are made. Items are independent of each other: what was done before an
   * error or an abort stays, and running the same import again does the rest. What is there and identical is not touched.
   *
   * @throws InputError a label, path or source file that cannot be used
   * @throws NoSpaceError
   */
  async ingest(
    items: AsyncIterable<IngestItem> | Iterable<IngestItem>,
    options: IngestOptions = {},
  ): Promise<IngestSummary> {
    options.signal?.throwIfAborted()
    return await ingestItems(await this.opened(), items, options)
  }

  /** Make an empty project; there already is no error. */
  async addProject(project: string, { signal }: CallOptions = {}): Promise<void> {
    checkRef({ project })
    const { db, tree } = await this.opened()
    await db.write(() => tree.ensureProject(project), { signal })
  }

  /**
   * Compare the database with the folder, and with `deep` every file with its checksum. Changes nothing.
   * Problems come as they are found.
   */
  async *check(options: CheckOptions = {}): AsyncGenerator<CheckProblem> {
    options.signal?.throwIfAborted()
    yield* checkArchive(await this.opened(), options)
  }

  async diagnose(options: CallOptions = {}): Promise<readonly Diagnosis[]> {
    options.signal?.throwIfAborted()
    return await diagnoseFolder(this.root, () => this.opened(), options)
  }

  async close(): Promise<void> {
    this.#closed = true
    // One that is being opened is waited for; one that could not be opened needs no closing.
    const [opening] = await Promise.allSettled([this.#opening])
    const open = opening.status === 'fulfilled' && opening.value !== undefined ? [opening.value] : []
    this.#opening = undefined
    for (const { db } of [...open, ...this.#outdated.splice(0)]) await db.close()
  }
}

function isCurrent({ db }: OpenArchive, root: string): boolean {
  try {
    return db.isCurrent()
  } catch (error) {
    throw storeError(error, 'look at the archive', root)
  }
}

function goneAway(root: string, cause: InputError): StoreUnavailableError {
  return new StoreUnavailableError(`The archive at ${shownPath(root)} was there and is away now.`, {
    cause,
    details: { path: root },
    hint: 'Look whether its file system is mounted, or whether the folder was moved.',
  })
}

function assessorRef(ref: ArchiveRef): AssessorRef {
  checkRef(ref)
  const { assessor } = ref
  if (assessor === undefined) throw new TypeError(`${printable(formatRef(ref))} names no assessor.`)
  return { ...ref, assessor }
}

/** Undefined: none, of another archive, or not a cursor. */
function cursorSeq(cursor: string | undefined, archiveId: string): number | undefined {
  const match = /^([0-9a-f-]{36}):(\d{1,15})$/.exec(cursor ?? '')
  return match?.[1] === archiveId ? Number(match[2]) : undefined
}
