/** A YAML file as plain data that still knows where each value stands. */

import { readFile, stat } from 'node:fs/promises'
import { LineCounter, isAlias, isMap, isPair, isScalar, isSeq, parseDocument, visit } from 'yaml'
import type { Document, Node, Pair, Scalar } from 'yaml'
import type { z } from 'zod'
import { checkSchema, formatPath } from '../domain/problems.js'
import type { DataPath, DataProblem } from '../domain/problems.js'
import { ConfigError, systemErrorCode } from '../errors.js'
import type { ConfigProblem } from '../errors.js'

/** Something that can say where in a file a value stands, and how it was written. */
export interface DocumentSource {
  readonly data: unknown
  /** The problem with file, line and column. */
  locate(problem: DataProblem): ConfigProblem
  /** The text of a scalar as written (`2.0`, where the data has 2); undefined for what is no scalar or not there. */
  textAt(path: DataPath): string | undefined
}

/** A parsed YAML document: 1.2 core schema, no duplicate keys, no tags of its own, no more than 100 uses of aliases. */
export class YamlDocument implements DocumentSource {
  readonly file: string
  readonly data: unknown
  readonly #document: Document.Parsed
  readonly #lines: LineCounter

  /** Use {@link parseYaml} or {@link readYaml}. */
  constructor(file: string, data: unknown, document: Document.Parsed, lines: LineCounter) {
    this.file = file
    this.data = data
    this.#document = document
    this.#lines = lines
  }

  locate(problem: DataProblem): ConfigProblem {
    return placed(problem, this.file, this.place(problem.path, problem.at === 'key'))
  }

  textAt(path: DataPath): string | undefined {
    const found = this.#walk(path)
    const node = found?.rest.length === 0 ? found.node : undefined
    return isScalar(node) ? (node.source ?? undefined) : undefined
  }

  /** Line and column of a value: a scalar's own place, the key of a map or list. What is missing is where its parent is. */
  place(path: DataPath, atKey = false): { line: number; column: number } {
    const found = this.#walk(path)
    const whole = found?.rest.length === 0
    const onKey = !whole || atKey || !isScalar(found?.node) || isBlank(found.node)
    const offset =
      (onKey ? found?.keyOffset : found?.node?.range?.[0]) ?? this.#document.contents?.range[0] ?? 0
    const { line, col } = this.#lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }

  /** Is there a value (also an empty one) at the path? */
  has(path: DataPath): boolean {
    return this.#walk(path)?.rest.length === 0
  }

  #walk(path: DataPath): { node: Node | null | undefined; keyOffset: number | undefined; rest: DataPath } {
    let node: Node | null | undefined = this.#document.contents
    let keyOffset: number | undefined = undefined
    for (const [index, key] of path.entries()) {
      if (isAlias(node)) node = node.resolve(this.#document)
      const rest = path.slice(index)
      if (isMap(node)) {
        const pair: Pair | undefined = node.items.find(
          (item) => isPair(item) && String(isScalar(item.key) ? item.key.value : item.key) === String(key),
        )
        if (pair === undefined) return { node, keyOffset, rest }
        keyOffset = (pair.key as Node).range?.[0] ?? keyOffset
        node = pair.value as Node | null
      } else if (isSeq(node)) {
        if (typeof key !== 'number' || key >= node.items.length) return { node, keyOffset, rest }
        const item = node.items[key] as Node | null
        keyOffset = item?.range?.[0] ?? keyOffset
        node = item
      } else {
        return { node, keyOffset, rest }
      }
    }
    return { node, keyOffset, rest: [] }
  }
}

/** Nothing stands behind the key at all: `name:`. */
function isBlank(node: Scalar): boolean {
  return node.value === null && (node.source ?? '') === ''
}

export function placed(
  problem: DataProblem,
  file: string,
  place?: { readonly line: number; readonly column: number },
): ConfigProblem {
  return {
    file,
    ...place,
    path: formatPath(problem.path),
    message: problem.message,
    ...(problem.hint !== undefined && { hint: problem.hint }),
  }
}

/** Far more than any configuration; a bound on what a wrong path can make us read. */
const MAX_BYTES = 4 * 1024 * 1024
const MAX_ALIASES = 100

/** @throws ConfigError the file cannot be read, or as {@link parseYaml} */
export async function readYaml(file: string): Promise<YamlDocument> {
  return parseYaml(await readText(file), file)
}

/** The text of a configuration file. @throws ConfigError with what to do about it */
export async function readText(file: string): Promise<string> {
  const fail = (message: string, hint?: string): ConfigError =>
    new ConfigError([{ file, path: '', message, ...(hint !== undefined && { hint }) }])
  let bytes: Buffer
  try {
    const facts = await stat(file)
    if (facts.isDirectory()) throw fail('is a folder, not a file')
    if (facts.size > MAX_BYTES)
      throw fail(`is larger than ${MAX_BYTES / 1024 ** 2} MiB; it is no configuration`)
    bytes = await readFile(file)
  } catch (error) {
    switch (systemErrorCode(error)) {
      case 'ENOENT':
      case 'ENOTDIR':
        throw fail('there is no such file')
      case 'EACCES':
      case 'EPERM':
        throw fail('may not be read by this user', 'change its permissions')
      case undefined:
        throw error
      default:
        if (error instanceof ConfigError) throw error
        throw fail(`cannot be read: ${(error as Error).message}`)
    }
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new ConfigError([{ file, path: '', message: 'is not UTF-8 text', hint: 'save it as UTF-8' }], {
      cause: error,
    })
  }
}

/** @throws ConfigError every syntax problem with its place */
export function parseYaml(text: string, file: string): YamlDocument {
  const lines = new LineCounter()
  const document = parseDocument(text, {
    version: '1.2',
    schema: 'core',
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
    uniqueKeys: true,
    // `silent` would also hide that a file holds several documents; nothing is printed either way.
    logLevel: 'error',
  })
  const problems: ConfigProblem[] = []
  const at = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const report = (offset: number, message: string, hint?: string): void => {
    problems.push({ file, ...at(offset), path: '', message, ...(hint !== undefined && { hint }) })
  }
  for (const error of [...document.errors, ...document.warnings]) {
    const [message, hint] = syntaxWords(error.code, error.message)
    report(error.pos[0], message, hint)
  }
  if (document.directives?.yaml.explicit === true && document.directives.yaml.version !== '1.2') {
    report(
      0,
      `YAML ${document.directives.yaml.version} is not read here`,
      'drop the %YAML line; 1.2 is meant',
    )
  }
  if (problems.length === 0) {
    visit(document, {
      Pair: (_, pair) => {
        const key = isScalar(pair.key) ? pair.key : undefined
        if (key?.value === '__proto__') report(key.range?.[0] ?? 0, 'the key __proto__ is not allowed')
      },
      Alias: (_, alias, ancestors) => {
        const offset = alias.range?.[0] ?? 0
        const meant = alias.resolve(document)
        if (meant === undefined) {
          report(
            offset,
            `*${alias.source} stands for nothing: there is no &${alias.source} before it`,
            'put quotes around text that starts with *',
          )
        } else if (ancestors.includes(meant)) {
          report(offset, `*${alias.source} stands for what it is a part of`, 'write the value out')
        }
      },
    })
  }
  let data: unknown = undefined
  if (problems.length === 0) {
    try {
      data = document.toJS({ maxAliasCount: MAX_ALIASES })
    } catch (error) {
      if (!(error instanceof ReferenceError)) throw error
      report(0, `it uses aliases (*name) more than ${MAX_ALIASES} times`, 'write the values out')
    }
  }
  if (problems.length === 0 && (data === undefined || data === null)) report(0, 'the file is empty')
  if (problems.length > 0) throw new ConfigError(problems)
  return new YamlDocument(file, data, document, lines)
}

function syntaxWords(code: string, message: string): [string, string?] {
  switch (code) {
    case 'DUPLICATE_KEY':
      return ['this key stands here twice', 'keep one of them']
    case 'MULTIPLE_DOCS':
      return ['the file holds several documents', 'keep what stands before the line ---']
    case 'TAG_RESOLVE_FAILED':
      return [
        `${message.replace(/^Unresolved tag: /, 'this tag is not known: ')}`,
        'tags are not needed; drop it',
      ]
    case 'TAB_AS_INDENT':
      return ['a tab cannot indent', 'use blanks']
    case 'NON_STRING_KEY':
      return ['a key must be plain text', 'put quotes around it']
    case 'BAD_ALIAS':
      return [
        message,
        'an alias (*name) needs an anchor (&name) before it; put quotes around text that starts with *',
      ]
    case 'BLOCK_AS_IMPLICIT_KEY':
    case 'MULTILINE_IMPLICIT_KEY':
      return [message, 'put quotes around text that holds ": ", and indent with care']
    default:
      return [message]
  }
}

export interface Validated<T> {
  /** Only when there is no problem. */
  readonly value?: T
  readonly problems: readonly ConfigProblem[]
}

/** Checks a document against a schema; every problem has its place, the allowed words and the nearest one. */
export function validateDocument<Schema extends z.ZodType>(
  document: DocumentSource,
  schema: Schema,
): Validated<z.output<Schema>> {
  const result = checkSchema(schema, document.data, { textAt: (path) => document.textAt(path) })
  if (result.ok) return { value: result.value, problems: [] }
  return { problems: result.problems.map((problem) => document.locate(problem)) }
}

/** By file as they came, then by line and column: the order in which a person goes through them. */
export function sortProblems(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const files = [...new Set(problems.map((problem) => problem.file))]
  const seen = new Set<string>()
  return [...problems]
    .sort(
      (a, b) =>
        files.indexOf(a.file) - files.indexOf(b.file) ||
        (a.line ?? 0) - (b.line ?? 0) ||
        (a.column ?? 0) - (b.column ?? 0),
    )
    .filter((problem) => {
      const key = JSON.stringify([problem.file, problem.line, problem.column, problem.path, problem.message])
      if (seen.has(key)) return false
      seen.add(key)
      return true
    })
}
