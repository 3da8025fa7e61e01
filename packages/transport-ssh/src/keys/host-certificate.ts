/**
 * Certificates of hosts, judged as OpenSSH judges them. See PROTOCOL.certkeys of OpenSSH.
 *
 * A certificate is a public document: an authority's signature under a host's public key and its names. It proves nothing about
 * who is at the other end; that the connection does, for the plain key. Together they say what OpenSSH wants to know.
 */

import { printable } from '@orbweaver/core'
import { isSignedBy } from './signature.js'
import { WireReader, wireString } from './wire.js'

const SUFFIX = '-cert-v01@openssh.com'
const HOST = 2

/** How many fields a key of a type has. */
const FIELDS: Readonly<Record<string, number>> = {
  'ssh-ed25519': 1,
  'ssh-rsa': 2,
  'ecdsa-sha2-nistp256': 2,
  'ecdsa-sha2-nistp384': 2,
  'ecdsa-sha2-nistp521': 2,
}

export interface HostCertificate {
  /** The plain public key that it is about, as in a file of known hosts. */
  readonly key: Buffer
  /** The authority's public key. */
  readonly authority: Buffer
  readonly id: string
  readonly kind: number
  readonly principals: readonly string[]
  /** Seconds of the epoch: from the first on, before the second. */
  readonly validAfter: bigint
  readonly validBefore: bigint
  readonly criticalOptions: Buffer
  /** What the authority has signed, and how. */
  readonly signed: Buffer
  readonly signature: Buffer
}

/**
 * @param data - as a server sends it
 * @throws Error it is no certificate, or cannot be read
 */
export function readCertificate(data: Buffer): HostCertificate {
  const reader = new WireReader(data)
  const whole = reader.text()
  const type = whole.slice(0, -SUFFIX.length)
  const fields = FIELDS[type]
  if (!whole.endsWith(SUFFIX) || fields === undefined) throw new Error('it is no certificate of a known kind')
  reader.string() // a random value that makes each one different
  const parts = Array.from({ length: fields }, () => wireString(reader.string()))
  const key = Buffer.concat([wireString(type), ...parts])
  reader.uint64() // serial number
  const kind = reader.uint32()
  const id = reader.text()
  const principals = stringsOf(reader.string())
  const validAfter = reader.uint64()
  const validBefore = reader.uint64()
  const criticalOptions = reader.string()
  reader.string() // extensions
  reader.string() // reserved
  const authority = reader.string()
  const signed = data.subarray(0, reader.position)
  const signature = reader.string()
  if (!reader.isAtEnd) throw new Error('more follows the certificate')
  return {
    key,
    authority,
    id,
    kind,
    principals,
    validAfter,
    validBefore,
    criticalOptions,
    signed,
    signature,
  }
}

/**
 * Why a certificate says nothing for a host; undefined: it does, for who trusts its authority.
 *
 * @param name - of the host, in small letters, without a port
 */
export function certificateProblem(
  certificate: HostCertificate,
  name: string,
  nowSeconds: number,
): string | undefined {
  const { kind, principals, validAfter, validBefore, criticalOptions, authority, signed, signature } =
    certificate
  if (kind !== HOST) return 'it is not for a host'
  if (criticalOptions.length > 0) return 'it has conditions that nobody here knows'
  const now = BigInt(Math.floor(nowSeconds))
  if (now < validAfter) return `it is valid from ${dateOf(validAfter)} only`
  if (now >= validBefore) return `it has expired on ${dateOf(validBefore)}`
  if (principals.length > 0 && !principals.includes(name))
    return `it is for ${principals.map((one) => printable(one)).join(', ')}, not for ${printable(name)}`
  try {
    if (isSignedBy(authority, signed, signature)) return undefined
    return 'the signature of its authority is wrong'
  } catch (error) {
    return `its signature cannot be checked: ${error instanceof Error ? error.message : String(error)}`
  }
}

function dateOf(seconds: bigint): string {
  // The largest times mean for ever, and fit no date.
  return seconds > 253_402_300_799n
    ? 'a day that never comes'
    : new Date(Number(seconds) * 1000).toISOString()
}

function stringsOf(data: Buffer): readonly string[] {
  const reader = new WireReader(data)
  const found: string[] = []
  while (!reader.isAtEnd) found.push(reader.text())
  return found
}
