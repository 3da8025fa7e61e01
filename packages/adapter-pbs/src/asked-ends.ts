/** Jobs whose end was asked for from here. */

import type { JobId, JobStatus } from '@orbweaver/core'

/** Far more than are under way at once. */
const MOST = 50_000
/** By which PBS ends a job that is deleted. */
const DELETING: readonly (string | undefined)[] = ['SIGTERM', 'SIGKILL']
/** Shorter than servers keep what has ended, so that a job that had come to its own end would still be known. */
const STILL_KNOWN_MS = 60_000

interface Asked {
  readonly atMs: number
  /** PBS has not known it since, although it was there just before. */
  readonly isGone: boolean
}

/**
 * A job that is deleted in the moment in which it starts leaves a record that says less than who asked for its end knows:
 * - OpenPBS 23.06: it misses the polite signal and is killed when the delay for that is over. The record tells of the signal
 *   alone (substate 93, "and failed", Exit_status 265).
 * - Torque ("MOM rejected signal during delete" in the log of the server): it is gone without a record at once, while its
 *   processes are ended some seconds later.
 */
export class AskedEnds {
  readonly #asked = new Map<JobId, Asked>()
  /** When a job was last seen that had not ended. */
  readonly #live = new Map<JobId, number>()

  add(ids: readonly JobId[], nowMs: number): void {
    for (const id of ids)
      if (this.#asked.get(id)?.isGone !== true) this.#asked.set(id, { atMs: nowMs, isGone: false })
    for (const id of this.#asked.keys()) {
      if (this.#asked.size <= MOST) break
      this.#asked.delete(id)
    }
  }

  /**
   * @param statuses - of those that PBS knows among the ids
   * @param purges - a job that was deleted may be gone without a record, where others that have ended have one
   */
  told(
    ids: readonly JobId[],
    statuses: ReadonlyMap<JobId, JobStatus>,
    { purges, nowMs }: { readonly purges: boolean; readonly nowMs: number },
  ): ReadonlyMap<JobId, JobStatus> {
    const told = new Map(statuses)
    for (const id of ids) {
      const status = statuses.get(id)
      const asked = this.#asked.get(id)
      if (status === undefined) {
        const live = this.#live.get(id)
        this.#live.delete(id)
        if (asked === undefined) continue
        const isGone = purges && live !== undefined && nowMs - live < STILL_KNOWN_MS
        if (isGone) this.#asked.set(id, { ...asked, isGone })
        if (isGone || asked.isGone) told.set(id, gone(id, asked.atMs))
      } else if (status.phase === 'finished') {
        this.#live.delete(id)
        if (asked !== undefined && status.outcome === 'failed' && DELETING.includes(status.signal))
          told.set(id, cancelled(status, asked.atMs))
      } else this.#live.set(id, nowMs)
    }
    return told
  }
}

function cancelled(status: JobStatus, atMs: number): JobStatus {
  const text = 'it was cancelled from here, and ended by a signal'
  return { ...status, outcome: 'cancelled', evidence: [...status.evidence, { source: 'engine', text, atMs }] }
}

const gone = (id: JobId, atMs: number): JobStatus => ({
  id,
  phase: 'finished',
  outcome: 'cancelled',
  restarts: 0,
  native: { state: 'gone', reason: 'cancelled' },
  evidence: [
    {
      source: 'engine',
      text: 'it was there when it was cancelled from here, and PBS forgot it at once',
      atMs,
    },
  ],
})
