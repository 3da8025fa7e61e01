import type { CallOptions } from '../ports/options.js'
import type { Clock } from '../ports/services.js'

interface Sleeper {
  readonly untilMs: number
  readonly wake: () => void
}

export interface ManualClockOptions {
  /** Epoch milliseconds at the start. Default: 2026-01-01T00:00:00Z. */
  readonly startMs?: number
  /**
   * Time jumps to the next sleeper by itself as soon as everybody waits, so that a loop of hours runs in no time.
   * Default `false`: time moves only when {@link ManualClock.advance} says so.
   */
  readonly automatic?: boolean
}

/** A clock that a test drives by hand. Sleepers wake in the order of their times, each at exactly its time. */
export class ManualClock implements Clock {
  #nowMs: number
  readonly #automatic: boolean
  readonly #sleepers = new Set<Sleeper>()
  #jumpPlanned = false

  constructor(options: ManualClockOptions = {}) {
    this.#nowMs = options.startMs ?? Date.UTC(2026, 0, 1)
    this.#automatic = options.automatic ?? false
  }

  now(): number {
    return this.#nowMs
  }

  /** How many sleep now. */
  get sleeping(): number {
    return this.#sleepers.size
  }

  sleep(ms: number, { signal }: CallOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error)
        return
      }
      if (ms <= 0) {
        resolve()
        return
      }
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper)
        reject(signal?.reason as Error)
      }
      const sleeper: Sleeper = {
        untilMs: this.#nowMs + ms,
        wake: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#sleepers.add(sleeper)
      if (this.#automatic) this.#planJump()
    })
  }

  /**
   * Let time pass. Whoever sleeps until within it wakes at its own time and gets to run before time goes on, so that
   * what it then waits for is served in the same advance.
   */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    for (;;) {
      const next = this.#earliest()
      if (next === undefined || next.untilMs > endMs) break
      this.#wake(next)
      await settle()
    }
    this.#nowMs = Math.max(this.#nowMs, endMs)
    await settle()
  }

  #earliest(): Sleeper | undefined {
    let earliest: Sleeper | undefined
    for (const sleeper of this.#sleepers) {
      if (earliest === undefined || sleeper.untilMs < earliest.untilMs) earliest = sleeper
    }
    return earliest
  }

  #wake(sleeper: Sleeper): void {
    this.#sleepers.delete(sleeper)
    this.#nowMs = Math.max(this.#nowMs, sleeper.untilMs)
    sleeper.wake()
  }

  #planJump(): void {
    if (this.#jumpPlanned) return
    this.#jumpPlanned = true
    // After all that is ready to run has run.
    void settle().then(() => {
      this.#jumpPlanned = false
      const next = this.#earliest()
      if (next === undefined) return
      this.#wake(next)
      if (this.#sleepers.size > 0) this.#planJump()
    })
  }
}

/** Lets promises and streams that are ready run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}
