/**
 * Lists with columns, filters and joins. A column names a short name, or a field path of the listed type or of one beside
 * it: the subject of a session, its scans, its assessors, the resources of any of them. What occurs several times
 * multiplies the rows; what does not occur leaves cells empty.
 */

import type { Exchange } from '../http/exchange.js'
import { parsePath, type DataType, type PathPart } from '../model/registry.js'
import type { ItemKind, ItemRecord } from '../state/records.js'
import {
  entryValue,
  fieldReader,
  listEntries,
  listPrefix,
  type FieldReader,
  type ListEntry,
} from './fields.js'
import { filterFor, type Filter } from './filters.js'
import { keyOfPath, shortcutPath } from './shortcuts.js'
import type { Site } from './site.js'

/** The item a column speaks of, seen from the listed one. */
type Source = string

export interface Column {
  readonly key: string
  readonly source: Source
  /** Rows of items that are of another type have an empty cell. */
  readonly onlyType: string | undefined
  readonly read: FieldReader | undefined
  /** A list within the item, and what of its entries. */
  readonly list: string | undefined
  readonly rest: readonly PathPart[]
}

export interface ListQuery {
  readonly kind: ItemKind
  /** The type that is listed: `xsiType`, or the usual one of the list. */
  readonly root: DataType
  readonly columns: readonly Column[]
  readonly filters: readonly { readonly column: Column; readonly filter: Filter }[]
  /** In whose eyes: shared items have the label they have there. */
  readonly project: string | undefined
}

/** @returns undefined: nothing here has such a field, and the server leaves the column out */
export function columnFor(site: Site, kind: ItemKind, root: DataType, name: string): Column | undefined {
  if (name === 'URI') return makeColumn(site, name, 'root', undefined, name, root)
  const short = shortcutPath(kind, name)
  if (short !== undefined) return makeColumn(site, name, 'root', undefined, short, root)
  const [typeName = '', ...rest] = name.split('/')
  if (!typeName.includes(':') || rest.length === 0) return undefined
  const type = site.types.find(typeName)
  if (type === undefined) return undefined
  const path = rest.join('/')
  if (!hasField(site, type, path)) return undefined
  // The server keeps paths in lower case, and so are the keys of its rows.
  const key = keyOfPath(kind, name)
  for (const [prefix, kindOfList] of INNER_LISTS) {
    if (path.toLowerCase().startsWith(prefix)) {
      return makeColumn(
        site,
        key,
        `${kindOfList}/${INNER_TYPES[kindOfList] ?? ''}`,
        undefined,
        path.slice(prefix.length),
        type,
      )
    }
  }
  const { source, onlyType } = sourceFor(site, kind, root, type)
  return makeColumn(site, key, source, onlyType, path, type)
}

/** Fields that the server knows of every item, whatever its type declares. */
const KNOWN =
  /^(id|label|project|subject_id|imagesession_id|image_session_id|uri|meta\/.+|sharing\/share\/.+|((in|out)\/file|file|resources\/resource)\/.+|(scans\/scan|assessors\/assessor|experiments\/experiment)\/.+|xnat_\w+_id)$/

function hasField(site: Site, type: DataType, path: string): boolean {
  const names = parsePath(path).map(({ name }) => name.toLowerCase())
  const leaves = site.types.leaves(type)
  if (leaves.has(names.join('/')) || KNOWN.test(names.join('/'))) return true
  // The text of a list entry goes by the entry's name: `fields/field/field`.
  return leaves.get(names.slice(0, -1).join('/'))?.many === true
}

const INNER_LISTS: readonly (readonly [string, 'scan' | 'assessor' | 'experiment'])[] = [
  ['scans/scan/', 'scan'],
  ['assessors/assessor/', 'assessor'],
  ['experiments/experiment/', 'experiment'],
]

const INNER_TYPES: Readonly<Record<string, string>> = {
  scan: 'xnat:imageScanData',
  assessor: 'xnat:imageAssessorData',
  experiment: 'xnat:subjectAssessorData',
}

function sourceFor(
  site: Site,
  kind: ItemKind,
  root: DataType,
  type: DataType,
): { source: Source; onlyType: string | undefined } {
  const { types } = site
  const is = (ancestor: string): boolean => types.isA(type, ancestor)
  const plain = (source: Source): { source: Source; onlyType: string | undefined } => ({
    source,
    onlyType: undefined,
  })
  if (is('xnat:projectData')) return plain(kind === 'project' ? 'root' : 'project')
  if (is('xnat:subjectData')) return plain(kind === 'subject' ? 'root' : 'subject')
  if (is('xnat:imageScanData'))
    return kind === 'scan' ? { source: 'root', onlyType: type.name } : plain(`scan/${type.name}`)
  if (kind === 'subject')
    return plain(is('xnat:imageAssessorData') ? `assessor/${type.name}` : `experiment/${type.name}`)
  if (kind === 'scan') return plain(is('xnat:imageAssessorData') ? `assessor/${type.name}` : 'session')
  if (types.isA(root, type.name)) return plain('root')
  if (types.isA(type, root.name)) return { source: 'root', onlyType: type.name }
  const rootIsAssessor = types.isA(root, 'xnat:imageAssessorData')
  if (rootIsAssessor && !is('xnat:imageAssessorData')) return plain('session')
  if (!rootIsAssessor && is('xnat:imageAssessorData')) return plain(`assessor/${type.name}`)
  return { source: 'root', onlyType: type.name }
}

function makeColumn(
  site: Site,
  key: string,
  source: Source,
  onlyType: string | undefined,
  path: string,
  type: DataType,
): Column {
  const parts = parsePath(path)
  const leaves = site.types.leaves(type)
  const list = listPrefix(parts, (prefix) => leaves.get(prefix)?.many === true)
  if (list === undefined)
    return { key, source, onlyType, list: undefined, rest: [], read: fieldReader(site, path) }
  return { key, source, onlyType, list, rest: parts.slice(list.split('/').length), read: undefined }
}

/** `columns=`, with `DEFAULT` for the usual ones. */
export function columnNames(exchange: Exchange, usual: readonly string[]): readonly string[] {
  const asked = exchange.query.all('columns').join(',')
  if (asked === '') return usual
  const names = asked
    .split(',')
    .flatMap((name) => (name.trim() === '' ? [] : name.trim() === 'DEFAULT' ? usual : [name.trim()]))
  return [...new Set(names)]
}

/** Filters of a request: every parameter that names a field. */
export function filtersOf(
  site: Site,
  kind: ItemKind,
  root: DataType,
  parameters: readonly (readonly [string, string])[],
): ListQuery['filters'] {
  return parameters.flatMap(([name, value]) => {
    if (RESERVED.has(name)) return []
    const column = columnFor(site, kind, root, name)
    return column === undefined ? [] : [{ column, filter: filterFor(value) }]
  })
}

const RESERVED: ReadonlySet<string> = new Set([
  'format',
  'columns',
  'xsiType',
  'sortBy',
  'sortOrder',
  'limit',
  'offset',
  'fields',
])

/** A row under construction: for each source its item, for each list of a source its entry. */
interface Row {
  readonly items: Map<Source, ItemRecord | undefined>
  readonly entries: Map<string, ListEntry | undefined>
}

/** @param roots - already those that the user may see */
export function* rowsOf(
  site: Site,
  query: ListQuery,
  roots: Iterable<ItemRecord>,
): Iterable<readonly string[]> {
  const involved = [...query.columns, ...query.filters.map(({ column }) => column)]
  const sources = [...new Set(involved.map(({ source }) => source))].filter((source) => source !== 'root')
  const lists = [
    ...new Map(
      involved.flatMap((column) => (column.list === undefined ? [] : [[listKey(column), column] as const])),
    ).entries(),
  ]
  const needed = new Set(query.filters.map(({ column }) => column.source))
  for (const root of roots) {
    let rows: Row[] = [{ items: new Map([['root', root]]), entries: new Map() }]
    for (const source of sources) {
      const joined = joinedItems(site, query, root, source)
      if (joined.length === 0 && needed.has(source)) {
        rows = []
        break
      }
      rows = rows.flatMap((row) =>
        (joined.length === 0 ? [undefined] : joined).map((item) => ({
          items: new Map(row.items).set(source, item),
          entries: row.entries,
        })),
      )
    }
    for (const [key, column] of lists) {
      rows = rows.flatMap((row) => {
        const item = row.items.get(column.source)
        const found =
          item === undefined || column.list === undefined ? [] : listEntries(site, item, column.list)
        return (found.length === 0 ? [undefined] : found).map((entry) => ({
          items: row.items,
          entries: new Map(row.entries).set(key, entry),
        }))
      })
    }
    for (const row of rows) {
      const cell = (column: Column): string => cellOf(site, query, row, column)
      if (query.filters.every(({ column, filter }) => filter(cell(column)))) yield query.columns.map(cell)
    }
  }
}

const listKey = (column: Column): string => `${column.source} ${column.list ?? ''}`

function cellOf(site: Site, query: ListQuery, row: Row, column: Column): string {
  const item = row.items.get(column.source)
  if (item === undefined) return ''
  if (column.onlyType !== undefined && !site.types.isA(item.type, column.onlyType)) return ''
  if (column.read !== undefined) return column.read(item, query.project)
  const entry = row.entries.get(listKey(column))
  return entry === undefined ? '' : entryValue(entry, column.rest)
}

function joinedItems(site: Site, query: ListQuery, root: ItemRecord, source: Source): readonly ItemRecord[] {
  const { archive, types } = site
  const [kind, typeName = ''] = splitSource(source)
  const one = (item: ItemRecord | undefined): readonly ItemRecord[] => (item === undefined ? [] : [item])
  const ofType = (items: Iterable<ItemRecord>): readonly ItemRecord[] =>
    [...items].filter(({ type }) => types.isA(type, typeName))
  switch (kind) {
    case 'project':
      return one(archive.projects.get(root.project))
    case 'subject':
      return one(site.subjectOf(root))
    case 'session':
      return one(site.sessionOf(root))
    case 'experiment':
      return ofType(archive.experimentsOf(root.id))
    case 'scan':
      return sessionsAt(site, root).flatMap((session) => ofType(archive.scansOf(session.id)))
    case 'assessor':
      return sessionsAt(site, root).flatMap((session) => ofType(archive.assessorsOf(session.id)))
    default:
      throw new Error(`unknown source ${source} in a list of ${query.root.name}`)
  }
}

function splitSource(source: Source): readonly [string, string?] {
  const slash = source.indexOf('/')
  return slash < 0 ? [source] : [source.slice(0, slash), source.slice(slash + 1)]
}

/** The sessions that a row's scans and assessors hang on. */
function sessionsAt(site: Site, root: ItemRecord): readonly ItemRecord[] {
  if (root.kind === 'subject') return [...site.archive.experimentsOf(root.id)]
  const session = site.sessionOf(root) ?? root
  return [session]
}
