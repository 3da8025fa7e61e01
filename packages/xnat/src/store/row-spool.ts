/** Rows on their way into a snapshot, sorted into groups: in memory while they are few, else in files of this machine. */

import { createReadStream } from 'node:fs'
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { systemErrorCode } from '@orbweaver/core'

/** Cells of one row, the kind of row first. */
export type SpooledRow = readonly string[]

export class RowSpool {
  readonly #mostInMemory: number
  #groups = new Map<number, SpooledRow[]>()
  #inMemory = 0
  #folder: string | undefined

  /** @param mostInMemory - rows. Default 50 000 */
  constructor(mostInMemory = 50_000) {
    this.#mostInMemory = mostInMemory
  }

  async add(group: number, row: SpooledRow): Promise<void> {
    const rows = this.#groups.get(group)
    if (rows === undefined) this.#groups.set(group, [row])
    else rows.push(row)
    this.#inMemory += 1
    if (this.#inMemory > this.#mostInMemory) await this.#spill()
  }

  async #spill(): Promise<void> {
    const groups = this.#groups
    this.#groups = new Map()
    this.#inMemory = 0
    this.#folder ??= await mkdtemp(join(tmpdir(), `orbweaver-xnat-rows-${process.pid}-`))
    for (const [group, rows] of groups) {
      const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('')
      await appendFile(this.#file(group), lines, { mode: 0o600 })
    }
  }

  #file(group: number): string {
    return join(this.#folder ?? '', `${group}.jsonl`)
  }

  /** All rows of a group, in the order they came; the group is empty afterwards. */
  async take(group: number): Promise<readonly SpooledRow[]> {
    const rows: SpooledRow[] = []
    if (this.#folder !== undefined) {
      try {
        const lines = createInterface({ input: createReadStream(this.#file(group)), crlfDelay: Infinity })
        for await (const line of lines) rows.push(JSON.parse(line) as SpooledRow)
      } catch (error) {
        if (systemErrorCode(error) !== 'ENOENT') throw error
      }
    }
    rows.push(...(this.#groups.get(group) ?? []))
    this.#groups.delete(group)
    return rows
  }

  async close(): Promise<void> {
    this.#groups.clear()
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true })
    this.#folder = undefined
  }
}
