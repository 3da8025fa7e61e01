/** Log in, through as many hosts as it takes. */

import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import ssh2, { type Client } from 'ssh2'
import {
  AccessDeniedError,
  InputError,
  TransportUnavailableError,
  systemErrorCode,
  type PipelineError,
} from '@orbweaver/core'
import type { ResolvedHost } from '../config/resolve.js'
import { askForCertificate } from '../keys/ask-certificate.js'
import { HostKeys } from '../keys/host-key.js'
import { authentication, type Ask, type Secrets } from './authentication.js'
import type { Dialed } from './connection.js'

export interface DialOptions {
  /** Jump hosts first. Asked anew each time: files may have changed. */
  readonly way: () => readonly ResolvedHost[]
  /** Fingerprints trusted for the last host of the way. */
  readonly pinned: readonly string[]
  readonly secrets: Secrets
  /** Told of each host's key. */
  readonly onHostKey?: (host: ResolvedHost, keys: HostKeys) => void
}

/** Quick ciphers first where the processor helps; the rest as ssh2 prefers them. */
const CIPHERS = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'chacha20-poly1305@openssh.com',
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
] as const

/** A person may take this long to answer a question. */
const ANSWER_MS = 5 * 60_000

/** The time for a login. While a person is asked it stands still: who reads a code from a telephone needs longer. */
class LoginClock {
  readonly secrets: Secrets
  readonly #timeoutMs: number
  #over: () => void = () => undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(timeoutMs: number, { passphrase, ask }: Secrets) {
    this.#timeoutMs = timeoutMs
    const timed: Ask = async (question, options) => {
      this.#run(ANSWER_MS)
      try {
        return await (ask as Ask)(question, options)
      } finally {
        this.#run(timeoutMs)
      }
    }
    this.secrets = { passphrase, ask: ask === undefined ? undefined : timed }
  }

  start(over: () => void): void {
    this.#over = over
    this.#run(this.#timeoutMs)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #run(ms: number): void {
    clearTimeout(this.#timer)
    if (!this.#stopped) this.#timer = setTimeout(this.#over, ms)
  }
}

export async function dial(options: DialOptions, signal: AbortSignal): Promise<Dialed> {
  const way = options.way()
  const clients: Client[] = []
  const end = (): void => {
    for (const client of clients.toReversed()) client.end()
  }
  try {
    let reach: Reach | undefined
    for (const [index, host] of way.entries()) {
      const isLast = index === way.length - 1
      const client = await login(host, reach, { ...options, pinned: isLast ? options.pinned : [] }, signal)
      clients.push(client)
      const next = way[index + 1]
      if (next !== undefined) reach = () => through(client, host, next)
    }
    const client = clients.at(-1)
    if (client === undefined) throw new TypeError('the way has no host')
    // A jump host that goes away takes the connection with it.
    for (const jump of clients.slice(0, -1))
      jump.on('error', () => undefined).once('close', () => client.destroy())
    return { client, end }
  } catch (error) {
    for (const client of clients) client.on('error', () => undefined)
    end()
    throw error
  }
}

/** Makes a stream to a host behind others. */
type Reach = () => Promise<Duplex>

/** Over a connection of its own: ssh2 does not speak of certificates. */
async function certificateOf(
  { host, port, connectTimeoutMs }: ResolvedHost,
  reach: Reach | undefined,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const socket = reach === undefined ? connect({ host, port, noDelay: true }) : await reach()
  return await askForCertificate(socket, connectTimeoutMs, signal)
}

async function through(client: Client, host: ResolvedHost, next: ResolvedHost): Promise<Duplex> {
  return await new Promise<Duplex>((resolve, reject) => {
    const gone = (): void => reject(unreachable(next, new Error(`the connection to ${host.alias} was lost`)))
    client.once('close', gone)
    try {
      client.forwardOut('127.0.0.1', 0, next.host, next.port, (error, stream) => {
        client.off('close', gone)
        if (error === undefined) resolve(stream)
        else
          reject(
            unreachable(
              next,
              new Error(`${host.alias} does not pass it on: ${error.message}`, { cause: error }),
            ),
          )
      })
    } catch {
      // ssh2 throws where the connection has just gone, and says no more than that.
      gone()
    }
  })
}

async function login(
  host: ResolvedHost,
  reach: Reach | undefined,
  { pinned, secrets, onHostKey }: DialOptions,
  signal: AbortSignal,
): Promise<Client> {
  signal.throwIfAborted()
  const keys = new HostKeys(host, pinned)
  if (keys.wantsCertificate) {
    const shown = await certificateOf(host, reach, signal)
    if (shown !== undefined) keys.consider(shown)
  }
  const socket = await reach?.()
  const attempts = { tried: [] as string[] }
  let refusal: AccessDeniedError | undefined
  const client = new ssh2.Client()
  const clock = new LoginClock(host.connectTimeoutMs, secrets)
  try {
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => reject(signal.reason as Error)
      signal.addEventListener('abort', stop, { once: true })
      const settled = (): void => {
        signal.removeEventListener('abort', stop)
        clock.stop()
      }
      client.once('ready', () => {
        settled()
        resolve()
      })
      client.on('error', (error: Error & { readonly level?: string }) => {
        if (error.level === 'agent') {
          // One way of several: the next is tried by itself.
          attempts.tried.push(`the agent failed: ${error.message}`)
          return
        }
        settled()
        reject(error)
      })
      client.once('close', () => {
        settled()
        reject(new Error('the connection was closed before the login was done'))
      })
      clock.start(() => {
        settled()
        reject(new Error(`no login within ${host.connectTimeoutMs / 1000} s`))
      })
      client.connect({
        ...(socket === undefined ? { host: host.host, port: host.port } : { sock: socket }),
        username: host.user,
        readyTimeout: 0,
        keepaliveInterval: host.keepAliveMs,
        keepaliveCountMax: host.keepAliveCount,
        tryKeyboard: secrets.ask !== undefined,
        algorithms: { serverHostKey: keys.algorithms, cipher: [...CIPHERS] },
        hostVerifier: (key: Buffer) => {
          refusal = keys.check(key)
          onHostKey?.(host, keys)
          return refusal === undefined
        },
        authHandler: authentication(host, clock.secrets, attempts),
      })
    })
  } catch (error) {
    client.on('error', () => undefined)
    client.destroy()
    if (signal.aborted) throw signal.reason
    throw refusal ?? loginError(host, error, attempts.tried)
  } finally {
    clock.stop()
  }
  // Without it every small message waits for the one before to be acknowledged.
  client.setNoDelay(true)
  return client
}

function loginError(host: ResolvedHost, error: unknown, tried: readonly string[]): PipelineError {
  const level = (error as { level?: unknown }).level
  const who = `${host.user}@${nameOf(host)}`
  if (level === 'client-authentication') {
    return new AccessDeniedError(
      `${who} lets nobody in with what we have. Tried: ${tried.join('; ') || 'nothing'}.`,
      {
        cause: error,
        details: { host: host.host, port: host.port, user: host.user, tried },
        hint: `Try \`ssh ${host.alias}\` by hand. Orbweaver uses the same agent, keys and ~/.ssh/config; \`orbweaver doctor\` shows which.`,
      },
    )
  }
  const message = error instanceof Error ? error.message : String(error)
  if (/no matching/i.test(message)) {
    return new InputError(`${nameOf(host)} and this machine have no way to encrypt in common: ${message}.`, {
      cause: error,
      details: { host: host.host, port: host.port },
      hint: 'The server is very old, or allows only ciphers that are missing here.',
    })
  }
  return unreachable(host, error)
}

function unreachable(host: ResolvedHost, error: unknown): TransportUnavailableError {
  const code = systemErrorCode(error)
  const message = error instanceof Error && error.message !== '' ? error.message : (code ?? String(error))
  return new TransportUnavailableError(`${nameOf(host)} cannot be reached: ${message}.`, {
    cause: error,
    details: { host: host.host, port: host.port, ...(code !== undefined && { code }) },
    hint:
      code === 'ENOTFOUND'
        ? 'Check the name in the site file and in ~/.ssh/config.'
        : 'The work waits and goes on by itself when the host is back.',
  })
}

/** For messages. */
export function nameOf({ host, port }: ResolvedHost): string {
  return port === 22 ? host : `${host}:${port}`
}
