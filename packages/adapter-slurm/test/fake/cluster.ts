/** slurmctld, slurmd and slurmdbd in one: takes jobs, runs them, ends them, remembers them. */

import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import type { FakeNode, FakePartition, FakeSite, Job, Wish } from './model.js'
import { isOver } from './model.js'
import { environmentOf, outputPath } from './job-words.js'
import { launch, sessionsOf, signal } from './processes.js'

const SIGKILL = constants.signals.SIGKILL
/** Slurm's own: the files of a job could not be opened. */
const NEVER_RAN = 53
/** Slurm's own: ended by the kernel for memory. */
const OUT_OF_MEMORY = 125
const LOOK_MS = 20

export class Cluster {
  readonly site: FakeSite
  hasAccounting = true
  readonly jobs: Job[] = []
  readonly downNodes = new Map<string, string>()
  readonly partitionStates = new Map<string, boolean>()
  readonly #folder: string
  #nextId: number
  #timers = new Map<Job, NodeJS.Timeout[]>()
  #isScheduled = false
  #sampler: NodeJS.Timeout | undefined
  #stopping = false

  constructor(site: FakeSite, folder: string) {
    this.site = site
    this.#folder = folder
    this.#nextId = site.firstJobId
  }

  get nextId(): number {
    return this.#nextId
  }

  // -------------------------------------------------------------- partitions and nodes

  partition(name: string): FakePartition | undefined {
    return this.site.partitions.find((partition) => partition.name === name)
  }
  get defaultPartition(): string | undefined {
    const { partitions } = this.site
    return (partitions.find(({ isDefault }) => isDefault === true) ?? partitions[0])?.name
  }
  isUp(partition: FakePartition): boolean {
    return this.partitionStates.get(partition.name) ?? partition.up !== false
  }
  nodesOf(partition: FakePartition): readonly FakeNode[] {
    return this.site.nodes.filter(({ name }) => partition.nodes?.includes(name) !== false)
  }

  usedOf(node: FakeNode): { readonly cpus: number; readonly memoryMb: number; readonly gpus: number } {
    let [cpus, memoryMb, gpus] = [0, 0, 0]
    for (const job of this.jobs) {
      if (job.node !== node.name || !(job.state === 'RUNNING' || job.completing)) continue
      cpus += job.wish.exclusive ? node.cpus : job.wish.cpus
      memoryMb += job.wish.memoryMb
      gpus += job.wish.gpus
    }
    return { cpus, memoryMb, gpus }
  }

  // -------------------------------------------------------------- jobs

  submit(wish: Wish, indices: readonly number[] | undefined, hold: boolean): number {
    const id = this.#nextId++
    const submitMs = Date.now()
    for (const index of indices ?? [undefined]) {
      this.jobs.push({
        wish,
        rawId: id,
        arrayId: index === undefined ? undefined : id,
        index,
        state: 'PENDING',
        completing: false,
        reason: 'None',
        held: hold ? 'user' : undefined,
        beginMs: wish.beginMs,
        waitStatus: 0,
        batchState: '',
        batchExit: '',
        submitMs,
        startMs: undefined,
        endMs: undefined,
        node: undefined,
        restarts: 0,
        cancelledBy: undefined,
        pid: undefined,
        peakKb: 0,
        cpuMs: 0,
        wasEligible: false,
        earlier: [],
      })
    }
    this.#judge()
    this.schedule()
    return id
  }

  /** Jobs that the queue still knows. */
  queue(): readonly Job[] {
    const oldest = Date.now() - this.site.minJobAgeMs
    return this.jobs.filter((job) => !isOver(job) || job.completing || (job.endMs ?? 0) > oldest)
  }

  /** Jobs of an id: `20` (of an array all elements), `20_3`. */
  select(id: string): readonly Job[] {
    const [main = '', index] = id.split('_')
    return this.jobs.filter(
      (job) =>
        (job.arrayId === Number(main) && (index === undefined || job.index === Number(index))) ||
        (index === undefined && job.rawId === Number(main)),
    )
  }

  schedule(): void {
    if (this.#stopping || this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#judge(true)
    })
  }

  /** Says of every waiting job why it waits; with `start`, starts those that wait for nothing. */
  #judge(start = false): void {
    const waiting = this.jobs
      .filter((job) => job.state === 'PENDING' && !job.completing)
      .sort((one, other) => one.wish.nice - other.wish.nice)
    const blocked = new Set<string>()
    for (const job of waiting) {
      const obstacle = this.#obstacle(job)
      if (obstacle !== undefined) {
        job.reason = obstacle
        // Of these the accounting is not told until they could start.
        job.wasEligible ||= !['JobHeldUser', 'BeginTime', 'PartitionTimeLimit'].includes(obstacle)
        continue
      }
      job.wasEligible = true
      const names = job.wish.partitions
      const found = names.flatMap((name) => {
        const partition = this.partition(name)
        return partition === undefined || blocked.has(name) ? [] : [this.#roomFor(job, partition)]
      })
      const node = found.find((one) => typeof one === 'object')
      if (node !== undefined && start) this.#start(job, node)
      else if (node === undefined) {
        job.reason = found.find((one) => typeof one === 'string') ?? 'Priority'
        if (job.reason === 'Resources') for (const name of names) blocked.add(name)
      }
    }
  }

  #obstacle(job: Job): string | undefined {
    const { wish, held, beginMs } = job
    if (held === 'user') return 'JobHeldUser'
    if (held === 'admin') return 'JobHeldAdmin'
    if (held === 'requeue') return 'job requeued in held state'
    if (beginMs !== undefined && beginMs > Date.now()) {
      if (!this.#timers.has(job))
        this.#later(job, beginMs - Date.now(), () => {
          this.#timers.delete(job)
          this.schedule()
        })
      return 'BeginTime'
    }
    const waits = wish.dependencies.map((one) => this.#dependency(job, one.kind, one.id))
    if (waits.includes('never')) return 'DependencyNeverSatisfied'
    if (waits.includes('wait')) return 'Dependency'
    const partitions = wish.partitions.map((name) => this.partition(name)).filter((one) => one !== undefined)
    if (partitions.every((one) => !this.isUp(one))) return 'PartitionDown'
    const { limitMinutes } = wish
    if (partitions.every(({ maxMinutes }) => (limitMinutes ?? 0) > (maxMinutes ?? Infinity)))
      return 'PartitionTimeLimit'
    if (wish.throttle !== undefined) {
      const running = this.jobs.filter((other) => other.arrayId === job.arrayId && other.state === 'RUNNING')
      if (running.length >= wish.throttle) return 'JobArrayTaskLimit'
    }
    return undefined
  }

  #dependency(job: Job, kind: string, id: number): 'met' | 'wait' | 'never' {
    if (kind === 'singleton') {
      const earlier = this.jobs.filter(
        (other) => other.wish.name === job.wish.name && other.rawId < job.rawId && !isOver(other),
      )
      return earlier.length > 0 ? 'wait' : 'met'
    }
    const others = this.select(String(id))
    if (kind === 'after') return others.every(({ startMs }) => startMs !== undefined) ? 'met' : 'wait'
    if (others.some((other) => !isOver(other) || other.completing)) return 'wait'
    if (kind === 'afterany') return 'met'
    const allGood = others.length > 0 && others.every(({ state }) => state === 'COMPLETED')
    return allGood === (kind === 'afterok') ? 'met' : 'never'
  }

  #roomFor(job: Job, partition: FakePartition): FakeNode | string {
    const { cpus, memoryMb, gpus, exclusive } = job.wish
    const nodes = this.nodesOf(partition)
    const up = nodes.filter(({ name }) => !this.downNodes.has(name))
    if (up.length === 0)
      return 'Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions'
    const room = up.find((node) => {
      const used = this.usedOf(node)
      if (exclusive && used.cpus > 0) return false
      return (
        used.cpus + cpus <= node.cpus &&
        used.memoryMb + memoryMb <= node.memoryMb &&
        used.gpus + gpus <= (node.gpus ?? 0)
      )
    })
    return room ?? 'Resources'
  }

  // -------------------------------------------------------------- a run

  #start(job: Job, node: FakeNode): void {
    const { wish, index, arrayId } = job
    // The last element of an array keeps the array's id.
    const left = this.jobs.filter((other) => other.arrayId === arrayId && other.state === 'PENDING')
    if (arrayId !== undefined && left.length > 1 && job.rawId === arrayId) job.rawId = this.#nextId++
    job.state = 'RUNNING'
    job.reason = 'None'
    job.node = node.name
    job.startMs = Date.now()
    const folder = join(this.#folder, 'jobs', `${job.rawId}`)
    mkdirSync(folder, { recursive: true })
    const script = join(folder, 'slurm_script')
    writeFileSync(script, wish.script)
    chmodSync(script, 0o700)
    const fallback = index === undefined ? 'slurm-%j.out' : 'slurm-%A_%a.out'
    const stdout = outputPath(job, wish.stdout ?? fallback)
    const stderr = wish.stderr === undefined ? undefined : outputPath(job, wish.stderr)
    if ([stdout, stderr].some((path) => path !== undefined && !existsSync(dirname(path)))) {
      this.#ended(job, undefined, NEVER_RAN)
      return
    }
    const directory = existsSync(wish.directory) ? wish.directory : '/tmp'
    const child = launch(script, wish.args, {
      directory,
      environment: environmentOf(
        job,
        node,
        this.site,
        this.jobs.filter((other) => other.arrayId === arrayId).map((other) => other.index ?? 0),
      ),
      stdout,
      stderr,
      append: wish.append || job.restarts > 0,
    })
    job.pid = child.pid
    const { startMs } = job
    // A run that was ended otherwise is not ended again by its last process.
    const ended = (code: number | null, name: NodeJS.Signals | null): void => {
      if (job.state !== 'RUNNING' || job.startMs !== startMs || job.pid !== child.pid) return
      this.#ended(job, code ?? undefined, name === null ? undefined : constants.signals[name])
    }
    child.on('exit', ended)
    child.on('error', () => {
      ended(127, null)
    })
    this.#armLimit(job)
    this.#sample()
  }

  #armLimit(job: Job): void {
    const { limitMinutes, signal: warning } = job.wish
    if (limitMinutes === undefined) return
    const limitMs = limitMinutes * this.site.minuteMs
    this.#later(job, limitMs, () => {
      if (job.state === 'RUNNING') this.#end(job, 'TIMEOUT', 'TimeLimit')
    })
    if (warning === undefined) return
    const early = (warning.seconds / 60) * this.site.minuteMs
    this.#later(job, Math.max(0, limitMs - early), () => {
      if (job.state !== 'RUNNING' || job.pid === undefined) return
      const name = `SIG${warning.name.replace(/^SIG/, '')}` as NodeJS.Signals
      if (warning.batchOnly) signal(job.pid, name)
      else for (const pid of this.#pids(job)) if (pid !== job.pid) signal(pid, name)
    })
  }

  /** The script has ended by itself, or could not be started. */
  #ended(job: Job, code: number | undefined, signalNumber: number | undefined): void {
    job.waitStatus = code === undefined ? (signalNumber ?? 0) : code << 8
    if (code === 0) this.#end(job, 'COMPLETED', 'None', ['COMPLETED', '0:0'])
    else if (code !== undefined)
      this.#end(job, 'FAILED', 'NonZeroExitCode', ['FAILED', `${code > 127 ? code - 128 : code}:0`])
    else this.#end(job, 'FAILED', 'JobLaunchFailure', ['CANCELLED', `0:${signalNumber ?? 0}`])
  }

  /** A run is over: what is left of it is ended, politely and then not. */
  #end(
    job: Job,
    state: Job['state'],
    reason: string,
    batch: readonly [state: string, exit: string] = ['CANCELLED', '0:15'],
  ): void {
    job.state = state
    job.reason = reason
    job.endMs = Date.now()
    job.batchState = batch[0]
    job.batchExit = batch[1]
    for (const timer of this.#timers.get(job) ?? []) clearTimeout(timer)
    this.#timers.delete(job)
    job.completing = true
    const pids = this.#pids(job)
    for (const pid of pids) {
      signal(pid, 'SIGCONT')
      signal(pid, state === 'NODE_FAIL' || state === 'OUT_OF_MEMORY' ? 'SIGKILL' : 'SIGTERM')
    }
    const killMs = Date.now() + this.site.killWaitMs
    const look = (): void => {
      const left = this.#pids(job)
      if (left.length > 0) {
        if (Date.now() >= killMs) for (const pid of left) signal(pid, 'SIGKILL')
        setTimeout(look, LOOK_MS)
        return
      }
      job.completing = false
      job.pid = undefined
      this.schedule()
    }
    look()
  }

  #pids(job: Job): readonly number[] {
    if (job.pid === undefined) return []
    return sessionsOf(new Set([job.pid])).get(job.pid)?.pids ?? []
  }

  // -------------------------------------------------------------- by hand

  cancel(job: Job, uid: number): void {
    if (isOver(job)) return
    job.cancelledBy = uid
    if (job.state === 'PENDING') {
      // It keeps the reason for which it waited, and in the accounting an element has no row of its own.
      job.state = 'CANCELLED'
      job.endMs = Date.now()
      job.startMs = job.endMs
      this.schedule()
    } else {
      // waitpid of a batch script that was ended from outside.
      job.waitStatus = 0
      this.#end(job, 'CANCELLED', 'None')
    }
  }

  /** The same job again, as a new incarnation. */
  requeue(job: Job, hold: boolean, old: 'REQUEUED' | 'NODE_FAIL' | 'PREEMPTED' = 'REQUEUED'): void {
    const before: Job = { ...job, earlier: [] }
    const { pid } = job
    this.#end(job, 'CANCELLED', 'None')
    before.endMs = job.endMs
    before.batchState = 'CANCELLED'
    before.batchExit = '0:15'
    before.state = old
    job.earlier.push(before)
    const back = (): void => {
      if (job.completing) {
        setTimeout(back, LOOK_MS)
        return
      }
      Object.assign(job, {
        state: 'PENDING',
        reason: 'BeginTime',
        held: hold ? 'requeue' : undefined,
        beginMs: hold ? undefined : Date.now() + this.site.requeueDelayMs,
        submitMs: Date.now(),
        startMs: undefined,
        endMs: undefined,
        node: undefined,
        waitStatus: 0,
        restarts: job.restarts + 1,
        pid: undefined,
        peakKb: 0,
        cpuMs: 0,
      })
      this.#judge()
      this.schedule()
    }
    if (pid === undefined) job.completing = false
    back()
  }

  suspend(job: Job, stop: boolean): void {
    for (const pid of this.#pids(job)) signal(pid, stop ? 'SIGSTOP' : 'SIGCONT')
    job.state = stop ? 'SUSPENDED' : 'RUNNING'
  }

  signalJob(job: Job, name: string, batchOnly: boolean): void {
    const word = `SIG${name.replace(/^SIG/, '')}` as NodeJS.Signals
    if (batchOnly && job.pid !== undefined) signal(job.pid, word)
    else for (const pid of this.#pids(job)) signal(pid, word)
  }

  setNode(name: string, down: string | undefined): void {
    if (down === undefined) this.downNodes.delete(name)
    else this.downNodes.set(name, down)
    if (down === 'DOWN') {
      for (const job of this.jobs.filter((one) => one.node === name && one.state === 'RUNNING')) {
        if (job.wish.requeue) this.requeue(job, false, 'NODE_FAIL')
        else this.#end(job, 'NODE_FAIL', 'NodeDown')
      }
    }
    this.schedule()
  }

  // -------------------------------------------------------------- watching

  #later(job: Job, ms: number, then: () => void): void {
    const timer = setTimeout(then, ms)
    this.#timers.set(job, [...(this.#timers.get(job) ?? []), timer])
  }

  #sample(): void {
    this.#sampler ??= setInterval(() => {
      const running = this.jobs.filter(({ state, pid }) => state === 'RUNNING' && pid !== undefined)
      if (running.length === 0) {
        clearInterval(this.#sampler)
        this.#sampler = undefined
        return
      }
      const sessions = sessionsOf(new Set(running.map(({ pid }) => pid ?? 0)))
      for (const job of running) this.#sampled(job, sessions.get(job.pid ?? 0))
    }, this.site.sampleMs)
  }

  #sampled(
    job: Job,
    seen: ReturnType<typeof sessionsOf> extends ReadonlyMap<number, infer S> ? S | undefined : never,
  ): void {
    if (seen === undefined) return
    job.peakKb = Math.max(job.peakKb, seen.rssKb)
    job.cpuMs = Math.max(job.cpuMs, seen.cpuMs)
    if (seen.rssKb <= job.wish.memoryMb * 1024 || this.site.memoryKill === 'none') return
    if (this.site.memoryKill === 'cgroup') {
      job.waitStatus = OUT_OF_MEMORY
      this.#end(job, 'OUT_OF_MEMORY', 'OutOfMemory', ['OUT_OF_MEMORY', '0:125'])
    } else {
      job.waitStatus = SIGKILL
      this.#end(job, 'FAILED', 'JobLaunchFailure', ['CANCELLED by 0', '0:9'])
    }
  }

  /** Ends all processes of all jobs; nothing is left running. */
  stop(): void {
    this.#stopping = true
    clearInterval(this.#sampler)
    for (const timers of this.#timers.values()) for (const timer of timers) clearTimeout(timer)
    const leaders = new Set(this.jobs.map(({ pid }) => pid).filter((pid) => pid !== undefined))
    for (const { pids } of sessionsOf(leaders).values()) for (const pid of pids) signal(pid, 'SIGKILL')
  }
}
