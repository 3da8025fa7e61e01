import { clusterBackendSuite } from '@orbweaver/conformance'
import { memoryBackendHarness } from './doubles/memory-backend.js'

describe('the in-memory backend', () => {
  clusterBackendSuite(memoryBackendHarness())
})

describe('an in-memory backend that can do little', () => {
  clusterBackendSuite(
    memoryBackendHarness({
      capabilities: {
        findsFinished: false,
        hold: false,
        enforcesWalltime: false,
        enforcesMemory: false,
        peakMemory: false,
      },
    }),
  )
})
