/**
 * `--json`: one object on stdout, `{ "schema": "orbweaver/<command>/1", … }`. The number changes when a field is
 * renamed or removed or changes its meaning; new fields may come at any time.
 */

import type { Terminal } from './terminal.js'

/** A whole answer that fits in memory. */
export async function writeJson(
  terminal: Terminal,
  command: string,
  fields: Readonly<Record<string, unknown>>,
): Promise<void> {
  await terminal.write(`${JSON.stringify({ schema: schemaName(command), ...fields }, undefined, 2)}\n`)
}

export function schemaName(command: string): string {
  return `orbweaver/${command}/1`
}

/**
 * One object with a list of any length in it, written as the items come. Valid JSON at the end even when the list breaks
 * off with an error: then the object has a field `error`.
 */
export class JsonList {
  private items = 0

  constructor(
    private readonly terminal: Terminal,
    private readonly command: string,
    private readonly name: string,
  ) {}

  async add(item: unknown): Promise<void> {
    const text = JSON.stringify(item, undefined, 2).replaceAll('\n', '\n    ')
    const before = this.items === 0 ? this.opening() : ',\n'
    this.items += 1
    await this.terminal.write(`${before}    ${text}`)
  }

  /** Closes the list and the object. */
  async end(fields: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const opening = this.items === 0 ? this.opening().trimEnd() : ''
    const rest = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => {
        const text = JSON.stringify(value, undefined, 2).replaceAll('\n', '\n  ')
        return `,\n  ${JSON.stringify(key)}: ${text}`
      })
    await this.terminal.write(`${opening}${this.items === 0 ? '' : '\n  '}]${rest.join('')}\n}\n`)
  }

  get started(): boolean {
    return this.items > 0
  }

  private opening(): string {
    return `{\n  "schema": ${JSON.stringify(schemaName(this.command))},\n  ${JSON.stringify(this.name)}: [\n`
  }
}

/** Errors that are already in what `--json` printed. */
const printed = new WeakSet<object>()

/** The error was made part of the output; the program prints no second object for it. */
export function markPrinted(error: unknown): void {
  if (typeof error === 'object' && error !== null) printed.add(error)
}

export function wasPrinted(error: unknown): boolean {
  return typeof error === 'object' && error !== null && printed.has(error)
}
