/** Files of the far side, as `FileTransfer` promises them. */

import {
  InputError,
  checkAbsolute,
  checkContained,
  onFile,
  printablePath,
  type FileTransfer,
} from '@orbweaver/core'
import { createBatch } from './batch.js'
import { RemoteContent, notPlain } from './content.js'
import { fetchFile } from './fetching.js'
import { createGathering } from './gather.js'
import { checksumsBelow, listBelow } from './looking.js'
import { partBeside } from './parts.js'
import { good, isMissing, makeFolder, tooLong } from './problems.js'
import { readManyByTar } from './read-many.js'
import { endError } from './remote-errors.js'
import { LONG_MS, type RemoteShell } from './remote-shell.js'
import {
  CLEAR_SCRIPT,
  EXISTS_SCRIPT,
  NOT_PLAIN,
  REMOVE_SCRIPT,
  SPACE_SCRIPT,
  TEXT_SCRIPT,
} from './scripts.js'
import { Storing } from './storing.js'

/** Default of `read` and of each file of `readMany`. */
const MAX_TEXT_BYTES = 4 * 1024 ** 2

export interface SshFilesOptions {
  readonly sftp: boolean
}

export function createSshFiles(shell: RemoteShell, options: SshFilesOptions): FileTransfer {
  const content = new RemoteContent(shell, options.sftp)
  const store = new Storing(shell, content)

  return {
    async mkdir(path, { signal } = {}) {
      await onFile('make the folder', path, signal, () => makeFolder(shell, path, signal))
    },

    async write(path, source, entry, { signal } = {}) {
      try {
        await onFile('write', path, signal, () => store.stream(path, source, entry, signal))
      } finally {
        source.destroy()
      }
    },

    async put(localPath, path, { signal, mode = 0o600 } = {}) {
      checkAbsolute(localPath)
      await onFile('write', path, signal, () => store.local(localPath, path, mode, signal))
    },

    async get(path, localPath, { signal } = {}) {
      checkAbsolute(localPath)
      await onFile('read', path, signal, () => fetchFile(shell, content, path, localPath, signal))
    },

    async open(path, { signal } = {}) {
      return await onFile('read', path, signal, () => content.open(path, signal))
    },

    async read(path, { signal, maxBytes = MAX_TEXT_BYTES, tail = false } = {}) {
      return await onFile('read', path, signal, async () => {
        // One byte more than allowed tells "exactly full" from "too much".
        const words = [path, String(maxBytes + 1), tail ? 'tail' : 'head']
        const result = await shell.run(TEXT_SCRIPT, words, { signal, maxOutputBytes: maxBytes + 1 })
        if (result.exitCode === NOT_PLAIN) throw notPlain(path)
        const bytes = good(result).stdout
        if (bytes.length <= maxBytes) return bytes.toString('utf8')
        if (!tail) throw tooLong(path, maxBytes)
        return tailText(bytes.subarray(1))
      })
    },

    async readMany(paths, { signal } = {}) {
      for (const path of paths) checkAbsolute(path)
      signal?.throwIfAborted()
      if (paths.length === 0) return new Map()
      return await readManyByTar(shell, content, [...new Set(paths)], {
        maxBytes: MAX_TEXT_BYTES,
        tooLong,
        signal,
      })
    },

    async writeAtomic(path, text, { signal, mode = 0o600 } = {}) {
      await onFile('write', path, signal, () => store.buffer(path, Buffer.from(text), mode, false, signal))
    },

    async rename(from, to, { signal } = {}) {
      checkAbsolute(to)
      await onFile(`rename to ${printablePath(to)}`, from, signal, async () => {
        good(await shell.program(['mv', '-fT', '--', from, to], { signal, once: true }))
      })
    },

    async list(path, { signal } = {}) {
      const entries = await onFile('list', path, signal, () => listBelow(shell, content, path, signal))
      return entries.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
    },

    async checksums(path, files, { signal } = {}) {
      checkAbsolute(path)
      for (const file of files) checkContained(path, file)
      signal?.throwIfAborted()
      if (files.length === 0) return new Map()
      return await checksumsBelow(shell, content, path, files, signal)
    },

    async exists(path, { signal } = {}) {
      return await onFile('look for', path, signal, async () => {
        const result = await shell.run(EXISTS_SCRIPT, [path], { signal })
        return result.exitCode === 0 || !isMissing(result)
      })
    },

    async remove(path, { signal } = {}) {
      checkAbsolute(path)
      const plain = path.replace(/\/+$/, '')
      if (plain === '') throw new InputError('The root of the file system cannot be removed.')
      await onFile('remove', plain, signal, async () => {
        const words = (): readonly string[] => [plain, partBeside(plain, 'gone')]
        const result = await shell.run(REMOVE_SCRIPT, words, { signal, timeoutMs: LONG_MS })
        if (result.exitCode !== 0 && !isMissing(result)) throw endError(result)
      })
    },

    async clear(path, { signal } = {}) {
      const plain = path.replace(/\/+$/, '')
      await onFile('make the folder', plain, signal, async () => {
        const words = (): readonly string[] => [plain, partBeside(plain, 'gone')]
        good(await shell.run(CLEAR_SCRIPT, words, { signal, timeoutMs: LONG_MS }))
      })
    },

    async freeSpace(path, { signal } = {}) {
      return await onFile('ask for the free space of', path, signal, async () => {
        const [blocks, size] = good(await shell.run(SPACE_SCRIPT, [path], { signal }))
          .stdout.toString('latin1')
          .trim()
          .split(' ')
        return Number(blocks) * Number(size)
      })
    },

    batch(folder) {
      checkAbsolute(folder)
      return createBatch(shell, folder, store)
    },

    gather(folder, files) {
      checkAbsolute(folder)
      return createGathering(shell, content, folder, files)
    },
  }
}

/** A tail may begin in the middle of a character; the rest of that character is left out. */
function tailText(bytes: Buffer): string {
  let start = 0
  while (start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++
  return bytes.toString('utf8', start)
}
