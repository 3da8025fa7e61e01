/** Files of this machine, as `FileTransfer` promises them. */

import { createHash, randomBytes } from 'node:crypto'
import { constants, type Dirent } from 'node:fs'
import * as fs from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Transform, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pLimit from 'p-limit'
import { InputError, IntegrityError, NotFoundError, systemErrorCode } from '../errors.js'
import type { ChecksumAlgorithm, FileEntry } from '../domain/archive.js'
import type { FileTransfer, ListedFile } from '../ports/transport.js'
import { checkAbsolute, checkContained, onFile } from './file-guards.js'
import { fileError, printablePath } from './system-errors.js'

/** Default of `read` and of each file of `readMany`. */
const MAX_TEXT_BYTES = 4 * 1024 ** 2
/** Up to here a plain copy is over before anybody could want to abort it. */
const COPY_AT_ONCE_BYTES = 16 * 1024 ** 2
const CHUNK_BYTES = 1024 ** 2
const FILES_AT_ONCE = 16

/** Files being written. Never listed: a reader sees whole files only. */
const PART_FILE = /^\.orbweaver-[0-9a-f]{16}\.part$/

/** `FileTransfer` on this machine. New files have mode 0600 and new folders 0700, whatever the umask. */
export function createLocalFiles(): FileTransfer {
  return {
    async mkdir(path, { signal } = {}) {
      await onFile('make the folder', path, signal, () => makeFolder(path))
    },

    async write(path, content, entry, { signal } = {}) {
      try {
        await onFile('write', path, signal, async () => {
          await makeFolder(dirname(path))
          await appear(path, 0o600, (part) => writeStream(part, content, entry, path, signal))
        })
      } finally {
        content.destroy()
      }
    },

    async put(localPath, path, { signal, mode = 0o600 } = {}) {
      checkAbsolute(localPath)
      await onFile('write', path, signal, async () => {
        await makeFolder(dirname(path))
        await appear(path, mode, (part) => copy(localPath, part, signal))
      })
    },

    async get(path, localPath, { signal } = {}) {
      checkAbsolute(path)
      await onFile('write', localPath, signal, async () => {
        await makeFolder(dirname(localPath))
        await appear(localPath, 0o600, (part) => copy(path, part, signal))
      })
    },

    async open(path, { signal } = {}) {
      return await onFile('read', path, signal, async () => {
        const file = await openRegular(path)
        return file.createReadStream({ highWaterMark: CHUNK_BYTES, ...(signal !== undefined && { signal }) })
      })
    },

    async read(path, { signal, maxBytes = MAX_TEXT_BYTES, tail = false } = {}) {
      return await onFile('read', path, signal, () => readText(path, maxBytes, tail))
    },

    async readMany(paths, { signal } = {}) {
      const limit = pLimit(FILES_AT_ONCE)
      const found = new Map<string, string>()
      await Promise.all(
        paths.map((path) =>
          limit(async () => {
            const text = await onFile('read', path, signal, () =>
              missingAs(undefined, () => readText(path, MAX_TEXT_BYTES, false)),
            )
            if (text !== undefined) found.set(path, text)
          }),
        ),
      )
      return found
    },

    async writeAtomic(path, text, { signal, mode = 0o600 } = {}) {
      await onFile('write', path, signal, () =>
        appear(path, mode, async (part) => {
          await fs.writeFile(part, text, { flag: 'wx', mode: 0o600 })
        }),
      )
    },

    async rename(from, to, { signal } = {}) {
      checkAbsolute(to)
      await onFile(`rename to ${printablePath(to)}`, from, signal, () => fs.rename(from, to))
    },

    async list(path, { signal } = {}) {
      const entries = await onFile('list', path, signal, () => listBelow(path, signal))
      return entries.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
    },

    async checksums(path, files, { signal } = {}) {
      checkAbsolute(path)
      const limit = pLimit(4)
      const sums = await Promise.all(
        files.map((file) =>
          limit(async () => {
            const whole = contained(path, file)
            return [
              file,
              await onFile('read', whole, signal, () => hashFile(whole, 'sha256', signal)),
            ] as const
          }),
        ),
      )
      return new Map(sums)
    },

    async exists(path, { signal } = {}) {
      return await onFile('look for', path, signal, () =>
        missingAs(false, async () => {
          await fs.stat(path)
          return true
        }),
      )
    },

    async remove(path, { signal } = {}) {
      checkAbsolute(path)
      const plain = path.replace(/\/+$/, '')
      if (plain === '') throw new InputError('The root of the file system cannot be removed.')
      await onFile('remove', plain, signal, () => removeTree(Buffer.from(plain), signal))
    },

    async freeSpace(path, { signal } = {}) {
      return await onFile('ask for the free space of', path, signal, async () => {
        const { bavail, bsize } = await fs.statfs(path)
        return bavail * bsize
      })
    },

    localPath: (path) => path,
  }
}

/**
 * SHA-256 (or MD5) of a file of this machine, read in pieces.
 *
 * @returns lower-case hex
 */
export async function hashFile(
  path: string,
  algorithm: ChecksumAlgorithm = 'sha256',
  signal?: AbortSignal,
): Promise<string> {
  const hash = createHash(algorithm)
  const file = await openRegular(path)
  await pipeline(
    file.createReadStream({ highWaterMark: CHUNK_BYTES }),
    hash,
    signal === undefined ? {} : { signal },
  )
  return hash.digest('hex')
}

/** Passes a stream on and refuses it in the end when it is not what the entry says. */
export function verifying(entry: FileEntry, path: string): Transform {
  const hash = entry.checksum === undefined ? undefined : createHash(entry.checksum.algorithm)
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer | string, encoding, done) {
      const data = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
      bytes += data.length
      hash?.update(data)
      if (bytes > entry.bytes) done(mismatch(`more than ${entry.bytes} bytes`))
      else done(null, data)
    },
    flush(done) {
      if (bytes !== entry.bytes) done(mismatch(`${bytes} bytes instead of ${entry.bytes}`))
      else if (hash !== undefined && hash.digest('hex') !== entry.checksum?.hex.toLowerCase()) {
        done(mismatch(`another ${entry.checksum?.algorithm ?? ''} checksum than announced`))
      } else done()
    },
  })

  function mismatch(what: string): IntegrityError {
    return new IntegrityError(`Cannot write ${printablePath(path)}: what arrived has ${what}.`, {
      details: { path, expectedBytes: entry.bytes, receivedBytes: bytes },
      hint: 'Nothing was changed there; try the transfer again.',
    })
  }
}

// ---------------------------------------------------------------- pieces

function contained(folder: string, file: string): string {
  checkContained(folder, file)
  return join(folder, file)
}

async function missingAs<T>(instead: T, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || error instanceof NotFoundError) return instead
    throw error
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await fs.mkdir(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    const code = systemErrorCode(error)
    if (code !== 'EEXIST' && code !== 'ENOTDIR') throw error
    throw new InputError(`Cannot make the folder ${printablePath(path)}: a file is in its place.`, {
      details: { path, code },
      cause: error,
      hint: 'Move that file away, or choose another folder.',
    })
  }
}

/** Make a file beside its place, see it safe on the disk, then let it appear. */
async function appear(path: string, mode: number, make: (part: string) => Promise<void>): Promise<void> {
  const part = join(dirname(path), `.orbweaver-${randomBytes(8).toString('hex')}.part`)
  try {
    await make(part)
    const file = await fs.open(part, 'r+')
    try {
      await file.chmod(mode)
      await file.sync()
    } finally {
      await file.close()
    }
    await fs.rename(part, path)
  } catch (error) {
    await fs.rm(part, { force: true })
    throw error
  }
}

async function writeStream(
  part: string,
  content: Readable,
  entry: FileEntry,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const file = await fs.open(part, 'wx', 0o600)
  const sink = file.createWriteStream({ highWaterMark: CHUNK_BYTES })
  await pipeline(content, verifying(entry, path), sink, signal === undefined ? {} : { signal })
}

async function copy(from: string, part: string, signal: AbortSignal | undefined): Promise<void> {
  const source = await openRegular(from).catch((error: unknown) => {
    throw fileError(error, 'read', from, signal)
  })
  try {
    const { size } = await source.stat()
    if (size <= COPY_AT_ONCE_BYTES || (await clone(from, part))) {
      if (size <= COPY_AT_ONCE_BYTES) {
        await fs.copyFile(from, part, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
      }
      // The copy has the mode of its source, which may not be writable.
      await fs.chmod(part, 0o600)
      return
    }
    const sink = (await fs.open(part, 'wx', 0o600)).createWriteStream({ highWaterMark: CHUNK_BYTES })
    const content = source.createReadStream({ highWaterMark: CHUNK_BYTES, autoClose: false })
    await pipeline(content, sink, signal === undefined ? {} : { signal })
  } finally {
    await source.close()
  }
}

/** A clone shares the blocks and takes no time, where the file system can. */
async function clone(from: string, part: string): Promise<boolean> {
  try {
    await fs.copyFile(from, part, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL)
    return true
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EACCES') throw error
    await fs.rm(part, { force: true })
    return false // another file system, or one that cannot
  }
}

/** Never waits for the other end of a pipe, which a job may have left behind. */
async function openRegular(path: string): Promise<fs.FileHandle> {
  const file = await fs.open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const found = await file.stat()
  if (found.isFile()) return file
  await file.close()
  throw new InputError(`Cannot read ${printablePath(path)}: it is not a plain file.`, { details: { path } })
}

async function readText(path: string, maxBytes: number, tail: boolean): Promise<string> {
  const file = await openRegular(path)
  try {
    const { size } = await file.stat()
    const start = tail ? Math.max(0, size - maxBytes) : 0
    const chunks: Buffer[] = []
    let bytes = 0
    // One byte more than allowed tells "exactly full" from "too much"; sizes of files that grow or lie do not matter.
    while (bytes <= maxBytes) {
      const buffer = Buffer.allocUnsafe(Math.min(64 * 1024, maxBytes + 1 - bytes))
      const { bytesRead } = await file.read(buffer, 0, buffer.length, start + bytes)
      if (bytesRead === 0) break
      bytes += bytesRead
      chunks.push(buffer.subarray(0, bytesRead))
    }
    const whole = Buffer.concat(chunks)
    if (whole.length <= maxBytes) return textFrom(whole, start > 0)
    if (tail) return textFrom(whole.subarray(0, maxBytes), start > 0)
    throw new InputError(`Cannot read ${printablePath(path)}: it has more than ${maxBytes} bytes.`, {
      details: { path, maxBytes },
    })
  } finally {
    await file.close()
  }
}

/** A tail may begin in the middle of a character; the rest of that character is left out. */
function textFrom(bytes: Buffer, cutInFront: boolean): string {
  let start = 0
  while (cutInFront && start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++
  return bytes.toString('utf8', start)
}

async function listBelow(root: string, signal: AbortSignal | undefined): Promise<ListedFile[]> {
  const found: ListedFile[] = []
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    signal?.throwIfAborted()
    const inside = folder
    const items = await (inside === ''
      ? missingRoot(root)
      : fs.readdir(join(root, inside), { withFileTypes: true }))
    const listed = await Promise.all(items.map((item) => describeItem(root, inside, item)))
    for (const entry of listed) {
      if (entry === undefined) continue
      found.push(entry)
      if (entry.kind === 'folder') folders.push(entry.path)
    }
  }
  return found
}

async function describeItem(root: string, folder: string, item: Dirent): Promise<ListedFile | undefined> {
  if (PART_FILE.test(item.name)) return undefined
  const path = folder === '' ? item.name : `${folder}/${item.name}`
  if (item.isDirectory()) return { path, bytes: 0, kind: 'folder' }
  if (item.isSymbolicLink()) return { path, bytes: 0, kind: 'link' }
  if (!item.isFile()) return { path, bytes: 0, kind: 'other' }
  const size = await missingAs(undefined, async () => (await fs.lstat(join(root, path))).size)
  if (size !== undefined) return { path, bytes: size, kind: 'file' }
  // A name that is no UTF-8 cannot be asked for again. It is shown, so that nobody takes the folder for empty.
  return item.name.includes('\uFFFD') ? { path, bytes: 0, kind: 'other' } : undefined
}

async function missingRoot(root: string): Promise<Dirent[]> {
  try {
    return await fs.readdir(root, { withFileTypes: true })
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}

/** Paths as bytes: names that are no UTF-8 are removed as well. */
async function removeTree(path: Buffer, signal: AbortSignal | undefined): Promise<void> {
  const found = await missingAs(undefined, () => fs.lstat(path))
  if (found === undefined) return
  if (!found.isDirectory()) {
    await missingAs(undefined, () => fs.unlink(path))
    return
  }
  // A job may have left folders that their owner cannot write to.
  if ((found.mode & 0o700) !== 0o700) await fs.chmod(path, 0o700)
  for (const name of await missingAs([], () => fs.readdir(path, { encoding: 'buffer' }))) {
    signal?.throwIfAborted()
    await removeTree(Buffer.concat([path, Buffer.from('/'), name]), signal)
  }
  await missingAs(undefined, () => fs.rmdir(path))
}
