/** The journal on SQLite. WAL where that is safe, a rollback journal on network file systems. */

import { chmodSync, mkdirSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { PipelineError } from '../errors.js'
import type { JobId } from '../domain/job.js'
import type {
  AttemptRow,
  AttemptStage,
  BacklogRow,
  Journal,
  LeaseHolder,
  ProjectCursor,
} from '../ports/journal.js'
import { bootId, processStart, thisHost } from './process-identity.js'

/** Raised when the tables change; a newer file is refused, never guessed at. */
const SCHEMA_VERSION = 1

const SCHEMA = `
  CREATE TABLE attempts (
    label TEXT NOT NULL, attempt INTEGER NOT NULL, name TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL, subject TEXT, session TEXT, proc_type TEXT NOT NULL,
    stage TEXT NOT NULL, backend TEXT, job_id TEXT, workspace TEXT NOT NULL, submitted_at INTEGER, missing_since INTEGER,
    cancel_asked INTEGER NOT NULL, created_at INTEGER NOT NULL, result TEXT, closed_at INTEGER,
    workspace_kept INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (label, attempt)
  ) STRICT;
  CREATE INDEX open_attempts ON attempts (project) WHERE stage <> 'closed';
  CREATE INDEX kept_workspaces ON attempts (closed_at) WHERE stage = 'closed' AND workspace_kept = 1;
  CREATE TABLE backlog (
    sequence INTEGER PRIMARY KEY, label TEXT NOT NULL UNIQUE, project TEXT NOT NULL, subject TEXT, not_before INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX due ON backlog (project, not_before, sequence);
  CREATE TABLE cursors (project TEXT PRIMARY KEY, cursor TEXT NOT NULL, fingerprint TEXT NOT NULL, full_pass_at INTEGER NOT NULL) STRICT;
  CREATE TABLE leases (
    project TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, process_start TEXT NOT NULL, boot_id TEXT NOT NULL,
    since INTEGER NOT NULL, heartbeat INTEGER NOT NULL, purpose TEXT NOT NULL
  ) STRICT;
`

/** Types of statfs(2) on which WAL's shared memory does not work: NFS, SMB, CIFS, SMB2, Lustre, GPFS, FUSE, AFS, Ceph, 9p, BeeGFS, PanFS. */
const NETWORK_FILE_SYSTEMS = new Set([
  0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x0bd00bd0, 0x47504653, 0x65735546, 0x5346414f, 0x00c36400,
  0x01021997, 0x19830326, 0xaad7aaea,
])

/** Whether a folder lies on a file system that several machines may share. */
export function onNetworkFileSystem(path: string): boolean {
  return process.platform === 'linux' && NETWORK_FILE_SYSTEMS.has(statfsSync(path).type)
}

/**
 * Open (or make) the journal file, mode 0600.
 *
 * @throws PipelineError code `CONFIG_INVALID` made by a newer Orbweaver, or no database at all
 */
export function openJournal(file: string): Journal & { readonly file: string } {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  let db: Database.Database
  try {
    db = new Database(file, { timeout: 30_000 })
    chmodSync(file, 0o600)
    db.pragma(`journal_mode = ${onNetworkFileSystem(dirname(file)) ? 'DELETE' : 'WAL'}`)
    // A power cut may cost the last lines. Then the workspace that is already there makes the engine ask the scheduler first.
    db.pragma('synchronous = NORMAL')
    const version = db.pragma('user_version', { simple: true }) as number
    if (version > SCHEMA_VERSION) {
      throw new PipelineError(
        'CONFIG_INVALID',
        false,
        `The journal ${file} was made by a newer Orbweaver (format ${version}, this one knows ${SCHEMA_VERSION}).`,
        {
          hint: 'Use that version, or move the file away: deleting a journal costs time, never results.',
        },
      )
    }
    if (version === 0) {
      db.transaction(() => {
        if ((db.pragma('user_version', { simple: true }) as number) !== 0) return
        db.exec(SCHEMA)
        db.pragma(`user_version = ${SCHEMA_VERSION}`)
      }).immediate()
    }
  } catch (error) {
    if (error instanceof PipelineError) throw error
    throw new PipelineError(
      'CONFIG_INVALID',
      false,
      `The journal ${file} cannot be opened: ${(error as Error).message}.`,
      {
        cause: error,
        hint: "Check the folder's owner and free space. If the file is damaged, move it away: deleting a journal costs time, never results.",
      },
    )
  }
  return new SqliteJournal(db, file)
}

interface RawAttempt {
  label: string
  attempt: number
  name: string
  project: string
  subject: string | null
  session: string | null
  proc_type: string
  stage: string
  backend: string | null
  job_id: string | null
  workspace: string
  submitted_at: number | null
  missing_since: number | null
  cancel_asked: number
  created_at: number
  result: string | null
  closed_at: number | null
}

class SqliteJournal implements Journal {
  private readonly statements = new Map<string, Database.Statement>()

  constructor(
    private readonly db: Database.Database,
    readonly file: string,
  ) {}

  private sql(text: string): Database.Statement {
    let statement = this.statements.get(text)
    if (statement === undefined) this.statements.set(text, (statement = this.db.prepare(text)))
    return statement
  }

  putAttempt(row: AttemptRow): void {
    this.sql(
      `INSERT INTO attempts (label, attempt, name, project, subject, session, proc_type, stage, backend, job_id, workspace,
         submitted_at, missing_since, cancel_asked, created_at, result, closed_at)
       VALUES (@label, @attempt, @name, @project, @subject, @session, @procType, @stage, @backend, @jobId, @workspace,
         @submittedAtMs, @missingSinceMs, @cancelAsked, @createdAtMs, @result, @closedAtMs)
       ON CONFLICT (label, attempt) DO UPDATE SET name = @name, stage = @stage, backend = @backend, job_id = @jobId, workspace = @workspace,
         submitted_at = @submittedAtMs, missing_since = @missingSinceMs,
         -- A cancel asked for by another process while this row was in our hands stays asked for.
         cancel_asked = CASE WHEN @stage = 'staging' THEN @cancelAsked ELSE max(cancel_asked, @cancelAsked) END,
         created_at = @createdAtMs, result = @result, closed_at = @closedAtMs, workspace_kept = 1`,
    ).run({
      subject: null,
      session: null,
      backend: null,
      jobId: null,
      submittedAtMs: null,
      missingSinceMs: null,
      result: null,
      closedAtMs: null,
      ...row,
      cancelAsked: row.cancelAsked ? 1 : 0,
    })
  }

  getAttempt(label: string, attempt: number): AttemptRow | undefined {
    const raw = this.sql('SELECT * FROM attempts WHERE label = ? AND attempt = ?').get(label, attempt)
    return raw === undefined ? undefined : toAttempt(raw as RawAttempt)
  }

  openAttempts(projects?: readonly string[]): readonly AttemptRow[] {
    const rows = this.sql(`SELECT * FROM attempts WHERE stage <> 'closed' ORDER BY created_at, label`).all()
    const all = (rows as RawAttempt[]).map(toAttempt)
    return projects === undefined ? all : all.filter((row) => projects.includes(row.project))
  }

  attemptsOf(label: string): readonly AttemptRow[] {
    return (
      this.sql('SELECT * FROM attempts WHERE label = ? ORDER BY attempt DESC').all(label) as RawAttempt[]
    ).map(toAttempt)
  }

  keptWorkspaces(closedBeforeMs: number): readonly AttemptRow[] {
    const rows = this.sql(
      `SELECT * FROM attempts WHERE stage = 'closed' AND workspace_kept = 1 AND closed_at < ? ORDER BY closed_at`,
    ).all(closedBeforeMs)
    return (rows as RawAttempt[]).map(toAttempt)
  }

  forgetWorkspace(label: string, attempt: number): void {
    this.sql('UPDATE attempts SET workspace_kept = 0 WHERE label = ? AND attempt = ?').run(label, attempt)
  }

  putBacklog(rows: readonly BacklogRow[]): void {
    const put = this.sql(
      `INSERT INTO backlog (label, project, subject, not_before) VALUES (@label, @project, @subject, @notBeforeMs)
       ON CONFLICT (label) DO UPDATE SET not_before = @notBeforeMs`,
    )
    this.db.transaction(() => {
      for (const row of rows) put.run({ subject: null, ...row })
    })()
  }

  removeBacklog(labels: readonly string[]): void {
    const remove = this.sql('DELETE FROM backlog WHERE label = ?')
    this.db.transaction(() => {
      for (const label of labels) remove.run(label)
    })()
  }

  dueBacklog(project: string, nowMs: number, limit: number): readonly BacklogRow[] {
    const rows = this.sql(
      'SELECT label, project, subject, not_before FROM backlog WHERE project = ? AND not_before <= ? ORDER BY not_before, sequence LIMIT ?',
    ).all(project, nowMs, limit) as {
      label: string
      project: string
      subject: string | null
      not_before: number
    }[]
    return rows.map(({ label, subject, not_before }) => ({
      label,
      project,
      ...(subject !== null && { subject }),
      notBeforeMs: not_before,
    }))
  }

  backlogCount(project: string): number {
    return (this.sql('SELECT count(*) AS n FROM backlog WHERE project = ?').get(project) as { n: number }).n
  }

  nextDueMs(projects: readonly string[], nowMs: number): number | undefined {
    let next: number | undefined
    for (const project of projects) {
      const { at } = this.sql(
        'SELECT min(not_before) AS at FROM backlog WHERE project = ? AND not_before > ?',
      ).get(project, nowMs) as { at: number | null }
      if (at !== null && (next === undefined || at < next)) next = at
    }
    return next
  }

  getCursor(project: string): ProjectCursor | undefined {
    const row = this.sql('SELECT cursor, fingerprint, full_pass_at FROM cursors WHERE project = ?').get(
      project,
    ) as { cursor: string; fingerprint: string; full_pass_at: number } | undefined
    return row === undefined
      ? undefined
      : { cursor: row.cursor, fingerprint: row.fingerprint, fullPassAtMs: row.full_pass_at }
  }

  putCursor(project: string, cursor: ProjectCursor | undefined): void {
    if (cursor === undefined) this.sql('DELETE FROM cursors WHERE project = ?').run(project)
    else {
      this.sql(
        'INSERT OR REPLACE INTO cursors (project, cursor, fingerprint, full_pass_at) VALUES (?, ?, ?, ?)',
      ).run(project, cursor.cursor, cursor.fingerprint, cursor.fullPassAtMs)
    }
  }

  acquireLeases(
    projects: readonly string[],
    holder: LeaseHolder,
    staleMs: number,
  ): { readonly project: string; readonly holder: LeaseHolder } | undefined {
    return this.db
      .transaction(() => {
        for (const project of projects) {
          const other = this.leaseOf(project)
          if (
            other !== undefined &&
            !sameHolder(other, holder) &&
            isAlive(other, holder.heartbeatMs, staleMs)
          ) {
            return { project, holder: other }
          }
        }
        for (const project of projects) {
          this.sql('INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?)').run(
            project,
            holder.host,
            holder.pid,
            holder.processStart,
            holder.bootId,
            holder.sinceMs,
            holder.heartbeatMs,
            holder.purpose,
          )
        }
        return undefined
      })
      .immediate()
  }

  beatLeases(projects: readonly string[], holder: LeaseHolder): boolean {
    return this.db
      .transaction(() => {
        for (const project of projects) {
          const now = this.leaseOf(project)
          if (now === undefined || !sameHolder(now, holder)) return false
          this.sql('UPDATE leases SET heartbeat = ? WHERE project = ?').run(holder.heartbeatMs, project)
        }
        return true
      })
      .immediate()
  }

  releaseLeases(projects: readonly string[], holder: LeaseHolder): void {
    this.db
      .transaction(() => {
        for (const project of projects) {
          const now = this.leaseOf(project)
          if (now !== undefined && sameHolder(now, holder))
            this.sql('DELETE FROM leases WHERE project = ?').run(project)
        }
      })
      .immediate()
  }

  close(): void {
    this.db.close()
  }

  private leaseOf(project: string): LeaseHolder | undefined {
    const row = this.sql('SELECT * FROM leases WHERE project = ?').get(project) as
      | {
          host: string
          pid: number
          process_start: string
          boot_id: string
          since: number
          heartbeat: number
          purpose: string
        }
      | undefined
    return row === undefined
      ? undefined
      : {
          host: row.host,
          pid: row.pid,
          processStart: row.process_start,
          bootId: row.boot_id,
          sinceMs: row.since,
          heartbeatMs: row.heartbeat,
          purpose: row.purpose,
        }
  }
}

function sameHolder(a: LeaseHolder, b: LeaseHolder): boolean {
  return a.host === b.host && a.pid === b.pid && a.processStart === b.processStart && a.bootId === b.bootId
}

function isAlive(holder: LeaseHolder, nowMs: number, staleMs: number): boolean {
  // On this very boot the process table is the truth, and at once; elsewhere only the heartbeat speaks.
  if (holder.host === thisHost() && holder.bootId === bootId())
    return processStart(holder.pid) === holder.processStart
  if (holder.host === thisHost()) return false // this machine was booted since
  return nowMs - holder.heartbeatMs < staleMs
}

function toAttempt(raw: RawAttempt): AttemptRow {
  return {
    label: raw.label,
    attempt: raw.attempt,
    name: raw.name,
    project: raw.project,
    ...(raw.subject !== null && { subject: raw.subject }),
    ...(raw.session !== null && { session: raw.session }),
    procType: raw.proc_type,
    stage: raw.stage as AttemptStage,
    ...(raw.backend !== null && { backend: raw.backend }),
    ...(raw.job_id !== null && { jobId: raw.job_id as JobId }),
    workspace: raw.workspace,
    ...(raw.submitted_at !== null && { submittedAtMs: raw.submitted_at }),
    ...(raw.missing_since !== null && { missingSinceMs: raw.missing_since }),
    cancelAsked: raw.cancel_asked !== 0,
    createdAtMs: raw.created_at,
    ...(raw.result !== null && { result: raw.result }),
    ...(raw.closed_at !== null && { closedAtMs: raw.closed_at }),
  }
}
