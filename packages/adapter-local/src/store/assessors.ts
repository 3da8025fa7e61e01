/** Assessors: made once, changed only by those who have seen the last state. */

import {
  ConflictError,
  NotFoundError,
  formatRef,
  printable,
  stateOfStatusWord,
  statusWordOf,
  type ArchiveRef,
  type AssessorChange,
  type AssessorDetail,
  type AssessorInit,
  type AssessorNode,
  type CauseKind,
  type ResourceNode,
  type StatusVocabulary,
  type TaskRecord,
  type TaskState,
} from '@orbweaver/core'
import type { ArchiveDb } from './archive-db.js'
import { parentOfAssessor } from './layout.js'
import type { Tree } from './tree.js'

/** Columns of an assessor in the order of {@link AssessorRow}. */
export const ASSESSOR_COLUMNS = [
  'label',
  'id',
  'proc_type',
  'proc_version',
  'state',
  'status_word',
  'cause',
  'attempt',
  'retry_at_ms',
  'quality',
  'scans',
  'resources',
  'revision',
] as const

/** A row as an array: reading hundreds of thousands, objects with named columns cost twice as much. */
export type AssessorRow = readonly [
  label: string,
  id: number,
  procType: string,
  procVersion: string | null,
  state: TaskState | null,
  statusWord: string,
  cause: CauseKind | null,
  attempt: number,
  retryAtMs: number | null,
  quality: string,
  scans: string | null,
  resources: string | null,
  revision: number,
]

const NONE: readonly never[] = Object.freeze([])
/** Most assessors name the same few scans: one array serves them all. */
const knownScans = new Map<string, readonly string[]>()

export function parseResources(json: string | null): readonly ResourceNode[] {
  return json === null ? NONE : (JSON.parse(json) as ResourceNode[])
}

function parseScans(json: string): readonly string[] {
  let scans = knownScans.get(json)
  if (scans === undefined) {
    scans = Object.freeze(JSON.parse(json) as string[])
    if (knownScans.size < 1000) knownScans.set(json, scans)
  }
  return scans
}

export function toAssessorNode(row: AssessorRow): AssessorNode {
  const [label, , procType, procVersion, state, statusWord, cause, attempt, retryAtMs, quality, scans] = row
  const known = state ?? stateOfStatusWord(statusWord)
  const node: { -readonly [K in keyof AssessorNode]: AssessorNode[K] } = {
    label,
    procType,
    statusWord,
    attempt,
    quality,
    resources: parseResources(row[11]),
    revision: String(row[12]),
  }
  if (procVersion !== null) node.procVersion = procVersion
  if (known !== undefined) node.state = known
  if (cause !== null) node.cause = cause
  if (retryAtMs !== null) node.retryAtMs = retryAtMs
  if (scans !== null) node.scans = parseScans(scans)
  return node
}

const SELECT = `SELECT ${ASSESSOR_COLUMNS.join(', ')} FROM assessor WHERE parent = ? AND label = ?`
const INSERT = `INSERT INTO assessor (parent, ${ASSESSOR_COLUMNS.join(', ')})
  VALUES (?, ${ASSESSOR_COLUMNS.map(() => '?').join(', ')})`

export class Assessors {
  readonly #db: ArchiveDb
  readonly #tree: Tree
  readonly #words: StatusVocabulary

  constructor(db: ArchiveDb, tree: Tree, words: StatusVocabulary) {
    this.#db = db
    this.#tree = tree
    this.#words = words
  }

  /** Undefined: it is not there; its parent may not be either. Inside a transaction. */
  find(ref: AssessorRef): AssessorDetail | undefined {
    const parent = this.#tree.find(parentOfAssessor(ref))
    return parent === undefined ? undefined : this.#read(parent.id, ref.assessor)
  }

  #row(parent: number, label: string): AssessorRow | undefined {
    return this.#db.prepare<AssessorRow>(SELECT).raw(true).get(parent, label)
  }

  #read(parent: number, label: string): AssessorDetail | undefined {
    const row = this.#row(parent, label)
    if (row === undefined) return undefined
    const record = this.#db
      .prepare<{ json: string }>('SELECT json FROM record WHERE assessor = ?')
      .get(row[1])
    return {
      node: toAssessorNode(row),
      ...(record !== undefined && { record: JSON.parse(record.json) as TaskRecord }),
    }
  }

  /** Inside a write transaction. */
  create(ref: AssessorRef, init: AssessorInit): AssessorDetail & { readonly created: boolean } {
    const parent = this.#tree.get(parentOfAssessor(ref))
    const there = this.#read(parent.id, ref.assessor)
    if (there !== undefined) return { ...there, created: false }
    this.#tree.refuseTwin('assessor', parent.id, ref.assessor)
    const seq = this.#db.nextSeq()
    const row = this.insert(parent.id, ref.assessor, init, seq)
    this.#tree.touch(parent, seq)
    return { node: toAssessorNode(row), record: copyOf(init.record), created: true }
  }

  /** Only the rows; for {@link create} and for bulk work. */
  insert(
    parent: number,
    label: string,
    init: AssessorInit,
    seq: number,
    also: { readonly quality?: string | undefined; readonly resources?: string | null } = {},
  ): AssessorRow {
    const { record } = init
    const row: AssessorRow = [
      label,
      seq,
      init.procType,
      init.procVersion,
      record.state,
      this.#word(record),
      record.cause?.kind ?? null,
      record.attempt,
      record.retryAtMs ?? null,
      also.quality ?? '',
      JSON.stringify(init.scans),
      also.resources ?? null,
      seq,
    ]
    this.#db.prepare(INSERT).run(parent, ...row)
    this.#db.prepare('INSERT INTO record (assessor, json) VALUES (?, ?)').run(seq, JSON.stringify(record))
    return row
  }

  /** Inside a write transaction. */
  update(ref: AssessorRef, change: AssessorChange, revision: string): AssessorNode {
    const parent = this.#tree.find(parentOfAssessor(ref))
    const row = parent === undefined ? undefined : this.#row(parent.id, ref.assessor)
    if (parent === undefined || row === undefined) throw this.missing(ref)
    if (String(row[12]) !== revision) {
      throw new ConflictError(
        `Assessor ${printable(formatRef(ref))} was changed since it was read (revision ${row[12]}, read ${printable(revision)}).`,
        { details: { ref: formatRef(ref), revision: String(row[12]), read: revision } },
      )
    }
    const seq = this.#db.nextSeq()
    const { record, quality } = change
    if (record !== undefined) {
      this.#db
        .prepare(
          `UPDATE assessor SET proc_type = ?, proc_version = ?, state = ?, status_word = ?, cause = ?, attempt = ?, retry_at_ms = ?
           WHERE parent = ? AND label = ?`,
        )
        .run(
          record.procType,
          record.procVersion,
          record.state,
          this.#word(record),
          record.cause?.kind ?? null,
          record.attempt,
          record.retryAtMs ?? null,
          parent.id,
          ref.assessor,
        )
      this.#db
        .prepare(
          'INSERT INTO record (assessor, json) VALUES (?, ?) ON CONFLICT (assessor) DO UPDATE SET json = excluded.json',
        )
        .run(row[1], JSON.stringify(record))
    }
    this.#db
      .prepare('UPDATE assessor SET revision = ?, quality = ? WHERE parent = ? AND label = ?')
      .run(seq, quality ?? row[9], parent.id, ref.assessor)
    this.#tree.touch(parent, seq)
    const updated = this.#row(parent.id, ref.assessor)
    if (updated === undefined) throw this.missing(ref)
    return toAssessorNode(updated)
  }

  missing(ref: AssessorRef): NotFoundError {
    return this.#tree.missing(ref)
  }

  #word(record: TaskRecord): string {
    return statusWordOf(record.state, this.#words, record.cause?.kind)
  }
}

export type AssessorRef = ArchiveRef & { readonly assessor: string }

/** As a reader would get it: nobody's later change to the object shows. */
function copyOf(record: TaskRecord): TaskRecord {
  return JSON.parse(JSON.stringify(record)) as TaskRecord
}
