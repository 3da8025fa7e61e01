import { lstat, opendir, readdir, realpath, stat } from 'node:fs/promises'
import { join, resolve, sep } from 'node:path'
import { AccessDeniedError, InputError, NotFoundError, systemErrorCode } from '@orbweaver/core'
import { shownPath, type ImportProblem } from './problems.js'

/** One usable entry of a folder that is being imported. */
export interface SourceEntry {
  readonly name: string
  /** Relative to the imported folder, with `/`. */
  readonly path: string
  /** Real path; for a link, of what it leads to. */
  readonly absolute: string
  readonly kind: 'file' | 'folder'
}

/**
 * A folder given to an import, read without trust: links may not lead out of it, links to folders are not followed (so
 * no loop can arise), hidden entries and things that are no files are left out, and what cannot be read is named.
 */
export class SourceFolder {
  private constructor(
    /** Real path of the folder. */
    readonly root: string,
    private readonly report: (problem: ImportProblem) => void,
  ) {}

  /**
   * @throws NotFoundError there is no such folder
   * @throws InputError it is not a folder
   * @throws AccessDeniedError it cannot be read
   */
  static async open(directory: string, report: (problem: ImportProblem) => void): Promise<SourceFolder> {
    const shown = shownPath(directory)
    try {
      const root = await realpath(resolve(directory))
      if (!(await stat(root)).isDirectory()) {
        throw new InputError(`Cannot import ${shown}: it is not a folder.`, {
          details: { path: directory },
          hint: 'Name the folder that holds the files.',
        })
      }
      await (await opendir(root)).close()
      return new SourceFolder(root, report)
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'ENOENT' || code === 'ENOTDIR') {
        throw new NotFoundError(`Cannot import ${shown}: there is no such folder.`, {
          details: { path: directory },
          hint: 'Check the path.',
          cause: error,
        })
      }
      if (code === 'EACCES' || code === 'EPERM') {
        throw new AccessDeniedError(`Cannot import ${shown}: this user may not read it.`, {
          details: { path: directory },
          hint: 'Ask its owner for read permission, or run as a user who has it.',
          cause: error,
        })
      }
      throw error
    }
  }

  /** Usable entries of a folder below the root, sorted by name. A folder that cannot be read is a problem and has none. */
  async list(relative: string): Promise<readonly SourceEntry[]> {
    const folder = join(this.root, relative)
    let dirents
    try {
      dirents = await readdir(folder, { withFileTypes: true })
    } catch (error) {
      this.unreadable(relative, error)
      return []
    }
    const entries: SourceEntry[] = []
    // Sorted by code unit, so that the order is the same on every machine and in every locale.
    for (const dirent of dirents.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))) {
      const { name } = dirent
      if (name.startsWith('.')) continue
      const path = relative === '' ? name : `${relative}/${name}`
      const absolute = join(folder, name)
      if (name.includes('\uFFFD')) {
        this.report({
          kind: 'error',
          path: shownPath(path),
          reason: 'its name is not valid UTF-8',
          hint: 'Rename it.',
        })
      } else if (dirent.isFile()) entries.push({ name, path, absolute, kind: 'file' })
      else if (dirent.isDirectory()) entries.push({ name, path, absolute, kind: 'folder' })
      else if (dirent.isSymbolicLink()) {
        const entry = await this.follow(name, path, absolute)
        if (entry !== undefined) entries.push(entry)
      } else {
        this.report({
          kind: 'skipped',
          path: shownPath(path),
          reason: 'it is neither a file nor a folder',
        })
      }
    }
    return entries
  }

  /** Every usable file below a folder, depth first in sorted order. */
  async *walk(relative: string, signal?: AbortSignal): AsyncGenerator<SourceEntry> {
    // An explicit stack: folders may be nested deeper than the call stack is meant for.
    const stack: SourceEntry[][] = [[...(await this.list(relative))].reverse()]
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const entry = top.pop()
      if (entry === undefined) {
        stack.pop()
        continue
      }
      signal?.throwIfAborted()
      if (entry.kind === 'folder') stack.push([...(await this.list(entry.path))].reverse())
      else yield entry
    }
  }

  /** Say that something below the root could not be read. Errors of other kinds than the file system's are thrown on. */
  unreadable(relative: string, error: unknown): void {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    const denied = code === 'EACCES' || code === 'EPERM'
    this.report({
      kind: 'error',
      path: shownPath(relative),
      reason: denied ? 'this user may not read it' : `it cannot be read (${code})`,
      hint: denied ? 'Ask its owner for read permission.' : 'Check the disk and try again.',
    })
  }

  private async follow(name: string, path: string, absolute: string): Promise<SourceEntry | undefined> {
    let target: string
    try {
      target = await realpath(absolute)
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'ENOENT') {
        this.report({
          kind: 'error',
          path: shownPath(path),
          reason: 'it is a link to a file that is not there',
          hint: 'Fetch the content first (for a DataLad dataset: datalad get), or remove the link.',
        })
      } else if (code === 'ELOOP') {
        this.report({
          kind: 'error',
          path: shownPath(path),
          reason: 'it is a link that leads back to itself',
          hint: 'Remove the link.',
        })
      } else this.unreadable(path, error)
      return undefined
    }
    if (target !== this.root && !target.startsWith(this.root + sep)) {
      this.report({
        kind: 'error',
        path: shownPath(path),
        reason: 'it is a link that leads out of the folder',
        hint: 'Put the file itself there, or import the folder it leads to.',
      })
      return undefined
    }
    const found = await lstat(target)
    if (found.isFile()) return { name, path, absolute: target, kind: 'file' }
    this.report({
      kind: 'skipped',
      path: shownPath(path),
      reason: 'it is a link to a folder; links to folders are not followed',
      hint: 'What it leads to is imported where it is, if it is inside the folder.',
    })
    return undefined
  }
}
