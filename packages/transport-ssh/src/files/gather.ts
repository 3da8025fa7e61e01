/** Many small files of one folder, fetched a few hundred at a time: each comes in a tar with those that follow it in the list. */

import { Readable } from 'node:stream'
import { checkContained, onFile, type CallOptions, type FileEntry, type FileGathering } from '@orbweaver/core'
import { withAbort } from '../connection/connection.js'
import type { RemoteContent } from './content.js'
import type { RemoteShell } from './remote-shell.js'
import { TAR_BELOW_SCRIPT } from './scripts.js'
import { readTar } from './tar.js'

/** Larger files are opened by themselves. */
const PACKED_BYTES = 256 * 1024
/** Of one tar. It is held in memory. */
const TAR_BYTES = 2 * 1024 ** 2
const TAR_FILES = 500
/** Tars held at once: the one before, the one that is read, and the next, which is on its way meanwhile. */
const TARS_HELD = 3

interface Tar {
  readonly names: string[]
  bytes: number
  content?: Promise<Map<string, Buffer>>
}

export function createGathering(
  shell: RemoteShell,
  content: RemoteContent,
  folder: string,
  files: readonly FileEntry[],
): FileGathering {
  return new TarGathering(shell, content, folder.replace(/\/+$/, ''), files)
}

class TarGathering implements FileGathering {
  readonly #shell: RemoteShell
  readonly #content: RemoteContent
  readonly #folder: string
  readonly #tars: Tar[] = []
  readonly #tarOf = new Map<string, number>()
  /** In the order in which they were asked for. */
  readonly #held: Tar[] = []
  readonly #closed = new AbortController()

  constructor(shell: RemoteShell, content: RemoteContent, folder: string, files: readonly FileEntry[]) {
    this.#shell = shell
    this.#content = content
    this.#folder = folder
    for (const { path, bytes } of files) {
      checkContained(folder, path)
      if (bytes > PACKED_BYTES) continue
      let tar = this.#tars.at(-1)
      if (tar === undefined || tar.bytes + bytes > TAR_BYTES || tar.names.length >= TAR_FILES)
        this.#tars.push((tar = { names: [], bytes: 0 }))
      tar.names.push(path)
      tar.bytes += bytes
      this.#tarOf.set(path, this.#tars.length - 1)
    }
  }

  async open(path: string, { signal }: CallOptions = {}): Promise<Readable> {
    checkContained(this.#folder, path)
    const whole = `${this.#folder}/${path}`
    return await onFile('read', whole, signal, async () => {
      const data = await this.#take(path, signal)
      if (data !== undefined) return streamOf(data)
      // Also what was gone, or changed into something else, when the tar was made: opened by itself it says why.
      return await this.#content.open(whole, signal)
    })
  }

  async close(): Promise<void> {
    this.#closed.abort(new Error('the gathering was closed'))
    await Promise.allSettled(this.#held.splice(0).map(async (tar) => await tar.content))
  }

  /** A file is given once; who wants it again gets it by itself. */
  async #take(path: string, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
    const index = this.#tarOf.get(path)
    const tar = index === undefined ? undefined : this.#tars[index]
    if (index === undefined || tar === undefined || tar.names.length < 2) return undefined
    this.#tarOf.delete(path)
    const fetched = this.#fetch(tar)
    const next = this.#tars[index + 1]
    if (next !== undefined && next.names.length > 1) void this.#fetch(next)
    const content = await withAbort(fetched, signal)
    const data = content.get(path)
    content.delete(path)
    return data
  }

  #fetch(tar: Tar): Promise<Map<string, Buffer>> {
    if (tar.content !== undefined) return tar.content
    // What is given up of the oldest is fetched by itself when it is wanted.
    if (this.#held.length >= TARS_HELD) {
      const oldest = this.#held.shift()?.content
      if (oldest !== undefined) letGo(oldest)
    }
    this.#held.push(tar)
    tar.content = this.#read(tar.names)
    tar.content.catch(() => undefined) // whoever wants a file of it is told
    return tar.content
  }

  async #read(names: readonly string[]): Promise<Map<string, Buffer>> {
    const found = new Map<string, Buffer>()
    const result = await this.#shell.run(TAR_BELOW_SCRIPT, [this.#folder], {
      signal: this.#closed.signal,
      // With a folder: to tar a name with a dash would be an option.
      stdin: names.map((name) => `./${name}\0`).join(''),
    })
    // Something was gone, or changed: all of them are opened by themselves, and those that cannot be say so.
    if (result.exitCode !== 0) return found
    for (const { name, type, data } of readTar(result.stdout)) {
      if (type === 'file') found.set(name.replace(/^\.\//, ''), data)
    }
    return found
  }
}

function letGo(content: Promise<Map<string, Buffer>>): void {
  content.then((found) => found.clear()).catch(() => undefined) // whoever wants a file of it is told
}

function streamOf(data: Buffer): Readable {
  return new Readable({
    read() {
      this.push(data)
      this.push(null)
    },
  })
}
