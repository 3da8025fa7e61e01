/** `archive.db`: how it is opened, and the one way to read and to write it. */

import { randomUUID } from 'node:crypto'
import { closeSync, openSync, statSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { InputError, NotSupportedError, StoreProtocolError, systemErrorCode } from '@orbweaver/core'
import { fileSystemOf, makeFolder, removeTree, statIfThere } from './file-system.js'
import { DATABASE } from './layout.js'
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION } from './schema.js'
import { isBusy, storeError, shownPath } from './store-errors.js'

/** How long SQLite itself waits for another process; it blocks this one meanwhile. */
const BUSY_MS = 5000
/** How long a write is tried in all. */
const WRITE_PATIENCE_MS = 60_000

export interface OpenOptions {
  /** Make the archive (and its folder) when there is none. */
  readonly create: boolean
}

export interface WriteOptions {
  readonly signal?: AbortSignal | undefined
  /** On the disk before the call returns, also if the power fails. Default: kept from a crash of the process only. */
  readonly durable?: boolean
}

/** Row of the `archive` table. */
interface ArchiveRow {
  readonly schema: number
  readonly id: string
  readonly seq: number
  readonly rollback: number
}

export class ArchiveDb {
  readonly sqlite: Database.Database
  readonly root: string
  /** Made once, when the archive was: a change cursor of another archive is known by it. */
  readonly archiveId: string
  readonly readOnly: boolean
  readonly writeAheadLog: boolean
  /** The file system takes `A` and `a` for one name, as that of macOS does. */
  readonly foldsCase: boolean
  /** The file that was opened. */
  readonly #identity: string | undefined
  readonly #statements = new Map<string, Database.Statement>()

  private constructor(
    sqlite: Database.Database,
    root: string,
    row: ArchiveRow,
    modes: { readOnly: boolean; writeAheadLog: boolean },
  ) {
    this.sqlite = sqlite
    this.root = root
    this.archiveId = row.id
    this.readOnly = modes.readOnly
    this.writeAheadLog = modes.writeAheadLog
    this.#identity = identityOf(root)
    this.foldsCase = statSync(join(root, DATABASE.toUpperCase()), { throwIfNoEntry: false }) !== undefined
  }

  /**
   * `false`: another file, or none, is at the archive's place now. An open database goes on without noticing, and what is
   * written to it then is lost.
   */
  isCurrent(): boolean {
    return identityOf(this.root) === this.#identity
  }

  /**
   * @throws InputError there is no archive at the path
   * @throws NotSupportedError a newer version wrote it
   * @throws StoreProtocolError the database is damaged or another program's
   */
  static async open(root: string, { create }: OpenOptions): Promise<ArchiveDb> {
    const path = join(root, DATABASE)
    try {
      if ((await statIfThere(path)) === undefined) {
        if (!create) throw await noArchive(root)
        makeFolder(root)
        // Made here for its mode: SQLite's other files take theirs from it.
        closeSync(openSync(path, 'a', 0o600))
      }
      if (!(await isWritable(root, path))) return await ArchiveDb.#openReadOnly(root, path)
      return await ArchiveDb.#openForWriting(root, path)
    } catch (error) {
      throw storeError(error, 'open the archive', root)
    }
  }

  static async #openForWriting(root: string, path: string): Promise<ArchiveDb> {
    const { shared } = await fileSystemOf(root)
    const sqlite = new Database(path, { timeout: BUSY_MS })
    try {
      sqlite.pragma('foreign_keys = OFF') // few keys, all set by this package; checked by `check`
      const row = await patiently(() => initialise(sqlite, root, shared))
      const writeAheadLog = row.rollback === 0
      await patiently(() => setJournal(sqlite, writeAheadLog))
      sqlite.pragma('cache_size = -32000')
      sqlite.pragma('temp_store = MEMORY')
      return new ArchiveDb(sqlite, root, row, { readOnly: false, writeAheadLog })
    } catch (error) {
      sqlite.close()
      throw error
    }
  }

  /**
   * SQLite cannot open a database with a write-ahead log in a folder where it may not make its helper files, unless a
   * writer holds it open. Then nobody changes it either: a private copy of the database serves as well.
   */
  static async #openReadOnly(root: string, path: string): Promise<ArchiveDb> {
    const direct = new Database(path, { timeout: BUSY_MS, readonly: true })
    try {
      return new ArchiveDb(direct, root, readArchiveRow(direct, root), {
        readOnly: true,
        writeAheadLog: false,
      })
    } catch (error) {
      direct.close()
      if (!/^SQLITE_(CANTOPEN|READONLY)/.test(systemErrorCode(error) ?? '')) throw error
    }
    const copy = await fs.mkdtemp(join(tmpdir(), 'orbweaver-archive-'))
    try {
      for (const suffix of ['', '-wal']) {
        if ((await statIfThere(path + suffix)) === undefined) continue
        await fs.copyFile(path + suffix, join(copy, DATABASE + suffix), fs.constants.COPYFILE_FICLONE)
        await fs.chmod(join(copy, DATABASE + suffix), 0o600)
      }
      const sqlite = new Database(join(copy, DATABASE), { timeout: BUSY_MS })
      try {
        // Then one open file is all it needs, and the copy can go at once: a killed process leaves nothing behind.
        sqlite.pragma('journal_mode = delete')
        sqlite.pragma('query_only = ON')
        sqlite.pragma('temp_store = MEMORY')
        const row = readArchiveRow(sqlite, root)
        return new ArchiveDb(sqlite, root, row, { readOnly: true, writeAheadLog: false })
      } catch (error) {
        sqlite.close()
        throw error
      }
    } finally {
      await removeTree(copy)
    }
  }

  /** A prepared statement, made once. */
  prepare<Row = unknown, Params extends unknown[] = unknown[]>(sql: string): Database.Statement<Params, Row> {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.sqlite.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement as Database.Statement<Params, Row>
  }

  /** Several reads that see one state. `work` must not wait. */
  read<T>(work: () => T): T {
    if (this.sqlite.inTransaction) return work()
    try {
      this.prepare('BEGIN').run()
      try {
        return work()
      } finally {
        if (this.sqlite.inTransaction) this.prepare('COMMIT').run()
      }
    } catch (error) {
      throw storeError(error, 'read the archive', this.root)
    }
  }

  /**
   * All or nothing, alone among all processes. `work` must not wait, and may be run again from the start when another
   * process was in the way at the end.
   *
   * @throws AccessDeniedError the archive is read-only
   * @throws StoreUnavailableError others kept it busy for a minute
   * @throws NoSpaceError
   */
  async write<T>(work: () => T, { signal, durable = false }: WriteOptions = {}): Promise<T> {
    signal?.throwIfAborted()
    if (this.readOnly) throw storeError(await readOnlyError(this.root), 'write to the archive', this.root)
    try {
      return await patiently(() => this.#transaction(work, durable), signal)
    } catch (error) {
      throw storeError(error, 'write to the archive', this.root)
    }
  }

  #transaction<T>(work: () => T, durable: boolean): T {
    // Outside a transaction only: SQLite ignores it within.
    if (durable && this.writeAheadLog) this.sqlite.pragma('synchronous = FULL')
    try {
      this.prepare('BEGIN IMMEDIATE').run()
      const result = work()
      this.prepare('COMMIT').run()
      return result
    } catch (error) {
      if (this.sqlite.inTransaction) this.prepare('ROLLBACK').run()
      throw error
    } finally {
      if (durable && this.writeAheadLog) this.sqlite.pragma('synchronous = NORMAL')
    }
  }

  /** The next number of the archive's counter; of several, the last one. Only inside {@link write}. */
  nextSeq(count = 1): number {
    const row = this.prepare<{ seq: number }>('UPDATE archive SET seq = seq + ? RETURNING seq').get(count)
    if (row === undefined) throw new StoreProtocolError('The archive has lost its counter.')
    return row.seq
  }

  currentSeq(): number {
    const row = this.prepare<{ seq: number }>('SELECT seq FROM archive').get()
    if (row === undefined) throw new StoreProtocolError('The archive has lost its counter.')
    return row.seq
  }

  /**
   * Make sure that a number given away survives a power cut: else later changes could get numbers at or below a cursor
   * that somebody keeps, and would never be seen. Costs one write to the disk, and only after changes.
   */
  async makeDurable(seq: number, signal?: AbortSignal): Promise<void> {
    if (!this.writeAheadLog || this.readOnly) return
    // Other processes see this row only after it is on the disk, and all that was written before with it.
    const row = this.prepare<{ synced: number }>('SELECT synced FROM archive').get()
    if (row !== undefined && seq <= row.synced) return
    await this.write(() => this.prepare('UPDATE archive SET synced = seq').run(), { durable: true, signal })
  }

  async close(): Promise<void> {
    this.#statements.clear()
    this.sqlite.close()
  }
}

function identityOf(root: string): string | undefined {
  const stats = statSync(join(root, DATABASE), { throwIfNoEntry: false })
  return stats === undefined ? undefined : `${stats.dev}:${stats.ino}`
}

async function noArchive(root: string): Promise<InputError> {
  const folder = await statIfThere(root)
  const found =
    folder === undefined
      ? 'there is no such folder'
      : folder.isDirectory()
        ? `the folder holds no ${DATABASE}`
        : 'it is not a folder'
  return new InputError(`There is no archive at ${shownPath(root)}: ${found}.`, {
    details: { path: root },
    hint: 'Check the path, and that its file system is mounted; `orbweaver init` makes a new archive.',
  })
}

async function isWritable(root: string, path: string): Promise<boolean> {
  try {
    await fs.access(root, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK)
    await fs.access(path, fs.constants.R_OK | fs.constants.W_OK)
    return true
  } catch (error) {
    if (['EACCES', 'EROFS', 'EPERM'].includes(systemErrorCode(error) ?? '')) return false
    throw error
  }
}

/** Why, as the system says it: rights that lack and a file system that is mounted read-only have different remedies. */
async function readOnlyError(root: string): Promise<unknown> {
  for (const path of [root, join(root, DATABASE)]) {
    try {
      await fs.access(path, fs.constants.W_OK)
    } catch (error) {
      return error
    }
  }
  // It was protected when it was opened.
  return Object.assign(new Error('the archive was opened for reading'), { code: 'EACCES' })
}

/** Make the tables if the file is new; check them otherwise. */
function initialise(sqlite: Database.Database, root: string, shared: boolean): ArchiveRow {
  if (hasTables(sqlite)) {
    const row = readArchiveRow(sqlite, root)
    if (!shared || row.rollback === 1) return row
  }
  return sqlite
    .transaction((): ArchiveRow => {
      // Another process may have made them while this one waited.
      if (!hasTables(sqlite)) {
        sqlite.exec(SCHEMA)
        sqlite.pragma(`application_id = ${APPLICATION_ID}`)
        sqlite
          .prepare('INSERT INTO archive (one, schema, id, seq, synced, rollback) VALUES (1, ?, ?, 0, 0, 0)')
          .run(SCHEMA_VERSION, randomUUID())
      }
      readArchiveRow(sqlite, root)
      if (shared) sqlite.prepare('UPDATE archive SET rollback = 1').run()
      return readArchiveRow(sqlite, root)
    })
    .exclusive()
}

function hasTables(sqlite: Database.Database): boolean {
  return sqlite.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() !== undefined
}

function readArchiveRow(sqlite: Database.Database, root: string): ArchiveRow {
  if (sqlite.pragma('application_id', { simple: true }) !== APPLICATION_ID) {
    throw new StoreProtocolError(
      `${shownPath(join(root, DATABASE))} is a database of another program, not an archive.`,
      { details: { path: root }, hint: 'Choose another folder for the archive.' },
    )
  }
  const row = sqlite.prepare<[], ArchiveRow>('SELECT schema, id, seq, rollback FROM archive').get()
  if (row === undefined) throw new StoreProtocolError(`The archive at ${shownPath(root)} has no header row.`)
  if (row.schema > SCHEMA_VERSION) {
    throw new NotSupportedError(
      `The archive at ${shownPath(root)} was written by a newer Orbweaver: it has format ${row.schema}, this version knows formats up to ${SCHEMA_VERSION}.`,
      {
        details: { path: root, format: row.schema, known: SCHEMA_VERSION },
        hint: 'Update Orbweaver on this machine. Nothing was changed.',
      },
    )
  }
  return row
}

function setJournal(sqlite: Database.Database, writeAheadLog: boolean): void {
  const mode = writeAheadLog ? 'wal' : 'delete'
  if (sqlite.pragma('journal_mode', { simple: true }) !== mode) sqlite.pragma(`journal_mode = ${mode}`)
  // EXTRA: the end of a rollback journal is on the disk too. NORMAL: safe in a log; content changes ask for more.
  sqlite.pragma(`synchronous = ${writeAheadLog ? 'NORMAL' : 'EXTRA'}`)
  if (!writeAheadLog) return
  // Fewer, larger checkpoints: each waits for the disk.
  sqlite.pragma('wal_autocheckpoint = 4000')
  sqlite.pragma('journal_size_limit = 67108864')
}

/** Again while another process is in the way; the event loop runs in between. */
async function patiently<T>(work: () => T, signal?: AbortSignal): Promise<T> {
  const until = Date.now() + WRITE_PATIENCE_MS
  for (;;) {
    try {
      return work()
    } catch (error) {
      if (!isBusy(error) || Date.now() > until) throw error
    }
    await delay(5 + Math.random() * 45)
    signal?.throwIfAborted()
  }
}
