/** The conformance kit on a real Slurm, with job arrays and without. */

import { createSlurmBackend } from '@orbweaver/adapter-slurm'
import { claimsAside, inArrays, listClaims, type BackendHarness } from '@orbweaver/conformance'
import {
  createLocalTransport,
  systemClock,
  type ClusterBackend,
  type CommandResult,
  type Transport,
} from '@orbweaver/core'
import fs from 'node:fs'
import path from 'node:path'
import {
  hasMemoryController,
  slurmLabProblem,
  startSlurmLab,
  type SlurmLab,
} from '../../lab/slurm/slurm-lab.js'
import { skip } from '../../support/skip.js'

/** Slurm counts in minutes and looks in coarse steps: these take more than a minute each. */
const SLOW = ['B3.4', 'B10.6']
/** Where those of both ways run side by side: the last node. */
const SHARED_NODE = 7
/** These take the controller away from everybody. */
const OUTAGE = 'B8.'

const claims = listClaims()
  .filter(({ port }) => port === 'backend')
  .map(({ id }) => id)
const quick = claims.filter((id) => !SLOW.includes(id) && !id.startsWith(OUTAGE))
/** Claims wait for Slurm most of the time, so each way tries so many at once. */
const LANES = 3
const outages = claims.filter((id) => id.startsWith(OUTAGE))

describe('conformance on a real Slurm', function () {
  this.timeout(300_000)
  let lab: SlurmLab

  // Each lane of each way has a node of its own: a claim that fills its node is in nobody's way.
  const ways = [
    { title: 'with arrays: each job is an element of one', arrays: true, nodes: [1, 2, 3] },
    { title: 'without arrays', arrays: false, nodes: [4, 5, 6] },
  ].map(({ title, arrays, nodes }) => ({
    title,
    quick: nodes.map((node, lane) =>
      claimsAside(harness(arrays, node), {
        claimTimeoutMs: 120_000,
        only: quick.filter((_, index) => index % LANES === lane),
      }),
    ),
    slow: SLOW.map((id) =>
      claimsAside(harness(arrays, SHARED_NODE), { claimTimeoutMs: 240_000, only: [id] }),
    ),
    outage: claimsAside(harness(arrays, nodes[0] ?? SHARED_NODE), {
      claimTimeoutMs: 120_000,
      only: outages,
    }),
  }))

  before(async function () {
    const problem = slurmLabProblem()
    if (problem !== undefined) skip(this, problem)
    lab = await startSlurmLab({
      nodes: SHARED_NODE,
      cpus: 64,
      cgroup: hasMemoryController(),
      extra: [...Array(SHARED_NODE).keys()]
        .map((index) => index + 1)
        .map((node) => `PartitionName=only${node} Nodes=node${node} MaxTime=60 State=UP`)
        .join('\n'),
    })
    for (const way of ways) for (const suite of [...way.slow, ...way.quick]) suite.start()
  })
  after(async () => {
    await lab?.stop()
  })

  for (const way of ways) {
    describe(way.title, () => {
      for (const suite of [...way.quick, ...way.slow]) suite.report()
    })
  }
  for (const way of ways) {
    describe(`${way.title}, when the controller is away`, () => {
      before(() => way.outage.start())
      way.outage.report()
    })
  }

  function harness(arrays: boolean, node: number): BackendHarness {
    return {
      // One second less than a minute: a claim that adds one stays within it.
      shortestWalltimeSeconds: 59,
      deadlineMs: 200_000,
      manyJobs: 40,
      create: async () => {
        const transport = createLocalTransport()
        const folder = fs.mkdtempSync(path.join(lab.directory, 'claim-'))
        let loses = false
        const runner: Transport['runner'] = {
          run: async (command, options) => {
            const result = await transport.runner.run(command, options)
            if (!loses || command.argv[0] !== 'sbatch') return result
            loses = false
            return LOST
          },
        }
        const made: ClusterBackend[] = []
        const open = (): ClusterBackend => {
          const backend = createSlurmBackend({
            config: {
              conf: lab.environment['SLURM_CONF'] ?? '',
              arrays,
              partition: `only${node}`,
              user: 'root',
              enforcesMemory: true,
            },
            transport: { runner, files: transport.files },
            clock: systemClock,
            workRoot: folder,
            commands: { retry: { attempts: 2, firstMs: 100 } },
          })
          made.push(backend)
          return arrays ? inArrays(backend, transport.files, folder) : backend
        }
        const workspace = path.join(folder, 'workspace')
        fs.mkdirSync(workspace)
        return {
          backend: open(),
          workspace: async () => ({ transport, folder: workspace }),
          loseNextAnswer: async () => {
            loses = true
          },
          outage: async (away) => (away ? lab.stopController() : lab.restartController()),
          reopen: async () => open(),
          dispose: async () => {
            // Others are at work on the slow claims' node; what those leave has ended.
            const words = ['--user=root', `--partition=only${node}`]
            if (node !== SHARED_NODE) await lab.run(['scancel', ...words])
            for (const backend of made) await backend.close()
            await transport.close()
            fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
          },
        }
      },
    }
  }
})

/** What sbatch says when its answer gets lost. */
const LOST: CommandResult = {
  exitCode: 1,
  stdout: '',
  stderr: 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n',
}
