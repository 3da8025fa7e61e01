/** What SQLite and the file system answer, as errors of the store. */

import {
  AccessDeniedError,
  NoSpaceError,
  PipelineError,
  StoreProtocolError,
  StoreUnavailableError,
  isAbort,
  systemErrorCode,
} from '@orbweaver/core'

/** Thrown inside a transaction to leave it; never seen outside. */
export function isBusy(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code !== undefined && /^SQLITE_(BUSY|LOCKED)/.test(code)
}

/**
 * The error to throw for a failed operation. Our own errors, aborts and programming mistakes pass through untouched.
 *
 * @param doing - completes "Cannot …": `write to the archive`
 */
export function storeError(error: unknown, doing: string, path: string): unknown {
  if (error instanceof PipelineError || isAbort(error) || !(error instanceof Error)) return error
  const code = systemErrorCode(error)
  if (code === undefined || code.startsWith('ERR_')) return error
  const what = `Cannot ${doing} at ${shownPath(path)}`
  const options = { details: { path, code }, cause: error }
  if (/^(ENOSPC|EDQUOT|SQLITE_FULL)$/.test(code)) {
    return new NoSpaceError(
      `${what}: ${code === 'EDQUOT' ? 'the quota is used up' : 'the disk is full'} (${code}). Nothing was changed.`,
      { ...options, hint: 'Free some space on the file system of the archive; the work goes on by itself.' },
    )
  }
  if (/^(EACCES|EPERM|EROFS|SQLITE_READONLY.*|SQLITE_CANTOPEN.*|SQLITE_PERM)$/.test(code)) {
    return new AccessDeniedError(
      `${what}: ${code === 'EROFS' ? 'the file system is read-only' : 'this user may not'} (${code}). Nothing was changed.`,
      { ...options, hint: 'Give this user write access to the archive folder and all that is in it.' },
    )
  }
  if (isBusy(error)) {
    return new StoreUnavailableError(`${what}: other processes keep its database busy (${code}).`, {
      ...options,
      hint: 'Nothing was changed. Try again; if it stays so, look for a process that hangs with the archive open.',
    })
  }
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) {
    return new StoreProtocolError(
      `${what}: its database is damaged or is no database (${code}: ${error.message}).`,
      {
        ...options,
        hint: 'Keep the folder as it is and restore archive.db from a backup; files of the archive are not touched.',
      },
    )
  }
  if (code.startsWith('SQLITE_CONSTRAINT')) return error
  if (code.startsWith('SQLITE_') || /^E[A-Z0-9]+$/.test(code)) {
    return new StoreUnavailableError(`${what}: ${error.message} (${code}).`, {
      ...options,
      hint: 'Look at the disk, or whether the network file system it is on is mounted, then try again.',
    })
  }
  return error
}

/** A path for a message: quoted and printable, and longer than a label may be. */
export function shownPath(path: string): string {
  const short = path.length > 300 ? `…${path.slice(-299)}` : path
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u2028\u2029]|\p{Cf}/gu,
    (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )
}
