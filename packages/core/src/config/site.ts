/** The site file: which archive, which cluster, which processors. */

import { readdir, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { z } from 'zod'
import { CAUSE_KINDS } from '../domain/cause.js'
import type { CauseKind } from '../domain/cause.js'
import { checkSchema, formatPath, knownWords, nearest, show } from '../domain/problems.js'
import type { DataPath, DataProblem } from '../domain/problems.js'
import type { Processor, ProcessorDefinition } from '../domain/processor.js'
import {
  definitionProblems,
  overrideProblems,
  resolveProcessor,
  toConfigProblem,
} from '../domain/resolve-processor.js'
import type { ProcessorOverrides } from '../domain/resolve-processor.js'
import type { EngineProject, EngineSettings, EngineTiming } from '../engine/engine.js'
import { DEFAULT_RETRY } from '../engine/retry.js'
import type { RetryPolicy, RetryRule } from '../engine/retry.js'
import { ConfigError, systemErrorCode } from '../errors.js'
import type { ConfigProblem } from '../errors.js'
import type { AdapterDescriptor, AdapterKind } from '../ports/adapter.js'
import { LayeredDocument } from './layers.js'
import type { Layer } from './layers.js'
import { PROCESSOR_ENDINGS, loadProcessorFile } from './processor-file.js'
import { takeOutSecrets } from './secrets.js'
import {
  adapterPart,
  localTransportSchema,
  processorEntrySchema,
  projectEntrySchema,
  siteSchema,
  unknownAdapterPart,
} from './site-schema.js'
import type { SiteData } from './site-schema.js'
import { placed, readYaml, sortProblems } from './yaml-document.js'

export interface SiteOptions {
  /** Name of the profile to lay over the file. */
  readonly profile?: string
  /** Laid over file and profile: what was said on the command line, in the file's own form. */
  readonly overrides?: Readonly<Record<string, unknown>>
  /** Gives the adapter that the word after `use:` names. May throw anything; it becomes a problem at that word. */
  importAdapter(use: string, kind: AdapterKind, fromDirectory: string): Promise<AdapterDescriptor>
  /** Names that can be used without a package or file, for messages. */
  readonly knownAdapters: {
    readonly backend: readonly string[]
    readonly store: readonly string[]
    readonly transport: readonly string[]
  }
  /** Processors that can be named without a file. */
  readonly readyProcessors: ReadonlyMap<string, ProcessorDefinition>
  /** For `~`. Default: that of the user. */
  readonly homeDirectory?: string
}

/** One adapter of a site. */
export interface SiteAdapter<Descriptor = AdapterDescriptor> {
  /** The word after `use:`. */
  readonly use: string
  /** Parsed by the adapter's own schema, defaults filled in. */
  readonly config: Readonly<Record<string, unknown>>
  readonly descriptor: Descriptor
}

export interface SiteProcessor {
  readonly name: string
  readonly version: string
  readonly procType: string
  /** Name of a ready processor, or the absolute path of a file. */
  readonly from: string
  readonly projects: readonly string[]
  readonly image?: string
  readonly script?: string
  readonly programs: readonly string[]
}

/** What a site needs from the world around it; for `doctor` and `list`. */
export interface SiteSummary {
  readonly processors: readonly SiteProcessor[]
  /** Container images of all processors. */
  readonly images: readonly string[]
  /** Programs that processors without a container need on the nodes. */
  readonly programs: readonly string[]
}

export interface LoadedSite {
  /** Absolute. */
  readonly file: string
  /** Folder of the file. */
  readonly directory: string
  readonly name: string
  readonly profile?: string
  /** All profiles of the file. */
  readonly profiles: readonly string[]
  /** Absolute, as the cluster sees it. */
  readonly workRoot: string
  /** Absolute, on this machine. */
  readonly stateDirectory: string
  readonly store: SiteAdapter
  readonly cluster: SiteAdapter
  /** No descriptor: the transport `local` of core. */
  readonly transport: SiteAdapter<AdapterDescriptor | undefined>
  readonly settings: EngineSettings
  readonly summary: SiteSummary
}

export const SITE_FILE_NAMES = ['orbweaver.yaml', 'orbweaver.yml'] as const

/** The site file in a folder or the nearest of its parents; undefined when there is none. */
export async function findSiteFile(startDirectory: string): Promise<string | undefined> {
  let directory = resolve(startDirectory)
  for (;;) {
    for (const name of SITE_FILE_NAMES) {
      const file = join(directory, name)
      if (await isFile(file)) return file
    }
    const parent = dirname(directory)
    if (parent === directory) return undefined
    directory = parent
  }
}

/**
 * Reads a site file with its profile, adapters and processors. Changes nothing.
 *
 * @throws ConfigError every problem of the site file and of the processor files it names, with file, line and column
 */
export async function loadSite(file: string, options: SiteOptions): Promise<LoadedSite> {
  return new SiteLoader(resolve(file), options).load()
}

interface Adapters {
  readonly store: AdapterDescriptor | undefined
  readonly cluster: AdapterDescriptor | undefined
  /** `local`: core's own. */
  readonly transport: AdapterDescriptor | 'local' | undefined
}

interface Entry {
  readonly use: string
  readonly path: DataPath
  readonly overrides: ProcessorOverrides
}

interface ReadyEntry extends Entry {
  readonly processor: Processor
  readonly from: string
}

/** One load: collects problems until the end, so that a person sees all of them. */
class SiteLoader {
  readonly #file: string
  readonly #directory: string
  readonly #options: SiteOptions
  readonly #home: string
  readonly #problems: ConfigProblem[] = []
  readonly #definitions = new Map<string, Promise<ProcessorDefinition | undefined>>()
  #document = new LayeredDocument([
    { data: undefined, locate: (problem) => placed(problem, ''), textAt: () => undefined },
  ])

  constructor(file: string, options: SiteOptions) {
    this.#file = file
    this.#directory = dirname(file)
    this.#options = options
    this.#home = options.homeDirectory ?? homedir()
  }

  async load(): Promise<LoadedSite> {
    const profiles = await this.#readLayers()
    const data = this.#document.data
    const adapters = await this.#loadAdapters(data)
    const value = this.#check(data, adapters)
    const projects = await this.#loadProjects(data)
    const place = this.#places(data, adapters)
    if (
      this.#problems.length > 0 ||
      value === undefined ||
      place === undefined ||
      adapters.store === undefined ||
      adapters.cluster === undefined ||
      adapters.transport === undefined
    ) {
      throw new ConfigError(sortProblems(this.#problems))
    }
    const { profile } = this.#options
    const { transport: transportData, ...cluster } = value.cluster as Record<string, unknown>
    const isHere = adapters.transport === 'local'
    return {
      file: this.#file,
      directory: this.#directory,
      name: value.site,
      ...(profile !== undefined && { profile }),
      profiles,
      ...place,
      store: adapterOf(value.store, adapters.store),
      cluster: adapterOf(cluster, adapters.cluster),
      transport: adapterOf(
        transportData ?? { use: 'local' },
        adapters.transport === 'local' ? undefined : adapters.transport,
      ),
      settings: settingsOf(value, place, projects, isHere),
      summary: summaryOf(projects),
    }
  }

  // -- the file and what is laid over it

  async #readLayers(): Promise<readonly string[]> {
    const { profile, overrides } = this.#options
    const document = await readYaml(this.#file)
    if (!isMap(document.data)) {
      const message = `a site file is a map of keys and values, but this is ${show(document.data)}`
      throw new ConfigError([document.locate({ path: [], message })])
    }
    const secrets = takeOutSecrets(document.data)
    this.#problems.push(...secrets.problems.map((problem) => document.locate(problem)))
    const base = secrets.data as Readonly<Record<string, unknown>>
    const profiles = isMap(base['profiles']) ? base['profiles'] : {}
    const layers: Layer[] = [
      {
        data: base,
        locate: (problem) => document.locate(problem),
        textAt: (path) => document.textAt(path),
      },
    ]
    if (profile !== undefined) {
      const chosen = Object.hasOwn(profiles, profile) ? profiles[profile] : undefined
      const at = ['profiles', profile]
      if (isMap(chosen)) {
        layers.unshift({
          // Profiles are not nested: a key of that name is reported where it stands, by the schema of profiles.
          data: Object.fromEntries(Object.entries(chosen).filter(([key]) => key !== 'profiles')),
          locate: (problem) => document.locate({ ...problem, path: [...at, ...problem.path] }),
          textAt: (path) => document.textAt([...at, ...path]),
        })
      } else if (chosen === undefined) {
        this.#problems.push(
          document.locate({
            path: at,
            message: `there is no profile "${profile}"`,
            hint: knownWords(profile, Object.keys(profiles), 'profiles'),
          }),
        )
      }
    }
    if (overrides !== undefined) {
      const checked = takeOutSecrets(overrides)
      const locate = (problem: DataProblem): ConfigProblem => placed(problem, 'command line')
      this.#problems.push(...checked.problems.map(locate))
      layers.unshift({ data: checked.data, locate, textAt: () => undefined })
    }
    this.#document = new LayeredDocument(layers)
    return Object.keys(profiles)
  }

  #report(path: DataPath, message: string, hint?: string): void {
    this.#problems.push(this.#document.locate({ path, message, ...(hint !== undefined && { hint }) }))
  }

  // -- adapters

  async #loadAdapters(data: unknown): Promise<Adapters> {
    const { knownAdapters } = this.#options
    const store = useOf(data, ['store'])
    const cluster = useOf(data, ['cluster'])
    const transport = useOf(data, ['cluster', 'transport'])
    const transports = ['local', ...knownAdapters.transport.filter((name) => name !== 'local')]
    const hasTransport = isMap(data) && isMap(data['cluster']) && data['cluster']['transport'] !== undefined
    return {
      store: await this.#import(store, 'data-store', ['store', 'use'], knownAdapters.store),
      cluster: await this.#import(cluster, 'cluster-backend', ['cluster', 'use'], knownAdapters.backend),
      transport:
        !hasTransport || transport === 'local'
          ? 'local'
          : await this.#import(transport, 'transport', ['cluster', 'transport', 'use'], transports),
    }
  }

  async #import(
    use: string | undefined,
    kind: AdapterKind,
    path: DataPath,
    known: readonly string[],
  ): Promise<AdapterDescriptor | undefined> {
    if (use === undefined) return undefined
    const unknown = (): undefined => {
      this.#report(
        path,
        `${JSON.stringify(use)} is no ${KIND_WORDS[kind]} that is known here`,
        `${knownWords(use, known)}; or the name of an installed package, or ./file.js`,
      )
      return undefined
    }
    const isBare = /^[\w-]+$/.test(use)
    // A slip of the pen must not load whatever package happens to have that name.
    if (isBare && !known.includes(use) && nearest(use, known) !== undefined) return unknown()
    try {
      const descriptor = await this.#options.importAdapter(use, kind, this.#directory)
      if (descriptor.kind === kind) return descriptor
      this.#report(
        path,
        `${JSON.stringify(use)} is a ${KIND_WORDS[descriptor.kind]}, not a ${KIND_WORDS[kind]}`,
        knownWords(undefined, known),
      )
      return undefined
    } catch (error) {
      const code = systemErrorCode(error)
      if (isBare && !known.includes(use) && (code === 'NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND'))
        return unknown()
      const message = error instanceof Error ? error.message : String(error)
      const hint = error instanceof ConfigError || !hasHint(error) ? undefined : error.hint
      this.#report(path, `${JSON.stringify(use)} cannot be loaded: ${message}`, hint)
      return undefined
    }
  }

  // -- the schema

  #check(data: unknown, adapters: Adapters): SiteData | undefined {
    const { knownAdapters } = this.#options
    const hasTransport = isMap(data) && isMap(data['cluster']) && data['cluster']['transport'] !== undefined
    const transport =
      adapters.transport === 'local'
        ? localTransportSchema
        : part(
            adapters.transport,
            useOf(data, ['cluster', 'transport']),
            'transport',
            knownAdapters.transport,
          )
    const schema = siteSchema({
      store: part(adapters.store, useOf(data, ['store']), 'data-store', knownAdapters.store),
      cluster: part(
        adapters.cluster,
        useOf(data, ['cluster']),
        'cluster-backend',
        knownAdapters.backend,
        hasTransport ? transport : transport.optional(),
      ),
    })
    const result = checkSchema(schema, data, { textAt: (path) => this.#document.textAt(path) })
    this.#problems.push(...result.problems.map((problem) => this.#document.locate(problem)))
    return result.value
  }

  // -- folders

  #places(data: unknown, { transport }: Adapters): { workRoot: string; stateDirectory: string } | undefined {
    if (!isMap(data) || typeof data['workRoot'] !== 'string' || data['workRoot'] === '') return undefined
    if (transport === undefined) return undefined // nobody knows on which side it lies
    const written = data['workRoot']
    const isHere = transport === 'local'
    if (!isHere && !written.startsWith('/')) {
      this.#report(
        ['workRoot'],
        `${JSON.stringify(written)} must be an absolute path: it is one on the cluster`,
        'write it from / on, such as /scratch/lab/orbweaver',
      )
      return undefined
    }
    const workRoot = isHere ? this.#here(written) : written.replace(/(?<=.)\/+$/, '')
    if (workRoot === '/') {
      this.#report(['workRoot'], 'the root folder cannot be the work root', 'name a folder of its own')
      return undefined
    }
    const site = typeof data['site'] === 'string' ? data['site'] : ''
    const state = data['stateDirectory']
    const stateDirectory =
      typeof state === 'string'
        ? this.#here(state)
        : isHere
          ? join(workRoot, '.orbweaver')
          : join(this.#home, '.local', 'state', 'orbweaver', site)
    return { workRoot, stateDirectory }
  }

  #here(path: string): string {
    const expanded = path === '~' || path.startsWith('~/') ? join(this.#home, path.slice(1)) : path
    return resolve(this.#directory, expanded)
  }

  // -- projects and processors

  async #loadProjects(data: unknown): Promise<readonly { id: string; entries: readonly ReadyEntry[] }[]> {
    if (!isMap(data)) return []
    const shared = await this.#loadEntries(data['processors'], ['processors'])
    const own: { id: string; path: DataPath; entries: readonly ReadyEntry[]; saysOwn: boolean }[] = []
    const seen = new Set<string>()
    for (const [index, raw] of listOf(data['projects']).entries()) {
      const parsed = projectEntrySchema.safeParse(raw)
      const id = parsed.success ? idOf(parsed.data) : isMap(raw) ? raw['id'] : raw
      const isMapEntry = isMap(raw)
      const path = ['projects', index]
      if (typeof id === 'string') {
        if (seen.has(id)) {
          this.#report(
            isMapEntry ? [...path, 'id'] : path,
            `project ${JSON.stringify(id)} stands here twice`,
            'keep one entry, with all its processors',
          )
        }
        seen.add(id)
      }
      const list = isMapEntry ? raw['processors'] : undefined
      const entries = await this.#loadEntries(list, [...path, 'processors'])
      if (typeof id === 'string') own.push({ id, path, entries, saysOwn: list !== undefined })
    }
    return own.map(({ id, path, entries, saysOwn }) => {
      if (!saysOwn && data['processors'] === undefined) {
        this.#report(
          path,
          `project ${JSON.stringify(id)} has no processors`,
          'add processors: to it, or to the whole file for every project',
        )
      }
      const replaced = new Set(entries.map((entry) => entry.processor.procType))
      return {
        id,
        entries: [...shared.filter((entry) => !replaced.has(entry.processor.procType)), ...entries],
      }
    })
  }

  /** Those of a list that are good; what is wrong with the others has been reported. */
  async #loadEntries(raw: unknown, path: DataPath): Promise<readonly ReadyEntry[]> {
    const ready: ReadyEntry[] = []
    const uses = new Map<string, DataPath>()
    for (const [index, item] of listOf(raw).entries()) {
      const parsed = processorEntrySchema.safeParse(item)
      if (!parsed.success) continue // the schema reports it
      const entry = entryOf(parsed.data, [...path, index])
      const key = isFileUse(entry.use) ? this.#here(entry.use) : entry.use
      const before = uses.get(key)
      if (before !== undefined) {
        this.#report(
          usePath(entry, item),
          `${JSON.stringify(entry.use)} stands here twice`,
          `first at ${formatPath(before)}; keep one`,
        )
        continue
      }
      uses.set(key, entry.path)
      const done = await this.#loadEntry(entry, item)
      if (done === undefined) continue
      const twin = ready.find((each) => each.processor.procType === done.processor.procType)
      if (twin !== undefined) {
        this.#report(
          usePath(entry, item),
          `${done.use} (${done.processor.name} ${done.processor.version}) and ${twin.use} (${twin.processor.version}) would both make ${done.processor.procType}`,
          'give one of them another name or major version',
        )
        continue
      }
      ready.push(done)
    }
    return ready
  }

  async #loadEntry(entry: Entry, raw: unknown): Promise<ReadyEntry | undefined> {
    const from = isFileUse(entry.use) ? this.#here(entry.use) : entry.use
    const definition = isFileUse(entry.use)
      ? await this.#fileDefinition(entry, raw, from)
      : await this.#readyDefinition(entry, raw)
    if (definition === undefined) return undefined
    const problems = overrideProblems(definition, entry.overrides)
    for (const problem of problems) {
      // A parameter that the entry does not give stands nowhere; the entry is where it would.
      this.#problems.push(this.#document.locate({ ...problem, path: [...entry.path, ...problem.path] }))
    }
    return problems.length > 0
      ? undefined
      : { ...entry, from, processor: resolveProcessor(definition, entry.overrides, { origin: from }) }
  }

  async #readyDefinition(entry: Entry, raw: unknown): Promise<ProcessorDefinition | undefined> {
    const { readyProcessors } = this.#options
    const definition = readyProcessors.get(entry.use)
    if (definition !== undefined) {
      const problems = definitionProblems(definition)
      this.#problems.push(...problems.map((problem) => toConfigProblem(problem, `processor ${entry.use}`)))
      return problems.length > 0 ? undefined : definition
    }
    const candidates = ['.', 'processors'].flatMap((folder) =>
      PROCESSOR_ENDINGS.map((ending) => `./${join(folder, `${entry.use}${ending}`)}`),
    )
    const hints = [knownWords(entry.use, [...readyProcessors.keys()], 'ready processors')]
    for (const candidate of candidates) {
      if (await isFile(resolve(this.#directory, candidate))) hints.unshift(`for the file, write ${candidate}`)
    }
    if (hints.length === 1) hints.push(`for one of your own, write ./${entry.use}.yaml`)
    this.#report(
      usePath(entry, raw),
      `there is no ready processor ${JSON.stringify(entry.use)}`,
      hints.join('; '),
    )
    return undefined
  }

  async #fileDefinition(entry: Entry, raw: unknown, file: string): Promise<ProcessorDefinition | undefined> {
    if (!(await isFile(file))) {
      const beside = await namesIn(dirname(file))
      const near = nearest(
        basename(file),
        beside.filter((name) => PROCESSOR_ENDINGS.includes(extname(name))),
      )
      this.#report(
        usePath(entry, raw),
        `${JSON.stringify(entry.use)}: there is no such file`,
        `looked for ${file}${near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`}`,
      )
      return undefined
    }
    const known = this.#definitions.get(file)
    if (known !== undefined) return known
    const loading = this.#loadFile(file)
    this.#definitions.set(file, loading)
    return loading
  }

  async #loadFile(file: string): Promise<ProcessorDefinition | undefined> {
    try {
      return await loadProcessorFile(file)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      this.#problems.push(...error.problems)
      return undefined
    }
  }
}

// ---------------------------------------------------------------- small readers

const KIND_WORDS: Readonly<Record<AdapterKind, string>> = {
  'cluster-backend': 'cluster backend',
  'data-store': 'data store',
  transport: 'transport',
  notifier: 'notifier',
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function useOf(data: unknown, path: readonly string[]): string | undefined {
  const value = [...path, 'use'].reduce<unknown>((at, key) => (isMap(at) ? at[key] : undefined), data)
  return typeof value === 'string' && value !== '' ? value : undefined
}

function part(
  descriptor: AdapterDescriptor | undefined,
  use: string | undefined,
  kind: AdapterKind,
  known: readonly string[],
  transport?: z.ZodType,
): z.ZodObject {
  if (descriptor !== undefined && use !== undefined) return adapterPart(descriptor, z.literal(use), transport)
  const unknown = unknownAdapterPart(kind, known)
  return transport === undefined ? unknown : unknown.safeExtend({ transport })
}

function adapterOf<Descriptor>(data: unknown, descriptor: Descriptor): SiteAdapter<Descriptor> {
  const { use, ...config } = data as { use: string } & Record<string, unknown>
  return { use, config, descriptor }
}

function idOf(project: z.output<typeof projectEntrySchema>): string {
  return typeof project === 'string' ? project : project.id
}

function entryOf(entry: z.output<typeof processorEntrySchema>, path: DataPath): Entry {
  if (typeof entry === 'string') return { use: entry, path, overrides: {} }
  const { use, container, ...rest } = entry
  return {
    use,
    path,
    overrides: {
      ...(rest as ProcessorOverrides),
      ...(container !== undefined && {
        container: (typeof container === 'string' ? { image: container } : container) as NonNullable<
          ProcessorOverrides['container']
        >,
      }),
    },
  }
}

function usePath(entry: Entry, raw: unknown): DataPath {
  return isMap(raw) ? [...entry.path, 'use'] : entry.path
}

/** `./x.yaml`, `../x.mjs`, `/x.yaml`, `~/x.yaml`, `x.yaml`: a file. `bold-qc`: a name. */
function isFileUse(use: string): boolean {
  return /^(?:\.{0,2}|~)\//.test(use) || PROCESSOR_ENDINGS.includes(extname(use).toLowerCase())
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return false
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return []
  }
}

function hasHint(error: unknown): error is { hint: string } {
  return error instanceof Error && typeof (error as { hint?: unknown }).hint === 'string'
}

// ---------------------------------------------------------------- settings

function settingsOf(
  value: SiteData,
  place: { readonly workRoot: string; readonly stateDirectory: string },
  projects: readonly { id: string; entries: readonly ReadyEntry[] }[],
  isHere: boolean,
): EngineSettings {
  const runtime = value.container?.runtime
  return {
    site: value.site,
    ...place,
    projects: projects.map(({ id, entries }): EngineProject => ({
      id,
      processors: entries.map((entry) => entry.processor),
    })),
    limits: { jobs: value.limits?.jobs ?? 100, transfers: value.limits?.transfers ?? 4 },
    retry: retryOf(value.retry),
    timing: timingOf(value, isHere),
    ...(runtime !== undefined && { containerRuntime: runtime }),
    ...(value.keepComplete !== undefined && { keepComplete: value.keepComplete }),
  }
}

function timingOf(value: SiteData, isHere: boolean): EngineTiming {
  const given = value.timing ?? {}
  const ms = (seconds: number | undefined, otherwise: number): number => (seconds ?? otherwise) * 1000
  // Asking our own process table is free; a scheduler serves everybody else too.
  const ownProcesses = isHere && (value.cluster as { use?: unknown }).use === 'local'
  return {
    pollMs: ms(given.poll, ownProcesses ? 1 : 15),
    graceMs: ms(given.grace, ownProcesses ? 20 : 120),
    keepFailedMs: ms(given.keepFailed, 14 * 86_400),
    fullPassMs: ms(given.fullPass, 86_400),
    outageMs: ms(given.outage, 60),
  }
}

function retryOf(given: SiteData['retry']): RetryPolicy {
  const rule = (
    base: RetryRule,
    change:
      { times?: number | undefined; delay?: number | undefined; factor?: number | undefined } | undefined,
  ): RetryRule => ({
    times: change?.times ?? base.times,
    delaySeconds: change?.delay ?? base.delaySeconds,
    factor: change?.factor ?? base.factor,
  })
  return {
    causes: Object.fromEntries(
      CAUSE_KINDS.map((kind) => [kind, rule(DEFAULT_RETRY.causes[kind], given?.[kind])]),
    ) as Record<CauseKind, RetryRule>,
    temporaryExitCodes: given?.temporaryExitCodes ?? DEFAULT_RETRY.temporaryExitCodes,
    temporary: rule(DEFAULT_RETRY.temporary, given?.temporary),
    ...(given?.maxMemory !== undefined && { maxMemoryBytes: given.maxMemory }),
    ...(given?.maxWalltime !== undefined && { maxWalltimeSeconds: given.maxWalltime }),
  }
}

function summaryOf(projects: readonly { id: string; entries: readonly ReadyEntry[] }[]): SiteSummary {
  const byKey = new Map<string, { entry: ReadyEntry; projects: string[] }>()
  for (const { id, entries } of projects) {
    for (const entry of entries) {
      const key = JSON.stringify([entry.from, entry.processor.container?.image])
      const known = byKey.get(key)
      if (known === undefined) byKey.set(key, { entry, projects: [id] })
      else known.projects.push(id)
    }
  }
  const processors = [...byKey.values()].map(
    ({ entry: { processor, from }, projects: ids }): SiteProcessor => ({
      name: processor.name,
      version: processor.version,
      procType: processor.procType,
      from,
      projects: ids,
      ...(processor.container !== undefined && { image: processor.container.image }),
      ...(processor.script !== undefined && { script: processor.script.path }),
      programs: processor.programs,
    }),
  )
  return {
    processors,
    images: [...new Set(processors.flatMap(({ image }) => image ?? []))].sort(),
    programs: [
      ...new Set(processors.flatMap(({ image, programs }) => (image === undefined ? programs : []))),
    ].sort(),
  }
}
