/** Logins are rare: sites count them, and ban addresses that log in too often. */

export interface LoginPace {
  /** Logins in a row before the pace matters. */
  readonly burst: number
  /** Milliseconds in which one more is earned. */
  readonly everyMs: number
}

/** A token bucket. */
export class LoginLimiter {
  #tokens: number
  #countedAtMs: number
  readonly #pace: LoginPace
  readonly #now: () => number

  constructor(pace: LoginPace, now: () => number = Date.now) {
    this.#pace = pace
    this.#now = now
    this.#tokens = pace.burst
    this.#countedAtMs = now()
  }

  /** Take one login. Milliseconds to wait before it may be used: 0 at most times. */
  take(): number {
    const now = this.#now()
    const earned = (now - this.#countedAtMs) / this.#pace.everyMs
    this.#tokens = Math.min(this.#pace.burst, this.#tokens + earned) - 1
    this.#countedAtMs = now
    return this.#tokens >= 0 ? 0 : Math.ceil(-this.#tokens * this.#pace.everyMs)
  }
}

/** Milliseconds before try number `tries` (from 1): doubles from half a second to half a minute, a fifth at random. */
export function backOffMs(tries: number, random: () => number = Math.random): number {
  const whole = Math.min(30_000, 500 * 2 ** Math.min(tries - 1, 10))
  return Math.round(whole * (0.8 + 0.2 * random()))
}
