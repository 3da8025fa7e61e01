/** Trouble on demand, for tests and rehearsals. */

export interface Outage {
  /** After {@link Sandbox.setFaults}. */
  readonly startMs: number
  readonly durationMs: number
}

/** All rates are from 0 to 1 and are drawn for each request alone. Absent means never. */
export interface Faults {
  /** Every reply is this much later. */
  readonly latencyMs?: number
  /** Up to this much more, at random. */
  readonly jitterMs?: number
  /** An error page with 500, 502, 503 or 504, and nothing was done. */
  readonly errorRate?: number
  /** The connection breaks: half of them before anything was done, half after it was done but before the reply. */
  readonly dropRate?: number
  /** The reply's body stops half-way and the connection breaks. */
  readonly truncateRate?: number
  /** Uploads of files that are answered with 200 though nothing was stored. */
  readonly lieRate?: number
  /** The next so many uploads of files are answered with 200 though nothing was stored. */
  readonly lies?: number
  /** Times in which every connection is broken at once. */
  readonly outages?: readonly Outage[]
  /** Only for requests whose `METHOD /path` matches. */
  readonly only?: RegExp
  /** The same seed draws the same trouble for the same sequence of requests. */
  readonly seed?: number
}

/** What is to happen to one request. */
export interface Fate {
  readonly delayMs: number
  readonly outage: boolean
  readonly error: number | undefined
  readonly drop: 'before' | 'after' | undefined
  readonly truncate: boolean
}

const ERRORS = [500, 502, 503, 504] as const
const NO_FAULTS: Faults = {}

export class FaultPlan {
  #faults: Faults = NO_FAULTS
  #sinceMs = 0
  #random: () => number = Math.random
  #liesLeft = 0

  set(faults: Faults, nowMs: number): void {
    this.#faults = faults
    this.#sinceMs = nowMs
    this.#random = faults.seed === undefined ? Math.random : seeded(faults.seed)
    this.#liesLeft = faults.lies ?? 0
  }

  draw(method: string, path: string, nowMs: number): Fate {
    const {
      latencyMs = 0,
      jitterMs = 0,
      errorRate = 0,
      dropRate = 0,
      truncateRate = 0,
      outages = [],
      only,
    } = this.#faults
    if (only !== undefined && !only.test(`${method} ${path}`)) {
      return { delayMs: 0, outage: false, error: undefined, drop: undefined, truncate: false }
    }
    const at = nowMs - this.#sinceMs
    const chance = (rate: number): boolean => rate > 0 && this.#random() < rate
    return {
      delayMs: latencyMs + (jitterMs > 0 ? this.#random() * jitterMs : 0),
      outage: outages.some(({ startMs, durationMs }) => at >= startMs && at < startMs + durationMs),
      error: chance(errorRate) ? ERRORS[Math.floor(this.#random() * ERRORS.length)] : undefined,
      drop: chance(dropRate) ? (this.#random() < 0.5 ? 'before' : 'after') : undefined,
      truncate: chance(truncateRate),
    }
  }

  /** Whether this upload is to be a lie. */
  lie(method: string, path: string): boolean {
    const { only, lieRate = 0 } = this.#faults
    if (only !== undefined && !only.test(`${method} ${path}`)) return false
    if (this.#liesLeft > 0) {
      this.#liesLeft -= 1
      return true
    }
    return lieRate > 0 && this.#random() < lieRate
  }
}

/** Mulberry32: small, and good enough to draw trouble with. */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
