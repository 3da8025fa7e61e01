/** Fill a sandbox from any archive: what a `DataStore` shows becomes XNAT data. */

import {
  NotFoundError,
  type AssessorNode,
  type DataStore,
  type ResourceNode,
  type ResourceRef,
  type ScanNode,
  type SessionNode,
} from '@orbweaver/core'
import { folderOf } from './api/resources.js'
import type { Site } from './api/site.js'
import type { Element } from './model/element.js'
import type { Actor } from './state/archive.js'
import { pathProblem } from './state/blobs.js'
import type { ItemRecord, Slot } from './state/records.js'

/** The part of a store that is read. */
export type SeedSource = Pick<DataStore, 'projects' | 'snapshot' | 'listFiles' | 'download'>

export interface SeedProgress {
  readonly sessions: number
  readonly files: number
  readonly bytes: number
}

export interface SeedOptions {
  /** Default: every project of the source. */
  readonly projects?: readonly string[]
  readonly signal?: AbortSignal
  /** After each session. */
  readonly onProgress?: (progress: SeedProgress) => void
}

/**
 * Copy projects, subjects, sessions, scans, results and their files. What is in the sandbox already stays as it is, and so
 * a seed that was interrupted can be run again. Labels lose the characters that XNAT does not take.
 */
export async function seedSite(
  site: Site,
  source: SeedSource,
  actor: Actor,
  options: SeedOptions = {},
): Promise<SeedProgress> {
  const seeder = new Seeder(site, source, actor, options)
  for (const project of options.projects ?? (await source.projects())) await seeder.project(project)
  return seeder.progress
}

const MODALITIES: Readonly<Record<string, string>> = {
  MR: 'mr',
  PT: 'pet',
  PET: 'pet',
  CT: 'ct',
  MEG: 'meg',
  EEG: 'eeg',
  US: 'us',
}

class Seeder {
  readonly #progress = { sessions: 0, files: 0, bytes: 0 }

  constructor(
    readonly site: Site,
    readonly source: SeedSource,
    readonly actor: Actor,
    readonly options: SeedOptions,
  ) {}

  get progress(): SeedProgress {
    return this.#progress
  }

  async project(label: string): Promise<void> {
    const { archive } = this.site
    const { project, subjects } = await this.source.snapshot(label)
    const id = safe(label)
    let item = archive.projects.get(id)
    if (item === undefined) {
      const data: Element = {
        name: 'xnat:projectData',
        attributes: { secondary_ID: id },
        children: [{ name: 'name', text: id }],
      }
      item = archive.create(
        { kind: 'project', id, label: id, type: 'xnat:projectData', project: id, data, access: 'private' },
        this.actor,
      )
      archive.record({ o: 'role', p: id, u: this.actor.user, r: 'owner' })
    }
    await this.#resources(item, 'resources', { project: label }, project.resources)
    for await (const subject of subjects) {
      this.options.signal?.throwIfAborted()
      const name = safe(subject.label)
      const own =
        archive.subjectIn(id, name) ??
        archive.create(
          {
            kind: 'subject',
            id: archive.nextId(this.site.settings.siteId, 'S'),
            label: name,
            type: 'xnat:subjectData',
            project: id,
            data: { name: 'xnat:subjectData' },
          },
          this.actor,
        )
      await this.#resources(own, 'resources', { project: label, subject: subject.label }, subject.resources)
      for (const session of subject.sessions) await this.#session(label, subject.label, own, session)
    }
    await archive.flush()
  }

  async #session(project: string, subject: string, parent: ItemRecord, node: SessionNode): Promise<void> {
    this.options.signal?.throwIfAborted()
    const { archive } = this.site
    const modality = MODALITIES[node.modality?.toUpperCase() ?? 'MR'] ?? 'otherDicom'
    const type = `xnat:${modality}SessionData`
    const ref = { project, subject, session: node.label }
    const label = this.#freeLabel(parent, safe(node.label))
    const children: Element[] = node.date === undefined ? [] : [{ name: 'date', text: node.date }]
    const session =
      archive.experimentIn(parent.project, label) ??
      archive.create(
        {
          kind: 'experiment',
          id: archive.nextId(this.site.settings.siteId, 'E'),
          label,
          type,
          project: parent.project,
          subject: parent.id,
          data: {
            name: type,
            attributes: { modality: modality === 'mr' ? 'MR' : modality.toUpperCase() },
            children,
          },
        },
        this.actor,
      )
    await this.#resources(session, 'resources', ref, node.resources)
    for (const scan of node.scans)
      await this.#scan(session, `xnat:${modality}ScanData`, { ...ref, scan: scan.label }, scan)
    for (const assessor of node.assessors)
      await this.#assessor(session, { ...ref, assessor: assessor.label }, assessor)
    await archive.flush()
    this.#progress.sessions += 1
    this.options.onProgress?.({ ...this.#progress })
  }

  /** Labels are unique in a project here, and only within their parent elsewhere: `single` of subject 02 becomes `02_single`. */
  #freeLabel(parent: ItemRecord, label: string): string {
    const holder = this.site.archive.experimentIn(parent.project, label)
    const own = holder === undefined || holder.subject === parent.id || holder.session === parent.id
    return own ? label : `${parent.label}_${label}`
  }

  async #scan(session: ItemRecord, type: string, ref: ResourceRef['node'], node: ScanNode): Promise<void> {
    const { archive } = this.site
    const id = safe(node.label)
    const children: Element[] = []
    if (node.quality !== '') children.push({ name: 'quality', text: node.quality })
    if (node.description !== undefined) children.push({ name: 'series_description', text: node.description })
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
          data: { name: type, attributes: { type: node.type }, children },
        },
        this.actor,
      )
    await this.#resources(scan, 'file', ref, node.resources)
  }

  async #assessor(session: ItemRecord, ref: ResourceRef['node'], node: AssessorNode): Promise<void> {
    const { archive, types } = this.site
    const label = this.#freeLabel(session, safe(node.label))
    const type = types.processing ? 'proc:genProcData' : 'xnat:qcAssessmentData'
    const children: Element[] = []
    const text = (name: string, value: string | undefined): void =>
      void (value === undefined || value === '' || children.push({ name, text: value }))
    if (types.processing) {
      text('procstatus', node.statusWord)
      text('proctype', node.procType)
      text('procversion', node.procVersion)
    }
    if (node.quality !== '') children.push({ name: 'validation', attributes: { status: node.quality } })
    const assessor =
      archive.experimentIn(session.project, label) ??
      archive.create(
        {
          kind: 'experiment',
          id: archive.nextId(this.site.settings.siteId, 'E'),
          label,
          type,
          project: session.project,
          session: session.id,
          data: {
            name: type,
            children,
            ...(types.processing ? {} : { attributes: { type: node.procType } }),
          },
        },
        this.actor,
      )
    await this.#resources(assessor, 'out', ref, node.resources)
  }

  async #resources(
    owner: ItemRecord,
    slot: Slot,
    ref: ResourceRef['node'],
    nodes: readonly ResourceNode[],
  ): Promise<void> {
    const { archive, blobs } = this.site
    const { signal } = this.options
    for (const { label } of nodes) {
      if (archive.resourcesOf(owner, slot).some(({ record }) => record.label === label)) continue
      const source: ResourceRef = { node: ref, resource: label }
      const files = (await this.#list(source)).filter(({ path }) => pathProblem(path) === undefined)
      const resource = archive.createResource(
        owner,
        { slot, label, tags: [], format: label },
        folderOf(this.site, owner, label, true),
        this.actor,
      )
      await this.source.download(
        source,
        files,
        {
          write: async (path, content) => {
            const received = await blobs.receive(content, signal === undefined ? {} : { signal })
            const mtimeMs = await blobs.place(received, resource.record.folder, path)
            const { bytes, digest } = received
            archive.putFile(resource, {
              path,
              bytes,
              digest,
              mtimeMs,
              createdMs: this.actor.nowMs,
              createdBy: this.actor.user,
              format: label,
            })
            this.#progress.files += 1
            this.#progress.bytes += bytes
          },
        },
        signal === undefined ? {} : { signal },
      )
    }
  }

  async #list(source: ResourceRef): ReturnType<SeedSource['listFiles']> {
    try {
      return await this.source.listFiles(
        source,
        this.options.signal === undefined ? {} : { signal: this.options.signal },
      )
    } catch (error) {
      // Somebody removed it since the snapshot.
      if (error instanceof NotFoundError) return []
      throw error
    }
  }
}

/** Letters, digits, `-` and `_`. */
function safe(label: string): string {
  return label.replace(/[^A-Za-z0-9_-]/g, '_')
}
