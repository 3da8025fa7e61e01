/** Bytes of files on disk, under one folder. A file appears whole or not at all. */

import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { Transform, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { randomUUID } from 'node:crypto'

/** A file received, not yet in its place. */
export interface Received {
  readonly temporary: string
  readonly bytes: number
  /** MD5, lower case. */
  readonly digest: string
}

export class Blobs {
  /** @param root - `archive` and `tmp` are made below it */
  private constructor(readonly root: string) {}

  static async open(root: string): Promise<Blobs> {
    await mkdir(join(root, 'archive'), { recursive: true, mode: 0o700 })
    // What an earlier process was receiving when it ended is nobody's.
    await rm(join(root, 'tmp'), { recursive: true, force: true })
    await mkdir(join(root, 'tmp'), { recursive: true, mode: 0o700 })
    return new Blobs(root)
  }

  get archiveFolder(): string {
    return join(this.root, 'archive')
  }

  temporaryFile(): string {
    return join(this.root, 'tmp', randomUUID())
  }

  /** @throws what the source throws; then nothing is left behind */
  async receive(source: Readable, options: { readonly signal?: AbortSignal } = {}): Promise<Received> {
    const temporary = this.temporaryFile()
    const hash = createHash('md5')
    let bytes = 0
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk)
        bytes += chunk.length
        done(undefined, chunk)
      },
    })
    try {
      await pipeline(source, meter, createWriteStream(temporary, { mode: 0o600 }), { ...options })
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
    return { temporary, bytes, digest: hash.digest('hex') }
  }

  async discard(received: Received): Promise<void> {
    await rm(received.temporary, { force: true })
  }

  /**
   * @param folder - of the resource, below the archive
   * @param path - within the resource, already checked
   * @returns time of last change as the file system keeps it
   */
  async place(received: Received, folder: string, path: string): Promise<number> {
    const target = this.path(folder, path)
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    await rename(received.temporary, target)
    return (await stat(target)).mtimeMs
  }

  /** Where a file of a resource is. @throws RangeError the path leaves the folder */
  path(folder: string, path = ''): string {
    const base = join(this.archiveFolder, folder)
    const target = path === '' ? base : join(base, path)
    const inside = relative(this.archiveFolder, target)
    if (inside.startsWith('..') || inside === '') throw new RangeError(`path leaves the archive: ${path}`)
    return target
  }

  /** Unlike an open by name, what is open stays readable when the file is replaced. */
  async read(folder: string, path: string): Promise<{ readonly stream: Readable; readonly bytes: number }> {
    const handle = await open(this.path(folder, path), 'r')
    const { size } = await handle.stat()
    return { stream: handle.createReadStream(), bytes: size }
  }

  async removeFile(folder: string, path: string): Promise<void> {
    const target = this.path(folder, path)
    await rm(target, { force: true })
    const base = this.path(folder)
    for (let at = dirname(target); at.startsWith(`${base}${sep}`); at = dirname(at)) {
      try {
        await rmdir(at)
      } catch {
        return // not empty
      }
    }
  }

  async removeFolder(folder: string): Promise<void> {
    await rm(this.path(folder), { recursive: true, force: true })
  }

  /** Files on disk below a resource's folder, with `/`. */
  async list(folder: string): Promise<readonly string[]> {
    const base = this.path(folder)
    const entries = await readdir(base, { recursive: true, withFileTypes: true }).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return []
        throw error
      },
    )
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => relative(base, join(entry.parentPath, entry.name)).split(sep).join('/'))
  }

  /** Size, digest and time of what is on disk; undefined: nothing is. */
  async measure(
    folder: string,
    path: string,
  ): Promise<{ bytes: number; digest: string; mtimeMs: number } | undefined> {
    const file = this.path(folder, path)
    try {
      const { size, mtimeMs } = await stat(file)
      const hash = createHash('md5')
      await pipeline(createReadStream(file), hash)
      return { bytes: size, digest: hash.digest('hex'), mtimeMs }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }
}

/** @returns what is wrong with the path of a file within a resource, or undefined */
export function pathProblem(path: string): string | undefined {
  if (path === '') return 'empty path'
  if (path.includes('\0')) return 'NUL in path'
  const parts = path.split('/')
  if (parts.some((part) => part === '..' || part === '.' || part === '')) return `illegal path: ${path}`
  if (parts.some((part) => Buffer.byteLength(part) > 255)) return `name too long: ${path}`
  return undefined
}
