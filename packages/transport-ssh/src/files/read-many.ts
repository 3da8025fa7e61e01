/** Many small files in one exchange: a tar of those that are there. */

import { fileError, systemErrorCode } from '@orbweaver/core'
import { notPlain, type RemoteContent } from './content.js'
import { endError, errorCodeOf } from './remote-errors.js'
import type { RemoteShell } from './remote-shell.js'
import { NO_PROGRAM, TAR_MANY_SCRIPT } from './scripts.js'
import { readTar } from './tar.js'

export interface ReadManyOptions {
  readonly maxBytes: number
  readonly tooLong: (path: string, maxBytes: number) => Error
  readonly signal: AbortSignal | undefined
}

/** @param paths - absolute, each once */
export async function readManyByTar(
  shell: RemoteShell,
  content: RemoteContent,
  paths: readonly string[],
  { maxBytes, tooLong, signal }: ReadManyOptions,
): Promise<ReadonlyMap<string, string>> {
  const stdin = paths.map((path) => `${path}\0`).join('')
  const result = await shell.run(TAR_MANY_SCRIPT, [], { signal, stdin })
  if (result.exitCode === NO_PROGRAM) return await readOneByOne(content, paths, maxBytes, tooLong, signal)
  for (const line of result.stderr.toString('utf8').split('\n')) checkComplaint(line, signal)
  if (result.exitCode === undefined || result.exitCode > 2)
    throw fileError(endError(result), 'read', '/', signal)
  const found = new Map<string, string>()
  for (const { name, type, data } of readTar(result.stdout)) {
    const path = paths.length === 1 ? (paths[0] ?? name) : name
    if (type === 'folder') throw fileError(asFolder(), 'read', path, signal)
    if (type !== 'file') throw notPlain(path)
    if (data.length > maxBytes) throw tooLong(path, maxBytes)
    found.set(path, data.toString('utf8'))
  }
  return found
}

/** `tar: NAME: Cannot open: REASON`; names are printed with their odd characters escaped, so that a line is a line. */
function checkComplaint(line: string, signal: AbortSignal | undefined): void {
  const code = errorCodeOf(line)
  if (code === undefined || code === 'ENOENT' || code === 'ENOTDIR') return
  const name = /^\S*tar: (.*): Cannot /.exec(line)?.[1] ?? ''
  throw fileError(Object.assign(new Error(line), { code, syscall: 'open' }), 'read', name, signal)
}

function asFolder(): Error {
  return Object.assign(new Error('Is a directory'), { code: 'EISDIR', syscall: 'read' })
}

async function readOneByOne(
  content: RemoteContent,
  paths: readonly string[],
  maxBytes: number,
  tooLong: (path: string, maxBytes: number) => Error,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  for (const path of paths) {
    try {
      const pieces: Buffer[] = []
      let bytes = 0
      for await (const piece of (await content.open(path, signal)) as AsyncIterable<Buffer>) {
        bytes += piece.length
        if (bytes > maxBytes) throw tooLong(path, maxBytes)
        pieces.push(piece)
      }
      found.set(path, Buffer.concat(pieces).toString('utf8'))
    } catch (error) {
      const code = systemErrorCode(error)
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw fileError(error, 'read', path, signal)
    }
  }
  return found
}
