/** `/data/search`: which types a site has, what they hold, and searches by document, given or saved. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, xml, type Reply } from '../http/reply.js'
import { childrenNamed, type Element } from '../model/element.js'
import type { DataType } from '../model/registry.js'
import { XmlError, escapeXml, parseXml } from '../model/xml.js'
import type { ItemRecord } from '../state/records.js'
import { displayFields, displayReader } from './display-fields.js'
import { filterFor, type Filter } from './filters.js'
import type { FieldReader } from './fields.js'
import type { Site } from './site.js'
import { byKey } from './subjects.js'
import { sortedAndPaged, tableReply, type Table } from './table.js'

/** Types that people may search: what has a document of its own. */
function searchable(site: Site): readonly DataType[] {
  return site.types.all.filter(
    ({ name, element, abstract }) =>
      element !== undefined && !abstract && !/Resource|investigator|reconstructed|ScanData$/i.test(name),
  )
}

export async function searchHandler(
  site: Site,
  exchange: Exchange,
  [first, second, third]: readonly string[],
): Promise<Reply> {
  switch (first) {
    case undefined: {
      exchange.route = 'search'
      if (exchange.method !== 'POST' && exchange.method !== 'PUT') throw new HttpError(405)
      return tableReply(
        exchange,
        sortedAndPaged(exchange, runSearch(site, exchange, await exchange.bodyText())),
      )
    }
    case 'elements':
      exchange.route = second === undefined ? 'search/elements' : 'search/elements/{type}'
      return second === undefined ? elementsReply(site, exchange) : elementReply(site, exchange, second)
    case 'saved':
      exchange.route = 'search/saved'
      return savedHandler(site, exchange, second, third)
    default:
      exchange.note = 'the sandbox keeps no results of searches'
      throw new HttpError(404, 'The result of this search is no longer there.')
  }
}

function elementsReply(site: Site, exchange: Exchange): Reply {
  const counts = new Map<string, number>()
  for (const item of site.archive.items.values()) {
    if (site.mayItem(exchange, 'read', item)) counts.set(item.type, (counts.get(item.type) ?? 0) + 1)
  }
  const rows = searchable(site).map(({ name, singular, plural }) => [
    name,
    singular,
    plural,
    'true',
    String(counts.get(name) ?? 0),
  ])
  return tableReply(
    exchange,
    sortedAndPaged(exchange, { columns: ['ELEMENT_NAME', 'SINGULAR', 'PLURAL', 'SECURED', 'COUNT'], rows }),
  )
}

function elementReply(site: Site, exchange: Exchange, name: string): Reply {
  const type = site.types.find(name)
  if (type === undefined) throw new HttpError(404, `Unknown data type: ${name}`)
  const columns = ['FIELD_ID', 'HEADER', 'SUMMARY', 'TYPE', 'REQUIRES_VALUE', 'DESC', 'ELEMENT_NAME', 'SRC']
  const rows = displayFields(site, type).map(({ id, path, valueType }) => [
    id,
    id,
    `${type.name}/${path}`,
    valueType,
    'false',
    '',
    type.name,
    '0',
  ])
  return tableReply(exchange, { columns, rows })
}

// -- running

interface Field {
  readonly key: string
  readonly id: string
  readonly header: string
  readonly valueType: string
  readonly element: DataType
  readonly read: (item: ItemRecord) => string
}

const text = (element: Element, name: string): string => childrenNamed(element, name)[0]?.text ?? ''

/** @throws HttpError 422 no search document, or one that names what is not there */
function runSearch(site: Site, exchange: Exchange, document: string): Table {
  let root: Element
  try {
    root = parseXml(document)
  } catch (error) {
    if (error instanceof XmlError) throw new HttpError(422, `Unable to parse the search: ${error.message}`)
    throw error
  }
  const type = site.types.find(text(root, 'root_element_name'))
  if (type === undefined) throw new HttpError(422, `Unknown data type: ${text(root, 'root_element_name')}`)
  const fields = fieldsOf(site, type, childrenNamed(root, 'search_field'))
  const where = childrenNamed(root, 'search_where').map((set) => conditionOf(site, type, set))
  const items = itemsOf(site, exchange, type).filter((item) => where.every((condition) => condition(item)))
  const sorted = sortItems(site, type, childrenNamed(root, 'sort_by')[0], items)
  return {
    columns: fields.map(({ key }) => key),
    rows: sorted.map((item) => fields.map(({ read }) => read(item))),
    columnInfo: fields.map(({ key, id, header, valueType, element }) => ({
      key,
      clickable: null,
      linkProps: null,
      type: valueType,
      header,
      id,
      xPATH: `${element.name}.${id}`,
      element_name: element.name,
    })),
    more: { rootElementName: type.name },
  }
}

function itemsOf(site: Site, exchange: Exchange, type: DataType): readonly ItemRecord[] {
  const { archive, types } = site
  const all = types.isA(type, 'xnat:projectData')
    ? archive.projects
    : types.isA(type, 'xnat:subjectData')
      ? archive.subjects
      : archive.experiments
  return byKey(
    [...all.values()].filter(
      (item) => types.isA(item.type, type.name) && site.mayItem(exchange, 'read', item),
    ),
  )
}

/** Fields that come whether asked for or not: clients make addresses of them. */
const ALWAYS_SUBJECT = ['SUBJECTID', 'INSERT_DATE', 'PROJECTS', 'PROJECT', 'QUARANTINE_STATUS']
const ALWAYS_EXPERIMENT = [
  'SESSION_ID',
  'SUBJECT_ID',
  'INSERT_DATE',
  'INSERT_USER',
  'PROJECTS',
  'PROJECT',
  'QUARANTINE_STATUS',
]

function fieldsOf(site: Site, root: DataType, wanted: readonly Element[]): readonly Field[] {
  const fields = new Map<string, Field>()
  const add = (elementName: string, id: string, header: string, valueType: string): void => {
    const element = site.types.find(elementName)
    if (element === undefined) throw new HttpError(422, `Unknown data type: ${elementName}`)
    const read = readerFrom(site, root, element, id)
    // A field that the type has not is left out of the answer.
    if (read === undefined) return
    const last = (id.split('/').at(-1) ?? id).toLowerCase()
    const key = element === root ? last : `${element.name.replace(':', '_')}_${last}`.toLowerCase()
    if (!fields.has(key)) fields.set(key, { key, id, header, valueType, element, read })
  }
  for (const field of wanted)
    add(text(field, 'element_name'), text(field, 'field_ID'), text(field, 'header'), text(field, 'type'))
  for (const id of site.types.isA(root, 'xnat:subjectData') ? ALWAYS_SUBJECT : ALWAYS_EXPERIMENT)
    add(root.name, id, id, 'string')
  return [...fields.values()]
}

/** Reads a field of `element` for an item of the type that is searched: its own, or one of its subject or session. */
function readerFrom(
  site: Site,
  root: DataType,
  element: DataType,
  id: string,
): ((item: ItemRecord) => string) | undefined {
  const { types } = site
  const read: FieldReader | undefined = displayReader(site, element, id)
  if (read === undefined) return undefined
  if (types.isA(root, element.name) || types.isA(element, root.name)) {
    return (item) => (types.isA(item.type, element.name) ? read(item, undefined) : '')
  }
  if (types.isA(element, 'xnat:subjectData')) return (item) => other(site.subjectOf(item), read)
  if (types.isA(element, 'xnat:projectData'))
    return (item) => other(site.archive.projects.get(item.project), read)
  if (types.isA(element, 'xnat:imageSessionData')) return (item) => other(site.sessionOf(item), read)
  return undefined
}

function other(item: ItemRecord | undefined, read: FieldReader): string {
  return item === undefined ? '' : read(item, undefined)
}

type Condition = (item: ItemRecord) => boolean

function conditionOf(site: Site, root: DataType, set: Element): Condition {
  const conditions = [
    ...childrenNamed(set, 'criteria').map((criteria) => criteriaOf(site, root, criteria)),
    ...childrenNamed(set, 'child_set').map((child) => conditionOf(site, root, child)),
  ]
  if (conditions.length === 0) return () => true
  const either = set.attributes?.method?.toUpperCase() === 'OR'
  return (item) =>
    either
      ? conditions.some((condition) => condition(item))
      : conditions.every((condition) => condition(item))
}

function criteriaOf(site: Site, root: DataType, criteria: Element): Condition {
  const [elementName = '', ...rest] = text(criteria, 'schema_field').split(/[./]/)
  const element = site.types.find(elementName)
  const read =
    element === undefined
      ? undefined
      : readerFrom(
          site,
          root,
          element,
          rest.length > 1 ? `${elementName}/${rest.join('/')}` : (rest[0] ?? ''),
        )
  // Nothing has a field that the type does not have.
  if (read === undefined) return () => false
  const matches = comparison(text(criteria, 'comparison_type').trim().toUpperCase(), text(criteria, 'value'))
  return (item) => matches(read(item))
}

function comparison(operator: string, value: string): Filter {
  switch (operator) {
    case 'LIKE':
      return ignoringCase(value)
    case 'NOT LIKE': {
      const like = ignoringCase(value)
      return (cell) => !like(cell)
    }
    case 'IS NULL':
      return (cell) => cell === ''
    case 'IS NOT NULL':
      return (cell) => cell !== ''
    case '!=':
    case '<>':
      return (cell) => order(cell, value) !== 0
    case '<':
      return (cell) => cell !== '' && order(cell, value) < 0
    case '<=':
      return (cell) => cell !== '' && order(cell, value) <= 0
    case '>':
      return (cell) => cell !== '' && order(cell, value) > 0
    case '>=':
      return (cell) => cell !== '' && order(cell, value) >= 0
    default:
      return value.includes(',') || value.includes('%')
        ? filterFor(value)
        : (cell) => order(cell, value) === 0
  }
}

function ignoringCase(pattern: string): Filter {
  const expression = new RegExp(
    `^${pattern
      .split('%')
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}$`,
    'is',
  )
  return (cell) => expression.test(cell)
}

/** Numbers as numbers, dates of either form as dates, else as text. */
function order(cell: string, value: string): number {
  const american = /^(\d{1,2})\/(\d{1,2})\/(\d{4})$/.exec(value)
  const wanted =
    american === null
      ? value
      : `${american[3]}-${(american[1] ?? '').padStart(2, '0')}-${(american[2] ?? '').padStart(2, '0')}`
  const numbers =
    cell !== '' && wanted !== '' && Number.isFinite(Number(cell)) && Number.isFinite(Number(wanted))
  if (numbers) return Number(cell) - Number(wanted)
  const left = american === null ? cell : cell.slice(0, wanted.length)
  return left < wanted ? -1 : left > wanted ? 1 : 0
}

function sortItems(
  site: Site,
  root: DataType,
  sortBy: Element | undefined,
  items: readonly ItemRecord[],
): readonly ItemRecord[] {
  if (sortBy === undefined) return items
  const element = site.types.find(text(sortBy, 'element_name')) ?? root
  const read = readerFrom(site, root, element, text(sortBy, 'field_ID'))
  return read === undefined ? items : [...items].sort((a, b) => order(read(a), read(b)))
}

// -- saved

async function savedHandler(
  site: Site,
  exchange: Exchange,
  id: string | undefined,
  results: string | undefined,
): Promise<Reply> {
  const { archive } = site
  if (id === undefined) {
    const rows = [...archive.searches.values()]
      .filter(({ user }) => user === exchange.user)
      .map(({ id: own, xml: document }) => {
        const root = parseXml(document)
        return [
          own,
          root.attributes?.['brief-description'] ?? own,
          root.attributes?.description ?? '',
          text(root, 'root_element_name'),
        ]
      })
    return tableReply(exchange, {
      columns: ['id', 'brief_description', 'description', 'root_element_name'],
      rows,
    })
  }
  if (id.startsWith('@')) return xml(defaultSearch(site, id.slice(1)))
  const saved = archive.searches.get(id)
  const visible = saved !== undefined && saved.user === exchange.user ? saved : undefined
  switch (exchange.method) {
    case 'PUT': {
      const document = await exchange.bodyText()
      try {
        parseXml(document)
      } catch (error) {
        if (error instanceof XmlError)
          throw new HttpError(422, `Unable to parse the search: ${error.message}`)
        throw error
      }
      if (saved !== undefined && visible === undefined) throw new HttpError(403)
      archive.record({ o: 'search', r: { id, user: exchange.user, xml: document } })
      await archive.flush()
      return empty()
    }
    case 'DELETE':
      if (visible === undefined) throw new HttpError(404, 'Unable to find the specified search.')
      archive.record({ o: 'search-', i: id })
      await archive.flush()
      return empty()
    default:
      if (visible === undefined) throw new HttpError(404, 'Unable to find the specified search.')
      if (results === 'results')
        return tableReply(exchange, sortedAndPaged(exchange, runSearch(site, exchange, visible.xml)))
      return xml(visible.xml)
  }
}

const DEFAULT_FIELDS: Readonly<
  Record<string, readonly (readonly [element: string, id: string, type: string, header: string])[]>
> = {
  'xnat:subjectData': [
    ['xnat:subjectData', 'SUBJECT_LABEL', 'string', 'Subject'],
    ['xnat:subjectData', 'GENDER', 'string', 'Gender'],
    ['xnat:subjectData', 'HANDEDNESS', 'string', 'Hand'],
    ['xnat:subjectData', 'DOB', 'integer', 'YOB'],
    ['xnat:subjectData', 'EDUC', 'integer', 'Education'],
    ['xnat:subjectData', 'SES', 'integer', 'Ses'],
    ['xnat:subjectData', 'MR_COUNT', 'integer', 'MR Count'],
  ],
}

/** The search that a site offers for a type when nobody has made one: `saved/@xnat:mrSessionData`. */
function defaultSearch(site: Site, name: string): string {
  const type = site.types.find(name)
  if (type === undefined) throw new HttpError(404, `Unknown data type: ${name}`)
  const fields =
    DEFAULT_FIELDS[type.name] ??
    ([
      [type.name, 'LABEL', 'string', 'Label'],
      [type.name, 'PROJECT', 'string', 'Project'],
      [type.name, 'DATE', 'date', 'Date'],
      ['xnat:subjectData', 'SUBJECT_LABEL', 'string', 'Subject'],
      ['xnat:subjectData', 'GENDER_TEXT', 'string', 'M/F'],
      [type.name, 'AGE', 'float', 'Age'],
      ...(site.types.isA(type, 'xnat:imageSessionData')
        ? ([
            [type.name, 'TYPE', 'string', 'Type'],
            [type.name, 'SCANNER', 'string', 'Scanner'],
            [type.name, 'MR_SCAN_COUNT_AGG', 'string', 'Scans'],
          ] as const)
        : []),
    ] as const)
  const parts = fields.map(
    ([element, id, valueType, header], index) =>
      `<xdat:search_field><xdat:element_name>${element}</xdat:element_name><xdat:field_ID>${id}</xdat:field_ID>` +
      `<xdat:sequence>${index}</xdat:sequence><xdat:type>${valueType}</xdat:type><xdat:header>${escapeXml(header)}</xdat:header></xdat:search_field>`,
  )
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<xdat:bundle ID="@${type.name}" xmlns:xdat="http://nrg.wustl.edu/security">` +
    `<xdat:root_element_name>${type.name}</xdat:root_element_name>${parts.join('')}</xdat:bundle>\n`
  )
}
