/** Files on their way there: they appear whole, compared with what was sent, or not at all. */

import { createHash } from 'node:crypto'
import { constants, type BigIntStats } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import {
  IntegrityError,
  fileError,
  printablePath,
  verifying,
  type ChecksumAlgorithm,
  type FileEntry,
} from '@orbweaver/core'
import { fileChunks, streamChunks, type Chunks } from './chunks.js'
import { notPlain, type RemoteContent } from './content.js'
import { KEPT_BYTES, firmBytes, partBeside, takePart } from './parts.js'
import { asFolderProblem, differs, isCutOff } from './problems.js'
import { endError } from './remote-errors.js'
import { LONG_MS, type RemoteShell } from './remote-shell.js'
import { BEGIN_SCRIPT, DIFFERS, FINISH_SCRIPT, WRITE_SCRIPT } from './scripts.js'

/** Up to here a file goes with the command that stores it: one exchange in all. */
const SMALL_BYTES = 1024 ** 2

interface LargeFile {
  readonly mode: number
  readonly bytes: number
  /** Tells this content from another; undefined: nothing does, and a part of it is of no use later. */
  readonly identity: string | undefined
  /** The content from a position on. */
  readonly chunks: (from: number) => Chunks
  /** Known when all chunks have been made. */
  readonly checksum: () => { readonly algorithm: ChecksumAlgorithm; readonly hex: string }
}

export class Storing {
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
    const { bytes, checksum } = entry
    // What has another checksum than announced never comes through to its end: the announced one is that of the stream.
    const hash = checksum === undefined ? createHash('sha256') : undefined
    const isSame = await this.#large(
      path,
      {
        mode: 0o600,
        bytes,
        identity: checksum === undefined ? undefined : `${checksum.algorithm} ${checksum.hex.toLowerCase()}`,
        chunks: (from) => streamChunks(verified as AsyncIterable<Buffer>, hash, from),
        checksum: () =>
          checksum === undefined
            ? { algorithm: 'sha256', hex: hash?.digest('hex') ?? '' }
            : { algorithm: checksum.algorithm, hex: checksum.hex.toLowerCase() },
      },
      signal,
    )
    if (isSame !== 'same') throw differs(path)
  }

  async local(localPath: string, path: string, mode: number, signal: AbortSignal | undefined): Promise<void> {
    const file = await openLocal(localPath, signal)
    try {
      const { size, mtimeNs, ino, dev } = await file.stat({ bigint: true })
      const bytes = Number(size)
      if (bytes <= SMALL_BYTES) {
        await this.buffer(path, await file.readFile(), mode, true, signal)
        return
      }
      const identity = [localPath, dev, ino, size, mtimeNs].join(' ')
      for (let tries = 1; ; tries += 1) {
        const hash = createHash('sha256')
        const end = await this.#large(
          path,
          {
            mode,
            bytes,
            identity,
            chunks: (from) => fileChunks(file, hash, from),
            checksum: () => ({ algorithm: 'sha256', hex: hash.digest('hex') }),
          },
          signal,
        )
        if (end === 'same') return
        // What an earlier engine had left was no beginning of it: all of it is sent, once.
        if (end !== 'differs after a kept part' || tries > 1) throw differs(path)
      }
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
    const parts: string[] = []
    const words = (): readonly string[] => {
      const part = partBeside(path)
      parts.push(part)
      return [part, path, mode.toString(8), 'sha256', sum, parents ? 'parents' : '']
    }
    try {
      const result = await this.#shell.run(WRITE_SCRIPT, words, { signal, stdin: data })
      if (result.exitCode === DIFFERS) throw differs(path)
      if (result.exitCode !== 0) throw asFolderProblem(path, endError(result))
    } catch (error) {
      await this.#forget(parts, error)
      throw error
    }
    // Of tries that were cut off; this one has left none.
    if (parts.length > 1) await this.#forget(parts, undefined)
  }

  async #large(
    path: string,
    { mode, bytes, identity, chunks, checksum }: LargeFile,
    signal: AbortSignal | undefined,
  ): Promise<'same' | 'differs' | 'differs after a kept part'> {
    const part = takePart(path, 'there', bytes >= KEPT_BYTES ? identity : undefined)
    try {
      const there = await this.#begin(path, part.path, part.isKept, signal)
      const from = there === undefined || there > bytes ? 0 : firmBytes(there)
      const at = there === undefined ? undefined : from
      await this.#content.write(part.path, chunks(from), at, signal)
      const { algorithm, hex } = checksum()
      const words = [part.path, path, mode.toString(8), algorithm, hex]
      const result = await this.#shell.run(FINISH_SCRIPT, words, { signal, timeoutMs: LONG_MS })
      if (result.exitCode === DIFFERS) {
        await this.#forget([part.path], undefined)
        return from > 0 ? 'differs after a kept part' : 'differs'
      }
      if (result.exitCode !== 0) throw endError(result)
      return 'same'
    } catch (error) {
      if (!part.isKept || !isCutOff(error, signal)) await this.#forget([part.path], error)
      throw error
    } finally {
      part.release()
    }
  }

  /** @returns bytes of the part that are there already; undefined: it is not there */
  async #begin(
    path: string,
    part: string,
    isKept: boolean,
    signal: AbortSignal | undefined,
  ): Promise<number | undefined> {
    const words = [dirname(path), isKept ? part : '']
    const result = await this.#shell.run(BEGIN_SCRIPT, words, { signal })
    if (result.exitCode !== 0) throw asFolderProblem(path, endError(result))
    const said = result.stdout.toString('latin1').trim()
    return said === '' ? undefined : Number(said)
  }

  /** What is left of a write that failed. Where it cannot be removed now it stays: it is in no listing. */
  async #forget(parts: readonly string[], reason: unknown): Promise<void> {
    if (this.#shell.connection.isClosed) return
    try {
      await this.#shell.program(['rm', '-f', '--', ...parts])
    } catch (error) {
      if (reason instanceof Error && reason.cause === undefined) reason.cause ??= error
    }
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
async function openLocal(path: string, signal: AbortSignal | undefined): Promise<FileHandle> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stats: BigIntStats = await file.stat({ bigint: true })
    if (stats.isFile()) return file
    await file.close()
  } catch (error) {
    throw fileError(error, 'read', path, signal)
  }
  throw notPlain(path)
}
