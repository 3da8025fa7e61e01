/** From the site file and OpenSSH's own files to everything that is needed to log in, each value with its origin. */

import { readFileSync } from 'node:fs'
import { homedir, hostname, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { InputError, NotSupportedError, printable } from '@orbweaver/core'
import { readSshConfig, type HostConfig, type ReadHostConfig } from './ssh-config.js'
import type { SshConfig } from './schema.js'

/** One host of the way. */
export interface ResolvedHost {
  /** As it was named. */
  readonly alias: string
  readonly host: string
  readonly port: number
  readonly user: string
  /** Private keys that were named, in order; with the usual ones where none was. */
  readonly identityFiles: readonly string[]
  /** The keys were named, not just tried. */
  readonly identitiesNamed: boolean
  readonly identitiesOnly: boolean
  /** Socket of the agent. */
  readonly agent: string | undefined
  readonly knownHostsFiles: readonly string[]
  /** The name under which the host's key is kept, when it is not its own. */
  readonly hostKeyAlias: string | undefined
  readonly connectTimeoutMs: number
  readonly keepAliveMs: number
  readonly keepAliveCount: number
  /** `hostname` → `/home/ada/.ssh/config:12`. */
  readonly origins: ReadonlyMap<string, string>
  readonly notes: readonly string[]
}

export interface ResolveEnvironment {
  readonly home: string
  readonly localUser: string
  /** `SSH_AUTH_SOCK`. */
  readonly agentSocket: string | undefined
  /** Relative paths of the site file are below it. */
  readonly directory: string
}

/** Tried where no key is named, in OpenSSH's order; hardware-bound kinds are the agent's. */
const USUAL_KEYS = ['id_rsa', 'id_ecdsa', 'id_ed25519'] as const

/** This account on this machine. */
export function localEnvironment(agentSocket: string | undefined, directory: string): ResolveEnvironment {
  return { home: homedir(), localUser: userInfo().username, agentSocket, directory }
}

/** The way to the host: jump hosts first, in the order in which they are reached. */
export function resolveWay(config: SshConfig, environment: ResolveEnvironment): readonly ResolvedHost[] {
  const target = parseDestination(config.host)
  const own = {
    user: config.user ?? target.user,
    port: config.port ?? target.port,
    proxyJump: config.proxyJump,
  }
  return resolveHost(target.host, own, config, environment, [])
}

interface Given {
  readonly user?: string | undefined
  readonly port?: number | undefined
  readonly proxyJump?: string | undefined
}

function resolveHost(
  alias: string,
  given: Given,
  config: SshConfig,
  environment: ResolveEnvironment,
  behind: readonly string[],
): readonly ResolvedHost[] {
  if (behind.length > 8)
    throw new InputError(`The way to ${printable(behind[0] ?? alias)} goes through more than 8 hosts.`)
  const isTarget = behind.length === 0
  const read = readFor(alias, given.user, config, environment)
  const host = describeHost(alias, given, config, environment, read, isTarget)
  const jump = given.proxyJump ?? wordOf(read.values, 'proxyjump')
  const command = read.values.get('proxycommand')?.[0]
  if (jump === undefined && command !== undefined && command.words[0]?.toLowerCase() !== 'none') {
    throw new NotSupportedError(
      `${alias} is reached through a ProxyCommand (${command.origin.file}:${command.origin.line}), which is a shell command and is not run.`,
      { hint: 'Name the hosts between as `proxyJump` of the transport, or as ProxyJump in ~/.ssh/config.' },
    )
  }
  if (jump === undefined || jump.toLowerCase() === 'none') return [host]
  const way: ResolvedHost[] = []
  // Of several the first may have jump hosts of its own; the others are reached through the one before.
  for (const [index, word] of jump.split(',').entries()) {
    const { host: name, user, port } = parseDestination(word.trim())
    const next = { user, port, ...(index > 0 && { proxyJump: 'none' }) }
    way.push(...resolveHost(name, next, config, environment, [...behind, alias]))
  }
  return [...way, host]
}

function readFor(
  alias: string,
  user: string | undefined,
  { configFile }: SshConfig,
  { home, localUser, directory }: ResolveEnvironment,
): ReadHostConfig {
  const files =
    configFile === undefined
      ? [
          { path: join(home, '.ssh', 'config'), system: false },
          { path: '/etc/ssh/ssh_config', system: true },
        ]
      : configFile === 'none'
        ? []
        : [{ path: absolute(configFile, home, directory), system: false, required: true }]
  return readSshConfig({ host: alias, localUser, home, files, ...(user !== undefined && { user }) })
}

function describeHost(
  alias: string,
  given: Given,
  config: SshConfig,
  environment: ResolveEnvironment,
  { values, notes }: ReadHostConfig,
  isTarget: boolean,
): ResolvedHost {
  const { home, localUser, directory } = environment
  const origins = new Map<string, string>()
  const from = (name: string, keyword: string): void => {
    const origin = values.get(keyword)?.[0]?.origin
    if (origin !== undefined) origins.set(name, `${origin.file}:${origin.line}`)
  }
  const settle = <T>(
    name: string,
    site: T | undefined,
    keyword: string,
    found: T | undefined,
    standard: T,
  ): T => {
    if (site !== undefined) origins.set(name, 'site file')
    else if (found !== undefined) from(name, keyword)
    else origins.set(name, 'default')
    return site ?? found ?? standard
  }
  const hostName = settle(
    'host',
    undefined,
    'hostname',
    wordOf(values, 'hostname')?.replaceAll('%h', alias),
    alias,
  )
  const port = settle('port', given.port, 'port', numberOf(values, 'port'), 22)
  const user = settle('user', given.user, 'user', wordOf(values, 'user'), localUser)
  const tokens: Tokens = { home, localUser, alias, host: hostName.toLowerCase(), port, user }
  const path = (word: string): string => absolute(expand(word, tokens), home, home)

  const sitePaths = (value: string | readonly string[] | undefined): readonly string[] | undefined =>
    value === undefined ? undefined : [value].flat().map((word) => absolute(word, home, directory))
  const namedKeys = values
    .get('identityfile')
    ?.map(({ words }) => words[0] ?? '')
    .filter((word) => word.toLowerCase() !== 'none')
  const siteKeys = sitePaths(config.identityFile)
  const keys = settle(
    'keys',
    siteKeys,
    'identityfile',
    namedKeys?.map(path),
    USUAL_KEYS.map((name) => join(home, '.ssh', name)),
  )
  const agentWord = wordOf(values, 'identityagent')
  const agent =
    !config.agent || agentWord?.toLowerCase() === 'none' ? undefined : agentOf(agentWord, environment, path)

  const userFiles = values.get('userknownhostsfile')?.[0]?.words ?? [
    '~/.ssh/known_hosts',
    '~/.ssh/known_hosts2',
  ]
  const globalFiles = values.get('globalknownhostsfile')?.[0]?.words ?? [
    '/etc/ssh/ssh_known_hosts',
    '/etc/ssh/ssh_known_hosts2',
  ]
  const knownHosts = settle(
    'known hosts',
    sitePaths(config.knownHostsFile),
    'userknownhostsfile',
    values.has('userknownhostsfile') ? listed([...userFiles, ...globalFiles], path) : undefined,
    listed([...userFiles, ...globalFiles], path),
  )
  const alive = numberOf(values, 'serveraliveinterval')
  const seconds = numberOf(values, 'connecttimeout')
  const extra: string[] = []
  const strict = wordOf(values, 'stricthostkeychecking')?.toLowerCase()
  if (strict === 'no' || strict === 'off' || strict === 'accept-new') {
    const origin = values.get('stricthostkeychecking')?.[0]?.origin
    extra.push(
      `StrictHostKeyChecking ${strict} (${origin?.file ?? ''}:${origin?.line ?? 0}) is not followed: an unknown host key is always refused`,
    )
  }
  const alias2 = wordOf(values, 'hostkeyalias')
  return {
    alias,
    host: hostName,
    port,
    user,
    identityFiles: keys,
    identitiesNamed: siteKeys !== undefined || namedKeys !== undefined,
    identitiesOnly: siteKeys !== undefined || wordOf(values, 'identitiesonly')?.toLowerCase() === 'yes',
    agent,
    knownHostsFiles: knownHosts,
    hostKeyAlias: alias2,
    connectTimeoutMs: 1000 * (isTarget || seconds === undefined ? config.connectTimeoutSeconds : seconds),
    keepAliveMs:
      1000 *
      (alive !== undefined && alive > 0 ? Math.min(alive, config.keepAliveSeconds) : config.keepAliveSeconds),
    keepAliveCount: numberOf(values, 'serveralivecountmax') ?? 3,
    origins,
    notes: [...notes, ...extra],
  }
}

function listed(words: readonly string[], path: (word: string) => string): readonly string[] {
  return words.filter((word) => word.toLowerCase() !== 'none').map(path)
}

function agentOf(
  word: string | undefined,
  { agentSocket }: ResolveEnvironment,
  path: (word: string) => string,
): string | undefined {
  if (word === undefined || word === 'SSH_AUTH_SOCK') return agentSocket
  return word.startsWith('$') ? undefined : path(word)
}

interface Tokens {
  readonly home: string
  readonly localUser: string
  readonly alias: string
  readonly host: string
  readonly port: number
  readonly user: string
}

/** The tokens that OpenSSH takes in file names, and `~`. */
function expand(word: string, { home, localUser, alias, host, port, user }: Tokens): string {
  const values: Readonly<Record<string, string>> = {
    '%': '%',
    d: home,
    h: host,
    k: alias,
    L: hostname().split('.')[0] ?? '',
    l: hostname(),
    n: alias,
    p: String(port),
    r: user,
    u: localUser,
  }
  return word.replace(/%(.)/g, (whole, letter: string) => values[letter] ?? whole)
}

function absolute(path: string, home: string, directory: string): string {
  const expanded = path === '~' || path.startsWith('~/') ? join(home, path.slice(1)) : path
  return resolve(directory, expanded)
}

function wordOf(values: HostConfig, keyword: string): string | undefined {
  return values.get(keyword)?.[0]?.words[0]
}

function numberOf(values: HostConfig, keyword: string): number | undefined {
  const word = wordOf(values, keyword)
  const number = word === undefined ? NaN : Number(word)
  return Number.isFinite(number) ? number : undefined
}

/** `[user@]host[:port]`, `[address]:port`, `ssh://user@host:port`. */
export function parseDestination(text: string): { host: string; user?: string; port?: number } {
  const plain = text.replace(/^ssh:\/\//, '').replace(/\/$/, '')
  const at = plain.lastIndexOf('@')
  const user = at < 0 ? undefined : plain.slice(0, at)
  const place = plain.slice(at + 1)
  const match = /^\[([^\]]+)\](?::(\d+))?$/.exec(place) ?? /^([^:]+)(?::(\d+))?$/.exec(place)
  const host = match?.[1] ?? place
  // A host that begins like an option, or holds blanks, is one of somebody's tricks.
  if (host === '' || host.startsWith('-') || /[\s\0]/.test(host)) {
    throw new InputError(`${printable(text)} names no host to connect to.`)
  }
  return {
    host,
    ...(user !== undefined && { user }),
    ...(match?.[2] !== undefined && { port: Number(match[2]) }),
  }
}

/** The text of a file, or undefined where there is none. */
export function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = (error as { code?: unknown }).code
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return undefined
    throw error
  }
}
