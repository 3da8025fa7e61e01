/** The queue of the local backend: one SQLite file, shared by all engines that use this state folder. */

import { randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import Database from 'better-sqlite3'
import { BackendUnavailableError, onNetworkFileSystem, type JobOutcome, type JobSpec } from '@orbweaver/core'

export type RowState = 'queued' | 'held' | 'starting' | 'running' | 'finished'

/** One job as the database has it, without its spec. Times are epoch milliseconds. */
export interface JobRow {
  readonly seq: number
  readonly name: string
  readonly state: RowState
  readonly cpus: number
  readonly gpus: number
  readonly memory: number
  /** Seconds. */
  readonly walltime: number
  readonly submitted_at: number
  /** Machine and boot it was started on. */
  readonly machine: string | null
  readonly boot: string | null
  readonly host: string | null
  /** Comma between them. */
  readonly gpu_ids: string | null
  readonly cgroup: string | null
  readonly starting_at: number | null
  readonly pid: number | null
  readonly process_start: string | null
  readonly started_at: number | null
  readonly cancel_asked: number
  readonly ended_at: number | null
  readonly outcome: JobOutcome | null
  readonly exit_code: number | null
  readonly signal: string | null
  readonly peak: number | null
  readonly cpu_seconds: number | null
  /** How it ended, for people. */
  readonly note: string | null
}

/** Where a job is started. */
export type Place = Pick<JobRow, 'machine' | 'boot' | 'host' | 'gpu_ids' | 'cgroup'>

export interface JobEnd {
  readonly outcome: JobOutcome
  readonly endedAtMs: number
  readonly startedAtMs?: number | undefined
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
  readonly peakMemoryBytes?: number | undefined
  readonly cpuSeconds?: number | undefined
  readonly note: string
}

const SCHEMA_VERSION = 1

const SCHEMA = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
    cpus INTEGER NOT NULL, gpus INTEGER NOT NULL, memory INTEGER NOT NULL, walltime INTEGER NOT NULL,
    spec TEXT, submitted_at INTEGER NOT NULL,
    machine TEXT, boot TEXT, host TEXT, gpu_ids TEXT, cgroup TEXT, starting_at INTEGER,
    pid INTEGER, process_start TEXT, started_at INTEGER,
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER, outcome TEXT, exit_code INTEGER, signal TEXT, peak INTEGER, cpu_seconds REAL, note TEXT,
    files_kept INTEGER NOT NULL DEFAULT 1
  ) STRICT;
  CREATE INDEX waiting ON jobs (seq) WHERE state = 'queued';
  CREATE INDEX live ON jobs (seq) WHERE state IN ('starting', 'running');
  CREATE INDEX ended ON jobs (ended_at) WHERE state = 'finished';
  CREATE INDEX kept ON jobs (ended_at) WHERE state = 'finished' AND files_kept = 1;
`

/** How far down the queue a job may be and still go ahead of the others. */
const BACKFILL_DEPTH = 64

export class JobDb {
  readonly #db: Database.Database
  /** Marks the jobs of this database among all of the machine. */
  readonly instance: string
  readonly #statements: ReturnType<typeof prepare>
  readonly journalMode: string

  constructor(readonly file: string) {
    // Made here and not by SQLite, which would let the umask decide who may read it.
    closeSync(openSync(file, 'a', 0o600))
    const db = new Database(file, { timeout: 10_000 })
    try {
      // The shared memory of WAL does not work over a network; the rollback journal needs only locks.
      this.journalMode = String(
        db.pragma(`journal_mode = ${onNetworkFileSystem(file) ? 'DELETE' : 'WAL'}`, { simple: true }),
      )
      db.pragma('synchronous = NORMAL')
      this.instance = db
        .transaction(() => {
          const version = Number(db.pragma('user_version', { simple: true }))
          if (version > SCHEMA_VERSION) {
            throw new BackendUnavailableError(
              `The local backend cannot use ${file}: a newer Orbweaver made it (schema ${version}, known is ${SCHEMA_VERSION}).`,
              { hint: 'Use that version, or give this site a state folder of its own.' },
            )
          }
          if (version === 0) {
            db.exec(SCHEMA)
            db.prepare("INSERT INTO meta VALUES ('instance', ?)").run(randomBytes(4).toString('hex'))
            db.pragma(`user_version = ${SCHEMA_VERSION}`)
          }
          return db.prepare<[], string>("SELECT value FROM meta WHERE key = 'instance'").pluck().get() ?? ''
        })
        .immediate()
      this.#statements = prepare(db)
    } catch (error) {
      db.close()
      throw error
    }
    this.#db = db
  }

  get open(): boolean {
    return this.#db.open
  }

  /** One transaction that holds the write lock from its start: what was read in it stays true until its end. */
  write<T>(work: () => T): T {
    return this.#db.transaction(work).immediate()
  }

  /** @returns number of the job, also when the name was there before */
  add(spec: JobSpec, nowMs: number): number {
    const { name, requirements } = spec
    const added = this.#statements.add.get({
      name,
      cpus: requirements.cpus,
      gpus: requirements.gpus,
      memory: requirements.memoryBytes,
      walltime: requirements.walltimeSeconds,
      spec: JSON.stringify(spec),
      now: nowMs,
    })
    const seq = added ?? this.#statements.seqOf.get(name)
    if (seq === undefined) throw new TypeError(`job ${name} was neither added nor there`)
    return seq
  }

  get(seq: number): JobRow | undefined {
    return this.#statements.get.get(seq)
  }
  /** What to run; kept until the job has ended. */
  spec(seq: number): JobSpec | undefined {
    const text = this.#statements.spec.get(seq)
    return typeof text === 'string' ? (JSON.parse(text) as JobSpec) : undefined
  }
  many(seqs: readonly number[]): readonly JobRow[] {
    return this.#statements.many.all(JSON.stringify(seqs))
  }
  named(names: readonly string[]): readonly { readonly name: string; readonly seq: number }[] {
    return this.#statements.named.all(JSON.stringify(names))
  }
  live(): readonly JobRow[] {
    return this.#statements.live.all()
  }
  waiting(): readonly JobRow[] {
    return this.#statements.waiting.all(BACKFILL_DEPTH)
  }
  waitingCount(): number {
    return this.#statements.waitingCount.get() ?? 0
  }
  hasWaiting(): boolean {
    return this.#statements.hasWaiting.get() === 1
  }

  markStarting(seq: number, place: Place, nowMs: number): void {
    this.#statements.starting.run({ seq, ...place, now: nowMs })
  }
  /** To be started again, here. */
  markStartingAgain(seq: number, place: Place, nowMs: number): void {
    this.#statements.startingAgain.run({ seq, ...place, now: nowMs })
  }
  markRunning(seq: number, pid: number, processStart: string, startedAtMs: number): void {
    this.#statements.running.run({ seq, pid, start: processStart, now: startedAtMs })
  }
  /** Back into the queue: it could not be started now. */
  markQueued(seq: number): void {
    this.#statements.requeue.run(seq)
  }
  /** @returns `false`: it had ended before */
  markFinished(seq: number, end: JobEnd): boolean {
    const { changes } = this.#statements.finished.run({
      seq,
      outcome: end.outcome,
      ended: end.endedAtMs,
      started: end.startedAtMs ?? null,
      code: end.exitCode ?? null,
      signal: end.signal ?? null,
      peak: end.peakMemoryBytes ?? null,
      cpu: end.cpuSeconds ?? null,
      note: end.note,
    })
    return changes > 0
  }
  markCancelAsked(seq: number): void {
    this.#statements.cancel.run(seq)
  }
  hold(seq: number): void {
    this.#statements.move.run({ seq, from: 'queued', to: 'held' })
  }
  release(seq: number): void {
    this.#statements.move.run({ seq, from: 'held', to: 'queued' })
  }

  /** Jobs that ended before a time and still have files. */
  withFiles(beforeMs: number, limit: number): readonly number[] {
    return this.#statements.withFiles.all(beforeMs, limit)
  }
  filesRemoved(seqs: readonly number[]): void {
    this.#statements.filesRemoved.run(JSON.stringify(seqs))
  }
  /** Forget jobs that ended before a time. */
  prune(beforeMs: number): void {
    this.#statements.prune.run(beforeMs)
  }

  close(): void {
    this.#db.close()
  }
}

function prepare(db: Database.Database) {
  const place = `UPDATE jobs SET state = 'starting', machine = @machine, boot = @boot, host = @host, gpu_ids = @gpu_ids,
    cgroup = @cgroup, starting_at = @now`
  // Not the spec: it may be long, and only a start needs it.
  const columns = `seq, name, state, cpus, gpus, memory, walltime, submitted_at, machine, boot, host, gpu_ids, cgroup,
    starting_at, pid, process_start, started_at, cancel_asked, ended_at, outcome, exit_code, signal, peak, cpu_seconds, note`
  const seqs = (where: string) => `SELECT ${columns} FROM jobs WHERE ${where} ORDER BY seq`
  return {
    add: db
      .prepare<[Record<string, unknown>], number>(
        `INSERT INTO jobs (name, state, cpus, gpus, memory, walltime, spec, submitted_at)
         VALUES (@name, 'queued', @cpus, @gpus, @memory, @walltime, @spec, @now)
         ON CONFLICT (name) DO NOTHING RETURNING seq`,
      )
      .pluck(),
    seqOf: db.prepare<[string], number>('SELECT seq FROM jobs WHERE name = ?').pluck(),
    get: db.prepare<[number], JobRow>(seqs('seq = ?')),
    spec: db.prepare<[number], string | null>('SELECT spec FROM jobs WHERE seq = ?').pluck(),
    many: db.prepare<[string], JobRow>(seqs('seq IN (SELECT value FROM json_each(?))')),
    named: db.prepare<[string], { name: string; seq: number }>(
      'SELECT name, seq FROM jobs WHERE name IN (SELECT value FROM json_each(?))',
    ),
    live: db.prepare<[], JobRow>(seqs("state IN ('starting', 'running')")),
    waiting: db.prepare<[number], JobRow>(`${seqs("state = 'queued'")} LIMIT ?`),
    waitingCount: db.prepare<[], number>("SELECT count(*) FROM jobs WHERE state = 'queued'").pluck(),
    hasWaiting: db.prepare<[], number>("SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'queued')").pluck(),
    starting: db.prepare(`${place} WHERE seq = @seq AND state = 'queued'`),
    startingAgain: db.prepare(`${place} WHERE seq = @seq AND state = 'starting'`),
    running: db.prepare(
      `UPDATE jobs SET state = 'running', pid = @pid, process_start = @start, started_at = @now
       WHERE seq = @seq AND state = 'starting'`,
    ),
    requeue: db.prepare<[number]>(
      "UPDATE jobs SET state = 'queued', machine = NULL, boot = NULL, host = NULL, gpu_ids = NULL, cgroup = NULL WHERE seq = ? AND state = 'starting'",
    ),
    finished: db.prepare(
      `UPDATE jobs SET state = 'finished', outcome = @outcome, ended_at = @ended,
         started_at = coalesce(started_at, @started), exit_code = @code, signal = @signal, peak = @peak,
         cpu_seconds = @cpu, note = @note, spec = NULL
       WHERE seq = @seq AND state <> 'finished'`,
    ),
    cancel: db.prepare<[number]>("UPDATE jobs SET cancel_asked = 1 WHERE seq = ? AND state <> 'finished'"),
    move: db.prepare('UPDATE jobs SET state = @to WHERE seq = @seq AND state = @from'),
    withFiles: db
      .prepare<[number, number], number>(
        "SELECT seq FROM jobs WHERE state = 'finished' AND files_kept = 1 AND ended_at < ? LIMIT ?",
      )
      .pluck(),
    filesRemoved: db.prepare<[string]>(
      'UPDATE jobs SET files_kept = 0 WHERE seq IN (SELECT value FROM json_each(?))',
    ),
    prune: db.prepare<[number]>(
      "DELETE FROM jobs WHERE state = 'finished' AND files_kept = 0 AND ended_at < ?",
    ),
  }
}
