/** From the names in a path to the items they name; what the user may not see is not there. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, forbidden } from '../http/reply.js'
import type { ItemRecord } from '../state/records.js'
import type { Address } from './address.js'
import type { Site } from './site.js'

export interface Found {
  readonly project?: ItemRecord
  readonly subject?: ItemRecord
  readonly experiment?: ItemRecord
  /** All that the last selector of the path names: scans, assessors or reconstructions; else the innermost item alone. */
  readonly owners: readonly ItemRecord[]
}

const missing = (what: string): HttpError => new HttpError(404, `Unable to find the specified ${what}.`)

export function findProject(site: Site, exchange: Exchange, id: string): ItemRecord {
  const project = site.archive.projects.get(id)
  if (project === undefined || !site.maySeeProject(exchange, id)) throw missing('project')
  return project
}

/** @throws HttpError 404 also for what the user may not read */
export function find(site: Site, exchange: Exchange, address: Address): Found {
  const { archive } = site
  const project = address.project === undefined ? undefined : findProject(site, exchange, address.project)
  const readable = (item: ItemRecord | undefined, what: string): ItemRecord => {
    if (item === undefined || !site.mayItem(exchange, 'read', item)) throw missing(what)
    return item
  }
  const subject =
    address.subject === undefined
      ? undefined
      : readable(
          project === undefined
            ? archive.subjects.get(address.subject)
            : archive.subjectIn(project.id, address.subject),
          'subject',
        )
  let experiment: ItemRecord | undefined
  if (address.experiment !== undefined) {
    experiment = readable(findExperiment(site, address, project), 'experiment')
    if (subject !== undefined && site.subjectOf(experiment)?.id !== subject.id) throw missing('experiment')
  }
  const innermost = experiment ?? subject ?? project
  const owners = findOwners(site, address, experiment) ?? (innermost === undefined ? [] : [innermost])
  return {
    ...(project === undefined ? {} : { project }),
    ...(subject === undefined ? {} : { subject }),
    ...(experiment === undefined ? {} : { experiment }),
    owners,
  }
}

function findExperiment(
  site: Site,
  address: Address,
  project: ItemRecord | undefined,
): ItemRecord | undefined {
  const name = address.experiment ?? ''
  return project === undefined
    ? site.archive.experiments.get(name)
    : site.archive.experimentIn(project.id, name)
}

/** Scans, assessors or reconstructions by ID, type, `ALL`, `*` or a list of these. */
function findOwners(
  site: Site,
  address: Address,
  session: ItemRecord | undefined,
): readonly ItemRecord[] | undefined {
  const { archive, types } = site
  if (session === undefined) return undefined
  if (address.scan !== undefined) {
    const words = address.scan.split(',')
    return [...archive.scansOf(session.id)].filter((scan) => {
      const type = scan.data.attributes?.type ?? ''
      return words.some(
        (word) =>
          word === 'ALL' ||
          word === '*' ||
          word === scan.id ||
          word === type ||
          (word === 'NULL' && type === ''),
      )
    })
  }
  if (address.reconstruction !== undefined) {
    const words = address.reconstruction.split(',')
    return [...archive.reconstructionsOf(session.id)].filter(({ id }) =>
      words.some((word) => word === 'ALL' || word === '*' || word === id),
    )
  }
  if (address.assessor !== undefined) {
    const words = address.assessor.split(',')
    return [...archive.assessorsOf(session.id)].filter(({ id, label, type }) =>
      words.some(
        (word) =>
          word === 'ALL' ||
          word === '*' ||
          word === id ||
          word === label ||
          (word.includes(':') && types.isA(type, word)),
      ),
    )
  }
  return undefined
}

/** The one item that a write is for. @throws HttpError 404 none or several, 403 may read but not this */
export function findOne(
  site: Site,
  exchange: Exchange,
  address: Address,
  right: 'read' | 'edit' | 'delete',
): ItemRecord {
  const { owners } = find(site, exchange, address)
  const [owner] = owners
  if (owner === undefined || owners.length > 1) throw missing(address.scan === undefined ? 'item' : 'scan')
  if (!site.mayItem(exchange, right, owner)) throw forbidden()
  return owner
}
