/** A folder of this machine as the source or the target of a transfer. */

import { lstat, readlink } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { InputError, systemErrorCode } from '../errors.js'
import { checkFilePath } from '../domain/labels.js'
import type { FileEntry } from '../domain/archive.js'
import type { CallOptions } from '../ports/options.js'
import type { FileSink, FileSource } from '../ports/data-store.js'
import { createLocalFiles } from './local-files.js'
import { fileError, printablePath } from './system-errors.js'

/**
 * The files of a folder, to be uploaded.
 *
 * @param files - which, with paths relative to the folder. Default: every file in it, with SHA-256 checksums, so that
 * an archive can tell which it has already
 * @throws InputError the folder holds a link or something else that is no plain file: leaving it out would lose it silently
 */
export async function createFolderSource(
  folder: string,
  files?: readonly FileEntry[],
  options: CallOptions = {},
): Promise<FileSource> {
  const root = resolve(folder)
  const transfer = createLocalFiles()
  const entries = files ?? (await scan(root, options))
  for (const { path } of entries) checkFilePath(path)
  return {
    files: entries,
    open: (path, callOptions) => transfer.open(join(root, checkFilePath(path)), callOptions),
    localPath: (path) => join(root, checkFilePath(path)),
  }
}

async function scan(root: string, options: CallOptions): Promise<readonly FileEntry[]> {
  const transfer = createLocalFiles()
  const listed = (await transfer.list(root, options)).filter(({ kind }) => kind !== 'folder')
  const odd = listed.find(({ kind }) => kind !== 'file')
  if (odd !== undefined) {
    throw new InputError(
      `Cannot take the files of ${printablePath(root)}: ${printablePath(odd.path)} is ${odd.kind === 'link' ? 'a link' : 'no plain file'}.`,
      {
        details: { folder: root, path: odd.path },
        hint: 'Put a copy of the file in its place, or take it out.',
      },
    )
  }
  const sums = await transfer.checksums(
    root,
    listed.map(({ path }) => path),
    options,
  )
  return listed.map(({ path, bytes }) => {
    const hex = sums.get(path)
    return { path, bytes, ...(hex !== undefined && { checksum: { algorithm: 'sha256', hex } as const }) }
  })
}

/**
 * A folder that receives files; it is made when the first one comes. Sizes, and checksums where they are announced, are
 * checked before a file appears. A link inside the folder is never written through.
 */
export function createFolderSink(folder: string): FileSink {
  const root = resolve(folder)
  const transfer = createLocalFiles()
  return {
    async write(path, content, entry, options) {
      try {
        await checkInside(root, path)
      } catch (error) {
        content.destroy()
        throw error
      }
      await transfer.write(join(root, path), content, entry, options)
    },
    async copyFrom(path, localPath, options) {
      await checkInside(root, path)
      await transfer.put(localPath, join(root, path), options)
    },
  }
}

/** No part of the way from the root to the file is a link. The root itself may be reached through one. */
async function checkInside(root: string, path: string): Promise<void> {
  const parts = dirname(join('/', checkFilePath(path))).split(sep)
  let current = root
  for (const part of parts.filter((name) => name !== '')) {
    current = join(current, part)
    try {
      if ((await lstat(current)).isSymbolicLink()) {
        throw new InputError(
          `Cannot write ${printablePath(path)} in ${printablePath(root)}: ${printablePath(current)} is a link to ${printablePath(await readlink(current))}.`,
          { details: { folder: root, path }, hint: 'Remove the link.' },
        )
      }
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return
      throw fileError(error, 'look at', current)
    }
  }
}
