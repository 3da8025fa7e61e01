import { expect } from 'chai'
import fc from 'fast-check'
import { chooseJobs, fits, type Demand, type RunningDemand, type WaitingDemand } from '#src/backend/slots.js'

const TOTAL: Demand = { cpus: 8, memoryBytes: 64, gpus: 2 }
const demand = {
  cpus: fc.integer({ min: 1, max: 8 }),
  memoryBytes: fc.integer({ min: 1, max: 64 }),
  gpus: fc.integer({ min: 0, max: 2 }),
}
const waitingJobs = fc.array(fc.record({ ...demand, walltimeMs: fc.integer({ min: 1, max: 100 }) }), {
  maxLength: 12,
})
const runningJobs = fc
  .array(fc.record({ ...demand, endsAtMs: fc.integer({ min: 0, max: 100 }) }), { maxLength: 6 })
  .map((jobs) =>
    jobs.reduce<RunningDemand[]>((kept, job) => (fits(job, left(kept)) ? [...kept, job] : kept), []),
  )

const left = (jobs: readonly Demand[]): Demand =>
  jobs.reduce(
    (room, job) => ({
      cpus: room.cpus - job.cpus,
      memoryBytes: room.memoryBytes - job.memoryBytes,
      gpus: room.gpus - job.gpus,
    }),
    TOTAL,
  )

/** When a job could start if nothing else did: enough of these must be over. */
function startOf(job: Demand, running: readonly RunningDemand[]): number {
  if (fits(job, left(running))) return 0
  const ends = running.map(({ endsAtMs }) => endsAtMs).sort((a, b) => a - b)
  return ends.find((end) => fits(job, left(running.filter(({ endsAtMs }) => endsAtMs > end)))) ?? Infinity
}

const job = (cpus: number, walltimeMs = 10): WaitingDemand => ({ cpus, memoryBytes: 1, gpus: 0, walltimeMs })

describe('slots', () => {
  it('are given in order of arrival while there is room', () => {
    expect(chooseJobs(TOTAL, [], [job(4), job(3), job(2), job(1)], 0)).to.deep.equal([0, 1, 3])
  })

  it('are not given to a job that would keep the head waiting', () => {
    const running = [{ ...job(6), endsAtMs: 50 }]
    expect(chooseJobs(TOTAL, running, [job(8), job(2, 100), job(1, 50)], 0)).to.deep.equal([2])
  })

  it('are given past the head to a job that takes nothing the head needs', () => {
    const running = [{ ...job(6), endsAtMs: 50 }]
    expect(chooseJobs(TOTAL, running, [job(6), job(2, 1000), job(1, 1000)], 0)).to.deep.equal([1])
  })

  it('are not kept free for a job that can never run here', () => {
    expect(chooseJobs(TOTAL, [], [job(9), job(8, 1000)], 0)).to.deep.equal([1])
  })

  it('are never given twice', () => {
    fc.assert(
      fc.property(runningJobs, waitingJobs, (running, waiting) => {
        const chosen = chooseJobs(TOTAL, running, waiting, 0)
        const room = left([...running, ...chosen.map((index) => waiting[index] as WaitingDemand)])
        expect(Math.min(room.cpus, room.memoryBytes, room.gpus)).to.be.at.least(0)
        expect([...chosen].sort((a, b) => a - b)).to.deep.equal(chosen)
      }),
    )
  })

  it('let no job go ahead that makes the head start later', () => {
    fc.assert(
      fc.property(runningJobs, waitingJobs, (running, waiting) => {
        const chosen = chooseJobs(TOTAL, running, waiting, 0)
        const head = waiting.findIndex((_, index) => !chosen.includes(index))
        if (head === -1) return
        const toRunning = (index: number): RunningDemand => {
          const one = waiting[index] as WaitingDemand
          return { ...one, endsAtMs: one.walltimeMs }
        }
        const ahead = chosen.filter((index) => index < head).map(toRunning)
        const all = chosen.map(toRunning)
        const one = waiting[head] as WaitingDemand
        expect(startOf(one, [...running, ...all])).to.equal(startOf(one, [...running, ...ahead]))
      }),
      { numRuns: 500 },
    )
  })
})
