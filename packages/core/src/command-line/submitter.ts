/** Submits: in groups, in parts when a site takes no more, and never the same twice. */

import { randomBytes } from 'node:crypto'
import type { JobId, JobSpec } from '../domain/job.js'
import { BackendProtocolError, JobRejectedError } from '../errors.js'
import type { BackendLimits, ClusterBackend, SubmitOutcome } from '../ports/cluster-backend.js'
import type { CallOptions } from '../ports/options.js'
import type { Clock } from '../ports/services.js'
import type { FileTransfer } from '../ports/transport.js'
import { arrayToken, type ArrayBook } from './array-book.js'
import { rawOf, type Caller } from './caller.js'
import type { Dialect, Reply, Submission } from './dialect.js'
import type { JobMemory } from './job-memory.js'

const DAY_MS = 24 * 3_600_000
/** Arrays are cleared from the book this long after they were made, or after the history if that is longer. */
const KEEP_ARRAYS_MS = 60 * DAY_MS
const PRUNE_EVERY_MS = DAY_MS

export interface SubmitterOptions {
  readonly dialect: Dialect
  readonly caller: Caller
  readonly files: FileTransfer
  readonly clock: Clock
  readonly book: ArrayBook
  readonly memory: JobMemory
  /** Without a slash at its end. */
  readonly stateFolder: string
  readonly arrays: boolean
  readonly concurrency: number
  readonly historyMs: number
  readonly limits: (options: CallOptions) => Promise<BackendLimits>
  readonly find: ClusterBackend['find']
}

export class Submitter {
  readonly #options: SubmitterOptions
  #prunedMs = 0

  constructor(options: SubmitterOptions) {
    this.#options = options
  }

  async submit(specs: readonly JobSpec[], options: CallOptions = {}): Promise<readonly SubmitOutcome[]> {
    options.signal?.throwIfAborted()
    if (specs.length === 0) return []
    const limits = await this.#options.limits(options)
    const outcomes = new Map<JobSpec, SubmitOutcome>()
    const sound: JobSpec[] = []
    for (const spec of specs) {
      const refusal = this.#options.dialect.refusal?.(spec, limits)
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
    await Promise.all(Array.from({ length: Math.min(this.#options.concurrency, open.length) }, worker))
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
    if (!this.#options.arrays) return 1
    return Math.max(1, Math.min(limits.maxArraySize ?? 1000, limits.maxJobs ?? Number.MAX_SAFE_INTEGER))
  }

  #group(specs: readonly JobSpec[], limits: BackendLimits, arraySize: number): readonly Submission[] {
    return this.#options.dialect.group(specs, {
      limits,
      arraySize,
      token: arrayToken(this.#options.clock.now(), randomBytes(4).toString('hex')),
      stateFolder: this.#options.stateFolder,
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
    const { files } = this.#options
    const { members, array, name } = submission
    options.signal?.throwIfAborted()
    const begunMs = this.#options.clock.now()
    if (submission.files.length > 0) await files.mkdir(this.#options.stateFolder, options)
    for (const { path, text } of submission.files) await files.writeAtomic(path, text, options)
    if (array) {
      await this.#options.book.add(
        name,
        members.map((spec) => spec.name),
        options,
      )
      await this.#prune(options)
    }
    let raw: Reply | undefined
    const what = `the submit of ${array ? `${members.length} jobs as ${name}` : name}`
    const reading = await this.#options.caller.call(
      submission.command,
      (reply) => {
        raw = reply
        return this.#options.dialect.readSubmit(reply, submission)
      },
      { ...options, what, idempotent: false },
    )
    switch (reading.kind) {
      case 'accepted':
        if (reading.ids.length !== members.length) break
        for (const id of reading.ids) this.#options.memory.remember(id, { sinceMs: begunMs, waiting: true })
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
    const found = await this.#options.find(names, options)
    const ids = names.map((one) => found.get(one))
    if (ids.every((id) => id !== undefined)) return { kind: 'accepted', ids }
    const message = 'message' in reading ? reading.message : 'not one id for each job'
    throw new BackendProtocolError(
      `${this.#options.dialect.title} answered ${what} in words that cannot be read, and knows no job of that name yet: ${message}`,
      {
        details: { names, ...(raw !== undefined && { raw: rawOf(raw) }) },
        hint: 'Nothing is submitted again before the scheduler was asked for these names.',
      },
    )
  }

  async #forget(submission: Submission, options: CallOptions): Promise<void> {
    const { files } = this.#options
    if (submission.array) await this.#options.book.remove(submission.name, options)
    for (const { path } of submission.files) await files.remove(path, options)
  }

  async #prune(options: CallOptions): Promise<void> {
    const now = this.#options.clock.now()
    if (now - this.#prunedMs < PRUNE_EVERY_MS) return
    this.#prunedMs = now
    await this.#options.book.prune(now - Math.max(KEEP_ARRAYS_MS, this.#options.historyMs), options)
  }

  #refused(spec: JobSpec, rule: string, message: string, hint?: string): JobRejectedError {
    return new JobRejectedError(
      `${this.#options.dialect.title} refuses job ${spec.name} (${rule}): ${message}`,
      {
        details: { name: spec.name, rule },
        hint:
          hint ??
          'Not tried again: the same job would be refused again. Change what it asks for, or the site file.',
      },
    )
  }
}

function postpone(submission: Submission, reason: string, outcomes: Map<JobSpec, SubmitOutcome>): void {
  for (const spec of submission.members)
    if (!outcomes.has(spec)) outcomes.set(spec, { kind: 'later', reason })
}
