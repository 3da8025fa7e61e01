/** Processors from files: YAML as in the manual, or a JavaScript or TypeScript module. */

import { execFile } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, extname, isAbsolute, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { z } from 'zod'
import { parseCommand } from '../domain/command-template.js'
import type { CommandItem, CommandTemplate } from '../domain/command-template.js'
import {
  NAME_PATTERN,
  containerSchema,
  definitionSchema,
  environmentSchema,
} from '../domain/processor-schema.js'
import type {
  ContainerDeclaration,
  InputDeclaration,
  OutputDeclaration,
  ProcessorBase,
  ProcessorDefinition,
  ScriptDeclaration,
} from '../domain/processor.js'
import { checkSchema, show } from '../domain/problems.js'
import type { DataPath, DataProblem } from '../domain/problems.js'
import type { RequirementsInput } from '../domain/requirements.js'
import { definitionProblems, processorProblems, toConfigProblem } from '../domain/resolve-processor.js'
import type { Level } from '../domain/archive.js'
import { ConfigError, systemErrorCode } from '../errors.js'
import type { ConfigProblem } from '../errors.js'
import { takeOutSecrets } from './secrets.js'
import { readYaml, sortProblems } from './yaml-document.js'
import type { YamlDocument } from './yaml-document.js'

const YAML_ENDINGS = ['.yaml', '.yml']
const MODULE_ENDINGS = ['.js', '.mjs', '.ts', '.mts']
/** Endings of files that can hold a processor. */
export const PROCESSOR_ENDINGS: readonly string[] = [...YAML_ENDINGS, ...MODULE_ENDINGS]

/**
 * Reads one processor. Scripts it names exist when this returns, and their paths are absolute.
 *
 * Loading a module runs its code: load only files that the person who runs Orbweaver has chosen.
 *
 * @param path - absolute, or relative to the current folder
 * @throws ConfigError with every problem; for YAML with line and column
 */
export async function loadProcessorFile(path: string): Promise<ProcessorDefinition> {
  const file = resolve(path)
  const ending = extname(file).toLowerCase()
  if (YAML_ENDINGS.includes(ending)) return fromYaml(await readYaml(file))
  if (MODULE_ENDINGS.includes(ending)) return fromModule(file)
  throw new ConfigError([
    {
      file,
      path: '',
      message: `nothing is known about processor files that end in "${ending}"`,
      hint: `use ${PROCESSOR_ENDINGS.join(', ')}`,
    },
  ])
}

// ---------------------------------------------------------------- the YAML form

const PARAM_TYPES = ['string', 'number', 'integer', 'boolean', 'list'] as const

const scalar = z.union([z.string(), z.number(), z.boolean()])

const paramDeclarationSchema = z
  .strictObject({
    type: z.enum(PARAM_TYPES).meta({ description: 'Kind of value. Default: that of `default`.' }).optional(),
    default: z
      .union([scalar, z.array(scalar)])
      .meta({
        description: 'Value when the site gives none. Without it the site must give one, unless `optional`.',
      })
      .optional(),
    optional: z
      .boolean()
      .meta({ description: 'May be left out and is absent then. Default: false.' })
      .optional(),
    description: z.string().meta({ description: 'One sentence for people.' }).optional(),
    minimum: z.number().meta({ description: 'Least number allowed.' }).optional(),
    maximum: z.number().meta({ description: 'Greatest number allowed.' }).optional(),
    choices: z.array(scalar).min(1).meta({ description: 'The only values allowed.' }).optional(),
    pattern: z
      .string()
      .meta({ description: 'Regular expression that the whole text must match.' })
      .optional(),
  })
  .meta({ description: 'A parameter of the processor, in the long form.' })

const paramsSchema = z
  .record(
    z
      .string()
      .regex(NAME_PATTERN, 'use letters, digits, _ and -, starting with a letter, at most 64 characters'),
    z.union([scalar, z.array(scalar), paramDeclarationSchema]),
  )
  .meta({
    description:
      'Settings of the processor that a site may change: a default, or a declaration with its type.',
  })

type ParamDeclaration = z.output<typeof paramDeclarationSchema>

const commandSchema = z
  .array(z.union([z.string(), z.array(z.string())]))
  .min(1)
  .meta({
    description:
      'The argument list, without a shell. `{inputs.NAME}`, `{params.NAME}`, `{outputs}` and others are filled in; a list within the list is dropped when an optional input in it is absent.',
  })

const filePath = z
  .string()
  .min(1)
  .refine((path) => !path.includes('\0'), 'holds a NUL character')
const interpreterSchema = z.array(z.string().min(1)).min(1).meta({
  description: "Words before the script's path, as `[python3, -u]`. Default: by the script's ending.",
})
const filesSchema = z
  .array(filePath)
  .meta({ description: 'Files that travel with the script; paths relative to this file.' })

const yamlScriptSchema = z.union([
  filePath,
  z.strictObject({
    path: filePath.meta({ description: 'The script; relative to this file.' }),
    interpreter: interpreterSchema.optional(),
    files: filesSchema.optional(),
  }),
])

const { params: _params, script: _script, command: _command, ...shared } = definitionSchema.shape
const { canRun: _canRun, requirementsFor: _requirementsFor, ...dataFields } = shared

/** A processor file, as written. */
export const processorFileSchema = z
  .strictObject({
    ...dataFields,
    params: paramsSchema.optional(),
    container: z
      .union([containerSchema.shape.image, containerSchema])
      .meta({ description: 'Image, or image with its options.' })
      .optional(),
    command: commandSchema.optional(),
    script: yamlScriptSchema
      .meta({ description: 'A script that travels with the job; relative to this file.' })
      .optional(),
    interpreter: interpreterSchema.optional(),
    files: filesSchema.optional(),
    environment: environmentSchema.optional(),
  })
  .meta({
    title: 'Orbweaver processor',
    description: 'A processor: which inputs, what to run, which outputs.',
  })

/** The JSON Schema (draft 7) of processor files, for editors. */
export function processorJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(processorFileSchema, { io: 'input', target: 'draft-7', unrepresentable: 'any' })
}

async function fromYaml(document: YamlDocument): Promise<ProcessorDefinition> {
  const secrets = takeOutSecrets(document.data)
  const raw = wordsAsWritten(secrets.data, document)
  const problems: DataProblem[] = [...secrets.problems]
  if (!isMap(raw)) {
    problems.push({
      path: [],
      message: `a processor file is a map of keys and values, but this is ${show(raw)}`,
    })
    throw located(problems, document)
  }
  const textAt = (path: DataPath): string | undefined => document.textAt(path)
  const declared = withScriptMap(raw)
  problems.push(...processorProblems(declared, processorFileSchema, { textAt }).map(relocateScript(raw)))
  const params = readParams(raw['params'], problems, textAt)
  const command = readCommand(raw, params, problems)
  problems.push(...environmentHints(raw['environment']))
  const script = await readScript(raw, document, problems)
  if (problems.length > 0) throw located(problems, document)

  // The schema has been satisfied; from here on the raw data has the types it declares.
  const checked = processorFileSchema.parse(declared)
  return {
    name: checked.name,
    version: checked.version,
    level: checked.level satisfies Level,
    ...(checked.description !== undefined && { description: checked.description }),
    inputs: checked.inputs as Readonly<Record<string, InputDeclaration>>,
    ...(params.size > 0 && { params: paramsZod(params) }),
    ...(checked.requirements !== undefined && { requirements: checked.requirements as RequirementsInput }),
    outputs: checked.outputs as Readonly<Record<string, OutputDeclaration | string>>,
    ...(checked.container !== undefined && {
      container:
        typeof checked.container === 'string'
          ? { image: checked.container }
          : (checked.container as ContainerDeclaration),
    }),
    ...(script !== undefined && { script }),
    ...(checked.environment !== undefined && { environment: checked.environment }),
    ...(command !== undefined && { command }),
    ...(checked.programs !== undefined && { programs: checked.programs }),
  }
}

/**
 * In a command and in variables everything is text: `--threshold, 1.10` means the characters 1.10, which the number
 * 1.1 no longer has.
 */
function wordsAsWritten(data: unknown, document: YamlDocument): unknown {
  if (!isMap(data)) return data
  const text = (value: unknown, path: DataPath): unknown => {
    if (typeof value === 'number' || typeof value === 'boolean') return document.textAt(path) ?? String(value)
    if (Array.isArray(value)) return value.map((item, index) => text(item, [...path, index]))
    if (isMap(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, text(item, [...path, key])]))
    }
    return value
  }
  const result: Record<string, unknown> = { ...data }
  if (Array.isArray(data['command'])) result['command'] = text(data['command'], ['command'])
  if (isMap(data['environment'])) result['environment'] = text(data['environment'], ['environment'])
  return result
}

/** `script: ./x.py` with `files:` and `interpreter:` beside it means the same as the map with all three. */
function withScriptMap(raw: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { script, interpreter } = raw
  if (typeof script !== 'string') return raw
  return { ...raw, script: { path: script, ...(interpreter !== undefined && { interpreter }) } }
}

/** Problems of the map that {@link withScriptMap} made, at the place where the text stands. */
function relocateScript(raw: Readonly<Record<string, unknown>>): (problem: DataProblem) => DataProblem {
  if (typeof raw['script'] !== 'string') return (problem) => problem
  return (problem) => {
    const [key, member, ...rest] = problem.path
    if (key !== 'script' || member === undefined) return problem
    return { ...problem, path: member === 'path' ? ['script'] : [member, ...rest] }
  }
}

async function readScript(
  raw: Readonly<Record<string, unknown>>,
  document: YamlDocument,
  problems: DataProblem[],
): Promise<ScriptDeclaration | undefined> {
  const { script } = raw
  const folder = dirname(document.file)
  if (script === undefined) {
    for (const key of ['files', 'interpreter']) {
      if (raw[key] !== undefined) {
        problems.push({
          path: [key],
          at: 'key',
          message: 'has no meaning without script:',
          hint: 'add script, or drop it',
        })
      }
    }
    return undefined
  }
  const inMap = isMap(script)
  for (const key of inMap ? ['files', 'interpreter'] : []) {
    if (raw[key] !== undefined) {
      problems.push({
        path: [key],
        at: 'key',
        message: 'stands outside script',
        hint: `move it below script:`,
      })
    }
  }
  const path = inMap ? script['path'] : script
  const files: { value: unknown; at: DataPath }[] = []
  const collect = (value: unknown, at: DataPath): void => {
    if (Array.isArray(value))
      value.forEach((item, index) => files.push({ value: item as unknown, at: [...at, index] }))
  }
  if (inMap) collect(script['files'], ['script', 'files'])
  else collect(raw['files'], ['files'])
  const found: string[] = []
  const names = new Map<string, string>()
  for (const { value, at } of [{ value: path, at: inMap ? ['script', 'path'] : ['script'] }, ...files]) {
    if (typeof value !== 'string' || value === '') continue
    const absolute = isAbsolute(value) ? value : resolve(folder, value)
    const wrong = await fileProblem(absolute)
    if (wrong !== undefined) {
      problems.push({
        path: at,
        message: `${JSON.stringify(value)}: ${wrong}`,
        hint: `looked for ${absolute}; paths are relative to the processor file`,
      })
    }
    const name = absolute.slice(absolute.lastIndexOf('/') + 1)
    const twin = names.get(name)
    if (twin !== undefined && twin !== absolute) {
      problems.push({
        path: at,
        message: `two files are called ${name}; they travel side by side in one folder`,
      })
    }
    names.set(name, absolute)
    found.push(absolute)
  }
  const [main, ...others] = found
  if (main === undefined) return undefined
  const interpreter = inMap ? script['interpreter'] : raw['interpreter']
  return {
    path: main,
    ...(interpreter !== undefined && { interpreter: interpreter as readonly string[] }),
    ...(others.length > 0 && { files: others }),
  }
}

async function fileProblem(path: string): Promise<string | undefined> {
  try {
    return (await stat(path)).isFile() ? undefined : 'is no file'
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    return code === 'ENOENT' || code === 'ENOTDIR' ? 'there is no such file' : `cannot be read (${code})`
  }
}

function environmentHints(environment: unknown): DataProblem[] {
  if (!isMap(environment)) return []
  return Object.entries(environment)
    .filter(
      ([, value]) =>
        typeof value === 'string' && /\{\??(?:inputs|params)\.|\{(?:outputs|cpus|tmp)\}/.test(value),
    )
    .map(([name]) => ({
      path: ['environment', name],
      message: 'placeholders are filled in only in command',
      hint: 'pass it as an argument, or read the ORBWEAVER_… variables in the job',
    }))
}

// ---------------------------------------------------------------- parameters

interface Param {
  readonly declaration: ParamDeclaration
  readonly type: (typeof PARAM_TYPES)[number]
}

function typeOf(value: unknown): (typeof PARAM_TYPES)[number] {
  if (Array.isArray(value)) return 'list'
  // `threshold: 1` may well become 1.5 at the next site, so a number is not taken for an integer.
  if (typeof value === 'number') return 'number'
  return typeof value === 'boolean' ? 'boolean' : 'string'
}

function readParams(
  raw: unknown,
  problems: DataProblem[],
  textAt: (path: DataPath) => string | undefined,
): ReadonlyMap<string, Param> {
  const params = new Map<string, Param>()
  if (!isMap(raw)) return params
  for (const [name, value] of Object.entries(raw)) {
    const path = ['params', name]
    if (!isMap(value)) {
      if (value === null) {
        problems.push({
          path,
          message: 'is empty',
          hint: 'give a default, or {type: string, optional: true}',
        })
      }
      const declaration = { default: value as ParamDeclaration['default'] }
      params.set(name, { declaration, type: typeOf(value) })
      continue
    }
    const result = paramDeclarationSchema.safeParse(value)
    if (!result.success) {
      // Reported by the schema; known to the command all the same, so that it is not reported twice.
      params.set(name, { declaration: { optional: true }, type: 'string' })
      continue
    }
    const declaration = result.data
    const sample = declaration.default ?? declaration.choices?.[0]
    if (declaration.type === undefined && sample === undefined) {
      problems.push({
        path,
        message: 'has neither type nor default',
        hint: `type: ${PARAM_TYPES.join(', ')}`,
      })
    }
    const type = declaration.type ?? typeOf(sample)
    const param = { declaration, type }
    const before = problems.length
    problems.push(...declarationProblems(param, path))
    if (problems.length === before && declaration.default !== undefined) {
      const at = [...path, 'default']
      problems.push(...checkSchema(valueSchema(param), declaration.default, { at, textAt }).problems)
    }
    params.set(name, param)
  }
  return params
}

function declarationProblems({ declaration, type }: Param, path: DataPath): DataProblem[] {
  const problems: DataProblem[] = []
  const { minimum, maximum, pattern } = declaration
  const numeric = type === 'number' || type === 'integer'
  for (const key of ['minimum', 'maximum'] as const) {
    if (declaration[key] !== undefined && !numeric) {
      problems.push({
        path: [...path, key],
        message: `has no meaning for type ${type}`,
        hint: 'use type: number',
      })
    }
  }
  if (minimum !== undefined && maximum !== undefined && minimum > maximum) {
    problems.push({ path: [...path, 'maximum'], message: `is less than the minimum ${minimum}` })
  }
  if (pattern !== undefined) {
    if (type !== 'string') {
      problems.push({ path: [...path, 'pattern'], message: `has no meaning for type ${type}` })
    }
    try {
      new RegExp(pattern, 'u')
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      problems.push({ path: [...path, 'pattern'], message: `is no regular expression: ${error.message}` })
    }
  }
  return problems
}

/** The schema of one value, default and absence not yet considered. */
function valueSchema({ declaration, type }: Param): z.ZodType {
  const { minimum, maximum, choices, pattern } = declaration
  const bounded = (schema: z.ZodNumber): z.ZodNumber => {
    const low = minimum === undefined ? schema : schema.min(minimum)
    return maximum === undefined ? low : low.max(maximum)
  }
  const schemas: Readonly<Record<Param['type'], () => z.ZodType>> = {
    string: () =>
      pattern === undefined
        ? z.string()
        : z.string().regex(new RegExp(`^(?:${pattern})$`, 'u'), `does not match the pattern ${pattern}`),
    number: () => bounded(z.number()),
    integer: () => bounded(z.int()),
    boolean: () => z.boolean(),
    list: () => z.array(scalar),
  }
  const schema = schemas[type]()
  if (choices === undefined) return schema
  const allowed = z.literal(choices)
  return type === 'list' ? z.array(allowed) : schema.pipe(allowed)
}

function paramsZod(params: ReadonlyMap<string, Param>): z.ZodType {
  const shape: Record<string, z.ZodType> = {}
  for (const [name, param] of params) {
    const { default: value, optional, description } = param.declaration
    const bare = valueSchema(param)
    const described = description === undefined ? bare : bare.meta({ description })
    shape[name] =
      value !== undefined ? described.prefault(value) : optional === true ? described.optional() : described
  }
  return z.strictObject(shape)
}

// ---------------------------------------------------------------- the command

function readCommand(
  raw: Readonly<Record<string, unknown>>,
  params: ReadonlyMap<string, Param>,
  problems: DataProblem[],
): CommandTemplate | undefined {
  const { command, inputs } = raw
  if (typeof command === 'string' && /\s/.test(command)) {
    problems.push({
      path: ['command'],
      message: 'a command is a list of words, not a line for a shell',
      hint: `write [${command.trim().split(/\s+/).slice(0, 3).join(', ')}, …]; for pipes and the like use script: ./run.sh`,
    })
    return undefined
  }
  if (!commandSchema.safeParse(command).success) return undefined
  const names = new Map(
    Object.entries(isMap(inputs) ? inputs : {}).map(([name, input]) => [
      name,
      {
        all: isMap(input) && input['all'] === true,
        optional: isMap(input) && input['optional'] === true,
      },
    ]),
  )
  const known = new Map(
    [...params].map(([name, { declaration, type }]) => [
      name,
      { list: type === 'list', optional: declaration.optional === true && declaration.default === undefined },
    ]),
  )
  const result = parseCommand(command as readonly CommandItem[], { inputs: names, params: known })
  if (result.ok) return result.command
  problems.push(...result.problems)
  return undefined
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function located(problems: readonly DataProblem[], document: YamlDocument): ConfigError {
  return new ConfigError(sortProblems(problems.map((problem) => document.locate(problem))))
}

// ---------------------------------------------------------------- modules

async function fromModule(file: string): Promise<ProcessorDefinition> {
  const wrong = await fileProblem(file)
  if (wrong !== undefined) throw new ConfigError([{ file, path: '', message: wrong }])
  const module = await importModule(file)
  const outer: unknown = module['default']
  // Where no package.json says that files are modules, tsx hands over CommonJS: everything one level deeper.
  const exported =
    isMap(outer) && outer['default'] !== undefined && outer['name'] === undefined ? outer['default'] : outer
  if (exported === undefined) {
    const others = Object.keys(module).filter((name) => name !== 'default')
    throw new ConfigError([
      {
        file,
        path: 'default',
        message: 'the module has no default export',
        hint: `write export default defineProcessor({…})${others.length > 0 ? `; it exports ${others.join(', ')}` : ''}`,
      },
    ])
  }
  const definition =
    typeof exported === 'function' ? instantiate(exported as new () => unknown, file) : exported
  const problems = definitionProblems(definition)
  if (problems.length > 0) throw new ConfigError(problems.map((problem) => toConfigProblem(problem, file)))
  return definition as ProcessorDefinition | ProcessorBase
}

function instantiate(constructor: new () => unknown, file: string): unknown {
  const isClass = /^class\b/.test(Function.prototype.toString.call(constructor))
  if (!isClass) {
    throw new ConfigError([
      {
        file,
        path: 'default',
        message: 'the default export is a function',
        hint: 'export an object (defineProcessor({…})), a processor class, or an instance of one',
      },
    ])
  }
  try {
    return new constructor()
  } catch (error) {
    throw new ConfigError(
      [{ file, path: 'default', message: `the class cannot be made: ${messageOf(error)}` }],
      {
        cause: error,
      },
    )
  }
}

async function importModule(file: string): Promise<Record<string, unknown>> {
  try {
    const load = /\.m?ts$/i.test(file) ? await typescriptLoader(file) : importFile
    return await load(file)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new ConfigError([await moduleProblem(file, error)], { cause: error })
  }
}

type Loader = (file: string) => Promise<Record<string, unknown>>

const importFile: Loader = async (file) => (await import(pathToFileURL(file).href)) as Record<string, unknown>

/**
 * Node strips types by itself from 22.18 on. Before that the optional package `tsx` does it, found beside the processor
 * file or beside us.
 */
async function typescriptLoader(file: string): Promise<Loader> {
  const features = process.features as { readonly typescript?: unknown }
  if (typeof features.typescript === 'string') return importFile
  for (const from of [file, import.meta.url]) {
    const api = await tsxApi(from)
    if (api === undefined) continue
    const { tsImport } = (await import(api)) as {
      tsImport: (specifier: string, parent: string) => Promise<Record<string, unknown>>
    }
    return (path) => tsImport(pathToFileURL(path).href, pathToFileURL(path).href)
  }
  throw new ConfigError([
    {
      file,
      path: '',
      message: `Node ${process.versions.node} cannot read TypeScript`,
      hint: 'install the package tsx beside it (npm install tsx), use Node 22.18 or later, or write it as .mjs',
    },
  ])
}

/** `import.meta.resolve` knows only our own surroundings, and `require.resolve` only the CommonJS half of a package. */
async function tsxApi(from: string): Promise<string | undefined> {
  let manifest: string
  try {
    manifest = createRequire(from).resolve('tsx/package.json')
  } catch (error) {
    if (systemErrorCode(error) === 'MODULE_NOT_FOUND') return undefined
    throw error
  }
  const { exports } = tsxManifest.parse(JSON.parse(await readFile(manifest, 'utf8')))
  return pathToFileURL(resolve(dirname(manifest), exports['./esm/api'].import.default)).href
}

const tsxManifest = z.object({
  exports: z.object({ './esm/api': z.object({ import: z.object({ default: z.string() }) }) }),
})

async function moduleProblem(file: string, error: unknown): Promise<ConfigProblem> {
  const message = messageOf(error)
  if (systemErrorCode(error) === 'ERR_MODULE_NOT_FOUND') {
    const wanted = /Cannot find (?:package|module) '([^']+)'/.exec(message)?.[1]
    return {
      file,
      path: '',
      message: wanted === undefined ? message : `it imports ${JSON.stringify(wanted)}, which cannot be found`,
      hint: `install it in ${dirname(file)}, or correct the import`,
    }
  }
  const stack =
    error instanceof SyntaxError ? await syntaxReport(file) : error instanceof Error ? error.stack : ''
  const place = placeIn(stack ?? '', file)
  return { file, ...place, path: '', message: `the module cannot be loaded: ${message}` }
}

/** Node tells the place of a syntax error only on its way out, so another Node is asked to check the file; it runs nothing. */
async function syntaxReport(file: string): Promise<string> {
  if (/\.m?ts$/i.test(file)) return ''
  try {
    await promisify(execFile)(process.execPath, ['--check', file], { timeout: 10_000, env: {} })
    return ''
  } catch (error) {
    const { stderr } = error as { stderr?: unknown }
    return typeof stderr === 'string' ? stderr : ''
  }
}

/** Line and column of a fault in this very file, as a stack or report tells them. */
function placeIn(report: string, file: string): { line: number; column?: number } | undefined {
  for (const name of [pathToFileURL(file).href, file]) {
    const at = report.indexOf(`${name}:`)
    if (at === -1) continue
    const match = /^(\d+)(?::(\d+))?/.exec(report.slice(at + name.length + 1))
    if (match === null) continue
    return { line: Number(match[1]), ...(match[2] !== undefined && { column: Number(match[2]) }) }
  }
  return undefined
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
