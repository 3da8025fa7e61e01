/** Who we are to an XNAT: from the environment, else from `~/.netrc`. Never from a site file, never on a command line. */

import { readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { AccessDeniedError, ConfigError, printable, systemErrorCode } from '@orbweaver/core'

/** User name and password, or an alias token's `alias` and `secret`. Prints as `XnatCredentials(name)`, without the secret. */
export class XnatCredentials {
  readonly name: string
  readonly #secret: string
  /** Where they came from, for messages: `XNAT_USER`, a file. */
  readonly origin: string

  constructor(name: string, secret: string, origin = 'the program') {
    this.name = name
    this.#secret = secret
    this.origin = origin
  }

  /** @internal */
  authorization(): string {
    return `Basic ${Buffer.from(`${this.name}:${this.#secret}`, 'utf8').toString('base64')}`
  }

  /** XNAT splits the decoded header at every colon: such a password only works in the login form. @internal */
  needsForm(): boolean {
    return this.#secret.includes(':') || this.name.includes(':')
  }

  /** @internal */
  form(): string {
    return new URLSearchParams({ username: this.name, password: this.#secret }).toString()
  }

  toString(): string {
    return `XnatCredentials(${this.name})`
  }

  toJSON(): string {
    return this.toString()
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}

export interface FindCredentialsOptions {
  /** Default `process.env`. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Default `$NETRC`, else `~/.netrc`. */
  readonly netrc?: string
}

/**
 * `XNAT_USER` and `XNAT_PASS`, else the entry for the host in `~/.netrc`. When `XNAT_HOST` is set and names another server,
 * the pair from the environment is not sent to this one.
 *
 * @throws AccessDeniedError there are none, or the file can be read by others
 */
export async function findCredentials(
  url: string,
  options: FindCredentialsOptions = {},
): Promise<XnatCredentials> {
  const environment = options.environment ?? process.env
  const { XNAT_USER: user, XNAT_PASS: password, XNAT_HOST: host } = environment
  const wanted = new URL(url).hostname
  const elsewhere = host !== undefined && host !== '' && hostOf(host) !== wanted
  if (user !== undefined && user !== '' && password !== undefined && password !== '' && !elsewhere) {
    return new XnatCredentials(user, password, 'XNAT_USER')
  }
  const path = options.netrc ?? environment.NETRC ?? join(homedir(), '.netrc')
  const text = await readPrivate(path)
  const entry = text === undefined ? undefined : netrcEntry(text, wanted)
  if (entry !== undefined) return new XnatCredentials(entry.login, entry.password, path)
  const others = elsewhere
    ? ` XNAT_HOST names ${printable(hostOf(host))}, so XNAT_USER is not used here.`
    : ''
  throw new AccessDeniedError(
    `There are no credentials for ${wanted}: XNAT_USER and XNAT_PASS are not set, and ${
      text === undefined ? `there is no ${path}` : `${path} has no entry for it`
    }.${others}`,
    {
      details: { host: wanted },
      hint: 'Set XNAT_USER and XNAT_PASS (an alias token is best), or add the host to ~/.netrc with mode 600.',
    },
  )
}

/** The URL of `XNAT_HOST`, which may lack its scheme. Undefined: not set. */
export function urlFromEnvironment(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  const host = environment.XNAT_HOST
  if (host === undefined || host === '') return undefined
  return /^https?:\/\//i.test(host) ? host : `https://${host}`
}

function hostOf(text: string): string {
  try {
    return new URL(/^https?:\/\//i.test(text) ? text : `https://${text}`).hostname
  } catch (error) {
    throw new ConfigError([{ file: 'XNAT_HOST', path: '', message: `${printable(text)} is no URL` }], {
      cause: error,
    })
  }
}

async function readPrivate(path: string): Promise<string | undefined> {
  try {
    const { mode } = await stat(path)
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new AccessDeniedError(`${path} can be read by others (mode ${(mode & 0o777).toString(8)}).`, {
        details: { path },
        hint: `Run: chmod 600 ${path}`,
      })
    }
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    if (systemErrorCode(error) === 'EACCES') {
      throw new AccessDeniedError(`${path} cannot be read.`, { details: { path }, cause: error })
    }
    throw error
  }
}

interface NetrcEntry {
  readonly login: string
  readonly password: string
}

/** The entry of a machine, else of `default`. Words are split at blanks; `macdef` bodies end at an empty line. */
export function netrcEntry(text: string, host: string): NetrcEntry | undefined {
  const words = text
    .replace(/^[ \t]*macdef\b[^\n]*\n(?:[^\n]+\n)*/gm, '')
    .split('\n')
    .map((line) => line.replace(/^\s*#.*$/, ''))
    .join('\n')
    .match(/"(?:[^"\\]|\\.)*"|\S+/g)
  let machine: string | undefined
  let current: { login?: string; password?: string } = {}
  let fallback: NetrcEntry | undefined
  let found: NetrcEntry | undefined
  const keep = (): void => {
    const { login, password } = current
    if (login === undefined || password === undefined) return
    if (machine === host) found ??= { login, password }
    else if (machine === '') fallback ??= { login, password }
  }
  for (let at = 0; words !== null && at < words.length; at += 1) {
    const word = words[at]
    if (word === 'machine' || word === 'default') {
      keep()
      current = {}
      machine = word === 'default' ? '' : unquoted(words[(at += 1)])
    } else if (word === 'login' || word === 'password') {
      current[word] = unquoted(words[(at += 1)])
    } else if (word === 'account') {
      at += 1
    }
  }
  keep()
  return found ?? fallback
}

function unquoted(word: string | undefined): string {
  if (word === undefined) return ''
  return word.length > 1 && word.startsWith('"') && word.endsWith('"')
    ? word.slice(1, -1).replace(/\\(.)/g, '$1')
    : word
}
