/** Archives of any size without files, for measuring. Sessions are as real ones in all but content. */

import type { AssessorInit } from '@orbweaver/core'
import { FolderStore } from './folder-store.js'
import { checkRef, checkResourceRef } from './layout.js'

/** A resource that is only told of: `listFiles` gives none. */
export interface SyntheticResource {
  readonly label: string
  readonly fileCount: number
  readonly bytes: number
}

export interface SyntheticScan {
  readonly label: string
  readonly type: string
  /** Default `usable`. */
  readonly quality?: string
  readonly description?: string
  readonly resources?: readonly SyntheticResource[]
}

export interface SyntheticAssessor {
  readonly label: string
  readonly init: AssessorInit
  readonly quality?: string
  readonly resources?: readonly SyntheticResource[]
}

export interface SyntheticSession {
  readonly subject: string
  /** Not in the archive yet. */
  readonly session: string
  readonly modality?: string
  readonly date?: string
  readonly resources?: readonly SyntheticResource[]
  readonly scans: readonly SyntheticScan[]
  readonly assessors?: readonly SyntheticAssessor[]
}

export interface SyntheticArchiveOptions {
  /** Made when it is not there; sessions are added to an archive that is. */
  readonly path: string
  readonly project: string
  /** How many to make. */
  readonly sessions: number
  /** Number of the first one, to add to what an earlier call made. Default 0. */
  readonly first?: number
  /** Default 1. */
  readonly sessionsPerSubject?: number
  /** Types of the scans of every session. Default: T1w, T2w, BOLD, BOLD, DTI. Scans are numbered from 1. */
  readonly scanTypes?: readonly string[]
  /** Default: one `NIFTI` with one file of 1 MiB. */
  readonly scanResources?: readonly SyntheticResource[]
  /** Results of the session, with the labels that the engine would give them. Default: none. */
  readonly assessors?: (session: SyntheticSession) => readonly SyntheticAssessor[]
}

export interface SyntheticSummary {
  readonly sessions: number
  readonly scans: number
  readonly assessors: number
}

const SESSIONS_A_TRANSACTION = 2000

/** About 10 000 sessions with 5 scans and 4 assessors a second. */
export async function createSyntheticArchive(options: SyntheticArchiveOptions): Promise<SyntheticSummary> {
  const store = await FolderStore.open({ path: options.path, create: true })
  try {
    return await seedSessions(store, options.project, syntheticSessions(options))
  } finally {
    await store.close()
  }
}

/** The sessions that {@link createSyntheticArchive} makes: `S000000`, its session `S000000_MR1`, … */
export function* syntheticSessions(
  options: Omit<SyntheticArchiveOptions, 'path' | 'project'>,
): Generator<SyntheticSession> {
  const {
    first = 0,
    sessionsPerSubject = 1,
    scanTypes = ['T1w', 'T2w', 'BOLD', 'BOLD', 'DTI'],
    scanResources = [{ label: 'NIFTI', fileCount: 1, bytes: 1024 ** 2 }],
  } = options
  for (let index = first; index < first + options.sessions; index += 1) {
    const subject = `S${String(Math.floor(index / sessionsPerSubject)).padStart(6, '0')}`
    const session: SyntheticSession = {
      subject,
      session: `${subject}_MR${(index % sessionsPerSubject) + 1}`,
      modality: 'MR',
      date: '2020-01-01',
      scans: scanTypes.map((type, scan) => ({ label: String(scan + 1), type, resources: scanResources })),
    }
    const assessors = options.assessors?.(session)
    yield assessors === undefined ? session : { ...session, assessors }
  }
}

/**
 * Add sessions without files to a project, in the order given.
 *
 * @throws InputError a label that cannot be used
 */
export async function seedSessions(
  store: FolderStore,
  project: string,
  sessions: Iterable<SyntheticSession>,
): Promise<SyntheticSummary> {
  const { db, tree, assessors } = await store.opened()
  const counts = { sessions: 0, scans: 0, assessors: 0 }
  checkRef({ project })

  const resourceJson = (owner: number, resources: readonly SyntheticResource[] = []): string | null => {
    for (const { label, fileCount, bytes } of resources) {
      const id = db.nextSeq()
      db.prepare(
        'INSERT INTO resource (owner, label, id, files, bytes, digest) VALUES (?, ?, ?, ?, ?, ?)',
      ).run(owner, label, id, fileCount, bytes, digestOf(id))
    }
    const rows = db
      .prepare<{ label: string; fileCount: number; bytes: number; digest: string }>(
        'SELECT label, files AS fileCount, bytes, digest FROM resource WHERE owner = ? ORDER BY label',
      )
      .all(owner)
    return rows.length === 0 ? null : JSON.stringify(rows)
  }

  const add = (each: SyntheticSession): void => {
    const ref = { project, subject: each.subject, session: each.session }
    checkRef(ref)
    tree.ensureSession(ref, {
      ...(each.modality !== undefined && { modality: each.modality }),
      ...(each.date !== undefined && { date: each.date }),
    })
    const key = tree.get(ref)
    db.prepare('UPDATE session SET resources = ? WHERE subject = ? AND label = ?').run(
      resourceJson(key.id, each.resources),
      key.parent,
      each.session,
    )
    for (const { label, type, quality = 'usable', description = null, resources } of each.scans) {
      checkRef({ ...ref, scan: label })
      const id = db.nextSeq()
      db.prepare(
        'INSERT INTO scan (session, label, id, type, quality, description, resources) VALUES (?, ?, ?, ?, ?, ?, ?)',
      ).run(key.id, label, id, type, quality, description, resourceJson(id, resources))
      counts.scans += 1
    }
    for (const { label, init, quality, resources } of each.assessors ?? []) {
      checkResourceRef({ node: { ...ref, assessor: label }, resource: resources?.[0]?.label ?? 'NONE' })
      const id = db.nextSeq()
      assessors.insert(key.id, label, init, id, quality)
      if (resources !== undefined) {
        db.prepare('UPDATE assessor SET resources = ? WHERE parent = ? AND label = ?').run(
          resourceJson(id, resources),
          key.id,
          label,
        )
      }
      counts.assessors += 1
    }
    tree.touch(key, db.nextSeq())
    counts.sessions += 1
  }

  const addAll = async (batch: readonly SyntheticSession[]): Promise<void> => {
    const before = { ...counts }
    await db.write(() => {
      Object.assign(counts, before) // the transaction may run again
      for (const each of batch) add(each)
    })
  }

  let batch: SyntheticSession[] = []
  for (const session of sessions) {
    batch.push(session)
    if (batch.length < SESSIONS_A_TRANSACTION) continue
    await addAll(batch)
    batch = []
  }
  if (batch.length > 0) await addAll(batch)
  return counts
}

const digestOf = (id: number): string => id.toString(16).padStart(16, '0')
