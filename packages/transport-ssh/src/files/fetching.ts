/** Files on their way here: they appear whole, compared with what is there, or not at all. */

import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileError, systemErrorCode } from '@orbweaver/core'
import { BufferPool, CHUNK_BYTES } from './chunks.js'
import type { RemoteContent } from './content.js'
import { KEPT_BYTES, firmBytes, takePart } from './parts.js'
import { differs, good, isCutOff } from './problems.js'
import { LONG_MS, type RemoteShell } from './remote-shell.js'
import { NO_PROGRAM, SUM_SCRIPT } from './scripts.js'

/** Pieces that are on their way to the disk at once. */
const WRITES_AT_ONCE = 8
/** So often the disk is told to begin: at the end there is less to wait for. */
const SYNC_BYTES = 128 * 1024 ** 2

/** A file that changes under the hand is read once more before anybody is told. */
export async function fetchFile(
  shell: RemoteShell,
  content: RemoteContent,
  path: string,
  localPath: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const found = await content.look(path, signal)
    const isLarge = found !== undefined && found.bytes >= KEPT_BYTES
    const identity = isLarge ? [path, found.bytes, found.modified].join(' ') : undefined
    const part = takePart(localPath, 'here', identity)
    const hash = createHash('sha256')
    const stop = new AbortController()
    const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
    try {
      const sum = remoteSum(shell, path, both)
      const stored = store(content, path, found?.bytes, hash, part, localPath, both)
      const [expected] = await Promise.all([sum, stored]).catch(async (error: unknown) => {
        // Neither of the two goes on alone.
        stop.abort(error)
        await Promise.allSettled([sum, stored])
        throw error
      })
      if (expected === undefined || expected === hash.digest('hex')) {
        await rename(part.path, localPath).catch((error: unknown) => {
          throw fileError(error, 'write', localPath, signal)
        })
        return
      }
      await rm(part.path, { force: true })
      if (tries >= 2) throw differs(path)
    } catch (error) {
      if (!part.isKept || !isCutOff(error, signal)) await rm(part.path, { force: true })
      throw error
    } finally {
      part.release()
    }
  }
}

async function store(
  content: RemoteContent,
  path: string,
  bytes: number | undefined,
  hash: Hash,
  part: { readonly path: string; readonly isKept: boolean },
  localPath: string,
  signal: AbortSignal,
): Promise<void> {
  const here = async <T>(action: () => Promise<T>): Promise<T> => {
    try {
      return await action()
    } catch (error) {
      throw fileError(error, 'write', localPath, signal)
    }
  }
  const kept = part.isKept ? await here(() => openKept(part.path)) : undefined
  let file = kept
  try {
    const from = kept === undefined ? 0 : await here(() => beginning(kept, bytes ?? 0, hash))
    const pool = new BufferPool()
    // Opened first: where there is nothing to read, nothing is made here.
    const pieces = await content.pieces(path, { bytes, from, pool }, signal)
    try {
      await here(() => mkdir(dirname(part.path), { recursive: true, mode: 0o700 }))
      const target = (file ??= await here(() => open(part.path, 'wx', 0o600)))
      const writer = new DiskWriter(target, from, pool)
      try {
        for await (const data of pieces) {
          signal.throwIfAborted()
          hash.update(data)
          await here(() => writer.write(data))
        }
      } finally {
        await here(() => writer.end())
      }
      await here(() => target.sync())
    } finally {
      await pieces.return(undefined)
    }
  } finally {
    await file?.close()
  }
}

/** What an earlier process left of the file. */
async function openKept(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Hashes what is there already, as far as it is relied on. @returns its length */
async function beginning(file: FileHandle, bytes: number, hash: Hash): Promise<number> {
  const { size } = await file.stat()
  if (size > bytes) {
    await file.truncate(0)
    return 0
  }
  const end = firmBytes(size)
  const buffer = Buffer.allocUnsafe(4 * CHUNK_BYTES)
  let position = 0
  while (position < end) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - position), position)
    if (bytesRead === 0) break
    hash.update(buffer.subarray(0, bytesRead))
    position += bytesRead
  }
  return position
}

/** Writes pieces at their places while the next ones come in. */
class DiskWriter {
  readonly #file: FileHandle
  readonly #pool: BufferPool
  readonly #pending = new Set<Promise<void>>()
  #position: number
  #synced: number
  #syncing: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  constructor(file: FileHandle, from: number, pool: BufferPool) {
    this.#file = file
    this.#position = from
    this.#synced = from
    this.#pool = pool
  }

  async write(data: Buffer): Promise<void> {
    while (this.#pending.size >= WRITES_AT_ONCE) await Promise.race(this.#pending)
    this.#check()
    const position = this.#position
    this.#position += data.length
    const written = this.#put(data, position)
      .catch((error: unknown) => void (this.#failure ??= { error }))
      .finally(() => this.#pending.delete(written))
    this.#pending.add(written)
    if (this.#position - this.#synced >= SYNC_BYTES && this.#syncing === undefined) {
      this.#synced = this.#position
      this.#syncing = this.#file
        .datasync()
        .catch((error: unknown) => void (this.#failure ??= { error }))
        .finally(() => (this.#syncing = undefined))
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.#pending)
    await this.#syncing
    this.#check()
  }

  async #put(data: Buffer, position: number): Promise<void> {
    for (let at = 0; at < data.length;) {
      const { bytesWritten } = await this.#file.write(data, at, data.length - at, position + at)
      at += bytesWritten
    }
    this.#pool.give(data)
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }
}

/** Undefined: nobody there can tell. */
async function remoteSum(
  shell: RemoteShell,
  path: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const result = await shell.run(SUM_SCRIPT, [path], { signal, timeoutMs: LONG_MS })
  return result.exitCode === NO_PROGRAM ? undefined : good(result).stdout.toString('latin1', 0, 64)
}
