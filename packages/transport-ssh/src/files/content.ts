/** Content of files, both ways: by SFTP, or through `cat` where a server refuses it. */

import { PassThrough, Readable } from 'node:stream'
import { BufferPool, type Chunks } from './chunks.js'
import { InputError, printablePath } from '@orbweaver/core'
import { SftpRefused } from '../connection/connection.js'
import { RemoteSystemError, endError } from './remote-errors.js'
import type { RemoteShell } from './remote-shell.js'
import { CAT_SCRIPT, NOT_PLAIN, READ_SCRIPT } from './scripts.js'
import { SftpFailure, readBySftp, statBySftp, writeBySftp } from './sftp.js'

const STREAM_BYTES = 256 * 1024

export interface PiecesOptions {
  /** As far as known; undefined: nobody has looked, and SFTP is not to be had. */
  readonly bytes: number | undefined
  readonly from: number
  /** Pieces come in buffers of it, and are given back by who has used them. Absent: they are kept by who takes them. */
  readonly pool: BufferPool | undefined
}

export class RemoteContent {
  readonly #shell: RemoteShell
  #sftp: boolean

  /** @param sftp - `false`: never try it */
  constructor(shell: RemoteShell, sftp: boolean) {
    this.#shell = shell
    this.#sftp = sftp
  }

  get usesSftp(): boolean {
    return this.#sftp
  }

  /**
   * Make a new file of pieces, mode 0600. Its folder is there.
   *
   * @param from - the file goes on from there; 0: what is there is of no use; undefined: it is not there
   */
  async write(
    path: string,
    content: Chunks,
    from: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (await this.#trySftp(signal)) {
      try {
        await writeBySftp(this.#shell.connection, path, content, from, signal)
        return
      } catch (error) {
        throw error instanceof SftpFailure ? await this.#reason(path, error, signal) : error
      }
    }
    const words = [path, from === undefined ? 'new' : from === 0 ? 'anew' : 'on']
    const end = await this.#shell.stream(CAT_SCRIPT, words, {
      signal,
      // Nothing is given back to this pool: what went into the stream may still be looked at.
      stdin: Readable.from(content(new BufferPool()), { objectMode: false }),
    })
    if (end.exitCode !== 0) throw endError(end)
  }

  /**
   * A plain file from its beginning.
   *
   * @throws RemoteSystemError
   * @throws InputError it is no plain file
   */
  async open(path: string, signal: AbortSignal | undefined): Promise<Readable> {
    if (await this.#trySftp(signal)) {
      const { bytes } = await this.#lookBySftp(path, signal)
      const pieces = await this.pieces(path, { bytes, from: 0, pool: undefined }, signal)
      return Readable.from(pieces, { objectMode: false, highWaterMark: STREAM_BYTES })
    }
    return await this.#openByCat(path, 0, signal)
  }

  /**
   * Size and time (seconds) of a plain file; undefined where that cannot be asked.
   *
   * @throws RemoteSystemError
   * @throws InputError it is no plain file
   */
  async look(
    path: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly bytes: number; readonly modified: number } | undefined> {
    return (await this.#trySftp(signal)) ? await this.#lookBySftp(path, signal) : undefined
  }

  /** A plain file that was looked at, from a position on. Its first piece has come when this returns. */
  async pieces(
    path: string,
    { bytes, from, pool }: PiecesOptions,
    signal: AbortSignal | undefined,
  ): Promise<AsyncGenerator<Buffer>> {
    const pieces =
      bytes === undefined
        ? piecesOf(await this.#openByCat(path, from, signal))
        : readBySftp(this.#shell.connection, path, { bytes, from, pool }, signal)
    return resumed(await pieces.next(), pieces)
  }

  async #lookBySftp(
    path: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly bytes: number; readonly modified: number }> {
    const stats = await statBySftp(this.#shell.connection, path, signal)
    if (stats.isDirectory()) throw new RemoteSystemError('EISDIR', 'Is a directory')
    // Opening a pipe would keep the whole session waiting for its other end.
    if (!stats.isFile()) throw notPlain(path)
    return { bytes: stats.size, modified: stats.mtime }
  }

  /** The stream is handed over when its first bytes are there: what is missing is known by then. */
  async #openByCat(path: string, from: number, signal: AbortSignal | undefined): Promise<Readable> {
    const output = new PassThrough({ highWaterMark: STREAM_BYTES })
    const stop = new AbortController()
    const onAbort = (): void => stop.abort(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    let handedOver = false
    const sink = new PassThrough({ highWaterMark: STREAM_BYTES })
    const end = this.#shell
      .stream(READ_SCRIPT, [path, String(from + 1)], { signal: stop.signal, stdout: sink })
      .then((found) => {
        if (found.exitCode === NOT_PLAIN) throw notPlain(path)
        if (found.exitCode !== 0) throw endError(found)
      })
      .finally(() => signal?.removeEventListener('abort', onAbort))
    sink.pipe(output, { end: false })
    const first = new Promise<void>((resolve) => sink.once('data', () => resolve()))
    output.once('close', () => {
      if (!output.readableEnded) stop.abort(new Error('nobody reads it any more'))
    })
    // The program has ended before the last of its output has come through.
    const drained = new Promise<void>((resolve) => sink.once('end', resolve))
    const ended = end.then(
      async () => {
        await drained
        output.end()
      },
      (error: unknown) => {
        if (!handedOver) throw error
        output.destroy(error as Error)
      },
    )
    ended.catch(() => undefined)
    await Promise.race([first, ended])
    handedOver = true
    return output
  }

  async #trySftp(signal: AbortSignal | undefined): Promise<boolean> {
    if (!this.#sftp) return false
    try {
      await this.#shell.connection.sftp(signal)
      return true
    } catch (error) {
      if (!(error instanceof SftpRefused)) throw error
      this.#sftp = false
      return false
    }
  }

  /** SFTP says no more than "failure"; a shell that tries to write a little says why. */
  async #reason(path: string, failure: SftpFailure, signal: AbortSignal | undefined): Promise<Error> {
    const end = await this.#shell.run('head -c 65536 /dev/zero >>"$1"', [path], { signal })
    return end.exitCode === 0 ? new RemoteSystemError('EREMOTE', failure.message) : endError(end)
  }
}

export function notPlain(path: string): InputError {
  return new InputError(`Cannot read ${printablePath(path)}: it is not a plain file.`, { details: { path } })
}

async function* piecesOf(stream: Readable): AsyncGenerator<Buffer> {
  yield* stream as AsyncIterable<Buffer>
}

async function* resumed(
  first: IteratorResult<Buffer, void>,
  rest: AsyncGenerator<Buffer>,
): AsyncGenerator<Buffer> {
  try {
    if (first.done === true) return
    yield first.value
    yield* rest
  } finally {
    await rest.return(undefined)
  }
}
