/** The kit of backends on both fakes of PBS behind a real OpenSSH server. All jobs are an unprivileged account's. */

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { createPbsBackend } from '@orbweaver/adapter-pbs'
import {
  claimsAside,
  inArrays,
  remembering,
  type BackendHarness,
  type ClaimsAside,
} from '@orbweaver/conformance'
import {
  jobId,
  systemClock,
  type ClusterBackend,
  type CommandRunner,
  type JobId,
  type Transport,
} from '@orbweaver/core'
import { expect } from 'chai'
import { sshLabProblem, startSshLab, type RealSshLab } from '../../lab/ssh/ssh-lab.js'
import { skip } from '../../support/skip.js'
import { owners } from './support/owners.js'

describe('conformance of PBS over SSH, on the fakes', function () {
  this.timeout(400_000)
  let ssh: RealSshLab | undefined
  const fakes: ChildProcess[] = []
  const seen = new Set<number>()
  const ways = (['openpbs', 'torque'] as const).flatMap((flavour) =>
    [true, false].map((arrays) => {
      let bin = ''
      const claims: ClaimsAside = claimsAside(
        harness(flavour, arrays, () => bin),
        { claimTimeoutMs: 120_000 },
      )
      const open = async (lab: RealSshLab): Promise<void> => {
        bin = await startFake(flavour, lab)
        claims.start()
      }
      return { title: `${flavour}, ${arrays ? 'with' : 'without'} arrays`, claims, open }
    }),
  )

  before(async function () {
    const problem = sshLabProblem()
    if (problem !== undefined) skip(this, problem)
    const lab = (ssh = await startSshLab())
    await Promise.all(ways.map(({ open }) => open(lab)))
  })
  after(async () => {
    for (const fake of fakes) fake.disconnect()
    for (const fake of fakes) if (fake.exitCode === null) await once(fake, 'exit')
    await ssh?.stop()
  })

  for (const { title, claims } of ways) describe(title, () => claims.report())
  // After all of them: mocha runs the tests of a suite before those of the suites in it.
  describe('all in all', () => {
    it('jobs ran as the account that logged in', () => {
      expect([...seen]).to.deep.equal([ssh?.uid])
    })
  })

  /** @returns the folder of its programs */
  async function startFake(flavour: string, lab: RealSshLab): Promise<string> {
    const { uid, gid, directory } = lab
    const program = path.join(path.dirname(fileURLToPath(import.meta.url)), 'support', 'fake-pbs-process.js')
    const fake = fork(program, [flavour, lab.folder()], {
      uid,
      gid,
      cwd: '/',
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: path.join(directory, 'home') },
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    fakes.push(fake)
    const [told] = (await Promise.race([
      once(fake, 'message'),
      once(fake, 'exit').then(() => {
        throw new Error(`the fake ${flavour} ended at once`)
      }),
    ])) as [{ readonly bin: string }]
    return told.bin
  }

  function harness(flavour: 'openpbs' | 'torque', arrays: boolean, binOf: () => string): BackendHarness {
    let transport: Transport | undefined
    return {
      manyJobs: 8,
      memory: { limitMb: 96, allocateMb: 192 },
      deadlineMs: 60_000,
      create: async () => {
        if (ssh === undefined) throw new Error('the lab is not up')
        const bin = binOf()
        const connected = (transport ??= ssh.connect())
        const { files } = connected
        const folder = ssh.folder()
        const workspace = path.posix.join(folder, 'workspace')
        await files.mkdir(workspace)
        const ids: JobId[] = []
        const made: ClusterBackend[] = []
        const fault = (name: string, on: boolean): void => {
          const file = path.join(path.dirname(bin), 'faults', name)
          if (on) fs.writeFileSync(file, '')
          else fs.rmSync(file, { force: true })
        }
        const open = async (): Promise<ClusterBackend> => {
          const backend = createPbsBackend({
            config: { bin, arrays, enforcesMemory: true },
            transport: connected,
            clock: systemClock,
            workRoot: folder,
            commands: { retry: { attempts: 2, firstMs: 20 } },
          })
          made.push(backend)
          // What it can do depends on what the server keeps; the first call asks.
          await backend.limits()
          const ours = remembering(backend, ids)
          return arrays ? inArrays(ours, files, folder) : ours
        }
        return {
          backend: await open(),
          workspace: async () => ({ transport: connected, folder: workspace }),
          loseNextAnswer: async () => fault('lose-answer', true),
          outage: async (away) => fault('server-down', away),
          reopen: open,
          occupy: async () => {
            const { id, makeRoom } = await occupy(connected.runner, bin, flavour, folder)
            ids.push(id)
            return makeRoom
          },
          dispose: async () => {
            fault('server-down', false)
            // Nothing that runs may be in the way of the next claim.
            await made[0]?.cancel(ids)
            for (const backend of made) await backend.close()
            for (const uid of owners(workspace)) seen.add(uid)
            fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
          },
        }
      },
    }
  }
})

/** All cpus of the fake's node, until there is a gate. */
async function occupy(
  runner: CommandRunner,
  bin: string,
  flavour: 'openpbs' | 'torque',
  folder: string,
): Promise<{ readonly id: JobId; readonly makeRoom: () => Promise<void> }> {
  const asked = flavour === 'openpbs' ? 'select=1:ncpus=8' : 'nodes=1:ppn=8'
  const gate = path.posix.join(folder, 'gate-of-occupy')
  const { exitCode, stdout, stderr } = await runner.run({
    argv: [path.posix.join(bin, 'qsub'), '-l', asked, '-o', '/dev/null', '-e', '/dev/null'],
    stdin: `until [ -e '${gate}' ]; do sleep 0.1; done\n`,
  })
  if (exitCode !== 0) throw new Error(`the node could not be filled: ${stderr}`)
  // What the claim before has left may still end; until then smaller jobs would be let go first.
  for (let running = ''; !running.includes(stdout.trim());)
    running = (await runner.run({ argv: [path.posix.join(bin, 'qselect'), '-s', 'R'] })).stdout
  const makeRoom = async (): Promise<void> => {
    await runner.run({ argv: ['touch', gate] })
  }
  return { id: jobId(stdout.trim()), makeRoom }
}
