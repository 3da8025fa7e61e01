/** Checksums of large files in a thread of their own: MD5 alone would halve the speed of a transfer. */

import { Worker } from 'node:worker_threads'

/** Memory that both threads see: nothing is allocated while bytes move. */
const SLOT_BYTES = 1024 * 1024
const SLOTS = 4

/** What the worker gets to begin with. */
export interface HashWork {
  readonly algorithms: readonly string[]
  readonly slots: readonly SharedArrayBuffer[]
}
export type HashOrder = 'end' | { readonly slot: number; readonly bytes: number }
type HashAnswer = number | Readonly<Record<string, string>>

export class ThreadHash {
  readonly #worker: Worker
  readonly #slots = Array.from({ length: SLOTS }, () => new SharedArrayBuffer(SLOT_BYTES))
  /** Slots that may be written. */
  readonly #free = this.#slots.map((_, index) => index)
  /** The slot that is being filled, and how far. */
  #filling: number | undefined
  #filled = 0
  #room: (() => void) | undefined
  #end: ((sums: Readonly<Record<string, string>>) => void) | undefined
  #failed: ((error: Error) => void) | undefined
  #error: Error | undefined

  constructor(algorithms: readonly string[]) {
    this.#worker = new Worker(new URL('./hash-worker.js', import.meta.url), {
      workerData: { algorithms, slots: this.#slots } satisfies HashWork,
      // Flags of ours (a profiler, a debugger) are not for it.
      execArgv: [],
    })
    this.#worker.on('message', (answer: HashAnswer) => {
      if (typeof answer !== 'number') {
        this.#end?.(answer)
        return
      }
      this.#free.push(answer)
      this.#wake()
    })
    this.#worker.on('error', (error) => {
      this.#error = error
      this.#failed?.(error)
      this.#wake()
    })
  }

  #wake(): void {
    const room = this.#room
    this.#room = undefined
    room?.()
  }

  /** The chunk may be used otherwise once this is fulfilled. */
  async update(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      const slot = await this.#slot()
      const memory = this.#slots[slot]
      if (memory === undefined) throw new RangeError(`no slot ${slot}`)
      const bytes = Math.min(SLOT_BYTES - this.#filled, chunk.length - at)
      new Uint8Array(memory).set(chunk.subarray(at, at + bytes), this.#filled)
      this.#filled += bytes
      at += bytes
      if (this.#filled === SLOT_BYTES) this.#hand(slot)
    }
  }

  async #slot(): Promise<number> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error
      this.#filling ??= this.#free.pop()
      if (this.#filling !== undefined) return this.#filling
      await new Promise<void>((resolve) => {
        this.#room = resolve
      })
    }
  }

  #hand(slot: number): void {
    this.#worker.postMessage({ slot, bytes: this.#filled } satisfies HashOrder)
    this.#filling = undefined
    this.#filled = 0
  }

  /** Sums by algorithm, in hex; the thread ends. */
  async digest(): Promise<Readonly<Record<string, string>>> {
    if (this.#filling !== undefined && this.#filled > 0) this.#hand(this.#filling)
    try {
      return await new Promise((resolve, reject) => {
        if (this.#error !== undefined) reject(this.#error)
        this.#end = resolve
        this.#failed = reject
        this.#worker.postMessage('end' satisfies HashOrder)
      })
    } finally {
      await this.close()
    }
  }

  async close(): Promise<void> {
    await this.#worker.terminate()
  }
}
