/** Experiments: sessions and other subject assessors, image assessors; their lists, reads and writes. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, forbidden, text, type Reply } from '../http/reply.js'
import { childrenNamed, type Element } from '../model/element.js'
import type { DataType } from '../model/registry.js'
import type { ItemRecord } from '../state/records.js'
import { sessionAddress, type Address } from './address.js'
import { columnFor, columnNames, filtersOf, rowsOf, type Column } from './columns.js'
import { find, findOne, findProject } from './find.js'
import { applyInput, readInput, type Input } from './input.js'
import { itemReply } from './item-reply.js'
import { fieldsReply } from './projects.js'
import { removeItem } from './remove.js'
import { checkScan, saveScan } from './scans.js'
import { isShareRequest, shareHandler, unshare } from './shares.js'
import type { Site } from './site.js'
import { byKey, checkLabel, createSubject } from './subjects.js'
import { sortedAndPaged, tableReply } from './table.js'

const SUBJECT_ASSESSOR = 'xnat:subjectAssessorData'
const IMAGE_ASSESSOR = 'xnat:imageAssessorData'

// -- lists

/** `/experiments`, `/projects/{P}/experiments`, `.../subjects/{S}/experiments`, `.../experiments/{E}/assessors`. */
export async function experimentsHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  if (exchange.method === 'POST') return postExperiment(site, exchange, address)
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') throw new HttpError(405)
  if (exchange.query.has('fields')) return fieldsReply(exchange, 'experiment')
  const { archive, types } = site
  const found = find(site, exchange, address)
  const assessors = address.leaf === 'assessors'
  const everywhere =
    address.project === undefined && address.subject === undefined && address.experiment === undefined
  const usual = assessors ? IMAGE_ASSESSOR : everywhere ? 'xnat:experimentData' : SUBJECT_ASSESSOR
  const asked = exchange.query.get('xsiType')
  const root = asked === undefined || asked === '' ? types.require(usual) : types.find(asked)
  if (root === undefined) throw new HttpError(400, `Unknown data type: ${asked ?? ''}`)
  const project = found.project?.id
  const candidates =
    assessors && found.experiment !== undefined
      ? archive.assessorsOf(found.experiment.id)
      : found.subject !== undefined
        ? experimentsOfSubject(site, found.subject, root)
        : project !== undefined
          ? archive.experimentsIn(project)
          : archive.experiments.values()
  const mayReadAll = project !== undefined && site.may(exchange, 'read', project)
  const roots = [...candidates].filter(
    (item) => types.isA(item.type, root.name) && (mayReadAll || site.mayItem(exchange, 'read', item)),
  )

  const defaults = ['ID', 'project', 'date', 'xsiType', 'label', 'insert_date']
  if (types.isA(root, IMAGE_ASSESSOR)) defaults.unshift('session_ID', 'session_label')
  else if (everywhere && types.isA(root, SUBJECT_ASSESSOR)) defaults.push('subject_ID', 'subject_label')
  // A key and the address always come; the type does where the list may hold several.
  const names = [...new Set([...columnNames(exchange, defaults), ...(root.abstract ? ['xsiType'] : [])])]
  const columns = names.flatMap((name): Column[] => {
    const column = columnFor(site, 'experiment', root, name)
    return column === undefined ? [] : [column]
  })
  const idKey = `${root.name.toLowerCase()}/id`
  const shown = [
    ...extraColumn(site, root, 'ID', idKey),
    ...new Map(
      columns.filter(({ key }) => key !== idKey && key !== 'URI').map((column) => [column.key, column]),
    ).values(),
    ...extraColumn(site, root, 'URI', 'URI'),
  ]
  const filters = filtersOf(site, 'experiment', root, exchange.query.entries)
  const rows = [...rowsOf(site, { kind: 'experiment', root, columns: shown, filters, project }, byKey(roots))]
  const title = everywhere ? 'Matching experiments' : undefined
  return tableReply(
    exchange,
    sortedAndPaged(exchange, {
      columns: shown.map(({ key }) => key),
      rows,
      ...(title === undefined ? {} : { title }),
    }),
  )
}

function experimentsOfSubject(site: Site, subject: ItemRecord, root: DataType): Iterable<ItemRecord> {
  const own = [...site.archive.experimentsOf(subject.id)]
  if (!site.types.isA(root, IMAGE_ASSESSOR)) return own
  return own.flatMap((session) => [...site.archive.assessorsOf(session.id)])
}

function extraColumn(site: Site, root: DataType, path: string, key: string): readonly Column[] {
  const column = columnFor(site, 'experiment', root, `${root.name}/${path}`)
  return column === undefined ? [] : [{ ...column, key }]
}

// -- one

export async function experimentHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  if (isShareRequest(address)) return shareHandler(site, exchange, address)
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return getExperiment(site, exchange, address)
    case 'PUT':
      return putExperiment(site, exchange, address)
    case 'DELETE': {
      const item = findOne(site, exchange, address, 'read')
      if (address.project !== undefined && address.project !== item.project)
        return unshare(site, exchange, item, address.project)
      if (!site.mayItem(exchange, 'delete', item)) throw forbidden()
      await removeItem(site, item, exchange.query.flag('removeFiles'))
      return empty()
    }
    default:
      throw new HttpError(405)
  }
}

function getExperiment(site: Site, exchange: Exchange, address: Address): Reply {
  const item = findOne(site, exchange, address, 'read')
  const [extra] = address.rest
  if (extra === 'status') return text(item.status ?? 'active')
  if (extra === 'history') {
    return tableReply(exchange, { columns: ['change_date', 'username', 'method'], rows: [] })
  }
  if (extra !== undefined) {
    exchange.note = `the server has no route to ${extra} here and answers the item: use /data/experiments/{ID}/${extra}, or name the subject`
  }
  return itemReply(site, exchange, item)
}

async function postExperiment(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const input = await readInput(site, exchange, 'experiment')
  const name = input.named.label ?? input.named.id ?? exchange.query.get('label')
  const place = placeOf(site, exchange, address, input)
  if (name !== undefined && site.archive.experimentIn(place.project.id, name) !== undefined)
    throw new HttpError(409, 'Specified experiment already exists.')
  const item = create(site, exchange, place, name, input)
  await site.archive.flush()
  const url = `${site.settings.url}/data/experiments/${item.id}`
  return text(url, 201, { Location: url })
}

async function putExperiment(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const { archive, types } = site
  const input = await readInput(site, exchange, 'experiment')
  const assessor = address.assessor !== undefined
  const name = address.assessor ?? address.experiment ?? ''
  const project = address.project === undefined ? undefined : findProject(site, exchange, address.project)
  const session = assessor ? findOne(site, exchange, sessionAddress(address), 'read') : undefined
  const existing = existingExperiment(site, name, project, session)
  if (existing === undefined) {
    if (project === undefined && session === undefined)
      throw new HttpError(404, 'Unable to find the specified experiment.')
    const place = placeOf(site, exchange, address, input)
    const item = create(site, exchange, place, name, input)
    await archive.flush()
    return text(item.id, 201)
  }
  if (!site.mayItem(exchange, 'read', existing))
    throw new HttpError(404, 'Unable to find the specified experiment.')
  if (!site.mayItem(exchange, 'edit', existing))
    throw forbidden(
      'Specified user account has insufficient edit priviledges for experiments in this project.',
    )
  if (session !== undefined && existing.session !== session.id)
    throw new HttpError(409, 'The label is used by another experiment of the project.')
  if (
    input.document !== undefined &&
    input.type !== undefined &&
    !types.isA(existing.type, input.type.name)
  ) {
    throw new HttpError(422, `The experiment is of type ${existing.type}.`)
  }
  const { named } = input
  if (named.id !== undefined && named.id !== existing.id)
    throw new HttpError(409, 'The ID of an experiment cannot be changed.')
  if (named.project !== undefined && named.project !== existing.project && input.document !== undefined) {
    throw new HttpError(409, 'Projects are changed through a separate URI.')
  }
  if (address.subject !== undefined && project !== undefined) {
    const subject = archive.subjectIn(project.id, address.subject)
    if (subject === undefined || site.subjectOf(existing)?.id !== subject.id)
      throw new HttpError(409, 'The experiment belongs to another subject.')
  }
  const label = named.label
  if (label !== undefined && label !== existing.label && input.document === undefined) {
    checkLabel(label, 500)
    if (archive.experimentIn(existing.project, label) !== undefined)
      throw new HttpError(409, 'Specified label is already in use.')
    // A request that renames does nothing else.
    archive.update(existing, site.actor(exchange), (item) => {
      item.label = label
    })
    await archive.flush()
    return text(existing.id)
  }
  const type = types.require(existing.type)
  const scans = takeScans(site, type, input)
  const data = structuredClone(existing.data)
  applyInput(site, data, type, input, exchange.query.get('allowDataDeletion') === 'true')
  const status = statusOf(exchange)
  archive.update(existing, site.actor(exchange), (item) => {
    item.data = data
    if (status !== undefined) item.status = status
  })
  putScans(site, exchange, existing, scans)
  await archive.flush()
  return text(existing.id)
}

function existingExperiment(
  site: Site,
  name: string,
  project: ItemRecord | undefined,
  session: ItemRecord | undefined,
): ItemRecord | undefined {
  if (project !== undefined) return site.archive.experimentIn(project.id, name)
  if (session !== undefined)
    return site.archive.experimentIn(session.project, name) ?? site.archive.experiments.get(name)
  return site.archive.experiments.get(name)
}

function statusOf(exchange: Exchange): ItemRecord['status'] | undefined {
  if (exchange.query.get('activate') === 'true' || exchange.query.get('_unlock') === 'true') return 'active'
  if (exchange.query.get('quarantine') === 'true') return 'quarantine'
  if (exchange.query.get('_lock') === 'true') return 'locked'
  if (exchange.query.get('_obsolete') === 'true') return 'obsolete'
  return undefined
}

/** Where a new experiment goes. */
interface Place {
  readonly project: ItemRecord
  readonly subject: string | undefined
  readonly session: ItemRecord | undefined
}

function placeOf(site: Site, exchange: Exchange, address: Address, input: Input): Place {
  const { archive } = site
  if (address.leaf === 'assessors' || address.assessor !== undefined) {
    const session = findOne(site, exchange, sessionAddress(address), 'read')
    const project = archive.projects.get(address.project ?? session.project)
    if (project === undefined) throw new HttpError(404, 'Unable to find the specified project.')
    if (input.named.session !== undefined && input.named.session !== session.id)
      throw new HttpError(409, 'The document names another session.')
    return { project, subject: undefined, session }
  }
  const projectId = address.project ?? input.named.project
  if (projectId === undefined) throw new HttpError(422, 'An experiment needs a project.')
  const project = findProject(site, exchange, projectId)
  if (input.type !== undefined && site.types.isA(input.type, IMAGE_ASSESSOR)) {
    const session =
      input.named.session === undefined ? undefined : archive.experimentIn(project.id, input.named.session)
    if (session === undefined) throw new HttpError(422, 'An assessor needs a session.')
    return { project, subject: undefined, session }
  }
  const name = address.subject ?? input.named.subject ?? exchange.query.get('subject_ID')
  if (name === undefined) throw new HttpError(422, 'An experiment needs a subject.')
  const subject =
    archive.subjectIn(project.id, name) ?? createSubject(site, exchange, project, name, undefined)
  return { project, subject: subject.id, session: undefined }
}

function create(
  site: Site,
  exchange: Exchange,
  { project, subject, session }: Place,
  name: string | undefined,
  input: Input,
): ItemRecord {
  const { archive, types } = site
  if (!site.may(exchange, 'edit', project.id))
    throw forbidden(
      'Specified user account has insufficient create priviledges for experiments in this project.',
    )
  const { type, named } = input
  if (type === undefined)
    throw new HttpError(417, 'The type of a new experiment has to be given: xsiType=...')
  if (type.abstract || !types.isA(type, session === undefined ? SUBJECT_ASSESSOR : IMAGE_ASSESSOR)) {
    throw new HttpError(422, `${type.name} is no type for this place.`)
  }
  const id = named.id ?? archive.nextId(site.settings.siteId, 'E')
  const label = named.label ?? name ?? id
  checkLabel(id, 417)
  checkLabel(label, 500)
  if (archive.experiments.has(id)) throw new HttpError(409, 'Specified experiment already exists.')
  if (archive.experimentIn(project.id, label) !== undefined)
    throw new HttpError(409, 'Specified label is already in use.')
  const scans = takeScans(site, type, input)
  const data: Element = { name: type.name }
  applyInput(site, data, type, input)
  const item = archive.create(
    {
      kind: 'experiment',
      id,
      label,
      type: type.name,
      project: project.id,
      ...(subject === undefined ? {} : { subject }),
      ...(session === undefined ? {} : { session: session.id }),
      data,
    },
    site.actor(exchange),
  )
  putScans(site, exchange, item, scans)
  return item
}

/** Scans within the document of a session: they get rows of their own. An assessor's `scans` are its content. */
function takeScans(site: Site, type: DataType, { document }: Input): readonly Element[] {
  if (document === undefined || !site.types.isA(type, 'xnat:imageSessionData')) return []
  const wrapper = childrenNamed(document, 'scans')[0]
  document.children = document.children?.filter((child) => child !== wrapper) ?? []
  const scans = wrapper?.children ?? []
  for (const scan of scans) checkScan(site, scan)
  return scans
}

function putScans(site: Site, exchange: Exchange, session: ItemRecord, scans: readonly Element[]): void {
  for (const scan of scans) {
    saveScan(site, exchange, session, scan)
  }
}
