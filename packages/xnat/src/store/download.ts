/** Files on their way out of XNAT: each compared with the listing before it appears. */

import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  IntegrityError,
  NotFoundError,
  PipelineError,
  StoreUnavailableError,
  checkFilePath,
  isAbort,
  type CallOptions,
  type FileEntry,
  type FileSink,
} from '@orbweaver/core'
import pLimit from 'p-limit'
import yauzl from 'yauzl'
import { onAbort } from '../client/abort.js'
import type { ResourceAddress } from '../client/address.js'
import type { XnatClient } from '../client/client.js'
import { transportError } from '../client/replies.js'
import { THREAD_FROM_BYTES, Verifier } from './hashing.js'
import { Progress } from './progress.js'

export interface DownloadContext {
  readonly client: XnatClient
  /** For messages: `P/S/E:PDF`. */
  readonly shown: string
  /** Bytes of the whole resource, if a listing told lately. */
  readonly totalBytes: number | undefined
  /** Bytes that have come so far. */
  readonly onProgress?: (bytes: number) => void
}

/** With what one download keeps for itself. */
interface Work extends DownloadContext {
  readonly progress: Progress
}

/** From here on one archive is quicker than single files. */
const ZIP_FROM_FILES = 6
const ZIP_MAX_BYTES = 256 * 1024 ** 2
const FILES_AT_ONCE = 4
const TRIES = 4

/** Names that XNAT takes for something else in the path of a file: wildcards, members of archives. */
export function isOddName(path: string): boolean {
  return /[*!]|\[SLASH\]|\[COMMA\]/.test(path)
}

/** As `DataStore.download`. */
export async function downloadFiles(
  context: DownloadContext,
  address: ResourceAddress,
  files: readonly FileEntry[],
  sink: FileSink,
  options: CallOptions,
): Promise<void> {
  for (const { path } of files) checkFilePath(path)
  const work: Work = { ...context, progress: new Progress(context.onProgress) }
  const wanted = new Map(files.map((entry) => [entry.path, entry]))
  const bytes = files.reduce((sum, entry) => sum + entry.bytes, 0)
  const mostOfIt = context.totalBytes === undefined || bytes * 2 >= context.totalBytes
  const asZip =
    bytes <= ZIP_MAX_BYTES &&
    ((files.length >= ZIP_FROM_FILES && mostOfIt) || files.some((f) => isOddName(f.path)))
  if (asZip) await downloadZip(work, address, wanted, sink, options)
  // What is left: all of it, or what the archive named otherwise (XNAT renames folders that look like the scan's id).
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal])
  const limit = pLimit(FILES_AT_ONCE)
  let failed: { readonly error: unknown } | undefined
  await Promise.all(
    [...wanted.values()].map((entry) =>
      limit(async () => {
        if (failed !== undefined) return
        try {
          await downloadOne(work, address, entry, sink, { signal })
        } catch (error) {
          failed ??= { error }
          stop.abort(error)
        }
      }),
    ),
  )
  options.signal?.throwIfAborted()
  if (failed !== undefined) throw failed.error
}

async function downloadOne(
  context: Work,
  address: ResourceAddress,
  entry: FileEntry,
  sink: FileSink,
  options: CallOptions,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    options.signal?.throwIfAborted()
    const body = await context.client.openFile(address, entry.path, options)
    const delivered = await deliver(context, entry, body, sink, options)
    if (delivered === undefined) return
    options.signal?.throwIfAborted()
    // A drop may be over in a moment; content that differs twice is not there.
    const tries = delivered.error instanceof StoreUnavailableError ? TRIES : 2
    if (!(delivered.error instanceof PipelineError) || !delivered.error.retryable || attempt >= tries)
      throw delivered.error
  }
}

/** @returns what was wrong with the content; errors of the sink are thrown */
async function deliver(
  context: Work,
  entry: FileEntry,
  body: Readable,
  sink: FileSink,
  options: CallOptions,
): Promise<{ readonly error: unknown } | undefined> {
  const { progress, shown } = context
  progress.begin(entry.path)
  const check = new Verifier(entry, {
    what: `What came from ${shown}`,
    onBytes: (bytes) => progress.moved(entry.path, bytes),
  })
  let failed: { readonly error: unknown } | undefined
  body.once('error', (error: Error) => {
    failed ??= { error: transportError(error, 'GET', entry.path, new URL(context.client.url).host) }
    check.destroy(error)
  })
  body.once('close', () => {
    if (!body.readableEnded && failed === undefined) {
      const error = new StoreUnavailableError(`The content of ${context.shown} broke off.`)
      failed = { error }
      check.destroy(error)
    }
  })
  check.once('error', (error) => {
    failed ??= { error }
    body.destroy()
  })
  // An abort must not wait for a sink that waits for bytes.
  const forget = onAbort(options.signal, () => check.destroy(options.signal?.reason as Error))
  try {
    await sink.write(entry.path, body.pipe(check), announced(entry), options)
    if (failed === undefined) progress.finish(entry.path, entry.bytes)
    return failed
  } catch (error) {
    options.signal?.throwIfAborted()
    // What the sink reports is often only the echo of what we know better.
    if (failed === undefined) throw error
    return failed
  } finally {
    forget()
    body.destroy()
    check.destroy()
  }
}

/** The end of a large file only comes out when its checksum is right: a sink need not compute it once more. */
function announced(entry: FileEntry): FileEntry {
  return entry.bytes < THREAD_FROM_BYTES ? entry : { path: entry.path, bytes: entry.bytes }
}

/** Takes what it delivered out of `wanted`. */
async function downloadZip(
  context: Work,
  address: ResourceAddress,
  wanted: Map<string, FileEntry>,
  sink: FileSink,
  options: CallOptions,
): Promise<void> {
  const wantedBytes = [...wanted.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  const folder = await mkdtemp(join(tmpdir(), 'orbweaver-xnat-'))
  try {
    const file = join(folder, 'resource.zip')
    for (let attempt = 1; ; attempt += 1) {
      try {
        await fetchZip(context, address, file, wantedBytes, options)
        await readZip(context, address, file, wanted, sink, options)
        return
      } catch (error) {
        options.signal?.throwIfAborted()
        // An empty or missing resource has no archive: the single files tell which is missing.
        if (error instanceof NotFoundError) return
        if (!(error instanceof StoreUnavailableError) || attempt >= TRIES) throw error
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function fetchZip(
  { client, totalBytes, progress }: Work,
  address: ResourceAddress,
  file: string,
  wantedBytes: number,
  options: CallOptions,
): Promise<void> {
  const body = await client.openZip(address, options)
  const most = (totalBytes ?? ZIP_MAX_BYTES) * 2 + 64 * 1024 ** 2
  let bytes = 0
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      progress.ahead(Math.min(bytes, wantedBytes))
      if (bytes > most) done(new IntegrityError('XNAT sends an archive that is far larger than its files.'))
      else done(null, chunk)
    },
  })
  try {
    await pipeline(body, bounded, createWriteStream(file, { mode: 0o600 }), options)
  } catch (error) {
    options.signal?.throwIfAborted()
    throw transportError(error, 'GET', 'zip', new URL(client.url).host)
  }
}

async function readZip(
  context: Work,
  address: ResourceAddress,
  file: string,
  wanted: Map<string, FileEntry>,
  sink: FileSink,
  options: CallOptions,
): Promise<void> {
  const zip = await openZip(file)
  try {
    for await (const member of membersOf(zip)) {
      options.signal?.throwIfAborted()
      // Not decoded: a Buffer, whatever the type says.
      const name = Buffer.from(member.fileName as unknown as Buffer).toString('utf8')
      const path = pathInResource(name, address.resource)
      const entry = path === undefined ? undefined : wanted.get(path)
      if (path === undefined || entry === undefined || member.uncompressedSize !== entry.bytes) continue
      const body = await openMember(zip, member)
      const delivered = await deliver(context, entry, body, sink, options)
      // What is not as listed is asked for alone.
      if (delivered === undefined) wanted.delete(path)
    }
  } finally {
    zip.close()
  }
}

/** The part after `…/resources/LABEL/files/`; XNAT's default layout of archives. */
function pathInResource(name: string, resource: string): string | undefined {
  const marker = `/resources/${resource}/files/`
  const at = `/${name}`.indexOf(marker)
  return at < 0 || name.endsWith('/') ? undefined : `/${name}`.slice(at + marker.length)
}

function openZip(file: string): Promise<yauzl.ZipFile> {
  return new Promise((resolve, reject) => {
    // Names are compared with paths that were checked, never used; yauzl's own check knows drive letters only Windows has.
    yauzl.open(file, { lazyEntries: true, autoClose: false, decodeStrings: false }, (error, zip) => {
      // A stream that broke in the middle was answered with 200 all the same: its directory at the end is missing.
      if (error !== null) reject(brokenZip(error))
      else resolve(zip)
    })
  })
}

function brokenZip(cause: unknown): StoreUnavailableError {
  return new StoreUnavailableError('XNAT sent an archive that broke off.', { cause })
}

async function* membersOf(zip: yauzl.ZipFile): AsyncGenerator<yauzl.Entry> {
  for (;;) {
    const next = await new Promise<yauzl.Entry | undefined>((resolve, reject) => {
      const clear = (): void => {
        zip.off('entry', onEntry)
        zip.off('end', onEnd)
        zip.off('error', onError)
      }
      const onEntry = (entry: yauzl.Entry): void => {
        clear()
        resolve(entry)
      }
      const onEnd = (): void => {
        clear()
        resolve(undefined)
      }
      const onError = (error: unknown): void => {
        clear()
        reject(isAbort(error) ? (error as Error) : brokenZip(error))
      }
      zip.once('entry', onEntry).once('end', onEnd).once('error', onError)
      zip.readEntry()
    })
    if (next === undefined) return
    yield next
  }
}

function openMember(zip: yauzl.ZipFile, member: yauzl.Entry): Promise<Readable> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(member, (error, stream) => {
      if (error !== null) reject(brokenZip(error))
      else resolve(stream)
    })
  })
}
