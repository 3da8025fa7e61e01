/**
 * Files of resources: how they come into the archive, and out of it.
 *
 * A change of files is a redo log of two transactions. The new files lie complete in the staging area, on the disk. The
 * first transaction makes the tables tell the new state and notes in `pending` what is still to be moved; from then on the
 * change has happened, and readers find files that have not moved yet through that note. The second transaction, holding
 * SQLite's one write lock, moves the files and removes the note. A crash before the first leaves the old state, a crash
 * after it the new one; whoever opens the archive next, or changes files next, does the moving that is left.
 */

import { createHash } from 'node:crypto'
import { existsSync, lstatSync, renameSync, rmdirSync, statSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  InputError,
  IntegrityError,
  checkFilePath,
  formatResourceRef,
  printable,
  systemErrorCode,
  type ArchiveRef,
  type CallOptions,
  type FileEntry,
  type FileSource,
  type ResourceRef,
  type UploadOptions,
} from '@orbweaver/core'
import type { ArchiveDb } from './archive-db.js'
import { hashFile, makeFolder, statIfThere, syncFolder, removeTree } from './file-system.js'
import { STAGING, nodeFolder, resourceFolder, resourceKey } from './layout.js'
import { ownedName } from './owner.js'
import { StagingFolder, sweepStaging, type WantedFile } from './staging.js'
import { storeError } from './store-errors.js'
import type { NodeKey, Tree } from './tree.js'

/** Files sent at once in one upload. */
const SENT_AT_ONCE = 4
/** How often an upload starts over because another one changed the resource meanwhile. */
const ROUNDS = 5

export interface FileRow {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
  readonly linked: string | null
}

/** A resource and what it is to hold. */
export interface ContentSwitch {
  readonly ref: ResourceRef
  readonly files: ReadonlyMap<string, WantedFile>
  /** Remove files that are not named. */
  readonly exact: boolean
  /** Runs first in the same transaction. @returns whether it changed something */
  readonly prepare?: () => boolean
}

export interface SwitchResult {
  readonly outcome: 'created' | 'changed' | 'unchanged'
  /** Files that were put in place. */
  readonly moved: readonly string[]
}

/** What is left to do on the disk for a folder. */
type PendingWork =
  | { readonly drop: true }
  | {
      readonly moves: readonly (readonly [staged: string, path: string])[]
      readonly removes: readonly string[]
    }

/** A file that was to stay is no longer what it was when the switch was prepared. */
class Stale extends Error {}

export interface ContentHooks {
  /** Called at each point where a crash would leave another state on the disk. */
  readonly step: (name: string) => void
}

export class Content {
  readonly #db: ArchiveDb
  readonly #tree: Tree
  readonly #hooks: ContentHooks

  constructor(db: ArchiveDb, tree: Tree, hooks: ContentHooks) {
    this.#db = db
    this.#tree = tree
    this.#hooks = hooks
  }

  // -- reading

  /** Inside a transaction. Undefined: the node has no such resource. */
  resourceId(owner: number, label: string): number | undefined {
    return this.#db
      .prepare<{ id: number }>('SELECT id FROM resource WHERE owner = ? AND label = ?')
      .get(owner, label)?.id
  }

  #rows(resource: number): FileRow[] {
    return this.#db
      .prepare<FileRow>('SELECT path, bytes, sha256, linked FROM file WHERE resource = ? ORDER BY path')
      .all(resource)
  }

  /** @throws NotFoundError */
  list(ref: ResourceRef): readonly FileRow[] {
    return this.#db.read(() => {
      const id = this.resourceId(this.#tree.get(ref.node).id, ref.resource)
      if (id === undefined) throw this.#tree.missingResource(ref)
      return this.#rows(id)
    })
  }

  /** The files of a resource and where each lies now. @throws NotFoundError */
  locate(ref: ResourceRef): {
    readonly rows: ReadonlyMap<string, FileRow>
    readonly place: (path: string) => string
  } {
    return this.#db.read(() => {
      const rows = new Map(this.list(ref).map((row) => [row.path, row]))
      const folder = resourceFolder(ref)
      const staged = this.#stagedFiles(folder)
      return {
        rows,
        place: (path) => {
          const waiting = staged.get(path)
          // It may be moved at any moment; it is never moved back.
          if (waiting !== undefined && existsSync(join(this.#db.root, waiting)))
            return join(this.#db.root, waiting)
          return join(this.#db.root, folder, path)
        },
      }
    })
  }

  #stagedFiles(folder: string): ReadonlyMap<string, string> {
    const staged = new Map<string, string>()
    const rows = this.#db
      .prepare<{ work: string }>('SELECT work FROM pending WHERE folder = ? ORDER BY id')
      .all(folder)
    for (const row of rows) {
      const work = JSON.parse(row.work) as PendingWork
      if ('drop' in work) continue
      for (const path of work.removes) staged.delete(path)
      for (const [from, path] of work.moves) staged.set(path, from)
    }
    return staged
  }

  // -- changing

  /**
   * Make resources hold what they are to hold, all in one transaction.
   *
   * @returns one result per switch, or `stale`: somebody changed one of them meanwhile, nothing was done
   * @throws NotFoundError a node is not there
   */
  async commit(
    switches: readonly ContentSwitch[],
    options: CallOptions & {
      /** Runs last in the same transaction. */
      readonly also?: () => void
      /** The change has happened; staged files now belong to the database. */
      readonly onCommitted?: () => void
    } = {},
  ): Promise<readonly SwitchResult[] | 'stale'> {
    const { signal, also } = options
    this.#hooks.step('staged')
    let results: SwitchResult[]
    const trash: string[] = []
    try {
      results = await this.#db.write(
        () => {
          const stuck = this.#drain(trash)
          const each = switches.map((change) => this.#switch(change, stuck))
          also?.()
          return each
        },
        { durable: true, signal },
      )
    } catch (error) {
      if (error instanceof Stale) return 'stale'
      throw error
    } finally {
      for (const path of trash) await removeTree(path)
    }
    options.onCommitted?.()
    this.#hooks.step('committed')
    if (results.some((result) => result.outcome !== 'unchanged')) {
      await this.#settle(switches.map((change) => resourceFolder(change.ref)))
    }
    this.#hooks.step('settled')
    return results
  }

  #switch(change: ContentSwitch, stuck: ReadonlyMap<string, unknown>): SwitchResult {
    const { ref, files, exact } = change
    const prepared = change.prepare?.() ?? false
    const node = this.#tree.get(ref.node)
    const folder = resourceFolder(ref)
    throwIfStuck(stuck, folder)
    const there = this.resourceId(node.id, ref.resource)
    const before = new Map((there === undefined ? [] : this.#rows(there)).map((row) => [row.path, row]))

    const moves: [staged: string, path: string][] = []
    const changed: string[] = []
    for (const [path, wanted] of files) {
      const row = before.get(path)
      const same = row?.bytes === wanted.bytes && row.sha256 === wanted.sha256
      if (same && wanted.repair !== true) continue
      if (wanted.staged === undefined) throw new Stale()
      moves.push([wanted.staged, path])
      changed.push(path)
    }
    const removes = exact ? [...before.keys()].filter((path) => !files.has(path)) : []
    if (there !== undefined && moves.length === 0 && removes.length === 0) {
      return { outcome: prepared ? 'changed' : 'unchanged', moved: [] }
    }
    if (there === undefined) this.#tree.refuseTwin('resource', node.id, ref.resource)
    const seq = this.#db.nextSeq()
    const resource = there ?? seq
    for (const path of removes) {
      this.#db.prepare('DELETE FROM file WHERE resource = ? AND path = ?').run(resource, path)
    }
    for (const path of changed) {
      const { bytes, sha256, linked = null } = files.get(path) as WantedFile
      this.#db
        .prepare(
          `INSERT INTO file (resource, path, bytes, sha256, linked) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (resource, path) DO UPDATE SET bytes = excluded.bytes, sha256 = excluded.sha256, linked = excluded.linked`,
        )
        .run(resource, path, bytes, sha256, linked)
    }
    const after = this.#rows(resource)
    checkPaths(
      after.map((row) => row.path),
      this.#db.foldsCase,
    )
    this.#putResource(node, ref, resource, after)
    this.#tree.touch(node, seq)
    this.#addPending(folder, { moves, removes })
    return { outcome: there === undefined ? 'created' : 'changed', moved: changed }
  }

  #putResource(node: NodeKey, ref: ResourceRef, id: number, rows: readonly FileRow[]): void {
    const digest = createHash('sha256')
    let bytes = 0
    for (const row of rows) {
      digest.update(`${row.path}\0${row.bytes}\0${row.sha256}\n`)
      bytes += row.bytes
    }
    this.#db
      .prepare(
        `INSERT INTO resource (owner, label, id, files, bytes, digest) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (owner, label) DO UPDATE SET files = excluded.files, bytes = excluded.bytes, digest = excluded.digest`,
      )
      .run(node.id, ref.resource, id, rows.length, bytes, digest.digest('hex').slice(0, 16))
    this.#tree.refreshResources(ref.node, node)
  }

  #addPending(folder: string, work: PendingWork): void {
    this.#db.prepare('INSERT INTO pending (folder, work) VALUES (?, ?)').run(folder, JSON.stringify(work))
  }

  /** Remove an assessor with everything it has. Gone already is no error. */
  async deleteAssessor(ref: ArchiveRef, signal?: AbortSignal): Promise<void> {
    const folder = nodeFolder(ref)
    const trash: string[] = []
    this.#hooks.step('asked')
    const removed = await this.#db.write(
      () => {
        throwIfStuck(this.#drain(trash), folder)
        const node = this.#tree.find(ref)
        if (node === undefined) return false
        const run = (sql: string, ...params: unknown[]): void => void this.#db.prepare(sql).run(...params)
        run('DELETE FROM file WHERE resource IN (SELECT id FROM resource WHERE owner = ?)', node.id)
        run('DELETE FROM resource WHERE owner = ?', node.id)
        run('DELETE FROM record WHERE assessor = ?', node.id)
        run('DELETE FROM assessor WHERE parent = ? AND label = ?', node.parent, ref.assessor)
        this.#tree.touch(node, this.#db.nextSeq())
        this.#addPending(folder, { drop: true })
        return true
      },
      { durable: true, signal },
    )
    this.#hooks.step('committed')
    if (removed) await this.#settle([folder], trash)
    this.#hooks.step('settled')
  }

  // -- the second transaction

  /**
   * Do what is pending, and say so if a folder of ours could not be brought in order.
   *
   * @throws IntegrityError staged files of ours have vanished
   */
  async #settle(folders: readonly string[], trash: string[] = []): Promise<void> {
    const lost: string[] = []
    const stuck = await this.#db.write(() => this.#drain(trash, lost))
    for (const path of trash) await removeTree(path)
    for (const folder of folders) throwIfStuck(stuck, folder)
    const ours = lost.filter((path) => folders.some((folder) => path.startsWith(`${folder}/`)))
    if (ours.length === 0) return
    throw new IntegrityError(
      `${ours.length} files could not be put in place, as ${printable(ours[0] ?? '')}: they have vanished from ${STAGING}.`,
      {
        details: { files: ours.slice(0, 100) },
        hint: 'Somebody cleared the staging area of the archive. Send the files again.',
      },
    )
  }

  /**
   * Do the moving that the tables already tell as done. Inside a write transaction: only one process moves files at a
   * time, so a note that is there is a note that nobody else works on. Each step may be repeated.
   *
   * @returns folders that could not be brought in order, with the error; their notes stay
   */
  #drain(trash: string[], lost: string[] = []): ReadonlyMap<string, unknown> {
    const stuck = new Map<string, unknown>()
    const rows = this.#db
      .prepare<{ id: number; folder: string; work: string }>(
        'SELECT id, folder, work FROM pending ORDER BY id',
      )
      .all()
    for (const { id, folder, work } of rows) {
      if (blockedBy(stuck, folder) !== undefined) continue
      try {
        this.#perform(folder, JSON.parse(work) as PendingWork, trash, lost)
        this.#db.prepare('DELETE FROM pending WHERE id = ?').run(id)
      } catch (error) {
        if (systemErrorCode(error) === undefined) throw error
        stuck.set(folder, storeError(error, 'put files in place', join(this.#db.root, folder)))
      }
    }
    return stuck
  }

  #perform(folder: string, work: PendingWork, trash: string[], lost: string[]): void {
    const { root } = this.#db
    const base = join(root, folder)
    const touched = new Set<string>()
    if ('drop' in work) {
      makeFolder(join(root, STAGING), touched)
      const aside = join(root, STAGING, ownedName('trash'))
      if (moveIfThere(base, aside)) {
        trash.push(aside)
        touched.add(dirname(base))
      }
    } else {
      makeFolder(base, touched)
      for (const path of work.removes) {
        removeFile(base, path, touched)
        this.#hooks.step('removed')
      }
      for (const [staged, path] of work.moves) {
        const target = join(base, path)
        makeFolder(dirname(target), touched)
        if (moveIfThere(join(root, staged), target)) {
          touched.add(dirname(target))
          // Two hard links to one file: rename(2) succeeds and does nothing.
          unlinkIfThere(join(root, staged))
        } else if (lstatSync(target, { throwIfNoEntry: false }) === undefined) {
          lost.push(`${folder}/${path}`)
        }
        this.#hooks.step('moved')
      }
    }
    // A folder that has given way to a file has left its trace in the one above, which is here as well.
    for (const path of touched) if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) syncFolder(path)
  }

  /** Finish what crashed processes have begun, and throw away what they have not. For a freshly opened archive. */
  async recover(): Promise<void> {
    const pending = this.#db.prepare<{ n: number }>('SELECT count(*) AS n FROM pending').get()?.n ?? 0
    if (pending > 0) await this.#settle([])
    await sweepStaging(this.#db.root, () => this.foldersInUse())
  }

  /** Names of staging folders that notes count on. */
  foldersInUse(): ReadonlySet<string> {
    return this.#db.read(() => {
      const names = new Set<string>()
      for (const { work } of this.#db.prepare<{ work: string }>('SELECT work FROM pending').all()) {
        const parsed = JSON.parse(work) as PendingWork
        if ('drop' in parsed) continue
        for (const [staged] of parsed.moves) names.add(staged.split('/')[1] ?? '')
      }
      return names
    })
  }

  // -- uploads

  /** As {@link DataStore.upload}; labels have been checked. */
  async upload(ref: ResourceRef, source: FileSource, options: UploadOptions): Promise<readonly FileRow[]> {
    const { signal } = options
    signal?.throwIfAborted()
    for (const { path } of source.files) checkFilePath(path)
    checkPaths(
      source.files.map((file) => file.path),
      this.#db.foldsCase,
    )
    this.#db.read(() => this.#tree.get(ref.node))
    const sender = new Sender(
      () => StagingFolder.resume(this.#db.root, `up-${resourceKey(ref)}`, () => this.foldersInUse()),
      source,
      options,
    )
    try {
      for (let round = 1; ; round += 1) {
        const { rows, place } = this.#locateIfThere(ref)
        const files = new Map<string, WantedFile>()
        await eachOf(source.files, SENT_AT_ONCE, async (entry) => {
          signal?.throwIfAborted()
          files.set(entry.path, await sender.want(entry, rows.get(entry.path), place(entry.path)))
        })
        sender.sync()
        const results = await this.commit([{ ref, files, exact: true }], {
          ...options,
          onCommitted: () => sender.handOver(),
        })
        if (results !== 'stale') {
          await sender.done()
          return await this.#readBack(ref, files)
        }
        if (round === ROUNDS) {
          throw new IntegrityError(
            `Resource ${printable(formatResourceRef(ref))} is changed by somebody else all the time.`,
            { details: { resource: formatResourceRef(ref) } },
          )
        }
      }
    } catch (error) {
      await sender.leave()
      throw storeError(error, 'store files', join(this.#db.root, resourceFolder(ref)))
    }
  }

  #locateIfThere(ref: ResourceRef): {
    readonly rows: ReadonlyMap<string, FileRow>
    readonly place: (path: string) => string
  } {
    const there = this.#db.read(() => this.resourceId(this.#tree.get(ref.node).id, ref.resource))
    return there === undefined ? { rows: new Map(), place: () => '' } : this.locate(ref)
  }

  /** @throws IntegrityError the archive lists, or holds, something else */
  async #readBack(ref: ResourceRef, sent: ReadonlyMap<string, WantedFile>): Promise<readonly FileRow[]> {
    const { rows, place } = this.locate(ref)
    const wrong: string[] = []
    for (const [path, { bytes, sha256 }] of sent) {
      const row = rows.get(path)
      if (row?.bytes !== bytes || row.sha256 !== sha256) wrong.push(path)
      else if ((await statIfThere(place(path)))?.size !== BigInt(bytes)) wrong.push(path)
    }
    for (const path of rows.keys()) if (!sent.has(path)) wrong.push(path)
    if (wrong.length === 0) return [...rows.values()]
    throw new IntegrityError(
      `Resource ${printable(formatResourceRef(ref))} does not hold what was sent: ${wrong.slice(0, 3).map(printable).join(', ')}${wrong.length > 3 ? ` and ${wrong.length - 3} more` : ''}.`,
      {
        details: { resource: formatResourceRef(ref), files: wrong.slice(0, 100) },
        hint: 'Somebody else changed it at the same time, or changed files in the archive folder by hand.',
      },
    )
  }
}

/** Brings the files of one upload into the staging area, each once. */
class Sender {
  readonly #makeFolder: () => Promise<StagingFolder>
  readonly #source: FileSource
  readonly #options: UploadOptions
  readonly #sent = new Map<string, WantedFile>()
  #folder: Promise<StagingFolder> | undefined
  #made: StagingFolder | undefined
  #handedOver = false
  #bytes = 0

  constructor(makeFolder: () => Promise<StagingFolder>, source: FileSource, options: UploadOptions) {
    this.#makeFolder = makeFolder
    this.#source = source
    this.#options = options
  }

  async #staging(): Promise<StagingFolder> {
    this.#folder ??= this.#makeFolder()
    this.#made = await this.#folder
    return this.#made
  }

  /** @param place - where the archive has the file that `row` tells of */
  async want(entry: FileEntry, row: FileRow | undefined, place: string): Promise<WantedFile> {
    const { signal, onProgress } = this.#options
    const before = this.#sent.get(entry.path)
    if (before !== undefined) return before
    const local = this.#source.localPath?.(entry.path)
    const sha256 = await this.#knownSha256(entry, local)

    const candidate = row?.bytes === entry.bytes ? row : undefined
    const onDisk =
      candidate === undefined ? false : (await statIfThere(place))?.size === BigInt(candidate.bytes)
    if (candidate !== undefined && onDisk && (await this.#isSame(entry, sha256, candidate.sha256, place))) {
      return { bytes: candidate.bytes, sha256: candidate.sha256 }
    }
    const staging = await this.#staging()
    const file =
      (await this.#sentBefore(staging, entry, sha256)) ??
      (local === undefined
        ? await staging.receive(await this.#source.open(entry.path, this.#options), entry, {
            signal,
            onBytes: (bytes) => this.#progress(bytes, onProgress),
          })
        : await staging.copy(local, entry, {
            signal,
            onBytes: (bytes) => this.#progress(bytes, onProgress),
          }))
    // The archive's own file is gone or has another size: put this one in its place, though the tables say the same.
    const wanted = candidate !== undefined && !onDisk ? { ...file, repair: true } : file
    this.#sent.set(entry.path, wanted)
    return wanted
  }

  #progress(bytes: number, onProgress: ((bytes: number) => void) | undefined): void {
    this.#bytes += bytes
    onProgress?.(this.#bytes)
  }

  async #knownSha256({ checksum }: FileEntry, local: string | undefined): Promise<string | undefined> {
    if (checksum?.algorithm === 'sha256') return checksum.hex.toLowerCase()
    if (checksum !== undefined || local === undefined) return undefined
    return (await hashFile(local, 'sha256', this.#options.signal)).hex
  }

  /** Is the archive's file what the entry tells of? `false` where that cannot be known without sending it. */
  async #isSame(
    entry: FileEntry,
    sha256: string | undefined,
    archived: string,
    place: string,
  ): Promise<boolean> {
    if (sha256 !== undefined) return sha256 === archived
    if (entry.checksum === undefined) return false
    const { hex } = await hashFile(place, entry.checksum.algorithm, this.#options.signal)
    return hex === entry.checksum.hex.toLowerCase()
  }

  async #sentBefore(
    staging: StagingFolder,
    { path, bytes, checksum }: FileEntry,
    sha256: string | undefined,
  ): Promise<WantedFile | undefined> {
    if (sha256 !== undefined) return staging.find(path, bytes, sha256)
    if (checksum === undefined) return undefined
    for (const { absolute, ...file } of staging.candidates(path, bytes)) {
      const { hex } = await hashFile(absolute, checksum.algorithm, this.#options.signal)
      if (hex === checksum.hex.toLowerCase()) return file
    }
    return undefined
  }

  sync(): void {
    this.#made?.sync()
  }

  /** From here on the database counts on the staged files under their present names. */
  handOver(): void {
    this.#handedOver = true
  }

  async done(): Promise<void> {
    await this.#made?.remove()
  }

  /** After a failure: what is complete stays for the next try. */
  async leave(): Promise<void> {
    if (!this.#handedOver) await this.#made?.release()
  }
}

/**
 * No path twice, and no file that is a folder of another.
 *
 * @param foldsCase - paths that differ in letter case only are the same
 * @throws InputError
 */
function checkPaths(paths: readonly string[], foldsCase: boolean): void {
  const key = (path: string): string => (foldsCase ? path.toLowerCase() : path)
  const files = new Map<string, string>()
  const refuse = (one: string, other: string): never => {
    throw new InputError(
      one === other
        ? `File path ${printable(one)} is given twice.`
        : `File paths ${printable(one)} and ${printable(other)} exclude each other.`,
      {
        details: { paths: [one, other] },
        hint: 'In a resource each path stands for one file, and none of them is a folder of another.',
      },
    )
  }
  for (const path of paths) {
    const twin = files.get(key(path))
    if (twin !== undefined) refuse(twin, path)
    files.set(key(path), path)
  }
  for (const path of paths) {
    for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
      const folder = files.get(key(path.slice(0, slash)))
      if (folder !== undefined) refuse(folder, path)
    }
  }
}

function blockedBy(stuck: ReadonlyMap<string, unknown>, folder: string): unknown {
  for (const [other, error] of stuck) {
    if (folder === other || folder.startsWith(`${other}/`) || other.startsWith(`${folder}/`)) return error
  }
  return undefined
}

function throwIfStuck(stuck: ReadonlyMap<string, unknown>, folder: string): void {
  const error = blockedBy(stuck, folder)
  if (error !== undefined) throw error as Error
}

function moveIfThere(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
}

/** Remove a file, and folders that are empty then. Something else at its path is left alone: a newer state has it. */
function removeFile(base: string, path: string, touched: Set<string>): void {
  const target = join(base, path)
  try {
    if (lstatSync(target).isDirectory()) return
    unlinkSync(target)
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) throw error
    return
  }
  touched.add(dirname(target))
  for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) {
    try {
      rmdirSync(join(base, folder))
    } catch (error) {
      if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(systemErrorCode(error) ?? '')) return
      throw error
    }
    touched.add(dirname(join(base, folder)))
  }
}

/** Run on a few items at once. After the first error no more are begun; it is thrown when those under way have ended. */
export async function eachOf<Item>(
  items: readonly Item[],
  atOnce: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values()
  const failures: unknown[] = []
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      try {
        await work(item)
      } catch (error) {
        failures.push(error)
      }
      if (failures.length > 0) return
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  if (failures.length > 0) throw failures[0] as Error
}
