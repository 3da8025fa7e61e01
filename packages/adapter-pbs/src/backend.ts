/** PBS as a cluster backend: finds out which PBS it is, and hands over to that dialect. */

import { join } from 'node:path'
import {
  BackendUnavailableError,
  NotSupportedError,
  PipelineError,
  type BackendCapabilities,
  type BackendHealth,
  type BackendLimits,
  type CallOptions,
  type Clock,
  type ClusterBackend,
  type Diagnosis,
  type JobId,
  type JobSpec,
  type JobStatus,
  type Logger,
  type SubmitOutcome,
  type Transport,
} from '@orbweaver/core'
import { CommandLineBackend, type CommandLineBackendOptions } from '@orbweaver/core/command-line'
import { AskedEnds } from './asked-ends.js'
import { pbsConfig, type Flavour, type PbsConfig } from './config.js'
import { pbsDialect } from './dialect.js'
import { deletions } from './deletions.js'
import type { Site } from './ends.js'
import { lookAtSite } from './flavour.js'
import { arrayOf, elementOf, indexOf } from './ids.js'

type CommandOptions = 'retry' | 'breaker' | 'concurrency' | 'limitsMs' | 'random' | 'environment'

export interface PbsBackendOptions {
  /** As `pbsConfig` reads it: times in seconds. */
  readonly config?: Partial<PbsConfig>
  readonly transport: Pick<Transport, 'runner' | 'files'>
  readonly clock: Clock
  readonly logger?: Logger
  /** Visible from the nodes. What is in an array is written down in `.orbweaver-pbs` below it. */
  readonly workRoot: string
  /** Folder on this machine: in `pbs-health.json` other processes see when PBS does not answer. */
  readonly stateDirectory?: string
  readonly commands?: Pick<CommandLineBackendOptions, CommandOptions>
}

/** The most that core puts into one where no server says how many it takes. */
const LARGEST_ARRAY = 1000

const isLive = (status: JobStatus | undefined): boolean => status !== undefined && status.phase !== 'finished'

/** Folder below the work root for the backend's own files. */
export const PBS_STATE_FOLDER = '.orbweaver-pbs'

/**
 * The first call asks which PBS this is; a call that gets no answer fails, and the next one asks again. Until then
 * `capabilities` promise no more than any PBS keeps: no history.
 */
export class PbsBackend implements ClusterBackend {
  readonly name = 'pbs'
  readonly #options: PbsBackendOptions
  readonly #config: PbsConfig
  #chosen: CommandLineBackend | undefined
  #choosing: Promise<CommandLineBackend> | undefined
  #standIn: CommandLineBackend | undefined
  #flavour: Flavour | undefined
  readonly #askedEnds = new AskedEnds()

  constructor(options: PbsBackendOptions) {
    this.#options = options
    this.#config = { ...pbsConfig.parse({}), ...options.config }
  }

  get capabilities(): BackendCapabilities {
    return (this.#chosen ?? this.#unchosen()).capabilities
  }

  async submit(specs: readonly JobSpec[], options?: CallOptions): Promise<readonly SubmitOutcome[]> {
    return (await this.#backend()).submit(specs, options)
  }
  async query(ids: readonly JobId[], options?: CallOptions): Promise<ReadonlyMap<JobId, JobStatus>> {
    const backend = await this.#backend()
    const statuses = await backend.query(ids, options)
    const purges = this.#flavour === 'torque' && backend.capabilities.history
    return this.#askedEnds.told(ids, statuses, { purges, nowMs: this.#options.clock.now() })
  }
  async find(names: readonly string[], options?: CallOptions): Promise<ReadonlyMap<string, JobId>> {
    return (await this.#backend()).find(names, options)
  }
  /** Only jobs that are there and have not ended are named to qdel: see {@link deletions}. */
  async cancel(ids: readonly JobId[], options?: CallOptions): Promise<void> {
    const backend = await this.#backend()
    const statuses = await this.query(ids, options)
    const live = [...new Set(ids)].filter((id) => isLive(statuses.get(id)))
    if (live.length === 0) return
    const waits = (id: JobId): boolean => ['queued', 'held'].includes(statuses.get(id)?.phase ?? '')
    const parts =
      this.#flavour === 'torque' ? [live] : deletions(live, waits, await this.#stays(live, backend, options))
    for (const part of parts) await backend.cancel(part, options)
    this.#askedEnds.add(live, this.#options.clock.now())
  }

  /** Arrays of these elements that have others which have not ended. */
  async #stays(
    ids: readonly JobId[],
    backend: CommandLineBackend,
    options?: CallOptions,
  ): Promise<ReadonlySet<JobId>> {
    const asked = new Set(ids)
    const arrays = new Set(ids.filter((id) => indexOf(id) !== undefined).map(arrayOf))
    if (arrays.size === 0) return arrays
    const { maxArraySize = LARGEST_ARRAY } = await backend.limits(options)
    const all = [...arrays].flatMap((array) =>
      Array.from({ length: Math.max(maxArraySize, LARGEST_ARRAY) }, (_, index) => elementOf(array, index)),
    )
    // One word each: qstat lists all elements of an array.
    const statuses = await backend.query(all, options)
    return new Set(
      [...statuses.values()].filter((one) => isLive(one) && !asked.has(one.id)).map(({ id }) => arrayOf(id)),
    )
  }

  async hold(ids: readonly JobId[], options?: CallOptions): Promise<void> {
    await (await this.#holding()).hold(ids, options)
  }
  async release(ids: readonly JobId[], options?: CallOptions): Promise<void> {
    await (await this.#holding()).release(ids, options)
  }
  async limits(options?: CallOptions): Promise<BackendLimits> {
    return (await this.#backend()).limits(options)
  }
  health(): BackendHealth {
    // Other processes leave word when PBS does not answer; it is read before anything is asked.
    return (this.#chosen ?? this.#unchosen()).health()
  }

  async diagnose(options?: CallOptions): Promise<readonly Diagnosis[]> {
    try {
      return await (await this.#backend()).diagnose(options)
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error
      const hint = error.hint === undefined ? {} : { hint: error.hint }
      return [{ check: 'pbs: commands', status: 'problem', found: error.message, ...hint }]
    }
  }

  async close(): Promise<void> {
    await this.#chosen?.close()
  }

  async #holding(): Promise<CommandLineBackend> {
    const backend = await this.#backend()
    if (backend.capabilities.hold) return backend
    throw new NotSupportedError('OpenPBS holds arrays only as a whole, not the jobs in them', {
      hint: 'Jobs that are to be held one by one are submitted one by one: `arrays: false`.',
    })
  }

  /** Callers share one look, so none of their signals ends it: it has the time limit of a command. */
  async #backend(): Promise<CommandLineBackend> {
    if (this.#chosen !== undefined) return this.#chosen
    this.#choosing ??= this.#choose()
    try {
      this.#chosen = await this.#choosing
      return this.#chosen
    } finally {
      this.#choosing = undefined
    }
  }

  async #choose(): Promise<CommandLineBackend> {
    const { transport, commands } = this.#options
    try {
      const site = await lookAtSite(this.#config, transport, commands?.environment)
      this.#flavour = site.flavour
      return this.#build(site)
    } catch (error) {
      if (error instanceof BackendUnavailableError) await this.#noteSilence()
      throw error
    }
  }

  /** The first look goes past the circuit breaker; one question more through it, and `status` can say that PBS is away. */
  async #noteSilence(): Promise<void> {
    try {
      await this.#unchosen().find(['ow-is-anybody-there'])
    } catch (error) {
      // What is away is told by the look itself.
      if (!(error instanceof PipelineError)) throw error
    }
  }

  /** What can be said before PBS has been asked which one it is: the least that all promise. */
  #unchosen(): CommandLineBackend {
    const flavour = this.#config.flavour === 'torque' ? 'torque' : 'openpbs'
    return (this.#standIn ??= this.#build({ flavour, ended: false, elements: false, server: '' }))
  }

  #build(site: Site): CommandLineBackend {
    const { transport, clock, logger, workRoot, stateDirectory, commands } = this.#options
    const config = this.#config
    return new CommandLineBackend({
      ...commands,
      dialect: pbsDialect(config, site),
      transport,
      clock,
      stateFolder: join(workRoot, PBS_STATE_FOLDER),
      arrays: config.arrays,
      timeoutMs: config.commandTimeout * 1000,
      ...(logger === undefined ? {} : { logger }),
      ...(config.user === undefined ? {} : { user: config.user }),
      ...(stateDirectory === undefined ? {} : { healthFile: join(stateDirectory, 'pbs-health.json') }),
    })
  }
}

/** Jobs on OpenPBS, PBS Professional or Torque, through their programs. */
export const createPbsBackend = (options: PbsBackendOptions): PbsBackend => new PbsBackend(options)
