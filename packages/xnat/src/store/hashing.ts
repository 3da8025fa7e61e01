/** Bytes on their way are counted and hashed; the last of them are held back until they are proven. */

import { createHash, type Hash } from 'node:crypto'
import { Transform, type TransformCallback } from 'node:stream'
import { crc32 } from 'node:zlib'
import { IntegrityError, printable, type FileEntry } from '@orbweaver/core'
import { ThreadHash } from './thread-hash.js'

export interface VerifierOptions {
  /** Also compute MD5, which XNAT lists. */
  readonly md5?: boolean
  /** Also compute the checksum of zip archives. */
  readonly crc32?: boolean
  readonly onBytes?: (bytes: number) => void
  /** Completes "… has other content": `The file "a" of P/S/E:PDF`. */
  readonly what: string
}

export interface Sums {
  readonly md5: string
  readonly crc32: number
}

/** As {@link Verifier}, for content that is in memory. @throws IntegrityError it is not what was announced */
export function checkWhole(entry: FileEntry, content: Buffer, what: string): Sums {
  const { bytes, checksum } = entry
  if (content.length !== bytes) {
    const how =
      content.length > bytes ? `more than ${bytes} bytes` : `${content.length} bytes in place of ${bytes}`
    throw notAsAnnounced(entry, what, how, content.length)
  }
  const md5 = createHash('md5').update(content).digest('hex')
  if (checksum !== undefined) {
    const { algorithm, hex } = checksum
    const sum = algorithm === 'md5' ? md5 : createHash(algorithm).update(content).digest('hex')
    if (sum !== hex.toLowerCase()) {
      throw notAsAnnounced(entry, what, `another ${algorithm} checksum`, content.length)
    }
  }
  return { md5, crc32: crc32(content) }
}

function notAsAnnounced(
  { path, bytes }: FileEntry,
  what: string,
  how: string,
  cameBytes: number,
): IntegrityError {
  return new IntegrityError(`${what} is not what was announced: ${printable(path)} has ${how}.`, {
    details: { path, expectedBytes: bytes, bytes: cameBytes },
    hint: 'Nothing of it was kept.',
  })
}

/** From here on a thread is worth its start. */
export const THREAD_FROM_BYTES = 32 * 1024 ** 2

/**
 * Lets through what was announced. The last piece comes out only when size and checksum are right, so that whoever reads to
 * the end has the true content, and nobody else gets an end.
 */
export class Verifier extends Transform {
  readonly #entry: FileEntry
  readonly #options: VerifierOptions
  readonly #hashes = new Map<string, Hash>()
  readonly #thread: ThreadHash | undefined
  #bytes = 0
  #held: Buffer | undefined
  #md5: string | undefined
  #crc32 = 0

  constructor(entry: FileEntry, options: VerifierOptions) {
    super({ highWaterMark: 1024 * 1024 })
    this.#entry = entry
    this.#options = options
    const algorithms = new Set<string>(options.md5 === true ? ['md5'] : [])
    if (entry.checksum !== undefined) algorithms.add(entry.checksum.algorithm)
    if (algorithms.size > 0 && entry.bytes >= THREAD_FROM_BYTES)
      this.#thread = new ThreadHash([...algorithms])
    else for (const algorithm of algorithms) this.#hashes.set(algorithm, createHash(algorithm))
  }

  /** Of all, once it has ended well and where they were asked for. */
  get sums(): { readonly md5: string | undefined; readonly crc32: number } {
    return { md5: this.#md5, crc32: this.#crc32 }
  }

  override _transform(chunk: Buffer | string, encoding: BufferEncoding, done: TransformCallback): void {
    const data = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
    this.#bytes += data.length
    this.#options.onBytes?.(data.length)
    if (this.#bytes > this.#entry.bytes) {
      done(this.#wrong(`more than ${this.#entry.bytes} bytes`))
      return
    }
    for (const hash of this.#hashes.values()) hash.update(data)
    if (this.#options.crc32 === true) this.#crc32 = crc32(data, this.#crc32)
    const before = this.#held
    this.#held = data
    const next = (): void => {
      if (before === undefined) done()
      else done(null, before)
    }
    if (this.#thread === undefined) next()
    else this.#thread.update(data).then(next, done)
  }

  override _flush(done: TransformCallback): void {
    const { bytes } = this.#entry
    if (this.#bytes !== bytes) {
      done(this.#wrong(`${this.#bytes} bytes in place of ${bytes}`))
      return
    }
    if (this.#thread !== undefined) {
      this.#thread.digest().then(
        (sums) => this.#finish(sums, done),
        (error: unknown) => done(error as Error),
      )
      return
    }
    this.#finish(
      Object.fromEntries([...this.#hashes].map(([name, hash]) => [name, hash.digest('hex')])),
      done,
    )
  }

  #finish(sums: Readonly<Record<string, string>>, done: TransformCallback): void {
    const { checksum } = this.#entry
    if (checksum !== undefined && sums[checksum.algorithm] !== checksum.hex.toLowerCase()) {
      done(this.#wrong(`another ${checksum.algorithm} checksum`))
      return
    }
    this.#md5 = sums.md5
    if (this.#held !== undefined && this.#held.length > 0) this.push(this.#held)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const closed = this.#thread?.close() ?? Promise.resolve()
    closed.then(
      () => done(error),
      (failed: unknown) => done(error ?? (failed as Error)),
    )
  }

  #wrong(how: string): IntegrityError {
    return notAsAnnounced(this.#entry, this.#options.what, how, this.#bytes)
  }
}
