/** The kit on a real PBS, with arrays and without: see `live-site.ts` for the variables that name it. */

import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { claimsAside, inArrays, remembering, unreliable, type BackendHarness } from '@orbweaver/conformance'
import {
  createLocalTransport,
  systemClock,
  type ClusterBackend,
  type CommandRunner,
  type JobId,
} from '@orbweaver/core'
import { skipTest } from '@orbweaver/core/testing'
import { createPbsBackend } from '@orbweaver/adapter-pbs'
import { becoming, livePbs, type Account } from './live-site.js'

/** Register the kit with mocha; the claims of both ways go on at once. */
export function describeLiveKit(problem: string | undefined): void {
  describe('conformance on a real PBS', function () {
    this.timeout(600_000)
    if (problem !== undefined) {
      it('conforms, with arrays and without', function () {
        skipTest(this, problem)
      })
      return
    }
    const ways = [true, false].map((arrays) => ({
      title: arrays ? 'with arrays' : 'without arrays',
      claims: claimsAside(liveHarness(arrays), { claimTimeoutMs: 180_000 }),
    }))
    before(() => {
      for (const { claims } of ways) claims.start()
    })
    for (const { title, claims } of ways) {
      describe(title, () => {
        claims.report()
      })
    }
  })
}

/** As OpenPBS 23.06 says it; each flavour's words are read in both. */
const AWAY = 'Connection refused\nqstat: cannot connect to server pbs (errno=15010)\n'
const isProgram = ([program = '']: readonly string[]): boolean => /(?:^|\/)q[a-z]+$/.test(program)
const isSubmit = ([program = '', ...words]: readonly string[]): boolean =>
  /(?:^|\/)qsub$/.test(program) && !words.includes('--version')

function liveHarness(arrays: boolean): BackendHarness {
  return {
    manyJobs: 20,
    shortestWalltimeSeconds: 5,
    deadlineMs: 150_000,
    async create() {
      const { bin, environment, account, queue, enforcesMemory } = livePbs()
      const transport = createLocalTransport()
      const folder = mkdtempSync(join(tmpdir(), 'orbweaver-pbs-'))
      if (account !== undefined) {
        chmodSync(folder, 0o700)
        chownSync(folder, account.uid, account.gid)
      }
      const asAccount: CommandRunner =
        account === undefined
          ? transport.runner
          : {
              run: (command, options) =>
                transport.runner.run(
                  {
                    ...command,
                    argv: [...becoming(account), ...command.argv],
                    environment: { ...command.environment, HOME: account.home, USER: account.name },
                  },
                  options,
                ),
            }
      const scheduler = unreliable(asAccount, {
        isProgram,
        isSubmit,
        away: () => ({ exitCode: 255, stdout: '', stderr: AWAY }),
      })
      const workspace = {
        ...transport,
        runner: scheduler.runner,
        files: account === undefined ? transport.files : givenTo(transport.files, account, folder),
      }
      const ids: JobId[] = []
      const open = (): ClusterBackend => {
        const backend = createPbsBackend({
          config: {
            arrays,
            bin,
            enforcesMemory,
            ...(queue !== undefined && { queue }),
            ...(account !== undefined && { user: account.name }),
          },
          transport: workspace,
          clock: systemClock,
          workRoot: folder,
          commands: { environment, retry: { attempts: 2, firstMs: 50 } },
        })
        const remembered = remembering(backend, ids)
        return arrays ? inArrays(remembered, workspace.files, folder) : remembered
      }
      const reopen = async (): Promise<ClusterBackend> => {
        const backend = open()
        await backend.limits()
        return backend
      }
      const backend = await reopen()
      return {
        backend,
        workspace: async () => ({ transport: workspace, folder }),
        loseNextAnswer: async () => {
          scheduler.loseNextAnswer()
        },
        outage: async (away) => {
          scheduler.setAway(away)
        },
        reopen,
        dispose: async () => {
          scheduler.setAway(false)
          await backend.cancel(ids)
          await backend.close()
          await transport.close()
          rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
        },
      }
    },
  }
}

/** What is made by root below the folder is given to the account, whose jobs write there. */
function givenTo<T extends object>(files: T, { uid, gid }: Account, folder: string): T {
  return new Proxy(files, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown
      if (typeof value !== 'function') return value
      return async (...words: readonly unknown[]) => {
        const answer = (await value.apply(target, words)) as unknown
        const paths = words.filter((word): word is string => typeof word === 'string' && word.startsWith('/'))
        for (const path of paths)
          for (let at = path; at.startsWith(`${folder}/`); at = dirname(at)) give(at, uid, gid)
        return answer
      }
    },
  })
}
function give(path: string, uid: number, gid: number): void {
  try {
    chownSync(path, uid, gid)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
