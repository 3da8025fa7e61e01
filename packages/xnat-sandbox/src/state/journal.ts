/**
 * Changes on disk: one line of JSON each, appended. What was acknowledged survives the end of the process at any moment;
 * after a power cut the last second may be missing. A line that a crash cut short is dropped when the file is read.
 */

import { open, readFile, rename, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Change } from './records.js'

const SYNC_INTERVAL_MS = 1000
/** Compact when the journal is this many times longer than what is alive, and not small. */
const COMPACT_RATIO = 4
const COMPACT_MIN_LINES = 20_000

export class Journal {
  #handle: FileHandle
  #pending: string[] = []
  #lines: number
  #writing: Promise<void> | undefined
  #syncTimer: NodeJS.Timeout | undefined
  #failure: Error | undefined
  /** Looked at again from this length on: a look goes through all that is alive. */
  #compactFrom = COMPACT_MIN_LINES

  private constructor(
    readonly file: string,
    handle: FileHandle,
    lines: number,
    readonly live: () => Iterable<Change>,
  ) {
    this.#handle = handle
    this.#lines = lines
  }

  /**
   * @param apply - called with every change recorded so far
   * @param live - all that is alive now, for compaction
   */
  static async open(
    file: string,
    apply: (change: Change) => void,
    live: () => Iterable<Change>,
  ): Promise<Journal> {
    const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return Buffer.alloc(0)
      throw error
    })
    let lines = 0
    let good = 0
    while (good < bytes.length) {
      const end = bytes.indexOf(10, good)
      if (end < 0) break
      const line = bytes.toString('utf8', good, end)
      let change: Change
      try {
        change = JSON.parse(line) as Change
      } catch (error) {
        throw new Error(`${file}, line ${lines + 1}: not a journal of the sandbox`, { cause: error })
      }
      apply(change)
      good = end + 1
      lines += 1
    }
    const handle = await open(file, 'a', 0o600)
    await handle.truncate(good)
    const journal = new Journal(file, handle, lines, live)
    await journal.#compactIfLong()
    return journal
  }

  /** Recorded in order; on disk when {@link flush} has returned. */
  append(...changes: readonly Change[]): void {
    for (const change of changes) this.#pending.push(`${JSON.stringify(change)}\n`)
  }

  /** One write for all that wait: many requests at once share it. */
  async flush(): Promise<void> {
    while (this.#pending.length > 0 || this.#writing !== undefined) {
      this.#writing ??= this.#write().finally(() => {
        this.#writing = undefined
      })
      await this.#writing
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  async #write(): Promise<void> {
    const batch = this.#pending
    this.#pending = []
    if (batch.length === 0) return
    try {
      await this.#handle.appendFile(batch.join(''))
      this.#lines += batch.length
      await this.#compactIfLong()
    } catch (error) {
      // The disk is full or gone: memory is now ahead of the disk, so nothing may be acknowledged any more.
      this.#failure = error instanceof Error ? error : new Error(String(error))
      throw this.#failure
    }
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined
      this.#handle.datasync().catch((error: unknown) => {
        this.#failure = error instanceof Error ? error : new Error(String(error))
      })
    }, SYNC_INTERVAL_MS).unref()
  }

  async #compactIfLong(): Promise<void> {
    if (this.#lines < this.#compactFrom) return
    let count = 0
    const pieces: string[] = []
    for (const change of this.live()) {
      pieces.push(`${JSON.stringify(change)}\n`)
      count += 1
      if (count * COMPACT_RATIO > this.#lines) {
        this.#compactFrom = this.#lines * 2
        return
      }
    }
    // What waits in memory is part of what is alive.
    this.#pending = []
    const temporary = `${this.file}.new`
    const next = await open(temporary, 'w', 0o600)
    try {
      await next.writeFile(pieces.join(''))
      await next.sync()
    } finally {
      await next.close()
    }
    await rename(temporary, this.file)
    const folder = await open(dirname(this.file), 'r')
    await folder.sync().finally(() => folder.close())
    await this.#handle.close()
    this.#handle = await open(this.file, 'a', 0o600)
    this.#lines = count
    this.#compactFrom = Math.max(COMPACT_MIN_LINES, count * COMPACT_RATIO)
  }

  async close(): Promise<void> {
    await this.flush()
    clearTimeout(this.#syncTimer)
    await this.#handle.datasync()
    await this.#handle.close()
  }
}
