/** Resources: labelled folders of files on any item. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, forbidden, text, type Reply } from '../http/reply.js'
import { parseXml } from '../model/xml.js'
import type { Resource } from '../state/archive.js'
import type { ItemRecord, Slot } from '../state/records.js'
import type { Address } from './address.js'
import { catalogXml } from './catalog.js'
import { archiveReply } from './download.js'
import { find, findOne, type Found } from './find.js'
import type { Site } from './site.js'
import { sortedAndPaged, tableReply } from './table.js'

export interface Placed {
  readonly owner: ItemRecord
  readonly resource: Resource
}

/** Where the resources of an item hang that a path without `in` and `out` means. */
export function slotOf(item: ItemRecord, io: 'in' | 'out' | undefined): Slot {
  if (item.kind === 'scan') return 'file'
  if (item.kind === 'reconstruction' || (item.kind === 'experiment' && item.session !== undefined))
    return io ?? 'out'
  return 'resources'
}

/** Resources that a path selects: by label or number, by list, or all. Unknown ones are left out. */
export function selectResources(site: Site, address: Address, { owners }: Found): readonly Placed[] {
  const all = owners.flatMap((owner) =>
    site.archive.resourcesOf(owner, slotOf(owner, address.io)).map((resource) => ({ owner, resource })),
  )
  if (address.resource === undefined) return all
  const words = address.resource.split(',')
  return all.filter(({ resource: { record } }) =>
    words.some((word) => word === record.label || word === String(record.key)),
  )
}

/** Everything below a session, as `all=true` lists it: its own, its scans', reconstructions' and assessors'. */
export function allResources(site: Site, item: ItemRecord): readonly Placed[] {
  const { archive } = site
  const of = (owner: ItemRecord, ...slots: Slot[]): Placed[] =>
    slots.flatMap((slot) => archive.resourcesOf(owner, slot).map((resource) => ({ owner, resource })))
  if (item.kind !== 'experiment') return of(item, slotOf(item, undefined))
  return [
    ...of(item, 'resources', ...(item.session === undefined ? [] : (['out'] as const))),
    ...[...archive.scansOf(item.id)].flatMap((scan) => of(scan, 'file')),
    ...[...archive.reconstructionsOf(item.id)].flatMap((one) => of(one, 'out')),
    ...[...archive.assessorsOf(item.id)].flatMap((one) => of(one, 'out', 'resources')),
  ]
}

const COLUMNS = [
  'xnat_abstractresource_id',
  'label',
  'element_name',
  'category',
  'cat_id',
  'cat_desc',
  'file_count',
  'file_size',
  'tags',
  'content',
  'format',
]

export async function resourcesHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  if (exchange.method === 'POST') return postResource(site, exchange, address)
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') throw new HttpError(405)
  const found = find(site, exchange, address)
  const all = exchange.query.flag('all') && found.owners[0] !== undefined
  const placed = all
    ? found.owners.flatMap((owner) => allResources(site, owner))
    : selectResources(site, address, found)
  if (found.owners.length === 0) exchange.note = 'nothing has that name: the server answers an empty list'
  const rows = placed.map(({ owner, resource }) => resourceRow(site, owner, resource, all))
  return tableReply(exchange, sortedAndPaged(exchange, { columns: COLUMNS, rows, title: 'Resources' }))
}

function resourceRow(
  site: Site,
  owner: ItemRecord,
  { record, files, bytes }: Resource,
  all: boolean,
): readonly string[] {
  const blank = all ? '' : ' '
  const [category, id, description] =
    owner.kind === 'scan'
      ? ['scans', owner.id, owner.data.attributes?.type ?? '']
      : owner.kind === 'reconstruction'
        ? ['reconstructions', owner.id, owner.data.attributes?.type ?? '']
        : owner.kind === 'experiment' && owner.session !== undefined
          ? ['assessors', owner.id, site.types.require(owner.type).singular]
          : ['resources', owner.kind === 'experiment' && !all ? owner.id : '', blank]
  return [
    String(record.key),
    record.label,
    'xnat:resourceCatalog',
    category ?? '',
    id ?? '',
    description ?? '',
    String(record.stale?.count ?? files.size),
    String(record.stale?.bytes ?? bytes),
    record.tags.join(','),
    record.content ?? '',
    record.format ?? '',
  ]
}

export async function resourceHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  switch (exchange.method) {
    case 'GET':
    case 'HEAD': {
      const placed = selectResources(site, address, find(site, exchange, address))
      const [first] = placed
      if (first === undefined) throw new HttpError(404, 'Unable to find the specified resource.')
      const packed = archiveReply(site, exchange, address, placed)
      return (
        packed ?? {
          status: 200,
          headers: { 'Content-Type': 'text/xml;charset=UTF-8' },
          body: catalogXml(site, first.resource),
        }
      )
    }
    case 'PUT':
    case 'POST':
      return putResource(site, exchange, address)
    case 'DELETE':
      return deleteResource(site, exchange, address)
    default:
      throw new HttpError(405)
  }
}

async function putResource(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const owner = findOne(site, exchange, address, 'edit')
  const label = address.resource ?? ''
  checkResourceLabel(label)
  if (existing(site, owner, label) !== undefined)
    throw new HttpError(409, `A resource ${label} exists already.`)
  createEmpty(site, exchange, owner, label)
  await site.archive.flush()
  return empty()
}

async function postResource(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const owner = findOne(site, exchange, address, 'edit')
  let label =
    exchange.query.entries.find(([name]) => /^xnat:\w+\/label$/i.test(name))?.[1] ??
    exchange.query.get('label')
  if (['text/xml', 'application/xml'].includes(exchange.contentType))
    label ??= parseXml(await exchange.bodyText()).attributes?.label
  if (label === undefined || label === '') throw new HttpError(400, 'A resource needs a label.')
  checkResourceLabel(label)
  if (existing(site, owner, label) !== undefined)
    throw new HttpError(409, `A resource ${label} exists already.`)
  const resource = createEmpty(site, exchange, owner, label)
  await site.archive.flush()
  const url = `${site.settings.url}${exchange.path.replace(/\/$/, '')}/${resource.record.key}`
  return text(url, 201, { Location: url })
}

export function checkResourceLabel(label: string): void {
  // Labels reach the database unescaped in this version of the server.
  if (label.includes("'")) throw new HttpError(500, 'Internal Server Error')
  if (label === '' || label === '.' || label === '..' || /[/\\]/.test(label))
    throw new HttpError(400, `Invalid resource label: ${label}`)
}

/** By label, in the order in which the server looks; or by number. */
export function existing(
  site: Site,
  owner: ItemRecord,
  name: string,
  io?: 'in' | 'out',
): Resource | undefined {
  const all = site.archive.resourcesOf(owner)
  const order: readonly Slot[] = io === undefined ? ['resources', 'file', 'in', 'out'] : [io]
  for (const slot of order) {
    const found = all.find(
      ({ record }) => record.slot === slot && (record.label === name || String(record.key) === name),
    )
    if (found !== undefined) return found
  }
  return undefined
}

function createEmpty(site: Site, exchange: Exchange, owner: ItemRecord, label: string): Resource {
  // The server does not pass `in` on when an empty resource is made.
  return site.archive.createResource(
    owner,
    { slot: slotOf(owner, undefined), label, ...described(exchange) },
    folderOf(site, owner, label, false),
    site.actor(exchange),
  )
}

/** `format`, `content`, `description` and `tags` of a request. */
export function described(exchange: Exchange): {
  format?: string
  content?: string
  description?: string
  tags: string[]
} {
  const { query } = exchange
  const result: { format?: string; content?: string; description?: string; tags: string[] } = {
    tags: query
      .all('tags')
      .flatMap((tags) => tags.split(','))
      .map((tag) => tag.trim())
      .filter((tag) => tag !== ''),
  }
  // As the server does, `format` here describes the files; it is no form of the reply.
  for (const name of ['format', 'content', 'description'] as const) {
    const value = query.get(name)
    if (value !== undefined && value !== '') result[name] = value
  }
  return result
}

/** Below the archive folder, laid out as the server does. */
export function folderOf(site: Site, owner: ItemRecord, label: string, byUpload: boolean): string {
  const safe = (name: string): string => name.replace(/[/\\\0]/g, '_').replace(/^\.+$/, '_')
  const leaf = safe(label)
  if (owner.kind === 'project') return `${owner.id}/resources/${leaf}`
  if (owner.kind === 'subject') return `${owner.project}/subjects/${safe(owner.label)}/${leaf}`
  const session = site.sessionOf(owner) ?? owner
  const base = `${session.project}/arc001/${safe(session.label)}`
  if (owner.kind === 'scan') return `${base}/SCANS/${safe(owner.id)}/${leaf}`
  if (owner.kind === 'reconstruction') return `${base}/PROCESSED/${safe(owner.id)}/${leaf}`
  if (owner.session === undefined) return `${base}/RESOURCES/${leaf}`
  return byUpload
    ? `${base}/ASSESSORS/${safe(owner.id)}/out/${leaf}`
    : `${base}/ASSESSORS/${safe(owner.label)}/${leaf}`
}

async function deleteResource(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const owner = findOne(site, exchange, address, 'read')
  if (!site.mayItem(exchange, 'delete', owner)) throw forbidden()
  if (owner.status === 'locked') throw forbidden('The experiment is locked.')
  if (address.rest.length > 0) throw new HttpError(400)
  const folders = (address.resource ?? '').split(',').flatMap((name) => {
    const resource = existing(site, owner, name, address.io)
    return resource === undefined ? [] : [site.archive.removeResource(resource)]
  })
  if (folders.length === 0) exchange.note = 'there was no such resource: the server answers 200 all the same'
  await site.archive.flush()
  for (const folder of folders) await site.blobs.removeFolder(folder)
  return empty()
}
