/** `.../projects/{other}` below a subject, experiment or scan: the same item in another project. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, forbidden, type Reply } from '../http/reply.js'
import type { ItemRecord } from '../state/records.js'
import type { Address } from './address.js'
import { findOne, findProject } from './find.js'
import type { Site } from './site.js'
import { tableReply } from './table.js'

export function isShareRequest(address: Address): boolean {
  return address.rest[0] === 'projects' && address.rest.length <= 2
}

export async function shareHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const { archive } = site
  exchange.route = `${address.route}/projects`
  const item = findOne(site, exchange, address, 'read')
  const other = address.rest[1]
  if (other === undefined) {
    if (exchange.method !== 'GET') throw new HttpError(405)
    const places = [{ project: item.project, label: item.label }, ...(item.shares ?? [])]
    const rows = places.map(({ project, label }) => {
      const { data } = archive.projects.get(project) ?? item
      return [
        label,
        project,
        data.attributes?.secondary_ID ?? '',
        data.children?.find(({ name }) => name === 'name')?.text ?? '',
      ]
    })
    return tableReply(exchange, { columns: ['label', 'ID', 'Secondary_ID', 'Name'], rows })
  }
  const target = findProject(site, exchange, other).id
  if (exchange.method === 'DELETE') return unshare(site, exchange, item, target)
  if (exchange.method !== 'PUT') throw new HttpError(405)
  if (!site.may(exchange, 'edit', target)) throw forbidden()
  const label = exchange.query.get('label') ?? item.label
  const primary = exchange.query.get('primary') === 'true'
  const present = item.project === target || item.shares?.some(({ project }) => project === target) === true
  if (present && !primary) throw new HttpError(409, `Already assigned to project ${target}.`)
  const holder =
    item.kind === 'subject'
      ? archive.subjectIn(target, label)
      : item.kind === 'experiment'
        ? archive.experimentIn(target, label)
        : undefined
  if (holder !== undefined && holder !== item)
    throw new HttpError(409, `Label ${label} is already in use in ${target}.`)
  if (primary && !site.mayItem(exchange, 'delete', item)) throw forbidden()
  archive.update(item, site.actor(exchange), (changed) => {
    const others = (changed.shares ?? []).filter(({ project }) => project !== target)
    if (primary) {
      changed.shares = [
        ...others,
        ...(changed.project === target ? [] : [{ project: changed.project, label: changed.label }]),
      ]
      changed.project = target
      changed.label = label
    } else changed.shares = [...others, { project: target, label }]
  })
  await archive.flush()
  return empty()
}

export async function unshare(
  site: Site,
  exchange: Exchange,
  item: ItemRecord,
  project: string,
): Promise<Reply> {
  if (!site.may(exchange, 'edit', project)) throw forbidden()
  if (item.shares?.some((share) => share.project === project) !== true)
    throw new HttpError(404, `Not shared to project ${project}.`)
  site.archive.update(item, site.actor(exchange), (changed) => {
    changed.shares = (changed.shares ?? []).filter((share) => share.project !== project)
  })
  await site.archive.flush()
  return empty()
}
