/** An item as its document, with all that hangs on it: XML as the server writes it, and the JSON `items` form. */

import { textNameOf, type Element } from '../model/element.js'
import { NAMESPACES } from '../model/types.js'
import type { ElementSpec } from '../model/spec.js'
import { XSI, escapeXml } from '../model/xml.js'
import type { Resource } from '../state/archive.js'
import type { ItemRecord, Slot } from '../state/records.js'
import type { Site } from './site.js'

/** An element with what the server knows of it: numbers of rows, for hidden comments and JSON. */
interface Doc extends Element {
  hidden?: Readonly<Record<string, string | number>>
  eventId?: number
  insertedMs?: number
  children?: Doc[]
}

export function documentOf(site: Site, item: ItemRecord): Doc {
  const { archive } = site
  const doc: Doc = {
    name: item.type,
    type: item.type,
    attributes: { ...item.data.attributes },
    children: structuredClone(item.data.children ?? []),
    eventId: item.key,
    insertedMs: item.insertedMs,
  }
  const attributes = doc.attributes ?? {}
  attributes.ID = item.id
  const add = (...children: Doc[]): void => void doc.children?.push(...children)
  const list = (wrapper: string, children: Doc[]): void => {
    if (children.length > 0) add({ name: wrapper, children })
  }
  const resources = (slot: Slot): Doc[] =>
    archive
      .resourcesOf(item, slot)
      .map((resource) => resourceDoc(site, resource, slot === 'resources' ? 'resource' : 'file'))
  const shares = (type: string, key: string): Doc[] =>
    (item.shares ?? []).map(({ project, label }, index) => ({
      name: 'share',
      ...(type === '' ? {} : { type }),
      attributes: { label, project },
      hidden: { [key]: item.key * 100 + index },
    }))
  switch (item.kind) {
    case 'project':
      list('resources', resources('resources'))
      break
    case 'subject':
      attributes.project = item.project
      attributes.label = item.label
      list('sharing', shares('xnat:projectParticipant', 'xnat_projectParticipant_id'))
      list('resources', resources('resources'))
      list(
        'experiments',
        [...archive.experimentsOf(item.id)].map((experiment) => ({
          ...documentOf(site, experiment),
          name: 'experiment',
        })),
      )
      break
    case 'experiment': {
      attributes.project = item.project
      attributes.label = item.label
      list('sharing', shares('', 'xnat_experimentData_share_id'))
      list('resources', resources('resources'))
      const assessor = item.session !== undefined
      if (assessor) add({ name: 'imageSession_ID', text: item.session ?? '' })
      else if (item.subject !== undefined) add({ name: 'subject_ID', text: item.subject })
      list('in', resources('in'))
      list('out', resources('out'))
      list(
        'scans',
        [...archive.scansOf(item.id)].map((scan) => ({ ...documentOf(site, scan), name: 'scan' })),
      )
      list(
        'reconstructions',
        [...archive.reconstructionsOf(item.id)].map((one) => ({
          ...documentOf(site, one),
          name: 'reconstructedImage',
        })),
      )
      list(
        'assessors',
        [...archive.assessorsOf(item.id)].map((one) => ({ ...documentOf(site, one), name: 'assessor' })),
      )
      break
    }
    case 'scan':
      attributes.project = item.project
      doc.hidden = { xnat_imageScanData_id: item.key }
      list('sharing', shares('', 'xnat_imageScanData_share_id'))
      add({ name: 'image_session_ID', text: item.session ?? '' }, ...resources('file'))
      break
    case 'reconstruction':
      doc.hidden = { xnat_reconstructedImageData_id: item.key }
      add({ name: 'image_session_ID', text: item.session ?? '' })
      list('in', resources('in'))
      list('out', resources('out'))
      break
  }
  doc.attributes = attributes
  return doc
}

function resourceDoc(site: Site, { record, files, bytes }: Resource, name: string): Doc {
  const attributes: Record<string, string> = {
    label: record.label,
    URI: catalogPath(site, record.folder, record.label),
  }
  if (record.format !== undefined) attributes.format = record.format
  if (record.content !== undefined) attributes.content = record.content
  if (record.description !== undefined) attributes.description = record.description
  attributes.file_count = String(files.size)
  attributes.file_size = String(bytes)
  const tags: Doc[] = record.tags.map((tag, index) => {
    const [key, ...value] = tag.split('=')
    const hidden = { xnat_abstractResource_tag_id: record.key * 100 + index }
    return value.length === 0
      ? { name: 'tag', text: tag, hidden }
      : { name: 'tag', attributes: { name: key ?? '' }, text: value.join('='), hidden }
  })
  return {
    name,
    type: 'xnat:resourceCatalog',
    attributes,
    ...(tags.length === 0 ? {} : { children: [{ name: 'tags', children: tags }] }),
    hidden: { xnat_abstractResource_id: record.key },
    eventId: record.key,
    insertedMs: record.insertedMs,
  }
}

export function catalogPath(site: Site, folder: string, label: string): string {
  return `${site.blobs.path(folder)}/${label}_catalog.xml`
}

// -- XML

/** @param conceal - leave out the comments that hold row numbers */
export function documentXml(site: Site, item: ItemRecord, conceal: boolean): string {
  const doc = documentOf(site, item)
  const type = site.types.require(item.type)
  const name = `${type.prefix}:${type.element ?? type.name.split(':')[1] ?? ''}`
  const prefixes = new Set([
    'arc',
    'cat',
    'pipe',
    'prov',
    'wrk',
    'xdat',
    'xnat',
    ...site.types.all.map(({ prefix }) => prefix),
  ])
  const namespaces = [...prefixes].sort().flatMap((prefix) => {
    const namespace = NAMESPACES[prefix]
    return namespace === undefined ? [] : [{ prefix, ...namespace }]
  })
  const locations = namespaces.flatMap(({ uri, schema }) =>
    schema === undefined ? [] : [`${uri} ${site.settings.url}/schemas/${schema.split('/').at(-1) ?? ''}.xsd`],
  )
  const head =
    namespaces.map(({ prefix, uri }) => ` xmlns:${prefix}="${uri}"`).join('') +
    ` xmlns:xsi="${XSI}" xsi:schemaLocation="${escapeXml(locations.join(' '))}"`
  return `<?xml version="1.0" encoding="UTF-8"?>\n${elementXml(site, { ...doc, name }, type.fields, head, conceal)}\n`
}

function elementXml(
  site: Site,
  doc: Doc,
  specs: readonly ElementSpec[],
  head: string,
  conceal: boolean,
): string {
  const attributes = specs
    .filter(({ attribute }) => attribute)
    .flatMap(({ name }) => {
      const value = doc.attributes?.[name]
      return value === undefined ? [] : [` ${name}="${escapeXml(value)}"`]
    })
    .join('')
  const hidden =
    conceal || doc.hidden === undefined
      ? ''
      : `<!--hidden_fields[${Object.entries(doc.hidden)
          .map(([key, value]) => `${key}="${String(value)}"`)
          .join(',')}]-->`
  const children = specs
    .filter(({ attribute }) => !attribute)
    .flatMap((spec) =>
      (doc.children ?? [])
        .filter(({ name }) => name === spec.name)
        .map((child) => {
          const inner = site.types.childrenOf(spec, child.type)
          const type = child.type !== undefined && spec.of !== undefined ? ` xsi:type="${child.type}"` : ''
          return elementXml(
            site,
            { ...child, name: `${site.types.declaredBy(spec).prefix}:${child.name}` },
            inner,
            type,
            conceal,
          )
        }),
    )
    .join('')
  const content = `${hidden}${doc.text === undefined ? '' : escapeXml(doc.text)}${children}`
  return content === ''
    ? `<${doc.name}${attributes}${head}/>`
    : `<${doc.name}${attributes}${head}>${content}</${doc.name}>`
}

// -- JSON

export interface JsonItem {
  readonly children: readonly { readonly field: string; readonly items: readonly JsonItem[] }[]
  readonly meta: Readonly<Record<string, unknown>>
  readonly data_fields: Readonly<Record<string, string | number>>
}

export function documentJson(site: Site, item: ItemRecord): JsonItem {
  return itemJson(site, documentOf(site, item), item.type)
}

function itemJson(site: Site, doc: Doc, typeName: string): JsonItem {
  const type = site.types.find(typeName)
  const fields: Record<string, string | number> = {}
  const lists = new Map<string, JsonItem[]>()
  walk(site, doc, type?.fields ?? [], '', fields, lists)
  return finished(site, doc, typeName, fields, lists)
}

/** An entry of a list that has no type by name. */
function entryJson(site: Site, doc: Doc, spec: ElementSpec): JsonItem {
  const fields: Record<string, string | number> = {}
  const lists = new Map<string, JsonItem[]>()
  if (doc.text !== undefined) fields[textNameOf(spec.name)] = typed(spec, doc.text)
  walk(site, doc, spec.children, '', fields, lists)
  return finished(site, doc, `${site.types.declaredBy(spec).name}_${spec.name}`, fields, lists)
}

function finished(
  site: Site,
  doc: Doc,
  typeName: string,
  fields: Record<string, string | number>,
  lists: ReadonlyMap<string, readonly JsonItem[]>,
): JsonItem {
  for (const [name, value] of Object.entries(doc.hidden ?? {})) {
    fields[name] = value
    // The primary key of a base type comes twice, in both of its spellings.
    if (/^xnat_(imageScanData|abstractResource|reconstructedImageData)_id$/.test(name))
      fields[name.toLowerCase()] = value
  }
  if (
    doc.attributes?.ID !== undefined &&
    doc.hidden?.xnat_imageScanData_id === undefined &&
    doc.eventId !== undefined
  ) {
    fields.id = doc.attributes.ID
  }
  return {
    children: [...lists].map(([field, items]) => ({ field, items })),
    meta: {
      create_event_id: doc.eventId ?? 0,
      'xsi:type': site.types.find(typeName)?.name ?? typeName,
      isHistory: false,
      start_date: javaDate(doc.insertedMs ?? 0),
    },
    data_fields: fields,
  }
}

function walk(
  site: Site,
  doc: Doc,
  specs: readonly ElementSpec[],
  prefix: string,
  fields: Record<string, string | number>,
  lists: Map<string, JsonItem[]>,
): void {
  for (const spec of specs) {
    if (spec.attribute) {
      const value = doc.attributes?.[spec.name]
      if (value !== undefined) fields[`${prefix}${spec.name}`] = typed(spec, value)
      continue
    }
    for (const child of (doc.children ?? []).filter(({ name }) => name === spec.name)) {
      const path = `${prefix}${spec.name}`
      if (spec.of !== undefined || spec.many) {
        const entry =
          spec.of === undefined ? entryJson(site, child, spec) : referredJson(site, child, spec.of)
        const known = lists.get(path)
        if (known === undefined) lists.set(path, [entry])
        else known.push(entry)
        continue
      }
      if (child.text !== undefined) fields[path] = typed(spec, child.text)
      walk(site, child, spec.children, `${path}/`, fields, lists)
    }
  }
}

function referredJson(site: Site, doc: Doc, of: string): JsonItem {
  const item = itemJson(site, doc, doc.type ?? of)
  if (doc.text === undefined) return item
  return { ...item, data_fields: { ...item.data_fields, [textNameOf(doc.name)]: doc.text } }
}

function typed(spec: ElementSpec, value: string): string | number {
  if (!['integer', 'float', 'double', 'boolean'].includes(spec.valueType)) return value
  const number = Number(value)
  return value === '' || Number.isNaN(number) || !Number.isFinite(number) ? value : number
}

/** As Java prints a date: `Tue Sep 15 16:13:33 UTC 2020`. */
export function javaDate(ms: number): string {
  const [day = '', date = '', month = '', year = '', time = ''] = new Date(ms)
    .toUTCString()
    .replace(',', '')
    .split(' ')
  return `${day} ${month} ${date} ${time} UTC ${year}`
}
