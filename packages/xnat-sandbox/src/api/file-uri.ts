/** Addresses of files, in listings and in archives. */

import type { ItemRecord } from '../state/records.js'
import type { Address } from './address.js'
import type { Placed } from './resources.js'
import type { Site } from './site.js'

const encode = (path: string): string => path.split('/').map(encodeURIComponent).join('/')

/** Of a resource, up to and with `/files`; numbers and IDs, never labels. */
export function filesUri(site: Site, address: Address, { owner, resource }: Placed, single: boolean): string {
  return `${ownerUri(site, address, owner, single)}${ioPart(owner, resource.record.slot, address)}/resources/${resource.record.key}/files`
}

function ioPart(owner: ItemRecord, slot: string, address: Address): string {
  // Reached as an experiment, an assessor is spoken of without `out`.
  const asExperiment =
    address.experiment !== undefined &&
    address.assessor === undefined &&
    owner.session !== undefined &&
    owner.kind === 'experiment'
  return (slot === 'in' || slot === 'out') && !asExperiment ? `/${slot}` : ''
}

function ownerUri(site: Site, address: Address, owner: ItemRecord, single: boolean): string {
  if (owner.kind === 'project') return `/data/projects/${owner.id}`
  if (owner.kind === 'subject')
    return `/data/projects/${address.project ?? owner.project}/subjects/${owner.id}`
  const session = site.sessionOf(owner)
  const asExperiment =
    address.experiment !== undefined && address.assessor === undefined && owner.kind === 'experiment'
  const top = session === undefined || asExperiment ? owner : session
  const subject = site.subjectOf(owner)
  const base =
    single && address.project !== undefined && address.subject !== undefined && subject !== undefined
      ? `/data/projects/${address.project}/subjects/${subject.id}/experiments/${top.id}`
      : `/data/experiments/${top.id}`
  if (top === owner) return base
  const level =
    owner.kind === 'scan' ? 'scans' : owner.kind === 'reconstruction' ? 'reconstructions' : 'assessors'
  return `${base}/${level}/${encodeURIComponent(owner.id)}`
}

export function fileUri(site: Site, address: Address, placed: Placed, path: string, single: boolean): string {
  return `${filesUri(site, address, placed, single)}/${encode(path)}`
}

export type Structure = 'default' | 'simplified' | 'improved' | 'legacy'

/** Path of a file in a zip or tar. */
export function memberPath(
  site: Site,
  placed: Placed,
  path: string,
  structure: Structure,
  tar: boolean,
  prefix: readonly string[],
): string {
  const { owner, resource } = placed
  const { record } = resource
  if (structure === 'legacy') return `${site.blobs.path(record.folder)}/${path}`.replace(/^\//, '')
  const session = site.sessionOf(owner) ?? owner
  const top = owner.kind === 'project' ? owner.id : owner.kind === 'subject' ? owner.label : session.label
  const type = owner.kind === 'scan' ? (owner.data.attributes?.type ?? '') : ''
  const safeType = type.replace(/\W/g, '_')
  if (structure === 'improved') {
    if (owner === session || owner.kind === 'project' || owner.kind === 'subject')
      return [...prefix, 'resources', record.label, path].join('/')
    const described = type === '' || tar ? owner.id : `${owner.id}_${safeType}`
    return [...prefix, levelOf(owner), described, record.label, path].join('/')
  }
  const level =
    owner === session || owner.kind === 'project' || owner.kind === 'subject'
      ? []
      : [levelOf(owner), owner.id]
  const io = record.slot === 'in' || record.slot === 'out' ? [record.slot] : []
  if (structure === 'simplified') return [...prefix, top, ...level, ...io, record.label, path].join('/')
  const parts = [top, ...level, ...io, 'resources', record.label, 'files', ...path.split('/')]
  // The server replaces the scan's ID wherever it is a whole part of the path.
  const shown =
    owner.kind === 'scan' && type !== ''
      ? parts.map((part, index) => (index > 0 && part === owner.id ? `${owner.id}-${safeType}` : part))
      : parts
  return [...prefix, ...shown].join('/')
}

function levelOf(owner: ItemRecord): string {
  return owner.kind === 'scan' ? 'scans' : owner.kind === 'reconstruction' ? 'reconstructions' : 'assessors'
}
