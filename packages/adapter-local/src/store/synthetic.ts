/** Archives of any size without files, for measuring. Sessions are as real ones in all but content. */

import { checkLabel, type AssessorInit } from '@orbweaver/core'
import type { ArchiveDb } from './archive-db.js'
import { FolderStore } from './folder-store.js'
import { checkRef } from './layout.js'
import { byCodePoint } from './snapshot.js'

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

  const addResources = (
    owner: number,
    resources: readonly SyntheticResource[] = [],
    ids: Ids,
  ): string | null => {
    const rows = [...resources]
      .sort((a, b) => byCodePoint(a.label, b.label))
      .map(({ label, fileCount, bytes }) => {
        const id = ids.next()
        const digest = id.toString(16).padStart(16, '0')
        db.prepare(
          'INSERT INTO resource (owner, label, id, files, bytes, digest) VALUES (?, ?, ?, ?, ?, ?)',
        ).run(owner, label, id, fileCount, bytes, digest)
        return { label, fileCount, bytes, digest }
      })
    return rows.length === 0 ? null : JSON.stringify(rows)
  }

  const add = (each: SyntheticSession): void => {
    const ref = { project, subject: each.subject, session: each.session }
    const { scans, assessors: results = [] } = each
    for (const label of labelsOf(each)) checkLabel(label, 'A label')
    tree.ensureSession(ref, {
      ...(each.modality !== undefined && { modality: each.modality }),
      ...(each.date !== undefined && { date: each.date }),
    })
    const key = tree.get(ref)
    const ids = new Ids(db, scans.length + results.length + countResources(each) + 1)
    db.prepare('UPDATE session SET resources = ? WHERE subject = ? AND label = ?').run(
      addResources(key.id, each.resources, ids),
      key.parent,
      each.session,
    )
    for (const { label, type, quality = 'usable', description = null, resources } of scans) {
      const id = ids.next()
      db.prepare(
        'INSERT INTO scan (session, label, id, type, quality, description, resources) VALUES (?, ?, ?, ?, ?, ?, ?)',
      ).run(key.id, label, id, type, quality, description, addResources(id, resources, ids))
      counts.scans += 1
    }
    for (const { label, init, quality, resources } of results) {
      const id = ids.next()
      assessors.insert(key.id, label, init, id, { quality, resources: addResources(id, resources, ids) })
      counts.assessors += 1
    }
    tree.touch(key, ids.next())
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

/** Numbers of the archive's counter, taken together. */
class Ids {
  #next: number

  constructor(db: ArchiveDb, count: number) {
    this.#next = db.nextSeq(count) - count + 1
  }

  next(): number {
    return this.#next++
  }
}

function countResources({ resources = [], scans, assessors = [] }: SyntheticSession): number {
  const below = [...scans, ...assessors].reduce((sum, each) => sum + (each.resources?.length ?? 0), 0)
  return resources.length + below
}

function* labelsOf({
  subject,
  session,
  resources = [],
  scans,
  assessors = [],
}: SyntheticSession): Generator<string> {
  yield* [subject, session]
  for (const { label } of resources) yield label
  for (const each of [...scans, ...assessors]) {
    yield each.label
    for (const { label } of each.resources ?? []) yield label
  }
}
