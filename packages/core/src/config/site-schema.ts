/** The schema of the site file, put together from the schemas of the adapters it uses. */

import { z } from 'zod'
import { CAUSE_KINDS } from '../domain/cause.js'
import type { CauseKind } from '../domain/cause.js'
import { labelProblem } from '../domain/labels.js'
import {
  RUNTIMES,
  containerOverrideSchema,
  durationSchema,
  environmentSchema,
  memorySchema,
  requirementsSchema,
  walltimeSchema,
} from '../domain/processor-schema.js'
import { DEFAULT_RETRY } from '../engine/retry.js'
import type { AdapterDescriptor, AdapterKind } from '../ports/adapter.js'

/** What the three places of a site file hold that name an adapter. */
export interface SiteParts {
  readonly store: z.ZodType
  /** With its `transport`. */
  readonly cluster: z.ZodType
}

/** `use` and the adapter's own options, as one strict map. */
export function adapterPart(
  descriptor: Pick<AdapterDescriptor, 'configSchema'>,
  use: z.ZodType,
  transport?: z.ZodType,
): z.ZodObject {
  return descriptor.configSchema.safeExtend({ use, ...(transport !== undefined && { transport }) })
}

/** For an adapter that could not be loaded: that is one problem, its options are not others. */
export function unknownAdapterPart(kind: AdapterKind, known: readonly string[]): z.ZodObject {
  return z.looseObject({
    use: z
      .string()
      .min(1)
      .meta({ description: `${USE_WORDS[kind]}: ${known.join(', ')}, the name of a package, or ./file.js` }),
  })
}

const USE_WORDS: Readonly<Record<AdapterKind, string>> = {
  'cluster-backend': 'which scheduler',
  'data-store': 'which archive',
  transport: 'how to reach the cluster',
  notifier: 'whom to tell',
}

export const localTransportSchema = z.strictObject({
  use: z.literal('local').meta({ description: 'Programs and files of this machine.' }),
})

// ---------------------------------------------------------------- the fixed parts

const describe = (text: string) => ({ description: text })

const projectId = z.string().superRefine((text, context) => {
  const problem = labelProblem(text)
  if (problem !== undefined) {
    context.addIssue({ code: 'custom', message: `${JSON.stringify(text)} is no project label: ${problem}` })
  }
})

export const processorEntrySchema = z
  .union([
    z.string().min(1),
    z.strictObject({
      use: z
        .string()
        .min(1)
        .meta(describe('Name of a ready processor, or a file: `./processors/mine.yaml`.')),
      params: z.record(z.string(), z.unknown()).meta(describe('Values of its parameters.')).optional(),
      requirements: requirementsSchema
        .meta(describe('Instead of what the processor asks for; what is left out stays.'))
        .optional(),
      environment: environmentSchema.meta(describe('More variables for its jobs.')).optional(),
      container: z
        .union([z.string().min(1), containerOverrideSchema])
        .meta(describe('Another image, or other options of the container.'))
        .optional(),
    }),
  ])
  .meta(describe('A ready processor by name, a file (`./mine.yaml`), or one of both with changes.'))

export const projectEntrySchema = z
  .union([
    projectId,
    z.strictObject({
      id: projectId.meta(describe('Label of the project in the archive.')),
      processors: z
        .array(processorEntrySchema)
        .meta(describe('Processors of this project, beside those of the whole site.'))
        .optional(),
    }),
  ])
  .meta(describe('A project: its label, or its label and its processors.'))

const none = z.literal(['0s', 0]).transform(() => 0)
const durationOrNone = z
  .union([none, durationSchema])
  .meta(describe('Time with its unit: `30s`, `5m`, `2h`, `14d`; `0s` for none.'))

const ruleFields = {
  times: z.int().min(0).max(1000).meta(describe('How often it is tried again. 0: never.')).optional(),
  delay: durationOrNone
    .meta(describe('Wait before the first new try; doubled each time, up to a day.'))
    .optional(),
}
const ruleSchema = z.strictObject(ruleFields)
const growingRuleSchema = z.strictObject({
  ...ruleFields,
  factor: z
    .number()
    .min(1)
    .max(10)
    .meta(describe('How much more is asked for each time. 1: the same.'))
    .optional(),
})

const GROWING: ReadonlySet<CauseKind> = new Set<CauseKind>(['memory', 'walltime'])

const causeRules = Object.fromEntries(
  CAUSE_KINDS.map((kind) => {
    const { times, delaySeconds, factor } = DEFAULT_RETRY.causes[kind]
    const usual = `After a failure of kind ${kind}. Default: ${times} times, after ${delaySeconds}s${factor > 1 ? `, with ${factor} times as much` : ''}.`
    return [kind, (GROWING.has(kind) ? growingRuleSchema : ruleSchema).meta(describe(usual)).optional()]
  }),
) as Record<CauseKind, z.ZodOptional<typeof growingRuleSchema>>

export const retrySchema = z
  .strictObject({
    ...causeRules,
    temporary: ruleSchema
      .meta(describe('After an exit code that asks to be run again later. Default: 10 times, after 600s.'))
      .optional(),
    temporaryExitCodes: z
      .array(z.int().min(1).max(255))
      .meta(describe('Exit codes that ask for that. Default: [75].'))
      .optional(),
    maxMemory: memorySchema.meta(describe('Never ask for more memory than this.')).optional(),
    maxWalltime: walltimeSchema.meta(describe('Never ask for more time than this.')).optional(),
  })
  .meta(describe('What happens after a failure, by its cause.'))

const timingSchema = z
  .strictObject({
    poll: durationSchema
      .meta(describe('How often jobs are asked for. Default: 15s; 1s on this machine.'))
      .optional(),
    grace: durationSchema
      .meta(
        describe(
          'How long a job may be missing everywhere before it is lost. Default: 2m; 20s on this machine.',
        ),
      )
      .optional(),
    keepFailed: durationOrNone
      .meta(describe('How long the folders of failed attempts are kept. Default: 14d.'))
      .optional(),
    fullPass: durationSchema
      .meta(describe('Look at every session at least this often. Default: 1d.'))
      .optional(),
    outage: durationSchema
      .meta(
        describe(
          'Pause after the archive or the scheduler was away; doubled up to ten times this. Default: 1m.',
        ),
      )
      .optional(),
  })
  .meta(describe('How often and how long.'))

const limitsSchema = z
  .strictObject({
    jobs: z
      .int()
      .min(1)
      .max(1_000_000)
      .meta(describe('Jobs in the scheduler at once. Default: 100.'))
      .optional(),
    transfers: z.int().min(1).max(256).meta(describe('Transfers of files at once. Default: 4.')).optional(),
  })
  .meta(describe('How much at once.'))

const FIXED = {
  site: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
      'is no name for a site; use letters, digits, ".", "_" and "-", at most 64 characters',
    )
    .meta(
      describe('Name of this pairing of archive, cluster and processors; for people and for folder names.'),
    ),
  workRoot: z
    .string()
    .min(1)
    // eslint-disable-next-line no-control-regex
    .refine((path) => !/[\u0000-\u001f\u007f]/.test(path), 'holds a control character')
    .refine((path) => !path.includes('$'), 'variables are not filled in here; write the path out')
    .meta(
      describe(
        'Folder in which jobs run, as the cluster sees it. On this machine it may be relative to the site file; elsewhere it is absolute.',
      ),
    ),
  stateDirectory: z
    .string()
    .min(1)
    // eslint-disable-next-line no-control-regex
    .refine((path) => !/[\u0000-\u001f\u007f]/.test(path), 'holds a control character')
    .refine((path) => !path.includes('$'), 'variables are not filled in here; write the path out')
    .meta(
      describe(
        "Folder on this machine for the engine's journal. Default: `.orbweaver` in the work root when that is here, else `~/.local/state/orbweaver/SITE`.",
      ),
    )
    .optional(),
  limits: limitsSchema.optional(),
  projects: z.array(projectEntrySchema).min(1).meta(describe('The projects that are served.')),
  processors: z.array(processorEntrySchema).meta(describe('Processors of every project.')).optional(),
  retry: retrySchema.optional(),
  timing: timingSchema.optional(),
  container: z
    .strictObject({
      runtime: z
        .enum(RUNTIMES)
        .meta(describe('Which program runs containers. Default: the first the node has.'))
        .optional(),
    })
    .meta(describe('How containers are run.'))
    .optional(),
  keepComplete: z
    .boolean()
    .meta(describe('Keep the folders of complete tasks too. Default: false.'))
    .optional(),
}

/** The whole site file. */
export function siteSchema({ store, cluster }: SiteParts) {
  const { site, ...rest } = FIXED
  const body = {
    site,
    store: store.meta(describe('The archive: `use` names the adapter, the rest are its options.')),
    cluster: cluster.meta(
      describe('The cluster: `use` names the scheduler, `transport` how to reach it, the rest are options.'),
    ),
    ...rest,
  }
  // A profile is checked as a whole after it was laid over the file; alone, only its keys can be right or wrong.
  const profile = z.strictObject(
    Object.fromEntries(
      Object.entries(body).map(([key, schema]) => [
        key,
        z
          .unknown()
          .meta(describe(z.globalRegistry.get(schema)?.description ?? `Instead of ${key} of the file.`))
          .optional(),
      ]),
    ),
  )
  return z
    .strictObject({
      ...body,
      profiles: z
        .record(z.string().min(1), profile)
        .meta(
          describe(
            'Named changes, chosen with --profile: maps merge, lists replace, null removes, another `use` replaces its map.',
          ),
        )
        .optional(),
    })
    .meta({ title: 'Orbweaver site', description: 'One pairing of an archive, a cluster and processors.' })
}

export type SiteData = z.output<ReturnType<typeof siteSchema>>

/**
 * The JSON Schema (draft 7) of site files, for editors.
 *
 * @param adapters - those to offer; others may be named too, their options are not checked by the editor
 */
export function siteJsonSchema(adapters: readonly AdapterDescriptor[]): Record<string, unknown> {
  const of = (kind: AdapterKind): readonly AdapterDescriptor[] =>
    adapters.filter((each) => each.kind === kind)
  const choice = (kind: AdapterKind, own: readonly z.ZodType[]): z.ZodType => {
    const foreign = z.looseObject({
      use: z
        .string()
        .regex(/^(?:@|\.{0,2}\/)/)
        .meta(describe('An adapter from elsewhere: `@lab/package` or `./file.js`.')),
    })
    return z.union([...own, foreign]).meta(describe(`Adapter: ${USE_WORDS[kind]}.`))
  }
  const literal = (name: string): z.ZodType => z.literal(name).meta(describe(`Adapter ${name}.`))
  const transport = choice('transport', [
    localTransportSchema,
    ...of('transport').map((each) => adapterPart(each, literal(each.name))),
  ])
  return z.toJSONSchema(
    siteSchema({
      store: choice(
        'data-store',
        of('data-store').map((each) => adapterPart(each, literal(each.name))),
      ),
      cluster: choice(
        'cluster-backend',
        of('cluster-backend').map((each) => adapterPart(each, literal(each.name), transport.optional())),
      ),
    }),
    { io: 'input', target: 'draft-7', unrepresentable: 'any' },
  )
}
