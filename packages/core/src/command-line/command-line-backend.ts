/** A scheduler driven by its programs: the one class that runs every dialect. */

import type { JobId, JobSpec, JobStatus } from '../domain/job.js'
import { PipelineError } from '../errors.js'
import type {
  BackendCapabilities,
  BackendHealth,
  BackendLimits,
  ClusterBackend,
  Diagnosis,
  SubmitOutcome,
} from '../ports/cluster-backend.js'
import type { CallOptions } from '../ports/options.js'
import type { Clock, Logger } from '../ports/services.js'
import type { Transport } from '../ports/transport.js'
import { ArrayBook } from './array-book.js'
import { Asker } from './asker.js'
import type { BreakerOptions } from './breaker.js'
import { Caller, type RetryOptions } from './caller.js'
import { chunks } from './chunks.js'
import type { ControlAction, Dialect, FindStep, FoundJob, QueryStep, Reply } from './dialect.js'
import { HealthFile } from './health-file.js'
import { JobMemory } from './job-memory.js'
import { SiteFacts } from './site-facts.js'
import { Submitter } from './submitter.js'

export interface CommandLineBackendOptions {
  readonly dialect: Dialect
  /** Runs the programs, and reaches the file system that the nodes see. */
  readonly transport: Pick<Transport, 'runner' | 'files'>
  readonly clock: Clock
  readonly logger?: Logger
  /** Folder on the jobs' side, visible from the nodes: which jobs are in which array. Made if need be. */
  readonly stateFolder: string
  /** Account that owns the jobs. Default: asked with `id -un`. */
  readonly user?: string
  /** Variables of every command beside the dialect's. */
  readonly environment?: Readonly<Record<string, string>>
  /** Longest time of one command. Default 60 s. */
  readonly timeoutMs?: number
  readonly retry?: RetryOptions
  readonly breaker?: BreakerOptions
  /** Commands at the same time. Default 4. */
  readonly concurrency?: number
  /** How long limits are kept before they are asked for again. Default 5 min. */
  readonly limitsMs?: number
  /** How far back jobs are looked for whose age is not known. Default 30 days. */
  readonly historyMs?: number
  /** File on this machine in which other processes see when the scheduler does not answer. Default: none. */
  readonly healthFile?: string
  /** Make arrays. Default: as the dialect can. */
  readonly arrays?: boolean
  /** For tests. */
  readonly random?: () => number
}

const DAY_MS = 24 * 3_600_000

/**
 * Everything dialects share: argument lists through the transport's runner, a clean environment, time limits, chunks,
 * retries with back-off for what may be asked twice, a circuit breaker, limits kept for a while, arrays that can be found by
 * the names of their elements.
 *
 * What is promised beyond {@link ClusterBackend}:
 * - a reply that cannot be read is a `BackendProtocolError` with the text in `details.raw`, never an empty answer;
 * - when a witness that may fail (the accounting) does, jobs that only it could know are `unknown`, not absent;
 * - a submit is never sent twice.
 */
export class CommandLineBackend implements ClusterBackend {
  readonly name: string
  readonly capabilities: BackendCapabilities
  readonly #dialect: Dialect
  readonly #options: CommandLineBackendOptions
  readonly #caller: Caller
  readonly #book: ArrayBook
  readonly #healthFile: HealthFile | undefined
  readonly #memory: JobMemory
  readonly #asker: Asker
  readonly #submitter: Submitter
  readonly #facts: SiteFacts
  readonly #historyMs: number

  constructor(options: CommandLineBackendOptions) {
    const { dialect } = options
    this.#dialect = dialect
    this.#options = options
    this.name = dialect.name
    const arrays = dialect.capabilities.arrays && options.arrays !== false
    this.capabilities = { ...dialect.capabilities, arrays }
    const { runner, files } = options.transport
    const { clock, logger, concurrency = 4 } = options
    const environment = { ...dialect.environment, ...options.environment }
    const stateFolder = options.stateFolder.replace(/\/+$/, '')
    this.#historyMs = options.historyMs ?? 30 * DAY_MS
    this.#caller = new Caller({
      title: dialect.title,
      runner,
      clock,
      environment,
      timeoutMs: options.timeoutMs ?? 60_000,
      retry: options.retry ?? {},
      breaker: options.breaker ?? {},
      concurrency,
      random: options.random ?? Math.random,
      changed: (health) => this.#answersOrNot(health),
    })
    this.#asker = new Asker(this.#caller, clock, (note) => {
      if (note !== undefined) logger?.log('warn', note)
      this.#tellOthers()
    })
    this.#memory = new JobMemory({ clock, historyMs: this.#historyMs, settleMs: dialect.settleMs })
    this.#healthFile = options.healthFile === undefined ? undefined : new HealthFile(options.healthFile)
    this.#book = new ArrayBook(files, stateFolder)
    this.#facts = new SiteFacts({
      dialect,
      caller: this.#caller,
      runner,
      clock,
      logger,
      environment,
      user: options.user,
      limitsMs: options.limitsMs ?? 300_000,
    })
    this.#submitter = new Submitter({
      dialect,
      caller: this.#caller,
      files,
      clock,
      book: this.#book,
      memory: this.#memory,
      stateFolder,
      arrays,
      concurrency,
      historyMs: this.#historyMs,
      limits: (call) => this.#facts.knownLimits(call),
      find: (names, call) => this.find(names, call),
    })
  }

  // -------------------------------------------------------------- submit

  async submit(specs: readonly JobSpec[], options: CallOptions = {}): Promise<readonly SubmitOutcome[]> {
    return this.#submitter.submit(specs, options)
  }

  // -------------------------------------------------------------- query

  async query(ids: readonly JobId[], options: CallOptions = {}): Promise<ReadonlyMap<JobId, JobStatus>> {
    options.signal?.throwIfAborted()
    const asked = [...new Set(ids)].filter((id) => this.#dialect.isId(id))
    const known = new Map<JobId, JobStatus>()
    if (asked.length === 0) return known
    let unheard: string | undefined
    for (const step of this.#dialect.querySteps) {
      const open = asked.filter((id) => {
        const status = known.get(id)
        return status === undefined || step.wants?.(status) === true
      })
      if (open.length === 0 || this.#asker.isAbsent(step.name)) continue
      try {
        const heard = await this.#askAll(step, open, options)
        if (heard === undefined) continue // the site does not have it
        for (const id of open) {
          const earlier = known.get(id)
          const later = heard.get(id)
          if (later !== undefined) {
            known.set(id, earlier === undefined ? later : this.#dialect.merge(earlier, later))
          }
          if (earlier?.phase === 'finished' && later?.phase !== 'finished' && this.#memory.mayStillCome(id)) {
            known.set(id, stillComing(known.get(id) ?? earlier))
          }
        }
      } catch (error) {
        if (!step.optional || !(error instanceof PipelineError)) throw error
        unheard = error.message
        this.#asker.note(step.name, `${step.name} does not answer: ${error.message}`)
      }
    }
    const nowMs = this.#options.clock.now()
    await this.#nameElements(known, options)
    for (const id of asked) {
      const status = known.get(id)
      if (status !== undefined) this.#memory.seen(id, status)
      else {
        const guess = this.#memory.withoutWitness(id, unheard, nowMs)
        if (guess !== undefined) known.set(id, guess)
      }
    }
    return known
  }

  /** A scheduler knows an element under the name of its array: which job that is stands in the book. */
  async #nameElements(statuses: Map<JobId, JobStatus>, options: CallOptions): Promise<void> {
    const arrays = new Map<string, readonly string[] | undefined>()
    for (const [id, status] of statuses) {
      const index = this.#dialect.indexOf?.(id)
      if (index === undefined || status.name === undefined) continue
      const { name: array, ...nameless } = status
      if (!arrays.has(array)) arrays.set(array, await this.#book.membersOf(array, options))
      const name = arrays.get(array)?.[index]
      statuses.set(id, name === undefined ? nameless : { ...nameless, name })
    }
  }

  /** @returns undefined when the site does not have this service */
  async #askAll(
    step: QueryStep,
    ids: readonly JobId[],
    options: CallOptions,
  ): Promise<ReadonlyMap<JobId, JobStatus> | undefined> {
    const user = await this.#facts.userName(options)
    const wanted = new Set(ids)
    const sinceMs = this.#memory.sinceOf(ids)
    const heard = new Map<JobId, JobStatus>()
    const parts = chunks(ids, step.chunk)
    const answers = await Promise.all(
      parts.map((part) =>
        this.#asker.ask(
          step,
          (form) => {
            const question = { ids: part, user, sinceMs, nowMs: this.#options.clock.now(), form }
            return {
              command: step.command(question),
              read: (reply: Reply) => step.read(reply, question),
            }
          },
          options,
        ),
      ),
    )
    for (const part of answers) {
      if (part === undefined) return undefined
      for (const [id, status] of part) if (wanted.has(id)) heard.set(id, status)
    }
    this.#asker.heard(step.name)
    return heard
  }

  // -------------------------------------------------------------- find

  async find(names: readonly string[], options: CallOptions = {}): Promise<ReadonlyMap<string, JobId>> {
    options.signal?.throwIfAborted()
    const asked = [...new Set(names)]
    const found = new Map<string, JobId>()
    if (asked.length === 0) return found
    const places = await this.#book.placesOf(asked, options)
    const jobs = new Map<string, FoundJob>()
    const idOf = (name: string): JobId | undefined => {
      const own = jobs.get(name)
      const all: FoundJob[] = own === undefined ? [] : [own]
      for (const { array, index } of places.get(name) ?? []) {
        const job = jobs.get(array)
        if (job !== undefined) all.push({ ...job, id: this.#dialect.elementId(job.id, index) })
      }
      return all.reduce<FoundJob | undefined>(newer, undefined)?.id
    }
    for (const step of this.#dialect.findSteps) {
      const open = asked.filter((name) => idOf(name) === undefined)
      if (open.length === 0) break
      if (this.#asker.isAbsent(step.name)) continue
      const wanted = [
        ...new Set(open.flatMap((name) => [name, ...(places.get(name) ?? []).map(({ array }) => array)])),
      ]
      // Not survived without an answer: a name that is taken for free by mistake is a job that runs twice.
      for (const job of await this.#findAll(step, wanted, options))
        jobs.set(job.name, newer(jobs.get(job.name), job))
    }
    for (const name of asked) {
      const id = idOf(name)
      if (id !== undefined) found.set(name, id)
    }
    return found
  }

  async #findAll(
    step: FindStep,
    names: readonly string[],
    options: CallOptions,
  ): Promise<readonly FoundJob[]> {
    const user = await this.#facts.userName(options)
    const wanted = new Set(names)
    const answers = await Promise.all(
      chunks(names, step.chunk).map((part) =>
        this.#asker.ask(
          step,
          (form) => {
            const nowMs = this.#options.clock.now()
            const sinceMs = nowMs - this.#historyMs
            const question = { names: part, user, sinceMs, nowMs, form }
            return {
              command: step.command(question),
              read: (reply: Reply) => step.read(reply, question),
            }
          },
          options,
        ),
      ),
    )
    return answers.flatMap((jobs) => jobs ?? []).filter(({ name }) => wanted.has(name))
  }

  // -------------------------------------------------------------- cancel, hold, release

  async cancel(ids: readonly JobId[], options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted()
    // Of jobs that this instance has not seen: whether they wait. Those may go without a trace, see JobMemory.
    const strange = ids.filter((id) => this.#dialect.isId(id) && this.#memory.of(id).waiting === undefined)
    try {
      await this.query(strange, options)
    } catch (error) {
      options.signal?.throwIfAborted()
      if (!(error instanceof PipelineError)) throw error
    }
    const now = this.#options.clock.now()
    await this.#control('cancel', ids, options, (id) => this.#memory.remember(id, { cancelAskedMs: now }))
  }

  async hold(ids: readonly JobId[], options: CallOptions = {}): Promise<void> {
    await this.#control('hold', ids, options)
  }

  async release(ids: readonly JobId[], options: CallOptions = {}): Promise<void> {
    await this.#control('release', ids, options)
  }

  async #control(
    action: ControlAction,
    ids: readonly JobId[],
    options: CallOptions,
    done?: (id: JobId) => void,
  ): Promise<void> {
    options.signal?.throwIfAborted()
    const asked = [...new Set(ids)].filter((id) => this.#dialect.isId(id))
    for (const part of chunks(asked, this.#dialect.controlChunk)) {
      let raw: Reply | undefined
      const reading = await this.#caller.call(
        this.#dialect.control(action, part),
        (reply) => {
          raw = reply
          return this.#dialect.readControl(reply, action)
        },
        { ...options, what: action, idempotent: true },
      )
      if (reading.kind !== 'answer') throw this.#caller.error(action, reading, raw)
      for (const id of part) done?.(id)
    }
  }

  // -------------------------------------------------------------- limits, health, doctor

  async limits(options: CallOptions = {}): Promise<BackendLimits> {
    return this.#facts.limits(options)
  }

  health(): BackendHealth {
    const own = { ...this.#caller.health(), notes: this.#asker.notes }
    if (own.state !== 'closed' || own.notes.length > 0) return own
    return this.#healthFile?.read(this.#options.clock.now()) ?? own
  }

  #answersOrNot(health: BackendHealth): void {
    const { dialect, logger } = this.#options
    if (health.state !== 'closed') {
      logger?.log('warn', `${dialect.title} does not answer: ${health.lastFailure?.message ?? ''}`, {
        failures: health.failures,
        nextTryMs: health.nextTryMs,
      })
    }
    this.#tellOthers()
  }

  #tellOthers(): void {
    const { logger, clock } = this.#options
    try {
      this.#healthFile?.write({ ...this.#caller.health(), notes: this.#asker.notes }, clock.now())
    } catch (error) {
      // Only other processes miss something.
      logger?.log('warn', `${error instanceof Error ? error.message : String(error)}`)
    }
  }

  async diagnose(options: CallOptions = {}): Promise<readonly Diagnosis[]> {
    const found = [...(await this.#facts.diagnose(options))]
    const { state, lastFailure, nextTryMs, notes } = this.health()
    if (state !== 'closed' && nextTryMs !== undefined) {
      found.push({
        check: `${this.name}: answers`,
        status: 'problem',
        found: `no answer for a while: ${lastFailure?.message ?? ''}`,
        hint: `It is asked again from ${new Date(nextTryMs).toISOString()} on; nothing is lost meanwhile.`,
      })
    }
    for (const note of notes) found.push({ check: `${this.name}: notes`, status: 'warning', found: note })
    return found
  }

  async close(): Promise<void> {
    // Nothing is held open: every command has ended, and jobs go on.
  }
}

/** The job has ended; what the next witness adds to that is on its way. */
function stillComing(status: JobStatus): JobStatus {
  const {
    outcome: _outcome,
    exitCode: _exitCode,
    signal: _signal,
    exitCodeExact: _exact,
    endedAtMs: _ended,
    ...rest
  } = status
  return { ...rest, phase: 'finishing' }
}

/** The later submitted one; of two of one second, the one with the higher id. */
function newer(one: FoundJob | undefined, other: FoundJob): FoundJob {
  if (one === undefined) return other
  const first = one.submittedAtMs ?? 0
  const second = other.submittedAtMs ?? 0
  if (first !== second) return first > second ? one : other
  return one.id.length > other.id.length || (one.id.length === other.id.length && one.id > other.id)
    ? one
    : other
}
