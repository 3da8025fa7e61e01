/** Who may open a channel: servers allow few on one connection (`MaxSessions`), and tell nobody how many. */

export type Release = () => void

interface Waiter {
  readonly urgent: boolean
  readonly start: (release: Release) => void
}

/** At least one channel for work and one for ending it. */
const FEWEST = 2

/**
 * A fair queue for channels. One place is kept for urgent callers (ending a command), so that a connection full of work
 * can still be told to stop.
 */
export class ChannelSlots {
  readonly #most: number
  #limit: number
  #used = 0
  readonly #waiting: Waiter[] = []

  constructor(limit: number) {
    this.#most = Math.max(FEWEST, limit)
    this.#limit = this.#most
  }

  get limit(): number {
    return this.#limit
  }

  get used(): number {
    return this.#used
  }

  /** Waits for a place. The release may be called more than once. */
  async take({ urgent = false, signal }: { urgent?: boolean; signal?: AbortSignal } = {}): Promise<Release> {
    signal?.throwIfAborted()
    return await new Promise<Release>((resolve, reject) => {
      const onAbort = (): void => {
        const index = this.#waiting.indexOf(waiter)
        if (index >= 0) this.#waiting.splice(index, 1)
        reject(signal?.reason as Error)
      }
      const waiter: Waiter = {
        urgent,
        start: (release) => {
          signal?.removeEventListener('abort', onAbort)
          resolve(release)
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      if (urgent) this.#waiting.unshift(waiter)
      else this.#waiting.push(waiter)
      this.#next()
    })
  }

  /** The server refused a channel: it allows no more than are open now. */
  shrinkTo(open: number): void {
    this.#limit = Math.max(FEWEST, Math.min(this.#limit, open))
  }

  /** Another server may allow more. */
  restore(): void {
    this.#limit = this.#most
    this.#next()
  }

  #next(): void {
    for (;;) {
      const [first] = this.#waiting
      if (first === undefined) return
      if (this.#used >= (first.urgent ? this.#limit : this.#limit - 1)) return
      this.#waiting.shift()
      this.#used += 1
      let released = false
      first.start(() => {
        if (released) return
        released = true
        this.#used -= 1
        this.#next()
      })
    }
  }
}
