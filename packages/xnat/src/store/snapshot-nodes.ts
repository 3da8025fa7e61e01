/** Rows of a project's listings as nodes: what each kind of row holds, and how rows of a group become subjects' sessions and results. */

import type { AssessorNode, ResourceNode, ScanNode, SessionNode } from '@orbweaver/core'
import { sortResources, toAssessorNode, toResourceNode, type AssessorFields } from './document.js'
import type { SpooledRow } from './row-spool.js'

export type ResourceCells = readonly [label: string, count: string, size: string]
/** The plugin's fields, in the order in which they are spooled. */
export const PROC_FIELDS = ['proctype', 'procversion', 'procstatus', 'inputs'] as const

/** A session with one of its scans, and one resource of that; all but the session may be empty. */
export function scanRow(
  subjectId: string,
  session: { readonly id: string; readonly label: string; readonly date: string; readonly xsiType: string },
  scan: {
    readonly id: string
    readonly type: string
    readonly quality: string
    readonly description: string
  },
  resource: ResourceCells,
): SpooledRow {
  const { id, label, date, xsiType } = session
  return [
    'scan',
    subjectId,
    id,
    label,
    date,
    xsiType,
    scan.id,
    scan.type,
    scan.quality,
    scan.description,
    ...resource,
  ]
}

export function sessionResourceRow(sessionId: string, resource: ResourceCells): SpooledRow {
  return ['session-resource', sessionId, ...resource]
}

type Written = Pick<AssessorFields, 'id' | 'label' | 'xsiType' | 'note' | 'quality'>

/** @param parent - XNAT's id of the session or subject it hangs on */
export function assessorRow(parent: string, of: Written, resource: ResourceCells): SpooledRow {
  return ['assessor', parent, of.id, of.label, of.xsiType, of.note, of.quality, ...resource]
}

/** @param cells - as {@link PROC_FIELDS} */
export function fieldsRow(assessorId: string, cells: readonly string[]): SpooledRow {
  return ['fields', assessorId, ...cells]
}

interface SessionDraft {
  readonly id: string
  readonly subjectId: string
  readonly label: string
  readonly date: string
  readonly xsiType: string
  readonly resources: ResourceNode[]
  readonly scans: Map<
    string,
    { readonly node: Omit<ScanNode, 'resources'>; readonly resources: ResourceNode[] }
  >
  readonly assessors: Map<string, AssessorDraft>
}

interface AssessorDraft {
  readonly id: string
  readonly label: string
  readonly xsiType: string
  readonly note: string
  readonly quality: string
  readonly resources: ResourceNode[]
}

/** What hangs on one subject. */
export interface SubjectContent {
  readonly sessions: SessionNode[]
  /** Results that are experiments of the subject. */
  readonly experiments: AssessorFields[]
}

/** Rows of a group, by XNAT's id of the subject. */
export function contentOf(rows: readonly SpooledRow[]): ReadonlyMap<string, SubjectContent> {
  const sessions = new Map<string, SessionDraft>()
  const onSubjects = new Map<string, Map<string, AssessorDraft>>()
  const fields = new Map<string, readonly string[]>()
  for (const row of rows) if (row[0] === 'scan') addScan(sessions, row)
  for (const row of rows) {
    const [kind, id = ''] = row
    if (kind === 'session-resource') addResource(sessions.get(id)?.resources, row.slice(2))
    else if (kind === 'assessor') addAssessor(assessorsAt(id, sessions, onSubjects), row)
    else if (kind === 'fields') fields.set(id, row.slice(2))
  }
  const content = new Map<string, SubjectContent>()
  const at = (subjectId: string): SubjectContent => {
    let found = content.get(subjectId)
    if (found === undefined) content.set(subjectId, (found = { sessions: [], experiments: [] }))
    return found
  }
  for (const session of sessions.values()) at(session.subjectId).sessions.push(toSession(session, fields))
  for (const [subjectId, drafts] of onSubjects)
    for (const draft of drafts.values()) at(subjectId).experiments.push(toFields(draft, fields))
  for (const { sessions: own } of content.values()) own.sort((a, b) => compareLabels(a.label, b.label))
  return content
}

/** A result hangs on a session, or else on a subject. */
function assessorsAt(
  parent: string,
  sessions: ReadonlyMap<string, SessionDraft>,
  onSubjects: Map<string, Map<string, AssessorDraft>>,
): Map<string, AssessorDraft> {
  const own = sessions.get(parent)?.assessors ?? onSubjects.get(parent)
  if (own !== undefined) return own
  const made = new Map<string, AssessorDraft>()
  onSubjects.set(parent, made)
  return made
}

function addScan(sessions: Map<string, SessionDraft>, row: SpooledRow): void {
  const [, subjectId = '', id = '', label = '', date = '', xsiType = '', scan = '', type = ''] = row
  const [quality = '', description = ''] = row.slice(8)
  let session = sessions.get(id)
  if (session === undefined) {
    session = { id, subjectId, label, date, xsiType, resources: [], scans: new Map(), assessors: new Map() }
    sessions.set(id, session)
  }
  if (scan === '') return
  let draft = session.scans.get(scan)
  if (draft === undefined) {
    draft = {
      node: {
        label: scan,
        type,
        // XNAT writes `usable` itself when it archives; an empty cell is from a scan that nobody has judged.
        quality: quality === '' ? 'usable' : quality,
        ...(description !== '' && description !== type && { description }),
      },
      resources: [],
    }
    session.scans.set(scan, draft)
  }
  addResource(draft.resources, row.slice(10))
}

function addAssessor(drafts: Map<string, AssessorDraft>, row: SpooledRow): void {
  const [, , id = '', label = '', xsiType = '', note = '', quality = ''] = row
  let draft = drafts.get(id)
  if (draft === undefined) {
    draft = { id, label, xsiType, note, quality, resources: [] }
    drafts.set(id, draft)
  }
  addResource(draft.resources, row.slice(7))
}

export function addResource(to: ResourceNode[] | undefined, cells: readonly string[]): void {
  const [label = '', count, size] = cells
  if (to === undefined || label === '' || to.some((one) => one.label === label)) return
  to.push(toResourceNode(label, count, size))
}

function toSession(session: SessionDraft, fields: ReadonlyMap<string, readonly string[]>): SessionNode {
  const modality = /^xnat:(\w+?)SessionData$/i.exec(session.xsiType)?.[1]?.toUpperCase()
  return {
    label: session.label,
    id: session.id,
    ...(modality !== undefined && modality !== 'IMAGE' && { modality }),
    ...(/^\d{4}-\d{2}-\d{2}$/.test(session.date) && { date: session.date }),
    resources: sortResources(session.resources),
    scans: [...session.scans.values()]
      .map(({ node, resources }) => ({ ...node, resources: sortResources(resources) }))
      .sort((a, b) => compareScans(a.label, b.label)),
    assessors: toAssessors(session.assessors, fields, session.label),
  }
}

function toAssessors(
  drafts: ReadonlyMap<string, AssessorDraft>,
  fields: ReadonlyMap<string, readonly string[]>,
  session: string,
): AssessorNode[] {
  return [...drafts.values()]
    .map((draft) => toAssessorNode(toFields(draft, fields), session))
    .sort((a, b) => compareLabels(a.label, b.label))
}

function toFields(draft: AssessorDraft, fields: ReadonlyMap<string, readonly string[]>): AssessorFields {
  const [procType = '', procVersion = '', procStatus = '', inputs = ''] = fields.get(draft.id) ?? []
  return { ...draft, procType, procVersion, procStatus, inputs, resources: sortResources(draft.resources) }
}

/** By code point, as every store does. */
export function compareLabels(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** Numbers by value, then words. */
function compareScans(a: string, b: string): number {
  const number = (label: string): number => (/^\d+$/.test(label) ? Number(label) : Number.POSITIVE_INFINITY)
  const [x, y] = [number(a), number(b)]
  return x === y ? compareLabels(a, b) : x - y
}
