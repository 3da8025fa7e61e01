/** Files on their way out: every byte is compared with what was listed. */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import * as fs from 'node:fs/promises'
import { Transform } from 'node:stream'
import {
  IntegrityError,
  NotFoundError,
  checkFilePath,
  formatResourceRef,
  printable,
  sameContent,
  systemErrorCode,
  type CallOptions,
  type FileEntry,
  type FileSink,
  type ResourceRef,
} from '@orbweaver/core'
import type { Content, FileRow } from './content.js'
import { CHUNK_BYTES, hashFile, stampOf } from './file-system.js'
import { toFileEntry } from './rows.js'
import { storeError } from './store-errors.js'

/** As {@link DataStore.download}; labels have been checked. */
export async function downloadFiles(
  content: Content,
  ref: ResourceRef,
  files: readonly FileEntry[],
  sink: FileSink,
  options: CallOptions,
): Promise<void> {
  const { signal } = options
  for (const { path } of files) checkFilePath(path)
  let resource = content.locate(ref)
  for (const entry of files) {
    signal?.throwIfAborted()
    const deliver = async (): Promise<void> => {
      const row = resource.rows.get(entry.path)
      if (row === undefined) throw noSuchFile(ref, entry)
      if (!sameContent(entry, toFileEntry(row))) throw changedSince(ref, entry, row)
      await deliverFile(ref, entry, row, resource.place(entry.path), sink, options)
    }
    try {
      await deliver()
    } catch (error) {
      signal?.throwIfAborted()
      // Another process may have replaced the file, or moved it into place, since we looked: look again, once.
      if (!(error instanceof IntegrityError) && !isMissingSource(error)) throw error
      resource = content.locate(ref)
      await deliver().catch((again: unknown) => {
        signal?.throwIfAborted()
        throw isMissingSource(again) ? missingFile(ref, entry, again) : again
      })
    }
  }
}

/** The archive's own file was not there; a sink that misses a folder of its own is another matter. */
class MissingSource extends Error {}

function isMissingSource(error: unknown): boolean {
  return error instanceof MissingSource
}

async function deliverFile(
  ref: ResourceRef,
  entry: FileEntry,
  row: FileRow,
  place: string,
  sink: FileSink,
  options: CallOptions,
): Promise<void> {
  const { signal } = options
  const before = await statSource(place)
  if (sink.copyFrom !== undefined) {
    // The sink copies by itself: check the content first, and afterwards that it is still the file that was checked.
    const { hex, bytes } = await reading(place, hashFile(place, 'sha256', signal))
    checkContent(ref, row, hex, bytes)
    await sink.copyFrom(entry.path, place, options)
    if ((await statSource(place)) !== before) throw changedWhileRead(ref, row)
    return
  }
  const digest = createHash('sha256')
  let bytes = 0
  const check = new Transform({
    highWaterMark: CHUNK_BYTES,
    transform(chunk: Buffer, _encoding, done) {
      digest.update(chunk)
      bytes += chunk.length
      done(null, chunk)
    },
    // Before the sink sees the end: a file that is not what was listed never appears whole.
    flush(done) {
      try {
        checkContent(ref, row, digest.digest('hex'), bytes)
        done()
      } catch (error) {
        done(error as Error)
      }
    },
  })
  const file = createReadStream(place, { highWaterMark: CHUNK_BYTES })
  let failed: unknown
  const fail = (error: Error): void => {
    failed ??= error
    check.destroy(error)
  }
  const abort = (): void => fail(signal?.reason as Error)
  signal?.addEventListener('abort', abort, { once: true })
  file.on('error', fail)
  check.on('error', (error) => {
    failed ??= error
    file.destroy()
  })
  try {
    await sink.write(entry.path, file.pipe(check), entry, options)
    if (failed !== undefined) throw asError(failed)
  } catch (error) {
    // What the sink reports is often only the echo of what we know better.
    const cause = failed ?? error
    if (systemErrorCode(cause) === 'ENOENT' && failed === cause) throw new MissingSource(place, { cause })
    throw failed === undefined ? error : storeError(failed, 'read', place)
  } finally {
    signal?.removeEventListener('abort', abort)
    file.destroy()
    check.destroy()
  }
}

const asError = (value: unknown): Error => (value instanceof Error ? value : new Error(String(value)))

async function statSource(place: string): Promise<string> {
  return stampOf(await reading(place, fs.stat(place, { bigint: true })))
}

async function reading<T>(place: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? ''))
      throw new MissingSource(place, { cause: error })
    throw storeError(error, 'read', place)
  }
}

function checkContent(ref: ResourceRef, row: FileRow, sha256: string, bytes: number): void {
  if (bytes === row.bytes && sha256 === row.sha256) return
  throw new IntegrityError(
    `${describe(ref, row.path)} is not what the archive recorded: ${bytes} bytes with sha256 ${sha256}, recorded ${row.bytes} bytes with ${row.sha256}.`,
    {
      details: { resource: formatResourceRef(ref), path: row.path, bytes, sha256, recorded: row.sha256 },
      hint:
        row.linked === null
          ? 'The file was changed in the archive folder. Import or upload it again, or restore it from a backup.'
          : 'The file is linked, and was changed where it comes from. Import it again to take the new content.',
    },
  )
}

function noSuchFile(ref: ResourceRef, entry: FileEntry): NotFoundError {
  return new NotFoundError(`${describe(ref, entry.path)} is not in the archive.`, {
    details: { resource: formatResourceRef(ref), path: entry.path },
    hint: 'List the files again: it may have been removed since.',
  })
}

function changedSince(ref: ResourceRef, entry: FileEntry, row: FileRow): IntegrityError {
  return new IntegrityError(
    `${describe(ref, entry.path)} changed since it was listed: it now has ${row.bytes} bytes and sha256 ${row.sha256}.`,
    { details: { resource: formatResourceRef(ref), path: entry.path }, hint: 'List the files again.' },
  )
}

function changedWhileRead(ref: ResourceRef, row: FileRow): IntegrityError {
  return new IntegrityError(`${describe(ref, row.path)} changed while it was copied.`, {
    details: { resource: formatResourceRef(ref), path: row.path },
  })
}

function missingFile(ref: ResourceRef, entry: FileEntry, cause: unknown): IntegrityError {
  return new IntegrityError(`${describe(ref, entry.path)} is listed, but not in the archive folder.`, {
    cause,
    details: { resource: formatResourceRef(ref), path: entry.path },
    hint: 'It was removed by hand, or its link leads nowhere. Import or upload it again.',
  })
}

const describe = (ref: ResourceRef, path: string): string =>
  `File ${printable(path)} of ${printable(formatResourceRef(ref))}`
