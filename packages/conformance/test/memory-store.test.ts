import { dataStoreSuite } from '@orbweaver/conformance'
import { memoryStoreHarness } from './doubles/memory-store.js'

describe('the in-memory store', () => {
  dataStoreSuite(memoryStoreHarness())
})

describe('an in-memory store with MD5 checksums, the notebook’s words and no change feed', () => {
  dataStoreSuite(memoryStoreHarness({ checksums: 'md5', changeFeed: false, words: 'notebook' }))
})

describe('an in-memory store without checksums', () => {
  dataStoreSuite(memoryStoreHarness({ checksums: 'none' }), { only: ['S4', 'S5'] })
})

for (const resultsOn of ['subject', 'project'] as const) {
  describe(`the in-memory store, for results on ${resultsOn}s`, () => {
    dataStoreSuite({ ...memoryStoreHarness(), resultsOn }, { only: ['S2', 'S3', 'S5'] })
  })
}
