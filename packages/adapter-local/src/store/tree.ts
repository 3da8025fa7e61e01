/** Nodes of the tree: found by their labels, made, marked as changed. Everything here runs inside a transaction. */

import {
  InputError,
  NotFoundError,
  formatRef,
  formatResourceRef,
  printable,
  type ArchiveRef,
  type ResourceRef,
} from '@orbweaver/core'
import type { ArchiveDb } from './archive-db.js'

/** A node that is there. */
export interface NodeKey {
  readonly id: number
  readonly project: number
  /** Undefined for a project and its assessors. */
  readonly subject: number | undefined
  /** Of a session, scan or assessor: what its row is clustered by. */
  readonly parent: number
}

const twins = (table: string, parent: string): string =>
  `SELECT label FROM ${table} WHERE ${parent} = ? AND lower(label) = lower(?) AND label <> ? LIMIT 1`
const SIBLINGS = {
  project: twins('project', '0'),
  subject: twins('subject', 'project'),
  session: twins('session', 'subject'),
  scan: twins('scan', 'session'),
  assessor: twins('assessor', 'parent'),
  resource: twins('resource', 'owner'),
} as const

interface Ids {
  readonly project: number
  readonly subject: number
  readonly id: number
}

export class Tree {
  readonly #db: ArchiveDb

  constructor(db: ArchiveDb) {
    this.#db = db
  }

  projectId(label: string): number | undefined {
    return this.#db.prepare<{ id: number }>('SELECT id FROM project WHERE label = ?').get(label)?.id
  }

  find(ref: ArchiveRef): NodeKey | undefined {
    const base = this.#findAbove(ref)
    if (base === undefined) return undefined
    if (ref.scan !== undefined) {
      const scan = this.#childId('SELECT id FROM scan WHERE session = ? AND label = ?', base.id, ref.scan)
      return scan === undefined ? undefined : { ...base, id: scan, parent: base.id }
    }
    if (ref.assessor !== undefined) {
      const id = this.#childId(
        'SELECT id FROM assessor WHERE parent = ? AND label = ?',
        base.id,
        ref.assessor,
      )
      return id === undefined ? undefined : { ...base, id, parent: base.id }
    }
    return base
  }

  /** @throws NotFoundError naming the first level that is missing */
  get(ref: ArchiveRef): NodeKey {
    const key = this.find(ref)
    if (key !== undefined) return key
    throw this.missing(ref)
  }

  /** The error for a node that is not there. */
  missing(ref: ArchiveRef): NotFoundError {
    const { project, subject, session } = ref
    let missing = ref
    if (this.projectId(project) === undefined) missing = { project }
    else if (subject !== undefined && this.find({ project, subject }) === undefined)
      missing = { project, subject }
    else if (
      subject !== undefined &&
      session !== undefined &&
      this.find({ project, subject, session }) === undefined
    ) {
      missing = { project, subject, session }
    }
    return new NotFoundError(`The archive has no ${levelWord(missing)} ${printable(formatRef(missing))}.`, {
      details: { ref: formatRef(ref), missing: formatRef(missing) },
    })
  }

  missingResource(ref: ResourceRef): NotFoundError {
    return new NotFoundError(`The archive has no resource ${printable(formatResourceRef(ref))}.`, {
      details: { resource: formatResourceRef(ref) },
    })
  }

  /** The session, subject or project that a reference lies in or names. One query: this is the way into every call. */
  #findAbove({ project, subject, session }: ArchiveRef): NodeKey | undefined {
    if (subject === undefined) {
      const id = this.projectId(project)
      return id === undefined ? undefined : { id, project: id, subject: undefined, parent: 0 }
    }
    if (session === undefined) {
      const row = this.#db
        .prepare<Ids>(
          `SELECT p.id AS project, s.id AS subject, s.id AS id FROM project p CROSS JOIN subject s ON s.project = p.id
           WHERE p.label = ? AND s.label = ?`,
        )
        .get(project, subject)
      return row === undefined ? undefined : { ...row, parent: row.project }
    }
    const row = this.#db
      .prepare<Ids>(
        `SELECT p.id AS project, s.id AS subject, e.id AS id FROM project p CROSS JOIN subject s ON s.project = p.id
         CROSS JOIN session e ON e.subject = s.id WHERE p.label = ? AND s.label = ? AND e.label = ?`,
      )
      .get(project, subject, session)
    return row === undefined ? undefined : { ...row, parent: row.subject }
  }

  #childId(sql: string, parent: number, label: string): number | undefined {
    return this.#db.prepare<{ id: number }>(sql).get(parent, label)?.id
  }

  /** Note for the change feed that something in the node's subject, or in the project itself, is new. */
  touch(key: NodeKey, seq: number): void {
    if (key.subject === undefined) {
      this.#db.prepare('UPDATE project SET changed = ? WHERE id = ?').run(seq, key.project)
    } else {
      this.#db.prepare('UPDATE subject SET changed = ? WHERE id = ?').run(seq, key.subject)
    }
  }

  /**
   * Where the file system takes `A` and `a` for one name, two such labels would share a folder.
   *
   * @throws InputError a sibling differs in letter case only
   */
  refuseTwin(kind: keyof typeof SIBLINGS, parent: number, label: string): void {
    if (!this.#db.foldsCase) return
    const { label: twin } =
      this.#db.prepare<{ label: string }>(SIBLINGS[kind]).get(parent, label, label) ?? {}
    if (twin === undefined) return
    throw new InputError(
      `The ${kind} label ${printable(label)} cannot be used: ${printable(twin)} is there, and the file system of the archive does not tell letter case apart.`,
      {
        details: { label, twin },
        hint: 'Rename one of them, or keep the archive on a file system that tells case apart.',
      },
    )
  }

  // -- making nodes; each returns whether it made or changed something

  ensureProject(label: string): boolean {
    if (this.projectId(label) !== undefined) return false
    this.refuseTwin('project', 0, label)
    const seq = this.#db.nextSeq()
    this.#db.prepare('INSERT INTO project (id, label, changed) VALUES (?, ?, ?)').run(seq, label, seq)
    return true
  }

  ensureSubject({ project, subject }: { project: string; subject: string }): boolean {
    const made = this.ensureProject(project)
    if (this.find({ project, subject }) !== undefined) return made
    const { id: parent } = this.get({ project })
    this.refuseTwin('subject', parent, subject)
    const seq = this.#db.nextSeq()
    this.#db
      .prepare('INSERT INTO subject (id, project, label, changed) VALUES (?, ?, ?, ?)')
      .run(seq, parent, subject, seq)
    return true
  }

  ensureSession(
    ref: { project: string; subject: string; session: string },
    about: { readonly modality?: string; readonly date?: string },
  ): boolean {
    this.ensureSubject(ref)
    const key = this.find(ref)
    const { modality = null, date = null } = about
    if (key === undefined) {
      const parent = this.get({ project: ref.project, subject: ref.subject })
      this.refuseTwin('session', parent.id, ref.session)
      const seq = this.#db.nextSeq()
      this.#db
        .prepare('INSERT INTO session (subject, label, id, modality, date) VALUES (?, ?, ?, ?, ?)')
        .run(parent.id, ref.session, seq, modality, date)
      this.touch(parent, seq)
      return true
    }
    const { changes } = this.#db
      .prepare(
        `UPDATE session SET modality = coalesce(@modality, modality), date = coalesce(@date, date)
         WHERE subject = @parent AND label = @label
           AND (coalesce(@modality, modality) IS NOT modality OR coalesce(@date, date) IS NOT date)`,
      )
      .run({ parent: key.parent, label: ref.session, modality, date })
    if (changes > 0) this.touch(key, this.#db.nextSeq())
    return changes > 0
  }

  /** A quality that is left out is `usable` for a new scan and stays for one that is there. */
  ensureScan(
    ref: { project: string; subject: string; session: string },
    scan: {
      readonly label: string
      readonly type: string
      readonly quality?: string
      readonly description?: string
    },
  ): boolean {
    const session = this.get(ref)
    const key = this.find({ ...ref, scan: scan.label })
    const { label, type, quality = null, description = null } = scan
    if (key === undefined) {
      this.refuseTwin('scan', session.id, label)
      const seq = this.#db.nextSeq()
      this.#db
        .prepare(
          'INSERT INTO scan (session, label, id, type, quality, description) VALUES (?, ?, ?, ?, ?, ?)',
        )
        .run(session.id, label, seq, type, quality ?? 'usable', description)
      this.touch(session, seq)
      return true
    }
    const { changes } = this.#db
      .prepare(
        `UPDATE scan SET type = @type, quality = coalesce(@quality, quality),
           description = coalesce(@description, description)
         WHERE session = @session AND label = @label AND (type <> @type
           OR coalesce(@quality, quality) <> quality OR coalesce(@description, description) IS NOT description)`,
      )
      .run({ session: session.id, label, type, quality, description })
    if (changes > 0) this.touch(session, this.#db.nextSeq())
    return changes > 0
  }

  /** Copy what `resource` says of a node into the node's own row. */
  refreshResources(ref: ArchiveRef, key: NodeKey): void {
    const json =
      this.#db
        .prepare<{ json: string | null }>(
          `SELECT json_group_array(json_object('label', label, 'fileCount', files, 'bytes', bytes, 'digest', digest)) AS json
           FROM (SELECT * FROM resource WHERE owner = ? ORDER BY label)`,
        )
        .get(key.id)?.json ?? '[]'
    const value = json === '[]' ? null : json
    if (ref.scan !== undefined) {
      this.#db
        .prepare('UPDATE scan SET resources = ? WHERE session = ? AND label = ?')
        .run(value, key.parent, ref.scan)
    } else if (ref.assessor !== undefined) {
      this.#db
        .prepare('UPDATE assessor SET resources = ? WHERE parent = ? AND label = ?')
        .run(value, key.parent, ref.assessor)
    } else if (ref.session !== undefined) {
      this.#db
        .prepare('UPDATE session SET resources = ? WHERE subject = ? AND label = ?')
        .run(value, key.parent, ref.session)
    } else {
      const table = ref.subject === undefined ? 'project' : 'subject'
      this.#db.prepare(`UPDATE ${table} SET resources = ? WHERE id = ?`).run(value, key.id)
    }
  }
}

function levelWord(ref: ArchiveRef): string {
  if (ref.assessor !== undefined) return 'assessor'
  if (ref.scan !== undefined) return 'scan'
  if (ref.session !== undefined) return 'session'
  return ref.subject === undefined ? 'project' : 'subject'
}
