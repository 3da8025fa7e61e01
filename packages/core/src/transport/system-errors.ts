/** Node's system errors as ours: what failed, on what path, what came back, what to do. */

import {
  AccessDeniedError,
  InputError,
  NoSpaceError,
  NotFoundError,
  PipelineError,
  TransportUnavailableError,
  isAbort,
  systemErrorCode,
} from '../errors.js'

/**
 * The error to throw for a failed file operation. Our own errors, aborts and programming mistakes pass through untouched.
 *
 * @param doing - as `write`, `list`: completes the sentence "Cannot … PATH"
 */
export function fileError(error: unknown, doing: string, path: string, signal?: AbortSignal): unknown {
  if (signal?.aborted === true) return signal.reason
  if (error instanceof PipelineError || isAbort(error)) return error
  const code = systemErrorCode(error)
  if (code === undefined || !(error instanceof Error) || !('syscall' in error || code.startsWith('E')))
    return error
  if (code.startsWith('ERR_')) return error
  const shown = printablePath(path)
  const options = { details: { path, code }, cause: error }
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new NotFoundError(`Cannot ${doing} ${shown}: it is not there (${code}).`, {
        ...options,
        hint: 'Check the path, and that the file system it is on is mounted.',
      })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new AccessDeniedError(
        `Cannot ${doing} ${shown}: ${code === 'EROFS' ? 'the file system is read-only' : 'permission denied'} (${code}).`,
        { ...options, hint: 'Give this user access to it, or choose another folder.' },
      )
    case 'ENOSPC':
    case 'EDQUOT':
      return new NoSpaceError(
        `Cannot ${doing} ${shown}: ${code === 'EDQUOT' ? 'the quota is used up' : 'the disk is full'} (${code}).`,
        { ...options, hint: 'Free some space there; the work goes on by itself.' },
      )
    case 'EISDIR':
    case 'ENAMETOOLONG':
    case 'ELOOP':
    case 'EFBIG':
      return new InputError(`Cannot ${doing} ${shown}: ${REASONS[code]} (${code}).`, options)
    default:
      return new TransportUnavailableError(`Cannot ${doing} ${shown}: ${error.message}.`, {
        ...options,
        hint: 'Look at the disk or the network file system it is on, then try again.',
      })
  }
}

const REASONS = {
  EISDIR: 'it is a folder',
  ENAMETOOLONG: 'its name is longer than the file system allows',
  ELOOP: 'its links go round in a circle',
  EFBIG: 'it is larger than the file system allows',
} as const

/** A path for a message: quoted, printable, and with its telling end when it is very long. */
export function printablePath(path: string): string {
  const short = path.length > 300 ? `…${path.slice(-299)}` : path
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u2028\u2029]|\p{Cf}/gu,
    (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )
}
