/** Public keys and signatures in SSH's form, checked with Node's own cryptography. See RFC 4253 6.6, RFC 5656, RFC 8332, RFC 8709. */

import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto'
import { WireReader } from './wire.js'

const CURVES = {
  'ecdsa-sha2-nistp256': { name: 'nistp256', curve: 'P-256', bytes: 32, hash: 'sha256' },
  'ecdsa-sha2-nistp384': { name: 'nistp384', curve: 'P-384', bytes: 48, hash: 'sha384' },
  'ecdsa-sha2-nistp521': { name: 'nistp521', curve: 'P-521', bytes: 66, hash: 'sha512' },
} as const

/** Without SHA-1, as OpenSSH since 8.2. */
const RSA_HASHES: Readonly<Record<string, string>> = { 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512' }
/** OpenSSH's `RequiredRSASize`. */
const RSA_BITS = 1024

/**
 * Whether a key has signed some data.
 *
 * @param key - as in a file of public keys
 * @param signature - name of the algorithm, then what belongs to it
 * @throws Error a key or signature that cannot be read, or of a kind that is not taken
 */
export function isSignedBy(key: Buffer, data: Buffer, signature: Buffer): boolean {
  const keyReader = new WireReader(key)
  const type = keyReader.text()
  const reader = new WireReader(signature)
  const algorithm = reader.text()
  const blob = reader.string()
  const isHardware = type.startsWith('sk-')
  const allowed = type === 'ssh-rsa' ? Object.hasOwn(RSA_HASHES, algorithm) : algorithm === type
  if (!allowed) throw new Error(`a ${type} key does not sign with ${algorithm}`)
  const publicKey = readKey(type.replace(/^sk-(.*)@openssh\.com$/, '$1'), keyReader)
  const application = isHardware ? keyReader.string() : undefined
  if (!keyReader.isAtEnd) throw new Error('more follows the key')
  let signed = data
  if (application !== undefined) {
    // Flags (somebody touched it) and a counter go into what a hardware key signs. See PROTOCOL.u2f of OpenSSH.
    const state = reader.bytes(5)
    const sha256 = (part: Buffer): Buffer => createHash('sha256').update(part).digest()
    signed = Buffer.concat([sha256(application), state, sha256(data)])
    if (((state[0] ?? 0) & 1) === 0) return false
  }
  if (!reader.isAtEnd) throw new Error('more follows the signature')
  return check(type.replace(/^sk-(.*)@openssh\.com$/, '$1'), algorithm, publicKey, signed, blob)
}

function check(type: string, algorithm: string, key: KeyObject, data: Buffer, blob: Buffer): boolean {
  if (type === 'ssh-ed25519') return blob.length === 64 && verify(null, data, key, blob)
  if (type === 'ssh-rsa') {
    const bytes = (key.asymmetricKeyDetails?.modulusLength ?? 0) / 8
    if (blob.length > bytes) return false
    return verify(RSA_HASHES[algorithm], data, key, leftPadded(blob, bytes))
  }
  const { hash, bytes } = curveOf(type)
  const reader = new WireReader(blob)
  const [r, s] = [reader.mpint(), reader.mpint()]
  if (!reader.isAtEnd || r.length > bytes || s.length > bytes) return false
  const both = Buffer.concat([leftPadded(r, bytes), leftPadded(s, bytes)])
  return verify(hash, data, { key, dsaEncoding: 'ieee-p1363' }, both)
}

function readKey(type: string, reader: WireReader): KeyObject {
  const word = (data: Buffer): string => data.toString('base64url')
  if (type === 'ssh-ed25519') {
    return createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: word(reader.string()) },
      format: 'jwk',
    })
  }
  if (type === 'ssh-rsa') {
    const [e, n] = [reader.mpint(), reader.mpint()]
    const key = createPublicKey({ key: { kty: 'RSA', e: word(e), n: word(n) }, format: 'jwk' })
    if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < RSA_BITS) throw new Error('the RSA key is too short')
    return key
  }
  const { name, curve, bytes } = curveOf(type)
  if (reader.text() !== name) throw new Error('the curve is not the one of the type')
  const point = reader.string()
  if (point.length !== 1 + 2 * bytes || point[0] !== 4) throw new Error('the point is not in its plain form')
  const [x, y] = [point.subarray(1, 1 + bytes), point.subarray(1 + bytes)]
  return createPublicKey({ key: { kty: 'EC', crv: curve, x: word(x), y: word(y) }, format: 'jwk' })
}

function curveOf(type: string): (typeof CURVES)[keyof typeof CURVES] {
  if (!Object.hasOwn(CURVES, type)) throw new Error(`${type} keys are not taken`)
  return CURVES[type as keyof typeof CURVES]
}

function leftPadded(data: Buffer, bytes: number): Buffer {
  return data.length >= bytes ? data : Buffer.concat([Buffer.alloc(bytes - data.length), data])
}
