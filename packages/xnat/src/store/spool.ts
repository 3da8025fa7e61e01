/** Small files gathered on this machine before they are sent: checked, and ready to be sent twice. */

import { createReadStream, createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { CallOptions, FileEntry, FileSource } from '@orbweaver/core'
import { Verifier } from './hashing.js'

/** One file that is ready. */
export interface SpooledFile {
  readonly entry: FileEntry
  /** On this machine; not changed until the spool is cleared. */
  readonly path: string
  readonly md5: string
  readonly crc32: number
}

export class Spool {
  readonly #folder: string
  readonly #shown: string
  #count = 0

  /** @param folder - empty, for this spool alone; the caller removes it */
  constructor(folder: string, shown: string) {
    this.#folder = folder
    this.#shown = shown
  }

  /** @throws IntegrityError the content is not what was announced */
  async take(source: FileSource, entry: FileEntry, options: CallOptions): Promise<SpooledFile> {
    const check = new Verifier(entry, { md5: true, crc32: true, what: `The content for ${this.#shown}` })
    const local = source.localPath?.(entry.path)
    this.#count += 1
    const path = local ?? join(this.#folder, String(this.#count))
    if (local === undefined) {
      const content = await source.open(entry.path, options)
      await pipeline(content, check, createWriteStream(path, { mode: 0o600 }), options)
    } else {
      await pipeline(createReadStream(local), check, nowhere(), options)
    }
    const { md5, crc32 } = check.sums
    return { entry, path, md5: md5 ?? '', crc32 }
  }
}

/** Takes everything and keeps nothing. */
export function nowhere(): Writable {
  return new Writable({
    write(_chunk, _encoding, done) {
      done()
    },
  })
}
