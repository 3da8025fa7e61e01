/** The kit on the fake Slurm: the same claims as on a live one, in seconds. */

import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { clusterBackendSuite, inArrays } from '@orbweaver/conformance'
import { createFakeLab, type FakeLab } from './fake-lab.js'

for (const arrays of [true, false]) {
  describe(`slurm, the fake one, ${arrays ? 'with' : 'without'} arrays`, () => {
    // One cluster for all claims, as on a real site; each claim has a work root of its own.
    let lab: FakeLab
    let serial = 0
    before(async () => {
      lab = await createFakeLab()
    })
    after(() => lab.dispose())

    clusterBackendSuite({
      manyJobs: 24,
      shortestWalltimeSeconds: 60,
      memory: { limitMb: 96, allocateMb: 192 },
      async create() {
        const folder = join(lab.folder, `claim-${++serial}`)
        mkdirSync(folder)
        const open = () => {
          const made = lab.open({ arrays }, { workRoot: folder })
          return arrays ? inArrays(made, lab.transport.files, folder) : made
        }
        const backend = open()
        return {
          backend,
          workspace: async () => ({ transport: lab.transport, folder }),
          loseNextAnswer: async () => {
            lab.fake.setFault('lose-answer', true)
          },
          outage: async (away) => {
            lab.fake.setFault('controller-down', away)
          },
          reopen: async () => open(),
          dispose: async () => {
            await backend.close()
            execFileSync(join(lab.fake.bin, 'scancel'), ['--me'])
          },
        }
      },
    })
  })
}
