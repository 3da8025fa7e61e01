/** Content in pieces of one size, in buffers that are used again: a gigabyte of new ones keeps the collector busy. */

import type { Hash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'

/** OpenSSH takes twice as much in one request; above this size V8 (Node 20) keeps copies for long, and sweeps all the time. */
export const CHUNK_BYTES = 128 * 1024

export class BufferPool {
  readonly #free: Buffer[] = []

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)
  }

  /** @param data - a buffer of this pool, or the beginning of one; nobody looks at it any more */
  give(data: Buffer): void {
    if (data.byteOffset === 0 && data.buffer.byteLength === CHUNK_BYTES)
      this.#free.push(Buffer.from(data.buffer))
  }
}

/** Makes pieces, each in a buffer that it takes. */
export type Chunks = (pool: BufferPool) => AsyncGenerator<Buffer>

/**
 * A file of this machine. A stream over a file handle keeps the handle from being closed; reading it by hand does not.
 *
 * @param from - what comes before is hashed, and left out
 */
export function fileChunks(file: FileHandle, hash: Hash, from: number): Chunks {
  return async function* (pool) {
    for (let position = 0; ;) {
      const buffer = pool.take()
      const wanted = position < from ? Math.min(CHUNK_BYTES, from - position) : CHUNK_BYTES
      const data = buffer.subarray(0, await fill(file, buffer, wanted, position))
      if (data.length === 0) return
      hash.update(data)
      position += data.length
      if (position > from) yield data
      else pool.give(data)
    }
  }
}

async function fill(file: FileHandle, buffer: Buffer, wanted: number, position: number): Promise<number> {
  let filled = 0
  while (filled < wanted) {
    const { bytesRead } = await file.read(buffer, filled, wanted - filled, position + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}

/** @param from - what comes before is hashed, and left out */
export function streamChunks(source: AsyncIterable<Buffer>, hash: Hash | undefined, from: number): Chunks {
  return async function* (pool) {
    let before = from
    let buffer = pool.take()
    let filled = 0
    for await (const piece of source) {
      hash?.update(piece)
      let at = Math.min(before, piece.length)
      before -= at
      while (at < piece.length) {
        const copied = piece.copy(buffer, filled, at)
        at += copied
        filled += copied
        if (filled < CHUNK_BYTES) continue
        yield buffer
        buffer = pool.take()
        filled = 0
      }
    }
    if (filled > 0) yield buffer.subarray(0, filled)
  }
}
