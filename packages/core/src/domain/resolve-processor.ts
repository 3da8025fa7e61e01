/** From what an author wrote to what the engine runs: every default filled in, every word checked. Pure. */

import { ConfigError } from '../errors.js'
import type { ConfigProblem } from '../errors.js'
import { z } from 'zod'
import { labelProblem } from './labels.js'
import { checkSchema, formatPath, knownWords, show } from './problems.js'
import type { DataProblem, SchemaOptions } from './problems.js'
import {
  containerOverrideSchema,
  definitionSchema,
  environmentSchema,
  inputDeclarationSchema,
  requirementsSchema,
} from './processor-schema.js'
import type {
  CommandContext,
  ContainerDeclaration,
  InputDeclaration,
  Processor,
  ProcessorBase,
  ProcessorDefinition,
  ResolvedInput,
  ResolvedOutput,
  ScriptDeclaration,
  TargetView,
} from './processor.js'
import { parseRequirements } from './requirements.js'
import type { Requirements, RequirementsInput } from './requirements.js'
import { procTypeOf } from './task.js'
import type { TaskIdentity } from './task.js'

/** What a site says of a processor beside its name. */
export interface ProcessorOverrides {
  /** Values of parameters; what is left out keeps its default. */
  readonly params?: Readonly<Record<string, unknown>>
  /** Wins over the processor's own, also over its `requirementsFor`. */
  readonly requirements?: RequirementsInput
  /** Added to the processor's own; the same name replaces. */
  readonly environment?: Readonly<Record<string, string>>
  /** Parts of the container to change; with `image`, a container for a processor that has none. */
  readonly container?: Partial<ContainerDeclaration>
}

export interface ResolveOptions {
  /** Shown as the file of problems. Default: `processor NAME`. */
  readonly origin?: string
}

/**
 * Checks a definition and fills in its defaults.
 *
 * For level `scan` the first scan input, for level `assessor` the first assessor input is the target itself; such an
 * input has `choose: 'each'`. Without a `command` (scripts only) the argument list is empty: whoever runs it puts the
 * interpreter and the script's path before it.
 *
 * @throws ConfigError with every problem, its path in the definition, and the allowed words
 */
export function resolveProcessor(
  definition: ProcessorDefinition | ProcessorBase,
  overrides: ProcessorOverrides = {},
  options: ResolveOptions = {},
): Processor {
  const own = definitionProblems(definition)
  // Nothing can be said of values for parameters that are no schema, or for what is no definition at all.
  const isUsable = !own.some(({ path }) => path.length === 0 || path[0] === 'params')
  const problems = [...own, ...(isUsable ? overrideProblems(definition, overrides) : [])]
  if (problems.length > 0) throw toConfigError(problems, options.origin ?? originOf(definition))
  return build(definition, overrides)
}

/** What is wrong with a definition itself, whatever a site adds to it. Empty: nothing. */
export function definitionProblems(definition: unknown): DataProblem[] {
  if (typeof definition !== 'object' || definition === null || Array.isArray(definition)) {
    return [{ path: [], message: `a processor must be an object, but is ${show(definition)}` }]
  }
  return processorProblems(membersOf(definition), definitionSchema)
}

/** The rules that all ways of writing a processor share: the schema's, and those between fields. */
export function processorProblems(
  raw: Readonly<Record<string, unknown>>,
  schema: z.ZodType,
  options: SchemaOptions = {},
): DataProblem[] {
  const problems: DataProblem[] = [...checkSchema(schema, raw, options).problems]
  problems.push(...inputProblems(raw), ...outputProblems(raw), ...runProblems(raw))
  return problems
}

/** What is wrong with a site's changes to a (good) definition; paths begin with `params`, `requirements`, … */
export function overrideProblems(
  definition: ProcessorDefinition | ProcessorBase,
  overrides: ProcessorOverrides,
): DataProblem[] {
  const problems: DataProblem[] = []
  const check = (key: keyof ProcessorOverrides, schema: z.ZodType): void => {
    if (overrides[key] === undefined) return
    problems.push(...checkSchema(schema, overrides[key], { at: [key] }).problems)
  }
  check('requirements', requirementsSchema)
  check('environment', environmentSchema)
  check('container', containerOverrideSchema)
  if (overrides.container !== undefined && definition.container === undefined && !overrides.container.image) {
    problems.push({
      path: ['container'],
      message: 'has no image, and the processor brings no container of its own',
      hint: 'add image: docker://…',
    })
  }
  problems.push(...paramsProblems(definition, overrides.params))
  return problems
}

/** As a {@link ConfigError}; for places that have no file with lines. */
export function toConfigError(problems: readonly DataProblem[], file: string): ConfigError {
  return new ConfigError(problems.map((problem) => toConfigProblem(problem, file)))
}

export function toConfigProblem(problem: DataProblem, file: string): ConfigProblem {
  return {
    file,
    path: formatPath(problem.path),
    message: problem.message,
    ...(problem.hint !== undefined && { hint: problem.hint }),
  }
}

// ---------------------------------------------------------------- rules between fields

const DEFINITION_KEYS = Object.keys(definitionSchema.shape)

/**
 * The members that make up a definition. A class may have others of its own; in a plain object they are most likely
 * slips (`output:`), so they are kept and reported.
 */
function membersOf(definition: object): Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(definition)
  const plain = prototype === Object.prototype || prototype === null
  const members: Record<string, unknown> = {}
  for (const key of plain
    ? [...new Set([...Object.keys(definition), ...DEFINITION_KEYS])]
    : DEFINITION_KEYS) {
    const value = (definition as Record<string, unknown>)[key]
    if (value !== undefined) members[key] = value
  }
  return members
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const CHOICES = ['each', 'all', 'pick'] as const
const WIDTH = { session: 1, subject: 2, project: 3 } as const

function inputProblems(raw: Readonly<Record<string, unknown>>): DataProblem[] {
  if (!isMap(raw['inputs'])) return []
  const problems: DataProblem[] = []
  const add = (path: DataProblem['path'], message: string, hint?: string): void => {
    problems.push({ path: ['inputs', ...path], message, ...(hint !== undefined && { hint }) })
  }
  // Only inputs that are well formed take part in the rules between inputs; the schema has reported the others.
  const inputs = new Map<string, InputDeclaration>()
  for (const [name, input] of Object.entries(raw['inputs'])) {
    const result = inputDeclarationSchema.safeParse(input)
    if (result.success) inputs.set(name, input as InputDeclaration)
  }
  const names = Object.keys(raw['inputs'])
  const level = raw['level']
  const kindWanted = level === 'scan' ? 'scan' : level === 'assessor' ? 'assessor' : undefined
  const target =
    kindWanted === undefined ? undefined : [...inputs].find(([, input]) => kindOf(input) === kindWanted)?.[0]

  if (names.length === 0) add([], 'has no input', 'a processor needs at least one')
  if (kindWanted !== undefined && target === undefined && inputs.size === names.length && names.length > 0) {
    add([], `level ${kindWanted} needs an input with "${kindWanted}:"; the first of them is what it runs on`)
  }

  const seen = new Map<string, string>()
  let eachInput = target
  for (const [name, input] of inputs) {
    const twin = seen.get(variableName(name))
    if (twin !== undefined) {
      add([name], `cannot be told apart from ${twin} in the job's variables`, 'use another name')
    }
    seen.set(variableName(name), name)

    const kind = kindOf(input)
    if (input.scan !== undefined && input.assessor !== undefined) {
      add([name], 'has both scan and assessor', 'keep one; make two inputs if both are needed')
    }
    const choices = CHOICES.filter((key) => input[key] !== undefined && input[key] !== false)
    if (choices.length > 1) add([name], `has ${choices.join(' and ')}`, 'keep one of each, all and pick')
    if (kind === 'own') {
      for (const key of choices) {
        add(
          [name, key],
          'has no meaning for the resource of the target itself',
          'add scan: or assessor:, or drop it',
        )
      }
    }
    if (name === target) {
      for (const key of choices.filter((each) => each !== 'each')) {
        add([name, key], `cannot stand on the input that a ${kindWanted}-level processor runs on`, 'drop it')
      }
      if (input.optional === true) {
        add(
          [name, 'optional'],
          `the input that a ${kindWanted}-level processor runs on is always there`,
          'drop it',
        )
      }
      if (input.sameScanAs !== undefined) {
        add([name, 'sameScanAs'], `cannot stand on the input that a ${kindWanted}-level processor runs on`)
      }
      if (input.within !== undefined && input.within !== 'session') {
        add(
          [name, 'within'],
          `the input that a ${kindWanted}-level processor runs on lies in its own session`,
        )
      }
    } else if (input.each === true && kind !== 'own') {
      if (eachInput === undefined) eachInput = name
      else {
        add(
          [name, 'each'],
          `only one input can make one task for each match, and ${eachInput} does so already`,
          'use all or pick here',
        )
      }
    }
    if (input.within !== undefined && name !== target) problems.push(...withinProblems(name, input, level))
    if (input.sameScanAs !== undefined) problems.push(...sameScanProblems(name, input, inputs, names))
    if (input.orFrom !== undefined && kind !== 'scan') {
      add(
        [name, 'orFrom'],
        'only an input with scan: can say so',
        'name the processor under assessor: instead',
      )
    }
  }
  return problems
}

function withinProblems(name: string, input: InputDeclaration, level: unknown): DataProblem[] {
  const own = level === 'subject' || level === 'project' ? level : 'session'
  if (input.within === undefined || WIDTH[input.within] >= WIDTH[own]) return []
  return [
    {
      path: ['inputs', name, 'within'],
      message: `${input.within} is narrower than the level ${own} that the processor runs on`,
      hint: 'drop it, or name a wider one',
    },
  ]
}

function sameScanProblems(
  name: string,
  input: InputDeclaration,
  inputs: ReadonlyMap<string, InputDeclaration>,
  names: readonly string[],
): DataProblem[] {
  const path = ['inputs', name, 'sameScanAs']
  const other = input.sameScanAs ?? ''
  if (kindOf(input) !== 'scan') return [{ path, message: 'only an input with scan: can say so' }]
  const assessors = [...inputs].filter(([, each]) => kindOf(each) === 'assessor').map(([key]) => key)
  if (assessors.includes(other)) return []
  // An input that is badly formed has been reported; what it would have been, nobody knows.
  if (names.includes(other) && !inputs.has(other)) return []
  const message = names.includes(other) ? `"${other}" is no assessor input` : `there is no input "${other}"`
  return [{ path, message, hint: knownWords(other, assessors, 'assessor inputs') }]
}

/** The resource in which the engine keeps what the job printed. */
const LOG_RESOURCE = 'LOG'

function outputProblems(raw: Readonly<Record<string, unknown>>): DataProblem[] {
  if (!isMap(raw['outputs'])) return []
  const problems: DataProblem[] = []
  const seen = new Map<string, string>()
  const labels = Object.keys(raw['outputs'])
  if (labels.length === 0) {
    problems.push({
      path: ['outputs'],
      message: 'has no output',
      hint: 'a result without files says nothing; add one such as PDF: report.pdf',
    })
  }
  for (const resource of labels) {
    const path = ['outputs', resource]
    const add = (message: string, hint?: string): void => {
      problems.push({ path, at: 'key', message, ...(hint !== undefined && { hint }) })
    }
    const wrong = labelProblem(resource)
    if (wrong !== undefined) add(`${JSON.stringify(resource)} cannot be a resource label: ${wrong}`)
    if (resource.toUpperCase() === LOG_RESOURCE) {
      add('is kept for what the job prints', 'choose another label')
    }
    const twin = seen.get(resource.toLowerCase())
    if (twin !== undefined) add(`differs from ${twin} only in letter case`, 'use one label')
    seen.set(resource.toLowerCase(), resource)
  }
  return problems
}

function runProblems(raw: Readonly<Record<string, unknown>>): DataProblem[] {
  const problems: DataProblem[] = []
  const script = raw['script']
  if (raw['command'] === undefined && script === undefined) {
    problems.push({
      path: ['command'],
      message: 'is missing',
      hint: 'say what to run: command: [program, "{inputs.NAME}", …], or script: ./file.py',
    })
  }
  if (isMap(script) && typeof script['path'] === 'string' && script['interpreter'] === undefined) {
    if (interpreterFor(script['path']) === undefined) {
      problems.push({
        path: ['script'],
        message: `nothing is known about running ${JSON.stringify(baseName(script['path']))}`,
        hint: `say interpreter: [program], or end the name in ${Object.keys(INTERPRETERS).join(', ')}`,
      })
    }
  }
  return problems
}

const INTERPRETERS: Readonly<Record<string, readonly string[]>> = {
  '.py': ['python3'],
  '.sh': ['sh'],
  '.mjs': ['node'],
  '.js': ['node'],
  '.ts': ['node'],
  '.m': ['matlab', '-batch'],
  '.R': ['Rscript'],
}

/** Words before a script's path, by its extension; undefined when there is no rule for it. */
export function interpreterFor(path: string): readonly string[] | undefined {
  const extension = /\.[A-Za-z0-9]+$/.exec(baseName(path))?.[0] ?? ''
  return (
    INTERPRETERS[extension] ?? INTERPRETERS[extension.toLowerCase()] ?? INTERPRETERS[extension.toUpperCase()]
  )
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
const variableName = (name: string): string => name.replaceAll('-', '_').toUpperCase()

function kindOf(input: InputDeclaration): ResolvedInput['kind'] {
  if (input.scan !== undefined) return 'scan'
  return input.assessor === undefined ? 'own' : 'assessor'
}

// ---------------------------------------------------------------- parameters

function paramsProblems(
  definition: ProcessorDefinition | ProcessorBase,
  given: Readonly<Record<string, unknown>> | undefined,
): DataProblem[] {
  const problems: DataProblem[] = []
  if (given !== undefined && !isMap(given)) {
    return [{ path: ['params'], message: `must be a map of keys and values, but is ${show(given)}` }]
  }
  const schema = definition.params
  const names = Object.keys(given ?? {})
  if (schema === undefined) {
    return names.map((name) => ({
      path: ['params', name],
      at: 'key',
      message: 'is not known here',
      hint: `${definition.name} has no parameters`,
    }))
  }
  if (schema instanceof z.ZodObject) {
    // zod drops what a plain object schema does not know; here that is a slip worth telling.
    const known = Object.keys(schema.shape)
    for (const name of names.filter((each) => !known.includes(each))) {
      problems.push({
        path: ['params', name],
        at: 'key',
        message: 'is not known here',
        hint: knownWords(name, known, 'parameters'),
      })
    }
  }
  const values = Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined))
  const result = checkSchema(schema, values, { at: ['params'] })
  for (const problem of result.problems) {
    const known = problems.some((each) => formatPath(each.path) === formatPath(problem.path))
    if (!known) problems.push(problem)
  }
  if (result.ok && !isMap(result.value)) {
    problems.push({ path: ['params'], message: 'the schema of the parameters must be one of an object' })
  }
  return problems
}

function paramsOf(
  definition: ProcessorDefinition | ProcessorBase,
  given: Readonly<Record<string, unknown>> | undefined,
): Readonly<Record<string, unknown>> {
  if (definition.params === undefined) return {}
  const values = Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined))
  return definition.params.parse(values) as Readonly<Record<string, unknown>>
}

// ---------------------------------------------------------------- building

function build(definition: ProcessorDefinition | ProcessorBase, overrides: ProcessorOverrides): Processor {
  const base = parseRequirements(definition.requirements ?? {})
  const own = overrides.requirements ?? {}
  const container = containerOf(definition.container, overrides.container)
  const script = definition.script === undefined ? undefined : scriptOf(definition.script)
  const requirements = parseRequirements(own, base)
  return Object.freeze({
    name: definition.name,
    version: definition.version,
    procType: procTypeOf(definition.name, definition.version),
    level: definition.level,
    description: definition.description ?? '',
    inputs: resolveInputs(definition),
    params: Object.freeze(paramsOf(definition, overrides.params)),
    requirements,
    outputs: resolveOutputs(definition),
    ...(container !== undefined && { container }),
    ...(script !== undefined && { script }),
    environment: { ...definition.environment, ...overrides.environment },
    programs: definition.programs ?? [],
    command: (context: CommandContext): readonly string[] =>
      definition.command === undefined
        ? []
        : checkedWords(definition.command(context), definition.name, script !== undefined),
    canRun: (target: TargetView): true | string => {
      const answer: unknown = definition.canRun?.(target) ?? true
      if (answer === true) return true
      // JavaScript authors return false; it means no all the same.
      return typeof answer === 'string' && answer !== ''
        ? answer
        : `${definition.name} says no, without a reason`
    },
    requirementsFor: (task: TaskIdentity): Requirements => {
      const changes = definition.requirementsFor?.(task)
      return changes === undefined ? requirements : parseRequirements(own, parseRequirements(changes, base))
    },
  })
}

/** @throws TypeError the author's function returned something that is no argument list */
function checkedWords(words: unknown, name: string, mayBeEmpty: boolean): readonly string[] {
  if (!Array.isArray(words) || words.some((word) => typeof word !== 'string')) {
    throw new TypeError(
      `command of ${name} must return a list of texts, but returned ${JSON.stringify(words)}`,
    )
  }
  const list = words as readonly string[]
  if (list.some((word) => word.includes('\0'))) {
    throw new TypeError(`command of ${name} returned a word with a NUL character`)
  }
  if (!mayBeEmpty && (list[0] ?? '') === '')
    throw new TypeError(`command of ${name} returned no program to run`)
  return list
}

function containerOf(
  own: ContainerDeclaration | undefined,
  changes: Partial<ContainerDeclaration> | undefined,
): ContainerDeclaration | undefined {
  if (own === undefined && changes === undefined) return undefined
  const merged = { ...own, ...changes }
  return merged.image === undefined ? undefined : { ...merged, image: merged.image }
}

function scriptOf(script: ScriptDeclaration): ScriptDeclaration {
  const interpreter = script.interpreter ?? interpreterFor(script.path)
  return { ...script, ...(interpreter !== undefined && { interpreter }), files: script.files ?? [] }
}

const list = (value: string | readonly string[]): readonly string[] =>
  typeof value === 'string' ? [value] : value

function resolveInputs(definition: ProcessorDefinition | ProcessorBase): readonly ResolvedInput[] {
  const { level } = definition
  const declared = Object.entries(definition.inputs)
  const target =
    level === 'scan' || level === 'assessor'
      ? declared.find(([, input]) => kindOf(input) === level)?.[0]
      : undefined
  return declared.map(([name, input]) => ({
    name,
    kind: kindOf(input),
    ...(input.scan !== undefined && { scan: resolveScan(input.scan) }),
    ...(input.assessor !== undefined && { assessor: resolveAssessor(input.assessor) }),
    ...(input.orFrom !== undefined && { orFrom: resolveAssessor(input.orFrom) }),
    resources: list(input.resource),
    ...(input.files !== undefined && { files: list(input.files) }),
    choose: name === target ? 'each' : choiceOf(input),
    optional: input.optional ?? false,
    ...(input.sameScanAs !== undefined && { sameScanAs: input.sameScanAs }),
    ...(input.within !== undefined && { within: input.within }),
  }))
}

function resolveAssessor(
  assessor: NonNullable<InputDeclaration['assessor']>,
): NonNullable<ResolvedInput['assessor']> {
  return {
    types: list(assessor.type),
    ...(assessor.version !== undefined && { version: assessor.version }),
    passed: assessor.passed ?? false,
  }
}

function resolveScan(scan: NonNullable<InputDeclaration['scan']>): NonNullable<ResolvedInput['scan']> {
  return {
    types: scan.type === undefined ? ['*'] : list(scan.type),
    ...(scan.quality !== undefined && { qualities: list(scan.quality) }),
    ...(scan.description !== undefined && { descriptions: list(scan.description) }),
    ...(scan.label !== undefined && { labels: list(scan.label) }),
  }
}

function choiceOf(input: InputDeclaration): ResolvedInput['choose'] {
  if (input.each === true) return 'each'
  if (input.all === true) return 'all'
  return input.pick ?? 'one'
}

function resolveOutputs(definition: ProcessorDefinition | ProcessorBase): readonly ResolvedOutput[] {
  return Object.entries(definition.outputs).map(([resource, output]) => ({
    resource,
    paths: typeof output === 'string' ? [output] : list(output.path),
    required: typeof output === 'string' ? false : (output.required ?? false),
  }))
}

function originOf(definition: unknown): string {
  const name = isMap(definition) ? definition['name'] : undefined
  return typeof name === 'string' && name !== '' ? `processor ${name}` : 'processor'
}
