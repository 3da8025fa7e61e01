/** Tables and their four forms: JSON `ResultSet`, XML, CSV, HTML. All cells are text. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, html, type Reply } from '../http/reply.js'
import { escapeXml } from '../model/xml.js'
import { javaOrder } from './java-order.js'

export interface Table {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly title?: string
  /** `Columns` of the JSON form. */
  readonly columnInfo?: readonly Readonly<Record<string, unknown>>[]
  /** More members of `ResultSet` in JSON. */
  readonly more?: Readonly<Record<string, string>>
  /** Paged lists say nothing of the total. */
  readonly paged?: boolean
}

export function tableReply(exchange: Exchange, table: Table): Reply {
  const format = exchange.format ?? exchange.accepts(['json', 'xml', 'csv', 'html']) ?? 'json'
  switch (format) {
    case 'csv':
      return { status: 200, headers: { 'Content-Type': 'text/csv;charset=UTF-8' }, body: csvOf(table) }
    case 'xml':
      return { status: 200, headers: { 'Content-Type': 'text/xml;charset=UTF-8' }, body: xmlOf(table) }
    case 'html':
      return html(htmlOf(table))
    case 'json':
    case 'txt':
    case 'other':
      return {
        status: 200,
        headers: { 'Content-Type': 'application/json;charset=UTF-8' },
        body: jsonOf(table),
      }
    default:
      throw new HttpError(406, 'A list has no such form.')
  }
}

function jsonOf({ columns, rows, title, columnInfo, more = {}, paged = false }: Table): string {
  const order = javaOrder(columns)
  const names = order.map((index) => JSON.stringify(columns[index]))
  const cells = rows.map(
    (row) => `{${order.map((index, at) => `${names[at]}:${JSON.stringify(row[index] ?? '')}`).join(',')}}`,
  )
  return [
    '{"ResultSet":{',
    columnInfo === undefined ? '' : `"Columns":${JSON.stringify(columnInfo)},`,
    `"Result":[${cells.join(',')}]`,
    ...Object.entries(more).map(([name, value]) => `, ${JSON.stringify(name)}: ${JSON.stringify(value)}`),
    paged ? '' : `, "totalRecords": "${rows.length}"`,
    title === undefined ? '' : `, "title": ${JSON.stringify(title)}`,
    '}}',
  ].join('')
}

function csvOf({ columns, rows }: Table): string {
  const cell = (value: string): string => {
    const flat = value.replace(/[\r\n]+/g, '')
    return /[",]/.test(flat) ? `"${flat.replaceAll('"', '""')}"` : flat
  }
  return [columns, ...rows].map((row) => `${row.map(cell).join(',')}\n`).join('')
}

function xmlOf({ columns, rows, title }: Table): string {
  return [
    `<ResultSet totalRecords="${rows.length}"${title === undefined ? '' : ` title="${escapeXml(title)}"`}><results><columns>`,
    ...columns.map((column) => `<column>${escapeXml(column)}</column>`),
    '</columns><rows>',
    ...rows.map((row) => `<row>${row.map((value) => `<cell>${escapeXml(value)}</cell>`).join('')}</row>`),
    '</rows></results></ResultSet>',
  ].join('')
}

function htmlOf({ columns, rows, title = '' }: Table): string {
  return [
    `<html><head><title>${escapeXml(title)}</title></head><body><TABLE><THEAD><TR>`,
    ...columns.map((column) => `<TH>${escapeXml(column)}</TH>`),
    '</TR></THEAD><TBODY>',
    ...rows.map((row) => `<TR>${row.map((value) => `<TD>${escapeXml(value)}</TD>`).join('')}</TR>`),
    '</TBODY></TABLE></body></html>',
  ].join('')
}

/** `sortBy`, `sortOrder`, `limit` and `offset` of a list. */
export function sortedAndPaged(exchange: Exchange, table: Table): Table {
  let rows = [...table.rows]
  const sortBy = exchange.query.get('sortBy')
  if (sortBy !== undefined) {
    const keys = sortBy.split(',').flatMap((name) => {
      const index = table.columns.findIndex((column) => column.toLowerCase() === name.trim().toLowerCase())
      return index < 0 ? [] : [index]
    })
    const down = /^desc/i.test(exchange.query.get('sortOrder') ?? '') ? -1 : 1
    rows.sort((a, b) => {
      for (const key of keys) {
        const order = (a[key] ?? '').localeCompare(b[key] ?? '', 'en', { numeric: true })
        if (order !== 0) return order * down
      }
      return 0
    })
  }
  const limit = exchange.query.get('limit')
  const offset = exchange.query.get('offset')
  if (limit === undefined && offset === undefined) return { ...table, rows }
  const from = Number(offset ?? 0)
  const count = limit === '*' ? rows.length : Number(limit ?? 100)
  if (!Number.isInteger(from) || !Number.isInteger(count) || from < 0 || count < 0) {
    throw new HttpError(400, 'limit and offset are whole numbers.')
  }
  rows = rows.slice(from, from + count)
  return { ...table, rows, paged: true }
}
