import type { CallOptions } from '../ports/options.js'
import type { Clock } from '../ports/services.js'

// setTimeout silently becomes 1 ms beyond 2^31-1.
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  async sleep(ms: number, options: CallOptions = {}): Promise<void> {
    let left = Math.max(0, ms)
    do {
      const part = Math.min(left, LONGEST_TIMER_MS)
      await timer(part, options.signal)
      left -= part
    } while (left > 0)
  },
}

function timer(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error)
      return
    }
    const onAbort = (): void => {
      clearTimeout(handle)
      reject(signal?.reason as Error)
    }
    const handle = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
