/** Files on their way into a resource: what is there stays, what is sent is verified by listing it back. */

import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  InputError,
  IntegrityError,
  checkFilePath,
  printable,
  type CallOptions,
  type FileEntry,
  type FileSource,
  type UploadOptions,
} from '@orbweaver/core'
import type { ResourceAddress } from '../client/address.js'
import type { XnatClient } from '../client/client.js'
import type { XnatFile } from '../client/listed.js'
import type { BodySource } from '../client/request.js'
import { isOddName } from './download.js'
import { Verifier, checkWhole } from './hashing.js'
import { Progress } from './progress.js'
import { Spool, WHOLE_BYTES, nowhere, readWhole, type SpooledFile } from './spool.js'
import { smallZipOf } from './zip.js'

export interface UploadContext {
  readonly client: XnatClient
  /** For messages: `P/S/E:PDF`. */
  readonly shown: string
  /** The listing, checked to be of this node; empty when there is no such resource. */
  list(options: CallOptions): Promise<readonly XnatFile[]>
  /** The same, begun after this call; may wait for uploads into other resources. Default: `list`. */
  listSent?(options: CallOptions): Promise<readonly XnatFile[]>
  /** It was seen a moment ago that there is no such resource. */
  readonly isNew: boolean
  /** Files that the source does not name stay. Default: the resource becomes what the source is. */
  readonly keepOthers?: boolean
  /** @throws NotFoundError the node itself is not there, and XNAT would not say so */
  nodeExists(options: CallOptions): Promise<void>
}

/** Above this a file is streamed by itself. */
const LARGE_BYTES = 32 * 1024 ** 2
const BATCH_BYTES = 256 * 1024 ** 2
const BATCH_FILES = 5000
/** How often what is missing after an upload is sent again. */
const ROUNDS = 3

/** A file to be sent, and its MD5 once it has been read. */
interface Pending {
  readonly entry: FileEntry
  md5?: string
}

/** As `DataStore.upload`. */
export async function uploadFiles(
  context: UploadContext,
  address: ResourceAddress,
  source: FileSource,
  options: UploadOptions,
): Promise<readonly FileEntry[]> {
  checkSource(source.files)
  const { client } = context
  const call: CallOptions = options.signal === undefined ? {} : { signal: options.signal }
  const listed = context.isNew ? [] : await context.list(call)
  if (listed.length === 0) await context.nodeExists(call)
  const plan = await compare(context, source, listed, call)
  const progress = new Progress(options.onProgress)

  if ((source.files.length === 0 && context.keepOthers !== true) || plan.clear) {
    if (listed.length > 0) await client.deleteResource(address, call)
    if (source.files.length === 0) {
      await client.createResource(address, {}, call)
      return []
    }
  }
  for (const path of plan.deleteFirst) await client.deleteFile(address, path, call)
  await sendAll(context, address, source, plan.send, progress, call)
  for (const path of plan.deleteLast) await client.deleteFile(address, path, call)

  // Nothing to do and nothing done: the listing at hand is the truth.
  const idle = plan.send.length + plan.deleteFirst.length + plan.deleteLast.length === 0 && !plan.clear
  if (idle) return listed.map(toEntry)
  const expected = new Map(source.files.map((entry) => [entry.path, entry]))
  const mine = (files: readonly XnatFile[]): readonly XnatFile[] =>
    context.keepOthers === true ? files.filter(({ path }) => expected.has(path)) : files
  const md5 = new Map(plan.send.map((pending) => [pending.entry.path, pending]))
  for (let round = 1; ; round += 1) {
    const now = await (context.listSent ?? context.list)(call)
    const wrong = differences(expected, md5, mine(now))
    if (wrong.length === 0) return now.map(toEntry)
    if (round >= ROUNDS) throw notStored(context, wrong, now)
    // A catalog that another request changed at the same moment loses entries: what is missing is sent again.
    const again = wrong.flatMap(({ path }) => {
      const entry = expected.get(path)
      return entry === undefined ? [] : [{ entry }]
    })
    for (const { path } of wrong) if (!expected.has(path)) await client.deleteFile(address, path, call)
    await sendAll(context, address, source, again, new Progress(undefined), call)
    for (const pending of again) md5.set(pending.entry.path, pending)
  }
}

export function toEntry({ path, bytes, checksum }: XnatFile): FileEntry {
  return { path, bytes, ...(checksum !== undefined && { checksum }) }
}

/** @throws InputError a path that leaves the resource, is named twice, or is a file and a folder at once */
function checkSource(files: readonly FileEntry[]): void {
  const paths = new Set<string>()
  for (const { path } of files) {
    checkFilePath(path)
    if (paths.has(path)) throw new InputError(`File ${printable(path)} is named twice.`)
    paths.add(path)
  }
  for (const path of paths) {
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
      const folder = path.slice(0, at)
      if (paths.has(folder)) throw new InputError(`${printable(folder)} is both a file and a folder.`)
    }
  }
}

interface UploadPlan {
  readonly send: readonly Pending[]
  /** Removing these hits files that are sent: before. */
  readonly deleteFirst: readonly string[]
  /** The old ones stay until the new ones are there. */
  readonly deleteLast: readonly string[]
  /** Remove the whole resource first. */
  readonly clear: boolean
}

async function compare(
  context: UploadContext,
  source: FileSource,
  listed: readonly XnatFile[],
  options: CallOptions,
): Promise<UploadPlan> {
  const there = new Map(listed.map((file) => [file.path, file]))
  const wanted = new Set(source.files.map(({ path }) => path))
  const gone =
    context.keepOthers === true ? [] : listed.map(({ path }) => path).filter((path) => !wanted.has(path))
  // A file that becomes a folder, or the reverse: the folder stays on the server's disk, so all of it begins anew.
  const folders = new Set(source.files.flatMap(({ path }) => foldersOf(path)))
  const clear =
    gone.some((path) => folders.has(path) || foldersOf(path).some((folder) => wanted.has(folder))) ||
    (gone.length > 0 && gone.length === listed.length) ||
    gone.length > 200
  if (clear) return { send: source.files.map((entry) => ({ entry })), deleteFirst: [], deleteLast: [], clear }

  const send = new Map<string, Pending>()
  const kept: string[] = []
  for (const entry of source.files) {
    options.signal?.throwIfAborted()
    const old = there.get(entry.path)
    if (old !== undefined && (await isSame(context, source, entry, old, options))) kept.push(entry.path)
    else send.set(entry.path, { entry })
  }
  // XNAT removes by prefix. A kept file that would go with another is sent again.
  const deleteFirst: string[] = []
  const deleteLast: string[] = []
  for (const path of gone) {
    const hit = kept.filter((one) => one.startsWith(path))
    for (const one of hit) {
      const entry = source.files.find((file) => file.path === one)
      if (entry !== undefined) send.set(one, { entry })
    }
    const early = hit.length > 0 || [...send.keys()].some((one) => one.startsWith(path))
    ;(early ? deleteFirst : deleteLast).push(path)
  }
  return { send: [...send.values()], deleteFirst, deleteLast, clear: false }
}

function foldersOf(path: string): string[] {
  const folders: string[] = []
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) folders.push(path.slice(0, at))
  return folders
}

async function isSame(
  { shown }: UploadContext,
  source: FileSource,
  entry: FileEntry,
  old: XnatFile,
  options: CallOptions,
): Promise<boolean> {
  if (old.bytes !== entry.bytes || old.checksum === undefined) return false
  if (entry.checksum?.algorithm === 'md5') return entry.checksum.hex.toLowerCase() === old.checksum.hex
  const check = new Verifier(entry, { md5: true, what: `The content for ${shown}` })
  await pipeline(await openSource(source, entry.path, options), check, nowhere(), options)
  return check.sums.md5 === old.checksum.hex
}

async function openSource(source: FileSource, path: string, options: CallOptions): Promise<Readable> {
  const local = source.localPath?.(path)
  if (local === undefined) return await source.open(path, options)
  return createReadStream(local, { highWaterMark: 1024 * 1024 })
}

async function sendAll(
  context: UploadContext,
  address: ResourceAddress,
  source: FileSource,
  pending: readonly Pending[],
  progress: Progress,
  options: CallOptions,
): Promise<void> {
  const small: Pending[] = []
  const single: Pending[] = []
  // XNAT leaves files of this name out when it unpacks: they could be its own.
  const alone = ({ entry }: Pending): boolean =>
    (entry.bytes > LARGE_BYTES && !isOddName(entry.path)) ||
    (/_catalog\.xml$/.test(entry.path) && entry.bytes > 0)
  for (const one of pending) (alone(one) ? single : small).push(one)
  const [only] = small
  if (small.length === 1 && only !== undefined && only.entry.bytes > 0 && !isOddName(only.entry.path)) {
    single.push(only)
    small.length = 0
  }
  for (const batch of batchesOf(small)) {
    await sendZip(context, address, source, batch, progress, options)
  }
  for (const one of single) await sendOne(context, address, source, one, progress, options)
}

function* batchesOf(files: readonly Pending[]): Generator<readonly Pending[]> {
  let batch: Pending[] = []
  let bytes = 0
  for (const one of files) {
    if (batch.length > 0 && (bytes + one.entry.bytes > BATCH_BYTES || batch.length >= BATCH_FILES)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(one)
    bytes += one.entry.bytes
  }
  if (batch.length > 0) yield batch
}

/** Many files as one archive. When the source breaks, what came through before is sent all the same. */
async function sendZip(
  { client, shown }: UploadContext,
  address: ResourceAddress,
  source: FileSource,
  batch: readonly Pending[],
  progress: Progress,
  options: CallOptions,
): Promise<void> {
  const spool = new Spool(shown)
  try {
    const ready: SpooledFile[] = []
    let broken: { readonly error: unknown } | undefined
    for (const one of batch) {
      try {
        const spooled = await spool.take(source, one.entry, options)
        one.md5 = spooled.md5
        ready.push(spooled)
      } catch (error) {
        options.signal?.throwIfAborted()
        broken = { error }
        break
      }
    }
    if (ready.length > 0) {
      const body = await smallZipOf(ready)
      const query = { extract: true, overwrite: true, ...options }
      await client.uploadFile(address, 'orbweaver.zip', body, query)
      for (const { entry } of ready) progress.finish(entry.path, entry.bytes)
    }
    if (broken !== undefined) throw broken.error
  } finally {
    await spool.clear()
  }
}

async function sendOne(
  { client, shown }: UploadContext,
  address: ResourceAddress,
  source: FileSource,
  pending: Pending,
  progress: Progress,
  options: CallOptions,
): Promise<void> {
  const { entry } = pending
  if (entry.bytes <= WHOLE_BYTES) {
    const content = await readWhole(source, entry, options)
    const { md5 } = checkWhole(entry, content, `The content for ${shown}`)
    await client.uploadFile(address, entry.path, content, { overwrite: true, ...options })
    pending.md5 = md5
    progress.finish(entry.path, entry.bytes)
    return
  }
  let check: Verifier | undefined
  const body: BodySource = {
    bytes: entry.bytes,
    async open(moved) {
      progress.begin(entry.path)
      const from = await openSource(source, entry.path, options)
      check = new Verifier(entry, {
        md5: true,
        what: `The content for ${shown}`,
        onBytes: (bytes) => {
          moved()
          progress.moved(entry.path, bytes)
        },
      })
      const to = check
      from.once('error', (error) => to.destroy(error))
      from.once('close', () => {
        if (!from.readableEnded) to.destroy(new IntegrityError(`The content for ${shown} broke off.`))
      })
      to.once('close', () => from.destroy())
      return from.pipe(to)
    },
  }
  await client.uploadFile(address, entry.path, body, { overwrite: true, ...options })
  const md5 = check?.sums.md5
  if (md5 !== undefined) pending.md5 = md5
  progress.finish(entry.path, entry.bytes)
}

interface Difference {
  readonly path: string
  readonly how: string
}

function differences(
  expected: ReadonlyMap<string, FileEntry>,
  sent: ReadonlyMap<string, Pending>,
  listed: readonly XnatFile[],
): Difference[] {
  const there = new Map(listed.map((file) => [file.path, file]))
  const wrong: Difference[] = []
  for (const [path, entry] of expected) {
    const now = there.get(path)
    there.delete(path)
    const md5 = sent.get(path)?.md5
    if (now === undefined) wrong.push({ path, how: 'is missing' })
    else if (now.bytes !== entry.bytes)
      wrong.push({ path, how: `has ${now.bytes} bytes in place of ${entry.bytes}` })
    else if (md5 !== undefined && now.checksum !== undefined && now.checksum.hex !== md5)
      wrong.push({ path, how: 'has another checksum' })
  }
  for (const path of there.keys()) wrong.push({ path, how: 'should be gone' })
  return wrong
}

function notStored(
  { shown }: UploadContext,
  wrong: readonly Difference[],
  listed: readonly XnatFile[],
): IntegrityError {
  const some = wrong.slice(0, 5).map(({ path, how }) => `${printable(path)} ${how}`)
  return new IntegrityError(
    `XNAT does not hold ${shown} as it was sent: ${some.join('; ')}${wrong.length > 5 ? ` and ${wrong.length - 5} more` : ''}.`,
    {
      details: { resource: shown, differences: wrong.length },
      hint:
        listed.length === 0
          ? 'XNAT answers 200 and stores nothing when this user may not write there: check the rights.'
          : "It may be sent again; if this stays, look at the server's disk and logs.",
    },
  )
}
