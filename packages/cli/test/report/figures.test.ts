import type { JobRecord, TaskRecord, TaskState, TaskView } from '@orbweaver/core'
import { expect } from 'chai'
import { csvLines } from '#src/commands/report.js'
import { Figures, spread } from '#src/report/figures.js'

const GIB = 1024 ** 3

interface Made {
  readonly state?: TaskState
  readonly cause?: 'memory' | 'tool' | 'walltime'
  readonly job?: Partial<JobRecord>
}

function figuresOf(made: readonly Made[]): Figures {
  const figures = new Figures()
  for (const [index, { state = 'complete', cause, job }] of made.entries()) {
    const label = `P-x-S-x-E${index}-x-t1_v1`
    const view = { label, processor: 't1', node: { state, attempt: 1 } } as unknown as TaskView
    const record = {
      ...(cause !== undefined && { cause: { kind: cause, summary: `why ${index}`, evidence: [] } }),
      ...(job !== undefined && { job: { name: 'ow-1', backend: 'slurm', workspace: '/w', ...job } }),
    } as unknown as TaskRecord
    figures.add(view, record)
  }
  return figures
}

const only = (made: readonly Made[]) => {
  const [figures] = figuresOf(made).list()
  if (figures === undefined) throw new Error('no figures')
  return figures
}

const used = (peakMemoryBytes: number, elapsedSeconds = 600, more: Partial<JobRecord> = {}): Made => ({
  job: {
    memoryBytes: 8 * GIB,
    walltimeSeconds: 7200,
    cpus: 2,
    peakMemoryBytes,
    elapsedSeconds,
    cpuSeconds: 900,
    ...more,
  },
})

describe('figures of a report', () => {
  it('takes the nearest rank, so that every number was seen', () => {
    expect(spread([])).to.equal(undefined)
    expect(spread([7])).to.deep.equal({ jobs: 1, median: 7, p95: 7, max: 7 })
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index)
    expect(spread(hundred)).to.deep.equal({ jobs: 100, median: 50, p95: 95, max: 100 })
  })

  it('suggests less where far too much is asked for, with room above the most that was used', () => {
    const { memory, walltime, cpuHours, reservedHours } = only(Array.from({ length: 5 }, () => used(2 * GIB)))
    expect(memory).to.deep.include({ asked: 8 * GIB, suggested: 2.5 * GIB })
    expect(walltime).to.deep.include({ asked: 7200, suggested: 900 })
    expect(cpuHours).to.equal(1.25)
    expect(reservedHours).to.be.closeTo(5 / 3, 1e-9)
  })

  it('suggests nothing from few jobs, nor where what is asked for is about right', () => {
    expect(only(Array.from({ length: 4 }, () => used(2 * GIB))).memory.suggested).to.equal(undefined)
    expect(only(Array.from({ length: 5 }, () => used(7 * GIB))).memory.suggested).to.equal(undefined)
  })

  it('suggests more where the limit has killed jobs, and where it is nearly reached', () => {
    const killed: Made = { ...used(8 * GIB), state: 'failed', cause: 'memory' }
    expect(only([...Array.from({ length: 9 }, () => used(2 * GIB)), killed]).memory.suggested).to.equal(
      12 * GIB,
    )
    expect(only(Array.from({ length: 5 }, () => used(7.9 * GIB))).memory.suggested).to.equal(10 * GIB)
  })

  it('does not count what a failed job used: it may have ended early', () => {
    const early: Made = { ...used(1), state: 'failed', cause: 'tool' }
    const figures = only([early, used(2 * GIB)])
    expect(figures.memory.used).to.deep.equal({ jobs: 1, median: 2 * GIB, p95: 2 * GIB, max: 2 * GIB })
    expect(figures.jobs).to.equal(2)
  })

  it('groups failures by cause, most first, with a few examples', () => {
    const failed = (cause: 'tool' | 'memory'): Made => ({ state: 'failed', cause })
    const { failures, states } = only([failed('memory'), ...Array.from({ length: 5 }, () => failed('tool'))])
    expect(states).to.deep.equal({ failed: 6 })
    expect(failures.map(({ cause, tasks, examples }) => [cause, tasks, examples.length])).to.deep.equal([
      ['tool', 5, 3],
      ['memory', 1, 1],
    ])
    expect(failures[1]?.examples[0]).to.deep.equal({ label: 'P-x-S-x-E0-x-t1_v1', summary: 'why 0' })
  })

  it('knows the longest waits, and takes clocks that differ for no wait', () => {
    const waited = (seconds: number): Made => ({
      job: { submittedAtMs: 1_000_000, startedAtMs: 1_000_000 + seconds * 1000 },
    })
    const { longestWaits, queueWait } = only([waited(-5), waited(60), waited(7200), waited(5), waited(90)])
    expect(longestWaits.map(({ seconds }) => seconds)).to.deep.equal([7200, 90, 60])
    expect(queueWait).to.deep.equal({ jobs: 5, median: 60, p95: 7200, max: 7200 })
  })

  it('writes CSV with as many cells as heads', () => {
    const [head, ...rows] = csvLines(figuresOf([used(2 * GIB), { state: 'failed', cause: 'tool' }]).list())
    expect(rows).to.have.length(1)
    expect(rows[0]?.split(',')).to.have.length(head?.split(',').length ?? 0)
    expect(rows[0]).to.match(/^t1,2,.*tool=1/)
  })
})
