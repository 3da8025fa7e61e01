/** Tables as Slurm prints them: one row a line, fields with a separator. */

export interface Table<Field extends string> {
  readonly fields: readonly Field[]
  readonly separator: string
  /** Every row ends with the separator, so that a row that was cut is seen. */
  readonly closed: boolean
  /** Which lines are rows at all; others (banners of the site) are left out. */
  readonly isRow: (firstField: string) => boolean
  /** The field that may hold the separator itself. Default: the last. */
  readonly free?: Field
}

export type Row<Field extends string> = Readonly<Record<Field, string>>

export interface Rows<Field extends string> {
  readonly rows: readonly (Row<Field> & { readonly line: string })[]
  /** The first line that begins like a row and is none. */
  readonly cut?: string
}

/** Lines that are not rows are left out; a line that begins as a row and does not end as one is told. */
export function readRows<Field extends string>(text: string, table: Table<Field>): Rows<Field> {
  const { fields, separator, closed, isRow } = table
  const free = table.free === undefined ? fields.length - 1 : fields.indexOf(table.free)
  const rows: (Row<Field> & { readonly line: string })[] = []
  let cut: string | undefined
  const lines = text.split('\n')
  for (const [index, raw] of lines.entries()) {
    const line = raw.replace(/\r$/, '')
    const parts = line.split(separator)
    if (!isRow((parts[0] ?? '').trim())) continue
    // A bare number in a banner is no row; at the very end, without a line break, it may be the rest of one.
    if (parts.length === 1 && fields.length > 1 && index < lines.length - 1) continue
    if (closed && parts.pop() !== '') {
      cut ??= line
      continue
    }
    const extra = parts.length - fields.length
    if (extra < 0) {
      cut ??= line
      continue
    }
    const joined = [
      ...parts.slice(0, free),
      parts.slice(free, free + extra + 1).join(separator),
      ...parts.slice(free + extra + 1),
    ]
    const row = Object.fromEntries(fields.map((field, place) => [field, (joined[place] ?? '').trim()]))
    rows.push({ ...(row as Row<Field>), line })
  }
  return { rows, ...(cut !== undefined && { cut }) }
}
