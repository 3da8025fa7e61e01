/** What a site is: its limits, its account, and what `doctor` sees of it. */

import { BackendUnavailableError, PipelineError } from '../errors.js'
import type { BackendLimits, Diagnosis } from '../ports/cluster-backend.js'
import type { CallOptions } from '../ports/options.js'
import type { Clock, Logger } from '../ports/services.js'
import type { CommandRunner, CommandSpec } from '../ports/transport.js'
import { rawOf, type Caller } from './caller.js'
import type { Dialect, Probe, ProbeContext, ProbeReplies, Reply } from './dialect.js'

export interface SiteFactsOptions {
  readonly dialect: Dialect
  readonly caller: Caller
  readonly runner: CommandRunner
  readonly clock: Clock
  readonly logger: Logger | undefined
  /** Variables of every command. */
  readonly environment: Readonly<Record<string, string>>
  /** Account that owns the jobs; undefined: asked for. */
  readonly user: string | undefined
  /** How long limits are kept before they are asked for again. */
  readonly limitsMs: number
}

export class SiteFacts {
  readonly #options: SiteFactsOptions
  #limits: { readonly atMs: number; readonly value: BackendLimits } | undefined
  #user: string | undefined

  constructor(options: SiteFactsOptions) {
    this.#options = options
    this.#user = options.user
  }

  async limits(options: CallOptions = {}): Promise<BackendLimits> {
    options.signal?.throwIfAborted()
    const { clock, limitsMs } = this.#options
    if (this.#limits !== undefined && clock.now() - this.#limits.atMs < limitsMs) return this.#limits.value
    try {
      return await this.#askLimits(options)
    } catch (error) {
      options.signal?.throwIfAborted()
      // What held a while ago holds better than nothing.
      if (this.#limits !== undefined && error instanceof PipelineError) return this.#limits.value
      throw error
    }
  }

  async #askLimits(options: CallOptions): Promise<BackendLimits> {
    const context = await this.#probeContext(options)
    const replies = await this.#probe(this.#options.dialect.limitProbes, context, options)
    const reading = this.#options.dialect.readLimits(replies, context)
    if (reading.kind !== 'answer') throw this.#options.caller.error('the limits of the site', reading)
    this.#limits = { atMs: this.#options.clock.now(), value: reading.value }
    return reading.value
  }

  /** For a submit: known limits make better batches, but a scheduler that does not tell them still takes jobs. */
  async knownLimits(options: CallOptions): Promise<BackendLimits> {
    try {
      return await this.limits(options)
    } catch (error) {
      if (!(error instanceof PipelineError) || error.retryable) throw error
      this.#options.logger?.log('warn', `the limits of the site are not known: ${error.message}`)
      return { source: {} }
    }
  }

  async diagnose(options: CallOptions = {}): Promise<readonly Diagnosis[]> {
    options.signal?.throwIfAborted()
    const context = await this.#probeContext(options)
    const replies = new Map<string, Reply | { readonly failure: string }>()
    for (const probe of this.#options.dialect.doctorProbes) {
      replies.set(probe.name, await this.#tried(probe, context, options))
    }
    return this.#options.dialect.readDoctor(replies, context)
  }

  async #probe(probes: readonly Probe[], context: ProbeContext, options: CallOptions): Promise<ProbeReplies> {
    const replies = new Map<string, Reply | { readonly failure: string }>()
    for (const probe of probes) {
      if (probe.optional) replies.set(probe.name, await this.#tried(probe, context, options))
      else replies.set(probe.name, await this.#reply(probe, context, options))
    }
    return replies
  }

  /** A probe whose failure is a finding. */
  async #tried(
    probe: Probe,
    context: ProbeContext,
    options: CallOptions,
  ): Promise<Reply | { readonly failure: string }> {
    try {
      return await this.#options.runner.run(
        { ...this.#commandOf(probe, context), timeoutMs: 20_000 },
        options,
      )
    } catch (error) {
      options.signal?.throwIfAborted()
      if (error instanceof PipelineError) return { failure: error.message }
      throw error
    }
  }

  async #reply(probe: Probe, context: ProbeContext, options: CallOptions): Promise<Reply> {
    const command = probe.command(context)
    const reading = await this.#options.caller.call(
      command,
      (reply) => ({ kind: 'answer' as const, value: reply }),
      {
        ...options,
        what: probe.name,
        idempotent: true,
      },
    )
    if (reading.kind !== 'answer') throw this.#options.caller.error(probe.name, reading)
    return reading.value
  }

  #commandOf(probe: Probe, context: ProbeContext): CommandSpec {
    const { argv, stdin, environment } = probe.command(context)
    return {
      argv,
      ...(stdin !== undefined && { stdin }),
      environment: { ...this.#options.environment, ...environment },
    }
  }

  async #probeContext(options: CallOptions): Promise<ProbeContext> {
    return { user: await this.userName(options), nowMs: this.#options.clock.now() }
  }

  async userName(options: CallOptions): Promise<string> {
    if (this.#user !== undefined) return this.#user
    // Often the first command of all: that nobody can be reached is told where all failures are.
    const reading = await this.#options.caller.call(
      { argv: ['id', '-un'] },
      (reply) => ({ kind: 'answer' as const, value: reply }),
      { ...options, what: '`id -un`', idempotent: true },
    )
    if (reading.kind !== 'answer') throw this.#options.caller.error('`id -un`', reading)
    const { stdout, stderr, exitCode } = reading.value
    const name = stdout.trim().split('\n').at(-1) ?? ''
    if (exitCode !== 0 || !/^[\w.@+\\-]+\$?$/.test(name)) {
      throw new BackendUnavailableError('The name of this account cannot be found out with `id -un`.', {
        details: { exitCode, raw: rawOf({ stdout, stderr }) },
        hint: 'Name it in the site file: `cluster: { user: … }`.',
      })
    }
    this.#user = name
    return name
  }
}
