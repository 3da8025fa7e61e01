/** `/data/services/import`: a zip of DICOM files becomes a session. Straight into the archive: the sandbox has no prearchive. */

import { readFile } from 'node:fs/promises'
import dicomParser from 'dicom-parser'
import { Query, type Exchange } from '../http/exchange.js'
import { HttpError, forbidden, text, type Reply } from '../http/reply.js'
import type { Element } from '../model/element.js'
import type { Resource } from '../state/archive.js'
import type { ItemRecord } from '../state/records.js'
import { findProject } from './find.js'
import { readParts } from './multipart.js'
import { folderOf } from './resources.js'
import type { Site } from './site.js'
import { createSubject } from './subjects.js'
import { unpack, type Unpacked } from './unpack.js'

const PIXELS = 'x7fe00010'

interface Instance {
  readonly file: Unpacked
  readonly seriesUid: string
  readonly seriesNumber: string
  readonly description: string
  readonly modality: string
  readonly studyUid: string
  readonly date: string
  readonly patientId: string
  readonly patientName: string
}

const SESSION_TYPES: Readonly<Record<string, string>> = {
  MR: 'mr',
  PT: 'pet',
  CT: 'ct',
  US: 'us',
  CR: 'cr',
  DX: 'dx',
  NM: 'nm',
  XA: 'xa',
  MG: 'mg',
}

export async function importHandler(site: Site, exchange: Exchange): Promise<Reply> {
  if (exchange.method !== 'POST' && exchange.method !== 'PUT') throw new HttpError(405)
  const handler = exchange.query.get('import-handler')
  if (handler !== undefined && !['SI', 'DICOM-zip', 'gradual-DICOM'].includes(handler))
    throw unsupported(exchange, `import handler ${handler}`)
  if (exchange.query.has('src')) throw unsupported(exchange, 'import from the user cache')
  const { files, query } = await receive(site, exchange)
  try {
    if (/prearchive/.test(query.get('dest') ?? '')) throw unsupported(exchange, 'prearchive')
    const instances = (await Promise.all(files.map(readInstance))).filter((one) => one !== undefined)
    const [first] = instances
    if (first === undefined) throw new HttpError(400, 'No DICOM files in the upload.')
    const session = makeSession(site, exchange, query, first)
    await addScans(site, exchange, session, instances)
    await site.archive.flush()
    const subject = site.subjectOf(session)
    return text(
      `/data/archive/projects/${session.project}/subjects/${subject?.label ?? ''}/experiments/${session.label}\r\n`,
    )
  } finally {
    for (const { received } of files) await site.blobs.discard(received)
  }
}

function unsupported(exchange: Exchange, what: string): HttpError {
  exchange.note = `the sandbox has no ${what}`
  return new HttpError(501, `The sandbox has no ${what}.`)
}

async function receive(
  site: Site,
  exchange: Exchange,
): Promise<{ files: readonly Unpacked[]; query: Query }> {
  const files: Unpacked[] = []
  const take = async (content: Parameters<typeof site.blobs.receive>[0], name: string): Promise<void> => {
    const received = await site.blobs.receive(content, { signal: exchange.signal })
    const kind = /\.(tgz|tar\.gz)$/i.test(name) ? 'tar.gz' : /\.tar$/i.test(name) ? 'tar' : 'zip'
    try {
      files.push(...(await unpack(site.blobs, received.temporary, kind, '', exchange.signal)))
    } finally {
      await site.blobs.discard(received)
    }
  }
  if (exchange.contentType !== 'multipart/form-data') {
    await take(exchange.request, 'upload.zip')
    return { files, query: exchange.query }
  }
  const fields = await readParts(exchange, (filename, content) => take(content, filename))
  return { files, query: exchange.query.with(new Query(fields)) }
}

async function readInstance(file: Unpacked): Promise<Instance | undefined> {
  const bytes = await readFile(file.received.temporary)
  let data: dicomParser.DataSet
  try {
    data = dicomParser.parseDicom(bytes, { untilTag: PIXELS })
  } catch {
    return undefined // no DICOM file: the server passes over such files
  }
  const value = (tag: string): string => data.string(tag)?.trim() ?? ''
  return {
    file,
    seriesUid: value('x0020000e'),
    seriesNumber: value('x00200011'),
    description: value('x0008103e'),
    modality: value('x00080060'),
    studyUid: value('x0020000d'),
    date: value('x00080020'),
    patientId: value('x00100020'),
    patientName: value('x00100010'),
  }
}

function makeSession(site: Site, exchange: Exchange, query: Query, first: Instance): ItemRecord {
  const { archive } = site
  const projectId = query.get('project')
  if (projectId === undefined) throw unsupported(exchange, 'prearchive for images of no project')
  const project = findProject(site, exchange, projectId)
  if (!site.may(exchange, 'edit', project.id)) throw forbidden()
  const safe = (name: string): string => name.replace(/[^A-Za-z0-9_-]+/g, '_').replace(/^_+|_+$/g, '')
  const subjectLabel = query.get('subject') ?? (safe(first.patientName) || 'unknown')
  const label =
    query.get('session') ?? query.get('expt_label') ?? (safe(first.patientId) || `${subjectLabel}_1`)
  const existing = archive.experimentIn(project.id, label)
  if (existing !== undefined) {
    if (query.get('overwrite') === undefined || query.get('overwrite') === 'none')
      throw new HttpError(409, 'Session already exists, retry with overwrite enabled')
    return existing
  }
  const subject =
    archive.subjectIn(project.id, subjectLabel) ??
    createSubject(site, exchange, project, subjectLabel, undefined)
  const type = `xnat:${SESSION_TYPES[first.modality] ?? 'otherDicom'}SessionData`
  const date = /^(\d{4})(\d{2})(\d{2})$/.exec(first.date)
  const children: Element[] = [
    ...(date === null ? [] : [{ name: 'date', text: `${date[1]}-${date[2]}-${date[3]}` }]),
    ...(first.patientId === '' ? [] : [{ name: 'dcmPatientId', text: first.patientId }]),
  ]
  return archive.create(
    {
      kind: 'experiment',
      id: archive.nextId(site.settings.siteId, 'E'),
      label,
      type,
      project: project.id,
      subject: subject.id,
      data: { name: type, attributes: { UID: first.studyUid, modality: first.modality }, children },
    },
    site.actor(exchange),
  )
}

async function addScans(
  site: Site,
  exchange: Exchange,
  session: ItemRecord,
  instances: readonly Instance[],
): Promise<void> {
  const { archive, blobs } = site
  const resources = new Map<string, Resource>()
  for (const instance of instances) {
    let resource = resources.get(instance.seriesUid)
    if (resource === undefined) {
      resource = seriesResource(site, exchange, session, instance)
      resources.set(instance.seriesUid, resource)
    }
    const path = instance.file.path.split('/').at(-1) ?? 'file.dcm'
    const { received } = instance.file
    const mtimeMs = await blobs.place(received, resource.record.folder, path)
    const { bytes, digest } = received
    archive.putFile(resource, {
      path,
      bytes,
      digest,
      mtimeMs,
      createdMs: exchange.nowMs,
      createdBy: exchange.user,
      format: 'DICOM',
    })
  }
}

function seriesResource(
  site: Site,
  exchange: Exchange,
  session: ItemRecord,
  { seriesNumber, seriesUid, description, modality }: Instance,
): Resource {
  const { archive } = site
  const number = seriesNumber.replace(/\D/g, '') || '1'
  let id = number
  for (let count = 1; taken(site, session, id, seriesUid); count += 1) id = `${number}-${modality}${count}`
  const type = `xnat:${SESSION_TYPES[modality] ?? 'otherDicom'}ScanData`
  const scan =
    archive.scan(session.id, id) ??
    archive.create(
      {
        kind: 'scan',
        id,
        label: id,
        type,
        project: session.project,
        session: session.id,
        data: {
          name: type,
          attributes: { UID: seriesUid, type: description },
          children: [
            { name: 'quality', text: 'usable' },
            { name: 'series_description', text: description },
          ],
        },
      },
      site.actor(exchange),
    )
  const existing = archive.resourcesOf(scan, 'file').find(({ record }) => record.label === 'DICOM')
  const wanted = { slot: 'file', label: 'DICOM', format: 'DICOM', content: 'RAW', tags: [] } as const
  return (
    existing ??
    archive.createResource(
      scan,
      { ...wanted, tags: [] },
      folderOf(site, scan, 'DICOM', true),
      site.actor(exchange),
    )
  )
}

function taken(site: Site, session: ItemRecord, id: string, uid: string): boolean {
  const scan = site.archive.scan(session.id, id)
  return scan !== undefined && scan.data.attributes?.UID !== uid
}
