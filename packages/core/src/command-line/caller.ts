/** Runs a dialect's commands: one place for time limits, retries, the circuit breaker and errors. */

import pLimit from 'p-limit'
import {
  AccessDeniedError,
  BackendProtocolError,
  BackendUnavailableError,
  PipelineError,
  TransportUnavailableError,
} from '../errors.js'
import type { BackendHealth } from '../ports/cluster-backend.js'
import type { CallOptions } from '../ports/options.js'
import type { Clock } from '../ports/services.js'
import type { CommandRunner } from '../ports/transport.js'
import { CircuitBreaker, type BreakerOptions } from './breaker.js'
import type { DialectCommand, ReadingFailure, Reply } from './dialect.js'

/** Raw text kept in an error's details, of each of stdout and stderr. */
const MAX_RAW_CHARACTERS = 4096
/** Longest pause after the way to the scheduler was cut again and again. */
const TRANSPORT_PAUSE_MS = 5_000

export interface RetryOptions {
  /** In all. Default 3. */
  readonly attempts?: number
  /** Wait before the second attempt; doubles. Default 1 s, with up to a fifth more by chance. */
  readonly firstMs?: number
}

export interface CallerOptions {
  /** As people write the scheduler's name. */
  readonly title: string
  readonly runner: CommandRunner
  readonly clock: Clock
  /** Variables of every command. */
  readonly environment: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly retry: RetryOptions
  readonly breaker: BreakerOptions
  /** Commands at the same time. */
  readonly concurrency: number
  readonly random: () => number
  /** Told when the scheduler stops or starts answering. */
  readonly changed?: (health: BackendHealth) => void
}

/** How a call is treated. */
export interface CallKind extends CallOptions {
  /** As in messages: the name of the program, or what is done. */
  readonly what: string
  /** Asked again when there is no answer. A submit never is. */
  readonly idempotent: boolean
  /** Its failures say nothing about the scheduler itself (the accounting is another service). */
  readonly apart?: boolean
}

type Read<Good> = (reply: Reply) => Good | ReadingFailure
/** Kinds of a reading that are no failure of the call. */
type Good = { readonly kind: string }

/** Any reading but `unavailable`, which is thrown. */
type Heard<Reading extends Good> = Exclude<Reading | ReadingFailure, { readonly kind: 'unavailable' }>

const isAway = (error: unknown): error is PipelineError =>
  error instanceof PipelineError &&
  (error.code === 'BACKEND_UNAVAILABLE' || error.code === 'TRANSPORT_UNAVAILABLE')

export class Caller {
  readonly #options: CallerOptions
  readonly #limit: ReturnType<typeof pLimit>
  readonly #breaker: CircuitBreaker
  /** Services apart from the scheduler (accounting) have a breaker each. */
  readonly #apart = new Map<string, CircuitBreaker>()

  constructor(options: CallerOptions) {
    this.#options = options
    this.#limit = pLimit(options.concurrency)
    this.#breaker = new CircuitBreaker(options.breaker)
  }

  health(): BackendHealth {
    return this.#breaker.health(this.#options.clock.now())
  }

  /**
   * Run a command and read its reply.
   *
   * @returns the reading, `unavailable` excepted
   * @throws BackendUnavailableError no answer, also after asking again; or the circuit breaker is open
   */
  async call<Reading extends Good>(
    command: DialectCommand,
    read: Read<Reading>,
    kind: CallKind,
  ): Promise<Heard<Reading>> {
    const { clock, title } = this.#options
    const { what, signal } = kind
    signal?.throwIfAborted()
    const breaker = this.#breakerOf(kind)
    const before = breaker.health(clock.now()).state
    const refusal = breaker.refusal(clock.now())
    if (refusal !== undefined) {
      throw new BackendUnavailableError(
        `${title} did not answer the last times, so it is not asked now: ${refusal.message}`,
        {
          details: { what, nextTryMs: refusal.untilMs },
          hint: 'It is tried again by itself after a pause. Jobs that were accepted go on meanwhile.',
        },
      )
    }
    let spoken = false
    try {
      // A probe of the circuit breaker is one attempt.
      const reading = await this.#attempts(command, read, kind, before === 'closed')
      breaker.succeeded()
      spoken = true
      if (breaker === this.#breaker) this.#tell()
      return reading
    } catch (error) {
      if (isAway(error) && signal?.aborted !== true) {
        // The way to the scheduler has a back-off of its own, and the scheduler is not the busier for a way that is cut.
        const atMostMs = error.code === 'TRANSPORT_UNAVAILABLE' ? TRANSPORT_PAUSE_MS : undefined
        breaker.failed(error.message, clock.now(), atMostMs)
        spoken = true
        if (breaker === this.#breaker) this.#tell()
      }
      throw error
    } finally {
      if (!spoken) breaker.abandoned()
    }
  }

  #told: BackendHealth['state'] | undefined

  /** Every success while it is closed is not news; every failure while it is open moves the next try. */
  #tell(): void {
    const health = this.health()
    if (health.state === 'closed' && this.#told === 'closed') return
    this.#told = health.state
    this.#options.changed?.(health)
  }

  #breakerOf({ apart, what }: CallKind): CircuitBreaker {
    if (apart !== true) return this.#breaker
    const known = this.#apart.get(what) ?? new CircuitBreaker(this.#options.breaker)
    this.#apart.set(what, known)
    return known
  }

  async #attempts<Reading extends Good>(
    command: DialectCommand,
    read: Read<Reading>,
    kind: CallKind,
    mayRepeat: boolean,
  ): Promise<Heard<Reading>> {
    const { attempts = 3, firstMs = 1000 } = this.#options.retry
    const { clock, random } = this.#options
    const last = kind.idempotent && mayRepeat ? attempts : 1
    for (let attempt = 1; ; attempt++) {
      try {
        const reading = await this.#limit(() => this.#once(command, read, kind))
        // A reply that was cut on its way is whole the next time.
        if (reading.kind !== 'unreadable' || attempt >= last) return reading
      } catch (error) {
        if (!isAway(error) || attempt >= last) throw error
      }
      const pauseMs = firstMs * 2 ** (attempt - 1) * (1 + random() / 5)
      await clock.sleep(pauseMs, kind.signal === undefined ? {} : { signal: kind.signal })
    }
  }

  async #once<Reading extends Good>(
    command: DialectCommand,
    read: Read<Reading>,
    { what, signal }: CallKind,
  ): Promise<Heard<Reading>> {
    signal?.throwIfAborted()
    const reply = await this.#run(command, signal)
    const reading = read(reply)
    if (reading.kind === 'unavailable') throw this.#noAnswer(what, (reading as ReadingFailure).message, reply)
    return reading as Heard<Reading>
  }

  async #run(command: DialectCommand, signal: AbortSignal | undefined): Promise<Reply> {
    const { runner, environment, timeoutMs } = this.#options
    try {
      return await runner.run(
        {
          argv: command.argv,
          ...(command.stdin !== undefined && { stdin: command.stdin }),
          environment: { ...environment, ...command.environment },
          timeoutMs: command.timeoutMs ?? timeoutMs,
        },
        signal === undefined ? {} : { signal },
      )
    } catch (error) {
      // A program that hangs waits for its scheduler; the way to it works.
      if (error instanceof TransportUnavailableError && 'timeoutMs' in error.details) {
        throw new BackendUnavailableError(`${this.#options.title} does not answer: ${error.message}`, {
          cause: error,
          details: error.details,
        })
      }
      throw error
    }
  }

  #noAnswer(what: string, message: string, reply: Reply): BackendUnavailableError {
    return new BackendUnavailableError(`${this.#options.title} does not answer ${what}: ${message}`, {
      details: { exitCode: reply.exitCode, raw: rawOf(reply) },
      hint: 'This passes when the scheduler is back. Jobs that were accepted go on meanwhile.',
    })
  }

  /** An error for a reading that cannot be used. */
  error(what: string, failure: ReadingFailure, reply?: Reply): PipelineError {
    const { title } = this.#options
    const details = {
      ...(reply !== undefined && { exitCode: reply.exitCode, raw: rawOf(reply) }),
    }
    switch (failure.kind) {
      case 'unavailable':
      case 'absent':
        return new BackendUnavailableError(`${title} does not answer ${what}: ${failure.message}`, {
          details,
        })
      case 'denied':
        return new AccessDeniedError(`${title} refuses ${what}: ${failure.message}`, {
          details,
          hint: 'The jobs belong to another account, or this account may not use this.',
        })
      default:
        return new BackendProtocolError(
          `${title} answered ${what} in words that cannot be read: ${failure.message}`,
          {
            details,
            hint: 'Nothing was concluded from it. `details.raw` holds what was printed; please report it.',
          },
        )
    }
  }
}

/** What a program printed, at most a page of it. */
export function rawOf({ stdout, stderr }: Pick<Reply, 'stdout' | 'stderr'>): {
  stdout: string
  stderr: string
} {
  return { stdout: bounded(stdout), stderr: bounded(stderr) }
}

function bounded(text: string): string {
  if (text.length <= MAX_RAW_CHARACTERS) return text
  const half = MAX_RAW_CHARACTERS / 2
  return `${text.slice(0, half)}\n[… ${text.length - MAX_RAW_CHARACTERS} characters …]\n${text.slice(-half)}`
}
