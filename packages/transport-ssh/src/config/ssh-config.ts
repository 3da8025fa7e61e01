/**
 * OpenSSH's client configuration, as far as it says how to reach a host: `ssh_config(5)` of OpenSSH 9. First value wins,
 * `Include` counts where it stands, `Host` and `Match` (`all`, `host`, `originalhost`, `user`, `localuser`) decide what applies.
 * `Match exec` would run a program and is never true here.
 */

import { readFileSync, readdirSync } from 'node:fs'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { ConfigError, systemErrorCode } from '@orbweaver/core'

/** Where a value comes from. */
export interface Origin {
  readonly file: string
  readonly line: number
}

export interface ConfigValue {
  /** Arguments of the keyword, quotes removed. */
  readonly words: readonly string[]
  readonly origin: Origin
}

/** Values by keyword in lower case. Those that add up (`IdentityFile`, `CertificateFile`) have several. */
export type HostConfig = ReadonlyMap<string, readonly ConfigValue[]>

export interface SshConfigQuery {
  /** The word that was given for the host. */
  readonly host: string
  /** The user, when it is decided already. */
  readonly user?: string
  readonly localUser: string
  readonly home: string
  /** Files in the order in which they count; missing ones are skipped. `system`: relative includes are below its folder. */
  readonly files: readonly { readonly path: string; readonly system: boolean; readonly required?: boolean }[]
}

const MAX_INCLUDES = 16
const ADDING = new Set([
  'identityfile',
  'certificatefile',
  'localforward',
  'remoteforward',
  'sendenv',
  'setenv',
])

export interface ReadHostConfig {
  readonly values: HostConfig
  /** Files that were read. */
  readonly files: readonly string[]
  /** What was not followed, and where. */
  readonly notes: readonly string[]
}

export function readSshConfig(query: SshConfigQuery): ReadHostConfig {
  const reader = new Reader(query)
  for (const { path, system, required } of query.files) {
    if (!reader.read(path, system) && required === true) {
      throw new ConfigError([
        {
          file: path,
          path: '',
          message: 'this file is named as `configFile` of the SSH transport and cannot be read',
        },
      ])
    }
  }
  return { values: reader.values, files: reader.files, notes: reader.notes }
}

class Reader {
  readonly values = new Map<string, ConfigValue[]>()
  readonly files: string[] = []
  readonly notes: string[] = []
  readonly #query: SshConfigQuery

  constructor(query: SshConfigQuery) {
    this.#query = query
  }

  /** @returns whether it is there */
  read(path: string, system: boolean, depth = 0, active = true): boolean {
    let text: string
    try {
      text = readFileSync(path, 'utf8')
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return false
      throw error
    }
    this.files.push(path)
    let applies = active
    for (const [index, line] of text.split('\n').entries()) {
      const origin = { file: path, line: index + 1 }
      const [keyword, ...words] = wordsOf(line, origin)
      if (keyword === undefined) continue
      const name = keyword.toLowerCase()
      if (name === 'host') applies = active && this.#hostMatches(words)
      else if (name === 'match') applies = active && this.#matches(words, origin)
      else if (name === 'include') {
        if (depth >= MAX_INCLUDES) throw problem(origin, `more than ${MAX_INCLUDES} files include each other`)
        for (const pattern of words) {
          for (const file of this.#included(pattern, system)) this.read(file, system, depth + 1, applies)
        }
      } else if (applies) this.#set(name, words, origin)
    }
    return true
  }

  #set(name: string, words: readonly string[], origin: Origin): void {
    if (words.length === 0) throw problem(origin, `${name} has no value`)
    const there = this.values.get(name)
    if (there === undefined) this.values.set(name, [{ words, origin }])
    else if (ADDING.has(name)) there.push({ words, origin })
  }

  #hostMatches(patterns: readonly string[]): boolean {
    return matchesPatterns(patterns, this.#query.host)
  }

  #matches(words: readonly string[], origin: Origin): boolean {
    let result = true
    for (let at = 0; at < words.length; at += 1) {
      const written = words[at] ?? ''
      const negated = written.startsWith('!')
      const [inline, inlineValue] = splitOnce(negated ? written.slice(1) : written, '=')
      const criterion = inline.toLowerCase()
      if (criterion === 'all') continue
      if (criterion === 'canonical' || criterion === 'final') {
        // We canonicalise no names and read the files once.
        if (!negated) result = false
        continue
      }
      const value = inlineValue ?? words[(at += 1)]
      if (value === undefined) throw problem(origin, `Match ${criterion} has no value`)
      const test = this.#criterion(criterion, value.split(','), origin)
      if (test === negated) result = false
    }
    return result
  }

  #criterion(name: string, patterns: readonly string[], origin: Origin): boolean {
    const first = (keyword: string): string | undefined => this.values.get(keyword)?.[0]?.words[0]
    switch (name) {
      case 'host':
        return matchesPatterns(patterns, (first('hostname') ?? '%h').replaceAll('%h', this.#query.host))
      case 'originalhost':
        return matchesPatterns(patterns, this.#query.host)
      case 'user':
        return matchesPatterns(patterns, this.#query.user ?? first('user') ?? this.#query.localUser)
      case 'localuser':
        return matchesPatterns(patterns, this.#query.localUser)
      default:
        this.notes.push(
          `${origin.file}:${origin.line}: "Match ${name}" is not followed; its lines do not apply`,
        )
        return false
    }
  }

  /** A pattern of file names, in the last part of its path or in several. */
  #included(pattern: string, system: boolean): readonly string[] {
    const { home } = this.#query
    const plain = pattern === '~' || pattern.startsWith('~/') ? join(home, pattern.slice(1)) : pattern
    const whole = isAbsolute(plain) ? plain : join(system ? '/etc/ssh' : join(home, '.ssh'), plain)
    return globbed(whole)
  }
}

function globbed(pattern: string): readonly string[] {
  const folder = dirname(pattern)
  if (folder === pattern) return [pattern]
  const name = basename(pattern)
  const folders = /[*?]/.test(folder) ? globbed(folder) : [folder]
  if (!/[*?]/.test(name)) return folders.map((found) => join(found, name))
  const matches = matcher(name)
  return folders.flatMap((found) => {
    try {
      return readdirSync(found)
        .filter((file) => matches.test(file) && (name.startsWith('.') || !file.startsWith('.')))
        .sort()
        .map((file) => join(found, file))
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return []
      throw error
    }
  })
}

/** OpenSSH's lists: one pattern must match, none with `!` may. */
export function matchesPatterns(patterns: readonly string[], text: string): boolean {
  let found = false
  for (const pattern of patterns.flatMap((word) => word.split(','))) {
    const negated = pattern.startsWith('!')
    if (!matcher(negated ? pattern.slice(1) : pattern).test(text)) continue
    if (negated) return false
    found = true
  }
  return found
}

/** `*` is any run of characters, `?` one; capitals count. */
function matcher(pattern: string): RegExp {
  const words = pattern.replace(/\*+/g, '*').split('*')
  const literal = (text: string): string => text.replace(/[\\^$.*+()[\]{}|]/g, '\\$&').replaceAll('?', '.')
  return new RegExp(`^${words.map(literal).join('.*')}$`, 's')
}

/** `Keyword value`, `Keyword=value`, values in double or single quotes, `#` to the end of the line. */
function wordsOf(line: string, origin: Origin): readonly string[] {
  const words: string[] = []
  let rest = line.trim()
  if (rest === '' || rest.startsWith('#')) return words
  const keyword = /^[^\s=]+/.exec(rest)?.[0]
  if (keyword === undefined) throw problem(origin, 'the line begins with no keyword')
  words.push(keyword)
  rest = rest.slice(keyword.length).replace(/^\s*=?\s*/, '')
  while (rest !== '') {
    if (rest.startsWith('#')) break
    const quote = rest[0] === '"' || rest[0] === "'" ? rest[0] : undefined
    if (quote !== undefined) {
      const end = rest.indexOf(quote, 1)
      if (end < 0) throw problem(origin, 'a quote is not closed')
      words.push(rest.slice(1, end))
      rest = rest.slice(end + 1).trimStart()
    } else {
      const word = /^\S+/.exec(rest)?.[0] ?? ''
      words.push(word)
      rest = rest.slice(word.length).trimStart()
    }
  }
  return words
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)]
}

function problem({ file, line }: Origin, message: string): ConfigError {
  return new ConfigError([{ file, line, path: '', message }])
}
