import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { clusterBackendSuite } from '@orbweaver/conformance'
import { BackendUnavailableError, createLocalTransport, type ClusterBackend } from '@orbweaver/core'
import { findCgroupHome } from '#src/backend/cgroup.js'
import type { LocalBackend } from '#src/backend/local-backend.js'
import { Lab } from './lab.js'
import { skipTest } from '@orbweaver/core/testing'

for (const enforceMemory of ['watch', 'cgroup'] as const) {
  describe(`local backend, memory by ${enforceMemory}`, () => {
    before(function () {
      if (enforceMemory === 'cgroup' && findCgroupHome() === undefined) {
        skipTest(this, 'no memory cgroup can be made here')
      }
    })

    clusterBackendSuite(
      {
        async create() {
          const lab = new Lab()
          const transport = createLocalTransport()
          const options = { config: { enforceMemory } }
          let losesAnswer = false
          const lossy = (backend: LocalBackend): ClusterBackend =>
            new Proxy<ClusterBackend>(backend, {
              get(_target, key) {
                const value = Reflect.get(backend, key, backend) as unknown
                if (typeof value !== 'function') return value
                return async (...words: readonly unknown[]) => {
                  const answer = await (value.call(backend, ...words) as Promise<unknown>)
                  if (key !== 'submit' || !losesAnswer) return answer
                  losesAnswer = false
                  throw new BackendUnavailableError('the answer got lost')
                }
              },
            })
          let current = lab.open(options)
          const place = join(lab.folder, 'work')
          mkdirSync(place)
          return {
            backend: lossy(current),
            workspace: async () => ({ transport, folder: place }),
            loseNextAnswer: async () => {
              losesAnswer = true
            },
            // A killed engine says no goodbye; but in this process its timers would go on starting jobs.
            reopen: async () => {
              await current.close()
              current = lab.open(options)
              return lossy(current)
            },
            dispose: async () => {
              await lab.dispose()
              await transport.close()
            },
          }
        },
      },
      // The claims that have nothing to do with memory hold for both; they are tried once.
      enforceMemory === 'cgroup' ? { only: ['B3', 'B4.2'] } : {},
    )
  })
}
