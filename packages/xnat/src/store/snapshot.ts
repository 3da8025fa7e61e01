/**
 * A whole project in a constant number of requests. Listings with joined columns are read as they come, one after the other
 * because each needs the ids of the one before:
 *
 * 1. subjects, with their resources; resources of the project; records of results on subjects and projects, if there are any
 * 2. sessions, with scans and the resources of scans (the join that DAX uses)
 * 3. resources of sessions; assessors with their resources; the fields of `proc:genProcData`, where there are any; results that
 *    are experiments of subjects, where the site has the type for them
 */

import {
  StoreUnavailableError,
  type CallOptions,
  type ProjectNode,
  type ProjectSnapshot,
  type ResourceNode,
  type SnapshotOptions,
  type SubjectNode,
} from '@orbweaver/core'
import { nodePath } from '../client/address.js'
import type { XnatClient } from '../client/client.js'
import type { XnatRow } from '../client/result-set.js'
import { GEN_PROC, OWN_RESOURCE, SUBJECT_GEN_PROC, isGenProc } from './document.js'
import type { NodeRecords } from './node-records.js'
import { missing, type Places } from './places.js'
import type { RecordIndex } from './record-files.js'
import { RowSpool, type SpooledRow } from './row-spool.js'
import {
  PROC_FIELDS,
  addResource,
  assessorRow,
  compareLabels,
  contentOf,
  fieldsRow,
  scanRow,
  sessionResourceRow,
  type ResourceCells,
} from './snapshot-nodes.js'

export interface SnapshotContext {
  readonly client: XnatClient
  readonly places: Places
  readonly nodeRecords: NodeRecords
  /** Data types of the site. */
  types(options: CallOptions): Promise<ReadonlySet<string>>
}

/** Whole subjects a group: as many as are held at once. */
const SUBJECTS_A_GROUP = 64
/** Up to here a partial snapshot asks the server for its part alone. */
const MOST_IN_FILTER = 40
const LISTING_TRIES = 3

const SESSION_TYPE = 'xnat:imageSessionData'
const SCAN = 'xnat:imageScanData'
const ASSESSOR_TYPE = 'xnat:imageAssessorData'

/** Columns of the resources below a path, as they come back: in lower case. */
function resourceColumns(path: string): readonly [label: string, count: string, size: string] {
  return [`${path}/label`, `${path}/file_count`, `${path}/file_size`]
}

function resourceIn(row: XnatRow, path: string): ResourceCells {
  const [label, count, size] = resourceColumns(path.toLowerCase())
  return [row[label] ?? '', row[count] ?? '', row[size] ?? '']
}

/** As `DataStore.snapshot`. Project and subjects are read at once, the rest when the first subject is asked for. */
export async function readSnapshot(
  context: SnapshotContext,
  project: string,
  options: SnapshotOptions,
): Promise<ProjectSnapshot> {
  const reader = new SnapshotReader(context, project, options)
  const header = await reader.header()
  return { project: header, subjects: reader.subjects() }
}

interface SubjectEntry {
  readonly label: string
  readonly id: string
  readonly resources: ResourceNode[]
}

class SnapshotReader {
  readonly #context: SnapshotContext
  readonly #project: string
  readonly #call: CallOptions
  readonly #onlySubjects: ReadonlySet<string> | undefined
  readonly #onlySessions: ReadonlySet<string> | undefined
  readonly #subjectResults: boolean
  /** In the order of their labels. */
  #subjects: SubjectEntry[] = []
  #index: RecordIndex = new Map()
  /** Subject's position by XNAT's id. */
  readonly #positions = new Map<string, number>()
  /** Subject's position by session id. */
  readonly #sessions = new Map<string, number>()
  readonly #spool = new RowSpool()

  constructor(context: SnapshotContext, project: string, options: SnapshotOptions) {
    this.#context = context
    this.#project = project
    this.#call = options.signal === undefined ? {} : { signal: options.signal }
    this.#subjectResults = options.subjectResults !== false
    this.#onlySubjects = options.subjects === undefined ? undefined : new Set(options.subjects)
    this.#onlySessions = options.sessions === undefined ? undefined : new Set(options.sessions)
  }

  async header(): Promise<ProjectNode> {
    const { client, nodeRecords } = this.#context
    const project = this.#project
    const subjects = new Map<string, SubjectEntry>()
    const path = 'xnat:subjectData/resources/resource'
    const [, resources] = await Promise.all([
      this.#listing(
        `${nodePath({ project })}/subjects`,
        { columns: ['ID', 'label', ...resourceColumns(path)].join(',') },
        (row) => {
          const { id = '', label = '' } = row
          if (id === '' || label === '') return
          let subject = subjects.get(id)
          if (subject === undefined) subjects.set(id, (subject = { id, label, resources: [] }))
          addResource(subject.resources, resourceIn(row, path))
        },
      ).catch((error: unknown) => {
        throw isNotFound(error) ? missing({ project }) : error
      }),
      client.resources({ project }, this.#call).catch((error: unknown) => {
        throw isNotFound(error) ? missing({ project }) : error
      }),
    ])
    if (resources.some(({ label }) => label === OWN_RESOURCE)) {
      this.#index = await nodeRecords.files.index(project, this.#call)
    }
    this.#subjects = [...subjects.values()].sort((a, b) => compareLabels(a.label, b.label))
    for (const [position, { id }] of this.#subjects.entries()) this.#positions.set(id, position)
    const own = resources.map(({ label, fileCount, bytes }) => ({
      label,
      ...(fileCount !== undefined && { fileCount }),
      ...(bytes !== undefined && { bytes }),
    }))
    return { label: project, ...nodeRecords.nodes(this.#index, { project }, own) }
  }

  async *subjects(): AsyncGenerator<SubjectNode> {
    try {
      const wanted = this.#subjects.some(({ label }) => this.#onlySubjects?.has(label) ?? true)
      if (!wanted) return
      await this.#readSessions()
      await Promise.all([this.#readSessionResources(), this.#readAssessors(), this.#readSubjectAssessors()])
      for (let group = 0; group * SUBJECTS_A_GROUP < this.#subjects.length; group += 1) {
        yield* this.#build(group)
      }
    } finally {
      await this.#spool.close()
    }
  }

  // ---------------------------------------------------------------- listings

  /** Reads a listing; when it breaks off, again. Rows that come twice do no harm. */
  async #listing(
    path: string,
    query: Readonly<Record<string, string | undefined>>,
    take: (row: XnatRow) => void | Promise<void>,
  ): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        for await (const row of this.#context.client.rows(path, query, this.#call)) {
          const waiting = take(row)
          if (waiting !== undefined) await waiting
        }
        return
      } catch (error) {
        this.#call.signal?.throwIfAborted()
        if (!(error instanceof StoreUnavailableError) || attempt >= LISTING_TRIES) throw error
      }
    }
  }

  async #readSessions(): Promise<void> {
    const file = `${SCAN}/file`
    const keys = [`${SCAN}/ID`, `${SCAN}/type`, `${SCAN}/quality`, `${SCAN}/series_description`]
    const columns = [
      'ID',
      'label',
      'project',
      'subject_ID',
      'date',
      'xsiType',
      ...keys,
      ...resourceColumns(file),
    ]
    const [scanId = '', type = '', quality = '', description = ''] = keys.map((key) => key.toLowerCase())
    const query = {
      xsiType: SESSION_TYPE,
      columns: columns.join(','),
      subject_ID: this.#filter(
        this.#onlySubjects,
        this.#subjects.filter(({ label }) => this.#onlySubjects?.has(label)).map(({ id }) => id),
      ),
    }
    await this.#listing(`${nodePath({ project: this.#project })}/experiments`, query, (row) => {
      const { id = '', label = '' } = row
      const position = this.#positions.get(row.subject_id ?? '')
      const subject = position === undefined ? undefined : this.#subjects[position]
      if (position === undefined || subject === undefined || id === '' || label === '') return
      this.#context.places.remember({ project: this.#project, subject: subject.label, session: label }, id)
      if (this.#onlySubjects?.has(subject.label) === false || this.#onlySessions?.has(label) === false) return
      this.#sessions.set(id, position)
      return this.#add(
        position,
        scanRow(
          subject.id,
          { id, label, date: row.date ?? '', xsiType: row.xsitype ?? '' },
          {
            id: row[scanId] ?? '',
            type: row[type] ?? '',
            quality: row[quality] ?? '',
            description: row[description] ?? '',
          },
          resourceIn(row, file),
        ),
      )
    })
  }

  async #readSessionResources(): Promise<void> {
    const path = `${SESSION_TYPE}/resources/resource`
    const query = {
      xsiType: SESSION_TYPE,
      columns: ['ID', 'subject_ID', ...resourceColumns(path)].join(','),
      subject_ID: this.#filter(
        this.#onlySubjects,
        this.#subjects.filter(({ label }) => this.#onlySubjects?.has(label)).map(({ id }) => id),
      ),
    }
    await this.#listing(`${nodePath({ project: this.#project })}/experiments`, query, (row) => {
      const resource = resourceIn(row, path)
      const position = this.#sessions.get(row.id ?? '')
      if (position === undefined || resource[0] === '') return
      return this.#add(position, sessionResourceRow(row.id ?? '', resource))
    })
  }

  async #readAssessors(): Promise<void> {
    const path = `${ASSESSOR_TYPE}/out/file`
    const columns = ['ID', 'label', 'xsiType', 'project', 'session_ID', 'note', 'validation_status']
    let genProc = false
    await this.#listing(
      '/data/experiments',
      this.#assessorQuery(ASSESSOR_TYPE, [...columns, ...resourceColumns(path)]),
      (row) => {
        const position = this.#sessions.get(row.session_id ?? '')
        const { id = '', label = '' } = row
        if (position === undefined || id === '' || label === '') return
        if (isGenProc(row.xsitype)) genProc = true
        const { session_id: session = '', xsitype: xsiType = '', note = '' } = row
        const quality = row.validation_status ?? ''
        const fields = { id, label, xsiType, note, quality }
        return this.#add(position, assessorRow(session, fields, resourceIn(row, path)))
      },
    )
    if (genProc) await this.#readGenProc()
  }

  /** The fields of the plugin's type: a listing of the common base does not have them. */
  async #readGenProc(): Promise<void> {
    const keys = PROC_FIELDS.map((name) => `${GEN_PROC}/${name}`)
    await this.#listing(
      '/data/experiments',
      this.#assessorQuery(GEN_PROC, ['ID', 'project', 'session_ID', ...keys]),
      (row) => {
        const position = this.#sessions.get(row.session_id ?? '')
        if (position === undefined) return
        const cells = keys.map((key) => row[key.toLowerCase()] ?? '')
        return this.#add(position, fieldsRow(row.id ?? '', cells))
      },
    )
  }

  /** Results that are experiments of subjects, all their fields at once. */
  async #readSubjectAssessors(): Promise<void> {
    if (!this.#subjectResults || !(await this.#context.types(this.#call)).has(SUBJECT_GEN_PROC)) return
    const path = `${SUBJECT_GEN_PROC}/resources/resource`
    const keys = PROC_FIELDS.map((name) => `${SUBJECT_GEN_PROC}/${name}`)
    const verdict = `${SUBJECT_GEN_PROC}/validation/status`
    const columns = [
      'ID',
      'label',
      'project',
      'subject_ID',
      'note',
      verdict,
      ...keys,
      ...resourceColumns(path),
    ]
    const query = {
      xsiType: SUBJECT_GEN_PROC,
      project: this.#project,
      columns: columns.join(','),
      subject_ID: this.#filter(
        this.#onlySubjects,
        this.#subjects.filter(({ label }) => this.#onlySubjects?.has(label)).map(({ id }) => id),
      ),
    }
    await this.#listing('/data/experiments', query, async (row) => {
      const { id = '', label = '', subject_id: subject = '', note = '' } = row
      const position = this.#positions.get(subject)
      if (position === undefined || id === '' || label === '') return
      const quality = row[verdict.toLowerCase()] ?? ''
      const fields = { id, label, xsiType: SUBJECT_GEN_PROC, note, quality }
      await this.#add(position, assessorRow(subject, fields, resourceIn(row, path)))
      const cells = keys.map((key) => row[key.toLowerCase()] ?? '')
      await this.#add(position, fieldsRow(id, cells))
    })
  }

  #assessorQuery(xsiType: string, columns: readonly string[]): Readonly<Record<string, string | undefined>> {
    const partial = this.#onlySubjects ?? this.#onlySessions
    return {
      xsiType,
      project: this.#project,
      columns: columns.join(','),
      session_ID: this.#filter(partial, [...this.#sessions.keys()]),
    }
  }

  /** Undefined: no filter. What comes too much is left out here. */
  #filter(partial: ReadonlySet<string> | undefined, ids: readonly string[]): string | undefined {
    return partial === undefined || ids.length === 0 || ids.length > MOST_IN_FILTER
      ? undefined
      : ids.join(',')
  }

  #add(position: number, row: SpooledRow): Promise<void> {
    return this.#spool.add(Math.floor(position / SUBJECTS_A_GROUP), row)
  }

  // ---------------------------------------------------------------- nodes

  async *#build(group: number): AsyncGenerator<SubjectNode> {
    const { signal } = this.#call
    const content = contentOf(await this.#spool.take(group))
    const start = group * SUBJECTS_A_GROUP
    for (const { id, label, resources } of this.#subjects.slice(start, start + SUBJECTS_A_GROUP)) {
      signal?.throwIfAborted()
      if (this.#onlySubjects?.has(label) === false) continue
      const { sessions, experiments } = content.get(id) ?? { sessions: [], experiments: [] }
      if (this.#onlySessions !== undefined && sessions.length === 0) continue
      const place = { project: this.#project, subject: label }
      yield {
        label,
        id,
        ...this.#context.nodeRecords.nodes(this.#index, place, resources, experiments),
        sessions,
      }
    }
  }
}

function isNotFound(error: unknown): boolean {
  return (error as { readonly code?: unknown }).code === 'NOT_FOUND'
}
