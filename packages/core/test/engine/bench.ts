/** An engine over in-memory ports, with hours passing in no time. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createEngine,
  type CommandContext,
  DEFAULT_RETRY,
  resolveProcessor,
  type Engine,
  type EngineDeps,
  type EngineEvent,
  type EngineSettings,
  type JobSpec,
  type Processor,
  type ProcessorDefinition,
} from '@orbweaver/core'
import {
  InMemoryBackend,
  InMemoryFiles,
  InMemoryJournal,
  InMemoryStore,
  jobScriptEffects,
  ManualClock,
  RecordingLogger,
  RecordingNotifier,
  seedMany,
  type InMemoryBackendOptions,
  type SeedProject,
} from '@orbweaver/core/testing'

export interface BenchOptions {
  readonly processors: readonly Processor[]
  readonly seed?: readonly SeedProject[]
  /** Fate of a job, by its spec. */
  readonly script?: InMemoryBackendOptions['script']
  /** Files a job writes below outputs/. */
  readonly produce?: (spec: JobSpec) => Readonly<Record<string, string>>
  readonly backend?: Partial<InMemoryBackendOptions>
  readonly settings?: Partial<EngineSettings>
  /** The first project; default `P`. */
  readonly projects?: readonly string[]
}

export class Bench {
  readonly clock = new ManualClock({ automatic: true })
  readonly files = new InMemoryFiles()
  readonly store: InMemoryStore
  readonly backend: InMemoryBackend
  journal = new InMemoryJournal()
  readonly logger = new RecordingLogger()
  readonly notifier = new RecordingNotifier()
  readonly events: EngineEvent[] = []
  readonly settings: EngineSettings
  private readonly directory = mkdtempSync(join(tmpdir(), 'orbweaver-engine-'))

  constructor(options: BenchOptions) {
    this.store = new InMemoryStore({ changeFeed: true, projects: options.seed ?? [seedMany('P', 3)] })
    this.backend = new InMemoryBackend({
      clock: this.clock,
      ...jobScriptEffects(this.files, options.produce ?? (() => ({ 'report.txt': 'good\n' }))),
      ...(options.script !== undefined && { script: options.script }),
      ...options.backend,
    })
    this.settings = {
      site: 'test',
      workRoot: '/scratch/ow',
      stateDirectory: this.directory,
      projects: (options.projects ?? ['P']).map((id) => ({ id, processors: options.processors })),
      limits: { jobs: 100, transfers: 4 },
      retry: DEFAULT_RETRY,
      timing: {
        pollMs: 10_000,
        graceMs: 90_000,
        keepFailedMs: 86_400_000,
        fullPassMs: 86_400_000,
        outageMs: 60_000,
      },
      ...options.settings,
    }
  }

  deps(): EngineDeps {
    const { settings, store, backend, files, journal, clock, logger, notifier } = this
    return { settings, store, backend, transport: files, journal, clock, logger, notifier }
  }

  engine(): Engine {
    return createEngine(this.deps())
  }

  readonly onEvent = (event: EngineEvent): void => {
    this.events.push(event)
  }

  /** How often each job ran, in the order of submission. */
  executions(): readonly number[] {
    return this.backend.jobs().map(({ spec }) => this.backend.executions(spec.name))
  }

  /** Every task in the archive as `label → state`. */
  async states(): Promise<Record<string, string>> {
    const states: Record<string, string> = {}
    for await (const task of this.engine().tasks({})) states[task.label] = task.node.state ?? ''
    return states
  }

  async stateCounts(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {}
    for (const state of Object.values(await this.states())) counts[state] = (counts[state] ?? 0) + 1
    return counts
  }

  /** What the kernel does for a killed engine: its process is gone, so its leases are free. */
  freeLeases(): void {
    this.journal = this.journal.reopen()
  }

  loseJournal(): void {
    this.journal = new InMemoryJournal()
  }

  dispose(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}

export function processor(name: string, more: Partial<Omit<ProcessorDefinition, 'name'>> = {}): Processor {
  return resolveProcessor({
    name,
    version: '1.0.0',
    level: 'session',
    inputs: { t1: { scan: { type: 'T1w' }, resource: 'NIFTI' } },
    command: ({ inputs }: CommandContext) => ['tool', inputs['t1']?.path ?? ''],
    outputs: { OUT: { path: '*.txt', required: true } },
    ...more,
  })
}
