import { expect } from 'chai'
import fc from 'fast-check'
import { CAUSE_KINDS } from '#src/domain/cause.js'
import type { CauseKind, FailureCause } from '#src/domain/cause.js'
import { DEFAULT_REQUIREMENTS } from '#src/domain/requirements.js'
import { DEFAULT_RETRY, decideRetry, grownRequirements } from '#src/engine/retry.js'

const cause = (kind: CauseKind, exitCode?: number): FailureCause => ({
  kind,
  summary: '',
  evidence: [],
  ...(exitCode !== undefined && { exitCode }),
})

describe('decideRetry', () => {
  it('tries again after what the cluster did, not after what the tool did', () => {
    for (const kind of [
      'node',
      'preempted',
      'lost',
      'memory',
      'walltime',
      'staging',
      'upload',
      'killed',
    ] as const) {
      expect(decideRetry(cause(kind), {}, DEFAULT_RETRY).again, kind).to.equal(true)
    }
    for (const kind of ['tool', 'no-output', 'missing-output', 'rejected'] as const) {
      expect(decideRetry(cause(kind), {}, DEFAULT_RETRY).again, kind).to.equal(false)
    }
  })

  it('takes exit code 75 for a wish to be run again, and counts it apart', () => {
    const decision = decideRetry(cause('tool', 75), {}, DEFAULT_RETRY)
    expect(decision).to.deep.include({ again: true, countsAs: 'temporary', delaySeconds: 600 })
    expect(decideRetry(cause('tool', 1), {}, DEFAULT_RETRY).again).to.equal(false)
    expect(decideRetry(cause('tool', 75), { temporary: 10 }, DEFAULT_RETRY).again).to.equal(false)
  })

  it('ends: every kind is tried again exactly as often as its rule says', () => {
    for (const kind of CAUSE_KINDS) {
      let failures = 0
      while (decideRetry(cause(kind), { [kind]: failures }, DEFAULT_RETRY).again) failures += 1
      expect(failures, kind).to.equal(DEFAULT_RETRY.causes[kind].times)
    }
  })

  it('waits longer each time, a day at most', () => {
    const rules = { ...DEFAULT_RETRY.causes, node: { times: 1000, delaySeconds: 60, factor: 1 } }
    const policy = { ...DEFAULT_RETRY, causes: rules }
    let last = 0
    for (let failures = 0; failures < 1000; failures += 1) {
      const decision = decideRetry(cause('node'), { node: failures }, policy)
      if (!decision.again) throw new Error(decision.reason)
      expect(decision.delaySeconds).to.be.within(last, 86_400)
      last = decision.delaySeconds
    }
    expect(last).to.equal(86_400)
  })
})

describe('grownRequirements', () => {
  it('asks for half as much again after each failure for want of it', () => {
    const grown = grownRequirements(
      DEFAULT_REQUIREMENTS,
      { failures: { memory: 2, walltime: 1 } },
      DEFAULT_RETRY,
    )
    expect(grown.memoryBytes).to.equal(Math.ceil(DEFAULT_REQUIREMENTS.memoryBytes * 2.25))
    expect(grown.walltimeSeconds).to.equal(5400)
    expect(grown.cpus).to.equal(DEFAULT_REQUIREMENTS.cpus)
  })

  it('never goes below the base nor, where the base does not already, above the most', () => {
    const amount = fc.integer({ min: 1, max: 2 ** 40 })
    fc.assert(
      fc.property(amount, amount, fc.nat({ max: 5 }), (memoryBytes, maxMemoryBytes, memory) => {
        const base = { ...DEFAULT_REQUIREMENTS, memoryBytes }
        const grown = grownRequirements(base, { failures: { memory } }, { ...DEFAULT_RETRY, maxMemoryBytes })
        expect(grown.memoryBytes).to.be.within(memoryBytes, Math.max(memoryBytes, maxMemoryBytes))
      }),
    )
  })
})
