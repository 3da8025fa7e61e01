/** What one instance remembers of the jobs it has seen. Nothing depends on it but better questions and better words. */

import type { Evidence } from '../domain/cause.js'
import type { JobId, JobStatus } from '../domain/job.js'
import type { Clock } from '../ports/services.js'

/** Clocks of the scheduler and of this machine may differ, and accounting rounds its windows. */
const SINCE_MARGIN_MS = 24 * 3_600_000
/** Ids that this instance remembers something about. More than any site has live at once. */
const MAX_REMEMBERED = 200_000

export interface Remembered {
  /** Not older than this. */
  readonly sinceMs?: number
  /** It was waiting in the queue when last seen. */
  readonly waiting?: boolean
  readonly cancelAskedMs?: number
  /** Its end was first seen here. */
  readonly endedMs?: number
}

export interface JobMemoryOptions {
  readonly clock: Clock
  /** Age at most of jobs of which nothing is known. */
  readonly historyMs: number
  /** How long after an end the next witness may still add to it. */
  readonly settleMs: number
}

export class JobMemory {
  readonly #options: JobMemoryOptions
  readonly #jobs = new Map<JobId, Remembered>()

  constructor(options: JobMemoryOptions) {
    this.#options = options
  }

  of(id: JobId): Remembered {
    return this.#jobs.get(id) ?? {}
  }

  /** It has ended, and what the next witness says of it may still be on its way. */
  mayStillCome(id: JobId): boolean {
    const now = this.#options.clock.now()
    const endedMs = this.#jobs.get(id)?.endedMs ?? now
    this.remember(id, { endedMs })
    return now - endedMs < this.#options.settleMs
  }

  /** What can be said of a job that no witness knows. */
  withoutWitness(id: JobId, unheard: string | undefined, nowMs: number): JobStatus | undefined {
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

  /** The oldest of them is not older than this. */
  sinceOf(ids: readonly JobId[]): number {
    const now = this.#options.clock.now()
    const oldest = now - this.#options.historyMs
    let since = now
    for (const id of ids) since = Math.min(since, this.#jobs.get(id)?.sinceMs ?? oldest)
    return Math.max(oldest, since - SINCE_MARGIN_MS)
  }

  seen(id: JobId, status: JobStatus): void {
    const { submittedAtMs, phase } = status
    if (phase === 'finished') return
    this.remember(id, {
      waiting: phase === 'queued' || phase === 'held',
      ...(submittedAtMs !== undefined && { sinceMs: submittedAtMs }),
    })
  }

  remember(id: JobId, more: Remembered): void {
    const before = this.#jobs.get(id)
    this.#jobs.delete(id)
    this.#jobs.set(id, { ...before, ...more })
    // The oldest goes: a Map keeps the order in which keys were set.
    for (const oldest of this.#jobs.keys()) {
      if (this.#jobs.size <= MAX_REMEMBERED) break
      this.#jobs.delete(oldest)
    }
  }
}
