/** The conformance kit on a real PBS, named by variables of the environment (see the README of the adapter). */

import { claimsAside } from '@orbweaver/conformance'
import { liveHarness, livePbsProblem } from '../../../packages/adapter-pbs/dist-test/live.js'
import { skip } from '../../support/skip.js'

describe('conformance on a real PBS', function () {
  this.timeout(600_000)
  const problem = livePbsProblem()
  if (problem !== undefined) {
    it('conforms, with arrays and without', function () {
      skip(this, problem)
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
