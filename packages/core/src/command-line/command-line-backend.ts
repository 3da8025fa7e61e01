/** A scheduler driven by its programs: the one class that runs every dialect. */

import { randomBytes } from 'node:crypto'
import type { Evidence } from '../domain/cause.js'
import type { JobId, JobSpec, JobStatus } from '../domain/job.js'
import {
  BackendProtocolError,
  BackendUnavailableError,
  JobRejectedError,
  NotFoundError,
  PipelineError,
} from '../errors.js'
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
import { ArrayBook, arrayToken } from './array-book.js'
import type { BreakerOptions } from './breaker.js'
import { Caller, rawOf, type RetryOptions } from './caller.js'
import { chunks } from './chunks.js'
import { HealthFile } from './health-file.js'
import type {
  ControlAction,
  Dialect,
  FindStep,
  FoundJob,
  Probe,
  ProbeContext,
  ProbeReplies,
  QueryStep,
  ReadingFailure,
  Reply,
  Submission,
} from './dialect.js'

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
/** Clocks of the scheduler and of this machine may differ, and accounting rounds its windows. */
const SINCE_MARGIN_MS = DAY_MS
/** A service that the site does not have is asked for again after this. */
const ABSENT_MS = 3_600_000
/** Arrays are cleared from the book this long after they were made, or after the history if that is longer. */
const KEEP_ARRAYS_MS = 60 * DAY_MS
const PRUNE_EVERY_MS = DAY_MS
/** Ids that this instance remembers something about. More than any site has live at once. */
const MAX_REMEMBERED = 200_000

interface Remembered {
  /** Not older than this. */
  readonly sinceMs?: number
  /** It was waiting in the queue when last seen. */
  readonly waiting?: boolean
  readonly cancelAskedMs?: number
  /** Its end was first seen here. */
  readonly endedMs?: number
}

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
  readonly #jobs = new Map<JobId, Remembered>()
  /** Step → when and why it was found absent. */
  readonly #absent = new Map<string, { readonly atMs: number; readonly message: string }>()
  /** Step → form of the question that its program understands. */
  readonly #forms = new Map<string, number>()
  /** Step → why it failed last; gone when it answers again. */
  readonly #notes = new Map<string, string>()
  #limits: { readonly atMs: number; readonly value: BackendLimits } | undefined
  #user: string | undefined
  #prunedMs = 0

  constructor(options: CommandLineBackendOptions) {
    const { dialect } = options
    this.#dialect = dialect
    this.#options = options
    this.name = dialect.name
    const arrays = dialect.capabilities.arrays && options.arrays !== false
    this.capabilities = { ...dialect.capabilities, arrays }
    this.#caller = new Caller({
      title: dialect.title,
      runner: options.transport.runner,
      clock: options.clock,
      environment: { ...dialect.environment, ...options.environment },
      timeoutMs: options.timeoutMs ?? 60_000,
      retry: options.retry ?? {},
      breaker: options.breaker ?? {},
      concurrency: options.concurrency ?? 4,
      random: options.random ?? Math.random,
      changed: (health) => this.#answersOrNot(health),
    })
    this.#healthFile = options.healthFile === undefined ? undefined : new HealthFile(options.healthFile)
    this.#book = new ArrayBook(options.transport.files, options.stateFolder.replace(/\/+$/, ''))
    if (options.user !== undefined) this.#user = options.user
  }

  // -------------------------------------------------------------- submit

  async submit(specs: readonly JobSpec[], options: CallOptions = {}): Promise<readonly SubmitOutcome[]> {
    options.signal?.throwIfAborted()
    if (specs.length === 0) return []
    const limits = await this.#knownLimits(options)
    const outcomes = new Map<JobSpec, SubmitOutcome>()
    const sound: JobSpec[] = []
    for (const spec of specs) {
      const refusal = this.#dialect.refusal?.(spec, limits)
      if (refusal === undefined) sound.push(spec)
      else outcomes.set(spec, { kind: 'refused', error: this.#refused(spec, refusal.rule, refusal.message) })
    }
    await this.#submitAll(sound, limits, outcomes, options)
    return specs.map((spec) => outcomes.get(spec) ?? { kind: 'later', reason: 'not submitted yet' })
  }

  async #submitAll(
    specs: readonly JobSpec[],
    limits: BackendLimits,
    outcomes: Map<JobSpec, SubmitOutcome>,
    options: CallOptions,
  ): Promise<void> {
    const open = [...this.#group(specs, limits, this.#arraySize(limits))]
    let failure: { readonly reason: unknown } | undefined
    let full: string | undefined
    const work = async (): Promise<void> => {
      for (let next = open.shift(); next !== undefined && failure === undefined; next = open.shift()) {
        if (full !== undefined) {
          postpone(next, full, outcomes)
          continue
        }
        const { members } = next
        const result = await this.#submitOne(next, options)
        switch (result.kind) {
          case 'accepted':
            for (const [index, spec] of members.entries()) {
              const id = result.ids[index]
              if (id !== undefined) outcomes.set(spec, { kind: 'accepted', id })
            }
            break
          case 'refused':
            for (const spec of members) {
              const error = this.#refused(spec, result.rule, result.message, result.hint)
              outcomes.set(spec, { kind: 'refused', error })
            }
            break
          case 'too-large':
            // Halves, until the site takes them. What is left of one is refused by name.
            if (members.length > 1)
              open.unshift(...this.#group(members, limits, Math.ceil(members.length / 2)))
            else postpone(next, (full = result.reason), outcomes)
            break
          case 'later': {
            // Some of an array may still fit: one job tells, and then smaller and smaller parts.
            full = result.reason
            if (members.length > 1) await this.#fillUp(members, limits, outcomes, options)
            postpone(next, result.reason, outcomes)
            break
          }
        }
      }
    }
    const worker = (): Promise<void> =>
      work().catch((error: unknown) => {
        failure ??= { reason: error }
      })
    await Promise.all(Array.from({ length: Math.min(this.#options.concurrency ?? 4, open.length) }, worker))
    if (failure !== undefined) throw failure.reason
  }

  /** A limit on the number of jobs was hit by an array: submit as much of it as fits, in few commands. */
  async #fillUp(
    members: readonly JobSpec[],
    limits: BackendLimits,
    outcomes: Map<JobSpec, SubmitOutcome>,
    options: CallOptions,
  ): Promise<void> {
    let rest = members
    for (let size = 1; rest.length > 0; size = Math.min(size, rest.length)) {
      const [submission] = this.#group(rest.slice(0, size), limits, size)
      if (submission === undefined) return
      const result = await this.#submitOne(submission, options)
      if (result.kind === 'accepted') {
        for (const [index, spec] of submission.members.entries()) {
          const id = result.ids[index]
          if (id !== undefined) outcomes.set(spec, { kind: 'accepted', id })
        }
        // There is room for one: how much more is found by halves.
        if (rest === members) size = Math.ceil((rest.length - 1) / 2)
        rest = rest.slice(submission.members.length)
      } else if (result.kind === 'refused' || size === 1) return
      else size = Math.floor(size / 2)
    }
  }

  #arraySize(limits: BackendLimits): number {
    if (!this.capabilities.arrays) return 1
    return Math.max(1, Math.min(limits.maxArraySize ?? 1000, limits.maxJobs ?? Number.MAX_SAFE_INTEGER))
  }

  #group(specs: readonly JobSpec[], limits: BackendLimits, arraySize: number): readonly Submission[] {
    return this.#dialect.group(specs, {
      limits,
      arraySize,
      token: arrayToken(this.#options.clock.now(), randomBytes(4).toString('hex')),
      stateFolder: this.#options.stateFolder.replace(/\/+$/, ''),
    })
  }

  /** Never sent twice: what is not known to be accepted or refused is an error. */
  async #submitOne(
    submission: Submission,
    options: CallOptions,
  ): Promise<
    | { readonly kind: 'accepted'; readonly ids: readonly JobId[] }
    | { readonly kind: 'refused'; readonly rule: string; readonly message: string; readonly hint?: string }
    | { readonly kind: 'later' | 'too-large'; readonly reason: string }
  > {
    const { files } = this.#options.transport
    const { members, array, name } = submission
    options.signal?.throwIfAborted()
    const begunMs = this.#options.clock.now()
    if (submission.files.length > 0) await files.mkdir(this.#options.stateFolder, options)
    for (const { path, text } of submission.files) await files.writeAtomic(path, text, options)
    if (array) {
      await this.#book.add(
        name,
        members.map((spec) => spec.name),
        options,
      )
      await this.#prune(options)
    }
    let raw: Reply | undefined
    const what = `the submit of ${array ? `${members.length} jobs as ${name}` : name}`
    const reading = await this.#caller.call(
      submission.command,
      (reply) => {
        raw = reply
        return this.#dialect.readSubmit(reply, submission)
      },
      { ...options, what, idempotent: false },
    )
    switch (reading.kind) {
      case 'accepted':
        if (reading.ids.length !== members.length) break
        for (const id of reading.ids) this.#remember(id, { sinceMs: begunMs, waiting: true })
        return reading
      case 'refused':
      case 'later':
      case 'too-large':
        await this.#forget(submission, options)
        return reading
      default:
        break
    }
    // It answered, and the id cannot be read: the job may exist. Its name tells.
    const names = members.map((spec) => spec.name)
    const found = await this.find(names, options)
    const ids = names.map((one) => found.get(one))
    if (ids.every((id) => id !== undefined)) return { kind: 'accepted', ids }
    const message = 'message' in reading ? reading.message : 'not one id for each job'
    throw new BackendProtocolError(
      `${this.#dialect.title} answered ${what} in words that cannot be read, and knows no job of that name yet: ${message}`,
      {
        details: { names, ...(raw !== undefined && { raw: rawOf(raw) }) },
        hint: 'Nothing is submitted again before the scheduler was asked for these names.',
      },
    )
  }

  async #forget(submission: Submission, options: CallOptions): Promise<void> {
    const { files } = this.#options.transport
    if (submission.array) await this.#book.remove(submission.name, options)
    for (const { path } of submission.files) await files.remove(path, options)
  }

  async #prune(options: CallOptions): Promise<void> {
    const now = this.#options.clock.now()
    if (now - this.#prunedMs < PRUNE_EVERY_MS) return
    this.#prunedMs = now
    await this.#book.prune(now - Math.max(KEEP_ARRAYS_MS, this.#options.historyMs ?? 0), options)
  }

  #refused(spec: JobSpec, rule: string, message: string, hint?: string): JobRejectedError {
    return new JobRejectedError(`${this.#dialect.title} refuses job ${spec.name} (${rule}): ${message}`, {
      details: { name: spec.name, rule },
      hint:
        hint ??
        'Not tried again: the same job would be refused again. Change what it asks for, or the site file.',
    })
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
      if (open.length === 0 || this.#isAbsent(step.name)) continue
      try {
        const heard = await this.#askAll(step, open, options)
        if (heard === undefined) continue // the site does not have it
        for (const id of open) {
          const earlier = known.get(id)
          const later = heard.get(id)
          if (later !== undefined) {
            known.set(id, earlier === undefined ? later : this.#dialect.merge(earlier, later))
          }
          if (earlier?.phase === 'finished' && later?.phase !== 'finished' && this.#mayStillCome(id)) {
            known.set(id, stillComing(known.get(id) ?? earlier))
          }
        }
      } catch (error) {
        if (!step.optional || !isFailureOf(error)) throw error
        unheard = error.message
        this.#note(step.name, `${step.name} does not answer: ${error.message}`)
      }
    }
    const nowMs = this.#options.clock.now()
    await this.#nameElements(known, options)
    for (const id of asked) {
      const status = known.get(id)
      if (status !== undefined) this.#seen(id, status)
      else {
        const guess = this.#withoutWitness(id, unheard, nowMs)
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
    const user = await this.#userName(options)
    const wanted = new Set(ids)
    const sinceMs = this.#sinceOf(ids)
    const heard = new Map<JobId, JobStatus>()
    const parts = chunks(ids, step.chunk)
    const answers = await Promise.all(
      parts.map((part) =>
        this.#ask(
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
    this.#notes.delete(step.name)
    return heard
  }

  /** One question, in the newest form that the program understands. */
  async #ask<Value>(
    step: QueryStep | FindStep,
    ask: (form: number) => {
      readonly command: Parameters<Caller['call']>[0]
      readonly read: (reply: Reply) => { readonly kind: 'answer'; readonly value: Value } | ReadingFailure
    },
    options: CallOptions,
  ): Promise<Value | undefined> {
    for (let form = this.#forms.get(step.name) ?? 0; ; form++) {
      const { command, read } = ask(form)
      let raw: Reply | undefined
      const reading = await this.#caller
        .call(
          command,
          (reply) => {
            raw = reply
            return read(reply)
          },
          { ...options, what: step.name, idempotent: true, apart: step.source === 'accounting' },
        )
        .catch((error: unknown) => {
          if (!step.optional || !(error instanceof NotFoundError)) throw error
          return { kind: 'absent' as const, message: error.message }
        })
      if (reading.kind === 'answer') {
        this.#forms.set(step.name, form)
        return reading.value
      }
      if (reading.kind === 'unsupported' && form + 1 < (step.forms ?? 1)) continue
      if (reading.kind === 'absent' && step.optional) {
        this.#absent.set(step.name, { atMs: this.#options.clock.now(), message: reading.message })
        this.#note(step.name, `${step.name} is not to be had at this site: ${reading.message}`)
        return undefined
      }
      throw this.#caller.error(step.name, reading, raw)
    }
  }

  #isAbsent(step: string): boolean {
    const found = this.#absent.get(step)
    return found !== undefined && this.#options.clock.now() - found.atMs < ABSENT_MS
  }

  #mayStillCome(id: JobId): boolean {
    const now = this.#options.clock.now()
    const endedMs = this.#jobs.get(id)?.endedMs ?? now
    this.#remember(id, { endedMs })
    return now - endedMs < this.#dialect.settleMs
  }

  /** What can be said of a job that no witness knows. */
  #withoutWitness(id: JobId, unheard: string | undefined, nowMs: number): JobStatus | undefined {
    const { cancelAskedMs, waiting } = this.#jobs.get(id) ?? {}
    const common = { id, restarts: 0 }
    if (cancelAskedMs !== undefined && waiting === true) {
      // Some schedulers drop without a trace what is cancelled before it starts.
      const text =
        'it waited in the queue when it was cancelled from here, and the scheduler does not know it any more'
      return {
        ...common,
        phase: 'finished',
        outcome: 'cancelled',
        native: { state: 'gone', reason: 'cancelled while it waited' },
        evidence: [{ source: 'engine', text, atMs: cancelAskedMs }],
      }
    }
    if (unheard === undefined) return undefined
    const evidence: Evidence = { source: 'engine', text: `not in the queue, and: ${unheard}`, atMs: nowMs }
    return {
      ...common,
      phase: 'unknown',
      native: { state: 'not in the queue', reason: unheard },
      evidence: [evidence],
    }
  }

  #sinceOf(ids: readonly JobId[]): number {
    const now = this.#options.clock.now()
    const oldest = now - (this.#options.historyMs ?? 30 * DAY_MS)
    let since = now
    for (const id of ids) since = Math.min(since, this.#jobs.get(id)?.sinceMs ?? oldest)
    return Math.max(oldest, since - SINCE_MARGIN_MS)
  }

  #seen(id: JobId, status: JobStatus): void {
    const { submittedAtMs, phase } = status
    if (phase === 'finished') return
    this.#remember(id, {
      waiting: phase === 'queued' || phase === 'held',
      ...(submittedAtMs !== undefined && { sinceMs: submittedAtMs }),
    })
  }

  #remember(id: JobId, more: Remembered): void {
    const before = this.#jobs.get(id)
    this.#jobs.delete(id)
    this.#jobs.set(id, { ...before, ...more })
    // The oldest goes: a Map keeps the order in which keys were set.
    for (const oldest of this.#jobs.keys()) {
      if (this.#jobs.size <= MAX_REMEMBERED) break
      this.#jobs.delete(oldest)
    }
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
      if (this.#isAbsent(step.name)) continue
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
    const user = await this.#userName(options)
    const wanted = new Set(names)
    const answers = await Promise.all(
      chunks(names, step.chunk).map((part) =>
        this.#ask(
          step,
          (form) => {
            const nowMs = this.#options.clock.now()
            const sinceMs = nowMs - (this.#options.historyMs ?? 30 * DAY_MS)
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
    // Of jobs that this instance has not seen: whether they wait. Those may go without a trace, see #withoutWitness.
    const strange = ids.filter((id) => this.#dialect.isId(id) && this.#jobs.get(id)?.waiting === undefined)
    try {
      await this.query(strange, options)
    } catch (error) {
      options.signal?.throwIfAborted()
      if (!isFailureOf(error)) throw error
    }
    const now = this.#options.clock.now()
    await this.#control('cancel', ids, options, (id) => this.#remember(id, { cancelAskedMs: now }))
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
    options.signal?.throwIfAborted()
    const { clock, limitsMs = 300_000 } = this.#options
    if (this.#limits !== undefined && clock.now() - this.#limits.atMs < limitsMs) return this.#limits.value
    try {
      return await this.#askLimits(options)
    } catch (error) {
      options.signal?.throwIfAborted()
      // What held a while ago holds better than nothing.
      if (this.#limits !== undefined && isFailureOf(error)) return this.#limits.value
      throw error
    }
  }

  async #askLimits(options: CallOptions): Promise<BackendLimits> {
    const context = await this.#probeContext(options)
    const replies = await this.#probe(this.#dialect.limitProbes, context, options)
    const reading = this.#dialect.readLimits(replies, context)
    if (reading.kind !== 'answer') throw this.#caller.error('the limits of the site', reading)
    this.#limits = { atMs: this.#options.clock.now(), value: reading.value }
    return reading.value
  }

  /** For a submit: known limits make better batches, but a scheduler that does not tell them still takes jobs. */
  async #knownLimits(options: CallOptions): Promise<BackendLimits> {
    try {
      return await this.limits(options)
    } catch (error) {
      if (!(error instanceof PipelineError) || error.retryable) throw error
      this.#options.logger?.log('warn', `the limits of the site are not known: ${error.message}`)
      return { source: {} }
    }
  }

  health(): BackendHealth {
    const own = this.#caller.health()
    const notes = [...this.#notes.values()]
    if (own.state !== 'closed') return { ...own, notes }
    const elsewhere = this.#healthFile?.read(this.#options.clock.now())
    return { ...(elsewhere ?? own), notes }
  }

  #answersOrNot(health: BackendHealth): void {
    const { dialect, logger } = this.#options
    if (health.state !== 'closed') {
      logger?.log('warn', `${dialect.title} does not answer: ${health.lastFailure?.message ?? ''}`, {
        failures: health.failures,
        nextTryMs: health.nextTryMs,
      })
    }
    try {
      this.#healthFile?.write(health)
    } catch (error) {
      // Only other processes miss something.
      logger?.log('warn', `${error instanceof Error ? error.message : String(error)}`)
    }
  }

  async diagnose(options: CallOptions = {}): Promise<readonly Diagnosis[]> {
    options.signal?.throwIfAborted()
    const context = await this.#probeContext(options)
    const replies = new Map<string, Reply | { readonly failure: string }>()
    for (const probe of this.#dialect.doctorProbes) {
      replies.set(probe.name, await this.#tried(probe, context, options))
    }
    const found = [...this.#dialect.readDoctor(replies, context)]
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
      return await this.#options.transport.runner.run(
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
    const reading = await this.#caller.call(command, (reply) => ({ kind: 'answer' as const, value: reply }), {
      ...options,
      what: probe.name,
      idempotent: true,
    })
    if (reading.kind !== 'answer') throw this.#caller.error(probe.name, reading)
    return reading.value
  }

  #commandOf(probe: Probe, context: ProbeContext): Parameters<Transport['runner']['run']>[0] {
    const { argv, stdin, environment } = probe.command(context)
    return {
      argv,
      ...(stdin !== undefined && { stdin }),
      environment: { ...this.#dialect.environment, ...this.#options.environment, ...environment },
    }
  }

  async #probeContext(options: CallOptions): Promise<ProbeContext> {
    return { user: await this.#userName(options), nowMs: this.#options.clock.now() }
  }

  async #userName(options: CallOptions): Promise<string> {
    if (this.#user !== undefined) return this.#user
    const { stdout, stderr, exitCode } = await this.#options.transport.runner.run(
      { argv: ['id', '-un'] },
      options,
    )
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

  #note(step: string, text: string): void {
    if (!this.#notes.has(step)) this.#options.logger?.log('warn', text)
    this.#notes.set(step, text)
  }
}

function postpone(submission: Submission, reason: string, outcomes: Map<JobSpec, SubmitOutcome>): void {
  for (const spec of submission.members)
    if (!outcomes.has(spec)) outcomes.set(spec, { kind: 'later', reason })
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

/** Failures of a service, as against mistakes of ours and aborts. */
function isFailureOf(error: unknown): error is PipelineError {
  return error instanceof PipelineError
}
