/** Whether a host's key may be trusted, decided as OpenSSH decides with `StrictHostKeyChecking yes`. See sshd(8), SSH_KNOWN_HOSTS. */

import { createHash, createHmac } from 'node:crypto'
import { matchesPatterns } from '../config/ssh-config.js'
import { certificateProblem, type HostCertificate } from './host-certificate.js'

export interface KnownHost {
  readonly file: string
  readonly line: number
  readonly marker: 'none' | 'revoked' | 'cert-authority'
  /** Patterns as written, or one hashed name. */
  readonly hosts: string
  readonly type: string
  readonly key: Buffer
}

export interface KnownHostsFile {
  readonly path: string
  readonly text: string
}

export function parseKnownHosts(files: readonly KnownHostsFile[]): readonly KnownHost[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => {
      const words = line.trim().split(/\s+/)
      if (words[0] === '' || words[0]?.startsWith('#')) return []
      const marker = words[0]?.startsWith('@') === true ? words.shift() : undefined
      const [hosts, type, base64] = words
      if (hosts === undefined || type === undefined || base64 === undefined) return []
      if (marker !== undefined && marker !== '@revoked' && marker !== '@cert-authority') return []
      const key = Buffer.from(base64, 'base64')
      if (key.length === 0 || typeOfKey(key) !== type) return []
      const kind = marker === undefined ? 'none' : marker === '@revoked' ? 'revoked' : 'cert-authority'
      return [{ file: path, line: index + 1, marker: kind, hosts, type, key } as const]
    }),
  )
}

/** The name under which a host is known: `[host]:port` where the port is not 22. */
export function knownName(host: string, port: number): string {
  const lower = host.toLowerCase()
  return port === 22 ? lower : `[${lower}]:${port}`
}

/** The lines of a host. */
export function linesOf(known: readonly KnownHost[], name: string): readonly KnownHost[] {
  return known.filter(({ hosts }) => hostMatches(hosts, name))
}

function hostMatches(hosts: string, name: string): boolean {
  if (!hosts.startsWith('|1|')) return matchesPatterns(hosts.toLowerCase().split(','), name)
  const [, , salt = '', hash = ''] = hosts.split('|')
  const wanted = Buffer.from(hash, 'base64')
  return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest().equals(wanted)
}

export type HostKeyVerdict =
  | { readonly verdict: 'known'; readonly by: KnownHost }
  | { readonly verdict: 'revoked'; readonly by: KnownHost }
  /** Another key of the same type is known. */
  | { readonly verdict: 'changed'; readonly by: KnownHost }
  /** Keys of other types are known, or none. */
  | {
      readonly verdict: 'unknown'
      readonly others: readonly KnownHost[]
      readonly authorities: readonly KnownHost[]
    }

export interface HostNames {
  readonly host: string
  readonly port: number
  /** `HostKeyAlias`: then neither host nor port counts. */
  readonly alias: string | undefined
}

/** @param key - as the server sent it */
export function judgeHostKey(known: readonly KnownHost[], names: HostNames, key: Buffer): HostKeyVerdict {
  const name = names.alias?.toLowerCase() ?? knownName(names.host, names.port)
  const verdict = judgeUnder(known, name, key)
  // OpenSSH takes a key that is kept without a port for any port, but not as a sign of change.
  if (verdict.verdict === 'unknown' && names.alias === undefined && names.port !== 22) {
    const plain = judgeUnder(known, knownName(names.host, 22), key)
    if (plain.verdict === 'known' || plain.verdict === 'revoked') return plain
  }
  return verdict
}

export type CertificateVerdict =
  | { readonly verdict: 'certified'; readonly by: KnownHost }
  | { readonly verdict: 'revoked'; readonly by: KnownHost }
  /** Its authority is trusted for the host, and it says nothing for it. */
  | { readonly verdict: 'invalid'; readonly by: KnownHost; readonly reason: string }
  /** Nobody knows its authority. */
  | { readonly verdict: 'unknown' }

/** @param nowSeconds - since the epoch */
export function judgeCertificate(
  known: readonly KnownHost[],
  names: HostNames,
  certificate: HostCertificate,
  nowSeconds: number,
): CertificateVerdict {
  const principal = (names.alias ?? names.host).toLowerCase()
  const judge = (name: string): CertificateVerdict => {
    const lines = linesOf(known, name)
    const { key, authority } = certificate
    const revoked = lines.find(
      (line) => line.marker === 'revoked' && (line.key.equals(authority) || line.key.equals(key)),
    )
    if (revoked !== undefined) return { verdict: 'revoked', by: revoked }
    const by = lines.find((line) => line.marker === 'cert-authority' && line.key.equals(authority))
    if (by === undefined) return { verdict: 'unknown' }
    const reason = certificateProblem(certificate, principal, nowSeconds)
    return reason === undefined ? { verdict: 'certified', by } : { verdict: 'invalid', by, reason }
  }
  const verdict = judge(names.alias?.toLowerCase() ?? knownName(names.host, names.port))
  if (verdict.verdict !== 'unknown' || names.alias !== undefined || names.port === 22) return verdict
  return judge(knownName(names.host, 22))
}

/** A certificate could change what is decided about the host: an authority is named for it, or something is revoked. */
export function certificateMatters(known: readonly KnownHost[], names: HostNames): boolean {
  const own = names.alias?.toLowerCase() ?? knownName(names.host, names.port)
  const under = names.alias === undefined && names.port !== 22 ? [own, knownName(names.host, 22)] : [own]
  return under.some((name) => linesOf(known, name).some(({ marker }) => marker !== 'none'))
}

function judgeUnder(known: readonly KnownHost[], name: string, key: Buffer): HostKeyVerdict {
  const lines = linesOf(known, name)
  const revoked = lines.find((line) => line.marker === 'revoked' && line.key.equals(key))
  if (revoked !== undefined) return { verdict: 'revoked', by: revoked }
  const plain = lines.filter(({ marker }) => marker === 'none')
  const same = plain.find((line) => line.key.equals(key))
  if (same !== undefined) return { verdict: 'known', by: same }
  const type = typeOfKey(key)
  const changed = plain.find((line) => line.type === type)
  if (changed !== undefined) return { verdict: 'changed', by: changed }
  return {
    verdict: 'unknown',
    others: plain,
    authorities: lines.filter(({ marker }) => marker === 'cert-authority'),
  }
}

/** What ssh2 can check a signature of, in OpenSSH's order of preference. */
const ALGORITHMS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
  'ssh-rsa',
] as const

export type HostKeyAlgorithm = (typeof ALGORITHMS)[number]

export function keyTypeOf(algorithm: HostKeyAlgorithm): string {
  return algorithm.startsWith('rsa-sha2-') ? 'ssh-rsa' : algorithm
}

/** Algorithms of keys that are known first: a server with several keys is asked for one that can be checked. */
export function preferredAlgorithms(known: readonly KnownHost[], names: HostNames): HostKeyAlgorithm[] {
  const name = names.alias?.toLowerCase() ?? knownName(names.host, names.port)
  const typesUnder = (under: string): ReadonlySet<string> =>
    new Set(
      linesOf(known, under)
        .filter(({ marker }) => marker === 'none')
        .map(({ type }) => type),
    )
  let types = typesUnder(name)
  if (types.size === 0 && names.alias === undefined && names.port !== 22)
    types = typesUnder(knownName(names.host, 22))
  const isKnown = (algorithm: HostKeyAlgorithm): boolean => types.has(keyTypeOf(algorithm))
  return [...ALGORITHMS.filter(isKnown), ...ALGORITHMS.filter((algorithm) => !isKnown(algorithm))]
}

/** The first string of a public key in wire format. */
export function typeOfKey(key: Buffer): string {
  if (key.length < 4) return ''
  return key.toString('latin1', 4, 4 + Math.min(key.readUInt32BE(0), 100))
}

/** `SHA256:…`, as `ssh-keygen -l` prints it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`
}

const SHORT: Readonly<Record<string, string>> = { 'ssh-ed25519': 'ED25519', 'ssh-rsa': 'RSA' }

/** `ED25519`, `RSA`, `ECDSA`: the words of OpenSSH's messages. */
export function shortType(type: string): string {
  return SHORT[type] ?? (type.startsWith('ecdsa-') ? 'ECDSA' : type)
}
