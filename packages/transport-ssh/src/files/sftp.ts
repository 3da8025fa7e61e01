/** File content by SFTP, many requests in flight; a connection that breaks is made again and the transfer goes on. */

import type { SFTPWrapper, Stats } from 'ssh2'
import { TransportUnavailableError } from '@orbweaver/core'
import type { SshConnection } from '../connection/connection.js'
import { BufferPool, CHUNK_BYTES, type Chunks } from './chunks.js'
import { RemoteSystemError } from './remote-errors.js'

/** Requests on their way at once: together they are as large as the window of a channel, 2 MiB. */
const IN_FLIGHT = (2 * 1024 ** 2) / CHUNK_BYTES
/** Connections that may break during one transfer without any progress between. */
const TRIES = 5

/** `SSH_FX_…` of the protocol, version 3. */
const STATUS = { eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4 } as const

/** The server's word for most of what can go wrong (a full disk, a folder in the way); a shell knows better. */
export class SftpFailure extends Error {}

interface Pending {
  readonly position: number
  readonly data: Buffer
}

/**
 * Write a new file, or go on with one.
 *
 * @param content - each piece is kept until the server has confirmed it, so that it can be sent again
 * @param from - the file goes on from there; 0: what is there is of no use; undefined: it is not there
 * @throws SftpFailure the server could not, and does not say why
 */
export async function writeBySftp(
  connection: SshConnection,
  path: string,
  content: Chunks,
  from: number | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pool = new BufferPool()
  const writer = new PartWriter(connection, path, pool, signal)
  await writer.start(from)
  try {
    for await (const piece of content(pool)) await writer.push(piece)
    await writer.flush()
  } finally {
    writer.close()
  }
}

class PartWriter {
  readonly #connection: SshConnection
  readonly #path: string
  readonly #pool: BufferPool
  readonly #signal: AbortSignal | undefined
  readonly #pending = new Map<number, Pending>()
  #sftp: SFTPWrapper | undefined
  #handle: Buffer | undefined
  #position = 0
  #confirmed = 0
  #failure: unknown
  #wake: () => void = () => undefined

  constructor(connection: SshConnection, path: string, pool: BufferPool, signal: AbortSignal | undefined) {
    this.#connection = connection
    this.#path = path
    this.#pool = pool
    this.#signal = signal
  }

  async start(from: number | undefined): Promise<void> {
    this.#position = from ?? 0
    try {
      await this.#open(from === undefined ? 'wx' : from === 0 ? 'w' : 'r+')
    } catch (error) {
      if (!isLost(error)) throw error
      // It may have been made, and nobody else knows its name.
      await this.#resume(error)
    }
  }

  async push(data: Buffer): Promise<void> {
    while (this.#isFull || this.#failure !== undefined) await this.#progress()
    const pending = { position: this.#position, data }
    this.#position += data.length
    this.#pending.set(pending.position, pending)
    this.#send(pending)
  }

  /** Not only many: none is far ahead of the first that is not confirmed, so that no gap is far from the end. */
  get #isFull(): boolean {
    const [first] = this.#pending.keys()
    return (
      first !== undefined &&
      (this.#pending.size >= IN_FLIGHT || this.#position - first >= IN_FLIGHT * CHUNK_BYTES)
    )
  }

  async flush(): Promise<void> {
    while (this.#pending.size > 0 || this.#failure !== undefined) await this.#progress()
  }

  close(): void {
    if (this.#handle !== undefined) this.#sftp?.close(this.#handle, () => undefined)
    this.#handle = undefined
  }

  async #progress(): Promise<void> {
    this.#signal?.throwIfAborted()
    if (this.#failure !== undefined) {
      const failure = this.#failure
      this.#failure = undefined
      if (!isLost(failure)) throw statusError(failure)
      await this.#resume(failure)
      return
    }
    await new Promise<void>((resolve) => {
      const onAbort = (): void => resolve()
      this.#wake = () => {
        this.#signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      this.#signal?.addEventListener('abort', onAbort, { once: true })
    })
    this.#signal?.throwIfAborted()
  }

  /** Over a new connection: what was not confirmed is sent again, at its place. */
  async #resume(failure: unknown): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        await this.#open(this.#confirmed === 0 && this.#position === 0 ? 'w' : 'r+')
        break
      } catch (error) {
        this.#signal?.throwIfAborted()
        if (!isLost(error)) throw error
        if (tries >= TRIES) throw this.#connection.lost(failure)
      }
    }
    for (const pending of this.#pending.values()) this.#send(pending)
  }

  async #open(flags: 'wx' | 'w' | 'r+'): Promise<void> {
    const { session } = await this.#connection.sftp(this.#signal)
    this.#sftp = session
    this.#handle = await new Promise<Buffer>((resolve, reject) => {
      session.open(this.#path, flags, { mode: 0o600 }, (error, handle) => {
        if (error === undefined || error === null) resolve(handle)
        else reject(isLost(error) ? error : (statusError(error) as Error))
      })
    })
  }

  #send({ position, data }: Pending): void {
    const sftp = this.#sftp
    if (this.#handle === undefined || sftp === undefined) return
    const done = (error?: Error | null): void => {
      if (sftp !== this.#sftp) return // of a connection that is gone
      if (error !== undefined && error !== null) this.#failure ??= error
      else {
        this.#pending.delete(position)
        this.#pool.give(data)
        this.#confirmed += data.length
      }
      this.#wake()
    }
    try {
      sftp.write(this.#handle, data, 0, data.length, position, done)
    } catch (error) {
      this.#failure ??= error
    }
  }
}

/** What there is at a path, links followed. */
export async function statBySftp(
  connection: SshConnection,
  path: string,
  signal: AbortSignal | undefined,
): Promise<Stats> {
  return await repeated(connection, signal, async (sftp) => {
    return await new Promise<Stats>((resolve, reject) => {
      sftp.stat(path, (error, stats) =>
        error === undefined || error === null ? resolve(stats) : reject(error),
      )
    })
  })
}

interface Asked {
  readonly position: number
  readonly bytes: number
  readonly data: Promise<Buffer>
}

/**
 * The content of a file, in order. Reading goes on over a new connection where the old one broke.
 *
 * @param bytes - its size as far as known: no more is asked for at once than that needs. It is read to its end all the same
 * @param pool - for buffers that whoever takes the pieces gives back; undefined: each has a buffer of its own
 */
export async function* readBySftp(
  connection: SshConnection,
  path: string,
  {
    bytes,
    from,
    pool,
  }: { readonly bytes: number; readonly from: number; readonly pool: BufferPool | undefined },
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  let position = from
  let losses = 0
  for (;;) {
    let open: { sftp: SFTPWrapper; handle: Buffer } | undefined
    try {
      open = await openForReading(connection, path, signal)
      const { sftp, handle } = open
      const asked: Asked[] = []
      let next = position
      for (;;) {
        signal?.throwIfAborted()
        // One more than the size needs: it sees the end.
        while (asked.length < IN_FLIGHT && (next <= bytes || asked.length === 0)) {
          asked.push(ask(sftp, handle, next, CHUNK_BYTES, pool))
          next += CHUNK_BYTES
        }
        const first = asked.shift()
        if (first === undefined) return
        const data = await first.data
        if (data.length === 0) return
        position += data.length
        losses = 0
        // Less than asked for: the rest comes before what follows.
        if (data.length < first.bytes)
          asked.unshift(ask(sftp, handle, first.position + data.length, first.bytes - data.length, pool))
        yield data
      }
    } catch (error) {
      signal?.throwIfAborted()
      if (!isLost(error)) throw statusError(error)
      losses += 1
      if (losses >= TRIES) throw connection.lost(error)
    } finally {
      if (open !== undefined) closeQuietly(open.sftp, open.handle)
    }
  }
}

async function openForReading(
  connection: SshConnection,
  path: string,
  signal: AbortSignal | undefined,
): Promise<{ sftp: SFTPWrapper; handle: Buffer }> {
  const { session } = await connection.sftp(signal)
  const handle = await new Promise<Buffer>((resolve, reject) => {
    session.open(path, 'r', (error, found) =>
      error === undefined || error === null ? resolve(found) : reject(error),
    )
  })
  return { sftp: session, handle }
}

function ask(
  sftp: SFTPWrapper,
  handle: Buffer,
  position: number,
  bytes: number,
  pool: BufferPool | undefined,
): Asked {
  const data = new Promise<Buffer>((resolve, reject) => {
    const buffer = pool?.take() ?? Buffer.allocUnsafe(bytes)
    sftp.read(handle, buffer, 0, bytes, position, (error, _read, part) => {
      if (error === undefined || error === null) resolve(part)
      else if (codeOf(error) === STATUS.eof) resolve(Buffer.alloc(0))
      else reject(error)
    })
  })
  data.catch(() => undefined) // it is awaited in its turn, or not at all
  return { position, bytes, data }
}

function closeQuietly(sftp: SFTPWrapper, handle: Buffer): void {
  try {
    sftp.close(handle, () => undefined)
  } catch (error) {
    if (!isLost(error)) throw error
  }
}

/** Everything below a folder, for servers whose `find` cannot print. */
export async function* walkBySftp(
  connection: SshConnection,
  root: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<{
  readonly path: string
  readonly kind: 'file' | 'folder' | 'link' | 'other'
  readonly bytes: number
}> {
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const inside = folder
    const entries = await repeated(connection, signal, async (sftp) => {
      return await new Promise<readonly { filename: string; attrs: { mode: number; size: number } }[]>(
        (resolve, reject) => {
          sftp.readdir(inside === '' ? root : `${root}/${inside}`, (error, list) =>
            error === undefined || error === null ? resolve(list) : reject(error),
          )
        },
      )
    })
    for (const { filename, attrs } of entries) {
      const path = inside === '' ? filename : `${inside}/${filename}`
      const type = attrs.mode & 0o170000
      const kind =
        type === 0o100000 ? 'file' : type === 0o040000 ? 'folder' : type === 0o120000 ? 'link' : 'other'
      if (kind === 'folder') folders.push(path)
      yield { path, kind, bytes: kind === 'file' ? attrs.size : 0 }
    }
  }
}

/** An operation that may be done twice. */
async function repeated<T>(
  connection: SshConnection,
  signal: AbortSignal | undefined,
  action: (sftp: SFTPWrapper) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    signal?.throwIfAborted()
    const { session } = await connection.sftp(signal)
    try {
      return await action(session)
    } catch (error) {
      if (!isLost(error)) throw statusError(error)
      if (tries >= TRIES) throw connection.lost(error)
    }
  }
}

function codeOf(error: unknown): number | undefined {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined
  return typeof code === 'number' ? code : undefined
}

/** No status of the protocol: the channel or the connection ended. */
function isLost(error: unknown): boolean {
  if (error instanceof TransportUnavailableError) return false
  return error instanceof Error && error.constructor === Error && codeOf(error) === undefined
}

function statusError(error: unknown): unknown {
  const code = codeOf(error)
  if (code === undefined || !(error instanceof Error)) return error
  if (code === STATUS.noSuchFile) return new RemoteSystemError('ENOENT', error.message)
  if (code === STATUS.permissionDenied) return new RemoteSystemError('EACCES', error.message)
  return new SftpFailure(error.message, { cause: error })
}
