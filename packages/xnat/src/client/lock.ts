/** One at a time per key, in this process: XNAT spoils a resource's catalog when two requests change it at once. */

import type { CallOptions } from '@orbweaver/core'

const tails = new Map<string, Promise<void>>()

/** Runs `work` when everything asked for before under the same key has ended. All clients of this process share the keys. */
export async function oneAtATime<T>(
  key: string,
  work: () => Promise<T>,
  { signal }: CallOptions = {},
): Promise<T> {
  const before = tails.get(key) ?? Promise.resolve()
  let release: () => void = () => undefined
  const mine = new Promise<void>((resolve) => (release = resolve))
  const tail = before.then(() => mine)
  tails.set(key, tail)
  try {
    await before
    signal?.throwIfAborted()
    return await work()
  } finally {
    release()
    if (tails.get(key) === tail) tails.delete(key)
  }
}
