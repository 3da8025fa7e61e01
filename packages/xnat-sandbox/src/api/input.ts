/** Items as clients send them: a document, a form, field paths as parameters. */

import { childrenNamed, FieldError, mergeInto, setAt, valueProblems, type Element } from '../model/element.js'
import type { DataType } from '../model/registry.js'
import { parseXml, XmlError, type XmlElement } from '../model/xml.js'
import type { Exchange, Query } from '../http/exchange.js'
import { HttpError } from '../http/reply.js'
import type { ItemKind } from '../state/records.js'
import { READ_ONLY, shortcutPath } from './shortcuts.js'
import type { Site } from './site.js'
import { firstFilePart } from './multipart.js'

export interface Input {
  readonly type: DataType | undefined
  /** Content of the document, without what {@link Named} holds. */
  readonly document: XmlElement | undefined
  /** Field paths below the type, with their values. */
  readonly fields: readonly (readonly [path: string, value: string])[]
  readonly named: Named
  readonly query: Query
}

/** What the server keeps beside the content. */
export interface Named {
  id?: string
  label?: string
  project?: string
  subject?: string
  session?: string
}

/**
 * @param kind - of the item that the URL names
 * @param usual - its type, where the URL settles it
 * @throws HttpError 400 not well-formed, unknown field or type, value that does not fit; 417 no type
 */
export async function readInput(
  site: Site,
  exchange: Exchange,
  kind: ItemKind,
  usual?: string,
): Promise<Input> {
  const document = await readDocument(exchange)
  const form = document === undefined ? await exchange.form() : undefined
  const query = form === undefined ? exchange.query : exchange.query.with(form)
  const rootType = document === undefined ? undefined : documentType(site, document)
  const asked =
    query.get('xsiType') ??
    query.entries.map(([name]) => /^([\w-]+:[\w-]+)\//.exec(name)?.[1]).find((name) => name !== undefined)
  let type = rootType
  if (type === undefined && asked !== undefined) {
    type = site.types.find(asked)
    if (type === undefined) throw new HttpError(400, `Unknown data type: ${asked}`)
  }
  if (type === undefined && usual !== undefined) type = site.types.require(usual)
  const named: Named = {}
  const fields: [string, string][] = []
  for (const [name, value] of query.entries) {
    const path = fieldPath(site, kind, name)
    if (path === undefined) continue
    if (!takeNamed(named, kind, path, value)) fields.push([path, escaped(value)])
  }
  if (document !== undefined) takeNamedOf(document, kind, named)
  return { type, document, fields, named, query }
}

/** Lay what was sent over the content of an item. */
export function applyInput(
  site: Site,
  target: Element,
  type: DataType,
  { document, fields }: Input,
  removeMissing = false,
): void {
  if (document !== undefined) {
    const problems = valueProblems(document, type.fields, site.types)
    if (problems.length > 0) throw new HttpError(400, problems.join(' '))
    mergeInto(target, { name: target.name, ...pick(document) }, type.fields, site.types, removeMissing)
  }
  for (const [path, value] of fields) {
    try {
      setAt(target, type.fields, path, value, site.types)
    } catch (error) {
      if (error instanceof FieldError) throw new HttpError(400, error.message)
      throw error
    }
  }
}

function pick({ attributes, children, text }: Element): Omit<Element, 'name'> {
  return {
    ...(attributes === undefined ? {} : { attributes }),
    ...(children === undefined ? {} : { children }),
    ...(text === undefined ? {} : { text }),
  }
}

async function readDocument(exchange: Exchange): Promise<XmlElement | undefined> {
  const { contentType, query } = exchange
  let text: string | undefined
  if (contentType === 'multipart/form-data') text = await firstFilePart(exchange)
  else if (
    ['text/xml', 'application/xml'].includes(contentType) ||
    query.get('req_format') === 'xml' ||
    query.flag('inbody')
  ) {
    text = await exchange.bodyText()
  }
  if (text === undefined || text.trim() === '') return undefined
  try {
    return parseXml(text)
  } catch (error) {
    if (error instanceof XmlError) throw new HttpError(400, `Unable to parse the document: ${error.message}`)
    throw error
  }
}

function documentType(site: Site, document: XmlElement): DataType {
  const type = site.types.ofElement(document.namespace, document.name)
  if (type === undefined) throw new HttpError(400, `Unknown document type: ${document.name}`)
  return type
}

/** The path of a field below its type; undefined: the parameter is something else. */
function fieldPath(site: Site, kind: ItemKind, name: string): string | undefined {
  const typed = /^([\w-]+:[\w-]+)\/(.+)$/s.exec(name)
  if (typed !== null) {
    // Old clients: `fields/fieldname=note/field`.
    if (site.types.find(typed[1] ?? '') === undefined)
      throw new HttpError(400, `Unknown data type: ${typed[1]}`)
    return typed[2]
  }
  if (READ_ONLY.has(name)) return undefined
  return shortcutPath(kind, name)
}

function takeNamed(named: Named, kind: ItemKind, path: string, value: string): boolean {
  switch (path.toLowerCase()) {
    case 'id':
      if (value !== '') named.id = value
      return true
    case 'label':
      if (value !== '') named.label = value
      return kind !== 'scan' && kind !== 'project'
    case 'project':
      if (kind === 'project') return false
      if (value !== '') named.project = value
      return true
    case 'subject_id':
      if (value !== '') named.subject = value
      return true
    case 'imagesession_id':
    case 'image_session_id':
      if (value !== '') named.session = value
      return true
    default:
      return path.toLowerCase().startsWith('meta/') || path.toLowerCase().startsWith('sharing/')
  }
}

/** Take identity and neighbours out of a document; parameters of the request go before them. */
function takeNamedOf(document: XmlElement, kind: ItemKind, named: Named): void {
  const fromAttribute = (name: string): string | undefined => {
    const value = document.attributes?.[name]
    delete document.attributes?.[name]
    return value === '' ? undefined : value
  }
  const set = (key: keyof Named, value: string | undefined): void => {
    if (value !== undefined) named[key] ??= value
  }
  set('id', fromAttribute('ID'))
  if (kind !== 'project') {
    set('label', fromAttribute('label'))
    set('project', fromAttribute('project'))
  }
  for (const [name, key] of [
    ['subject_ID', 'subject'],
    ['imageSession_ID', 'session'],
    ['image_session_ID', 'session'],
  ] as const) {
    const element = childrenNamed(document, name)[0]
    if (element === undefined) continue
    set(key, element.text)
    document.children = document.children?.filter((child) => child !== element) ?? []
  }
  // What hangs on the item has rows of its own; shares and resources are made by requests of their own.
  const structure = STRUCTURE[kind]
  document.children = document.children?.filter(({ name }) => !structure.has(name)) ?? []
}

const STRUCTURE: Readonly<Record<ItemKind, ReadonlySet<string>>> = {
  project: new Set(['resources']),
  subject: new Set(['sharing', 'resources', 'experiments']),
  experiment: new Set(['sharing', 'resources', 'in', 'out', 'reconstructions', 'assessors']),
  scan: new Set(['sharing', 'file']),
  reconstruction: new Set(['in', 'out']),
}

/** Values in parameters go through HTML escaping before they are stored; only documents keep such characters. */
function escaped(value: string): string {
  return value.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')
}
