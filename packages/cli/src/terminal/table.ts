/**
 * Tables without lines, as wide as the terminal: long labels are shortened in the middle, sentences wrap. Where nobody
 * watches (a pipe, a file) nothing is shortened, so that `grep` and `awk` see whole labels.
 */

import { displayWidth, pad, shortenEnd, shortenMiddle, wrap } from './text.js'

export interface Column<Row> {
  readonly head: string
  readonly value: (row: Row) => string
  readonly align?: 'left' | 'right'
  /** What to do when the terminal is too narrow. Default: `never`. */
  readonly narrow?: 'middle' | 'end' | 'wrap' | 'never'
  /** Never made narrower than this by `narrow`. Default: 12. */
  readonly least?: number
  /** Colours a finished cell; must not change its width. */
  readonly paint?: (cell: string, row: Row) => string
}

const GAP = 2
/** Rows that are looked at to find the widths. */
const SAMPLE = 500

export interface TableOptions {
  /** Columns of the terminal; infinite: nothing is shortened. */
  readonly width: number
  readonly paintHead?: (head: string) => string
  /** Blanks before each line. */
  readonly indent?: number
}

/** All lines of a small table. A column that is empty in every row is left out. */
export function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  options: TableOptions,
): string[] {
  const used = columns.filter((column) => rows.some((row) => column.value(row) !== ''))
  const layout = new TableLayout(used, rows, options)
  return [...layout.head(), ...rows.flatMap((row) => layout.row(row))]
}

/** Lines of a table of any length, in bounded memory. The head comes with the first row. */
export async function* streamTable<Row>(
  columns: readonly Column<Row>[],
  rows: AsyncIterable<Row>,
  options: TableOptions,
): AsyncGenerator<string> {
  let layout: TableLayout<Row> | undefined
  const sample: Row[] = []
  const settle = function* (): Generator<string> {
    const used = columns.filter((column) => sample.some((row) => column.value(row) !== ''))
    layout = new TableLayout(sample.length < SAMPLE ? used : columns, sample, options)
    yield* layout.head()
    for (const row of sample) yield* layout.row(row)
    sample.length = 0
  }
  for await (const row of rows) {
    if (layout !== undefined) {
      yield* layout.row(row)
      continue
    }
    sample.push(row)
    if (sample.length === SAMPLE) yield* settle()
  }
  if (layout === undefined && sample.length > 0) yield* settle()
}

class TableLayout<Row> {
  private readonly widths: readonly number[]
  /** Columns of the terminal that are left: a cell wider than all of the sample may stick out so far. */
  private readonly slack: number

  constructor(
    private readonly columns: readonly Column<Row>[],
    sample: readonly Row[],
    private readonly options: TableOptions,
  ) {
    const natural = columns.map((column) =>
      Math.max(
        displayWidth(column.head),
        ...sample.map((row) => Math.max(...column.value(row).split('\n').map(displayWidth))),
      ),
    )
    const available = options.width - (options.indent ?? 0)
    this.widths = fit(columns, natural, available)
    this.slack = Math.max(0, available - totalOf(this.widths))
  }

  head(): string[] {
    if (this.columns.every((column) => column.head === '')) return []
    const paint = this.options.paintHead ?? ((text: string) => text)
    return [
      paint(this.line(this.columns.map((column, i) => pad(column.head, this.widthOf(i), column.align)))),
    ]
  }

  row(row: Row): string[] {
    const cells = this.columns.map((column, index) => {
      const text = column.value(row)
      const width = this.widthOf(index) + this.slack
      if (column.narrow === 'middle') return [shortenMiddle(text, width)]
      if (column.narrow === 'end') return [shortenEnd(text, width)]
      return column.narrow === 'wrap' ? wrap(text, width) : text.split('\n')
    })
    const height = Math.max(...cells.map((lines) => lines.length))
    return Array.from({ length: height }, (_, line) =>
      this.line(
        this.columns.map((column, index) => {
          const cell = pad(cells[index]?.[line] ?? '', this.widthOf(index), column.align)
          return column.paint === undefined ? cell : column.paint(cell, row)
        }),
      ),
    )
  }

  private widthOf(index: number): number {
    return this.widths[index] ?? 0
  }

  private line(cells: readonly string[]): string {
    const line = ' '.repeat(this.options.indent ?? 0) + cells.join(' '.repeat(GAP))
    return trimRight(line)
  }
}

/** Blanks at the end go, also inside the last colour. */
function trimRight(line: string): string {
  // eslint-disable-next-line no-control-regex
  return line.replace(/ +((?:\u001b\[[0-9;]*m)*)$/, '$1')
}

/** Take from the widest columns that allow it until the table fits. */
function fit<Row>(
  columns: readonly Column<Row>[],
  natural: readonly number[],
  available: number,
): readonly number[] {
  const widths = [...natural]
  while (totalOf(widths) > available) {
    let widest = -1
    for (const [index, column] of columns.entries()) {
      const width = widths[index] ?? 0
      if ((column.narrow ?? 'never') === 'never' || width <= (column.least ?? 12)) continue
      if (widest === -1 || width > (widths[widest] ?? 0)) widest = index
    }
    if (widest === -1) break
    widths[widest] = (widths[widest] ?? 0) - 1
  }
  return widths
}

function totalOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, GAP * Math.max(0, widths.length - 1))
}
