/** Which waiting jobs start now. Pure. */

/** What a job takes of the machine. */
export interface Demand {
  readonly cpus: number
  readonly memoryBytes: number
  readonly gpus: number
}

export interface RunningDemand extends Demand {
  /** When it is over at the latest. Epoch milliseconds. */
  readonly endsAtMs: number
}

export interface WaitingDemand extends Demand {
  readonly walltimeMs: number
}

/**
 * First come, first served, with backfill: when the job at the head does not fit, it is given the time at which enough of
 * the running ones must be over, and a later job may go ahead only if it is over by then or takes nothing the head
 * needs. So a big job waits no longer than without the small ones, and the small ones use what would lie idle.
 *
 * @param waiting - in order of arrival
 * @returns indices into `waiting`, in order
 */
export function chooseJobs(
  total: Demand,
  running: readonly RunningDemand[],
  waiting: readonly WaitingDemand[],
  nowMs: number,
): readonly number[] {
  const active = [...running]
  let free = running.reduce(minus, total)
  /** What is left beside the head at the time it starts; undefined while no head waits. */
  let beside: Demand | undefined
  let headStartsAtMs = 0
  const chosen: number[] = []
  for (const [index, job] of waiting.entries()) {
    if (!fits(job, free)) {
      if (beside === undefined) {
        const shadow = shadowOf(job, free, active)
        // It can never start on this machine (the configuration got smaller): it blocks nobody.
        if (shadow !== undefined) {
          beside = shadow.beside
          headStartsAtMs = shadow.atMs
        }
      }
      continue
    }
    const endsAtMs = nowMs + job.walltimeMs
    if (beside !== undefined && endsAtMs > headStartsAtMs) {
      if (!fits(job, beside)) continue
      beside = minus(beside, job)
    }
    chosen.push(index)
    free = minus(free, job)
    active.push({ ...job, endsAtMs })
  }
  return chosen
}

function shadowOf(
  head: Demand,
  free: Demand,
  active: readonly RunningDemand[],
): { readonly atMs: number; readonly beside: Demand } | undefined {
  let room = free
  for (const job of [...active].sort((a, b) => a.endsAtMs - b.endsAtMs)) {
    room = plus(room, job)
    if (fits(head, room)) return { atMs: job.endsAtMs, beside: minus(room, head) }
  }
  return undefined
}

/** Whether a job has room. */
export const fits = (job: Demand, room: Demand): boolean =>
  job.cpus <= room.cpus && job.memoryBytes <= room.memoryBytes && job.gpus <= room.gpus

const minus = (a: Demand, b: Demand): Demand => ({
  cpus: a.cpus - b.cpus,
  memoryBytes: a.memoryBytes - b.memoryBytes,
  gpus: a.gpus - b.gpus,
})

const plus = (a: Demand, b: Demand): Demand => ({
  cpus: a.cpus + b.cpus,
  memoryBytes: a.memoryBytes + b.memoryBytes,
  gpus: a.gpus + b.gpus,
})
