/** The schemas of what processor authors write; shared by objects, classes and processor files. */

import semver from 'semver'
import { z } from 'zod'
import { LEVELS } from './archive.js'
import { filePathProblem, labelProblem } from './labels.js'
import { parseDuration, parseMemory } from './requirements.js'

// ---------------------------------------------------------------- amounts

function checked<In extends string | number>(
  parse: (value: In) => number,
): (value: In, context: z.RefinementCtx<In>) => number {
  return (value, context) => {
    try {
      return parse(value)
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      context.addIssue({ code: 'custom', message: error.message })
      return z.NEVER
    }
  }
}

/** `8 GiB`, `4096 MB`, or a plain number of MB; gives bytes. For adapters' options too. */
export const memorySchema = z
  .union([z.string(), z.number()])
  .transform(checked(parseMemory))
  .meta({ description: 'Memory or disk: `8 GiB`, `4096 MB`, `8G`, or a plain number of MB.' })

/** `2h`, `1d 12h`, `HH:MM:SS`, or a plain number of minutes; gives seconds. For walltimes. */
export const walltimeSchema = z.union([z.string(), z.number()]).transform(checked(parseDuration)).meta({
  description: 'Time: `2h`, `90m`, `1d 12h`, `HH:MM:SS`, `D-HH:MM:SS`, or a plain number of minutes.',
})

/** As {@link walltimeSchema}, but the unit must be said: for settings where minutes and seconds are both usual. Gives seconds. */
export const durationSchema = z
  .union([z.string(), z.number()])
  .transform((value, context) => {
    const text = String(value).trim()
    const isBare = /^\d+(\.\d+)?$/.test(text)
    try {
      if (!isBare) return parseDuration(text)
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
    }
    const message = isBare
      ? `${text} has no unit; write ${text}s, ${text}m or ${text}h`
      : `${JSON.stringify(text)} is no duration; write 15s, 5m, 2h or 14d`
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })
  .meta({ description: 'Time with its unit: `15s`, `5m`, `2h`, `14d`.' })

const count = (least: number, description: string) => z.int().min(least).meta({ description })

// Amounts stay as written here: a definition keeps `8 GiB`, the resolved processor has bytes.
const asWritten = (schema: z.ZodType, description: string) =>
  z
    .union([z.string(), z.number()])
    .superRefine((value, context) => {
      const result = schema.safeParse(value)
      for (const issue of result.error?.issues ?? [])
        context.addIssue({ code: 'custom', message: issue.message })
    })
    .meta({ description })

export const requirementsSchema = z
  .strictObject({
    cpus: count(1, 'Processor cores. Default: 1.').optional(),
    gpus: count(0, 'Graphics cards. Default: 0.').optional(),
    memory: asWritten(
      memorySchema,
      'Memory of the whole job: `8 GiB`, `4096 MB`, `8G`, or a plain number of MB. Default: 2 GiB.',
    ).optional(),
    walltime: asWritten(
      walltimeSchema,
      'Longest run: `2h`, `1d 12h`, `HH:MM:SS`, `D-HH:MM:SS`, or a plain number of minutes. Default: 1h.',
    ).optional(),
    scratch: asWritten(
      memorySchema,
      'Room the job needs in its folder beyond the inputs: `20 GiB`. Default: none.',
    ).optional(),
  })
  .meta({ description: 'What the job asks for. The site can change it for each processor.' })

// ---------------------------------------------------------------- words

const words = (what: z.ZodType<string, string>, description: string) =>
  z.union([what, z.array(what).min(1)]).meta({ description })

const anyWord = z.string().min(1)

const label = z.string().superRefine((text, context) => {
  const problem = labelProblem(text)
  if (problem !== undefined) {
    context.addIssue({ code: 'custom', message: `${JSON.stringify(text)} is no label: ${problem}` })
  }
})

/** A glob that cannot leave its folder. */
const glob = z.string().superRefine((text, context) => {
  const problem = filePathProblem(text.endsWith('/') ? text.slice(0, -1) : text)
  if (problem !== undefined) {
    context.addIssue({
      code: 'custom',
      message: `${JSON.stringify(text)} cannot be used: ${problem}; write a path relative to the folder, such as report.pdf, stats/*.tsv or subject/`,
    })
  }
})

const MAX_NAME_LENGTH = 64

export const processorNameSchema = z
  .string()
  .superRefine((name, context) => {
    const wrong =
      name.length > MAX_NAME_LENGTH
        ? `is longer than ${MAX_NAME_LENGTH} characters`
        : !/^[a-z][a-z0-9-]*$/.test(name)
          ? `${JSON.stringify(name)} is no processor name; use a-z, 0-9 and -, starting with a letter, such as bold-qc`
          : name.includes('-x-')
            ? 'holds "-x-"; that separates the parts of task labels, so name it otherwise'
            : undefined
    if (wrong !== undefined) context.addIssue({ code: 'custom', message: wrong })
  })
  .meta({ description: 'Name of the processor: `a-z`, `0-9`, `-`, starting with a letter.' })

export const processorVersionSchema = z
  .string()
  .superRefine((text, context) => {
    if (semver.valid(text) === text) return
    const coerced = semver.coerce(text)?.version
    context.addIssue({
      code: 'custom',
      message: `${JSON.stringify(text)} is no version of the form MAJOR.MINOR.PATCH; write ${coerced ?? '1.0.0'}`,
    })
  })
  .meta({ description: 'Version, `MAJOR.MINOR.PATCH`. Results of one major version stand for each other.' })

export const levelSchema = z
  .enum(LEVELS)
  .meta({ description: 'What it runs on: every project, subject, session, scan or assessor.' })

export const scanSelectorSchema = z
  .strictObject({
    type: words(
      anyWord,
      'Scan types; `*` and `?` may stand for any text. Several mean any of them.',
    ).optional(),
    quality: words(anyWord, 'Only scans that a person called this. Default: all but `unusable`.').optional(),
    description: words(anyWord, 'Series descriptions; `*` and `?` allowed.').optional(),
    label: words(anyWord, 'Scan labels (numbers); `*` and `?` allowed.').optional(),
  })
  .meta({ description: 'Which scans.' })

export const assessorSelectorSchema = z
  .strictObject({
    type: words(anyWord, 'Names of the processors that made the result; `*` and `?` allowed.'),
    version: z
      .string()
      .superRefine((text, context) => {
        if (semver.validRange(text) !== null) return
        context.addIssue({
          code: 'custom',
          message: `${JSON.stringify(text)} is no version range; write ">=2.1", "7" or "1.2 - 1.6"`,
        })
      })
      .meta({ description: 'Semantic version range on what made the result, as `">=2.1"`. Default: any.' })
      .optional(),
    passed: z
      .boolean()
      .meta({ description: 'Wait until a person has passed the result. Default: false.' })
      .optional(),
  })
  .meta({ description: 'Which results of other processors.' })

export const inputDeclarationSchema = z
  .strictObject({
    scan: scanSelectorSchema.optional(),
    assessor: assessorSelectorSchema.optional(),
    resource: words(label, 'Label of the resource to stage; of several, the first one there.'),
    files: words(glob, 'Globs on the files of the resource. Default: all of them.').optional(),
    each: z
      .boolean()
      .meta({ description: 'One task for each match. At most one input may say so.' })
      .optional(),
    all: z.boolean().meta({ description: 'All matches together in one task.' }).optional(),
    pick: z
      .union([z.enum(['first', 'last']), z.int().min(1)])
      .meta({ description: 'Of several matches the `first`, the `last`, or the nth (from 1).' })
      .optional(),
    optional: z.boolean().meta({ description: 'Run without it when nothing matches.' }).optional(),
    sameScanAs: z
      .string()
      .meta({ description: 'Name of an assessor input: only scans which that result was made from.' })
      .optional(),
    orFrom: assessorSelectorSchema
      .meta({
        description:
          'For scan inputs: where the scan lacks the resource, take it from the result of that processor on that scan, as `{ type: dcm2niix }`.',
      })
      .optional(),
    within: z
      .enum(['session', 'subject', 'project'])
      .meta({ description: 'Look for matches in this wider node. Default: where the processor runs.' })
      .optional(),
  })
  .meta({
    description: 'One input: scans, results of other processors, or the resource of the target itself.',
  })

/** Names of inputs and parameters: they become parts of placeholders and variables. */
export const NAME_PATTERN = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/
const memberName = z
  .string()
  .regex(NAME_PATTERN, 'use letters, digits, _ and -, starting with a letter, at most 64 characters')

export const inputsSchema = z
  .record(memberName, inputDeclarationSchema)
  .meta({ description: 'What the processor needs, by name.' })

export const outputDeclarationSchema = z.union([
  glob,
  z.strictObject({
    path: words(
      glob,
      'Globs relative to the output folder; a trailing `/` means the folder and all below it.',
    ),
    required: z.boolean().meta({ description: 'The task fails without it. Default: false.' }).optional(),
  }),
])

export const outputsSchema = z.record(z.string(), outputDeclarationSchema).meta({
  description: 'Resources of the result, by label, and the files of the output folder that go there.',
})

export const RUNTIMES = ['apptainer', 'singularity', 'podman', 'docker'] as const

const image = z
  .string()
  .superRefine((text, context) => {
    const wrong =
      text === ''
        ? 'is empty'
        : // eslint-disable-next-line no-control-regex
          /[\s\u0000-\u001f\u007f]/.test(text)
          ? `${JSON.stringify(text)} is no image: it holds a blank or control character`
          : text.startsWith('-')
            ? `${JSON.stringify(text)} is no image: it starts with -`
            : undefined
    if (wrong !== undefined) context.addIssue({ code: 'custom', message: wrong })
  })
  .meta({
    description:
      '`docker://…`, a registry name, or the path of an image file or unpacked folder on the cluster.',
  })

const bind = z.string().superRefine((text, context) => {
  // eslint-disable-next-line no-control-regex
  if (/^\/[^:,\u0000-\u001f]*:\/[^:,\u0000-\u001f]*$/.test(text)) return
  context.addIssue({
    code: 'custom',
    message: `${JSON.stringify(text)} is no mount; write HOST:CONTAINER with two absolute paths, without : or , in them`,
  })
})

export const containerSchema = z
  .strictObject({
    image,
    runtime: z
      .enum(RUNTIMES)
      .meta({ description: "Default: the site's, or the first that the node has." })
      .optional(),
    network: z
      .boolean()
      .meta({ description: 'Let the container reach the network. Default: false.' })
      .optional(),
    binds: z.array(bind).meta({ description: 'Extra read-only mounts, `HOST:CONTAINER`.' }).optional(),
  })
  .meta({ description: 'The container that the command runs in.' })

/** What a site may change: any part of the container. */
export const containerOverrideSchema = containerSchema.partial()

export const environmentSchema = z
  .record(
    z.string().superRefine((name, context) => {
      const wrong = !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)
        ? 'a variable has letters, digits and _, and does not start with a digit'
        : /^ORBWEAVER_/i.test(name)
          ? 'names that start with ORBWEAVER_ are ours'
          : undefined
      if (wrong !== undefined) context.addIssue({ code: 'custom', message: wrong })
    }),
    z.string().refine((value) => !value.includes('\0'), 'holds a NUL character'),
  )
  .meta({ description: 'Variables for the job.' })

export const programsSchema = z
  .array(z.string().min(1))
  .meta({ description: 'Programs the command needs on the node; `doctor` looks for them.' })

const absolutePath = z
  .string()
  .refine((path) => path.startsWith('/') && !path.includes('\0'), 'must be an absolute path')

export const scriptSchema = z.strictObject({
  path: absolutePath,
  interpreter: z.array(z.string().min(1)).min(1).optional(),
  files: z.array(absolutePath).optional(),
})

/** A parameter schema is any zod schema; which one it is we need not know. */
const zodSchema = z.custom<z.ZodType>(
  (value) => typeof value === 'object' && value !== null && '_zod' in value && 'safeParse' in value,
  'must be a zod schema, such as z.object({ threshold: z.number().default(0.5) })',
)
const fn = z.custom<(...args: never[]) => unknown>(
  (value) => typeof value === 'function',
  'must be a function',
)

export const descriptionSchema = z.string().meta({ description: 'One or a few sentences for people.' })

/** A definition as an object or class instance has it. */
export const definitionSchema = z.strictObject({
  name: processorNameSchema,
  version: processorVersionSchema,
  level: levelSchema,
  description: descriptionSchema.optional(),
  inputs: inputsSchema,
  params: zodSchema.optional(),
  requirements: requirementsSchema.optional(),
  outputs: outputsSchema,
  container: containerSchema.optional(),
  script: scriptSchema.optional(),
  environment: environmentSchema.optional(),
  programs: programsSchema.optional(),
  command: fn.optional(),
  canRun: fn.optional(),
  requirementsFor: fn.optional(),
})
