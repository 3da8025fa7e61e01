/** What there is in a folder of the far side: names, sizes, checksums. */

import { createHash } from 'node:crypto'
import { fileError, onFile, systemErrorCode, type ListedFile } from '@orbweaver/core'
import { notPlain, type RemoteContent } from './content.js'
import { isPart } from './parts.js'
import { RemoteSystemError, endError, errorCodeOf } from './remote-errors.js'
import { LONG_MS, type RemoteShell, type ScriptResult } from './remote-shell.js'
import { CHECKSUM_SCRIPT, LIST_SCRIPT, NO_PROGRAM } from './scripts.js'
import { walkBySftp } from './sftp.js'

export async function listBelow(
  shell: RemoteShell,
  content: RemoteContent,
  path: string,
  signal: AbortSignal | undefined,
): Promise<ListedFile[]> {
  const result = await shell.run(LIST_SCRIPT, [path], { signal, timeoutMs: LONG_MS })
  if (result.exitCode === 0) {
    return result.stdout
      .toString('utf8')
      .split('\0')
      .slice(0, -1)
      .map(listedFile)
      .filter((entry) => !isPart(entry.path))
  }
  if (
    /unrecognized.*(-printf|-ignore_readdir_race)|unknown predicate/.test(result.stderr.toString('latin1')) &&
    content.usesSftp
  ) {
    const found: ListedFile[] = []
    try {
      for await (const entry of walkBySftp(shell.connection, path, signal)) {
        if (!isPart(entry.path)) found.push(entry)
      }
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
    return found
  }
  if (errorCodeOf(result.stderr.toString('utf8')) === 'ENOENT') return []
  throw endError(result)
}

const KINDS: Readonly<Record<string, ListedFile['kind']>> = { f: 'file', d: 'folder', l: 'link' }

function listedFile(line: string): ListedFile {
  const [letter = '', size = '0'] = line.split(' ', 2)
  const path = line.slice(letter.length + size.length + 2)
  // A name that is no UTF-8 cannot be asked for again. It is shown, so that nobody takes the folder for empty.
  const kind = path.includes('\uFFFD') ? 'other' : (KINDS[letter] ?? 'other')
  return { path, bytes: kind === 'file' ? Number(size) : 0, kind }
}

export async function checksumsBelow(
  shell: RemoteShell,
  content: RemoteContent,
  folder: string,
  files: readonly string[],
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, string>> {
  const stdin = files.map((file) => `./${file}\0`).join('')
  // Only sha256sum says in its lines where a name has a line break.
  const program = files.some((file) => file.includes('\n')) ? 'sha256sum' : 'openssl'
  const result = await shell.run(CHECKSUM_SCRIPT, [folder, program], { signal, stdin, timeoutMs: LONG_MS })
  const sums = new Map<string, string>()
  if (result.exitCode === NO_PROGRAM) {
    for (const file of files) {
      const path = `${folder}/${file}`
      await onFile('read', path, signal, async () => {
        const hash = createHash('sha256')
        for await (const piece of await content.open(path, signal)) hash.update(piece as Buffer)
        sums.set(file, hash.digest('hex'))
      })
    }
    return sums
  }
  const text = result.stdout.toString('utf8')
  if (result.exitCode !== 0) {
    const named = /(?:^|\n)!([^\0]*)\0/.exec(text)?.[1]
    const path = named === undefined ? folder : `${folder}/${named}`
    if (
      named !== undefined &&
      errorCodeOf(result.stderr.toString('utf8').split('\nxargs:')[0] ?? '') === undefined
    )
      throw notPlain(path)
    throw fileError(checksumError(result), 'read', path, signal)
  }
  const lines = text.split('\n')
  for (const [index, file] of files.entries()) {
    const hex = /^\\?([0-9a-f]{64}) /.exec(lines[index] ?? '')?.[1]
    if (hex === undefined) throw new RemoteSystemError('EREMOTE', 'sha256sum answered something else')
    sums.set(file, hex)
  }
  return sums
}

/** `xargs` adds a line of its own. */
function checksumError(result: ScriptResult): RemoteSystemError {
  const lines = result.stderr.toString('utf8').trim().split('\n')
  const own = lines.filter((line) => !line.startsWith('xargs:'))
  return endError({ ...result, stderr: Buffer.from((own.length === 0 ? lines : own).join('\n')) })
}
