/** Does the folder hold what the database says, and nothing else? */

import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import {
  formatResourceRef,
  systemErrorCode,
  type ArchiveRef,
  type CallOptions,
  type ResourceRef,
} from '@orbweaver/core'
import type { FileRow } from './content.js'
import { hashFile, stampOf, statIfThere } from './file-system.js'
import type { OpenArchive } from './folder-store.js'
import { DATABASE, STAGING, nodeFolder, resourceFolder } from './layout.js'

export interface CheckOptions extends CallOptions {
  /** Only these projects. Default: all, and the database itself. */
  readonly projects?: readonly string[]
  /** Read every file and compare its checksum. Default: size only, and for linked files also time and inode. */
  readonly deep?: boolean
  readonly onProgress?: (progress: {
    readonly resources: number
    readonly files: number
    readonly bytes: number
  }) => void
}

export interface CheckProblem {
  /**
   * - `missing` listed, but not in the folder; `size`, `content` not what was recorded
   * - `linked` the original of a linked file was changed or is gone
   * - `unknown` in the folder, but not in the database: nobody sees it
   * - `database` the database contradicts itself
   */
  readonly kind: 'missing' | 'size' | 'content' | 'linked' | 'unknown' | 'database'
  /** The resource, as `P/S/E/scans/3:NIFTI`; absent where there is none. */
  readonly resource?: string
  /** In the resource, or relative to the archive's folder. */
  readonly path?: string
  /** One line for a person. */
  readonly message: string
}

interface OwnerRow {
  readonly id: number
  readonly ref: ArchiveRef
}

export async function* checkArchive(
  archive: OpenArchive,
  options: CheckOptions,
): AsyncGenerator<CheckProblem> {
  const { db } = archive
  const all = db.read(() =>
    db.prepare<{ id: number; label: string }>('SELECT id, label FROM project ORDER BY label').all(),
  )
  const projects = all.filter(({ label }) => options.projects?.includes(label) ?? true)
  if (options.projects === undefined) {
    yield* checkDatabase(archive, options)
    yield* strays(
      db.root,
      '.',
      new Set([DATABASE, `${DATABASE}-wal`, `${DATABASE}-shm`, `${DATABASE}-journal`, STAGING, 'projects']),
    )
    yield* strays(db.root, 'projects', new Set(all.map(({ label }) => label)))
  }
  const progress = { resources: 0, files: 0, bytes: 0 }
  for (const { id, label } of projects) {
    const ref = { project: label }
    yield* checkNode(archive, { id, ref }, options, progress)
    const subjects = children(archive, 'SELECT id, label FROM subject WHERE project = ? ORDER BY label', id)
    yield* strays(db.root, `${nodeFolder(ref)}/subjects`, new Set(subjects.map((row) => row.label)))
    for (const subject of subjects) {
      options.signal?.throwIfAborted()
      yield* checkSubject(
        archive,
        { id: subject.id, ref: { ...ref, subject: subject.label } },
        options,
        progress,
      )
      await setImmediate()
    }
  }
}

type Progress = { resources: number; files: number; bytes: number }

async function* checkSubject(
  archive: OpenArchive,
  subject: OwnerRow,
  options: CheckOptions,
  progress: Progress,
): AsyncGenerator<CheckProblem> {
  const { root } = archive.db
  yield* checkNode(archive, subject, options, progress)
  const sessions = children(
    archive,
    'SELECT id, label FROM session WHERE subject = ? ORDER BY label',
    subject.id,
  )
  yield* strays(root, `${nodeFolder(subject.ref)}/sessions`, new Set(sessions.map((row) => row.label)))
  for (const { id, label } of sessions) {
    const session = { id, ref: { ...subject.ref, session: label } }
    yield* checkNode(archive, session, options, progress)
    const scans = children(archive, 'SELECT id, label FROM scan WHERE session = ? ORDER BY label', id)
    yield* strays(root, `${nodeFolder(session.ref)}/scans`, new Set(scans.map((row) => row.label)))
    for (const scan of scans) {
      yield* checkResources(
        archive,
        { id: scan.id, ref: { ...session.ref, scan: scan.label } },
        options,
        progress,
      )
    }
  }
}

/** A project's, subject's or session's own resources and assessors. */
async function* checkNode(
  archive: OpenArchive,
  node: OwnerRow,
  options: CheckOptions,
  progress: Progress,
): AsyncGenerator<CheckProblem> {
  yield* checkResources(archive, node, options, progress)
  const assessors = children(
    archive,
    'SELECT id, label FROM assessor WHERE parent = ? ORDER BY label',
    node.id,
  )
  yield* strays(
    archive.db.root,
    `${nodeFolder(node.ref)}/assessors`,
    new Set(assessors.map((row) => row.label)),
  )
  for (const { id, label } of assessors) {
    yield* checkResources(archive, { id, ref: { ...node.ref, assessor: label } }, options, progress)
  }
}

function children(
  archive: OpenArchive,
  sql: string,
  parent: number,
): readonly { id: number; label: string }[] {
  return archive.db.read(() => archive.db.prepare<{ id: number; label: string }>(sql).all(parent))
}

async function* checkResources(
  { db, content }: OpenArchive,
  { id, ref }: OwnerRow,
  options: CheckOptions,
  progress: Progress,
): AsyncGenerator<CheckProblem> {
  interface Resource {
    readonly label: string
    readonly files: number
    readonly bytes: number
  }
  const resources = db.read(() =>
    db.prepare<Resource>('SELECT label, files, bytes FROM resource WHERE owner = ? ORDER BY label').all(id),
  )
  const direct = ref.scan !== undefined || ref.assessor !== undefined
  const folder = direct ? nodeFolder(ref) : `${nodeFolder(ref)}/resources`
  yield* strays(db.root, folder, new Set(resources.map((row) => row.label)))
  for (const { label, files, bytes } of resources) {
    options.signal?.throwIfAborted()
    const resource = { node: ref, resource: label }
    const { rows, place } = content.locate(resource)
    const sum = [...rows.values()].reduce((total, row) => total + row.bytes, 0)
    if (rows.size !== files || sum !== bytes) {
      yield {
        kind: 'database',
        resource: formatResourceRef(resource),
        message: `The database counts ${files} files with ${bytes} bytes, and lists ${rows.size} with ${sum}.`,
      }
    }
    for (const row of rows.values()) {
      options.signal?.throwIfAborted()
      const problem = await checkFile(resource, row, place(row.path), options)
      if (problem !== undefined) yield problem
      progress.files += 1
      progress.bytes += row.bytes
    }
    yield* strayFiles(db.root, resource, rows)
    progress.resources += 1
    options.onProgress?.(progress)
  }
}

async function checkFile(
  resource: ResourceRef,
  row: FileRow,
  place: string,
  { deep = false, signal }: CheckOptions,
): Promise<CheckProblem | undefined> {
  const problem = (kind: CheckProblem['kind'], message: string): CheckProblem => ({
    kind,
    resource: formatResourceRef(resource),
    path: row.path,
    message,
  })
  const stats = await statIfThere(place)
  if (stats === undefined) {
    return row.linked === null
      ? problem('missing', 'The file is not in the archive folder.')
      : problem('linked', 'The original of the linked file is gone.')
  }
  if (row.linked !== null && !deep && stampOf(stats) !== row.linked) {
    return problem('linked', 'The original of the linked file was changed since it was imported.')
  }
  if (stats.size !== BigInt(row.bytes)) {
    return problem('size', `The file has ${stats.size} bytes; ${row.bytes} were recorded.`)
  }
  if (!deep) return undefined
  const { hex } = await hashFile(place, 'sha256', signal)
  return hex === row.sha256
    ? undefined
    : problem('content', `The file has sha256 ${hex}; ${row.sha256} was recorded.`)
}

/** Entries of a folder of nodes that are not nodes. */
async function* strays(
  root: string,
  folder: string,
  known: ReadonlySet<string>,
): AsyncGenerator<CheckProblem> {
  for (const { name } of await entriesOf(join(root, folder))) {
    if (known.has(name) || (folder !== '.' && isOurs(folder, name))) continue
    const path = folder === '.' ? name : `${folder}/${name}`
    yield { kind: 'unknown', path, message: 'It is in the folder, but not in the archive.' }
  }
}

/** Between the levels stand folders of our own; nodes with resources in the same folder have none. */
function isOurs(folder: string, name: string): boolean {
  const parts = folder.split('/')
  const last = parts.at(-1) ?? ''
  return (
    ['subjects', 'sessions', 'scans', 'assessors', 'resources'].includes(name) &&
    !isLevelFolder(parts.length, last)
  )
}

function isLevelFolder(depth: number, name: string): boolean {
  return depth % 2 === 1 && ['projects', 'subjects', 'sessions', 'scans', 'assessors'].includes(name)
}

async function* strayFiles(
  root: string,
  resource: ResourceRef,
  rows: ReadonlyMap<string, FileRow>,
  below = '',
): AsyncGenerator<CheckProblem> {
  const folder = resourceFolder(resource)
  for (const entry of await entriesOf(join(root, folder, below))) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`
    if (entry.isDirectory()) yield* strayFiles(root, resource, rows, path)
    else if (!rows.has(path)) {
      yield {
        kind: 'unknown',
        resource: formatResourceRef(resource),
        path,
        message: 'The file is in the folder, but not in the archive.',
      }
    }
  }
}

async function entriesOf(
  folder: string,
): Promise<readonly { readonly name: string; isDirectory(): boolean }[]> {
  try {
    return await fs.readdir(folder, { withFileTypes: true })
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}

async function* checkDatabase(
  { db }: OpenArchive,
  { deep = false }: CheckOptions,
): AsyncGenerator<CheckProblem> {
  const pragma = deep ? 'integrity_check(20)' : 'quick_check(20)'
  for (const row of db.sqlite.pragma(pragma) as Record<string, string>[]) {
    const [message] = Object.values(row)
    if (message !== undefined && message !== 'ok') yield { kind: 'database', message }
  }
  const orphans: readonly (readonly [what: string, sql: string])[] = [
    ['subjects without a project', 'subject WHERE project NOT IN (SELECT id FROM project)'],
    ['sessions without a subject', 'session WHERE subject NOT IN (SELECT id FROM subject)'],
    ['scans without a session', 'scan WHERE session NOT IN (SELECT id FROM session)'],
    ['records without an assessor', 'record WHERE assessor NOT IN (SELECT id FROM assessor)'],
    ['files without a resource', 'file WHERE resource NOT IN (SELECT id FROM resource)'],
    [
      'resources without a node',
      `resource WHERE owner NOT IN (SELECT id FROM project UNION ALL SELECT id FROM subject UNION ALL SELECT id FROM session
         UNION ALL SELECT id FROM scan UNION ALL SELECT id FROM assessor)`,
    ],
  ]
  for (const [what, sql] of orphans) {
    const count = db.read(() => db.prepare<{ n: number }>(`SELECT count(*) AS n FROM ${sql}`).get()?.n ?? 0)
    if (count > 0) yield { kind: 'database', message: `The database has ${count} ${what}.` }
  }
}
