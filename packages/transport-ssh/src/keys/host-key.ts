/** Refuses a host whose key is not known: with the fingerprints, and with the next step. */

import { AccessDeniedError, printable } from '@orbweaver/core'
import { textOf, type ResolvedHost } from '../config/resolve.js'
import {
  fingerprint,
  judgeHostKey,
  knownName,
  parseKnownHosts,
  preferredAlgorithms,
  shortType,
  typeOfKey,
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

  get algorithms(): HostKeyAlgorithm[] {
    return preferredAlgorithms(this.#known, this.#names)
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
    const by = is.verdict === 'known' ? placeOf(is.by) : 'site file'
    return { fingerprint: fingerprint(key), type: shortType(typeOfKey(key)), by }
  }

  /** @returns why it is refused; undefined: trusted */
  check(key: Buffer): AccessDeniedError | undefined {
    const is = judgeHostKey(this.#known, this.#names, key)
    this.#verdict = { key, is }
    if (is.verdict === 'known') return undefined
    if (is.verdict !== 'revoked' && this.#pinned.has(fingerprint(key))) return undefined
    return this.#refusal(is, key)
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
          ? `; its certificate authority is (${placeOf(is.authorities[0] as KnownHost)}), but the host shows no certificate signed by it`
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
