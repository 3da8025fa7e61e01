/** Values of an item by field path, whether they are its own content or the server's knowledge of it. */

import { childrenNamed, valuesAt, type Element } from '../model/element.js'
import { parsePath, type PathPart } from '../model/registry.js'
import type { Resource } from '../state/archive.js'
import type { ItemRecord } from '../state/records.js'
import { timestamp, type Site } from './site.js'

/** Reads one field of an item. Made once a column, called once a row. */
export type FieldReader = (item: ItemRecord, project: string | undefined) => string

/** @param path - without the type, as `scanner/model` */
export function fieldReader(site: Site, path: string): FieldReader {
  const { archive } = site
  switch (path.toLowerCase()) {
    case 'id':
      return (item) => item.id
    case 'label':
      return (item, project) => archive.labelIn(item, project)
    case 'project':
      return (item) => item.project
    case 'xsitype':
    case 'meta/xsi:type':
      return (item) => item.type
    case 'subject_id':
    case 'subjectid':
      return (item) => site.subjectOf(item)?.id ?? ''
    case 'subject_label':
      return (item, project) => withItem(site.subjectOf(item), (subject) => archive.labelIn(subject, project))
    case 'subject_project':
      return (item) => site.subjectOf(item)?.project ?? ''
    case 'imagesession_id':
    case 'image_session_id':
      return (item) => item.session ?? ''
    // Of a session these are its own: one list may hold sessions and assessors.
    case 'session_id':
      return (item) => item.session ?? item.id
    case 'session_label':
      return (item, project) =>
        withItem(site.sessionOf(item) ?? item, (session) => archive.labelIn(session, project))
    case 'session_project':
      return (item) => (site.sessionOf(item) ?? item).project
    case 'meta/insert_date':
      return (item) => timestamp(item.insertedMs)
    case 'meta/insert_user':
    case 'meta/insert_user/login':
      return (item) => item.insertedBy
    case 'meta/last_modified':
      return (item) => timestamp(item.modifiedMs)
    case 'meta/status':
      return (item) => item.status ?? 'active'
    case 'xnat_imagescandata_id':
    case 'xnat_reconstructedimagedata_id':
      return (item) => String(item.key)
    case 'uri':
      return (item) => uriOf(item)
    default: {
      const parts = parsePath(path)
      return (item) => valuesAt(item.data, parts)[0] ?? ''
    }
  }
}

function withItem(item: ItemRecord | undefined, read: (item: ItemRecord) => string): string {
  return item === undefined ? '' : read(item)
}

export function uriOf(item: ItemRecord): string {
  const encode = encodeURIComponent
  switch (item.kind) {
    case 'project':
      return `/data/projects/${encode(item.id)}`
    case 'subject':
      return `/data/subjects/${encode(item.id)}`
    case 'experiment':
      return `/data/experiments/${encode(item.id)}`
    case 'scan':
      return `/data/experiments/${encode(item.session ?? '')}/scans/${encode(item.id)}`
    case 'reconstruction':
      return `/data/experiments/${encode(item.session ?? '')}/reconstructions/${encode(item.id)}`
  }
}

/** Entries of a list within an item, each of which makes a row of its own. */
export type ListEntry = { readonly element: Element } | { readonly resource: Resource }

const RESOURCE_LISTS: Readonly<Record<string, 'file' | 'in' | 'out' | 'resources'>> = {
  file: 'file',
  'in/file': 'in',
  'out/file': 'out',
  'resources/resource': 'resources',
}

/** How much of a path leads to a list that multiplies rows: `out/file` of `out/file/label`; undefined: nothing does. */
export function listPrefix(
  parts: readonly PathPart[],
  isMany: (path: string) => boolean,
): string | undefined {
  for (let length = 1; length < parts.length; length += 1) {
    const prefix = parts
      .slice(0, length)
      .map(({ name }) => name.toLowerCase())
      .join('/')
    if (prefix in RESOURCE_LISTS || prefix === 'sharing/share') return prefix
    if (isMany(prefix) && parts.slice(0, length).every(({ selectors }) => selectors.length === 0))
      return prefix
  }
  return undefined
}

export function listEntries(site: Site, item: ItemRecord, prefix: string): readonly ListEntry[] {
  const slot = RESOURCE_LISTS[prefix]
  if (slot !== undefined) return site.archive.resourcesOf(item, slot).map((resource) => ({ resource }))
  if (prefix === 'sharing/share') {
    return (item.shares ?? []).map(({ project, label }) => ({
      element: { name: 'share', attributes: { project, label } },
    }))
  }
  let current: readonly Element[] = [item.data]
  for (const name of prefix.split('/')) current = current.flatMap((element) => childrenNamed(element, name))
  return current.map((element) => ({ element }))
}

/** @param rest - path within the entry */
export function entryValue(entry: ListEntry, rest: readonly PathPart[]): string {
  if ('element' in entry) {
    const wrapper: Element = { name: '', children: [entry.element] }
    return valuesAt(wrapper, [{ name: entry.element.name, selectors: [] }, ...rest])[0] ?? ''
  }
  const { record, files, bytes } = entry.resource
  switch (rest.map(({ name }) => name.toLowerCase()).join('/')) {
    case 'label':
      return record.label
    case 'file_count':
      return String(files.size)
    case 'file_size':
      return String(bytes)
    case 'format':
      return record.format ?? ''
    case 'content':
      return record.content ?? ''
    case 'description':
      return record.description ?? ''
    case 'xnat_abstractresource_id':
      return String(record.key)
    case 'uri':
      return record.folder
    case 'meta/last_modified':
      return timestamp(record.modifiedMs)
    case 'meta/insert_date':
      return timestamp(record.insertedMs)
    default:
      return ''
  }
}
