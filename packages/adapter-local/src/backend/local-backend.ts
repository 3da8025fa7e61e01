/** Jobs as processes of this machine, with a queue of their own. */

import { execFileSync, type ChildProcess } from 'node:child_process'
import { mkdirSync, watch, type FSWatcher } from 'node:fs'
import { availableParallelism, homedir, hostname, tmpdir, totalmem, userInfo } from 'node:os'
import { isAbsolute, join } from 'node:path'
import {
  BackendUnavailableError,
  JobRejectedError,
  PipelineError,
  formatDuration,
  formatMemory,
  jobId,
  systemErrorCode,
  variableNameProblem,
  type BackendCapabilities,
  type BackendLimits,
  type CallOptions,
  type ClusterBackend,
  type Diagnosis,
  type JobId,
  type JobSpec,
  type JobStatus,
  type SubmitOutcome,
} from '@orbweaver/core'
import { cgroupFolder, findCgroupHome, makeCgroup, removeCgroup, type CgroupHome } from './cgroup.js'
import { localConfig, type LocalConfig } from './config.js'
import { JobDb, type JobEnd, type JobRow, type Place } from './job-db.js'
import { isAlive, processTable, type ProcessTable } from './process-table.js'
import { chooseJobs, fits, type Demand } from './slots.js'
import { endOf, statusOf } from './status.js'
import { Supervisors, type SupervisorOptions } from './supervisor.js'

export interface LocalBackendOptions {
  /** Folder for the queue, on this machine; made if need be. Engines that share it share the queue and the machine. */
  readonly stateDirectory: string
  /** As `localConfig` reads it: bytes and seconds. What is left out has its default. */
  readonly config?: Partial<LocalConfig>
  /** For tests. */
  readonly table?: ProcessTable
  /** For tests: the shell of supervisors, with its options. */
  readonly shell?: readonly string[]
}

/** How often jobs of other engines, and jobs whose engine is gone, are looked at when no event tells. */
const LOOK_EVERY_MS = 1000
/** A job that was to be started and is claimed by nobody after this is started again: the claim sees to it that it runs once. */
const CLAIM_WITHIN_MS = 1000
/** A claim that is begun and not finished after this will not be: its maker was ended in between, before it started anything. */
const HALF_CLAIM_MS = 10_000
/** The files of a job stay this long after its end, so that no supervisor that comes late can claim it again. */
const KEEP_FILES_MS = 3_600_000
const KEEP_HISTORY_MS = 30 * 24 * 3_600_000
const HOUSEKEEPING_EVERY_MS = 600_000
/** A job on another machine is given up for unknown this long after its walltime. */
const FOREIGN_GRACE_MS = 600_000
const ANNOUNCE_EVERY_MS = 25
/** Supervisors that are started in vain before a job is given up. */
const LAUNCHES = 5
/** The machine is short of processes, open files or memory: this passes. */
const SHORTAGES: ReadonlySet<string> = new Set(['EAGAIN', 'EMFILE', 'ENFILE', 'ENOMEM'])

/**
 * Runs jobs as detached processes of this machine, which live on when the engine ends; any later engine over the same
 * state folder knows them. Queue and history are in SQLite. Each job has a supervisor, a small shell process, that
 * enforces its limits and writes down its end; nothing here is guessed from silence.
 *
 * The environment of a job: PATH as of this process, HOME, USER, LOGNAME, LANG=C.UTF-8, TMPDIR, ORBWEAVER_JOB_ID (the mark
 * by which all its processes are found), CUDA_VISIBLE_DEVICES where GPUs are configured, `environment` of the configuration,
 * and the variables of the spec, which win. The shell adds PWD and SHLVL. `queue`, `account`, `nativeOptions` and
 * `warnSeconds` of a spec mean nothing here and are ignored, so that a site's processors run unchanged.
 *
 * Not kept: a job that asks for a number of cpus may use more.
 */
export class LocalBackend implements ClusterBackend {
  readonly name = 'local'
  readonly capabilities: BackendCapabilities
  readonly #config: LocalConfig
  readonly #stateDirectory: string
  readonly #table: ProcessTable
  readonly #total: Demand
  readonly #cgroups: CgroupHome | undefined
  readonly #memoryMode: 'cgroup' | 'watch' | 'off'
  readonly #supervisors: Supervisors
  readonly #host = hostname()
  readonly #user = userName()
  #db: JobDb | undefined

  /** Jobs whose supervisor is a child of this process, until it ends. */
  readonly #children = new Set<number>()
  /** Jobs whose supervisor we have told to end it. */
  readonly #told = new Set<number>()
  /** How often we have started a supervisor of a job that nobody has claimed yet. */
  readonly #launches = new Map<number, number>()
  /** Jobs whose remains a reaper of ours is ending. */
  readonly #reaping = new Set<number>()
  readonly #fullCgroups = new Set<string>()
  #watcher: FSWatcher | undefined
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Immediate | undefined
  /** Jobs with new files, to be looked at soon. */
  readonly #seen = new Set<number>()
  #housekeptAtMs = 0
  #closed = false
  /** What went wrong between calls; the next call throws it. */
  #trouble: unknown
  /** Something has changed since the last query. */
  #changed = false
  readonly #waiters = new Set<() => void>()
  #announcing: NodeJS.Timeout | undefined
  #announcedAtMs = 0

  constructor(options: LocalBackendOptions) {
    const config = { ...localConfig.parse({}), ...options.config }
    this.#config = config
    this.#stateDirectory = options.stateDirectory
    this.#table = options.table ?? processTable()
    this.#total = {
      cpus: config.cpus ?? availableParallelism(),
      memoryBytes: config.memory ?? Math.floor(machineMemory() * 0.9),
      gpus: config.gpus,
    }
    const wanted = config.enforceMemory
    this.#cgroups = wanted === 'auto' || wanted === 'cgroup' ? findCgroupHome() : undefined
    this.#memoryMode = wanted === 'off' ? 'off' : this.#cgroups === undefined ? 'watch' : 'cgroup'
    this.capabilities = {
      history: true,
      findsFinished: true,
      arrays: false,
      hold: true,
      enforcesWalltime: true,
      enforcesMemory: this.#memoryMode !== 'off',
      gpus: config.gpus > 0,
      peakMemory: this.#memoryMode !== 'off',
    }
    this.#supervisors = new Supervisors(
      join(options.stateDirectory, 'local-jobs'),
      this.#table,
      this.#memoryMode === 'watch' ? pageBytes() : 4096,
      options.shell,
    )
  }

  async submit(specs: readonly JobSpec[], options: CallOptions = {}): Promise<readonly SubmitOutcome[]> {
    return this.#call(options, (db) => {
      const now = Date.now()
      const outcomes = db.write(() =>
        specs.map((spec): SubmitOutcome => {
          const problem = this.#problemOf(spec)
          if (problem !== undefined) return { kind: 'refused', error: problem }
          return { kind: 'accepted', id: this.#idOf(db, db.add(spec, now)) }
        }),
      )
      this.#pump(db)
      return outcomes
    })
  }

  async query(ids: readonly JobId[], options: CallOptions = {}): Promise<ReadonlyMap<JobId, JobStatus>> {
    return this.#call(options, (db) => {
      this.#changed = false
      this.#look(db)
      const now = Date.now()
      const found = new Map<number, JobStatus>()
      const seqs = this.#seqsOf(db, ids)
      for (const row of db.many(seqs)) {
        const status = statusOf(row, this.#idOf(db, row.seq), now)
        // The configuration got smaller since it was accepted.
        const never = row.state === 'queued' && !fits(demandOf(row), this.#total)
        found.set(row.seq, never ? { ...status, willNeverRun: true } : status)
      }
      // In the order of the question.
      const statuses = new Map<JobId, JobStatus>()
      for (const seq of seqs) {
        const status = found.get(seq)
        if (status !== undefined) statuses.set(status.id, status)
      }
      return statuses
    })
  }

  async find(names: readonly string[], options: CallOptions = {}): Promise<ReadonlyMap<string, JobId>> {
    return this.#call(
      options,
      (db) => new Map(db.named(names).map(({ name, seq }) => [name, this.#idOf(db, seq)])),
    )
  }

  async cancel(ids: readonly JobId[], options: CallOptions = {}): Promise<void> {
    this.#call(options, (db) => {
      this.#look(db)
      const asked = db.write(() => {
        const now = Date.now()
        const rows = db.many(this.#seqsOf(db, ids)).filter((row) => row.state !== 'finished')
        for (const row of rows) {
          if (row.state === 'queued' || row.state === 'held') {
            db.markFinished(row.seq, {
              outcome: 'cancelled',
              endedAtMs: now,
              note: 'cancelled before it started',
            })
          } else db.markCancelAsked(row.seq)
        }
        return rows.filter(({ state }) => state === 'starting' || state === 'running')
      })
      for (const row of asked) this.#pursueCancel(db, { ...row, cancel_asked: 1 })
      this.#announce()
      this.#pump(db)
    })
  }

  async hold(ids: readonly JobId[], options: CallOptions = {}): Promise<void> {
    this.#call(options, (db) => {
      db.write(() => {
        for (const seq of this.#seqsOf(db, ids)) db.hold(seq)
      })
      this.#pump(db)
    })
  }

  async release(ids: readonly JobId[], options: CallOptions = {}): Promise<void> {
    this.#call(options, (db) => {
      db.write(() => {
        for (const seq of this.#seqsOf(db, ids)) db.release(seq)
      })
      this.#pump(db)
    })
  }

  async limits({ signal }: CallOptions = {}): Promise<BackendLimits> {
    signal?.throwIfAborted()
    const { cpus, memory, gpus, maxWalltime } = this.#config
    return {
      maxCpus: this.#total.cpus,
      maxMemoryBytes: this.#total.memoryBytes,
      ...(gpus > 0 && { maxGpus: gpus }),
      ...(maxWalltime !== undefined && { maxWalltimeSeconds: maxWalltime }),
      source: {
        maxCpus: cpus === undefined ? `cpus of ${this.#host}` : 'cluster.cpus of the site file',
        maxMemoryBytes:
          memory === undefined
            ? `nine tenths of the memory of ${this.#host}`
            : 'cluster.memory of the site file',
        ...(gpus > 0 && { maxGpus: 'cluster.gpus of the site file' }),
        ...(maxWalltime !== undefined && { maxWalltimeSeconds: 'cluster.maxWalltime of the site file' }),
      },
    }
  }

  /** Resolves at once when something has changed since the last {@link query}. */
  async changes(timeoutMs: number, options: CallOptions = {}): Promise<void> {
    const { signal } = options
    this.#call(options, () => undefined)
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#waiters.delete(done)
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      const onAbort = (): void => {
        done()
        reject(signal?.reason as Error)
      }
      const timer = setTimeout(done, Math.min(timeoutMs, 2 ** 31 - 1))
      this.#waiters.add(done)
      if (this.#changed) this.#announce()
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  async diagnose(options: CallOptions = {}): Promise<readonly Diagnosis[]> {
    options.signal?.throwIfAborted()
    const checks: Diagnosis[] = [
      {
        check: 'local: slots',
        status: 'ok',
        found: `${this.#total.cpus} cpus, ${formatMemory(this.#total.memoryBytes)}, ${this.#total.gpus} GPUs on ${this.#host}`,
      },
      this.#diagnoseMemory(),
    ]
    try {
      checks.push(
        this.#call(options, (db) => {
          db.write(() => db.waitingCount())
          return {
            check: 'local: queue',
            status: 'ok',
            found: `${db.file}: locks work (journal mode ${db.journalMode}); ${db.live().length} jobs run, ${db.waitingCount()} wait`,
          }
        }),
      )
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error
      checks.push({
        check: 'local: queue',
        status: 'problem',
        found: error.message,
        hint:
          error.hint ??
          `Look at the folder ${this.#stateDirectory}: it must be writable, with room on its disk.`,
      })
    }
    return checks
  }

  /** Lets go of timers, watchers and the database. Jobs go on; waiting ones are started by the next engine. */
  async close(): Promise<void> {
    this.#closed = true
    this.#watcher?.close()
    clearInterval(this.#timer)
    clearImmediate(this.#soon)
    this.#tell()
    this.#db?.close()
    this.#db = undefined
  }

  // ---------------------------------------------------------------- calls

  /** The database, opened at first use; and every failure of it as the port's error. */
  #call<T>({ signal }: CallOptions, work: (db: JobDb) => T): T {
    signal?.throwIfAborted()
    if (this.#closed) throw new BackendUnavailableError('The local backend is closed.')
    const trouble = this.#trouble
    this.#trouble = undefined
    if (trouble !== undefined) throw asUnavailable(trouble, this.#stateDirectory)
    try {
      return work(this.#opened())
    } catch (error) {
      throw asUnavailable(error, this.#stateDirectory)
    }
  }

  #opened(): JobDb {
    if (this.#db !== undefined) return this.#db
    mkdirSync(this.#supervisors.folder, { recursive: true, mode: 0o700 })
    const db = new JobDb(join(this.#stateDirectory, 'local-jobs.db'))
    this.#db = db
    this.#watchFolder()
    this.#timer = setInterval(() => this.#inBackground((opened) => this.#tick(opened)), LOOK_EVERY_MS)
    this.#timer.unref()
    this.#tick(db)
    return db
  }

  #tick(db: JobDb): void {
    this.#look(db)
    this.#pump(db)
    this.#housekeep(db)
  }

  /** Between calls nobody can be told of a failure: it waits for the next call. */
  #inBackground(work: (db: JobDb) => void): void {
    if (this.#closed || this.#db === undefined) return
    try {
      work(this.#db)
    } catch (error) {
      this.#trouble = error
      this.#announce()
    }
  }

  #watchFolder(): void {
    try {
      this.#watcher = watch(this.#supervisors.folder, { persistent: false }, (_event, file) => {
        const seq = Number(/-(\d{9,15})\.(?:claim|end)$/.exec(file ?? '')?.[1])
        if (Number.isNaN(seq)) return
        // Our own children: that one has begun is told at the next query; the system tells of its end.
        if (this.#children.has(seq)) this.#announce()
        else this.#lookSoon(seq)
      })
      this.#watcher.on('error', (error) => {
        this.#watcher?.close()
        this.#trouble = error
      })
    } catch (error) {
      // The system's number of watches is used up: the timer looks often enough.
      if (systemErrorCode(error) === undefined) throw error
    }
  }

  #lookSoon(seq: number): void {
    this.#seen.add(seq)
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined
      const seqs = [...this.#seen]
      this.#seen.clear()
      this.#inBackground((db) => {
        for (const one of seqs) this.#lookAtOne(db, one)
        this.#pump(db)
      })
    })
  }

  /** The first news is told at once; where many come, not oftener than somebody can make use of. */
  #announce(): void {
    this.#changed = true
    if (this.#waiters.size === 0 || this.#announcing !== undefined) return
    const rest = this.#announcedAtMs + ANNOUNCE_EVERY_MS - Date.now()
    if (rest <= 0) this.#tell()
    else this.#announcing = setTimeout(() => this.#tell(), rest)
  }

  #tell(): void {
    clearTimeout(this.#announcing)
    this.#announcing = undefined
    this.#announcedAtMs = Date.now()
    for (const waiter of [...this.#waiters]) waiter()
  }

  // ---------------------------------------------------------------- ids

  #idOf(db: JobDb, seq: number): JobId {
    // Of one length, so that the mark of one job never begins like that of another.
    return jobId(`${db.instance}-${String(seq).padStart(9, '0')}`)
  }

  #seqsOf(db: JobDb, ids: readonly JobId[]): readonly number[] {
    const prefix = `${db.instance}-`
    const seqs = ids
      .filter((id) => id.startsWith(prefix))
      .map((id) => id.slice(prefix.length))
      .filter((digits) => /^\d{9,15}$/.test(digits))
      .map(Number)
    return [...new Set(seqs)]
  }

  // ---------------------------------------------------------------- submit

  #problemOf(spec: JobSpec): JobRejectedError | undefined {
    const { name, command, environment = {}, requirements } = spec
    const refuse = (what: string, hint: string): JobRejectedError =>
      new JobRejectedError(`The local backend refuses job ${JSON.stringify(name)}: ${what}.`, {
        details: { name, requirements },
        hint,
      })
    const { maxWalltime } = this.#config
    const total = this.#total
    if (requirements.cpus > total.cpus) {
      return refuse(
        `it asks for ${requirements.cpus} cpus and there are ${total.cpus}`,
        'Lower `requirements.cpus` of the processor, or set `cluster.cpus`.',
      )
    }
    if (requirements.memoryBytes > total.memoryBytes) {
      return refuse(
        `it asks for ${formatMemory(requirements.memoryBytes)} of memory and there are ${formatMemory(total.memoryBytes)}`,
        'Lower `requirements.memory` of the processor, or set `cluster.memory`.',
      )
    }
    if (requirements.gpus > total.gpus) {
      return refuse(
        `it asks for ${requirements.gpus} GPUs and there are ${total.gpus}`,
        'Lower `requirements.gpus` of the processor, or set `cluster.gpus`.',
      )
    }
    if (maxWalltime !== undefined && requirements.walltimeSeconds > maxWalltime) {
      return refuse(
        `it asks for a walltime of ${formatDuration(requirements.walltimeSeconds)} and at most ${formatDuration(maxWalltime)} are allowed`,
        'Lower `requirements.walltime` of the processor, or raise `cluster.maxWalltime`.',
      )
    }
    if (!/^[a-z0-9-]{1,60}$/.test(name)) {
      return refuse('its name is not of 1 to 60 characters of a-z, 0-9 and -', 'Choose another name.')
    }
    if (command[0] === undefined || command[0] === '')
      return refuse('its command is empty', 'Say what to run.')
    const paths = [spec.directory, spec.stdoutPath, spec.stderrPath]
    const relative = paths.find((path) => !isAbsolute(path))
    if (relative !== undefined)
      return refuse(`the path ${JSON.stringify(relative)} is not absolute`, 'Give the whole path.')
    if ([...command, ...paths, ...Object.values(environment)].some((text) => text.includes('\0'))) {
      return refuse('it holds a NUL character, which no program can be given', 'Leave it out.')
    }
    for (const variable of Object.keys(environment)) {
      const problem = variableNameProblem(variable)
      if (problem !== undefined) {
        return refuse(
          `variable ${JSON.stringify(variable)} cannot be set: ${problem}`,
          'Give it another name.',
        )
      }
    }
    return undefined
  }

  // ---------------------------------------------------------------- start

  /** Start what there is room for. */
  #pump(db: JobDb): void {
    const now = Date.now()
    if (!db.hasWaiting()) return
    const started = db.write(() => {
      const running = db.live().filter(({ machine }) => machine === this.#table.machine)
      if (running.reduce((sum, { cpus }) => sum + cpus, 0) >= this.#total.cpus) return []
      const waiting = db.waiting()
      const chosen = chooseJobs(
        this.#total,
        running.map((row) => ({ ...demandOf(row), endsAtMs: this.#endsAtMs(row, now) })),
        waiting.map((row) => ({ ...demandOf(row), walltimeMs: row.walltime * 1000 })),
        now,
      )
      const gpusTaken = new Set(running.flatMap(({ gpu_ids }) => gpu_ids?.split(',').map(Number) ?? []))
      return chosen.flatMap((index) => {
        const row = waiting[index]
        if (row === undefined) return []
        const place = this.#placeOf(db, row.seq, takeGpus(this.#config.gpus, gpusTaken, row.gpus))
        db.markStarting(row.seq, place, now)
        return [{ ...row, ...place }]
      })
    })
    for (const row of started) this.#launch(db, row)
  }

  #placeOf(db: JobDb, seq: number, gpuIds: string | null): Place {
    return {
      machine: this.#table.machine,
      boot: this.#table.boot,
      host: this.#host,
      gpu_ids: gpuIds,
      cgroup: this.#cgroups === undefined ? null : cgroupFolder(this.#cgroups, this.#idOf(db, seq)),
    }
  }

  #endsAtMs(row: JobRow, nowMs: number): number {
    const startedAt = row.started_at ?? row.starting_at ?? nowMs
    return Math.max(nowMs, startedAt + (row.walltime + this.#config.killGrace) * 1000)
  }

  #launch(db: JobDb, row: JobRow): void {
    const { seq } = row
    const spec = db.spec(seq)
    if (spec === undefined) return // it has ended meanwhile
    this.#launches.set(seq, (this.#launches.get(seq) ?? 0) + 1)
    let child: ChildProcess
    try {
      if (row.cgroup !== null) makeCgroup(row.cgroup, row.memory)
      child = this.#supervisors.launch({
        ...this.#supervisorOptions(db, row),
        command: spec.command,
        directory: spec.directory,
        stdoutPath: spec.stdoutPath,
        stderrPath: spec.stderrPath,
        environment: this.#environmentOf(spec, row),
      })
    } catch (error) {
      this.#launchFailed(db, row, error)
      return
    }
    // A child that could not be started has no pid, and tells why in a moment.
    this.#children.add(seq)
    child.once('error', (error) => {
      this.#children.delete(seq)
      this.#inBackground((opened) => this.#launchFailed(opened, row, error))
    })
    child.once('exit', () => {
      this.#children.delete(seq)
      this.#inBackground((opened) => {
        this.#lookAtOne(opened, seq)
        this.#pump(opened)
      })
    })
    child.unref()
  }

  #supervisorOptions(db: JobDb, row: JobRow): SupervisorOptions {
    return {
      id: this.#idOf(db, row.seq),
      walltimeSeconds: row.walltime,
      graceSeconds: this.#config.killGrace,
      memoryMode: row.cgroup === null ? (this.#memoryMode === 'off' ? 'off' : 'watch') : 'cgroup',
      memoryBytes: row.memory,
      cgroup: row.cgroup ?? '',
    }
  }

  #environmentOf(spec: JobSpec, row: JobRow): Record<string, string> {
    const user = this.#user
    return {
      PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
      HOME: homedir(),
      USER: user,
      LOGNAME: user,
      LANG: 'C.UTF-8',
      TMPDIR: tmpdir(),
      ...(this.#config.gpus > 0 && { CUDA_VISIBLE_DEVICES: row.gpu_ids ?? '' }),
      ...this.#config.environment,
      ...spec.environment,
    }
  }

  #launchFailed(db: JobDb, row: JobRow, error: unknown): void {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    if (SHORTAGES.has(code)) {
      // The machine is short of something for now: the next look starts it again.
      db.markQueued(row.seq)
    } else if (this.#supervisors.takeClaim(this.#idOf(db, row.seq))) {
      this.#finish(db, row, {
        outcome: 'launch-failed',
        endedAtMs: Date.now(),
        note: `it could not be started: ${(error as Error).message}; its directory must exist, and its output files must be writable`,
      })
    }
    this.#announce()
  }

  // ---------------------------------------------------------------- look

  /** See how all live jobs stand, and put right what is not. */
  #look(db: JobDb): void {
    let ended = false
    for (const row of db.live()) ended = this.#lookAt(db, row) || ended
    if (ended) this.#pump(db)
  }

  #lookAtOne(db: JobDb, seq: number): void {
    const row = db.get(seq)
    if (row !== undefined && (row.state === 'starting' || row.state === 'running')) this.#lookAt(db, row)
  }

  /** @returns the job has ended */
  #lookAt(db: JobDb, row: JobRow): boolean {
    const { seq } = row
    const id = this.#idOf(db, seq)
    const ours = this.#children.has(seq)
    // The system tells of the ends of our own children.
    if (ours && row.state === 'running') return false
    const claim = this.#supervisors.claim(id)
    if (ours && claim === undefined) return false
    const startedAtMs = typeof claim === 'object' ? claim.atMs : undefined
    const finish = (end: JobEnd): true => this.#finish(db, row, { startedAtMs, ...end })

    const end = ours ? undefined : this.#supervisors.end(id)
    if (end !== undefined) return finish(endOf(end, row))
    const nowMs = Date.now()
    const [bootId] = (row.boot ?? '').split(' ')
    const sameBoot = this.#table.boot.split(' ')[0] === bootId
    if (row.machine !== this.#table.machine || (sameBoot && row.boot !== this.#table.boot)) {
      // Its processes cannot be seen from here; its end record could.
      if (
        nowMs <
        this.#endsAtMs({ ...row, started_at: row.started_at ?? startedAtMs ?? null }, 0) + FOREIGN_GRACE_MS
      )
        return false
      return finish({
        outcome: 'unknown',
        endedAtMs: nowMs,
        note: `started on ${row.host}, which cannot be seen from ${this.#host}; long past its walltime`,
      })
    }
    if (claim === undefined) return this.#lookAtUnclaimed(db, row, sameBoot, nowMs)
    if (claim === 'empty') {
      if (ours || nowMs - (row.starting_at ?? 0) < HALF_CLAIM_MS) return false
      return finish({
        outcome: 'launch-failed',
        endedAtMs: nowMs,
        note: 'its supervisor was ended, or had no room to write, before it started anything',
      })
    }
    if (row.state === 'starting') {
      db.markRunning(seq, claim.pid, claim.start, claim.atMs)
      this.#launches.delete(seq)
      this.#announce()
    }
    if (!sameBoot) {
      return finish({
        outcome: 'node-fail',
        endedAtMs: nowMs,
        note: `${row.host} was started anew while the job ran`,
      })
    }
    if (ours || isAlive(this.#table, claim)) {
      if (row.cancel_asked === 1 && !this.#told.has(seq)) this.#pursueCancel(db, row)
      return false
    }
    // It may have written its last words between our two looks.
    const late = this.#supervisors.end(id)
    if (late !== undefined) return finish(endOf(late, row))
    this.#reap(db, row)
    return false
  }

  /** To be started, and nobody has begun: the engine that was to start it is gone, or its supervisor was ended at once. */
  #lookAtUnclaimed(db: JobDb, row: JobRow, sameBoot: boolean, nowMs: number): boolean {
    if (row.cancel_asked === 1) return this.#pursueCancel(db, row)
    if (sameBoot && nowMs - (row.starting_at ?? 0) < CLAIM_WITHIN_MS) return false
    if ((this.#launches.get(row.seq) ?? 0) >= LAUNCHES) {
      if (!this.#supervisors.takeClaim(this.#idOf(db, row.seq))) return false
      return this.#finish(db, row, {
        outcome: 'launch-failed',
        endedAtMs: nowMs,
        note: `its supervisor was started ${LAUNCHES} times and never got so far as to begin`,
      })
    }
    const place = this.#placeOf(db, row.seq, row.gpu_ids)
    db.markStartingAgain(row.seq, place, nowMs)
    this.#launch(db, { ...row, ...place })
    return false
  }

  /** @returns the job has ended */
  #pursueCancel(db: JobDb, row: JobRow): boolean {
    const id = this.#idOf(db, row.seq)
    // With the claim in our hands no supervisor can start it any more.
    if (this.#supervisors.takeClaim(id)) {
      return this.#finish(db, row, {
        outcome: 'cancelled',
        endedAtMs: Date.now(),
        note: 'cancelled before it started',
      })
    }
    const claim = this.#supervisors.claim(id)
    if (typeof claim !== 'object' || row.machine !== this.#table.machine || row.boot !== this.#table.boot)
      return false
    if (isAlive(this.#table, claim)) {
      this.#told.add(row.seq)
      sendTerm(claim.pid)
    }
    return false
  }

  /** Its supervisor is gone without a word. What it left must not run on: another attempt may be on its way. */
  #reap(db: JobDb, row: JobRow): void {
    const { seq } = row
    if (this.#reaping.has(seq)) return
    this.#reaping.add(seq)
    const child = this.#supervisors.reap(this.#supervisorOptions(db, row))
    const again = (): void => {
      this.#reaping.delete(seq)
      this.#inBackground((opened) => this.#look(opened))
    }
    child.once('exit', again)
    child.once('error', (error) => {
      this.#trouble = error
      this.#reaping.delete(seq)
    })
    child.unref()
  }

  #finish(db: JobDb, row: JobRow, end: JobEnd): true {
    db.markFinished(row.seq, end)
    this.#told.delete(row.seq)
    this.#launches.delete(row.seq)
    if (row.cgroup !== null && !removeCgroup(row.cgroup)) this.#fullCgroups.add(row.cgroup)
    this.#announce()
    return true
  }

  #housekeep(db: JobDb): void {
    for (const folder of this.#fullCgroups) {
      if (removeCgroup(folder)) this.#fullCgroups.delete(folder)
    }
    const now = Date.now()
    if (now - this.#housekeptAtMs < HOUSEKEEPING_EVERY_MS) return
    this.#housekeptAtMs = now
    const seqs = db.withFiles(now - KEEP_FILES_MS, 10_000)
    for (const seq of seqs) this.#supervisors.removeFiles(this.#idOf(db, seq))
    db.filesRemoved(seqs)
    db.prune(now - KEEP_HISTORY_MS)
  }

  #diagnoseMemory(): Diagnosis {
    const check = 'local: memory limit'
    switch (this.#memoryMode) {
      case 'cgroup':
        return {
          check,
          status: 'ok',
          found: `by cgroup (version ${this.#cgroups?.version}) below ${this.#cgroups?.parent}`,
        }
      case 'watch':
        return {
          check,
          status: this.#config.enforceMemory === 'cgroup' ? 'warning' : 'ok',
          found: 'by watching the processes of each job: no memory cgroup can be made here',
          ...(this.#config.enforceMemory === 'cgroup' && {
            hint: 'Start Orbweaver where this user may make cgroups (systemd-run --user --scope), or set cluster.enforceMemory to auto.',
          }),
        }
      default:
        return {
          check,
          status: 'warning',
          found: 'none: cluster.enforceMemory is off',
          hint: 'A job may take all memory of the machine.',
        }
    }
  }
}

const demandOf = (row: JobRow): Demand => ({ cpus: row.cpus, memoryBytes: row.memory, gpus: row.gpus })

function takeGpus(count: number, taken: Set<number>, wanted: number): string | null {
  const ids: number[] = []
  for (let id = 0; id < count && ids.length < wanted; id++) {
    if (taken.has(id)) continue
    taken.add(id)
    ids.push(id)
  }
  return ids.length === 0 ? null : ids.join(',')
}

function sendTerm(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM')
  } catch (error) {
    // It has ended in this moment; its end record tells how.
    if (systemErrorCode(error) !== 'ESRCH') throw error
  }
}

function userName(): string {
  try {
    return userInfo().username
  } catch (error) {
    // A container may run under a number that has no name.
    if (systemErrorCode(error) === undefined) throw error
    return process.env['USER'] ?? String(process.getuid?.() ?? 'unknown')
  }
}

/** In a container what it was given, else what the machine has. */
function machineMemory(): number {
  const constrained = process.constrainedMemory()
  return constrained > 0 && constrained < totalmem() ? constrained : totalmem()
}

function pageBytes(): number {
  try {
    return Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' })) || 4096
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    return 4096
  }
}

/** Errors of the database and the system in the port's words. */
function asUnavailable(error: unknown, folder: string): unknown {
  if (error instanceof PipelineError || !(error instanceof Error)) return error
  const code = systemErrorCode(error)
  const known = code !== undefined && (code.startsWith('SQLITE_') || /^E[A-Z0-9]+$/.test(code))
  if (!known) return error
  return new BackendUnavailableError(
    `The local backend cannot use its state in ${folder}: ${error.message} (${code}).`,
    {
      details: { folder, code },
      cause: error,
      hint: 'The folder must be writable, with room on its disk, and file locks must work there.',
    },
  )
}
