/** A transport in memory: files that keep every promise of the port, and a runner that runs nothing. */

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  InputError,
  NoSpaceError,
  NotFoundError,
  NotSupportedError,
  TransportUnavailableError,
} from '../errors.js'
import type { FileEntry } from '../domain/archive.js'
import type { CallOptions } from '../ports/options.js'
import type {
  CommandResult,
  CommandRunner,
  CommandSpec,
  FileTransfer,
  ListedFile,
  Transport,
} from '../ports/transport.js'
import { createLocalFiles, verifying } from '../transport/local-files.js'
import { fileError } from '../transport/system-errors.js'

type Node =
  | { readonly kind: 'folder'; readonly mode: number }
  | { readonly kind: 'file'; readonly mode: number; readonly content: Buffer }
  | { readonly kind: 'link'; readonly target: string }

export interface InMemoryFilesOptions {
  /** Default `memory`. */
  readonly name?: string
  /** Room for all files together. Default 1 TiB. */
  readonly spaceBytes?: number
}

const MAX_TEXT_BYTES = 4 * 1024 ** 2

/** A `Transport` in memory. `run` throws `NotSupportedError`: there is no machine behind it. */
export class InMemoryFiles implements Transport, FileTransfer {
  readonly name: string
  readonly runner: CommandRunner
  readonly files: FileTransfer = this
  /** Room for all files together; may be changed at any time. */
  spaceBytes: number
  /** While set every call throws `TransportUnavailableError`. */
  away = false
  readonly #nodes = new Map<string, Node>([['/', { kind: 'folder', mode: 0o700 }]])

  constructor(options: InMemoryFilesOptions = {}) {
    this.name = options.name ?? 'memory'
    this.spaceBytes = options.spaceBytes ?? 1024 ** 4
    this.runner = {
      run: async (command: CommandSpec, { signal }: CallOptions = {}): Promise<CommandResult> => {
        signal?.throwIfAborted()
        throw new NotSupportedError(
          `${command.argv[0] ?? 'The command'} cannot be run: the in-memory transport has no machine.`,
        )
      },
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  // -- FileTransfer

  async mkdir(path: string, options?: CallOptions): Promise<void> {
    this.#makeFolder(this.#enter(path, options))
  }

  async write(path: string, content: Readable, entry: FileEntry, options: CallOptions = {}): Promise<void> {
    try {
      const target = this.#enter(path, options)
      const checked = verifying(entry, path)
      const chunks: Buffer[] = []
      await pipeline(
        content,
        checked,
        async (stream: AsyncIterable<Buffer>) => {
          for await (const chunk of stream) chunks.push(chunk)
        },
        options.signal === undefined ? {} : { signal: options.signal },
      )
      this.#makeFolder(parentOf(target))
      this.#store(target, Buffer.concat(chunks), 0o600)
    } catch (error) {
      throw fileError(error, 'write', path, options.signal)
    } finally {
      content.destroy()
    }
  }

  async put(
    localPath: string,
    path: string,
    options: CallOptions & { readonly mode?: number } = {},
  ): Promise<void> {
    const target = this.#enter(path, options)
    let content: Buffer
    try {
      content = await readFile(localPath, { signal: options.signal })
    } catch (error) {
      throw fileError(error, 'read', localPath, options.signal)
    }
    this.#makeFolder(parentOf(target))
    this.#store(target, content, options.mode ?? 0o600)
  }

  async get(path: string, localPath: string, options?: CallOptions): Promise<void> {
    const content = this.#content(this.#enter(path, options))
    await createLocalFiles().write(
      localPath,
      Readable.from([content]),
      { path: localPath, bytes: content.length },
      options,
    )
  }

  async open(path: string, options: CallOptions = {}): Promise<Readable> {
    const content = this.#content(this.#enter(path, options))
    return Readable.from(slices(content), {
      objectMode: false,
      ...(options.signal !== undefined && { signal: options.signal }),
    })
  }

  async read(
    path: string,
    options: CallOptions & { readonly maxBytes?: number; readonly tail?: boolean } = {},
  ): Promise<string> {
    const content = this.#content(this.#enter(path, options))
    const { maxBytes = MAX_TEXT_BYTES, tail = false } = options
    if (content.length <= maxBytes) return content.toString('utf8')
    if (!tail) {
      throw new InputError(`Cannot read ${path}: it has more than ${maxBytes} bytes.`, {
        details: { path, maxBytes },
      })
    }
    let start = content.length - maxBytes
    while (start < content.length && ((content[start] ?? 0) & 0xc0) === 0x80) start++
    return content.toString('utf8', start)
  }

  async readMany(paths: readonly string[], options?: CallOptions): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>()
    for (const path of paths) {
      if (await this.exists(path, options)) found.set(path, await this.read(path, options))
    }
    return found
  }

  async writeAtomic(
    path: string,
    text: string,
    options: CallOptions & { readonly mode?: number } = {},
  ): Promise<void> {
    const target = this.#enter(path, options)
    const parent = this.#nodes.get(parentOf(target))
    if (parent?.kind !== 'folder') throw missing('write', path)
    this.#store(target, Buffer.from(text), options.mode ?? 0o600)
  }

  async rename(from: string, to: string, options?: CallOptions): Promise<void> {
    const source = this.#enter(from, options)
    const target = clean(to)
    const node = this.#nodes.get(source)
    if (node === undefined || this.#nodes.get(parentOf(target))?.kind !== 'folder')
      throw missing('rename', from)
    if (node.kind === 'folder') {
      if (target.startsWith(`${source}/`))
        throw new InputError(`Cannot rename ${from} to ${to}: it would lie inside itself.`)
      for (const [path, child] of [...this.#nodes]) {
        if (!path.startsWith(`${source}/`)) continue
        this.#nodes.delete(path)
        this.#nodes.set(target + path.slice(source.length), child)
      }
    }
    this.#nodes.delete(source)
    this.#nodes.set(target, node)
  }

  async list(path: string, options?: CallOptions): Promise<readonly ListedFile[]> {
    const root = this.#enter(path, options)
    const node = this.#nodes.get(root)
    if (node === undefined) return []
    if (node.kind !== 'folder') throw missing('list', path)
    const prefix = root === '/' ? '/' : `${root}/`
    return [...this.#nodes]
      .filter(([below]) => below.startsWith(prefix) && below !== root)
      .map(([below, { kind, ...rest }]) => ({
        path: below.slice(prefix.length),
        bytes: 'content' in rest ? rest.content.length : 0,
        kind,
      }))
      .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  }

  async checksums(
    path: string,
    files: readonly string[],
    options?: CallOptions,
  ): Promise<ReadonlyMap<string, string>> {
    const root = this.#enter(path, options)
    return new Map(
      files.map((file) => {
        if (file.startsWith('/') || file.split('/').some((part) => part === '..' || part === '')) {
          throw new InputError(`File path ${JSON.stringify(file)} does not stay inside its folder.`)
        }
        return [
          file,
          createHash('sha256')
            .update(this.#content(`${root}/${file}`))
            .digest('hex'),
        ] as const
      }),
    )
  }

  async exists(path: string, options?: CallOptions): Promise<boolean> {
    return this.#resolve(this.#enter(path, options)) !== undefined
  }

  async remove(path: string, options?: CallOptions): Promise<void> {
    const root = this.#enter(path, options)
    if (root === '/') throw new InputError('The root of the file system cannot be removed.')
    this.#nodes.delete(root)
    for (const below of [...this.#nodes.keys()]) if (below.startsWith(`${root}/`)) this.#nodes.delete(below)
  }

  async freeSpace(path: string, options?: CallOptions): Promise<number> {
    if (this.#resolve(this.#enter(path, options)) === undefined)
      throw missing('ask for the free space of', path)
    return Math.max(0, this.spaceBytes - this.#usedBytes())
  }

  // -- for tests

  /** A symbolic link. */
  link(target: string, path: string): void {
    this.#nodes.set(clean(path), { kind: 'link', target: clean(target) })
  }

  /** Permission bits of a file or folder. */
  mode(path: string): number {
    const node = this.#nodes.get(clean(path))
    if (node === undefined || node.kind === 'link') throw missing('look at', path)
    return node.mode
  }

  /** Paths of all plain files, sorted. */
  paths(): readonly string[] {
    return [...this.#nodes]
      .filter(([, { kind }]) => kind === 'file')
      .map(([path]) => path)
      .sort()
  }

  // -- pieces

  #enter(path: string, { signal }: CallOptions = {}): string {
    if (!path.startsWith('/')) throw new TypeError(`${JSON.stringify(path)} is not an absolute path`)
    signal?.throwIfAborted()
    if (this.away) throw new TransportUnavailableError('The in-memory files cannot be reached.')
    return clean(path)
  }

  #resolve(path: string): Exclude<Node, { kind: 'link' }> | undefined {
    let node = this.#nodes.get(path)
    for (let links = 0; node?.kind === 'link'; links++) {
      if (links > 10) return undefined
      node = this.#nodes.get(node.target)
    }
    return node
  }

  #content(path: string): Buffer {
    const node = this.#resolve(path)
    if (node === undefined) throw missing('read', path)
    if (node.kind !== 'file') throw new InputError(`Cannot read ${path}: it is not a plain file.`)
    return node.content
  }

  #makeFolder(path: string): void {
    const parts = path.split('/').filter(Boolean)
    for (let depth = 1; depth <= parts.length; depth++) {
      const folder = `/${parts.slice(0, depth).join('/')}`
      const node = this.#resolve(folder)
      if (node === undefined) this.#nodes.set(folder, { kind: 'folder', mode: 0o700 })
      else if (node.kind !== 'folder') {
        throw new InputError(`Cannot make the folder ${path}: a file is in its place.`, { details: { path } })
      }
    }
  }

  #store(path: string, content: Buffer, mode: number): void {
    const before = this.#nodes.get(path)
    if (before?.kind === 'folder') throw new InputError(`Cannot write ${path}: it is a folder.`)
    const replaced = before?.kind === 'file' ? before.content.length : 0
    if (this.#usedBytes() - replaced + content.length > this.spaceBytes) {
      throw new NoSpaceError(`Cannot write ${path}: the in-memory disk is full.`, {
        details: { path },
        hint: 'Free some space there; the work goes on by itself.',
      })
    }
    this.#nodes.set(path, { kind: 'file', mode, content })
  }

  #usedBytes(): number {
    let bytes = 0
    for (const node of this.#nodes.values()) if (node.kind === 'file') bytes += node.content.length
    return bytes
  }
}

function clean(path: string): string {
  return `/${path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

function missing(doing: string, path: string): NotFoundError {
  return new NotFoundError(`Cannot ${doing} ${path}: it is not there.`, { details: { path } })
}

function* slices(content: Buffer): Iterable<Buffer> {
  for (let start = 0; start < content.length; start += 65_536) yield content.subarray(start, start + 65_536)
}
