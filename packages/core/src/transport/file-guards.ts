/** What every file transport does around a call: absolute paths, names that stay inside, errors in our words. */

import { isAbsolute } from 'node:path/posix'
import { InputError } from '../errors.js'
import { fileError, printablePath } from './system-errors.js'

/**
 * Run an action on a file.
 *
 * @param doing - completes "Cannot … PATH": `read`
 * @throws TypeError the path is not absolute
 * @throws what {@link fileError} makes of a failure
 */
export async function onFile<T>(
  doing: string,
  path: string,
  signal: AbortSignal | undefined,
  action: () => Promise<T>,
): Promise<T> {
  checkAbsolute(path)
  signal?.throwIfAborted()
  try {
    return await action()
  } catch (error) {
    throw fileError(error, doing, path, signal)
  }
}

/** @throws TypeError a mistake of the caller */
export function checkAbsolute(path: string): void {
  if (!isAbsolute(path)) throw new TypeError(`${printablePath(path)} is not an absolute path`)
}

/** @throws InputError the file does not stay inside its folder */
export function checkContained(folder: string, file: string): void {
  if (isAbsolute(file) || file.split('/').some((part) => part === '..' || part === '')) {
    throw new InputError(`File path ${printablePath(file)} does not stay inside its folder.`, {
      details: { folder, file },
    })
  }
}
