/**
 * An archive whose size is known before it is made, and that a reader of streams can unpack. XNAT reads uploads with Java's
 * `ZipInputStream`, which refuses stored entries with a data descriptor: sizes and checksums must stand before the content.
 */

import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { IntegrityError } from '@orbweaver/core'
import type { BodySource } from '../client/request.js'
import type { SpooledFile } from './spool.js'

/** PKWARE APPNOTE 6.3, 4.3.7, 4.3.12, 4.3.16. */
const LOCAL_BYTES = 30
const CENTRAL_BYTES = 46
const END_BYTES = 22
const UTF8_NAMES = 0x0800
const VERSION = 20
const MADE_ON_UNIX = 3 << 8
const PLAIN_FILE = 0o100644
/** 2020-01-01 00:00; XNAT keeps times of its own. */
const DOS_DATE = ((2020 - 1980) << 9) | (1 << 5) | 1
/** Larger ones would need other headers; the caller makes several archives. */
export const MAX_ZIP_BYTES = 2 ** 31
export const MAX_ZIP_FILES = 60_000
const SMALL_ZIP_BYTES = 1024 ** 2

/** The files as one archive, not compressed; can be opened again. */
export function zipOf(files: readonly SpooledFile[]): BodySource {
  const content = files.reduce((sum, { entry }) => sum + entry.bytes, 0)
  if (content > MAX_ZIP_BYTES || files.length > MAX_ZIP_FILES)
    throw new RangeError('too much for one archive')
  const bytes = files.reduce(
    (sum, { entry }) => sum + entry.bytes + LOCAL_BYTES + CENTRAL_BYTES + 2 * Buffer.byteLength(entry.path),
    END_BYTES,
  )
  return { bytes, open: (moved) => Readable.from(pieces(files, moved), { objectMode: false }) }
}

/** The same in one piece, where it is small: one write in place of a stream. */
export async function smallZipOf(files: readonly SpooledFile[]): Promise<Buffer | BodySource> {
  const body = zipOf(files)
  const inMemory = files.every(({ content }) => Buffer.isBuffer(content))
  if (!inMemory || body.bytes === undefined || body.bytes > SMALL_ZIP_BYTES) return body
  const all: Buffer[] = []
  for await (const piece of pieces(files, () => undefined)) all.push(piece)
  return Buffer.concat(all)
}

async function* pieces(files: readonly SpooledFile[], moved: () => void): AsyncGenerator<Buffer> {
  const directory: Buffer[] = []
  let offset = 0
  for (const file of files) {
    const name = Buffer.from(file.entry.path, 'utf8')
    const head = Buffer.concat([localHeader(file, name), name])
    yield head
    let read = 0
    for await (const chunk of contentOf(file)) {
      read += chunk.length
      moved()
      yield chunk
    }
    if (read !== file.entry.bytes) {
      throw new IntegrityError(`${file.entry.path} changed while it was sent.`, {
        details: { path: file.entry.path, bytes: read, expectedBytes: file.entry.bytes },
      })
    }
    directory.push(centralHeader(file, name, offset), name)
    offset += head.length + read
  }
  const central = Buffer.concat(directory)
  yield Buffer.concat([central, endRecord(files.length, central.length, offset)])
}

async function* contentOf({ content }: SpooledFile): AsyncGenerator<Buffer> {
  if (Buffer.isBuffer(content)) yield content
  else yield* createReadStream(content, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>
}

function localHeader({ entry, crc32 }: SpooledFile, name: Buffer): Buffer {
  const head = Buffer.alloc(LOCAL_BYTES)
  head.writeUInt32LE(0x04034b50, 0)
  head.writeUInt16LE(VERSION, 4)
  head.writeUInt16LE(UTF8_NAMES, 6)
  head.writeUInt16LE(DOS_DATE, 12)
  head.writeUInt32LE(crc32, 14)
  head.writeUInt32LE(entry.bytes, 18)
  head.writeUInt32LE(entry.bytes, 22)
  head.writeUInt16LE(name.length, 26)
  return head
}

function centralHeader({ entry, crc32 }: SpooledFile, name: Buffer, offset: number): Buffer {
  const head = Buffer.alloc(CENTRAL_BYTES)
  head.writeUInt32LE(0x02014b50, 0)
  head.writeUInt16LE(MADE_ON_UNIX | VERSION, 4)
  head.writeUInt16LE(VERSION, 6)
  head.writeUInt16LE(UTF8_NAMES, 8)
  head.writeUInt16LE(DOS_DATE, 14)
  head.writeUInt32LE(crc32, 16)
  head.writeUInt32LE(entry.bytes, 20)
  head.writeUInt32LE(entry.bytes, 24)
  head.writeUInt16LE(name.length, 28)
  head.writeUInt32LE(PLAIN_FILE * 0x10000, 38)
  head.writeUInt32LE(offset, 42)
  return head
}

function endRecord(files: number, centralBytes: number, offset: number): Buffer {
  const end = Buffer.alloc(END_BYTES)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(files, 8)
  end.writeUInt16LE(files, 10)
  end.writeUInt32LE(centralBytes, 12)
  end.writeUInt32LE(offset, 16)
  return end
}
