/** Log in, through as many hosts as it takes. */

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
import { HostKeys } from '../keys/host-key.js'
import { authentication, type Secrets } from './authentication.js'
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

export async function dial(options: DialOptions, signal: AbortSignal): Promise<Dialed> {
  const way = options.way()
  const clients: Client[] = []
  const end = (): void => {
    for (const client of clients.toReversed()) client.end()
  }
  try {
    let socket: Duplex | undefined
    for (const [index, host] of way.entries()) {
      const isLast = index === way.length - 1
      const client = await login(host, socket, { ...options, pinned: isLast ? options.pinned : [] }, signal)
      clients.push(client)
      const next = way[index + 1]
      if (next !== undefined) socket = await through(client, host, next)
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

async function through(client: Client, host: ResolvedHost, next: ResolvedHost): Promise<Duplex> {
  return await new Promise<Duplex>((resolve, reject) => {
    const gone = (): void => reject(unreachable(next, new Error(`the connection to ${host.alias} was lost`)))
    client.once('close', gone)
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
  })
}

async function login(
  host: ResolvedHost,
  socket: Duplex | undefined,
  { pinned, secrets, onHostKey }: DialOptions,
  signal: AbortSignal,
): Promise<Client> {
  signal.throwIfAborted()
  const keys = new HostKeys(host, pinned)
  const attempts = { tried: [] as string[] }
  let refusal: AccessDeniedError | undefined
  const client = new ssh2.Client()
  const timeoutMs = host.connectTimeoutMs + (secrets.ask === undefined ? 0 : ANSWER_MS)
  try {
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => reject(signal.reason as Error)
      signal.addEventListener('abort', stop, { once: true })
      const settled = (): void => signal.removeEventListener('abort', stop)
      client.once('ready', () => {
        settled()
        resolve()
      })
      client.on('error', (error: Error) => {
        settled()
        reject(error)
      })
      client.once('close', () => {
        settled()
        reject(new Error('the connection was closed before the login was done'))
      })
      client.connect({
        ...(socket === undefined ? { host: host.host, port: host.port } : { sock: socket }),
        username: host.user,
        readyTimeout: timeoutMs,
        timeout: host.connectTimeoutMs,
        keepaliveInterval: host.keepAliveMs,
        keepaliveCountMax: host.keepAliveCount,
        tryKeyboard: secrets.ask !== undefined,
        algorithms: { serverHostKey: keys.algorithms, cipher: [...CIPHERS] },
        hostVerifier: (key: Buffer) => {
          refusal = keys.check(key)
          onHostKey?.(host, keys)
          return refusal === undefined
        },
        authHandler: authentication(host, secrets, attempts),
      })
    })
  } catch (error) {
    client.on('error', () => undefined)
    client.destroy()
    if (signal.aborted) throw signal.reason
    throw refusal ?? loginError(host, error, attempts.tried)
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
