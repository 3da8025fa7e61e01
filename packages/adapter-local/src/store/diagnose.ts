/** What `orbweaver doctor` says of a folder archive. */

import { execFile } from 'node:child_process'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import Database from 'better-sqlite3'
import {
  PipelineError,
  formatMemory,
  isAbort,
  printable,
  systemErrorCode,
  type CallOptions,
  type Diagnosis,
} from '@orbweaver/core'
import { fileSystemOf, makeFolder, removeTree, statIfThere, type FileSystemKind } from './file-system.js'
import type { OpenArchive } from './folder-store.js'
import { STAGING, resourceFolder } from './layout.js'
import { ownedName } from './owner.js'
import { SCHEMA_VERSION } from './schema.js'
import { shownPath } from './store-errors.js'

const run = promisify(execFile)
const PROBE_TIMEOUT_MS = 30_000
const LOW_SPACE_BYTES = 1024 ** 3
/** Files looked at in each resource of the spot check, and resources. */
const SPOT_RESOURCES = 50

export async function diagnoseFolder(
  root: string,
  open: () => Promise<OpenArchive>,
  { signal }: CallOptions,
): Promise<readonly Diagnosis[]> {
  const folder = await statIfThere(root)
  if (folder?.isDirectory() !== true) {
    return [
      {
        check: 'archive: folder',
        status: 'problem',
        found: `${shownPath(root)} ${folder === undefined ? 'does not exist' : 'is not a folder'}`,
        hint: 'Check `store.path`, and that its file system is mounted; `orbweaver init` makes a new archive.',
      },
    ]
  }
  const findings: Diagnosis[] = []
  const fileSystem = await fileSystemOf(root)
  findings.push(...describeFileSystem(root, fileSystem))
  let archive: OpenArchive
  try {
    archive = await open()
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error
    const hint = error.hint === undefined ? {} : { hint: error.hint }
    return [...findings, { check: 'archive: database', status: 'problem', found: error.message, ...hint }]
  }
  findings.push(describeDatabase(archive))
  findings.push(await describeAccess(archive))
  signal?.throwIfAborted()
  if (!archive.db.readOnly) findings.push(await proveLocking(archive, signal))
  findings.push(await spotCheck(archive))
  return findings
}

function describeFileSystem(root: string, { name, shared, freeBytes }: FileSystemKind): readonly Diagnosis[] {
  return [
    {
      check: 'archive: folder',
      status: 'ok',
      found: `${shownPath(root)} on ${name}${shared ? ', reached over a network: rollback journal, no write-ahead log' : ''}`,
    },
    freeBytes < LOW_SPACE_BYTES
      ? {
          check: 'archive: space',
          status: 'warning',
          found: `${formatMemory(freeBytes)} free`,
          hint: 'Free some space: an upload that does not fit waits.',
        }
      : { check: 'archive: space', status: 'ok', found: `${formatMemory(freeBytes)} free` },
  ]
}

function describeDatabase({ db }: OpenArchive): Diagnosis {
  const mode = String(db.sqlite.pragma('journal_mode', { simple: true }))
  const quick = db.sqlite.pragma('quick_check(1)', { simple: true })
  return quick === 'ok'
    ? { check: 'archive: database', status: 'ok', found: `format ${SCHEMA_VERSION}, journal mode ${mode}` }
    : {
        check: 'archive: database',
        status: 'problem',
        found: `damaged: ${String(quick)}`,
        hint: 'Keep the folder as it is and restore archive.db from a backup.',
      }
}

async function describeAccess({ db }: OpenArchive): Promise<Diagnosis> {
  if (db.readOnly) {
    return {
      check: 'archive: write access',
      status: 'warning',
      found: 'read-only for this user: it can be looked at, nothing can be stored',
      hint: 'Give this user write access to the archive folder and archive.db.',
    }
  }
  const path = join(db.root, STAGING, ownedName('probe'))
  try {
    makeFolder(join(db.root, STAGING))
    await fs.writeFile(path, 'probe', { flag: 'wx', mode: 0o600 })
    return { check: 'archive: write access', status: 'ok', found: 'a file can be written' }
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    return {
      check: 'archive: write access',
      status: 'problem',
      found: `a file cannot be written in ${shownPath(join(db.root, STAGING))} (${code})`,
      hint: 'Give this user write access to the archive folder and all that is in it, and see that there is room.',
    }
  } finally {
    await fs.rm(path, { force: true })
  }
}

/** Two processes, one database of the same kind in the same folder: the second must be kept out, and then see all. */
async function proveLocking({ db }: OpenArchive, signal: AbortSignal | undefined): Promise<Diagnosis> {
  const check = 'archive: locking'
  const folder = join(db.root, STAGING, ownedName('probe'))
  const refuse = (found: string): Diagnosis => ({
    check,
    status: 'problem',
    found,
    hint: 'Locks do not work on this file system: two engines could damage the archive. Keep it on a local disk, or mount the network file system with locking.',
  })
  try {
    makeFolder(folder)
    const path = join(folder, 'probe.db')
    const first = new Database(path)
    try {
      first.pragma(`journal_mode = ${db.writeAheadLog ? 'wal' : 'delete'}`)
      first.exec(
        'CREATE TABLE probe (n INTEGER); INSERT INTO probe VALUES (0); BEGIN IMMEDIATE; UPDATE probe SET n = 1',
      )
      const during = await secondProcess(path, signal)
      if (during !== 'busy') return refuse(`a second process could write while the first one did (${during})`)
      first.exec('COMMIT')
      const after = await secondProcess(path, signal)
      const row = first.prepare<[], { n: number }>('SELECT n FROM probe').get()
      if (after !== '2' || row?.n !== 2) {
        return refuse(`two processes do not see each other's changes (${after}, ${row?.n})`)
      }
      return { check, status: 'ok', found: 'proven with two processes' }
    } finally {
      first.close()
    }
  } catch (error) {
    if (isAbort(error) || signal?.aborted === true) throw error
    if (!(error instanceof Error)) throw error
    return { check, status: 'problem', found: `could not be tried: ${error.message}` }
  } finally {
    await removeTree(folder)
  }
}

async function secondProcess(path: string, signal: AbortSignal | undefined): Promise<string> {
  const script = fileURLToPath(new URL('./lock-probe.js', import.meta.url))
  const { stdout } = await run(process.execPath, [script, path], {
    timeout: PROBE_TIMEOUT_MS,
    ...(signal !== undefined && { signal }),
  })
  return stdout.trim()
}

/** Are the files of some resources there, with their sizes? All of them are looked at by `FolderStore.check`. */
async function spotCheck({ db, content, tree }: OpenArchive): Promise<Diagnosis> {
  const check = 'archive: files'
  const resources = db.read(() =>
    db
      .prepare<{ project: string; subject: string; session: string; scan: string; label: string }>(
        `SELECT p.label AS project, s.label AS subject, e.label AS session, c.label AS scan, r.label AS label
         FROM project p CROSS JOIN subject s ON s.project = p.id CROSS JOIN session e ON e.subject = s.id
         CROSS JOIN scan c ON c.session = e.id CROSS JOIN resource r ON r.owner = c.id LIMIT ?`,
      )
      .all(SPOT_RESOURCES),
  )
  let files = 0
  const wrong: string[] = []
  for (const { label, ...node } of resources) {
    if (db.read(() => tree.find(node)) === undefined) continue
    const ref = { node, resource: label }
    const { rows, place } = content.locate(ref)
    for (const row of rows.values()) {
      files += 1
      const stats = await statIfThere(place(row.path))
      if (stats?.size !== BigInt(row.bytes)) wrong.push(`${resourceFolder(ref)}/${row.path}`)
    }
  }
  if (wrong.length === 0) return { check, status: 'ok', found: `${files} files looked at, all there` }
  return {
    check,
    status: 'problem',
    found: `${wrong.length} of ${files} files looked at are missing or have another size, as ${printable(wrong[0] ?? '')}`,
    hint: 'Run `orbweaver verify` for the whole list; import again, or restore them from a backup.',
  }
}
