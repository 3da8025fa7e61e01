/** A folder and a place in XNAT, kept alike in one direction at a time. */

import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import {
  ConflictError,
  PipelineError,
  createFolderSink,
  createFolderSource,
  filePathProblem,
  isAbort,
  printable,
  type CallOptions,
  type ErrorCode,
  type FileEntry,
} from '@orbweaver/core'
import type { LabelAddress } from '../client/address.js'
import type { XnatClient } from '../client/client.js'
import type { XnatFile } from '../client/listed.js'
import { downloadFiles } from '../store/download.js'
import { uploadFiles } from '../store/upload.js'
import { SyncManifest } from './sync-manifest.js'
import { decideFile, sameContent, type OnConflict, type SyncDirection, type Version } from './sync-plan.js'
import {
  describeAddress,
  scanLocal,
  scanRemote,
  statLocal,
  type LocalTree,
  type SyncResource,
} from './sync-tree.js'

export interface SyncOptions extends CallOptions {
  /** Look and decide, and change nothing: no file, no manifest. Default: false. */
  readonly dryRun?: boolean
  /** Which side wins where the target would lose content. Default: `report`, neither. */
  readonly onConflict?: OnConflict
  /** Which resources. Default: all. */
  readonly filter?: (place: LabelAddress, resource: string) => boolean
  readonly onProgress?: (progress: SyncProgress) => void
}

/** So far; only grows, but for `resource`. */
export interface SyncProgress {
  /** At work now, as `scans/4/resources/NIFTI`. */
  readonly resource: string
  readonly resources: number
  readonly totalResources: number
  readonly movedFiles: number
  readonly movedBytes: number
}

/** A file and what was decided, or went wrong. */
export interface SyncEntry {
  /** Below the folder, as `scans/4/resources/NIFTI/a.nii.gz`. */
  readonly path: string
  readonly bytes: number
  readonly why: string
}

export interface SyncFailure extends SyncEntry {
  readonly code: ErrorCode
  /** The same call may do it later. */
  readonly retryable: boolean
}

export interface SyncResult {
  readonly direction: SyncDirection
  readonly dryRun: boolean
  /** With a dry run: what would be moved. */
  readonly moved: readonly SyncEntry[]
  readonly movedBytes: number
  readonly skipped: readonly SyncEntry[]
  /** Not moved: both sides hold something of their own. */
  readonly conflicts: readonly SyncEntry[]
  readonly failed: readonly SyncFailure[]
}

/** One sync under way. */
interface Work {
  readonly direction: SyncDirection
  readonly folder: string
  readonly options: SyncOptions
  readonly call: CallOptions
  readonly local: LocalTree
  readonly manifest: SyncManifest
  readonly moved: SyncEntry[]
  readonly skipped: SyncEntry[]
  readonly conflicts: SyncEntry[]
  readonly failed: SyncFailure[]
}

interface Move extends SyncEntry {
  /** Below the resource. */
  readonly name: string
  readonly content: Version
}

/**
 * Keeps a folder and a project, subject, session, scan or assessor alike, with all that is below. The folder is laid out as
 * XNAT is: `resources/LABEL/FILES`, and below it `subjects/S`, `sessions/E`, `scans/4` and `assessors/A` with the same again.
 *
 * - Only what differs is moved: by size, and by MD5 where the server keeps it.
 * - Nothing is removed, and nothing is overwritten that did not come from the other side (see {@link SyncOptions.onConflict}).
 * - It may be interrupted at any time and begun again: files appear whole, and what is there already is not moved again.
 * - Links in the folder are refused, and so are names from the server that would leave it.
 *
 * Subjects, sessions, scans and assessors are not made: `syncToXnat` fails for what lies in one that XNAT does not have.
 * Two syncs of one folder at once are not guarded against.
 */
export class ResourceSyncer {
  readonly #client: XnatClient

  constructor(client: XnatClient) {
    this.#client = client
  }

  /**
   * Bring the folder up to what XNAT has.
   *
   * @throws NotFoundError the place is not there, or hidden
   * @throws ConflictError the folder was synced with another place
   */
  async syncToLocal(place: LabelAddress, folder: string, options: SyncOptions = {}): Promise<SyncResult> {
    return await this.#sync('toLocal', place, folder, options)
  }

  /**
   * Bring XNAT up to what the folder has. Every upload is verified by listing it back.
   *
   * @throws NotFoundError the place is not there, or hidden
   * @throws ConflictError the folder was synced with another place
   */
  async syncToXnat(folder: string, place: LabelAddress, options: SyncOptions = {}): Promise<SyncResult> {
    return await this.#sync('toXnat', place, folder, options)
  }

  async #sync(
    direction: SyncDirection,
    place: LabelAddress,
    folder: string,
    options: SyncOptions,
  ): Promise<SyncResult> {
    const root = resolve(folder)
    const { signal, dryRun = false, filter } = options
    const call: CallOptions = signal === undefined ? {} : { signal }
    const wanted = ({ node, resource }: SyncResource): boolean => filter?.(node, resource) ?? true
    const manifest = await SyncManifest.open(root, this.#client.url, place)
    const remote = await scanRemote(this.#client, place, wanted, call)
    const local = await scanLocal(root, place, wanted, call)
    const work: Work = {
      direction, folder: root, options, call, local, manifest,
      moved: [], skipped: [], conflicts: [], failed: [],
    } // prettier-ignore
    for (const { path, why } of direction === 'toLocal' ? remote.refused : local.refused) {
      work.failed.push({ path, bytes: 0, why, code: 'INPUT_INVALID', retryable: false })
    }
    const all = new Map([...remote.resources, ...local.resources])
    const folders = [...all.keys()].sort()
    if (direction === 'toLocal' && !dryRun) await mkdir(root, { recursive: true, mode: 0o700 })
    try {
      for (const [index, key] of folders.entries()) {
        signal?.throwIfAborted()
        const resource = all.get(key)
        if (resource === undefined) continue
        const before = sum(work.moved)
        const tell = (bytes: number): void =>
          options.onProgress?.({
            resource: key,
            resources: index,
            totalResources: folders.length,
            movedFiles: work.moved.length,
            movedBytes: before + bytes,
          })
        tell(0)
        await this.#resource(work, resource, remote.resources.has(key), tell)
      }
    } finally {
      if (!dryRun) await manifest.save()
    }
    const { moved, skipped, conflicts, failed } = work
    return { direction, dryRun, moved, movedBytes: sum(moved), skipped, conflicts, failed }
  }

  async #resource(
    work: Work,
    resource: SyncResource,
    isThere: boolean,
    tell: (bytes: number) => void,
  ): Promise<void> {
    let moves: readonly Move[] = []
    try {
      const listed = isThere ? await this.#client.files(resource, work.call) : []
      moves = await plan(work, resource, listed)
      if (work.options.dryRun === true) work.moved.push(...moves.map(toEntry))
      else if (moves.length > 0) {
        if (work.direction === 'toLocal') await this.#down(work, resource, moves, tell)
        else await this.#up(work, resource, moves, listed, tell)
        await work.manifest.save()
      }
    } catch (error) {
      work.options.signal?.throwIfAborted()
      if (isAbort(error) || !(error instanceof PipelineError)) throw error
      const { message: why, code, retryable } = error
      const done = new Set(work.moved.map(({ path }) => path))
      const left = moves.filter(({ path }) => !done.has(path))
      const entries = left.length > 0 ? left.map(toEntry) : [{ path: resource.folder, bytes: 0 }]
      work.failed.push(...entries.map(({ path, bytes }) => ({ path, bytes, why, code, retryable })))
    }
  }

  async #down(
    work: Work,
    resource: SyncResource,
    moves: readonly Move[],
    tell: (bytes: number) => void,
  ): Promise<void> {
    const sink = createFolderSink(work.folder)
    const { folder } = resource
    const byName = new Map(moves.map((move) => [move.name, move]))
    await downloadFiles(
      { client: this.#client, shown: shownAs(resource), totalBytes: undefined, onProgress: tell },
      resource,
      moves.map(entryOf),
      {
        write: async (name, content, entry, options) => {
          try {
            await checkUntouched(work, `${folder}/${name}`)
          } catch (error) {
            content.destroy()
            throw error
          }
          await sink.write(`${folder}/${name}`, content, entry, options)
          const move = byName.get(name)
          if (move === undefined) return
          work.moved.push(toEntry(move))
          await settleDownload(work, move)
        },
      },
      work.call,
    )
  }

  async #up(
    work: Work,
    resource: SyncResource,
    moves: readonly Move[],
    decidedOn: readonly XnatFile[],
    tell: (bytes: number) => void,
  ): Promise<void> {
    const source = await createFolderSource(join(work.folder, resource.folder), moves.map(entryOf))
    const before = new Map(decidedOn.map((file) => [file.path, file]))
    let first = true
    await uploadFiles(
      {
        client: this.#client,
        shown: shownAs(resource),
        isNew: false,
        keepOthers: true,
        list: async (options) => {
          const now = await this.#client.files(resource, options)
          // Between decision and upload somebody else may have written.
          if (first) {
            for (const { name } of moves)
              sameAsDecided(
                name,
                before.get(name),
                now.find(({ path }) => path === name),
              )
          }
          first = false
          return now
        },
        // It was found when the tree was read; XNAT refuses an upload to what is gone.
        nodeExists: () => Promise.resolve(),
      },
      resource,
      source,
      { ...work.call, onProgress: tell },
    )
    for (const move of moves) {
      work.moved.push(toEntry(move))
      work.manifest.settle(move.path, move.content)
    }
  }
}

/** Sorts the files of one resource into moves and what is not moved. */
async function plan(work: Work, resource: SyncResource, listed: readonly XnatFile[]): Promise<Move[]> {
  const { direction, local, manifest, options } = work
  const prefix = `${resource.folder}/`
  const remote = new Map<string, XnatFile>()
  for (const file of listed) {
    const problem = filePathProblem(file.path)
    if (problem === undefined) remote.set(file.path, file)
    else if (direction === 'toLocal') {
      const path = `${prefix}${printable(file.path)}`
      work.failed.push({ path, bytes: file.bytes, why: problem, code: 'INPUT_INVALID', retryable: false })
    }
  }
  const names = new Set([...remote.keys(), ...(local.names.get(resource.folder) ?? [])])
  const moves: Move[] = []
  for (const name of [...names].sort()) {
    options.signal?.throwIfAborted()
    const path = prefix + name
    const theirs = remote.get(name)
    const file = local.files.get(path)
    const there = theirs === undefined ? undefined : versionOf(theirs)
    const base = manifest.base(path)
    const needed = file !== undefined && (there !== undefined || direction === 'toXnat')
    const ours: Version | undefined =
      file === undefined
        ? undefined
        : {
            bytes: file.bytes,
            ...(needed && { md5: await manifest.md5(work.folder, path, file, work.call) }),
          }
    const decision = decideFile(
      { local: ours, remote: there, base },
      direction,
      options.onConflict ?? 'report',
    )
    const from = direction === 'toLocal' ? there : ours
    const entry = { path, bytes: (from ?? ours ?? there)?.bytes ?? 0, why: decision.why }
    if (decision.do === 'move' && from !== undefined) moves.push({ ...entry, name, content: from })
    else if (decision.do === 'conflict') work.conflicts.push(entry)
    else work.skipped.push(entry)
    if (ours !== undefined && there !== undefined && sameContent(ours, there)) manifest.settle(path, ours)
  }
  return moves
}

/** A person may have written the file since the folder was read. */
async function checkUntouched(work: Work, path: string): Promise<void> {
  const now = await statLocal(join(work.folder, path))
  const before = work.local.files.get(path)
  if (now?.bytes === before?.bytes && now?.mtimeMs === before?.mtimeMs && now?.ctimeMs === before?.ctimeMs)
    return
  throw new ConflictError(`${printable(path)} was written meanwhile.`, { hint: 'Look again, then sync.' })
}

/** Where the server keeps no checksum, ours is what tells later whether a person changed the file. */
async function settleDownload(work: Work, { path, content }: Move): Promise<void> {
  const file = await statLocal(join(work.folder, path))
  if (file === undefined) return
  const md5 = content.md5 ?? (await work.manifest.md5(work.folder, path, file, work.call))
  work.manifest.settle(path, { bytes: content.bytes, md5 })
}

function sameAsDecided(name: string, before: XnatFile | undefined, now: XnatFile | undefined): void {
  if (before === undefined && now === undefined) return
  if (before !== undefined && now !== undefined && sameContent(versionOf(before), versionOf(now))) return
  throw new ConflictError(`Somebody else wrote ${printable(name)} meanwhile.`, {
    hint: 'Look again, then sync.',
  })
}

function versionOf({ bytes, checksum }: XnatFile): Version {
  return checksum === undefined ? { bytes } : { bytes, md5: checksum.hex.toLowerCase() }
}

function entryOf({ name, content: { bytes, md5 } }: Move): FileEntry {
  return {
    path: name,
    bytes,
    ...(md5 !== undefined && { checksum: { algorithm: 'md5', hex: md5 } as const }),
  }
}

function toEntry({ path, bytes, why }: SyncEntry): SyncEntry {
  return { path, bytes, why }
}

function shownAs({ node, resource }: SyncResource): string {
  return `${describeAddress(node)}:${resource}`
}

function sum(entries: readonly SyncEntry[]): number {
  return entries.reduce((bytes, entry) => bytes + entry.bytes, 0)
}
