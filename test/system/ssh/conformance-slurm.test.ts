/** The kit of backends on a real Slurm behind a real OpenSSH server. All jobs are an unprivileged account's. */

import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { createSlurmBackend } from '@orbweaver/adapter-slurm'
import { claimsAside, inArrays, listClaims, unreliable, type BackendHarness } from '@orbweaver/conformance'
import { systemClock, type ClusterBackend, type CommandResult, type Transport } from '@orbweaver/core'
import { expect } from 'chai'
import {
  hasMemoryController,
  slurmLabProblem,
  startSlurmLab,
  type SlurmLab,
} from '../../lab/slurm/slurm-lab.js'
import { sshLabProblem, startSshLab, type RealSshLab } from '../../lab/ssh/ssh-lab.js'
import { skip } from '../../support/skip.js'
import { PROGRAMS } from '../slurm/support/programs.js'
import { owners } from './support/owners.js'

const CLAIMS = listClaims()
  .filter(({ port }) => port === 'backend')
  .map(({ id }) => id)
/** Claims wait for a scheduler most of the time: so many go on at once, each over a connection of its own. */
const LANES = 3
const KILLED_FOR_ITS_WALLTIME = ['B3.4', 'B10.6']

/** Each lane takes the next claim of all. */
function lanes(claims: readonly string[]): readonly (readonly string[])[] {
  return Array.from({ length: LANES }, (_, lane) => claims.filter((_claim, index) => index % LANES === lane))
}

describe('conformance of Slurm over SSH', function () {
  this.timeout(400_000)
  let slurm: SlurmLab | undefined
  let ssh: RealSshLab | undefined
  const seen = new Set<number>()
  const ways = [
    { title: 'with arrays', arrays: true, nodes: [1, 2, 3, 7] },
    { title: 'without arrays', arrays: false, nodes: [4, 5, 6, 8] },
  ].map(({ title, arrays, nodes }) => ({
    title,
    suites: [
      ...lanes(CLAIMS.filter((id) => !KILLED_FOR_ITS_WALLTIME.includes(id))),
      KILLED_FOR_ITS_WALLTIME,
    ].map((only, lane) => claimsAside(harness(arrays, nodes[lane] ?? 1), { claimTimeoutMs: 240_000, only })),
  }))

  before(async function () {
    const problem = sshLabProblem() ?? slurmLabProblem()
    if (problem !== undefined) skip(this, problem)
    const all = [1, 2, 3, 4, 5, 6, 7, 8]
    slurm = await startSlurmLab({
      nodes: all.length,
      cpus: 64,
      cgroup: hasMemoryController(),
      extra: all.map((node) => `PartitionName=only${node} Nodes=node${node} MaxTime=60 State=UP`).join('\n'),
    })
    // sshd without PAM takes an account with "!" as its password for a locked one.
    execFileSync('usermod', ['-p', '*', slurm.account.name])
    ssh = await startSshLab({
      account: slurm.account.name,
      environment: `SLURM_CONF=${slurm.environment['SLURM_CONF'] ?? ''}`,
    })
    for (const { suites } of ways) for (const suite of suites) suite.start()
  })
  after(async () => {
    await ssh?.stop()
    await slurm?.stop()
  })

  for (const { title, suites } of ways) {
    describe(title, () => {
      for (const suite of suites) suite.report()
    })
  }
  // After all of them: mocha runs the tests of a suite before those of the suites in it.
  describe('all in all', () => {
    it('jobs ran as the account that logged in', () => {
      expect([...seen]).to.deep.equal([slurm?.account.uid])
    })
  })

  function harness(arrays: boolean, node: number): BackendHarness {
    let transport: Transport | undefined
    return {
      // One second less than a minute: a claim that adds one stays within it.
      shortestWalltimeSeconds: 59,
      deadlineMs: 200_000,
      manyJobs: 20,
      create: async () => {
        if (ssh === undefined || slurm === undefined) throw new Error('the labs are not up')
        const lab = slurm
        transport ??= ssh.connect()
        const { files, runner } = transport
        const folder = ssh.folder()
        const scheduler = unreliable(runner, {
          isProgram: ([program = '']) => PROGRAMS.includes(program),
          isSubmit: ([program]) => program === 'sbatch',
          away: () => SLURM_AWAY,
        })
        const made: ClusterBackend[] = []
        const open = (): ClusterBackend => {
          const backend = createSlurmBackend({
            config: { arrays, partition: `only${node}`, enforcesMemory: true },
            transport: { runner: scheduler.runner, files },
            clock: systemClock,
            workRoot: folder,
            commands: { retry: { attempts: 2, firstMs: 100 } },
          })
          made.push(backend)
          return arrays ? inArrays(backend, files, folder) : backend
        }
        const workspace = path.posix.join(folder, 'workspace')
        await files.mkdir(workspace)
        const place = { transport, folder: workspace }
        return {
          backend: open(),
          workspace: async () => place,
          loseNextAnswer: async () => scheduler.loseNextAnswer(),
          outage: async (away) => scheduler.setAway(away),
          reopen: async () => open(),
          dispose: async () => {
            await lab.run(['scancel', `--partition=only${node}`])
            for (const backend of made) await backend.close()
            for (const uid of owners(workspace)) seen.add(uid)
            fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
          },
        }
      },
    }
  }
})

/** What Slurm's programs say when nobody answers. */
const SLURM_AWAY: CommandResult = {
  exitCode: 1,
  stdout: '',
  stderr: 'error: Socket timed out on send/recv operation\n',
}
