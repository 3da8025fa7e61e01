/** Files of the far side, as `FileTransfer` promises them. */

import { createHash, randomBytes, type Hash } from 'node:crypto'
import * as fs from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import {
  InputError,
  checkAbsolute,
  checkContained,
  IntegrityError,
  fileError,
  onFile,
  printablePath,
  systemErrorCode,
  verifying,
  type ChecksumAlgorithm,
  type FileEntry,
  type FileTransfer,
  type ListedFile,
} from '@orbweaver/core'
import { createBatch } from './batch.js'
import { RemoteContent, notPlain } from './content.js'
import { readManyByTar } from './read-many.js'
import { RemoteSystemError, endError, errorCodeOf } from './remote-errors.js'
import { LONG_MS, type RemoteShell, type ScriptResult } from './remote-shell.js'
import {
  CHECKSUM_SCRIPT,
  DIFFERS,
  EXISTS_SCRIPT,
  FINISH_SCRIPT,
  LIST_SCRIPT,
  NOT_PLAIN,
  NO_PROGRAM,
  REMOVE_SCRIPT,
  SPACE_SCRIPT,
  TEXT_SCRIPT,
  WRITE_SCRIPT,
} from './scripts.js'
import { walkBySftp } from './sftp.js'

/** Default of `read` and of each file of `readMany`. */
const MAX_TEXT_BYTES = 4 * 1024 ** 2
/** Up to here a file goes with the command that stores it: one exchange in all. */
const SMALL_BYTES = 1024 ** 2
const CHUNK_BYTES = 256 * 1024

/** Files being written. Never listed: a reader sees whole files only. */
const PART_NAME = /(^|\/)\.orbweaver-[0-9a-f]{16}\.part(\/|$)/

export function partBeside(path: string): string {
  return `${dirname(path)}/.orbweaver-${randomBytes(8).toString('hex')}.part`
}

export interface SshFilesOptions {
  readonly sftp: boolean
}

export function createSshFiles(shell: RemoteShell, options: SshFilesOptions): FileTransfer {
  const content = new RemoteContent(shell, options.sftp)
  const store = new Storing(shell, content)

  return {
    async mkdir(path, { signal } = {}) {
      await onFile('make the folder', path, signal, () => makeFolder(shell, path, signal))
    },

    async write(path, source, entry, { signal } = {}) {
      try {
        await onFile('write', path, signal, () => store.stream(path, source, entry, signal))
      } finally {
        source.destroy()
      }
    },

    async put(localPath, path, { signal, mode = 0o600 } = {}) {
      checkAbsolute(localPath)
      await onFile('write', path, signal, () => store.local(localPath, path, mode, signal))
    },

    async get(path, localPath, { signal } = {}) {
      checkAbsolute(localPath)
      await onFile('read', path, signal, () => fetchFile(shell, content, path, localPath, signal))
    },

    async open(path, { signal } = {}) {
      return await onFile('read', path, signal, () => content.open(path, signal))
    },

    async read(path, { signal, maxBytes = MAX_TEXT_BYTES, tail = false } = {}) {
      return await onFile('read', path, signal, async () => {
        // One byte more than allowed tells "exactly full" from "too much".
        const words = [path, String(maxBytes + 1), tail ? 'tail' : 'head']
        const result = await shell.run(TEXT_SCRIPT, words, { signal, maxOutputBytes: maxBytes + 1 })
        if (result.exitCode === NOT_PLAIN) throw notPlain(path)
        const bytes = good(result).stdout
        if (bytes.length <= maxBytes) return bytes.toString('utf8')
        if (!tail) throw tooLong(path, maxBytes)
        return tailText(bytes.subarray(1))
      })
    },

    async readMany(paths, { signal } = {}) {
      for (const path of paths) checkAbsolute(path)
      signal?.throwIfAborted()
      if (paths.length === 0) return new Map()
      return await readManyByTar(shell, content, [...new Set(paths)], {
        maxBytes: MAX_TEXT_BYTES,
        tooLong,
        signal,
      })
    },

    async writeAtomic(path, text, { signal, mode = 0o600 } = {}) {
      await onFile('write', path, signal, () => store.buffer(path, Buffer.from(text), mode, false, signal))
    },

    async rename(from, to, { signal } = {}) {
      checkAbsolute(to)
      await onFile(`rename to ${printablePath(to)}`, from, signal, async () => {
        good(await shell.program(['mv', '-fT', '--', from, to], { signal, once: true }))
      })
    },

    async list(path, { signal } = {}) {
      const entries = await onFile('list', path, signal, () => listBelow(shell, content, path, signal))
      return entries.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
    },

    async checksums(path, files, { signal } = {}) {
      checkAbsolute(path)
      for (const file of files) checkContained(path, file)
      signal?.throwIfAborted()
      if (files.length === 0) return new Map()
      return await checksumsBelow(shell, content, path, files, signal)
    },

    async exists(path, { signal } = {}) {
      return await onFile('look for', path, signal, async () => {
        const result = await shell.run(EXISTS_SCRIPT, [path], { signal })
        return result.exitCode === 0 || !isMissing(result)
      })
    },

    async remove(path, { signal } = {}) {
      checkAbsolute(path)
      const plain = path.replace(/\/+$/, '')
      if (plain === '') throw new InputError('The root of the file system cannot be removed.')
      await onFile('remove', plain, signal, async () => {
        const result = await shell.run(REMOVE_SCRIPT, [plain], { signal, timeoutMs: LONG_MS })
        if (result.exitCode !== 0 && !isMissing(result)) throw endError(result)
      })
    },

    async freeSpace(path, { signal } = {}) {
      return await onFile('ask for the free space of', path, signal, async () => {
        const [blocks, size] = good(await shell.run(SPACE_SCRIPT, [path], { signal }))
          .stdout.toString('latin1')
          .trim()
          .split(' ')
        return Number(blocks) * Number(size)
      })
    },

    batch(folder) {
      checkAbsolute(folder)
      return createBatch(shell, folder, store)
    },
  }
}

// ---------------------------------------------------------------- storing

class Storing {
  readonly #shell: RemoteShell
  readonly #content: RemoteContent

  constructor(shell: RemoteShell, content: RemoteContent) {
    this.#shell = shell
    this.#content = content
  }

  async stream(
    path: string,
    source: Readable,
    entry: FileEntry,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const verified = source.pipe(verifying(entry, path))
    source.once('error', (error) => verified.destroy(error))
    source.once('close', () => {
      if (!source.readableEnded)
        verified.destroy(
          new IntegrityError(`Cannot write ${printablePath(path)}: what was to be written ended early.`),
        )
    })
    if (entry.bytes <= SMALL_BYTES) {
      await this.buffer(path, await collect(verified, signal), 0o600, true, signal)
      return
    }
    await this.#large(path, verified, 0o600, entry.checksum?.algorithm ?? 'sha256', signal)
  }

  async local(localPath: string, path: string, mode: number, signal: AbortSignal | undefined): Promise<void> {
    const file = await openLocal(localPath, signal)
    try {
      const { size } = await file.stat()
      if (size <= SMALL_BYTES) await this.buffer(path, await file.readFile(), mode, true, signal)
      else await this.#large(path, piecesOf(file), mode, 'sha256', signal)
    } finally {
      await file.close()
    }
  }

  /** Content and command together: one exchange, which may be repeated. */
  async buffer(
    path: string,
    data: Buffer,
    mode: number,
    parents: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const sum = createHash('sha256').update(data).digest('hex')
    const part = partBeside(path)
    const words = [part, path, mode.toString(8), 'sha256', sum, parents ? 'parents' : '']
    try {
      const result = await this.#shell.run(WRITE_SCRIPT, words, { signal, stdin: data })
      if (result.exitCode === DIFFERS) throw differs(path)
      if (result.exitCode !== 0) throw asFolderProblem(path, endError(result))
    } catch (error) {
      await this.#forget(part, error)
      throw error
    }
  }

  async #large(
    path: string,
    source: AsyncIterable<Buffer>,
    mode: number,
    algorithm: ChecksumAlgorithm,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const part = partBeside(path)
    const hash = createHash(algorithm)
    try {
      await makeFolder(this.#shell, dirname(path), signal)
      await this.#content.write(part, hashing(source, hash), signal)
      const words = [part, path, mode.toString(8), algorithm, hash.digest('hex')]
      const result = await this.#shell.run(FINISH_SCRIPT, words, { signal, timeoutMs: LONG_MS })
      if (result.exitCode === DIFFERS) throw differs(path)
      if (result.exitCode !== 0) throw endError(result)
    } catch (error) {
      await this.#forget(part, error)
      throw error
    }
  }

  /** What is left of a write that failed. Where it cannot be removed now it stays: it is in no listing. */
  async #forget(part: string, reason: unknown): Promise<void> {
    if (this.#shell.connection.isClosed) return
    try {
      await this.#shell.program(['rm', '-f', '--', part])
    } catch (error) {
      if (reason instanceof Error && reason.cause === undefined) reason.cause ??= error
    }
  }
}

async function* hashing(source: AsyncIterable<Buffer>, hash: Hash): AsyncGenerator<Buffer> {
  for await (const piece of source) {
    hash.update(piece)
    yield piece
  }
}

/** A stream over a file handle keeps the handle from being closed; reading it by hand does not. */
async function* piecesOf(file: fs.promises.FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

async function collect(source: Readable, signal: AbortSignal | undefined): Promise<Buffer> {
  const pieces: Buffer[] = []
  const onAbort = (): void => void source.destroy(signal?.reason as Error)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    for await (const piece of source as AsyncIterable<Buffer>) pieces.push(piece)
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
  signal?.throwIfAborted()
  return Buffer.concat(pieces)
}

/** A file of this machine; never waits for the other end of a pipe. */
async function openLocal(path: string, signal: AbortSignal | undefined): Promise<fs.promises.FileHandle> {
  try {
    const file = await open(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
    if ((await file.stat()).isFile()) return file
    await file.close()
  } catch (error) {
    throw fileError(error, 'read', path, signal)
  }
  throw notPlain(path)
}

// ---------------------------------------------------------------- fetching

/** A file that changes under the hand is read once more before anybody is told. */
async function fetchFile(
  shell: RemoteShell,
  content: RemoteContent,
  path: string,
  localPath: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const source = await content.open(path, signal)
    const part = partBeside(localPath)
    const hash = createHash('sha256')
    try {
      const [expected] = await Promise.all([
        remoteSum(shell, path, signal),
        storeHere(source, hash, part, localPath, signal),
      ])
      if (expected === undefined || expected === hash.digest('hex')) {
        await rename(part, localPath).catch((error: unknown) => {
          throw fileError(error, 'write', localPath, signal)
        })
        return
      }
      if (tries >= 2) throw differs(path)
      await rm(part, { force: true })
    } catch (error) {
      source.destroy()
      await rm(part, { force: true })
      throw error
    }
  }
}

async function storeHere(
  source: Readable,
  hash: Hash,
  part: string,
  localPath: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await mkdir(dirname(part), { recursive: true, mode: 0o700 })
    const file = await open(part, 'wx', 0o600)
    try {
      for await (const piece of source as AsyncIterable<Buffer>) {
        signal?.throwIfAborted()
        hash.update(piece)
        await file.writeFile(piece)
      }
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (error) {
    throw error instanceof RemoteSystemError ? error : fileError(error, 'write', localPath, signal)
  }
}

/** Undefined: nobody there can tell. */
async function remoteSum(
  shell: RemoteShell,
  path: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const script = 'command -v sha256sum >/dev/null 2>&1 || exit 92; exec sha256sum -b <"$1"'
  const result = await shell.run(script, [path], { signal, timeoutMs: LONG_MS })
  return result.exitCode === NO_PROGRAM ? undefined : good(result).stdout.toString('latin1', 0, 64)
}

// ---------------------------------------------------------------- looking

async function listBelow(
  shell: RemoteShell,
  content: RemoteContent,
  path: string,
  signal: AbortSignal | undefined,
): Promise<ListedFile[]> {
  const result = await shell.run(LIST_SCRIPT, [path], { signal, timeoutMs: LONG_MS })
  if (result.exitCode === 0) {
    return result.stdout
      .toString('utf8')
      .split('\0')
      .slice(0, -1)
      .map(listedFile)
      .filter((entry) => !PART_NAME.test(entry.path))
  }
  if (
    /unrecognized.*(-printf|-ignore_readdir_race)|unknown predicate/.test(result.stderr.toString('latin1')) &&
    content.usesSftp
  ) {
    const found: ListedFile[] = []
    try {
      for await (const entry of walkBySftp(shell.connection, path, signal)) {
        if (!PART_NAME.test(entry.path)) found.push(entry)
      }
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
    return found
  }
  if (errorCodeOf(result.stderr.toString('utf8')) === 'ENOENT') return []
  throw endError(result)
}

const KINDS: Readonly<Record<string, ListedFile['kind']>> = { f: 'file', d: 'folder', l: 'link' }

function listedFile(line: string): ListedFile {
  const [letter = '', size = '0'] = line.split(' ', 2)
  const path = line.slice(letter.length + size.length + 2)
  // A name that is no UTF-8 cannot be asked for again. It is shown, so that nobody takes the folder for empty.
  const kind = path.includes('\uFFFD') ? 'other' : (KINDS[letter] ?? 'other')
  return { path, bytes: kind === 'file' ? Number(size) : 0, kind }
}

async function checksumsBelow(
  shell: RemoteShell,
  content: RemoteContent,
  folder: string,
  files: readonly string[],
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, string>> {
  const stdin = files.map((file) => `./${file}\0`).join('')
  const result = await shell.run(CHECKSUM_SCRIPT, [folder], { signal, stdin, timeoutMs: LONG_MS })
  const sums = new Map<string, string>()
  if (result.exitCode === NO_PROGRAM) {
    for (const file of files) {
      const path = `${folder}/${file}`
      await onFile('read', path, signal, async () => {
        const hash = createHash('sha256')
        for await (const piece of await content.open(path, signal)) hash.update(piece as Buffer)
        sums.set(file, hash.digest('hex'))
      })
    }
    return sums
  }
  const text = result.stdout.toString('utf8')
  if (result.exitCode !== 0) {
    const named = /(?:^|\n)!([^\0]*)\0/.exec(text)?.[1]
    const path = named === undefined ? folder : `${folder}/${named}`
    if (
      named !== undefined &&
      errorCodeOf(result.stderr.toString('utf8').split('\nxargs:')[0] ?? '') === undefined
    )
      throw notPlain(path)
    throw fileError(checksumError(result), 'read', path, signal)
  }
  const lines = text.split('\n')
  for (const [index, file] of files.entries()) {
    const hex = /^\\?([0-9a-f]{64}) /.exec(lines[index] ?? '')?.[1]
    if (hex === undefined) throw new RemoteSystemError('EREMOTE', 'sha256sum answered something else')
    sums.set(file, hex)
  }
  return sums
}

/** `xargs` adds a line of its own. */
function checksumError(result: ScriptResult): RemoteSystemError {
  const lines = result.stderr.toString('utf8').trim().split('\n')
  const own = lines.filter((line) => !line.startsWith('xargs:'))
  return endError({ ...result, stderr: Buffer.from((own.length === 0 ? lines : own).join('\n')) })
}

// ---------------------------------------------------------------- pieces

async function makeFolder(shell: RemoteShell, path: string, signal: AbortSignal | undefined): Promise<void> {
  const result = await shell.program(['mkdir', '-p', '--', path], { signal })
  if (result.exitCode !== 0) throw asFolderProblem(path, endError(result))
}

function asFolderProblem(path: string, error: RemoteSystemError): Error {
  if (error.code !== 'EEXIST' && error.code !== 'ENOTDIR') return error
  return new InputError(`Cannot make the folder ${printablePath(path)}: a file is in its place.`, {
    details: { path, code: error.code },
    cause: error,
    hint: 'Move that file away, or choose another folder.',
  })
}

function good(result: ScriptResult): ScriptResult {
  if (result.exitCode !== 0) throw endError(result)
  return result
}

function isMissing(result: ScriptResult): boolean {
  const error = endError(result)
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return true
  throw error
}

function differs(path: string): IntegrityError {
  return new IntegrityError(
    `${printablePath(path)} is not what was sent: its checksum differs after the transfer.`,
    {
      details: { path },
      hint: 'Nothing was changed there; try the transfer again. If it stays, look at the disk and the memory of both machines.',
    },
  )
}

function tooLong(path: string, maxBytes: number): InputError {
  return new InputError(`Cannot read ${printablePath(path)}: it has more than ${maxBytes} bytes.`, {
    details: { path, maxBytes },
  })
}

/** A tail may begin in the middle of a character; the rest of that character is left out. */
function tailText(bytes: Buffer): string {
  let start = 0
  while (start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++
  return bytes.toString('utf8', start)
}
