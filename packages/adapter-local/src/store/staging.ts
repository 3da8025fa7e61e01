/** The staging area: files on their way in. Nothing here is part of the archive until a transaction says so. */

import { createHash } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { addAbortSignal, type Readable } from 'node:stream'
import { InputError, IntegrityError, printable, systemErrorCode, type FileEntry } from '@orbweaver/core'
import {
  CHUNK_BYTES,
  SMALL_BYTES,
  hashFile,
  makeFolder,
  removeTree,
  stampOf,
  statIfThere,
  syncFile,
  syncFolder,
} from './file-system.js'
import { STAGING } from './layout.js'
import { ownedName, readOwner, releasedName } from './owner.js'
import { shownPath } from './store-errors.js'

/** Files of an upload that was broken off are kept this long for the next try. */
const RESUME_MS = 7 * 86_400_000
/** Nobody can tell whether a process of another machine still lives; no upload goes this long without a new file. */
const FOREIGN_MS = 14 * 86_400_000

/** Content that the archive is to hold under some path. */
export interface WantedFile {
  readonly bytes: number
  readonly sha256: string
  /** Where it lies in the staging area, relative to the root. Absent: the archive has it already. */
  readonly staged?: string
  /** Put the staged file in place even if the archive claims to have the same: its own is missing or damaged. */
  readonly repair?: boolean
  /** Stamp of the linked file; absent: a copy. */
  readonly linked?: string
}

export interface SendOptions {
  readonly signal?: AbortSignal | undefined
  readonly onBytes?: ((bytes: number) => void) | undefined
}

/** Staging folders that notes in the database still count on. Asked after their owners were seen to be gone. */
export type InUse = () => ReadonlySet<string>

const pathHash = (path: string): string => createHash('sha256').update(path).digest('hex').slice(0, 16)

/** One folder in the staging area, owned by this process. */
export class StagingFolder {
  readonly #root: string
  readonly #name: string
  /** Complete files are named by path and content, for a later upload of the same resource to find them. */
  readonly #resumable: boolean
  #parts = 0
  /** Complete files by the hash of their path. */
  readonly #complete = new Map<
    string,
    { readonly name: string; readonly sha256: string; readonly bytes: number }[]
  >()

  private constructor(root: string, name: string, resumable: boolean) {
    this.#root = root
    this.#name = name
    this.#resumable = resumable
  }

  /** For files of any number of resources; nobody goes on with what is left in it. */
  static async make(root: string, prefix: string): Promise<StagingFolder> {
    const folder = new StagingFolder(root, ownedName(prefix), false)
    makeFolder(folder.path)
    return folder
  }

  /** For files of one resource: takes over the complete files that dead or failed owners of the same prefix have left. */
  static async resume(root: string, prefix: string, inUse: InUse): Promise<StagingFolder> {
    const folder = new StagingFolder(root, ownedName(prefix), true)
    makeFolder(folder.path)
    await folder.#adopt(prefix, inUse)
    return folder
  }

  get path(): string {
    return join(this.#root, STAGING, this.#name)
  }

  #relative(name: string): string {
    return `${STAGING}/${this.#name}/${name}`
  }

  async #adopt(prefix: string, inUse: InUse): Promise<void> {
    const names = (await fs.readdir(join(this.#root, STAGING))).filter((name) => {
      const owner = readOwner(name)
      return owner?.prefix === prefix && owner.owner === 'gone'
    })
    if (names.length === 0) return
    const used = inUse()
    for (const name of names) {
      if (used.has(name)) continue
      const left = join(this.#root, STAGING, name)
      for (const file of await namesIn(left)) {
        const match = /^([0-9a-f]{16})-([0-9a-f]{64})-(\d+)$/.exec(file)
        if (match === null) continue
        // Somebody else may be adopting the same; each file goes to one of us.
        if (!(await renameIfThere(join(left, file), join(this.path, file)))) continue
        this.#note(match[1] ?? '', { name: file, sha256: match[2] ?? '', bytes: Number(match[3]) })
      }
      await removeTree(left)
    }
  }

  #note(key: string, file: { name: string; sha256: string; bytes: number }): void {
    const there = this.#complete.get(key)
    if (there === undefined) this.#complete.set(key, [file])
    else there.push(file)
  }

  /** A file of this path and content that was sent before. */
  find(path: string, bytes: number, sha256: string): WantedFile | undefined {
    const file = this.#complete
      .get(pathHash(path))
      ?.find((each) => each.sha256 === sha256 && each.bytes === bytes)
    return file === undefined ? undefined : { bytes, sha256, staged: this.#relative(file.name) }
  }

  /** Files of this path and size that were sent before, to be compared by another checksum. */
  candidates(path: string, bytes: number): readonly (WantedFile & { readonly absolute: string })[] {
    const files = this.#complete.get(pathHash(path)) ?? []
    return files
      .filter((file) => file.bytes === bytes)
      .map((file) => ({
        bytes,
        sha256: file.sha256,
        staged: this.#relative(file.name),
        absolute: join(this.path, file.name),
      }))
  }

  /** Receive a stream. @throws IntegrityError it is not what the entry says */
  async receive(content: Readable, entry: FileEntry, options: SendOptions): Promise<WantedFile> {
    const { signal, onBytes } = options
    const part = this.#newPart()
    const sha256 = createHash('sha256')
    const other = entry.checksum?.algorithm === 'md5' ? createHash('md5') : undefined
    let bytes = 0
    // The loop below throws what the stream fails with. This only keeps a failure before it begins from ending the process.
    content.on('error', () => undefined)
    try {
      if (signal !== undefined) addAbortSignal(signal, content)
      const file = await fs.open(part, 'wx', 0o600)
      try {
        for await (const data of content) {
          const chunk = data as Buffer
          sha256.update(chunk)
          other?.update(chunk)
          await file.writev([chunk])
          bytes += chunk.length
          onBytes?.(chunk.length)
        }
        await file.sync()
      } finally {
        await file.close()
      }
    } catch (error) {
      await fs.rm(part, { force: true })
      signal?.throwIfAborted()
      throw error
    } finally {
      content.destroy()
    }
    const hex = sha256.digest('hex')
    return await this.#finish(part, entry, hex, bytes, other?.digest('hex'))
  }

  /** Copy a file of this machine, by a clone where the file system can. @throws IntegrityError */
  async copy(local: string, entry: FileEntry, options: SendOptions): Promise<WantedFile> {
    const { signal, onBytes } = options
    const stats = await fs.stat(local)
    if (!stats.isFile()) throw notAFile(local)
    const part = this.#newPart()
    try {
      if (stats.size <= SMALL_BYTES) {
        signal?.throwIfAborted()
        await fs.copyFile(local, part, fs.constants.COPYFILE_FICLONE | fs.constants.COPYFILE_EXCL)
      } else if (!(await cloned(local, part))) {
        const file = await fs.open(local, 'r')
        return await this.receive(file.createReadStream({ highWaterMark: CHUNK_BYTES }), entry, options)
      }
      await fs.chmod(part, 0o600)
      const { hex, bytes } = await hashFile(part, 'sha256', signal, (chunk) => onBytes?.(chunk.length))
      const md5 = entry.checksum?.algorithm === 'md5' ? (await hashFile(part, 'md5', signal)).hex : undefined
      await syncFile(part)
      return await this.#finish(part, entry, hex, bytes, md5)
    } catch (error) {
      await fs.rm(part, { force: true })
      throw error
    }
  }

  /** A hard link, or a symbolic link to the real path where there can be none. */
  async link(local: string, content: { bytes: number; sha256: string }): Promise<WantedFile> {
    const real = await fs.realpath(local)
    const stats = await fs.stat(real, { bigint: true })
    const name = `link-${this.#parts}`
    this.#parts += 1
    try {
      await fs.link(real, join(this.path, name))
    } catch (error) {
      if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP'].includes(systemErrorCode(error) ?? ''))
        throw error
      await fs.symlink(real, join(this.path, name))
    }
    return { ...content, staged: this.#relative(name), linked: stampOf(stats) }
  }

  #newPart(): string {
    const part = join(this.path, `part-${this.#parts}`)
    this.#parts += 1
    return part
  }

  async #finish(
    part: string,
    entry: FileEntry,
    sha256: string,
    bytes: number,
    md5?: string,
  ): Promise<WantedFile> {
    const { checksum } = entry
    const hex = checksum?.algorithm === 'md5' ? md5 : sha256
    if (bytes !== entry.bytes || (checksum !== undefined && checksum.hex.toLowerCase() !== hex)) {
      await fs.rm(part, { force: true })
      throw new IntegrityError(
        `File ${printable(entry.path)} did not arrive as announced: ${bytes} bytes with ${checksum?.algorithm ?? 'sha256'} ${hex}, expected ${entry.bytes} bytes${checksum === undefined ? '' : ` with ${checksum.hex}`}.`,
        {
          details: {
            path: entry.path,
            bytes,
            expectedBytes: entry.bytes,
            expected: checksum?.hex,
            found: hex,
          },
          hint: 'The file changed while it was sent, or was damaged on the way. Nothing was changed in the archive.',
        },
      )
    }
    const key = pathHash(entry.path)
    const name = this.#resumable ? `${key}-${sha256}-${bytes}` : part.replace(/^.*part-/s, 'file-')
    await fs.rename(part, join(this.path, name))
    if (this.#resumable) this.#note(key, { name, sha256, bytes })
    return { bytes, sha256, staged: this.#relative(name) }
  }

  /** The folder's entries are on the disk. */
  sync(): void {
    syncFolder(this.path)
    syncFolder(join(this.#root, STAGING))
  }

  /** Leave complete files for somebody to go on with. */
  async release(): Promise<void> {
    for (const name of await namesIn(this.path)) {
      if (name.startsWith('part-')) await fs.rm(join(this.path, name), { force: true })
    }
    await renameIfThere(this.path, join(this.#root, STAGING, releasedName(this.#name)))
  }

  async remove(): Promise<void> {
    await removeTree(this.path)
  }
}

/** Remove what dead processes have left. Complete files of broken-off uploads stay for a week. */
export async function sweepStaging(root: string, inUse: InUse): Promise<void> {
  const now = Date.now()
  const left = (await namesIn(join(root, STAGING))).flatMap((name) => {
    const owner = readOwner(name)
    return owner === undefined || owner.owner === 'alive' ? [] : [{ name, owner }]
  })
  const used = left.length === 0 ? new Set<string>() : inUse()
  for (const { name, owner } of left) {
    if (used.has(name)) continue
    const path = join(root, STAGING, name)
    const stats = await statIfThere(path)
    if (stats === undefined) continue
    const ageMs = now - Number(stats.mtimeMs)
    const files = stats.isDirectory() ? await namesIn(path) : []
    const resumable = owner.prefix.startsWith('up-') && files.some((file) => !file.startsWith('part-'))
    if (owner.owner === 'unknown' ? ageMs > FOREIGN_MS : !resumable || ageMs > RESUME_MS) {
      await removeTree(path)
    } else if (owner.owner === 'gone') {
      for (const file of files) if (file.startsWith('part-')) await fs.rm(join(path, file), { force: true })
    }
  }
}

export function notAFile(path: string): InputError {
  return new InputError(`${shownPath(path)} is not a regular file.`, {
    details: { path },
    hint: 'Folders, devices and pipes cannot be put into a resource.',
  })
}

/** A clone shares its blocks with the original: instant, whatever the size. `false`: the file system has none. */
async function cloned(from: string, to: string): Promise<boolean> {
  try {
    await fs.copyFile(from, to, fs.constants.COPYFILE_FICLONE_FORCE | fs.constants.COPYFILE_EXCL)
    return true
  } catch (error) {
    if (['ENOENT', 'EACCES', 'ENOSPC', 'EDQUOT', 'EROFS', 'EIO'].includes(systemErrorCode(error) ?? ''))
      throw error
    await fs.rm(to, { force: true })
    return false
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await fs.readdir(folder)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') return []
    throw error
  }
}

async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await fs.rename(from, to)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}
