/** Small files gathered on this machine before they are sent: checked, and ready to be sent twice. */

import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { CallOptions, FileEntry, FileSource } from '@orbweaver/core'
import { Verifier, checkWhole, type Sums } from './hashing.js'

/** Up to here a file is read whole: streams would cost more than the file. */
export const WHOLE_BYTES = 256 * 1024
/** Of all files together that a spool keeps in memory. */
const KEPT_BYTES = 8 * 1024 ** 2

/** One file that is ready. */
export interface SpooledFile extends Sums {
  readonly entry: FileEntry
  /** In memory, or the path on this machine of what does not change until the spool is cleared. */
  readonly content: Buffer | string
}

export class Spool {
  readonly #shown: string
  #folder: Promise<string> | undefined
  #count = 0
  #keptBytes = 0

  constructor(shown: string) {
    this.#shown = shown
  }

  /** @throws IntegrityError the content is not what was announced */
  async take(source: FileSource, entry: FileEntry, options: CallOptions): Promise<SpooledFile> {
    const what = `The content for ${this.#shown}`
    if (entry.bytes <= WHOLE_BYTES && this.#keptBytes + entry.bytes <= KEPT_BYTES) {
      const content = await readWhole(source, entry, options)
      this.#keptBytes += content.length
      return { entry, content, ...checkWhole(entry, content, what) }
    }
    const check = new Verifier(entry, { md5: true, crc32: true, what })
    const local = source.localPath?.(entry.path)
    this.#count += 1
    const path = local ?? join(await this.#place(), String(this.#count))
    if (local === undefined) {
      const content = await source.open(entry.path, options)
      await pipeline(content, check, createWriteStream(path, { mode: 0o600 }), options)
    } else {
      await pipeline(createReadStream(local), check, nowhere(), options)
    }
    const { md5, crc32 } = check.sums
    return { entry, content: path, md5: md5 ?? '', crc32 }
  }

  async #place(): Promise<string> {
    return await (this.#folder ??= mkdtemp(join(tmpdir(), 'orbweaver-xnat-')))
  }

  /** Nothing of it is left on this machine. */
  async clear(): Promise<void> {
    if (this.#folder !== undefined) await rm(await this.#folder, { recursive: true, force: true })
  }
}

/** At most one byte more than announced: enough to see that there is more. */
export async function readWhole(source: FileSource, entry: FileEntry, options: CallOptions): Promise<Buffer> {
  options.signal?.throwIfAborted()
  const local = source.localPath?.(entry.path)
  if (local === undefined) return await collect(source, entry, options)
  const buffer = Buffer.allocUnsafe(entry.bytes + 1)
  const file = await open(local, 'r')
  try {
    let length = 0
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return buffer.subarray(0, length)
  } finally {
    await file.close()
  }
}

async function collect(source: FileSource, entry: FileEntry, options: CallOptions): Promise<Buffer> {
  const pieces: Buffer[] = []
  let bytes = 0
  const keep = new Writable({
    write(piece: Buffer, _encoding, done) {
      if (bytes <= entry.bytes) pieces.push(piece)
      bytes += piece.length
      done()
    },
  })
  await pipeline(await source.open(entry.path, options), keep, options)
  return Buffer.concat(pieces)
}

/** Takes everything and keeps nothing. */
export function nowhere(): Writable {
  return new Writable({
    write(_chunk, _encoding, done) {
      done()
    },
  })
}
