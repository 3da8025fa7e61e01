/** How the scheduler answers, for other processes: `status` is another one than the `run` that waits. On this machine. */

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { systemErrorCode } from '../errors.js'
import type { BackendHealth } from '../ports/cluster-backend.js'

const record = z.object({
  schema: z.literal(2),
  state: z.enum(['closed', 'open', 'probing']),
  failures: z.int().nonnegative(),
  lastFailure: z.object({ message: z.string(), atMs: z.number() }).exactOptional(),
  nextTryMs: z.number().exactOptional(),
  notes: z.array(z.string()),
  writtenMs: z.number(),
})

/** A process that was ended cannot take its word back: it holds this long, or this long beyond the next try. */
const STALE_MS = 900_000

export class HealthFile {
  readonly #path: string
  #written = true
  #last = { text: '', atMs: 0 }

  constructor(path: string) {
    this.#path = path
  }

  write(health: BackendHealth, nowMs: number): void {
    const { state, notes } = health
    if (state === 'closed' && notes.length === 0) {
      // The usual case: nothing to do unless there may be a file.
      if (this.#written) rmSync(this.#path, { force: true })
      this.#written = false
      return
    }
    const words = JSON.stringify(health)
    // The same word again, before it is stale: said with every look.
    if (this.#written && words === this.#last.text && nowMs - this.#last.atMs < STALE_MS / 3) return
    this.#last = { text: words, atMs: nowMs }
    const part = `${this.#path}.${process.pid}.part`
    const text = JSON.stringify({ schema: 2, ...health, writtenMs: nowMs })
    writeFileSync(part, `${text}\n`, { mode: 0o600 })
    renameSync(part, this.#path)
    this.#written = true
  }

  /** What another process found out not long ago; undefined: nothing bad. */
  read(nowMs: number): BackendHealth | undefined {
    let text: string
    try {
      text = readFileSync(this.#path, 'utf8')
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined
      throw error
    }
    const parsed = record.safeParse(parseJson(text))
    if (!parsed.success) return undefined
    const { schema: _schema, writtenMs, ...health } = parsed.data
    return Math.max(writtenMs, health.nextTryMs ?? 0) + STALE_MS < nowMs ? undefined : health
  }
}

/** The file is whole or absent; anything else says nothing. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // some other file lies there
  }
}
