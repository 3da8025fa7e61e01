/** What is wrong with data that people wrote, as a list of places and sentences. Pure; knows no file. */

import { closest, distance } from 'fastest-levenshtein'
import { z } from 'zod'
import { printable } from './labels.js'

export type DataPath = readonly (string | number)[]

/** One problem of a piece of data. Whoever read the data from a file adds file, line and column. */
export interface DataProblem {
  readonly path: DataPath
  readonly message: string
  /** What may stand there, or what to do. */
  readonly hint?: string
  /** `key`: the name itself is wrong, not what stands behind it. */
  readonly at?: 'key'
}

export type SchemaResult<T> =
  | { readonly ok: true; readonly value: T; readonly problems: readonly [] }
  | { readonly ok: false; readonly value?: undefined; readonly problems: readonly DataProblem[] }

export interface SchemaOptions {
  /** Where the data begins in the document; put before every path. */
  readonly at?: DataPath
  /** The text of a scalar as it was written (`2.0`, where the data has 2); for hints. */
  readonly textAt?: (path: DataPath) => string | undefined
}

/** Checks data against a schema; the problems read as sentences, name the allowed words and the nearest one. */
export function checkSchema<Schema extends z.ZodType>(
  schema: Schema,
  data: unknown,
  options: SchemaOptions = {},
): SchemaResult<z.output<Schema>> {
  const result = schema.safeParse(data, { reportInput: true })
  if (result.success) return { ok: true, value: result.data, problems: [] }
  const context: Context = { root: data, at: options.at ?? [], textAt: options.textAt ?? (() => undefined) }
  const problems = result.error.issues.flatMap((issue) => explain(issue, schema, [], context))
  return { ok: false, problems }
}

/** The known word that a person most likely meant, or undefined when none is near. Letter case costs nothing. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  if (known.length === 0) return undefined
  const lower = word.toLowerCase()
  const best = closest(
    lower,
    known.map((each) => each.toLowerCase()),
  )
  const original = known.find((each) => each.toLowerCase() === best)
  // Two slips in a short word already make another word; a long word may hold more.
  const allowed = Math.max(1, Math.min(3, Math.floor(Math.max(lower.length, best.length) / 3)))
  const found = distance(lower, best)
  if (found <= allowed) return original
  // Two letters that changed places count as two slips, and are the most usual one: `slrum`, `hots`.
  const swapped = known.find(
    (each) =>
      found <= 2 && sameLetters(lower, each.toLowerCase()) && distance(lower, each.toLowerCase()) <= 2,
  )
  if (swapped !== undefined) return swapped
  const containing = known.filter((each) => lower.length > 2 && each.toLowerCase().includes(lower))
  return containing.length === 1 ? containing[0] : undefined
}

function sameLetters(a: string, b: string): boolean {
  return [...a].sort().join('') === [...b].sort().join('')
}

/** `did you mean "host"? Known: host, port`, for a hint. */
export function knownWords(word: string | undefined, known: readonly string[], title = 'known'): string {
  const near = word === undefined ? undefined : nearest(word, known)
  const list = known.length === 0 ? `${title}: none` : `${title}: ${shortList(known)}`
  return near === undefined ? list : `did you mean ${JSON.stringify(near)}? ${list}`
}

const MOST_LISTED = 30

function shortList(words: readonly string[]): string {
  const shown = words.slice(0, MOST_LISTED).join(', ')
  return words.length > MOST_LISTED ? `${shown} and ${words.length - MOST_LISTED} more` : shown
}

/** `inputs.t1.pick`, the dotted form of a path. */
export function formatPath(path: DataPath): string {
  return path.join('.')
}

// ---------------------------------------------------------------- from zod's issues to sentences

interface Context {
  readonly root: unknown
  readonly at: DataPath
  readonly textAt: (path: DataPath) => string | undefined
}

type Issue = z.core.$ZodIssue
type Schema = z.core.$ZodType

// zod's own words: a message that differs from them was written by the schema's author for this very case.
const ZOD_WORDS = z.locales.en().localeError

function authorsMessage(issue: Issue): string | undefined {
  if (issue.code === 'custom') return issue.message
  const usual = ZOD_WORDS(issue as Parameters<typeof ZOD_WORDS>[0])
  const text = typeof usual === 'string' ? usual : usual?.message
  return text === issue.message ? undefined : issue.message
}

/** @param base - path of the schema in the data; the issue's own path comes after it */
function explain(issue: Issue, schema: Schema, base: DataPath, context: Context): DataProblem[] {
  const local = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))
  const inner = [...base, ...local]
  const path = [...context.at, ...inner]
  const value = valueAt(context.root, inner)
  const place = schemaAt(schema, local, valueAt(context.root, base))
  const problem = (message: string, hint?: string): DataProblem[] => [
    { path, message, ...(hint !== undefined && { hint }) },
  ]
  const description = place === undefined ? undefined : descriptionOf(place)

  if (issue.code === 'unrecognized_keys') {
    const known = place === undefined ? [] : keysOf(place)
    return issue.keys.map((key) => ({
      path: [...path, key],
      at: 'key' as const,
      message: 'is not known here',
      hint:
        key === '<<'
          ? 'YAML 1.2 has no merge keys; write the keys out, or use a profile'
          : knownWords(key, known),
    }))
  }
  const said = authorsMessage(issue)
  if (value === undefined && issue.code !== 'custom' && issue.code !== 'invalid_key') {
    return problem('is missing', said ?? description ?? (place && `expected: ${describe(place)}`))
  }
  switch (issue.code) {
    case 'invalid_union':
      return explainUnion(issue, schema, base, context, said)
    case 'invalid_key':
    case 'invalid_element': {
      const nested = issue.issues[0]
      const word = issue.code === 'invalid_key' ? 'this name cannot be used' : 'this entry cannot be used'
      return [
        {
          path,
          ...(issue.code === 'invalid_key' && { at: 'key' as const }),
          message: nested === undefined ? word : `${word}: ${nested.message}`,
        },
      ]
    }
    case 'custom':
      return [...splitHint(said ?? 'is wrong', path)]
  }
  if (said !== undefined) return [...splitHint(said, path)]
  const found = show(value, context.textAt(path))
  switch (issue.code) {
    case 'invalid_type':
      return problem(
        `must be ${place === undefined ? expected(issue.expected) : describe(place)}, but is ${found}`,
        (typeof value === 'string' && place !== undefined && keysOf(place).includes('use')
          ? `write { use: ${value} }`
          : typeHint(issue.expected, value, context.textAt(path))) ?? description,
      )
    case 'invalid_value': {
      const words = issue.values.map(String)
      return problem(
        `${typeof value === 'string' ? printable(value) : found} is not one of the words that may stand here`,
        typeof value === 'string' || typeof value === 'number'
          ? knownWords(String(value), words, 'allowed')
          : `allowed: ${shortList(words)}`,
      )
    }
    case 'too_small':
    case 'too_big': {
      const limit = String(issue.code === 'too_small' ? issue.minimum : issue.maximum)
      const least = issue.code === 'too_small' ? 'at least' : 'at most'
      const bound = issue.inclusive === false ? `${issue.code === 'too_small' ? 'more' : 'less'} than` : least
      if (issue.origin === 'string') {
        return limit === '1' && issue.code === 'too_small'
          ? problem('is empty', description)
          : problem(`must have ${least} ${limit} characters`, description)
      }
      if (issue.origin === 'array' || issue.origin === 'set') {
        return limit === '1' && issue.code === 'too_small'
          ? problem('is an empty list', description)
          : problem(`must have ${least} ${limit} entries`, description)
      }
      if (issue.origin === 'object') return problem(`must have ${least} ${limit} keys`, description)
      return problem(
        `must be ${bound} ${limit}, but is ${context.textAt(path) ?? String(value)}`,
        description,
      )
    }
    case 'not_multiple_of':
      return problem(`must be a multiple of ${issue.divisor}, but is ${found}`, description)
    case 'invalid_format':
      return problem(`${found} does not have the form that is wanted (${issue.format})`, description)
  }
}

/** A schema's author may write `what is wrong; the way out`: the part after the first `; ` becomes the hint. */
function* splitHint(text: string, path: DataPath): Iterable<DataProblem> {
  const cut = text.indexOf('; ')
  yield cut === -1
    ? { path, message: text }
    : { path, message: text.slice(0, cut), hint: text.slice(cut + 2) }
}

function explainUnion(
  issue: Extract<Issue, { code: 'invalid_union' }>,
  schema: Schema,
  base: DataPath,
  context: Context,
  said: string | undefined,
): DataProblem[] {
  const local = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))
  const inner = [...base, ...local]
  const path = [...context.at, ...inner]
  const value = valueAt(context.root, inner)
  const place = schemaAt(schema, local, valueAt(context.root, base))
  const options = place === undefined ? [] : optionsOf(place)
  // zod points at the key that tells the alternatives apart, and says no more.
  const discriminator = issue.errors.length === 0 ? local.at(-1) : undefined
  const wordsBehind = (key: string | number): string[] => {
    const parent = schemaAt(schema, local.slice(0, -1), valueAt(context.root, base))
    return parent === undefined
      ? []
      : optionsOf(parent).flatMap((each) => wordsOf(schemaAt(each, [key], undefined) ?? each))
  }
  const branches = issue.errors.map((issues, index) => ({ issues, schema: options[index] }))
  const fitting = branches
    .filter(({ issues }) => !issues.some((each) => each.path.length === 0 && saysOtherType(each)))
    .sort((a, b) => a.issues.length - b.issues.length)
  const [best] = fitting
  if (best?.schema !== undefined) {
    const chosen = best.schema
    return best.issues.flatMap((each) => explain(each, chosen, inner, context))
  }
  const found = show(value, context.textAt(path))
  if (said !== undefined) return [...splitHint(said, path)]
  if (value === undefined) {
    return [{ path, message: 'is missing', hint: `expected: ${options.map(describe).join(', or ')}` }]
  }
  const words = discriminator === undefined ? options.flatMap(wordsOf) : wordsBehind(discriminator)
  if (words.length > 0 && typeof value === 'string') {
    const rest = options.filter((each) => wordsOf(each).length === 0).map(describe)
    const near = nearest(value, words)
    const hint = `allowed: ${[...words, ...rest].join(', ')}`
    return [
      {
        path,
        message: `${printable(value)} cannot stand here`,
        hint: near === undefined ? hint : `did you mean ${JSON.stringify(near)}? ${hint}`,
      },
    ]
  }
  const forms = [...new Set(options.map(describe))].join(' or ')
  const wantsText = options.some((each) => defOf(unwrap(each)).type === 'string')
  const description =
    (wantsText ? typeHint('string', value, context.textAt(path)) : undefined) ??
    (place === undefined ? undefined : descriptionOf(place))
  return [
    {
      path,
      message: `must be ${forms}, but is ${found}`,
      ...(description !== undefined && { hint: description }),
    },
  ]
}

function saysOtherType(issue: Issue): boolean {
  if (issue.code === 'invalid_type' || issue.code === 'invalid_value') return true
  return (
    issue.code === 'invalid_union' &&
    issue.errors.every((branch) => branch.some((each) => each.path.length === 0 && saysOtherType(each)))
  )
}

function typeHint(wanted: string, value: unknown, text: string | undefined): string | undefined {
  if (wanted === 'string' && (typeof value === 'number' || typeof value === 'boolean')) {
    return `put it in quotes: ${JSON.stringify(text ?? String(value))}`
  }
  if (wanted === 'boolean' && typeof value === 'string') {
    const word = /^(?:(y|yes|on|true)|(n|no|off|false))$/i.exec(value)
    if (word === null) return undefined
    return `${value} is text in YAML 1.2 and JSON; write ${word[1] === undefined ? 'false' : 'true'}`
  }
  if (
    (wanted === 'number' || wanted === 'int') &&
    typeof value === 'string' &&
    /^\s*-?[\d.]+\s*$/.test(value)
  ) {
    return `write it without quotes: ${value.trim()}`
  }
  if (wanted === 'array' && (typeof value === 'string' || typeof value === 'number')) {
    return `put it in brackets: [${text ?? String(value)}]`
  }
  return undefined
}

function expected(type: string): string {
  const words: Readonly<Record<string, string>> = {
    string: 'text',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
    array: 'a list',
    object: 'a map of keys and values',
    record: 'a map of keys and values',
    null: 'empty',
    function: 'a function',
  }
  return words[type] ?? type
}

/** What was found, short and printable. */
export function show(value: unknown, text?: string): string {
  if (value === undefined) return 'absent'
  if (value === null) return 'empty'
  if (typeof value === 'string') return `the text ${printable(value)}`
  if (typeof value === 'number') return `the number ${text ?? String(value)}`
  if (typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'function') return 'a function'
  return 'a map of keys and values'
}

function valueAt(root: unknown, path: DataPath): unknown {
  let value = root
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string | number, unknown>)[key]
  }
  return value
}

// ---------------------------------------------------------------- walking a schema

interface AnyDef {
  readonly type: string
  readonly innerType?: Schema
  readonly in?: Schema
  readonly getter?: () => Schema
  readonly shape?: Readonly<Record<string, Schema>>
  readonly element?: Schema
  readonly valueType?: Schema
  readonly items?: readonly Schema[]
  readonly options?: readonly Schema[]
  readonly discriminator?: string
  readonly values?: readonly unknown[]
  readonly entries?: Readonly<Record<string, string | number>>
  readonly checks?: readonly {
    readonly _zod: { readonly def: { readonly check: string; readonly format?: string } }
  }[]
  readonly format?: string
}

const defOf = (schema: Schema): AnyDef => schema._zod.def

/** Without optional, default, transform and the like around it. */
function unwrap(schema: Schema): Schema {
  const def = defOf(schema)
  const inside = def.innerType ?? def.in ?? def.getter?.()
  return inside === undefined ? schema : unwrap(inside)
}

function schemaAt(schema: Schema, path: DataPath, value: unknown): Schema | undefined {
  const [key, ...rest] = path
  if (key === undefined) return schema
  const bare = unwrap(schema)
  const def = defOf(bare)
  if (def.type === 'union') {
    for (const option of def.options ?? []) {
      const found = schemaAt(option, path, value)
      if (found !== undefined) return found
    }
    return undefined
  }
  const next =
    def.shape !== undefined && Object.hasOwn(def.shape, key)
      ? def.shape[key]
      : (def.element ?? def.valueType ?? (typeof key === 'number' ? def.items?.[key] : undefined))
  return next === undefined ? undefined : schemaAt(next, rest, valueAt(value, [key]))
}

function optionsOf(schema: Schema): readonly Schema[] {
  return defOf(unwrap(schema)).options ?? []
}

function keysOf(schema: Schema): string[] {
  const def = defOf(unwrap(schema))
  if (def.type === 'union') return [...new Set((def.options ?? []).flatMap(keysOf))]
  return Object.keys(def.shape ?? {})
}

/** The words of an enum or literal. */
function wordsOf(schema: Schema): string[] {
  const def = defOf(unwrap(schema))
  if (def.type === 'literal') return (def.values ?? []).map(String)
  if (def.type === 'enum') return Object.values(def.entries ?? {}).map(String)
  if (def.type === 'union') return (def.options ?? []).flatMap(wordsOf)
  return []
}

function descriptionOf(schema: Schema): string | undefined {
  const own = z.globalRegistry.get(schema)?.description
  if (own !== undefined) return own
  const def = defOf(schema)
  const inside = def.innerType ?? def.in
  return inside === undefined ? undefined : descriptionOf(inside)
}

/** What a schema wants, for people: `text`, `a whole number`, `one of: a, b`. */
export function describe(schema: Schema): string {
  const bare = unwrap(schema)
  const def = defOf(bare)
  switch (def.type) {
    case 'union':
      return [...new Set((def.options ?? []).map(describe))].join(' or ')
    case 'literal':
    case 'enum':
      return wordsOf(bare).join(' or ')
    case 'number':
      return isInteger(def) ? 'a whole number' : 'a number'
    default:
      return expected(def.type)
  }
}

function isInteger(def: AnyDef): boolean {
  const formats = [def.format, ...(def.checks ?? []).map((check) => check._zod.def.format)]
  return formats.includes('safeint') || formats.includes('int32')
}
