/** How the scheduler answers, for other processes: `status` is another one than the `run` that waits. On this machine. */

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { systemErrorCode } from '../errors.js'
import type { BackendHealth } from '../ports/cluster-backend.js'

const record = z.object({
  schema: z.literal(1),
  state: z.enum(['open', 'probing']),
  failures: z.int().positive(),
  lastFailure: z.object({ message: z.string(), atMs: z.number() }),
  nextTryMs: z.number(),
})

/** A process that was ended cannot take its word back: it holds this long beyond the next try. */
const STALE_MS = 900_000

export class HealthFile {
  readonly #path: string
  #written = true

  constructor(path: string) {
    this.#path = path
  }

  write(health: BackendHealth): void {
    const { state, failures, lastFailure, nextTryMs } = health
    if (state === 'closed') {
      // A success is the usual case: nothing to do unless there may be a file.
      if (this.#written) rmSync(this.#path, { force: true })
      this.#written = false
      return
    }
    const part = `${this.#path}.${process.pid}.part`
    const text = JSON.stringify({ schema: 1, state, failures, lastFailure, nextTryMs })
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
    if (!parsed.success || parsed.data.nextTryMs + STALE_MS < nowMs) return undefined
    const { schema: _schema, ...health } = parsed.data
    return { ...health, notes: [] }
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
