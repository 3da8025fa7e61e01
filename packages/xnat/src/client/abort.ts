/** Many requests wait on one signal: one listener serves them all, or Node warns of a leak at the eleventh. */

const waiting = new WeakMap<AbortSignal, Set<() => void>>()

/** @returns a function that takes the callback back */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return () => undefined
  let callbacks = waiting.get(signal)
  if (callbacks === undefined) {
    const all = new Set<() => void>()
    callbacks = all
    waiting.set(signal, all)
    signal.addEventListener(
      'abort',
      () => {
        waiting.delete(signal)
        for (const one of all) one()
      },
      { once: true },
    )
  }
  callbacks.add(callback)
  const set = callbacks
  return () => {
    set.delete(callback)
  }
}

/** Waits for work that others wait for too: one who gives up leaves it to them. */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work
  let forget = (): void => undefined
  try {
    return await Promise.race([
      work,
      new Promise<never>((_resolve, reject) => {
        forget = onAbort(signal, () => reject(signal.reason as Error))
      }),
    ])
  } finally {
    forget()
  }
}
