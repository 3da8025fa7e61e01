/** One engine per project and work root at a time. */

import { LeaseHeldError } from '../errors.js'
import type { Journal, LeaseHolder } from '../ports/journal.js'
import type { Clock } from '../ports/services.js'
import { bootId, processStart, thisHost } from './process-identity.js'

/** A holder on another machine that has not been heard of for so long is dead. */
const STALE_MS = 90_000
const BEAT_MS = 15_000
/** How often a waiting engine looks whether the lease is free. */
const LOOK_MS = 1_000

/** Projects served by this very process, through a journal: the journal itself cannot tell two runs of one process apart. */
const heldHere = new WeakMap<Journal, Map<string, LeaseHolder>>()

function acquire(
  journal: Journal,
  projects: readonly string[],
  holder: LeaseHolder,
): { readonly project: string; readonly holder: LeaseHolder } | undefined {
  const mine = heldHere.get(journal) ?? new Map<string, LeaseHolder>()
  heldHere.set(journal, mine)
  for (const project of projects) {
    const other = mine.get(project)
    if (other !== undefined) return { project, holder: other }
  }
  const taken = journal.acquireLeases(projects, holder, STALE_MS)
  if (taken === undefined) for (const project of projects) mine.set(project, holder)
  return taken
}

export class Lease {
  private timer: NodeJS.Timeout | undefined
  private readonly lost = new AbortController()

  private constructor(
    private readonly journal: Journal,
    private readonly clock: Clock,
    private readonly projects: readonly string[],
    private readonly holder: LeaseHolder,
  ) {}

  /** Aborts when another engine took the lease over (this machine slept too long). */
  get signal(): AbortSignal {
    return this.lost.signal
  }

  /** @throws LeaseHeldError unless `wait` */
  static async acquire(
    journal: Journal,
    clock: Clock,
    projects: readonly string[],
    options: {
      readonly purpose: string
      readonly wait: boolean
      readonly signal?: AbortSignal
      readonly onWait?: (message: string) => void
    },
  ): Promise<Lease> {
    let told = false
    for (;;) {
      const nowMs = clock.now()
      const holder: LeaseHolder = {
        host: thisHost(),
        pid: process.pid,
        processStart: processStart(process.pid) ?? '',
        bootId: bootId(),
        sinceMs: nowMs,
        heartbeatMs: nowMs,
        purpose: options.purpose,
      }
      const taken = acquire(journal, projects, holder)
      if (taken === undefined) return new Lease(journal, clock, projects, holder).start()
      const { host, pid, purpose, sinceMs } = taken.holder
      const message = `Project ${taken.project} is being served by \`orbweaver ${purpose}\` (process ${pid} on ${host}, since ${new Date(sinceMs).toISOString()}).`
      if (!options.wait) {
        throw new LeaseHeldError(message, {
          details: { project: taken.project, host, pid, purpose },
          hint: 'Nothing was done. Try again when it has finished, or use --wait.',
        })
      }
      if (!told) options.onWait?.(message)
      told = true
      await clock.sleep(LOOK_MS, options.signal === undefined ? {} : { signal: options.signal })
    }
  }

  release(): void {
    clearInterval(this.timer)
    const mine = heldHere.get(this.journal)
    for (const project of this.projects) mine?.delete(project)
    this.journal.releaseLeases(this.projects, this.holder)
  }

  private start(): this {
    this.timer = setInterval(() => {
      if (this.journal.beatLeases(this.projects, { ...this.holder, heartbeatMs: this.clock.now() })) return
      clearInterval(this.timer)
      this.lost.abort(
        new LeaseHeldError(`Another engine has taken over ${this.projects.join(', ')}; this one stops.`, {
          hint: 'This happens when the machine was asleep or its clock was set. Start again when the other has finished.',
        }),
      )
    }, BEAT_MS)
    this.timer.unref()
    return this
  }
}
