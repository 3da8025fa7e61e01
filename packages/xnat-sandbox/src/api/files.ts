/** Files of resources: list, download, delete. Uploads are in `upload.ts`. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, forbidden, type Reply } from '../http/reply.js'
import type { FileRecord } from '../state/records.js'
import type { Address } from './address.js'
import { archiveReply } from './download.js'
import { fileUri } from './file-uri.js'
import { find, findOne } from './find.js'
import { mediaType } from './media-types.js'
import { allResources, existing, selectResources, type Placed } from './resources.js'
import type { Site } from './site.js'
import { sortedAndPaged, tableReply } from './table.js'
import { uploadHandler } from './upload.js'

const COLUMNS = [
  'Name',
  'Size',
  'URI',
  'collection',
  'file_tags',
  'file_format',
  'file_content',
  'cat_ID',
  'digest',
]

export async function filesHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return getFiles(site, exchange, address)
    case 'PUT':
    case 'POST':
      return uploadHandler(site, exchange, address)
    case 'DELETE':
      return deleteFiles(site, exchange, address)
    default:
      throw new HttpError(405)
  }
}

async function getFiles(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const found = find(site, exchange, address)
  const [owner] = found.owners
  const placed =
    address.resource === undefined && exchange.query.flag('all') && owner !== undefined
      ? allResources(site, owner)
      : selectResources(site, address, found)
  const path = address.rest.join('/')
  const folder = exchange.path.endsWith('/') && path !== ''
  if (path !== '' && !folder && !path.includes('*')) return getFile(site, exchange, address, placed, path)
  const wanted = pathFilter(exchange, path, folder)
  const packed = archiveReply(site, exchange, address, placed, wanted)
  if (packed !== undefined) return packed
  if (placed.length === 0 && address.resource !== undefined)
    exchange.note = 'no such resource: the server answers an empty list'
  const single = placed.length === 1
  const locator = exchange.query.get('locator')
  const rows = placed.flatMap((one) =>
    [...one.resource.files.values()]
      .filter((file) => wanted(file.path) && matchesAsked(exchange, file))
      .map((file) => fileRow(site, address, one, file, single, locator)),
  )
  const columns = COLUMNS.map((name) =>
    name === 'URI' && (locator === 'absolutePath' || locator === 'projectPath') ? locator : name,
  )
  const index = exchange.query.get('index')
  const chosen = index === undefined ? rows : rows.slice(Number(index), Number(index) + 1)
  return tableReply(
    exchange,
    sortedAndPaged(exchange, {
      columns,
      rows: chosen,
      title: 'Files',
      columnInfo: columns.map((key) =>
        key === 'URI' ? { key, serverRoot: site.settings.contextPath } : { key },
      ),
    }),
  )
}

function pathFilter(exchange: Exchange, path: string, folder: boolean): (path: string) => boolean {
  if (path === '') return () => true
  if (folder) {
    const deep = exchange.query.get('recursive') !== 'false'
    return (file) => file.startsWith(`${path}/`) && (deep || !file.slice(path.length + 1).includes('/'))
  }
  const pattern = new RegExp(
    `^${path
      .split('*')
      .map((text) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}$`,
  )
  return (file) => pattern.test(file)
}

function matchesAsked(exchange: Exchange, file: FileRecord): boolean {
  const agrees = (parameter: string, value: string | undefined): boolean => {
    const asked = exchange.query.get(parameter)
    return (
      asked === undefined ||
      asked.split(',').some((word) => (word === 'NULL' ? value === undefined : word === value))
    )
  }
  return agrees('file_format', file.format) && agrees('file_content', file.content)
}

function fileRow(
  site: Site,
  address: Address,
  placed: Placed,
  file: FileRecord,
  single: boolean,
  locator: string | undefined,
): readonly string[] {
  const { record } = placed.resource
  const place =
    locator === 'absolutePath'
      ? site.blobs.path(record.folder, file.path)
      : locator === 'projectPath'
        ? `${record.folder.split('/').slice(1).join('/')}/${file.path}`
        : fileUri(site, address, placed, file.path, single)
  return [
    file.path.split('/').at(-1) ?? '',
    String(file.bytes),
    place,
    record.label,
    (file.tags ?? []).join(','),
    file.format ?? '',
    file.content ?? '',
    String(record.key),
    file.digest,
  ]
}

async function getFile(
  site: Site,
  exchange: Exchange,
  address: Address,
  placed: readonly Placed[],
  path: string,
): Promise<Reply> {
  const holder = placed.find(({ resource }) => resource.files.has(path))
  const file = holder?.resource.files.get(path)
  if (holder === undefined || file === undefined) {
    if (path.includes('!/')) {
      exchange.note = 'the sandbox does not look into archives'
      throw new HttpError(501, 'The sandbox does not look into archives.')
    }
    if (exchange.query.flag('accept-not-found')) return empty(204)
    throw new HttpError(404, 'Unable to find the specified file.')
  }
  const packed = /\.zip$/i.test(path)
    ? undefined
    : archiveReply(site, exchange, address, [holder], (other) => other === path)
  if (packed !== undefined) return packed
  const since = Date.parse(exchange.header('if-modified-since') ?? '')
  const changedMs = Math.floor(file.mtimeMs / 1000) * 1000
  const headers = {
    'Content-Type': mediaType(path),
    'Last-Modified': new Date(changedMs).toUTCString(),
    'Cache-Control': 'must-revalidate',
    'Content-Disposition': `attachment; filename="${(path.split('/').at(-1) ?? '').replace(/["\\\r\n]/g, '_')}"`,
  }
  if (changedMs <= since) return { status: 304, headers }
  const { stream, bytes } = await site.blobs.read(holder.resource.record.folder, path)
  if (exchange.method === 'HEAD') stream.destroy()
  return {
    status: 200,
    headers: { ...headers, 'Content-Length': String(bytes) },
    ...(exchange.method === 'HEAD' ? {} : { body: stream }),
  }
}

async function deleteFiles(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const owner = findOne(site, exchange, address, 'read')
  if (!site.mayItem(exchange, 'delete', owner) || owner.status === 'locked') throw forbidden()
  const resource = existing(site, owner, address.resource ?? '', address.io)
  if (resource === undefined) throw new HttpError(400, 'Unknown resource.')
  const path = address.rest.join('/')
  if (path === '') throw new HttpError(400, 'Which file?')
  // Every entry whose path begins with what is given: a name that is the beginning of another takes that one with it.
  const gone = [...resource.files.keys()].filter((name) => name.startsWith(path))
  if (gone.length === 0) {
    if (exchange.query.flag('accept-not-found')) return empty(204)
    throw new HttpError(404, 'Unable to find the specified file.')
  }
  await site.locks.run(String(resource.record.key), async () => {
    for (const name of gone) site.archive.removeFile(resource, name)
    await site.archive.flush()
    if (exchange.query.get('removeFiles') === 'false') return
    for (const name of gone) await site.blobs.removeFile(resource.record.folder, name)
  })
  return empty()
}
