/**
 * The `command:` of a processor file: a list of words with placeholders, checked when it is loaded, filled in for each task.
 *
 * A word that is one placeholder alone may become several words (`all` inputs, list parameters) or none (an absent
 * optional input). A list within the list is dropped whole when an optional input or parameter in it is absent; a word
 * `{?params.NAME}` in it is only a condition and yields nothing itself.
 */

import type { DataPath, DataProblem } from './problems.js'
import { knownWords } from './problems.js'
import type { CommandContext, InputValue } from './processor.js'

/** A word, or a group of words that stays or goes together. */
export type CommandItem = string | readonly string[]

/** What placeholders may name. */
export interface TemplateNames {
  /** Inputs by name. */
  readonly inputs: ReadonlyMap<string, { readonly all: boolean; readonly optional: boolean }>
  /** Parameters by name. */
  readonly params: ReadonlyMap<string, { readonly list: boolean; readonly optional: boolean }>
}

export type CommandTemplate = (context: CommandContext) => readonly string[]

export type TemplateResult =
  | { readonly ok: true; readonly command: CommandTemplate }
  | { readonly ok: false; readonly problems: readonly DataProblem[] }

/** Placeholders that stand for one value of the task, with what they become. */
const PLAIN: Readonly<Record<string, (context: CommandContext) => string>> = {
  inputs: ({ workspace }) => workspace.inputs,
  outputs: ({ workspace }) => workspace.outputs,
  tmp: ({ workspace }) => workspace.tmp,
  workspace: ({ workspace }) => workspace.root,
  cpus: ({ requirements }) => String(requirements.cpus),
  gpus: ({ requirements }) => String(requirements.gpus),
  memory_mb: ({ requirements }) => String(wholeUnits(requirements.memoryBytes, 1024 ** 2)),
  memory_gb: ({ requirements }) => String(wholeUnits(requirements.memoryBytes, 1024 ** 3)),
  walltime_seconds: ({ requirements }) => String(requirements.walltimeSeconds),
  label: ({ task }) => task.label,
}

/** The words that may stand in braces, with what each means. */
export const PLACEHOLDERS: Readonly<Record<string, string>> = {
  'inputs.NAME': 'path of the input; alone in its word, every path of an `all` input',
  'inputs.NAME.dir': 'folder of the input',
  'params.NAME': 'value of the parameter; alone in its word, every item of a list',
  inputs: 'folder that holds all inputs',
  outputs: 'folder whose files become the result',
  tmp: 'folder for temporary files, removed after the job',
  workspace: 'folder of this attempt',
  cpus: 'cores the job has',
  gpus: 'graphics cards the job has',
  memory_mb: 'memory of the job in whole MiB',
  memory_gb: 'memory of the job in whole GiB, at least 1',
  walltime_seconds: 'longest run of the job in seconds',
  label: "the task's label",
}

// A tool that is told more than it has gets killed, so never round up; 0 would mean "no limit" to many.
const wholeUnits = (bytes: number, unit: number): number => Math.max(1, Math.floor(bytes / unit))

type Part =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'plain'; readonly name: string }
  | { readonly kind: 'input'; readonly name: string; readonly folder: boolean; readonly condition: boolean }
  | { readonly kind: 'param'; readonly name: string; readonly condition: boolean }

interface Word {
  readonly parts: readonly Part[]
}

type Item =
  { readonly kind: 'word'; readonly word: Word } | { readonly kind: 'group'; readonly words: readonly Word[] }

/**
 * Reads a template. Pure.
 *
 * @param items - the list as written
 * @param at - path of the list in the document, for problems
 */
export function parseCommand(
  items: readonly CommandItem[],
  names: TemplateNames,
  at: DataPath = ['command'],
): TemplateResult {
  const problems: DataProblem[] = []
  const parsed: Item[] = []
  items.forEach((item, index) => {
    const path = [...at, index]
    if (typeof item === 'string') {
      parsed.push({ kind: 'word', word: parseWord(item, path, names, false, problems) })
      return
    }
    const words = item.map((word, inner) => parseWord(word, [...path, inner], names, true, problems))
    if (words.length === 0)
      problems.push({ path, message: 'is an empty list', hint: 'put words in it, or drop it' })
    else if (!words.some((word) => word.parts.some((part) => mayBeAbsent(part, names)))) {
      problems.push({
        path,
        message: 'nothing in this inner list can be absent, so it would always stand',
        hint: 'write its words without the brackets, or name an optional input, an optional parameter or a condition {?params.NAME} in it',
      })
    }
    parsed.push({ kind: 'group', words })
  })
  if (items.length === 0)
    problems.push({ path: at, message: 'is an empty list', hint: 'first word: the program to run' })
  const [first] = parsed
  if (first !== undefined && items[0] === '') {
    problems.push({ path: [...at, 0], message: 'is empty', hint: 'first word: the program to run' })
  } else if (first?.kind === 'group') {
    problems.push({ path: [...at, 0], message: 'the program to run cannot be optional' })
  }
  if (problems.length > 0) return { ok: false, problems }
  return {
    ok: true,
    command: (context) => parsed.flatMap((item) => fillItem(item, context)),
  }
}

// ---------------------------------------------------------------- reading

function parseWord(
  text: string,
  path: DataPath,
  names: TemplateNames,
  inGroup: boolean,
  problems: DataProblem[],
): Word {
  const parts: Part[] = []
  const add = (message: string, hint?: string): void => {
    problems.push({ path, message, ...(hint !== undefined && { hint }) })
  }
  if (text.includes('\0')) add('holds a NUL character')
  let literal = ''
  let position = 0
  while (position < text.length) {
    const character = text.charAt(position)
    const twice = text.charAt(position + 1) === character
    if (character === '{' && !twice) {
      const end = text.indexOf('}', position)
      if (end === -1) {
        add(`"{" at character ${position + 1} has no "}"`, 'write {{ for a brace itself')
        return { parts }
      }
      if (literal !== '') parts.push({ kind: 'text', text: literal })
      literal = ''
      const part = parsePlaceholder(text.slice(position + 1, end), names, add)
      if (part !== undefined) parts.push(part)
      position = end + 1
    } else if (character === '{' || character === '}') {
      if (!twice) add(`"}" at character ${position + 1} has no "{"`, 'write }} for a brace itself')
      literal += character
      position += twice ? 2 : 1
    } else {
      literal += character
      position += 1
    }
  }
  if (literal !== '') parts.push({ kind: 'text', text: literal })
  checkWord(parts, names, inGroup, add)
  return { parts }
}

type Report = (message: string, hint?: string) => void

function parsePlaceholder(body: string, names: TemplateNames, report: Report): Part | undefined {
  const condition = body.startsWith('?')
  const word = (condition ? body.slice(1) : body).trim()
  const [scope = '', name, member, ...more] = word.split('.')
  if (name !== undefined && more.length === 0 && scope === 'inputs') {
    if (!names.inputs.has(name)) {
      report(`{${body}}: there is no input "${name}"`, knownWords(name, [...names.inputs.keys()], 'inputs'))
      return undefined
    }
    if (member === undefined || (member === 'dir' && !condition)) {
      return { kind: 'input', name, folder: member === 'dir', condition }
    }
    report(`{${body}}: an input has no "${member}"`, `write {inputs.${name}} or {inputs.${name}.dir}`)
    return undefined
  }
  if (name !== undefined && member === undefined && scope === 'params') {
    if (names.params.has(name)) return { kind: 'param', name, condition }
    report(
      `{${body}}: there is no parameter "${name}"`,
      knownWords(name, [...names.params.keys()], 'parameters'),
    )
    return undefined
  }
  if (condition) {
    report(`{${body}} is no condition`, 'write {?inputs.NAME} or {?params.NAME}')
    return undefined
  }
  if (Object.hasOwn(PLAIN, word)) return { kind: 'plain', name: word }
  const near = [
    ...Object.keys(PLAIN),
    ...[...names.inputs.keys()].map((each) => `inputs.${each}`),
    ...[...names.params.keys()].map((each) => `params.${each}`),
  ]
  report(
    `{${body}} is no placeholder`,
    `${knownWords(word, near, 'placeholders')}; write {{ and }} for braces themselves`,
  )
  return undefined
}

function checkWord(parts: readonly Part[], names: TemplateNames, inGroup: boolean, report: Report): void {
  const alone = parts.length === 1
  for (const part of parts) {
    if ((part.kind === 'input' || part.kind === 'param') && part.condition) {
      const shown = `{?${part.kind}s.${part.name}}`
      if (!inGroup) report(`${shown} stands outside an inner list`, `write [${shown}, --flag]`)
      else if (!alone) report(`${shown} must be a word of its own`)
      if (part.kind === 'input' && names.inputs.get(part.name)?.optional === false) {
        report(`${shown}: this input is not optional, so it is always there`)
      }
      continue
    }
    if (alone) continue
    if (part.kind === 'input' && !part.folder && names.inputs.get(part.name)?.all === true) {
      report(
        `{inputs.${part.name}} may be several paths, so it must be a word of its own`,
        `write --flag, "{inputs.${part.name}}"`,
      )
    }
    if (part.kind === 'param' && names.params.get(part.name)?.list === true) {
      report(
        `{params.${part.name}} is a list, so it must be a word of its own`,
        `write --flag, "{params.${part.name}}"`,
      )
    }
  }
}

function mayBeAbsent(part: Part, names: TemplateNames): boolean {
  if (part.kind === 'input') return part.condition || names.inputs.get(part.name)?.optional === true
  if (part.kind === 'param') return part.condition || names.params.get(part.name)?.optional === true
  return false
}

// ---------------------------------------------------------------- filling in

function fillItem(item: Item, context: CommandContext): readonly string[] {
  if (item.kind === 'word') return fillWord(item.word, context)
  const wanted = item.words.every((word) => word.parts.every((part) => stands(part, context)))
  return wanted ? item.words.flatMap((word) => fillWord(word, context)) : []
}

/** Whether a group with this part in it is kept. A condition is also unmet by `false`, an empty text or an empty list. */
function stands(part: Part, context: CommandContext): boolean {
  if (part.kind === 'input') return inputOf(part.name, context).present
  if (part.kind !== 'param') return true
  const value = context.params[part.name]
  if (value === undefined || value === null) return false
  return !part.condition || !(value === false || value === '' || (Array.isArray(value) && value.length === 0))
}

function fillWord(word: Word, context: CommandContext): readonly string[] {
  const [only, ...others] = word.parts
  if (only === undefined) return ['']
  if (others.length === 0) return valuesOf(only, context)
  const values = word.parts.map((part) => valuesOf(part, context))
  // A word with an absent value in it says nothing: `--mask=` would be read as an empty path.
  return values.some((each) => each.length === 0) ? [] : [values.map((each) => each[0] ?? '').join('')]
}

function valuesOf(part: Part, context: CommandContext): readonly string[] {
  switch (part.kind) {
    case 'text':
      return [part.text]
    case 'plain':
      return [PLAIN[part.name]?.(context) ?? '']
    case 'input': {
      if (part.condition) return []
      const input = inputOf(part.name, context)
      if (!input.present) return []
      return part.folder ? [input.dir] : input.paths
    }
    case 'param':
      return part.condition ? [] : wordsOfParam(context.params[part.name])
  }
}

function inputOf(name: string, context: CommandContext): InputValue {
  return context.inputs[name] ?? { path: '', paths: [], dir: '', present: false }
}

function wordsOfParam(value: unknown): readonly string[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value.flatMap(wordsOfParam)
  if (typeof value === 'string') return [value]
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return [String(value)]
  return [JSON.stringify(value)]
}
