import type { DataStore } from '@orbweaver/core'
import { InMemoryStore, type InMemoryStoreOptions } from '@orbweaver/core/testing'
import type { StoreHarness } from '@orbweaver/conformance'

export interface MemoryStoreLabOptions extends InMemoryStoreOptions {
  /** Put something wrong in front of the store. */
  readonly wrap?: (store: InMemoryStore) => DataStore
}

export function memoryStoreHarness(options: MemoryStoreLabOptions = {}): StoreHarness {
  const { wrap = (store) => store, ...rest } = options
  return {
    seedsHidden: true,
    // The double lives in memory: sizes that show what they should, and no more.
    largeFile: { bytes: 1_500_000, maxGrowthBytes: undefined },
    manyFiles: 30,
    async create() {
      const store = new InMemoryStore(rest)
      const second = store.second()
      return {
        store: wrap(store),
        async seed(projects) {
          store.seed(...projects)
        },
        async second() {
          return wrap(second)
        },
        async outage(away) {
          store.outage(away)
        },
        async bytesReceived() {
          return store.bytesReceived + second.bytesReceived
        },
        async dispose() {
          await store.close()
        },
      }
    },
  }
}
