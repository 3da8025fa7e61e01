/**
 * Asks a server for the certificate of its host key: the first messages of an SSH connection, then goodbye. Nothing secret is
 * sent, and nothing that comes is trusted: a certificate proves itself, or does not. See RFC 4253 sections 4 to 7, RFC 8731, RFC 5656.
 */

import { createECDH, generateKeyPairSync, randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { WireReader, uint32, wireString } from './wire.js'

const MESSAGE = { disconnect: 1, keyExchange: 20, ecdhInit: 30, ecdhReply: 31 } as const

/** Each with what makes our half of it. */
const EXCHANGES: Readonly<Record<string, () => Buffer>> = {
  'curve25519-sha256': curve25519,
  'curve25519-sha256@libssh.org': curve25519,
  'ecdh-sha2-nistp256': () => createECDH('prime256v1').generateKeys(),
  'ecdh-sha2-nistp384': () => createECDH('secp384r1').generateKeys(),
  'ecdh-sha2-nistp521': () => createECDH('secp521r1').generateKeys(),
}

/** In OpenSSH's order. */
const CERTIFICATES = [
  'ssh-ed25519-cert-v01@openssh.com',
  'ecdsa-sha2-nistp256-cert-v01@openssh.com',
  'ecdsa-sha2-nistp384-cert-v01@openssh.com',
  'ecdsa-sha2-nistp521-cert-v01@openssh.com',
  'rsa-sha2-512-cert-v01@openssh.com',
  'rsa-sha2-256-cert-v01@openssh.com',
]

/** Never used: the exchange ends before. But without one in common a server goes away. */
const CIPHERS = [
  'chacha20-poly1305@openssh.com',
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
]
const MACS = [
  'hmac-sha2-256-etm@openssh.com',
  'hmac-sha2-512-etm@openssh.com',
  'umac-128-etm@openssh.com',
  'hmac-sha2-256',
  'hmac-sha2-512',
  'hmac-sha1',
]

/** A server says a few kilobytes until it shows its key; a large certificate has many names. */
const MOST_BYTES = 256 * 1024
const MOST_LINES = 100

/**
 * @param socket - newly connected to the server; ended by this
 * @returns what the server shows for its key; undefined: it has no certificate, or says nothing that can be read
 */
export async function askForCertificate(
  socket: Duplex,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const timeout = AbortSignal.timeout(timeoutMs)
  const stop = (): void => void socket.destroy()
  const ends = AbortSignal.any([signal, timeout])
  ends.addEventListener('abort', stop, { once: true })
  try {
    socket.on('error', () => undefined) // the iteration below ends with it
    if (ends.aborted) stop()
    return await exchange(socket)
  } catch (error) {
    // A broken connection is no certificate. The login that follows says what is wrong.
    if (error instanceof Error) return undefined
    throw error
  } finally {
    ends.removeEventListener('abort', stop)
    socket.destroy()
    signal.throwIfAborted()
  }
}

async function exchange(socket: Duplex): Promise<Buffer | undefined> {
  const input = new Input(socket)
  socket.write('SSH-2.0-Orbweaver\r\n')
  await input.version()
  socket.write(packet(ourOffer()))
  for (;;) {
    const message = await input.message()
    const type = message.byte()
    if (type === MESSAGE.disconnect) return undefined
    if (type === MESSAGE.keyExchange) {
      message.bytes(16)
      const [theirExchanges, theirKeys] = [message.names(), message.names()]
      if (!CERTIFICATES.some((name) => theirKeys.includes(name))) return undefined
      const chosen = Object.keys(EXCHANGES).find((name) => theirExchanges.includes(name))
      if (chosen === undefined) return undefined
      const half = EXCHANGES[chosen]?.() ?? Buffer.alloc(0)
      socket.write(packet(Buffer.concat([Buffer.from([MESSAGE.ecdhInit]), wireString(half)])))
    }
    if (type === MESSAGE.ecdhReply) return message.string()
  }
}

function ourOffer(): Buffer {
  const names = (list: readonly string[]): Buffer => wireString(list.join(','))
  return Buffer.concat([
    Buffer.from([MESSAGE.keyExchange]),
    randomBytes(16),
    ...[Object.keys(EXCHANGES), CERTIFICATES, CIPHERS, CIPHERS, MACS, MACS, ['none'], ['none'], [], []].map(
      names,
    ),
    Buffer.from([0]), // no guess follows
    uint32(0),
  ])
}

/** Not encrypted: length, length of the padding, message, padding; a multiple of 8. */
function packet(message: Buffer): Buffer {
  const padding = 4 + ((8 - ((5 + message.length + 4) % 8)) % 8)
  const head = Buffer.concat([uint32(1 + message.length + padding), Buffer.from([padding])])
  return Buffer.concat([head, message, randomBytes(padding)])
}

function curve25519(): Buffer {
  const { x = '' } = generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' })
  return Buffer.from(x, 'base64url')
}

/** What the server says, a line or a message at a time. */
class Input {
  readonly #chunks: AsyncIterator<Buffer>
  #data: Buffer = Buffer.alloc(0)
  #received = 0

  constructor(socket: Duplex) {
    this.#chunks = (socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  }

  /** A server may say other things first. */
  async version(): Promise<void> {
    for (let lines = 0; lines < MOST_LINES; lines += 1) {
      let end = this.#data.indexOf(0x0a)
      for (; end < 0; end = this.#data.indexOf(0x0a)) await this.#more()
      const line = this.#data.toString('latin1', 0, end)
      this.#data = this.#data.subarray(end + 1)
      if (line.startsWith('SSH-2.0-') || line.startsWith('SSH-1.99-')) return
    }
    throw new Error('it is no SSH server')
  }

  async message(): Promise<WireReader> {
    while (this.#data.length < 5) await this.#more()
    const length = this.#data.readUInt32BE(0)
    const padding = this.#data.readUInt8(4)
    if (length > MOST_BYTES || length < 2 + padding) throw new Error('it speaks no SSH')
    while (this.#data.length < 4 + length) await this.#more()
    const message = this.#data.subarray(5, 4 + length - padding)
    this.#data = this.#data.subarray(4 + length)
    return new WireReader(message)
  }

  async #more(): Promise<void> {
    const next = await this.#chunks.next()
    if (next.done === true) throw new Error('it has gone away')
    this.#received += next.value.length
    if (this.#received > MOST_BYTES) throw new Error('it says too much')
    this.#data = Buffer.concat([this.#data, next.value])
  }
}
