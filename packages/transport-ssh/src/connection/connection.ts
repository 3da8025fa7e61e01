/** One kept connection: made when it is needed, made again when it is lost, never more than one at a time. */

import type { Client, ClientChannel, SFTPWrapper } from 'ssh2'
import { setTimeout as delay } from 'node:timers/promises'
import { PipelineError, TransportUnavailableError } from '@orbweaver/core'
import { LoginLimiter, backOffMs, type LoginPace } from './logins.js'
import { Orphans } from './orphans.js'
import { bury } from './sftp-session.js'
import { ChannelSlots, type Release } from './slots.js'

/** A client that is logged in. */
export interface Dialed {
  readonly client: Client
  /** Ends the client and what it was reached through. */
  readonly end: () => void
}

export interface ConnectionOptions {
  /** For messages: `user@host` and the port where it is not 22. */
  readonly name: string
  readonly maxSessions: number
  /** How long a call waits for a lost connection to come back. */
  readonly reconnectMs: number
  readonly logins: LoginPace
}

/** A connection of the past or the present. */
export interface Link {
  readonly client: Client
  /** Aborted when the connection is gone. */
  readonly gone: AbortSignal
  end(): void
}

export interface ChannelOptions {
  readonly signal?: AbortSignal
  /** For ending commands: goes before others and uses the place kept for it. */
  readonly urgent?: boolean
}

export interface Channel {
  readonly stream: ClientChannel
  readonly link: Link
  /** Gives the place back. Call it when the channel has closed. */
  readonly release: Release
}

/** The server does not serve files by SFTP, or its start-up files print into it. */
export class SftpRefused extends Error {}

/** After a refused login the server is left alone for this long, twice as long each time. */
const REFUSED_MS = 60_000
const REFUSED_AT_MOST_MS = 15 * 60_000
/** A place that was given up a moment ago may still be counted by the server. */
const CHANNEL_PAUSE_MS = 50
const CHANNEL_TRIES = 100
/** A connection may break, and the next one too, while a channel is opened. */
const LOST_TRIES = 8

interface SftpSession {
  readonly session: SFTPWrapper
  readonly link: Link
}

export class SshConnection {
  readonly slots: ChannelSlots
  /** Programs whose connection broke under them. */
  readonly orphans = new Orphans()
  readonly #dial: (signal: AbortSignal) => Promise<Dialed>
  readonly #options: ConnectionOptions
  readonly #logins: LoginLimiter
  readonly #closing = new AbortController()
  #link: Link | undefined
  #linking: Promise<Link> | undefined
  #everLinked = false
  #failure: { readonly error: PipelineError; readonly untilMs: number } | undefined
  #refusals = 0
  #sftp: Promise<SftpSession> | undefined
  #settling: Promise<void> | undefined
  #loginCount = 0

  constructor(dial: (signal: AbortSignal) => Promise<Dialed>, options: ConnectionOptions) {
    this.#dial = dial
    this.#options = options
    this.#logins = new LoginLimiter(options.logins)
    this.slots = new ChannelSlots(options.maxSessions)
  }

  get name(): string {
    return this.#options.name
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  /** Logins made so far. */
  get loginCount(): number {
    return this.#loginCount
  }

  /**
   * The live connection; made if there is none.
   *
   * @throws TransportUnavailableError it cannot be made now
   * @throws AccessDeniedError the first login was refused
   */
  async link(signal?: AbortSignal): Promise<Link> {
    signal?.throwIfAborted()
    if (this.#closing.signal.aborted) throw this.#closed()
    if (this.#link !== undefined && !this.#link.gone.aborted) return this.#link
    this.#linking ??= this.#connect().finally(() => (this.#linking = undefined))
    return await withAbort(this.#linking, signal)
  }

  /**
   * Open a channel that runs a command. Opening is repeated over a new connection, and while the server allows no more
   * channels; what happens after that is the caller's.
   */
  async exec(command: string, { signal, urgent = false }: ChannelOptions = {}): Promise<Channel> {
    return await this.#open(({ client }) => execOn(client, command), {
      ...(signal !== undefined && { signal }),
      urgent,
    }).then(({ opened, ...rest }) => ({ stream: opened, ...rest }))
  }

  /**
   * Commands that a broken connection left behind have ended: what is asked from now on has a final answer. They are waited
   * for as long as they were allowed to take.
   *
   * @throws TransportUnavailableError
   */
  async settled(signal?: AbortSignal): Promise<void> {
    if (!this.orphans.areAwaited) return
    this.#settling ??= this.#settle().finally(() => (this.#settling = undefined))
    await withAbort(this.#settling, signal)
  }

  async #settle(): Promise<void> {
    const releases: Release[] = []
    const open = async (command: string): Promise<ClientChannel> => {
      const { stream, release } = await this.exec(command)
      releases.push(release)
      return stream
    }
    try {
      await this.orphans.settle(open, this.#closing.signal, true)
    } catch (error) {
      throw error instanceof PipelineError || this.#closing.signal.aborted ? error : this.lost(error)
    } finally {
      for (const release of releases) release()
    }
  }

  /**
   * The one SFTP session of this connection.
   *
   * @throws SftpRefused there is none to be had
   */
  async sftp(signal?: AbortSignal): Promise<SftpSession> {
    signal?.throwIfAborted()
    this.#sftp ??= this.#startSftp()
    return await withAbort(this.#sftp, signal)
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(this.#closed())
    const link = this.#link
    this.#link = undefined
    await this.#linking?.catch(() => undefined)
    link?.end()
  }

  #startSftp(): Promise<SftpSession> {
    const started = this.#open(openSftp, {}).then(({ opened: session, link, release }) => {
      // The place is held for as long as the session lives.
      let over = false
      const ended = (): void => {
        if (over) return
        over = true
        bury(session)
        release()
        if (this.#sftp === started) this.#sftp = undefined
      }
      for (const event of ['end', 'close', 'error'] as const) session.on(event, ended)
      if (link.gone.aborted) ended()
      else link.gone.addEventListener('abort', ended, { once: true })
      return { session, link }
    })
    started.catch(() => {
      if (this.#sftp === started) this.#sftp = undefined
    })
    return started
  }

  /** The error for a connection that broke. */
  lost(cause: unknown): TransportUnavailableError {
    return new TransportUnavailableError(
      `The connection to ${this.name} was lost${cause instanceof Error && cause.message !== '' ? `: ${cause.message}` : ''}.`,
      {
        cause,
        details: { host: this.name },
        hint: 'It is made again by itself; the work waits and goes on.',
      },
    )
  }

  async #open<T>(
    open: (link: Link) => Promise<T>,
    { signal, urgent = false }: ChannelOptions,
  ): Promise<{ opened: T; link: Link; release: Release }> {
    for (let tries = 1; ; tries += 1) {
      const release = await this.slots.take({ urgent, ...(signal !== undefined && { signal }) })
      let link: Link | undefined
      try {
        link = await this.link(signal)
        const opened = await open(link)
        return { opened, link, release }
      } catch (error) {
        release()
        if (signal?.aborted === true) throw signal.reason
        if (error instanceof PipelineError || error instanceof SftpRefused || link === undefined) throw error
        const refused = isChannelRefusal(error)
        if (!refused && tries >= LOST_TRIES) throw this.lost(error)
        if (tries >= CHANNEL_TRIES) {
          throw new TransportUnavailableError(`${this.name} opens no channel: ${textOf(error)}.`, {
            cause: error,
            details: { host: this.name },
            hint: 'See MaxSessions in its sshd_config, and lower `maxSessions` of the transport below it.',
          })
        }
        // Twice in a row: no leftover of a channel that has just closed, but the server's limit.
        if (refused && tries > 1 && !urgent) this.slots.shrinkTo(this.slots.used + 1)
        await delay(CHANNEL_PAUSE_MS * Math.min(tries, 10), undefined, signal === undefined ? {} : { signal })
      }
    }
  }

  async #connect(): Promise<Link> {
    if (this.#failure !== undefined && Date.now() < this.#failure.untilMs) throw this.#failure.error
    const deadlineMs = Date.now() + (this.#everLinked ? this.#options.reconnectMs : 0)
    for (let tries = 1; ; tries += 1) {
      const waitMs = this.#logins.take()
      if (waitMs > 0) await this.#pause(waitMs)
      try {
        const link = this.#watch(await this.#dialed())
        this.#failure = undefined
        this.#refusals = 0
        this.#everLinked = true
        return link
      } catch (error) {
        if (this.#closing.signal.aborted) throw this.#closed()
        if (!(error instanceof PipelineError)) throw error
        if (!error.retryable) throw this.#refused(error)
        const pauseMs = backOffMs(tries)
        if (Date.now() + pauseMs >= deadlineMs) {
          this.#failure = { error, untilMs: Date.now() + Math.min(pauseMs, 5000) }
          throw error
        }
        await this.#pause(pauseMs)
      }
    }
  }

  /** Logged in, and what nobody waits for of an earlier connection has ended. */
  async #dialed(): Promise<Dialed> {
    const dialed = await this.#dial(this.#closing.signal)
    try {
      const open = (command: string): Promise<ClientChannel> => execOn(dialed.client, command)
      await this.orphans.settle(open, this.#closing.signal, false)
      return dialed
    } catch (error) {
      dialed.client.on('error', () => undefined)
      dialed.end()
      throw error instanceof PipelineError || this.#closing.signal.aborted ? error : this.lost(error)
    }
  }

  /** A refused login or an untrusted host is not tried again at once: servers ban those who insist. */
  #refused(error: PipelineError): PipelineError {
    this.#refusals += 1
    const restMs = Math.min(REFUSED_AT_MOST_MS, REFUSED_MS * 2 ** (this.#refusals - 1))
    const { message, details, hint } = error
    const options = { cause: error, details, ...(hint !== undefined && { hint }) }
    // Work that was going well waits for a person to mend the login; it does not fail.
    const shown = this.#everLinked ? new TransportUnavailableError(message, options) : error
    this.#failure = { error: shown, untilMs: Date.now() + restMs }
    return shown
  }

  #watch({ client, end }: Dialed): Link {
    this.#loginCount += 1
    // What the last server allowed says nothing of this one.
    this.slots.restore()
    const gone = new AbortController()
    const link: Link = { client, gone: gone.signal, end }
    let reason: unknown
    client.on('error', (error: Error) => (reason ??= error))
    client.once('close', () => {
      if (this.#link === link) this.#link = undefined
      end()
      gone.abort(this.lost(reason))
    })
    this.#link = link
    return link
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#closing.signal }).catch(() => {
      throw this.#closed()
    })
  }

  #closed(): TransportUnavailableError {
    return new TransportUnavailableError(`The connection to ${this.name} has been closed.`)
  }
}

async function execOn(client: Client, command: string): Promise<ClientChannel> {
  return await new Promise<ClientChannel>((resolve, reject) => {
    client.exec(command, (error, stream) => (error === undefined ? resolve(stream) : reject(error)))
  })
}

/** Errors of a connection that broke are thrown as they are; what else goes wrong is the server's refusal. */
async function openSftp({ client, gone }: Link): Promise<SFTPWrapper> {
  return await new Promise<SFTPWrapper>((resolve, reject) => {
    client.sftp((error, session) => {
      if (error === undefined) resolve(session)
      else if (gone.aborted || isChannelRefusal(error) || isLoss(error)) reject(error)
      else reject(new SftpRefused(error.message, { cause: error }))
    })
  })
}

/** The words of ssh2 for a connection that is not there, or that went away before an answer. */
function isLoss({ message }: Error): boolean {
  return /not connected|no response from server/i.test(message)
}

function isChannelRefusal(error: unknown): boolean {
  return error instanceof Error && typeof (error as { reason?: unknown }).reason === 'number'
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** A shared promise, and one caller's right to stop waiting for it. */
export async function withAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise
  signal.throwIfAborted()
  let onAbort: () => void = () => undefined
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
