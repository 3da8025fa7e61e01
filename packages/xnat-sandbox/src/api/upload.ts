/**
 * Uploads, with all that bites on a real server: in-body ones need a length, empty ones fail, a user without the right
 * is told 200 though nothing was stored, and two at once into one resource spoil each other's catalog.
 */

import { extname } from 'node:path/posix'
import type { Readable } from 'node:stream'
import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, html, type Reply } from '../http/reply.js'
import type { Resource } from '../state/archive.js'
import { pathProblem, type Received } from '../state/blobs.js'
import type { ItemRecord } from '../state/records.js'
import type { Address } from './address.js'
import { find } from './find.js'
import { readParts } from './multipart.js'
import { checkResourceLabel, described, existing, folderOf, slotOf } from './resources.js'
import type { Site } from './site.js'
import { archiveKind, unpack } from './unpack.js'

interface Incoming {
  readonly path: string
  readonly received: Received
}

/** Content types that are taken as the file itself without `inbody=true`. JSON is not one of them. */
const IMPLIED_IN_BODY =
  /^(application\/(octet-stream|zip|xml|x-tar|x-gzip|gzip|pdf|dicom)|text\/(plain|xml)|image\/(jpeg|png|gif|bmp|tiff)|video\/(mpeg|mp4|quicktime|x-msvideo))$/

export async function uploadHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const { owners } = find(site, exchange, address)
  const [owner] = owners
  if (owner === undefined || owners.length > 1) throw new HttpError(404, 'Unable to find the specified item.')
  const label = address.resource ?? 'NO LABEL'
  checkResourceLabel(label)
  if (site.faults.lie(exchange.method, exchange.path)) {
    exchange.note = 'a lie, as asked: nothing was stored'
    await drain(exchange)
    return empty()
  }
  if (!site.mayItem(exchange, 'edit', owner)) {
    exchange.note = 'no right to edit: the server answers 200 and stores nothing'
    await drain(exchange)
    return empty()
  }
  const before = existing(site, owner, label, address.io)
  if (before === undefined && /^\d+$/.test(label)) {
    if (site.archive.resources.has(Number(label)))
      throw new HttpError(403, 'The resource belongs to another item.')
  }
  // The catalog as it is when the upload begins: whoever changes it meanwhile makes this upload fail.
  const version = before?.version
  const incoming = await receive(site, exchange, address)
  try {
    return await site.locks.run(`${owner.key}/${before?.record.key ?? label}`, () =>
      commit(site, exchange, owner, label, address, before, version, incoming),
    )
  } finally {
    for (const { received } of incoming) await site.blobs.discard(received)
  }
}

async function drain(exchange: Exchange): Promise<void> {
  for await (const _piece of exchange.request as AsyncIterable<Buffer>) continue
}

async function receive(site: Site, exchange: Exchange, address: Address): Promise<readonly Incoming[]> {
  const multipart = exchange.contentType === 'multipart/form-data'
  const path = address.rest.join('/')
  const inBody = exchange.query.flag('inbody')
  if (multipart && inBody) throw new HttpError(406, 'A multipart form cannot be an in-body upload.')
  if (exchange.query.has('reference')) {
    exchange.note = 'the sandbox takes no files from its own disk'
    throw new HttpError(501, 'The sandbox takes no files from its own disk.')
  }
  const incoming: Incoming[] = []
  try {
    if (multipart) {
      await readParts(exchange, async (filename, content) => {
        const name = path === '' ? (filename.split('\\').at(-1) ?? '') : path
        incoming.push(...(await take(site, exchange, name, content)))
      })
      if (incoming.length === 0) throw new HttpError(400, 'Unable to identify upload format.')
      return incoming
    }
    if (!inBody && !IMPLIED_IN_BODY.test(exchange.contentType)) {
      throw new HttpError(400, 'Unable to identify upload format: say inbody=true, or send a multipart form.')
    }
    if (path === '') throw new HttpError(400, 'An in-body upload needs the name of the file in the URL.')
    const length = Number(exchange.header('content-length') ?? -1)
    if (length < 1 && exchange.contentType !== 'application/zip') {
      exchange.note = 'an in-body upload without a length, or empty'
      throw new HttpError(500, 'Internal Server Error')
    }
    incoming.push(...(await take(site, exchange, path, exchange.request)))
    return incoming
  } catch (error) {
    for (const { received } of incoming) await site.blobs.discard(received)
    throw error
  }
}

async function take(
  site: Site,
  exchange: Exchange,
  name: string,
  content: Readable,
): Promise<readonly Incoming[]> {
  const path = name.replaceAll('[SLASH]', '/').replaceAll('[COMMA]', ',').replace(/^\/+/, '')
  const problem = pathProblem(path)
  if (problem !== undefined) throw new HttpError(400, problem)
  const received = await site.blobs.receive(content, { signal: exchange.signal })
  const kind = exchange.query.flag('extract') ? archiveKind(path, exchange.contentType) : undefined
  if (kind === undefined) return [{ path, received }]
  const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/') + 1) : ''
  try {
    return await unpack(site.blobs, received.temporary, kind, folder, exchange.signal)
  } finally {
    await site.blobs.discard(received)
  }
}

async function commit(
  site: Site,
  exchange: Exchange,
  owner: ItemRecord,
  label: string,
  address: Address,
  before: Resource | undefined,
  version: number | undefined,
  incoming: readonly Incoming[],
): Promise<Reply> {
  const { archive, blobs } = site
  if (!archive.items.has(owner.key)) throw new HttpError(404, 'Unable to find the specified item.')
  const about = described(exchange)
  const now = existing(site, owner, label, address.io)
  const conflict =
    before === undefined
      ? now !== undefined
      : now?.record.key !== before.record.key || now.version !== version
  const resource =
    now ??
    archive.createResource(
      owner,
      { slot: slotOf(owner, address.io), label, ...about },
      folderOf(site, owner, label, true),
      site.actor(exchange),
    )
  const counted = resource.record.stale ?? { count: resource.files.size, bytes: resource.bytes }
  const duplicates: string[] = []
  for (const { path, received } of incoming) {
    if (resource.files.has(path) && !exchange.query.flag('overwrite')) {
      duplicates.push(path)
      continue
    }
    const mtimeMs = await place(site, received, resource.record.folder, path)
    // The bytes are there, and the catalog does not know them: they stay unseen until it is refreshed.
    if (conflict) continue
    archive.putFile(resource, {
      path,
      bytes: received.bytes,
      digest: received.digest,
      mtimeMs,
      createdMs: exchange.nowMs,
      createdBy: exchange.user,
      ...(about.format === undefined ? {} : { format: about.format }),
      ...(about.content === undefined ? {} : { content: about.content }),
      ...(about.description === undefined ? {} : { description: about.description }),
      ...(about.tags.length === 0 ? {} : { tags: about.tags }),
    })
  }
  if (conflict) {
    exchange.note = 'the catalog was changed by another upload: two at once into one resource'
    await blobs.list(resource.record.folder)
    throw new HttpError(500, 'The catalog was changed by another request.')
  }
  const lazy = ['false', '0'].includes(exchange.query.get('update-stats') ?? 'true')
  if (lazy || resource.record.stale !== undefined) {
    archive.updateResource(resource, exchange.nowMs, (record) => {
      if (lazy) record.stale = counted
      else delete record.stale
    })
  }
  await archive.flush()
  return duplicates.length > 0 ? html(JSON.stringify({ duplicates })) : empty()
}

async function place(site: Site, received: Received, folder: string, path: string): Promise<number> {
  try {
    return await site.blobs.place(received, folder, path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // A file where a folder is wanted, or the other way round.
    if (code === 'EEXIST' || code === 'ENOTDIR' || code === 'EISDIR' || code === 'ENOTEMPTY') {
      throw new HttpError(500, `${extname(path) === '' ? 'A file or folder' : path} is in the way.`)
    }
    throw error
  }
}
