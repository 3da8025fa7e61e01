/** A cluster in memory: jobs follow a script through virtual time, and every fault can be had by asking. */

import { BackendUnavailableError, JobRejectedError, NotSupportedError } from '../errors.js'
import {
  jobId,
  type ExitRecord,
  type JobId,
  type JobOutcome,
  type JobPhase,
  type JobSpec,
  type JobStatus,
  type JobUsage,
} from '../domain/job.js'
import { pathsOf } from '../job/workspace.js'
import type {
  BackendCapabilities,
  BackendLimits,
  ClusterBackend,
  Diagnosis,
  SubmitOutcome,
} from '../ports/cluster-backend.js'
import type { CallOptions } from '../ports/options.js'
import type { Clock } from '../ports/services.js'
import type { FileTransfer } from '../ports/transport.js'
import { ManualClock } from './manual-clock.js'

/** What becomes of one job. Everything has a default: a job starts at once, takes no time and succeeds. */
export interface JobScript {
  /** Virtual time between submit and start, when there is room. Default 0. */
  readonly startsAfterMs?: number
  /** Virtual time between start and end. Default 0. */
  readonly runsForMs?: number
  /** The job ends as soon as this says so; asked whenever the backend is called. Instead of `runsForMs`. */
  readonly endsWhen?: () => boolean | Promise<boolean>
  /** Default 0, or 1 with another outcome than `succeeded`. */
  readonly exitCode?: number
  /** As `SIGKILL`. */
  readonly signal?: string
  /** Default: from the exit code and signal. */
  readonly outcome?: JobOutcome
  /** What it takes at its peak; over its requirement it ends as `out-of-memory` where that is enforced. */
  readonly memoryBytes?: number
  /** Refuse it at submit, for good, with these words. */
  readonly refuse?: string
  /** Refuse it at submit, for now, with these words. */
  readonly later?: string
}

/** One job as the cluster sees it. */
export interface VirtualJob {
  readonly id: JobId
  readonly spec: JobSpec
  readonly phase: JobPhase
  readonly outcome?: JobOutcome
  readonly exitCode?: number
  readonly signal?: string
  readonly submittedAtMs: number
  readonly startedAtMs?: number
  readonly endedAtMs?: number
  readonly restarts: number
}

/** What jobs do to the world while time passes. */
export interface JobEffects {
  /** A job has started. */
  onStart?(spec: JobSpec, job: VirtualJob): Promise<void> | void
  /**
   * A job has come to its own end: write its outputs and its exit record. What is returned changes how it ended.
   */
  onRun?(
    spec: JobSpec,
    job: VirtualJob,
  ):
    | Promise<Pick<JobScript, 'exitCode' | 'signal' | 'outcome'> | void>
    | Pick<JobScript, 'exitCode' | 'signal' | 'outcome'>
    | void
  /** A running job was ended from outside: cancel, walltime, memory, a lost node. */
  onKilled?(spec: JobSpec, job: VirtualJob): Promise<void> | void
}

export interface InMemoryBackendOptions extends JobEffects {
  /** Default `memory`. */
  readonly name?: string
  /** Default: a {@link ManualClock} of its own. */
  readonly clock?: Clock
  /** Default: it can do everything but GPUs. */
  readonly capabilities?: Partial<BackendCapabilities>
  /** Limits of the site; they are enforced. `maxCpus` comes from `cpus`. */
  readonly limits?: Partial<Omit<BackendLimits, 'source'>>
  /** Cpus of the whole cluster; jobs beyond wait. Default: no end of them. */
  readonly cpus?: number
  /** The fate of each job. Default: the empty script. */
  readonly script?: (spec: JobSpec) => JobScript
  /** Between a cancel and its effect. Default 0. */
  readonly cancelTakesMs?: number
  /** How long an ended job can still be asked for. Default: for ever. */
  readonly keepEndedMs?: number
}

type Method = 'submit' | 'query' | 'find' | 'cancel' | 'hold' | 'release' | 'limits'

interface Job {
  readonly id: JobId
  readonly spec: JobSpec
  readonly script: JobScript
  readonly submittedAtMs: number
  /** Not before: submit plus waiting time, or the time of a requeue or release. */
  eligibleAtMs: number
  phase: 'queued' | 'held' | 'running' | 'finishing' | 'finished'
  startedAtMs?: number
  endedAtMs?: number
  /** The cancel takes effect. */
  cancelAtMs?: number
  outcome?: JobOutcome
  exitCode?: number
  signal?: string
  /** Why, in the cluster's words. */
  reason?: string
  restarts: number
  forgotten: boolean
}

/** What the backend instances of one cluster share: it outlives each of them. */
class Cluster {
  readonly jobs = new Map<JobId, Job>()
  readonly clock: Clock
  readonly executions = new Map<string, number>()
  lastId = 0
  away = false
  loseAfter: number | undefined
  readonly failures: { readonly method: Method; readonly error: Error }[] = []
  freedAtMs = 0
  settling: Promise<void> = Promise.resolve()
  readonly watchers = new Set<() => void>()

  constructor(readonly options: InMemoryBackendOptions) {
    this.clock = options.clock ?? new ManualClock()
  }
}

const ALL_CAPABILITIES: BackendCapabilities = {
  history: true,
  findsFinished: true,
  arrays: true,
  hold: true,
  enforcesWalltime: true,
  enforcesMemory: true,
  gpus: false,
  peakMemory: true,
}

/**
 * A `ClusterBackend` in memory that keeps every promise of the port.
 *
 * Jobs follow their {@link JobScript} in the time of the clock; `onRun` and its kin write what real jobs would. Outages,
 * lost answers and forgotten jobs are had by calling {@link outage}, {@link loseNextAnswer} and {@link forget}.
 */
export class InMemoryBackend implements ClusterBackend {
  readonly name: string
  readonly capabilities: BackendCapabilities
  /** How often each method was called. */
  readonly calls: Record<Method, number> = {
    submit: 0,
    query: 0,
    find: 0,
    cancel: 0,
    hold: 0,
    release: 0,
    limits: 0,
  }
  readonly #cluster: Cluster

  constructor(options: InMemoryBackendOptions = {}, cluster?: unknown) {
    this.#cluster = cluster instanceof Cluster ? cluster : new Cluster(options)
    this.name = options.name ?? 'memory'
    this.capabilities = { ...ALL_CAPABILITIES, ...options.capabilities }
  }

  /** The cluster's clock. */
  get clock(): Clock {
    return this.#cluster.clock
  }

  /** Another backend of the same cluster, as an engine has after a restart. */
  reopen(): InMemoryBackend {
    return new InMemoryBackend(this.#cluster.options, this.#cluster)
  }

  // -- the port

  async submit(specs: readonly JobSpec[], options: CallOptions = {}): Promise<readonly SubmitOutcome[]> {
    await this.#enter('submit', options)
    const cluster = this.#cluster
    const { loseAfter } = cluster
    if (specs.length > 0) cluster.loseAfter = undefined
    const outcomes: SubmitOutcome[] = []
    for (const [index, spec] of specs.entries()) {
      if (loseAfter !== undefined && index >= loseAfter) break
      outcomes.push(this.#accept(spec))
    }
    await this.#settle()
    this.#poke()
    if (loseAfter !== undefined && specs.length > 0) throw unavailable('the answer got lost')
    return outcomes
  }

  async query(ids: readonly JobId[], options: CallOptions = {}): Promise<ReadonlyMap<JobId, JobStatus>> {
    await this.#enter('query', options)
    const found = new Map<JobId, JobStatus>()
    for (const id of ids) {
      const job = this.#known(id)
      if (job !== undefined) found.set(id, this.#statusOf(job))
    }
    return found
  }

  async find(names: readonly string[], options: CallOptions = {}): Promise<ReadonlyMap<string, JobId>> {
    await this.#enter('find', options)
    const wanted = new Set(names)
    const found = new Map<string, JobId>()
    // Insertion order is submit order: the newest of one name stays.
    for (const { id, spec } of this.#cluster.jobs.values()) {
      const job = this.#known(id)
      if (job === undefined || !wanted.has(spec.name)) continue
      if (job.phase !== 'finished' || this.capabilities.findsFinished) found.set(spec.name, id)
    }
    return found
  }

  async cancel(ids: readonly JobId[], options: CallOptions = {}): Promise<void> {
    await this.#enter('cancel', options)
    const now = this.#cluster.clock.now()
    for (const id of ids) {
      const job = this.#known(id)
      if (job === undefined || job.phase === 'finished' || job.cancelAtMs !== undefined) continue
      job.cancelAtMs = now + (this.#cluster.options.cancelTakesMs ?? 0)
      if (job.phase === 'running') job.phase = 'finishing'
    }
    await this.#settle()
    this.#poke()
  }

  async hold(ids: readonly JobId[], options: CallOptions = {}): Promise<void> {
    await this.#enter('hold', options)
    if (!this.capabilities.hold) throw new NotSupportedError(`${this.name} cannot hold jobs.`)
    for (const id of ids) {
      const job = this.#known(id)
      if (job?.phase === 'queued') job.phase = 'held'
    }
    this.#poke()
  }

  async release(ids: readonly JobId[], options: CallOptions = {}): Promise<void> {
    await this.#enter('release', options)
    if (!this.capabilities.hold) throw new NotSupportedError(`${this.name} cannot release jobs.`)
    for (const id of ids) {
      const job = this.#known(id)
      if (job?.phase !== 'held') continue
      job.phase = 'queued'
      job.eligibleAtMs = Math.max(job.eligibleAtMs, this.#cluster.clock.now())
    }
    await this.#settle()
    this.#poke()
  }

  async limits(options: CallOptions = {}): Promise<BackendLimits> {
    await this.#enter('limits', options)
    return this.#limits()
  }

  async changes(timeoutMs: number, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    const { clock, watchers } = this.#cluster
    const now = clock.now()
    const next = this.#nextEventMs()
    const over = new AbortController()
    const waits = AbortSignal.any(signal === undefined ? [over.signal] : [over.signal, signal])
    const watcher = (): void => over.abort()
    watchers.add(watcher)
    try {
      await clock.sleep(Math.min(timeoutMs, next === undefined ? timeoutMs : Math.max(0, next - now)), {
        signal: waits,
      })
    } catch (error) {
      if (signal?.aborted === true || !over.signal.aborted) throw error
    } finally {
      watchers.delete(watcher)
    }
  }

  async diagnose({ signal }: CallOptions = {}): Promise<readonly Diagnosis[]> {
    signal?.throwIfAborted()
    return this.#cluster.away
      ? [
          {
            check: `${this.name}: scheduler`,
            status: 'problem',
            found: 'it does not answer',
            hint: 'Wait until it is back.',
          },
        ]
      : [{ check: `${this.name}: scheduler`, status: 'ok', found: 'it answers' }]
  }

  async close(): Promise<void> {
    this.#poke()
  }

  // -- for tests

  /** The scheduler is away (or back): every call throws `BackendUnavailableError`, and jobs go on. */
  outage(away: boolean): void {
    this.#cluster.away = away
    this.#poke()
  }

  /**
   * The next submit accepts its jobs and then throws `BackendUnavailableError`.
   *
   * @param after - how many jobs of the batch it accepts. Default: all
   */
  loseNextAnswer(after: number = Number.POSITIVE_INFINITY): void {
    this.#cluster.loseAfter = after
  }

  /** The next call of this method throws that, and does nothing. */
  failNext(method: Method, error: Error): void {
    this.#cluster.failures.push({ method, error })
  }

  /** No call knows this job any more, as when a scheduler lost its records. */
  forget(id: JobId): void {
    const job = this.#cluster.jobs.get(id)
    if (job !== undefined) job.forgotten = true
    this.#poke()
  }

  /** The scheduler takes a running or ended job back into the queue, under the same id. */
  requeue(id: JobId): void {
    const job = this.#cluster.jobs.get(id)
    if (job === undefined) throw new TypeError(`there is no job ${id}`)
    job.phase = 'queued'
    job.eligibleAtMs = this.#cluster.clock.now() + (job.script.startsAfterMs ?? 0)
    job.restarts++
    delete job.startedAtMs
    delete job.endedAtMs
    delete job.outcome
    delete job.exitCode
    delete job.signal
    delete job.cancelAtMs
    delete job.reason
    this.#poke()
  }

  /** Bring all jobs to where the clock is, without a call of the port. */
  async settle(): Promise<void> {
    await this.#settle()
  }

  /** Every job that was ever accepted, in order. */
  jobs(): readonly VirtualJob[] {
    return [...this.#cluster.jobs.values()].map(viewOf)
  }

  /** How often a job of this name has started. */
  executions(name: string): number {
    return this.#cluster.executions.get(name) ?? 0
  }

  // -- the cluster

  async #enter(method: Method, { signal }: CallOptions): Promise<void> {
    signal?.throwIfAborted()
    this.calls[method]++
    // Time went on although nobody asked; outages do not stop jobs.
    await this.#settle()
    signal?.throwIfAborted()
    const { failures, away } = this.#cluster
    const planned = failures.findIndex((failure) => failure.method === method)
    if (planned !== -1) {
      const [failure] = failures.splice(planned, 1)
      if (failure !== undefined) throw failure.error
    }
    if (away) throw unavailable('the scheduler does not answer')
  }

  #accept(spec: JobSpec): SubmitOutcome {
    const { options, jobs, clock } = this.#cluster
    const script = options.script?.(spec) ?? {}
    const problem = script.refuse ?? this.#refusal(spec)
    if (problem !== undefined) {
      return {
        kind: 'refused',
        error: new JobRejectedError(`${this.name} refused job ${spec.name}: ${problem}.`, {
          details: { name: spec.name },
        }),
      }
    }
    if (script.later !== undefined) return { kind: 'later', reason: script.later }
    const { maxJobs } = options.limits ?? {}
    const live = [...jobs.values()].filter(({ phase }) => phase !== 'finished').length
    if (maxJobs !== undefined && live >= maxJobs)
      return { kind: 'later', reason: `${live} jobs are in the queue already` }
    const id = jobId(String(++this.#cluster.lastId))
    const submittedAtMs = clock.now()
    jobs.set(id, {
      id,
      spec,
      script,
      submittedAtMs,
      eligibleAtMs: submittedAtMs + (script.startsAfterMs ?? 0),
      phase: 'queued',
      restarts: 0,
      forgotten: false,
    })
    return { kind: 'accepted', id }
  }

  #refusal({ name, requirements }: JobSpec): string | undefined {
    const limits = this.#limits()
    if (!/^[a-z0-9-]{1,60}$/.test(name)) return 'its name is not made of a-z, 0-9 and -, or is too long'
    if (requirements.cpus > (limits.maxCpus ?? Infinity)) return `no node has ${requirements.cpus} cpus`
    if (requirements.memoryBytes > (limits.maxMemoryBytes ?? Infinity)) return 'no node has so much memory'
    if (requirements.walltimeSeconds > (limits.maxWalltimeSeconds ?? Infinity))
      return 'its walltime is too long'
    if (requirements.gpus > (limits.maxGpus ?? (this.capabilities.gpus ? Infinity : 0)))
      return 'there are not so many GPUs'
    return undefined
  }

  #limits(): BackendLimits {
    const { cpus, limits = {} } = this.#cluster.options
    const known = { ...(cpus !== undefined && { maxCpus: cpus }), ...limits }
    return { ...known, source: Object.fromEntries(Object.keys(known).map((key) => [key, 'the test'])) }
  }

  #known(id: JobId): Job | undefined {
    const job = this.#cluster.jobs.get(id)
    if (job === undefined || job.forgotten) return undefined
    const { keepEndedMs = Infinity } = this.#cluster.options
    if (job.endedAtMs !== undefined && this.#cluster.clock.now() - job.endedAtMs > keepEndedMs)
      return undefined
    return job
  }

  #statusOf(job: Job): JobStatus {
    const finished = job.phase === 'finished'
    const state = finished ? (job.outcome ?? 'unknown') : job.phase
    const { memoryBytes } = job.script
    return {
      ...viewOf(job),
      name: job.spec.name,
      ...(job.phase === 'queued' && { waitingOn: 'resources' as const }),
      ...(job.phase === 'held' && { heldBy: 'user' as const }),
      native: { state: state.toUpperCase(), ...(job.reason !== undefined && { reason: job.reason }) },
      evidence: [
        {
          source: finished ? 'accounting' : 'queue',
          text: `${job.id} ${state.toUpperCase()}${finished ? ` exit=${job.exitCode ?? 0}` : ''}${job.reason === undefined ? '' : ` (${job.reason})`}`,
          atMs: this.#cluster.clock.now(),
        },
      ],
      ...(job.startedAtMs !== undefined && { nodes: ['memory-1'] }),
      ...(finished &&
        job.startedAtMs !== undefined && { usage: usageOf(job, memoryBytes, this.capabilities) }),
    }
  }

  #poke(): void {
    for (const watcher of [...this.#cluster.watchers]) watcher()
  }

  async #settle(): Promise<void> {
    // One at a time: two calls at once must not start a job twice.
    const mine = this.#cluster.settling.then(() => this.#play())
    this.#cluster.settling = mine.catch(() => undefined)
    await mine
  }

  /** Play all that is due, in the order of its time. */
  async #play(): Promise<void> {
    const { clock, jobs } = this.#cluster
    for (;;) {
      const event = this.#nextEvent()
      if (event === undefined || event.atMs > clock.now()) break
      await event.happen()
    }
    for (const job of jobs.values()) {
      if (job.phase !== 'running' || job.script.endsWhen === undefined) continue
      if (await job.script.endsWhen()) await this.#end(job, clock.now(), {})
    }
    // Room that was made just now is for those who wait.
    const next = this.#nextEvent()
    if (next !== undefined && next.atMs <= clock.now()) await this.#play()
  }

  #nextEventMs(): number | undefined {
    return this.#nextEvent()?.atMs
  }

  #nextEvent(): { readonly atMs: number; readonly happen: () => Promise<void> } | undefined {
    let next: { readonly atMs: number; readonly happen: () => Promise<void> } | undefined
    const offer = (atMs: number | undefined, happen: () => Promise<void>): void => {
      if (atMs !== undefined && Number.isFinite(atMs) && (next === undefined || atMs < next.atMs))
        next = { atMs, happen }
    }
    let used = 0
    for (const { phase, spec } of this.#cluster.jobs.values()) {
      if (phase === 'running' || phase === 'finishing') used += spec.requirements.cpus
    }
    const { cpus = Infinity } = this.#cluster.options
    for (const job of this.#cluster.jobs.values()) {
      if (job.phase === 'finished') continue
      offer(job.cancelAtMs, () =>
        this.#end(job, job.cancelAtMs ?? 0, { outcome: 'cancelled', reason: 'cancelled' }),
      )
      if (job.phase === 'queued' && used + job.spec.requirements.cpus <= cpus) {
        const atMs = Math.max(job.eligibleAtMs, cpus === Infinity ? 0 : this.#cluster.freedAtMs)
        offer(atMs, () => this.#start(job, atMs))
      }
      if (job.phase === 'running') this.#offerEnds(job, offer)
    }
    return next
  }

  #offerEnds(job: Job, offer: (atMs: number | undefined, happen: () => Promise<void>) => void): void {
    const startedAtMs = job.startedAtMs ?? 0
    const { walltimeSeconds, memoryBytes } = job.spec.requirements
    const { endsWhen, runsForMs = 0, memoryBytes: peak = 0 } = job.script
    if (this.capabilities.enforcesMemory && peak > memoryBytes) {
      offer(startedAtMs, () =>
        this.#end(job, startedAtMs, {
          outcome: 'out-of-memory',
          exitCode: 137,
          signal: 'SIGKILL',
          reason: 'memory',
        }),
      )
    }
    if (endsWhen === undefined)
      offer(startedAtMs + runsForMs, () => this.#end(job, startedAtMs + runsForMs, {}))
    if (this.capabilities.enforcesWalltime) {
      const atMs = startedAtMs + walltimeSeconds * 1000
      offer(atMs, () =>
        this.#end(job, atMs, { outcome: 'timeout', exitCode: 143, signal: 'SIGTERM', reason: 'walltime' }),
      )
    }
  }

  async #start(job: Job, atMs: number): Promise<void> {
    job.phase = 'running'
    job.startedAtMs = atMs
    const { executions, options } = this.#cluster
    executions.set(job.spec.name, (executions.get(job.spec.name) ?? 0) + 1)
    await options.onStart?.(job.spec, viewOf(job))
    this.#poke()
  }

  /** @param forced - how somebody else ended it; empty: it came to its own end */
  async #end(
    job: Job,
    atMs: number,
    forced: Partial<Pick<Job, 'outcome' | 'exitCode' | 'signal' | 'reason'>>,
  ): Promise<void> {
    const { options } = this.#cluster
    const hasRun = job.startedAtMs !== undefined
    Object.assign(job, forced.outcome === undefined ? endOf(job.script) : forced)
    job.phase = 'finished'
    job.endedAtMs = atMs
    this.#cluster.freedAtMs = Math.max(this.#cluster.freedAtMs, atMs)
    if (forced.outcome !== undefined) {
      if (hasRun) await options.onKilled?.(job.spec, viewOf(job))
    } else {
      const changed = await options.onRun?.(job.spec, viewOf(job))
      if (changed !== undefined) {
        delete job.signal
        Object.assign(job, endOf(changed))
      }
    }
    this.#poke()
  }
}

/**
 * Effects that write what `job.sh` writes: `started.json`, outputs, `exit.json`, in the workspace that is the spec's directory.
 *
 * @param produce - text files of the outputs folder, by relative path. Default: none
 */
export function jobScriptEffects(
  files: FileTransfer,
  produce: (spec: JobSpec) => Readonly<Record<string, string>> = () => ({}),
): Required<JobEffects> {
  const writeExit = async (spec: JobSpec, job: VirtualJob, received?: string): Promise<void> => {
    const record: ExitRecord = {
      schema: 1,
      name: spec.name,
      host: 'memory-1',
      exitCode: job.exitCode ?? 0,
      ...(job.signal !== undefined && { signal: job.signal }),
      ...(received !== undefined && { received }),
      startedAt: Math.floor((job.startedAtMs ?? 0) / 1000),
      endedAt: Math.floor((job.endedAtMs ?? 0) / 1000),
    }
    await files.writeAtomic(pathsOf(spec.directory).exit, JSON.stringify(record))
  }
  return {
    async onStart(spec, job) {
      await files.writeAtomic(
        pathsOf(spec.directory).started,
        JSON.stringify({
          schema: 1,
          name: spec.name,
          host: 'memory-1',
          pid: Number(job.id),
          startedAt: Math.floor((job.startedAtMs ?? 0) / 1000),
        }),
      )
    },
    async onRun(spec, job) {
      const { outputs } = pathsOf(spec.directory)
      await files.mkdir(outputs)
      for (const [path, text] of Object.entries(produce(spec))) {
        const whole = `${outputs}/${path}`
        await files.mkdir(whole.slice(0, whole.lastIndexOf('/')))
        await files.writeAtomic(whole, text)
      }
      await writeExit(spec, job)
    },
    async onKilled(spec, job) {
      // A node that is lost or a SIGKILL leaves no time for a record.
      if (job.outcome === 'timeout' || job.outcome === 'cancelled') await writeExit(spec, job, 'SIGTERM')
    },
  }
}

function endOf(script: Pick<JobScript, 'exitCode' | 'signal' | 'outcome'>): Partial<Job> {
  const failed = (script.exitCode ?? 0) !== 0 || script.signal !== undefined
  const outcome = script.outcome ?? (failed ? 'failed' : 'succeeded')
  if (script.signal !== undefined)
    return {
      outcome,
      signal: script.signal,
      ...(script.exitCode !== undefined && { exitCode: script.exitCode }),
    }
  return { outcome, exitCode: script.exitCode ?? (outcome === 'succeeded' ? 0 : 1) }
}

function viewOf(job: Job): VirtualJob {
  const { id, spec, phase, outcome, exitCode, signal, submittedAtMs, startedAtMs, endedAtMs, restarts } = job
  return {
    id,
    spec,
    phase,
    ...(outcome !== undefined && { outcome }),
    ...(exitCode !== undefined && { exitCode }),
    ...(signal !== undefined && { signal }),
    submittedAtMs,
    ...(startedAtMs !== undefined && { startedAtMs }),
    ...(endedAtMs !== undefined && { endedAtMs }),
    restarts,
  }
}

function usageOf(job: Job, memoryBytes: number | undefined, { peakMemory }: BackendCapabilities): JobUsage {
  return {
    elapsedSeconds: ((job.endedAtMs ?? 0) - (job.startedAtMs ?? 0)) / 1000,
    ...(peakMemory && { peakMemoryBytes: memoryBytes ?? 10 * 1024 ** 2 }),
  }
}

function unavailable(what: string): BackendUnavailableError {
  return new BackendUnavailableError(`The in-memory cluster cannot be asked: ${what}.`)
}
