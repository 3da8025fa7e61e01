/** Root may do everything, so what is refused to others is tried as somebody else. */

import { chown } from 'node:fs/promises'

/** Of `nobody` and `nogroup`. */
const NOBODY = 65_534

/**
 * Run something as a user without rights when we are root; as ourselves otherwise.
 *
 * @param paths - given to that user first
 */
export async function asNobody<T>(paths: readonly string[], body: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return body()
  for (const path of paths) await chown(path, NOBODY, NOBODY)
  process.setegid?.(NOBODY)
  process.seteuid?.(NOBODY)
  try {
    return await body()
  } finally {
    process.seteuid?.(0)
    process.setegid?.(0)
  }
}
