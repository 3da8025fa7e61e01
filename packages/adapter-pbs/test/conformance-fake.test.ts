/** The kit on both fakes: the same claims as on a real server. They wait most of the time, so all four go on at once. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { claimsAside, inArrays, type BackendHarness } from '@orbweaver/conformance'
import { createFakeLab, type FakeLab } from './fake-lab.js'
import type { Flavour } from './fake/start.js'

describe('conformance on the fakes', function () {
  this.timeout(120_000)
  const labs: FakeLab[] = []
  const ways = (['openpbs', 'torque'] as const).flatMap((flavour) =>
    [true, false].map((arrays) => {
      let lab: FakeLab | undefined
      const claims = claimsAside(
        harness(flavour, arrays, () => {
          if (lab === undefined) throw new Error('the lab is not up yet')
          return lab
        }),
        { claimTimeoutMs: 60_000 },
      )
      const open = async (): Promise<void> => {
        labs.push((lab = await createFakeLab(flavour)))
        claims.start()
      }
      return { title: `${flavour}, ${arrays ? 'with' : 'without'} arrays`, claims, open }
    }),
  )
  before(async () => {
    await Promise.all(ways.map(({ open }) => open()))
  })
  after(async () => {
    await Promise.all(labs.map((lab) => lab.dispose()))
  })
  for (const { title, claims } of ways) {
    describe(title, () => {
      claims.report()
    })
  }
})

function harness(flavour: Flavour, arrays: boolean, labOf: () => FakeLab): BackendHarness {
  let claims = 0
  return {
    manyJobs: 12,
    memory: { limitMb: 96, allocateMb: 192 },
    async create() {
      const lab = labOf()
      const folder = join(lab.folder, `claim-${++claims}`)
      mkdirSync(folder)
      const reopen = async () => {
        const backend = lab.open({ arrays }, folder)
        // What it can do depends on what the server keeps; the first call asks.
        await backend.limits()
        return arrays ? inArrays(backend, lab.transport.files, folder) : backend
      }
      const backend = await reopen()
      return {
        backend,
        workspace: async () => ({ transport: lab.transport, folder }),
        loseNextAnswer: async () => {
          lab.fake.faults.set('lose-answer', true)
        },
        outage: async (away) => {
          lab.fake.faults.set('server-down', away)
        },
        reopen,
        // All cpus of the fake's node, until the gate is there.
        occupy: async () => {
          const asked = flavour === 'openpbs' ? 'select=1:ncpus=8' : 'nodes=1:ppn=8'
          const gate = join(folder, 'gate-of-occupy')
          const script = `until [ -e '${gate}' ]; do sleep 0.1; done`
          const words = ['-l', asked, '-o', '/dev/null', '-e', '/dev/null']
          spawnSync(join(lab.fake.bin, 'qsub'), words, { input: script })
          return async () => {
            writeFileSync(gate, '')
          }
        },
        dispose: async () => {
          await backend.close?.()
          lab.fake.faults.set('server-down', false)
          // One that ends in between is refused, which is as good.
          const run = (program: string, words: readonly string[]): string =>
            spawnSync(join(lab.fake.bin, program), [...words], { encoding: 'utf8' }).stdout
          const ids = run('qselect', ['-s', 'QHWR']).split('\n').filter(Boolean)
          if (ids.length > 0) run('qdel', ids)
        },
      }
    },
  }
}
