/** What ssh2 leaves open about the end of an SFTP session. */

import type { SFTPWrapper } from 'ssh2'

const REQUESTS = [
  'close',
  'fsetstat',
  'fstat',
  'lstat',
  'mkdir',
  'open',
  'opendir',
  'read',
  'readdir',
  'readlink',
  'realpath',
  'rename',
  'rmdir',
  'setstat',
  'stat',
  'symlink',
  'unlink',
  'write',
] as const

/**
 * A session that has ended fails whatever it is asked. With ssh2 (1.17) a request to such a session is dropped without a
 * word: its callback is never called, and who waits for it waits for ever.
 */
export function bury(session: SFTPWrapper): void {
  const fail = (...words: readonly unknown[]): boolean => {
    const done = words.at(-1)
    if (typeof done === 'function') {
      const tell = done as (error: Error) => void
      process.nextTick(() => tell(new Error('No response from server')))
    }
    return false
  }
  for (const name of REQUESTS) Object.defineProperty(session, name, { value: fail, configurable: true })
}
