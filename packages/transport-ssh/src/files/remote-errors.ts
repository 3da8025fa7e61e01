/** What the far side says of a failed file operation, as the system errors that `fileError` of core understands. */

import type { ProcessEnd } from '../connection/process.js'

/** Texts of `strerror` in the C locale (glibc and musl), and dash's own for a missing folder. */
const CODES: Readonly<Record<string, string>> = {
  'No such file or directory': 'ENOENT',
  'Directory nonexistent': 'ENOENT',
  'No such file': 'ENOENT',
  'Not a directory': 'ENOTDIR',
  'Is a directory': 'EISDIR',
  'File exists': 'EEXIST',
  'Permission denied': 'EACCES',
  'Operation not permitted': 'EPERM',
  'Read-only file system': 'EROFS',
  'No space left on device': 'ENOSPC',
  'Disk quota exceeded': 'EDQUOT',
  'Quota exceeded': 'EDQUOT',
  'File name too long': 'ENAMETOOLONG',
  'Filename too long': 'ENAMETOOLONG',
  'Too many levels of symbolic links': 'ELOOP',
  'Symbolic link loop': 'ELOOP',
  'File too large': 'EFBIG',
  'Directory not empty': 'ENOTEMPTY',
  'Stale file handle': 'ESTALE',
  'Input/output error': 'EIO',
  'I/O error': 'EIO',
}

/** An error of the far side's system, shaped as Node's own. */
export class RemoteSystemError extends Error {
  readonly code: string
  readonly syscall = 'remote'
  constructor(code: string, message: string) {
    super(message)
    this.name = 'RemoteSystemError'
    this.code = code
  }
}

/**
 * The reason is what follows the last colon of the last line: names of files come before it, whatever they hold.
 */
export function errorCodeOf(stderr: string): string | undefined {
  const line = stderr.trimEnd().split('\n').at(-1) ?? ''
  return CODES[line.slice(line.lastIndexOf(': ') + 2).trim()]
}

/** The error of a program that should have ended well. */
export function endError({ exitCode, signal, stderr }: ProcessEnd): RemoteSystemError {
  const text = stderr.toString('utf8').trim()
  const code = errorCodeOf(text) ?? 'EREMOTE'
  const said = text.split('\n').at(-1)?.slice(0, 300) ?? ''
  return new RemoteSystemError(
    code,
    said === '' ? `the far side ended with ${signal ?? `exit code ${exitCode ?? '?'}`}` : said,
  )
}
