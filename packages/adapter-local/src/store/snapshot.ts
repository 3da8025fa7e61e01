/** A project read page by page: four tables are walked in step, a few hundred sessions a transaction. */

import { setImmediate } from 'node:timers/promises'
import type {
  AssessorNode,
  ProjectNode,
  ProjectSnapshot,
  ResourceNode,
  ScanNode,
  SessionNode,
  SnapshotOptions,
  SubjectNode,
} from '@orbweaver/core'
import type { ArchiveDb } from './archive-db.js'
import { ASSESSOR_COLUMNS, parseResources, toAssessorNode, type AssessorRow } from './assessors.js'
import type { Tree } from './tree.js'

/** A page holds whole subjects; their number follows how many sessions they have. */
const SESSIONS_A_PAGE = 500
const MOST_SUBJECTS_A_PAGE = 1000

type SubjectRow = readonly [id: number, label: string, resources: string | null]
type SessionRow = readonly [
  subject: number,
  id: number,
  label: string,
  modality: string | null,
  date: string | null,
  resources: string | null,
]
type ScanRow = readonly [
  session: number,
  label: string,
  type: string,
  quality: string,
  description: string | null,
  resources: string | null,
]
type OwnedAssessorRow = readonly [...AssessorRow, parent: number]

// CROSS JOIN: SQLite keeps the order of the tables as written, so that each is walked along its key and nothing is sorted.
const BETWEEN = 's.project = ? AND s.label >= ? AND s.label <= ?'
const assessorColumns = ASSESSOR_COLUMNS.map((column) => `a.${column}`).join(', ')
const SUBJECTS =
  'SELECT id, label, resources FROM subject WHERE project = ? AND label > ? ORDER BY label LIMIT ?'
const SUBJECT = 'SELECT id, label, resources FROM subject WHERE project = ? AND label = ?'
const SESSIONS = `SELECT e.subject, e.id, e.label, e.modality, e.date, e.resources
  FROM subject s CROSS JOIN session e ON e.subject = s.id WHERE ${BETWEEN} ORDER BY s.label, e.label`
const SCANS = `SELECT c.session, c.label, c.type, c.quality, c.description, c.resources
  FROM subject s CROSS JOIN session e ON e.subject = s.id CROSS JOIN scan c ON c.session = e.id
  WHERE ${BETWEEN} ORDER BY s.label, e.label, c.label`
const SESSION_ASSESSORS = `SELECT ${assessorColumns}, a.parent
  FROM subject s CROSS JOIN session e ON e.subject = s.id CROSS JOIN assessor a ON a.parent = e.id
  WHERE ${BETWEEN} ORDER BY s.label, e.label, a.label`
const SUBJECT_ASSESSORS = `SELECT ${assessorColumns}, a.parent
  FROM subject s CROSS JOIN assessor a ON a.parent = s.id WHERE ${BETWEEN} ORDER BY s.label, a.label`
const SUBJECTS_WITH_SESSION = `SELECT DISTINCT s.label FROM json_each(?) wanted
  CROSS JOIN session e ON e.label = wanted.value CROSS JOIN subject s ON s.id = e.subject WHERE s.project = ?`

/**
 * Subjects, sessions and assessors come in the order of their labels by code point; scans in the order of acquisition as
 * their labels tell it: numbers by value, then words. A subject is read whole at one moment; different subjects may be
 * read at different moments.
 *
 * With `sessions`, only subjects that have one of them are given.
 */
export function readSnapshot(
  db: ArchiveDb,
  tree: Tree,
  project: string,
  options: SnapshotOptions,
): ProjectSnapshot {
  const { id, header } = db.read(() => {
    const key = tree.get({ project })
    return { id: key.id, header: readHeader(db, project, key.id) }
  })
  return { project: header, subjects: readSubjects(db, id, options) }
}

function readHeader(db: ArchiveDb, label: string, id: number): ProjectNode {
  const row = db.prepare<{ resources: string | null }>('SELECT resources FROM project WHERE id = ?').get(id)
  const assessors = db
    .prepare(`SELECT ${ASSESSOR_COLUMNS.join(', ')} FROM assessor WHERE parent = ? ORDER BY label`)
    .raw(true)
    .all(id) as AssessorRow[]
  return {
    label,
    resources: parseResources(row?.resources ?? null),
    assessors: assessors.map(toAssessorNode),
  }
}

async function* readSubjects(
  db: ArchiveDb,
  project: number,
  options: SnapshotOptions,
): AsyncGenerator<SubjectNode> {
  const { signal } = options
  const only = options.sessions === undefined ? undefined : new Set(options.sessions)
  const pages = pagesOf(db, project, options)
  for (;;) {
    signal?.throwIfAborted()
    const { value: page, done } = pages.next()
    if (done === true) return
    for (const subject of page) {
      if (only === undefined) yield subject
      else {
        const sessions = subject.sessions.filter((session) => only.has(session.label))
        if (sessions.length > 0) yield { ...subject, sessions }
      }
    }
    // Reading is synchronous: let heartbeats, signals and other work of this process have their turn.
    await setImmediate()
  }
}

function* pagesOf(
  db: ArchiveDb,
  project: number,
  options: SnapshotOptions,
): Generator<readonly SubjectNode[], void> {
  const wanted = wantedSubjects(db, project, options)
  if (wanted !== undefined) {
    for (const label of wanted) {
      const page = db.read(() =>
        readPage(db, project, db.prepare(SUBJECT).raw(true).all(project, label) as SubjectRow[]),
      )
      if (page.length > 0) yield page
    }
    return
  }
  let after = ''
  let size = 64
  for (;;) {
    const page = db.read(() =>
      readPage(db, project, db.prepare(SUBJECTS).raw(true).all(project, after, size) as SubjectRow[]),
    )
    const last = page.at(-1)
    if (last === undefined) return
    yield page
    after = last.label
    const sessions = page.reduce((sum, subject) => sum + subject.sessions.length, 0)
    size = Math.ceil((page.length * SESSIONS_A_PAGE) / Math.max(sessions, 1))
    size = Math.max(1, Math.min(size, MOST_SUBJECTS_A_PAGE))
  }
}

/** In the order of a full snapshot; undefined: all. */
function wantedSubjects(
  db: ArchiveDb,
  project: number,
  { subjects, sessions }: SnapshotOptions,
): readonly string[] | undefined {
  if (subjects === undefined && sessions === undefined) return undefined
  let wanted = subjects === undefined ? undefined : new Set(subjects)
  if (sessions !== undefined) {
    const rows = db.read(() =>
      db.prepare<{ label: string }>(SUBJECTS_WITH_SESSION).all(JSON.stringify(sessions), project),
    )
    const having = rows.map((row) => row.label).filter((label) => wanted?.has(label) ?? true)
    wanted = new Set(having)
  }
  return [...(wanted ?? [])].sort(byCodePoint)
}

/** As SQLite compares: by code point. JavaScript's own order differs for characters beyond U+FFFF. */
export function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** The children of these subjects, one query for each kind; rows come in the order of their parents. */
function readPage(db: ArchiveDb, project: number, rows: readonly SubjectRow[]): readonly SubjectNode[] {
  const first = rows[0]
  const last = rows.at(-1)
  if (first === undefined || last === undefined) return []
  const bounds = [project, first[1], last[1]]
  const query = <Row>(sql: string): Row[] =>
    db
      .prepare(sql)
      .raw(true)
      .all(...bounds) as Row[]
  const sessions = new Run(query<SessionRow>(SESSIONS), (row) => row[0])
  const scans = new Run(query<ScanRow>(SCANS), (row) => row[0])
  const onSessions = new Run(
    query<OwnedAssessorRow>(SESSION_ASSESSORS),
    (row) => row[ASSESSOR_COLUMNS.length],
  )
  const onSubjects = new Run(
    query<OwnedAssessorRow>(SUBJECT_ASSESSORS),
    (row) => row[ASSESSOR_COLUMNS.length],
  )
  return rows.map(([id, label, resources]): SubjectNode => ({
    label,
    resources: parseResources(resources),
    assessors: onSubjects.take(id, ownedAssessor),
    sessions: sessions.take(id, (row) => {
      const session: { -readonly [K in keyof SessionNode]: SessionNode[K] } = {
        label: row[2],
        resources: parseResources(row[5]),
        scans: inScanOrder(scans.take(row[1], toScan)),
        assessors: onSessions.take(row[1], ownedAssessor),
      }
      if (row[3] !== null) session.modality = row[3]
      if (row[4] !== null) session.date = row[4]
      return session
    }),
  }))
}

/** Rows grouped by parent, parents in the order in which they are asked for. */
class Run<Row> {
  readonly #rows: readonly Row[]
  readonly #parent: (row: Row) => number
  #next = 0

  constructor(rows: readonly Row[], parent: (row: Row) => number) {
    this.#rows = rows
    this.#parent = parent
  }

  take<Node>(parent: number, toNode: (row: Row) => Node): Node[] {
    const nodes: Node[] = []
    for (;;) {
      const row = this.#rows[this.#next]
      if (row === undefined || this.#parent(row) !== parent) return nodes
      nodes.push(toNode(row))
      this.#next += 1
    }
  }
}

const ownedAssessor = (row: OwnedAssessorRow): AssessorNode => toAssessorNode(row as unknown as AssessorRow)

function toScan([, label, type, quality, description, json]: ScanRow): ScanNode {
  const resources: readonly ResourceNode[] = parseResources(json)
  return description === null
    ? { label, type, quality, resources }
    : { label, type, quality, description, resources }
}

function inScanOrder(scans: ScanNode[]): ScanNode[] {
  const number = (label: string): number => (/^\d+$/.test(label) ? Number(label) : Number.POSITIVE_INFINITY)
  // By label already; most sessions have labels of one length, in which case that is the order.
  if (scans.every((scan) => scan.label.length === scans[0]?.label.length)) return scans
  return scans.sort((a, b) => {
    const [x, y] = [number(a.label), number(b.label)]
    return x === y ? byCodePoint(a.label, b.label) : x - y
  })
}
