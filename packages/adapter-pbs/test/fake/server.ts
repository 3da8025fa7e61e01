/** The server, the scheduler and the node in one: queues jobs, starts them, watches them, ends them. */

import { spawn } from 'node:child_process'
import { appendFileSync, closeSync, copyFileSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { constants, homedir } from 'node:os'
import { join } from 'node:path'
import type { Fault, FakeSite, Flavour, Job, Killer } from './model.js'
import { measure, send } from './processes.js'

const LOOK_MS = 150

/** Exit status by flavour of what the server ends itself. The numbers mean other things in the other flavour. */
const KILLED: Readonly<Record<Flavour, Readonly<Record<'walltime' | 'memory' | 'qdel' | 'node', number>>>> = {
  openpbs: { walltime: -29, memory: -27, qdel: 271, node: -20 },
  torque: { walltime: -11, memory: -10, qdel: 271, node: -4 },
}

export const isDone = ({ state }: Job): boolean => state === 'done'
export const clock = (seconds: number): string =>
  [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60]
    .map((part) => String(part).padStart(2, '0'))
    .join(':')
/** As ctime(3) prints it, in UTC. */
export function date(ms: number): string {
  const [day, , month, , year] = [
    new Date(ms).toUTCString().slice(0, 3),
    '',
    new Date(ms).toUTCString().slice(8, 11),
    '',
    new Date(ms).getUTCFullYear(),
  ]
  return `${day} ${month} ${String(new Date(ms).getUTCDate()).padStart(2)} ${new Date(ms).toISOString().slice(11, 19)} ${year}`
}
const moment = (ms: number): string => {
  const text = date(ms)
  return `${text.slice(0, 10)} at ${text.slice(11, 16)}`
}

export class Server {
  /** Single jobs and arrays, oldest first. */
  readonly jobs = new Map<number, Job>()
  readonly flavour: Flavour
  readonly site: FakeSite
  readonly #spool: string
  readonly #has: (fault: Fault) => boolean
  readonly #sessions = new Map<number, Job>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #look: NodeJS.Timeout
  #next = 0

  constructor(flavour: Flavour, site: FakeSite, spool: string, has: (fault: Fault) => boolean) {
    this.flavour = flavour
    this.site = site
    this.#spool = spool
    this.#has = has
    mkdirSync(spool, { recursive: true })
    this.#look = setInterval(() => {
      this.#watch()
    }, LOOK_MS)
  }

  get hasHistory(): boolean {
    return this.site.history && !this.#has('history-off')
  }
  get server(): string {
    return this.flavour === 'openpbs' ? (this.site.host.split('.')[0] ?? 'pbs') : this.site.host
  }
  get node(): string {
    return this.site.host.split('.')[0] ?? 'node'
  }
  nextSequence(): number {
    return this.#next++
  }
  idOf(job: Job): string {
    const brackets = job.parent !== undefined ? `[${job.index ?? ''}]` : job.elements.length > 0 ? '[]' : ''
    return `${job.sequence}${brackets}.${this.server}`
  }

  /** Every job that runs by itself, arrays taken apart. */
  *units(): Generator<Job> {
    for (const job of this.jobs.values()) {
      if (job.elements.length === 0) yield job
      else yield* job.elements
    }
  }

  add(job: Job): void {
    this.jobs.set(job.sequence, job)
    this.schedule()
  }

  schedule(): void {
    const now = Date.now()
    let cpus = 0
    let gpus = 0
    for (const job of this.#sessions.values()) {
      cpus += job.cpus
      gpus += job.gpus
    }
    for (const job of this.units()) {
      if (job.state === 'W' && (job.beginMs ?? 0) <= now) job.state = 'Q'
      this.#depend(job)
      if (job.state === 'H' && job.holds === 'throttle') job.state = 'Q'
      if (job.state !== 'Q') continue
      const never = this.#never(job)
      if (never !== undefined) {
        job.comment = never
        continue
      }
      const parent = job.parent
      const live = parent?.elements.filter(({ state }) => state === 'R' || state === 'E').length ?? 0
      if (parent?.throttle !== undefined && live >= parent.throttle) {
        // Torque holds what is over the limit of an array, for no reason that it names.
        if (this.flavour === 'torque') {
          job.state = 'H'
          job.holds = 'throttle'
        }
        continue
      }
      const queue = this.site.queues.find(({ name }) => name === job.queue)
      const isStopped =
        queue?.started === false || (queue === this.site.queues[0] && this.#has('queue-stopped'))
      if (isStopped) {
        job.comment = 'Not Running: Queue not started.'
        continue
      }
      if (this.#has('node-down') || cpus + job.cpus > this.site.cpus || gpus + job.gpus > this.site.gpus) {
        job.comment =
          this.flavour === 'openpbs'
            ? 'Not Running: Not enough free nodes available'
            : 'Not Running: Not enough of the right type of nodes are available'
        continue
      }
      cpus += job.cpus
      gpus += job.gpus
      this.#start(job)
    }
  }

  #never(job: Job): string | undefined {
    if (this.flavour !== 'openpbs') return undefined
    const { cpus, gpus, memoryMb } = this.site
    const too = (name: string, asked: string | number, total: string | number): string =>
      `Can Never Run: Insufficient amount of resource: ${name} (R: ${asked} A: ${total} T: ${total})`
    if (job.cpus > cpus) return too('ncpus', job.cpus, cpus)
    if (job.gpus > gpus) return too('ngpus', job.gpus, gpus)
    if ((job.memoryKb ?? 0) > memoryMb * 1024)
      return too('mem', `${job.memoryKb ?? 0}kb`, `${memoryMb * 1024}kb`)
    return undefined
  }

  #depend(job: Job): void {
    if (job.state !== 'H' || job.holds !== 's' || job.depend.length === 0) return
    for (const { type, sequence } of job.depend) {
      const other = this.jobs.get(sequence)
      if (other !== undefined && !this.isOver(other)) return
      const went = other === undefined ? undefined : this.#exitOf(other)
      const fails =
        (type.startsWith('afterok') && went !== 0) || (type.startsWith('afternotok') && went === 0)
      if (!fails) continue
      // Torque writes down an exit status of a job that never ran; OpenPBS leaves the substate of a success.
      job.state = 'done'
      job.endedMs = job.changedMs = Date.now()
      if (this.flavour === 'torque') {
        job.exit = 271
        job.comment = `Job deleted as result of dependency on job ${String(sequence)}.${this.server}`
      } else job.substate = 92
      return
    }
    job.state = 'Q'
    job.holds = 'n'
    job.eligibleMs = Date.now()
  }

  isOver(job: Job): boolean {
    return job.elements.length === 0 ? isDone(job) : job.elements.every(isDone)
  }
  #exitOf(job: Job): number | undefined {
    if (job.elements.length === 0) return job.exit
    return job.elements.find(({ exit }) => exit !== 0)?.exit ?? 0
  }

  #start(job: Job): void {
    const now = Date.now()
    const id = this.idOf(job)
    const base = join(this.#spool, `${job.sequence}${job.index === undefined ? '' : `-${job.index}`}`)
    writeFileSync(`${base}.SC`, job.script, { mode: 0o700 })
    const [file, ...words] = job.shell.split(' ')
    const out = openSync(`${base}.OU`, 'w', 0o600)
    const err = job.join === 'oe' ? out : openSync(`${base}.ER`, 'w', 0o600)
    const child = spawn(file ?? '/bin/sh', [...words, `${base}.SC`], {
      cwd: job.directory,
      detached: true,
      stdio: ['ignore', out, err],
      env: {
        HOME: homedir(),
        LOGNAME: job.owner,
        USER: job.owner,
        SHELL: '/bin/sh',
        PATH: process.env['PATH'] ?? '/usr/bin:/bin',
        ...job.variables,
        ...job.exported,
        PBS_ENVIRONMENT: 'PBS_BATCH',
        PBS_JOBID: id,
        PBS_JOBNAME: job.name,
        PBS_QUEUE: job.queue,
        PBS_JOBCOOKIE: '0'.repeat(32),
        ...(job.index !== undefined && this.flavour === 'openpbs'
          ? { PBS_ARRAY_INDEX: String(job.index), PBS_ARRAY_ID: this.idOf(job.parent ?? job) }
          : {}),
        ...(job.index !== undefined && this.flavour === 'torque' ? { PBS_ARRAYID: String(job.index) } : {}),
      },
    })
    closeSync(out)
    if (err !== out) closeSync(err)
    job.state = 'R'
    job.substate = 42
    job.killer = undefined
    job.startedMs = job.changedMs = now
    job.runCount += 1
    job.slot = this.#sessions.size
    job.used = { cpuSeconds: 0, memoryKb: 0, virtualKb: 0, walltimeSeconds: 0 }
    job.comment =
      this.flavour === 'openpbs'
        ? `Job run at ${moment(now)} on (${this.node}:ncpus=${job.cpus})`
        : `Job started on ${moment(now)}`
    if (job.parent !== undefined && job.parent.startedMs === undefined) {
      job.parent.startedMs = job.parent.changedMs = now
      job.parent.comment = `Job Array Began at ${moment(now)}`
    }
    const { pid } = child
    child.once('error', () => {
      this.#ended(job, -1)
    })
    if (pid === undefined) return
    job.session = pid
    this.#sessions.set(pid, job)
    child.once('exit', (code, name) => {
      // What is left of its session ends with it.
      for (const left of measure(new Set([pid])).get(pid)?.pids ?? []) send(left, 'SIGKILL')
      this.#sessions.delete(pid)
      this.#ended(job, code ?? 128 + constants.signals[name ?? 'SIGKILL'])
    })
    if (job.walltimeSeconds !== undefined)
      this.#after(job.walltimeSeconds * 1000, () => {
        if (job.session !== pid || job.state !== 'R') return
        const ran = Math.ceil((Date.now() - (job.startedMs ?? 0)) / 1000)
        this.#say(job, `walltime ${ran} exceeded limit ${job.walltimeSeconds ?? 0}`)
        this.kill(job, 'walltime')
      })
  }

  #say(job: Job, what: string): void {
    const name = `${job.sequence}${job.index === undefined ? '' : `-${job.index}`}`
    appendFileSync(
      join(this.#spool, `${name}.${job.join === 'oe' ? 'OU' : 'ER'}`),
      `=>> PBS: job killed: ${what}\n`,
    )
  }

  /** First politely, then not: the whole session. */
  kill(job: Job, killer: Killer): void {
    const { session } = job
    if (session === undefined) return
    job.killer ??= killer
    job.changedMs = Date.now()
    const signal = (name: NodeJS.Signals): void => {
      for (const pid of measure(new Set([session])).get(session)?.pids ?? []) send(pid, name)
    }
    signal('SIGTERM')
    this.#after(this.site.killDelayMs, () => {
      if (this.#sessions.get(session) === job) signal('SIGKILL')
    })
  }

  #ended(job: Job, status: number): void {
    const now = Date.now()
    const { killer } = job
    job.changedMs = now
    if (job.used !== undefined) job.used.walltimeSeconds = Math.round((now - (job.startedMs ?? now)) / 1000)
    if (killer === 'purge') return
    if (killer === 'requeue' || (killer === 'node' && job.rerunable)) {
      job.state = 'Q'
      job.substate = 10
      job.session = undefined
      job.startedMs = undefined
      job.used = undefined
      this.schedule()
      return
    }
    this.#stageOut(job)
    job.state = 'done'
    job.endedMs = now
    job.exit = killer === undefined ? status : KILLED[this.flavour][killer]
    job.substate = killer === 'qdel' ? 91 : job.exit === 0 ? 92 : 93
    if (this.flavour === 'openpbs') {
      const end =
        killer === 'qdel'
          ? ` and terminated by ${job.killedBy ?? job.owner}@${this.site.host}`
          : job.exit === 0
            ? ' and finished'
            : ' and failed'
      if (killer !== 'qdel') job.comment = `${job.comment ?? ''}${end}`
      if (job.parent !== undefined && this.isOver(job.parent)) {
        job.parent.endedMs = job.parent.changedMs = now
      }
    }
    this.#after(this.site.keepCompletedSeconds * 1000, () => {
      if (this.flavour === 'torque') this.forget(job.parent ?? job)
    })
    this.schedule()
    if (this.flavour === 'torque' && !this.hasHistory) this.forget(job.parent ?? job)
  }

  forget(job: Job): void {
    if (this.isOver(job)) this.jobs.delete(job.sequence)
  }

  #stageOut(job: Job): void {
    const base = join(this.#spool, `${job.sequence}${job.index === undefined ? '' : `-${job.index}`}`)
    for (const [kind, path] of [
      ['OU', job.stdout],
      ['ER', job.stderr],
    ] as const) {
      if (kind === 'ER' && job.join === 'oe') continue
      try {
        if (path !== '/dev/null') copyFileSync(`${base}.${kind}`, path)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === undefined) throw error
        continue // it stays in the spool, as with the real one
      }
      rmSync(`${base}.${kind}`, { force: true })
    }
    rmSync(`${base}.SC`, { force: true })
  }

  #watch(): void {
    if (this.#has('node-down')) for (const job of this.#sessions.values()) this.kill(job, 'node')
    const now = measure(new Set(this.#sessions.keys()))
    for (const [session, job] of this.#sessions) {
      const seen = now.get(session)
      if (seen === undefined || job.used === undefined) continue
      job.used.memoryKb = Math.max(job.used.memoryKb, seen.memoryKb)
      job.used.virtualKb = Math.max(job.used.virtualKb, seen.virtualKb)
      job.used.cpuSeconds = Math.max(job.used.cpuSeconds, seen.cpuSeconds)
      job.used.walltimeSeconds = Math.round((Date.now() - (job.startedMs ?? 0)) / 1000)
      if (job.memoryKb !== undefined && seen.memoryKb > job.memoryKb && job.killer === undefined) {
        this.#say(job, `mem ${seen.memoryKb}kb exceeded limit ${job.memoryKb}kb`)
        this.kill(job, 'memory')
      }
    }
    this.schedule()
  }

  /** All running jobs are gone, without a word. */
  vanish(): void {
    for (const job of [...this.#sessions.values()]) this.purge(job)
  }
  purge(job: Job): void {
    for (const one of job.elements.length > 0 ? job.elements : [job]) {
      if (one.session !== undefined && one.state === 'R') this.kill(one, 'purge')
      one.state = 'done'
    }
    this.jobs.delete((job.parent ?? job).sequence)
  }

  #after(ms: number, act: () => void): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer)
        act()
      },
      Math.min(ms, 2 ** 31 - 1),
    )
    this.#timers.add(timer)
  }

  stop(): void {
    clearInterval(this.#look)
    for (const timer of this.#timers) clearTimeout(timer)
    for (const { pids } of measure(new Set(this.#sessions.keys())).values())
      for (const pid of pids) send(pid, 'SIGKILL')
  }
}
