/** The kit on a real PBS, with arrays and without: see `live.ts` for the variables that name it. */

import { claimsAside } from '@orbweaver/conformance'
import { liveHarness, livePbsProblem } from './live.js'
import { skipTest } from '@orbweaver/core/testing'

describe('conformance on a real PBS', function () {
  this.timeout(600_000)
  const problem = livePbsProblem()
  if (problem !== undefined) {
    it('conforms', function () {
      skipTest(this, problem)
    })
    return
  }
  const ways = [true, false].map((arrays) => ({
    title: arrays ? 'with arrays' : 'without arrays',
    claims: claimsAside(liveHarness(arrays), { claimTimeoutMs: 180_000 }),
  }))
  before(() => {
    for (const { claims } of ways) claims.start()
  })
  for (const { title, claims } of ways) {
    describe(title, () => {
      claims.report()
    })
  }
})
