/** Refuses a host whose key is not known: with the fingerprints, and with the next step. */

import { AccessDeniedError, printable } from '@orbweaver/core'
import { textOf, type ResolvedHost } from '../config/resolve.js'
import { readCertificate, type HostCertificate } from './host-certificate.js'
import {
  certificateMatters,
  fingerprint,
  judgeCertificate,
  judgeHostKey,
  keyTypeOf,
  knownName,
  parseKnownHosts,
  preferredAlgorithms,
  shortType,
  typeOfKey,
  type CertificateVerdict,
  type HostKeyAlgorithm,
  type HostKeyVerdict,
  type HostNames,
  type KnownHost,
} from './known-hosts.js'

/** One host's keys, read when a connection is made: what a person just added counts. */
export class HostKeys {
  readonly #host: ResolvedHost
  readonly #pinned: ReadonlySet<string>
  readonly #known: readonly KnownHost[]
  readonly #names: HostNames
  #verdict: { readonly key: Buffer; readonly is: HostKeyVerdict } | undefined
  #certificate: HostCertificate | undefined
  #certified: CertificateVerdict | undefined

  constructor(host: ResolvedHost, pinned: readonly string[]) {
    this.#host = host
    this.#pinned = new Set(pinned.map((text) => text.replace(/=+$/, '')))
    this.#known = parseKnownHosts(
      host.knownHostsFiles.flatMap((path) => {
        const text = textOf(path)
        return text === undefined ? [] : [{ path, text }]
      }),
    )
    this.#names = { host: host.host, port: host.port, alias: host.hostKeyAlias }
  }

  /** The kind of key that a certificate is about comes first, where there is one: that key is to be proved. */
  get algorithms(): HostKeyAlgorithm[] {
    const preferred = preferredAlgorithms(this.#known, this.#names)
    const certificate = this.#certificate
    if (certificate === undefined) return preferred
    const type = typeOfKey(certificate.key)
    const isOfIt = (algorithm: HostKeyAlgorithm): boolean => keyTypeOf(algorithm) === type
    return [...preferred.filter(isOfIt), ...preferred.filter((algorithm) => !isOfIt(algorithm))]
  }

  /** The server's certificate could matter: it is worth asking for. */
  get wantsCertificate(): boolean {
    return certificateMatters(this.#known, this.#names)
  }

  /** What the server has shown beside the connection. Nothing in it is trusted before its signature and its key are checked. */
  consider(shown: Buffer): void {
    try {
      const certificate = readCertificate(shown)
      const nowSeconds = Date.now() / 1000
      this.#certified = judgeCertificate(this.#known, this.#names, certificate, nowSeconds)
      if (this.#certified.verdict !== 'unknown') this.#certificate = certificate
    } catch (error) {
      // Not a certificate that anybody could read: as if none had been shown.
      if (!(error instanceof Error)) throw error
      this.#certificate = undefined
    }
  }

  get known(): readonly KnownHost[] {
    return this.#known
  }

  get names(): HostNames {
    return this.#names
  }

  /** The key of the connection, once there was one. */
  get seen(): { readonly fingerprint: string; readonly type: string; readonly by: string } | undefined {
    if (this.#verdict === undefined) return undefined
    const { key, is } = this.#verdict
    const by =
      is.verdict === 'known'
        ? placeOf(is.by)
        : this.#certified?.verdict === 'certified'
          ? `certificate ${printable(this.#certificate?.id ?? '')} of the authority in ${placeOf(this.#certified.by)}`
          : 'site file'
    return { fingerprint: fingerprint(key), type: shortType(typeOfKey(key)), by }
  }

  /** @returns why it is refused; undefined: trusted */
  check(key: Buffer): AccessDeniedError | undefined {
    const is = judgeHostKey(this.#known, this.#names, key)
    this.#verdict = { key, is }
    // The connection proves that the server has this key; the certificate must be about the very same.
    const certified = this.#certificate?.key.equals(key) === true ? this.#certified : undefined
    if (is.verdict !== 'revoked' && certified?.verdict === 'revoked')
      return this.#refusal({ verdict: 'revoked', by: certified.by }, key)
    if (is.verdict === 'known') return undefined
    if (is.verdict !== 'revoked' && certified?.verdict === 'certified') return undefined
    if (is.verdict !== 'revoked' && this.#pinned.has(fingerprint(key))) return undefined
    return this.#refusal(is, key)
  }

  get #certificateProblem(): string {
    const verdict = this.#certified
    return verdict?.verdict === 'invalid'
      ? `the certificate that the host shows does not count: ${verdict.reason}`
      : 'the host shows no certificate signed by it'
  }

  #refusal(is: Exclude<HostKeyVerdict, { verdict: 'known' }>, key: Buffer): AccessDeniedError {
    const { host, port, hostKeyAlias, knownHostsFiles } = this.#host
    const name = hostKeyAlias ?? knownName(host, port)
    const shown = printable(name)
    const type = shortType(typeOfKey(key))
    const print = fingerprint(key)
    const file = knownHostsFiles[0] ?? '~/.ssh/known_hosts'
    const scan = `ssh-keyscan -t ${type.toLowerCase()}${port === 22 ? '' : ` -p ${port}`} ${host} >> ${file}`
    const details = { host, port, type, fingerprint: print, verdict: is.verdict }
    if (is.verdict === 'revoked') {
      return new AccessDeniedError(
        `The ${type} host key of ${shown}, ${print}, is marked as revoked in ${placeOf(is.by)}.`,
        { details, hint: 'Do not connect. Ask those who run the host for its present key.' },
      )
    }
    if (is.verdict === 'changed') {
      return new AccessDeniedError(
        `The ${type} host key of ${shown} has changed: it is ${print}, and ${placeOf(is.by)} has ${fingerprint(is.by.key)}. Somebody may be listening in, or the host was set up anew.`,
        {
          details: { ...details, known: fingerprint(is.by.key), file: is.by.file, line: is.by.line },
          hint: `Ask those who run the host whether ${print} is right. If it is: ssh-keygen -R '${name}' -f ${is.by.file} && ${scan}`,
        },
      )
    }
    const others = [...new Set(is.others.map((line) => shortType(line.type)))]
    const known =
      is.others.length > 0
        ? `, only its ${others.join(' and ')} key (${placeOf(is.others[0] as KnownHost)})`
        : is.authorities.length > 0
          ? `; its certificate authority is (${placeOf(is.authorities[0] as KnownHost)}), but ${this.#certificateProblem}`
          : ''
    return new AccessDeniedError(`The ${type} host key of ${shown}, ${print}, is not known${known}.`, {
      details: { ...details, files: knownHostsFiles },
      hint: `Ask those who run the host whether ${print} is right. If it is: ${scan} (compare what it writes), or set \`hostKey: "${print}"\` of the transport.`,
    })
  }
}

function placeOf({ file, line }: KnownHost): string {
  return `${file}:${line}`
}
