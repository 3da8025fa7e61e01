/** What is thrown when a file operation of the far side did not go well. */

import { InputError, IntegrityError, TransportUnavailableError, printablePath } from '@orbweaver/core'
import { RemoteSystemError, endError } from './remote-errors.js'
import type { RemoteShell, ScriptResult } from './remote-shell.js'

export async function makeFolder(
  shell: RemoteShell,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const result = await shell.program(['mkdir', '-p', '--', path], { signal })
  if (result.exitCode !== 0) throw asFolderProblem(path, endError(result))
}

export function asFolderProblem(path: string, error: RemoteSystemError): Error {
  if (error.code !== 'EEXIST' && error.code !== 'ENOTDIR') return error
  return new InputError(`Cannot make the folder ${printablePath(path)}: a file is in its place.`, {
    details: { path, code: error.code },
    cause: error,
    hint: 'Move that file away, or choose another folder.',
  })
}

export function good(result: ScriptResult): ScriptResult {
  if (result.exitCode !== 0) throw endError(result)
  return result
}

export function isMissing(result: ScriptResult): boolean {
  const error = endError(result)
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return true
  throw error
}

/** The transfer was stopped by something that has nothing to do with the content: it may go on some other time. */
export function isCutOff(error: unknown, signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true || error instanceof TransportUnavailableError
}

export function differs(path: string): IntegrityError {
  return new IntegrityError(
    `${printablePath(path)} is not what was sent: its checksum differs after the transfer.`,
    {
      details: { path },
      hint: 'Nothing was changed there; try the transfer again. If it stays, look at the disk and the memory of both machines.',
    },
  )
}

export function tooLong(path: string, maxBytes: number): InputError {
  return new InputError(`Cannot read ${printablePath(path)}: it has more than ${maxBytes} bytes.`, {
    details: { path, maxBytes },
  })
}
