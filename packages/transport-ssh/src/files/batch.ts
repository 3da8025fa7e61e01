/** Many files for one folder through one channel: a tar is unpacked over there while it is still being made here. */

import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { PassThrough, Writable, type Readable } from 'node:stream'
import {
  IntegrityError,
  PipelineError,
  checkFilePath,
  fileError,
  printablePath,
  verifying,
  type CallOptions,
  type FileBatch,
  type FileEntry,
} from '@orbweaver/core'
import { DIFFERS, UNPACKED_SCRIPT, UNPACK_SCRIPT } from './scripts.js'
import { LONG_MS, type RemoteShell } from './remote-shell.js'
import { endError } from './remote-errors.js'
import { TAR_END, tarFile } from './tar.js'
import type { ProcessEnd } from '../connection/process.js'

/** Larger files travel by themselves, beside the tar. */
const PACKED_BYTES = 1024 ** 2
const READ_AT_ONCE_BYTES = 256 * 1024
const BUFFER_BYTES = 1024 ** 2
const MESSAGE_BYTES = 128 * 1024

export interface SingleTransfer {
  stream(path: string, source: Readable, entry: FileEntry, signal: AbortSignal | undefined): Promise<void>
  local(localPath: string, path: string, mode: number, signal: AbortSignal | undefined): Promise<void>
}

export function createBatch(shell: RemoteShell, folder: string, single: SingleTransfer): FileBatch {
  return new TarBatch(shell, folder.replace(/\/+$/, ''), single)
}

interface Unpacking {
  readonly stdin: PassThrough
  /** Not sent yet: a small file by itself would be a message by itself. */
  gathered: Buffer[]
  bytes: number
  readonly part: string
  readonly end: Promise<ProcessEnd>
  readonly stop: AbortController
}

class TarBatch implements FileBatch {
  readonly #shell: RemoteShell
  readonly #folder: string
  readonly #single: SingleTransfer
  readonly #sums: string[] = []
  #unpacking: Unpacking | undefined
  #last: Promise<void> = Promise.resolve()

  constructor(shell: RemoteShell, folder: string, single: SingleTransfer) {
    this.#shell = shell
    this.#folder = folder
    this.#single = single
  }

  async write(
    path: string,
    content: Readable,
    entry: FileEntry,
    { signal }: CallOptions = {},
  ): Promise<void> {
    const whole = this.#path(path)
    if (entry.bytes > PACKED_BYTES) {
      await this.#guarded(whole, signal, () => this.#single.stream(whole, content, entry, signal))
      return
    }
    const data = await this.#guarded(whole, signal, () => collectVerified(content, entry, whole, signal))
    await this.#add(path, data, signal)
  }

  async copyFrom(path: string, localPath: string, { signal }: CallOptions = {}): Promise<void> {
    const whole = this.#path(path)
    const data = await this.#guarded(localPath, signal, () => readPacked(localPath, signal))
    if (data !== undefined) await this.#add(path, data, signal)
    else await this.#guarded(whole, signal, () => this.#single.local(localPath, whole, 0o600, signal))
  }

  async finish({ signal }: CallOptions = {}): Promise<void> {
    const unpacking = this.#unpacking
    if (unpacking === undefined) return
    await this.#guarded(this.#folder, signal, async () => {
      const onAbort = (): void => unpacking.stop.abort(signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      try {
        await this.#last
        unpacking.gathered.push(TAR_END)
        await this.#flush(unpacking)
        unpacking.stdin.end()
        const end = await unpacking.end
        if (end.exitCode !== 0) throw endError(end)
        const words = [this.#folder, unpacking.part]
        const result = await this.#shell.run(UNPACKED_SCRIPT, words, {
          signal,
          stdin: this.#sums.join(''),
          timeoutMs: LONG_MS,
          once: true,
        })
        if (result.exitCode === DIFFERS) {
          throw new IntegrityError(
            `Files in ${printablePath(this.#folder)} are not what was sent: checksums differ after the transfer.`,
            {
              details: { folder: this.#folder, said: result.stderr.toString('utf8').slice(0, 1000) },
              hint: 'None of them has appeared there; try the transfer again.',
            },
          )
        }
        if (result.exitCode !== 0) throw endError(result)
        this.#unpacking = undefined
      } finally {
        signal?.removeEventListener('abort', onAbort)
      }
    })
  }

  async abandon(): Promise<void> {
    const unpacking = this.#unpacking
    if (unpacking === undefined) return
    this.#unpacking = undefined
    unpacking.stop.abort(new Error('the batch was abandoned'))
    unpacking.stdin.destroy()
    await unpacking.end.catch(() => undefined)
    try {
      await this.#shell.program(['rm', '-rf', '--', unpacking.part], { timeoutMs: LONG_MS })
    } catch (error) {
      // Without a connection it stays: it is in no listing, and goes with the folder around it.
      if (!(error instanceof PipelineError)) throw error
    }
  }

  #path(path: string): string {
    return `${this.#folder}/${checkFilePath(path)}`
  }

  async #guarded<T>(path: string, signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted()
    try {
      return await action()
    } catch (error) {
      throw fileError(error, 'write', path, signal)
    }
  }

  /** One after another: a tar has no two places to write at. */
  async #add(path: string, data: Buffer, signal: AbortSignal | undefined): Promise<void> {
    const unpacking = (this.#unpacking ??= this.#start())
    const added = this.#last.then(async () => {
      signal?.throwIfAborted()
      const pieces = tarFile(path, data, Date.now() / 1000)
      unpacking.gathered.push(...pieces)
      for (const piece of pieces) unpacking.bytes += piece.length
      if (unpacking.bytes >= MESSAGE_BYTES) await this.#flush(unpacking)
      // With a folder: sha256sum takes "-" for its standard input.
      this.#sums.push(sumLine(createHash('sha256').update(data).digest('hex'), `./${path}`))
    })
    this.#last = added.catch(() => undefined)
    await this.#guarded(`${this.#folder}/${path}`, signal, () => added)
  }

  async #flush(unpacking: Unpacking): Promise<void> {
    const message = Buffer.concat(unpacking.gathered)
    unpacking.gathered = []
    unpacking.bytes = 0
    if (unpacking.stdin.write(message)) return
    const drained = new Promise<void>((resolve) => unpacking.stdin.once('drain', resolve))
    const early = unpacking.end.then((end) => {
      throw endError(end)
    })
    await Promise.race([drained, early])
  }

  #start(): Unpacking {
    const slash = this.#folder.lastIndexOf('/')
    const part = `${this.#folder.slice(0, slash)}/.orbweaver-${randomBytes(8).toString('hex')}.part`
    const stop = new AbortController()
    const stdin = new PassThrough({ highWaterMark: BUFFER_BYTES })
    // Says so when the connection took its reader away. An error that nobody listens to would end the whole process.
    stdin.on('error', (error) => stop.abort(error))
    const stdout = new Writable({ write: (_chunk, _encoding, done) => done() })
    const end = this.#shell.stream(UNPACK_SCRIPT, [this.#folder, part], {
      signal: stop.signal,
      stdin,
      stdout,
    })
    end.catch(() => undefined) // whoever waits for an entry or the end is told
    return { stdin, gathered: [], bytes: 0, part, end, stop }
  }
}

/**
 * A small file; undefined: it is large, or no plain file. Read at once: handed to other threads and back, thousands of small
 * files wait for each other four times as long as the disk needs for them.
 */
function readSmall(path: string): Buffer | undefined {
  const file = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  try {
    const stats = fs.fstatSync(file)
    if (!stats.isFile() || stats.size > READ_AT_ONCE_BYTES) return undefined
    return fs.readFileSync(file)
  } finally {
    fs.closeSync(file)
  }
}

async function readPacked(path: string, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
  const small = readSmall(path)
  if (small !== undefined) return small
  const found = await stat(path)
  if (!found.isFile() || found.size > PACKED_BYTES) return undefined
  return await readFile(path, signal === undefined ? {} : { signal })
}

async function collectVerified(
  content: Readable,
  entry: FileEntry,
  path: string,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const verified = content.pipe(verifying(entry, path))
  content.once('error', (error) => verified.destroy(error))
  const onAbort = (): void => void verified.destroy(signal?.reason as Error)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const pieces: Buffer[] = []
    for await (const piece of verified as AsyncIterable<Buffer>) pieces.push(piece)
    return Buffer.concat(pieces)
  } finally {
    signal?.removeEventListener('abort', onAbort)
    content.destroy()
  }
}

/** As `sha256sum` prints it and reads it again. */
export function sumLine(hex: string, path: string): string {
  const escaped = path.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return `${escaped === path ? '' : '\\'}${hex} *${escaped}\n`
}
