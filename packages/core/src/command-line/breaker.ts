/** A scheduler that is away is not asked again and again: after some failures in a row, calls fail at once for a while. */

import type { BackendHealth } from '../ports/cluster-backend.js'

export interface BreakerOptions {
  /** Failures in a row that open it. Default 5. */
  readonly failures?: number
  /** First pause. Default 15 s; doubles with every probe that fails. */
  readonly firstMs?: number
  /** Longest pause. Default 10 min. */
  readonly lastMs?: number
}

/** `closed`: calls go through. `open`: they fail at once. When the pause is over one call goes through as a probe. */
export class CircuitBreaker {
  readonly #limit: number
  readonly #firstMs: number
  readonly #lastMs: number
  #failures = 0
  #pauseMs = 0
  #openUntilMs: number | undefined
  #probing = false
  #last: { readonly message: string; readonly atMs: number } | undefined

  constructor({ failures = 5, firstMs = 15_000, lastMs = 600_000 }: BreakerOptions = {}) {
    this.#limit = failures
    this.#firstMs = firstMs
    this.#lastMs = lastMs
  }

  /** May a call go through now? `undefined`: yes. Otherwise when to try again. */
  refusal(nowMs: number): { readonly untilMs: number; readonly message: string } | undefined {
    if (this.#openUntilMs === undefined) return undefined
    if (nowMs >= this.#openUntilMs && !this.#probing) {
      this.#probing = true
      return undefined
    }
    return { untilMs: this.#openUntilMs, message: this.#last?.message ?? '' }
  }

  succeeded(): void {
    this.#failures = 0
    this.#pauseMs = 0
    this.#openUntilMs = undefined
    this.#probing = false
    this.#last = undefined
  }

  /** The call came to an end that says nothing: aborted, or wrong from the start. */
  abandoned(): void {
    this.#probing = false
  }

  /** @param atMostMs - the pause does not grow beyond it */
  failed(message: string, nowMs: number, atMostMs = this.#lastMs): void {
    this.#failures += 1
    this.#last = { message, atMs: nowMs }
    this.#probing = false
    if (this.#failures < this.#limit) return
    this.#pauseMs = Math.min(atMostMs, this.#pauseMs === 0 ? this.#firstMs : this.#pauseMs * 2)
    this.#openUntilMs = nowMs + this.#pauseMs
  }

  health(nowMs: number): BackendHealth {
    const open = this.#openUntilMs
    return {
      state: open === undefined ? 'closed' : nowMs >= open ? 'probing' : 'open',
      failures: this.#failures,
      ...(this.#last !== undefined && { lastFailure: this.#last }),
      ...(open !== undefined && { nextTryMs: open }),
      notes: [],
    }
  }
}
