/** `/data/subjects`, `/data/projects/{P}/subjects`. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, forbidden, text, type Reply } from '../http/reply.js'
import type { ItemRecord } from '../state/records.js'
import type { Address } from './address.js'
import { columnFor, columnNames, filtersOf, rowsOf, type Column } from './columns.js'
import { find, findOne, findProject } from './find.js'
import { applyInput, readInput, type Input } from './input.js'
import { itemReply } from './item-reply.js'
import { fieldsReply } from './projects.js'
import { removeItem } from './remove.js'
import { isShareRequest, shareHandler, unshare } from './shares.js'
import type { Site } from './site.js'
import { sortedAndPaged, tableReply } from './table.js'

const DEFAULT_COLUMNS = ['ID', 'project', 'label', 'insert_date', 'insert_user']

export async function subjectsHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  if (exchange.method === 'POST') {
    const project = findProject(site, exchange, address.project ?? '')
    const input = await readInput(site, exchange, 'subject', 'xnat:subjectData')
    const name = input.named.label ?? input.named.id
    if (name !== undefined && site.archive.subjectIn(project.id, name) !== undefined)
      throw new HttpError(409, 'Subject already exists.')
    const subject = createSubject(site, exchange, project, name, input)
    await site.archive.flush()
    const url = `${site.settings.url}/data/projects/${project.id}/subjects/${subject.id}`
    return text(url, 201, { Location: url })
  }
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') throw new HttpError(405)
  if (exchange.query.has('fields')) return fieldsReply(exchange, 'subject')
  const { archive, types } = site
  const root = types.require('xnat:subjectData')
  const project = address.project === undefined ? undefined : findProject(site, exchange, address.project).id
  const all = project === undefined ? archive.subjects.values() : archive.subjectsIn(project)
  const readable = [...all].filter((subject) =>
    project === undefined ? site.mayItem(exchange, 'read', subject) : site.may(exchange, 'read', project),
  )
  if (
    project === undefined &&
    readable.length === 0 &&
    ![...archive.projects.keys()].some((id) => site.may(exchange, 'read', id))
  ) {
    throw new HttpError(500, 'No readable project.')
  }
  // The ID always comes, and so does the address.
  const names = [...new Set([...columnNames(exchange, DEFAULT_COLUMNS), 'ID'])]
  const columns = names.flatMap((name): Column[] => {
    const column = columnFor(site, 'subject', root, name)
    return column === undefined ? [] : [column]
  })
  const uri = columnFor(site, 'subject', root, 'xnat:subjectData/URI')
  const shown = [...columns, ...(uri === undefined ? [] : [{ ...uri, key: 'URI' }])]
  const filters = filtersOf(site, 'subject', root, exchange.query.entries)
  const rows = [...rowsOf(site, { kind: 'subject', root, columns: shown, filters, project }, byKey(readable))]
  return tableReply(
    exchange,
    sortedAndPaged(exchange, { columns: shown.map(({ key }) => key), rows, title: 'Subjects' }),
  )
}

/** In the order in which they were made. */
export function byKey(items: Iterable<ItemRecord>): readonly ItemRecord[] {
  return [...items].sort((a, b) => a.key - b.key)
}

export async function subjectHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  if (isShareRequest(address)) return shareHandler(site, exchange, address)
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return itemReply(site, exchange, find(site, exchange, address).subject)
    case 'PUT':
      return putSubject(site, exchange, address)
    case 'DELETE': {
      const subject = find(site, exchange, address).subject
      if (subject === undefined) throw new HttpError(404)
      if (address.project !== undefined && address.project !== subject.project)
        return unshare(site, exchange, subject, address.project)
      if (!site.mayItem(exchange, 'delete', subject)) throw forbidden()
      await removeItem(site, subject, exchange.query.flag('removeFiles'))
      return empty()
    }
    default:
      throw new HttpError(405)
  }
}

async function putSubject(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const { archive, types } = site
  const name = address.subject ?? ''
  const input = await readInput(site, exchange, 'subject', 'xnat:subjectData')
  const project = address.project === undefined ? undefined : findProject(site, exchange, address.project)
  const existing = project === undefined ? archive.subjects.get(name) : archive.subjectIn(project.id, name)
  if (existing === undefined) {
    if (project === undefined) throw new HttpError(404, 'Unable to find the specified subject.')
    const subject = createSubject(site, exchange, project, name, input)
    await archive.flush()
    return text(subject.id, 201)
  }
  const subject = findOne(site, exchange, address, 'edit')
  const label = input.named.label
  if (label !== undefined && label !== subject.label) {
    checkLabel(label)
    if (archive.subjectIn(subject.project, label) !== undefined)
      throw new HttpError(409, 'Specified label is already in use.')
  }
  const data = structuredClone(subject.data)
  applyInput(site, data, types.require('xnat:subjectData'), input)
  archive.update(subject, site.actor(exchange), (item) => {
    item.data = data
    if (label !== undefined) item.label = label
  })
  await archive.flush()
  return text(subject.id)
}

export function createSubject(
  site: Site,
  exchange: Exchange,
  project: ItemRecord,
  name: string | undefined,
  input: Input | undefined,
): ItemRecord {
  const { archive, types } = site
  if (!site.may(exchange, 'edit', project.id))
    throw forbidden(
      'Specified user account has insufficient create priviledges for subjects in this project.',
    )
  const id = input?.named.id ?? archive.nextId(site.settings.siteId, 'S')
  const label = input?.named.label ?? name ?? id
  checkLabel(label)
  checkLabel(id)
  if (archive.subjects.has(id)) throw new HttpError(409, `Subject ID ${id} exists already.`)
  if (archive.subjectIn(project.id, label) !== undefined)
    throw new HttpError(409, 'Specified label is already in use.')
  const type = types.require('xnat:subjectData')
  const data = { name: type.name }
  if (input !== undefined) applyInput(site, data, type, input)
  return archive.create(
    { kind: 'subject', id, label, type: type.name, project: project.id, data },
    site.actor(exchange),
  )
}

/** Letters, digits, `-` and `_`. */
export function checkLabel(label: string, status = 417): void {
  if (!/^[A-Za-z0-9_-]+$/.test(label))
    throw new HttpError(status, `Invalid character in label: ${label}. Special characters are not allowed.`)
}
