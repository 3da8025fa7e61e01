/** Scans and reconstructions of a session. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, forbidden, type Reply } from '../http/reply.js'
import { mergeInto, valueProblems, type Element } from '../model/element.js'
import type { ItemRecord } from '../state/records.js'
import { sessionAddress, type Address } from './address.js'
import { columnFor, columnNames, filtersOf, rowsOf, type Column } from './columns.js'
import { find, findOne } from './find.js'
import { applyInput, readInput } from './input.js'
import { itemReply } from './item-reply.js'
import { fieldsReply } from './projects.js'
import { removeItem } from './remove.js'
import { isShareRequest, shareHandler } from './shares.js'
import type { Site } from './site.js'
import { sortedAndPaged, tableReply } from './table.js'

const SCAN_COLUMNS = [
  'xnat_imagescandata_id',
  'ID',
  'type',
  'quality',
  'xsiType',
  'note',
  'series_description',
]

export function scansHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> | Reply {
  if (exchange.method === 'POST') return putScan(site, exchange, address)
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') throw new HttpError(405)
  if (exchange.query.has('fields')) return fieldsReply(exchange, 'scan')
  const { archive, types } = site
  const { experiment } = find(site, exchange, address)
  if (experiment === undefined) throw new HttpError(404, 'Unable to find the specified experiment.')
  const root = types.require('xnat:imageScanData')
  const columns = columnNames(exchange, SCAN_COLUMNS).flatMap((name): Column[] => {
    const column = columnFor(site, 'scan', root, name)
    return column === undefined ? [] : [column]
  })
  const uri = columnFor(site, 'scan', root, 'xnat:imageScanData/URI')
  const shown = [...columns, ...(uri === undefined ? [] : [{ ...uri, key: 'URI' }])]
  const wanted = exchange.query.get('xsiType')
  const scans = [...archive.scansOf(experiment.id)].filter(
    ({ type }) => wanted === undefined || types.isA(type, wanted),
  )
  const query = {
    kind: 'scan' as const,
    root,
    columns: shown,
    filters: filtersOf(site, 'scan', root, exchange.query.entries),
    project: address.project,
  }
  const rows = [
    ...rowsOf(
      site,
      query,
      scans.sort((a, b) => a.key - b.key),
    ),
  ]
  return tableReply(
    exchange,
    sortedAndPaged(exchange, { columns: shown.map(({ key }) => key), rows, title: 'Scans' }),
  )
}

export async function scanHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  if (isShareRequest(address)) return shareHandler(site, exchange, address)
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return itemReply(site, exchange, find(site, exchange, address).owners[0])
    case 'PUT':
      return putScan(site, exchange, address)
    case 'DELETE': {
      await removeItem(site, findOne(site, exchange, address, 'delete'), exchange.query.flag('removeFiles'))
      return empty()
    }
    default:
      throw new HttpError(405)
  }
}

async function putScan(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const { archive, types } = site
  const session = findOne(site, exchange, sessionAddress(address), 'read')
  if (!site.mayItem(exchange, 'edit', session))
    throw forbidden('Specified user account has insufficient edit priviledges for this session.')
  const input = await readInput(site, exchange, 'scan')
  const id = address.scan ?? input.named.id
  if (id === undefined) throw new HttpError(400, 'A scan needs an ID.')
  const existing = archive.scan(session.id, id)
  if (input.type !== undefined && !types.isA(input.type, 'xnat:imageScanData'))
    throw new HttpError(400, `${input.type.name} is no type of scan.`)
  if (existing === undefined) {
    if (input.type === undefined || input.type.abstract)
      throw new HttpError(400, 'The type of a new scan has to be given: xsiType=...')
    checkScanId(id)
    const data: Element = { name: input.type.name }
    applyInput(site, data, input.type, input)
    archive.create(
      {
        kind: 'scan',
        id,
        label: id,
        type: input.type.name,
        project: session.project,
        session: session.id,
        data,
      },
      site.actor(exchange),
    )
  } else {
    if (input.type !== undefined && !types.isA(existing.type, input.type.name))
      throw new HttpError(409, `The scan is of type ${existing.type}.`)
    const data = structuredClone(existing.data)
    applyInput(site, data, types.require(existing.type), input)
    archive.update(existing, site.actor(exchange), (item) => {
      item.data = data
    })
  }
  await archive.flush()
  return empty()
}

/** Unlike labels, IDs of scans come from scanners: only what would break a path is refused. */
function checkScanId(id: string): void {
  if (id === '' || /[/\\,\s]/.test(id) || id === '.' || id === '..')
    throw new HttpError(400, `Invalid scan ID: ${id}`)
}

/** A scan within the document of its session. @throws HttpError 400 it cannot be saved */
export function checkScan(site: Site, document: Element): void {
  const type = document.type === undefined ? undefined : site.types.find(document.type)
  const id = document.attributes?.ID
  if (id === undefined) throw new HttpError(400, 'A scan needs an ID.')
  if (type === undefined || type.abstract || !site.types.isA(type, 'xnat:imageScanData')) {
    throw new HttpError(400, `Unknown type of scan: ${document.type ?? ''}`)
  }
  checkScanId(id)
  const problems = valueProblems(scanContent(document), type.fields, site.types)
  if (problems.length > 0) throw new HttpError(400, problems.join(' '))
}

/** Save a scan that {@link checkScan} has passed. */
export function saveScan(site: Site, exchange: Exchange, session: ItemRecord, document: Element): void {
  const { archive, types } = site
  const type = types.require(document.type ?? '')
  const id = document.attributes?.ID ?? ''
  const data: Element = { ...scanContent(document), name: type.name }
  const existing = archive.scan(session.id, id)
  if (existing === undefined) {
    archive.create(
      { kind: 'scan', id, label: id, type: type.name, project: session.project, session: session.id, data },
      site.actor(exchange),
    )
  } else
    archive.update(existing, site.actor(exchange), (item) => mergeInto(item.data, data, type.fields, types))
}

/** Without identity and what has rows of its own. */
function scanContent(document: Element): Element {
  const { type: _type, ...content } = structuredClone(document)
  delete content.attributes?.ID
  delete content.attributes?.project
  const apart = new Set(['image_session_ID', 'file', 'sharing'])
  if (content.children !== undefined)
    content.children = content.children.filter(({ name }) => !apart.has(name))
  return content
}

// -- reconstructions

export function reconstructionsHandler(site: Site, exchange: Exchange, address: Address): Reply {
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') throw new HttpError(405)
  const { experiment } = find(site, exchange, address)
  if (experiment === undefined) throw new HttpError(404, 'Unable to find the specified experiment.')
  const root = site.types.require('xnat:reconstructedImageData')
  const names = columnNames(exchange, ['xnat_reconstructedimagedata_id', 'ID', 'type', 'baseScanType'])
  const shown = [...names, 'URI'].flatMap((name): Column[] => {
    const column = columnFor(site, 'reconstruction', root, name)
    return column === undefined ? [] : [column]
  })
  const query = {
    kind: 'reconstruction' as const,
    root,
    columns: shown,
    filters: filtersOf(site, 'reconstruction', root, exchange.query.entries),
    project: address.project,
  }
  const rows = [...rowsOf(site, query, site.archive.reconstructionsOf(experiment.id))]
  const columns = shown.map(({ key }) => key)
  return tableReply(exchange, sortedAndPaged(exchange, { columns, rows, title: 'Reconstructed Images' }))
}

export async function reconstructionHandler(
  site: Site,
  exchange: Exchange,
  address: Address,
): Promise<Reply> {
  const { archive, types } = site
  if (exchange.method === 'GET' || exchange.method === 'HEAD')
    return itemReply(site, exchange, find(site, exchange, address).owners[0])
  if (exchange.method === 'DELETE') {
    await removeItem(site, findOne(site, exchange, address, 'delete'), exchange.query.flag('removeFiles'))
    return empty()
  }
  if (exchange.method !== 'PUT') throw new HttpError(405)
  const session = findOne(site, exchange, sessionAddress(address), 'read')
  if (!site.mayItem(exchange, 'edit', session)) throw forbidden()
  const id = address.reconstruction ?? ''
  const type = types.require('xnat:reconstructedImageData')
  const input = await readInput(site, exchange, 'reconstruction', type.name)
  const existing = archive.reconstruction(session.id, id)
  const data: Element = existing === undefined ? { name: type.name } : structuredClone(existing.data)
  applyInput(site, data, type, input)
  if (existing === undefined) {
    checkScanId(id)
    archive.create(
      {
        kind: 'reconstruction',
        id,
        label: id,
        type: type.name,
        project: session.project,
        session: session.id,
        data,
      },
      site.actor(exchange),
    )
  } else {
    archive.update(existing, site.actor(exchange), (item) => {
      item.data = data
    })
  }
  await archive.flush()
  return empty()
}
