/**
 * The kit against a live Slurm: `ORBWEAVER_SLURM_CONF` names the slurm.conf of one where this user may submit, whose nodes see
 * the temporary folder of this machine. It needs some minutes, since Slurm counts walltimes in minutes.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clusterBackendSuite } from '@orbweaver/conformance'
import {
  createLocalTransport,
  systemClock,
  type ClusterBackend,
  type CommandRunner,
  type JobId,
} from '@orbweaver/core'
import { createSlurmBackend } from '@orbweaver/adapter-slurm'
import { skipTest } from '@orbweaver/core/testing'

const conf = process.env['ORBWEAVER_SLURM_CONF'] ?? ''
/** As 22.05.8 says it. */
const AWAY = 'Unable to contact slurm controller (connect failure)'
const TIMED_OUT = 'Batch job submission failed: Socket timed out on send/recv operation'

if (conf === '') {
  it('conforms on a live Slurm, named in ORBWEAVER_SLURM_CONF', function () {
    skipTest(this, 'ORBWEAVER_SLURM_CONF is not set; the system tests run the kit on a real Slurm')
  })
}

for (const arrays of conf === '' ? [] : [true, false]) {
  describe(`slurm, ${arrays ? 'with' : 'without'} arrays`, () => {
    clusterBackendSuite(
      {
        manyJobs: 40,
        shortestWalltimeSeconds: 60,
        deadlineMs: 170_000,
        async create() {
          const transport = createLocalTransport()
          const folder = mkdtempSync(join(tmpdir(), 'orbweaver-slurm-'))
          const ids: JobId[] = []
          let away = false
          let losesAnswer = false
          const runner: CommandRunner = {
            async run(command, options) {
              const [program = ''] = command.argv
              if (away && program !== 'id')
                return { exitCode: 1, stdout: '', stderr: `${program}: error: ${AWAY}` }
              const result = await transport.runner.run(command, options)
              if (!losesAnswer || program !== 'sbatch') return result
              losesAnswer = false
              return { exitCode: 1, stdout: '', stderr: `sbatch: error: ${TIMED_OUT}` }
            },
          }
          /** What is submitted is remembered, so that nothing but that is cancelled at the end. */
          const open = (): ClusterBackend => {
            const backend = createSlurmBackend({
              config: { conf, arrays },
              transport: { runner, files: transport.files },
              clock: systemClock,
              workRoot: folder,
              commands: { retry: { attempts: 2, firstMs: 50 } },
            })
            return new Proxy<ClusterBackend>(backend, {
              get(target, key) {
                const value = Reflect.get(target, key, target) as unknown
                if (typeof value !== 'function') return value
                return async (...words: readonly unknown[]) => {
                  const answer = (await value.call(target, ...words)) as unknown
                  if (key === 'submit') {
                    for (const outcome of answer as Awaited<ReturnType<ClusterBackend['submit']>>)
                      if (outcome.kind === 'accepted') ids.push(outcome.id)
                  }
                  return answer
                }
              },
            })
          }
          const backend = open()
          return {
            backend,
            workspace: async () => ({ transport, folder }),
            loseNextAnswer: async () => {
              losesAnswer = true
            },
            outage: async (now) => {
              away = now
            },
            reopen: async () => open(),
            dispose: async () => {
              away = false
              await backend.cancel(ids)
              rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
              await transport.close()
            },
          }
        },
      },
      { claimTimeoutMs: 180_000 },
    )
  })
}
