/** Tables as XNAT sends them, read row by row: memory used does not grow with the table. */

import { StringDecoder } from 'node:string_decoder'
import type { Readable } from 'node:stream'
import { StoreProtocolError, StoreUnavailableError } from '@orbweaver/core'

/** One row. All cells are text; nothing is `''`. Keys are in lower case: servers differ in the case of path columns. */
export type XnatRow = Readonly<Record<string, string>>

/** Longest row taken; a longer one is no table of XNAT's. */
const MAX_ROW_CHARS = 16 * 1024 * 1024
const MAX_HEAD_CHARS = 4 * 1024 * 1024

/**
 * The rows of `{"ResultSet":{"Result":[{…},…],"totalRecords":"n"}}`. A reply that ends early is an error, never a short table.
 *
 * @throws StoreProtocolError it is no such table
 * @throws StoreUnavailableError it was cut off
 */
export async function* readResultSet(body: Readable): AsyncGenerator<XnatRow> {
  const scanner = new RowScanner()
  const decoder = new StringDecoder('utf8')
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      for (const row of scanner.push(decoder.write(chunk))) yield row
    }
    for (const row of scanner.push(decoder.end())) yield row
    scanner.end()
  } finally {
    body.destroy()
  }
}

/** A table that is there whole. */
export function readTable(text: string): XnatRow[] {
  const scanner = new RowScanner()
  const rows = scanner.push(text)
  scanner.end()
  return rows
}

/** A small state machine: finds `"Result":[`, then cuts out one flat object after the other for `JSON.parse`. */
class RowScanner {
  #text = ''
  #at = 0
  #state: 'head' | 'rows' | 'tail' = 'head'
  #tail = ''
  #rows = 0

  push(text: string): XnatRow[] {
    if (this.#state === 'tail') {
      this.#tail += text
      return []
    }
    this.#text = this.#text.slice(this.#at) + text
    this.#at = 0
    if (this.#state === 'head' && !this.#findRows()) return []
    const rows: XnatRow[] = []
    for (;;) {
      const row = this.#nextRow()
      if (row === undefined) return rows
      rows.push(row)
    }
  }

  #findRows(): boolean {
    // "Columns" may come first; it never holds this text with the bracket.
    const found = /"Result"\s*:\s*\[/.exec(this.#text)
    if (found === null) {
      if (this.#text.length > MAX_HEAD_CHARS) throw noTable('it does not begin with a ResultSet')
      return false
    }
    if (!/^\s*\{\s*"ResultSet"/.test(this.#text)) throw noTable('it does not begin with a ResultSet')
    this.#at = found.index + found[0].length
    this.#state = 'rows'
    return true
  }

  #nextRow(): XnatRow | undefined {
    const text = this.#text
    let at = this.#at
    while (at < text.length && /[\s,]/.test(text.charAt(at))) at += 1
    if (at >= text.length) {
      this.#at = at
      return undefined
    }
    if (text.charAt(at) === ']') {
      this.#state = 'tail'
      this.#tail = text.slice(at)
      this.#at = text.length
      return undefined
    }
    const end = endOfObject(text, at)
    if (end === undefined) {
      this.#at = at
      if (text.length - at > MAX_ROW_CHARS) throw noTable('a row has no end')
      return undefined
    }
    this.#at = end
    this.#rows += 1
    return toRow(text.slice(at, end))
  }

  end(): void {
    if (this.#state !== 'tail' || !/\}\s*\}\s*$/.test(this.#tail)) {
      throw new StoreUnavailableError(`A table of XNAT broke off after ${this.#rows} rows.`, {
        details: { rows: this.#rows },
        hint: 'Nothing was learnt from it; it is asked for again.',
      })
    }
  }
}

/** Position after the closing brace; undefined: not all there yet. */
function endOfObject(text: string, start: number): number | undefined {
  let depth = 0
  for (let at = start; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case 0x22: {
        at = endOfString(text, at)
        if (at < 0) return undefined
        break
      }
      case 0x7b:
        depth += 1
        break
      case 0x7d:
        depth -= 1
        if (depth === 0) return at + 1
    }
  }
  return undefined
}

/** Position of the closing quote; -1: not there yet. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0
    while (text.charCodeAt(at - 1 - backslashes) === 0x5c) backslashes += 1
    if (backslashes % 2 === 0) return at
  }
  return -1
}

function toRow(json: string): XnatRow {
  let cells: unknown
  try {
    cells = JSON.parse(json)
  } catch (error) {
    throw new StoreProtocolError('A row of a table of XNAT cannot be read.', {
      details: { raw: json.slice(0, 500) },
      cause: error,
    })
  }
  const row: Record<string, string> = Object.create(null) as Record<string, string>
  for (const [key, value] of Object.entries(cells as Record<string, unknown>)) {
    row[key.toLowerCase()] = value === null || value === undefined ? '' : textOf(value)
  }
  return row
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function noTable(why: string): StoreProtocolError {
  return new StoreProtocolError(`A table was asked of XNAT, and ${why}.`)
}
