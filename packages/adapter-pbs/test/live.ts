/**
 * A real PBS, as the variables of the environment name it. Jobs of it see the temporary folder of this machine.
 *
 * - `ORBWEAVER_PBS_BIN`: folder of the programs. Or `ORBWEAVER_PBS=path`: they are on the PATH.
 * - `ORBWEAVER_PBS_CONF`: what the programs read as `PBS_CONF_FILE`, where it is not their own.
 * - `ORBWEAVER_PBS_USER`: whose the jobs are, when root runs the tests: OpenPBS takes none of root's.
 * - `ORBWEAVER_PBS_QUEUE`: queue of the jobs, where it is not the server's own.
 */

import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inArrays, type BackendHarness } from '@orbweaver/conformance'
import {
  createLocalTransport,
  systemClock,
  type ClusterBackend,
  type CommandRunner,
  type JobId,
} from '@orbweaver/core'
import { createPbsBackend } from '@orbweaver/adapter-pbs'

const variable = (name: string): string | undefined => {
  const value = process.env[name]
  return value === undefined || value === '' ? undefined : value
}

/** Why there is no real PBS to be tried. */
export function livePbsProblem(): string | undefined {
  if (variable('ORBWEAVER_PBS_BIN') === undefined && process.env['ORBWEAVER_PBS'] !== 'path')
    return 'no real PBS: ORBWEAVER_PBS_BIN names the folder of its programs, or ORBWEAVER_PBS=path takes those on the PATH'
  if (process.getuid?.() === 0 && variable('ORBWEAVER_PBS_USER') === undefined)
    return 'PBS takes no jobs of root: ORBWEAVER_PBS_USER names whose the jobs are'
  return undefined
}

interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}
function accountOf(name: string): Account {
  const fields = execFileSync('getent', ['passwd', name], { encoding: 'utf8' }).trim().split(':')
  const [, , uid, gid, , home = '/'] = fields
  return { name, uid: Number(uid), gid: Number(gid), home }
}

/** As OpenPBS 23.06 says it; each flavour's words are read in both. */
const AWAY = 'Connection refused\nqstat: cannot connect to server pbs (errno=15010)\n'

export function liveHarness(arrays: boolean): BackendHarness {
  return {
    manyJobs: 20,
    shortestWalltimeSeconds: 5,
    deadlineMs: 150_000,
    async create() {
      const bin = variable('ORBWEAVER_PBS_BIN')
      const conf = variable('ORBWEAVER_PBS_CONF')
      const queue = variable('ORBWEAVER_PBS_QUEUE')
      const name = process.getuid?.() === 0 ? variable('ORBWEAVER_PBS_USER') : undefined
      const account = name === undefined ? undefined : accountOf(name)
      const transport = createLocalTransport()
      const folder = mkdtempSync(join(tmpdir(), 'orbweaver-pbs-'))
      if (account !== undefined) {
        chmodSync(folder, 0o700)
        chownSync(folder, account.uid, account.gid)
      }
      const ids: JobId[] = []
      let away = false
      let losesAnswer = false
      const runner: CommandRunner = {
        async run(command, options) {
          const [program = ''] = command.argv
          if (away && /(?:^|\/)q[a-z]+$/.test(program)) return { exitCode: 255, stdout: '', stderr: AWAY }
          const { argv, environment } = command
          const result = await transport.runner.run(
            {
              ...command,
              argv: account === undefined ? argv : [...becoming(account), ...argv],
              environment: {
                ...environment,
                ...(conf !== undefined && { PBS_CONF_FILE: conf }),
                ...(account !== undefined && { HOME: account.home, USER: account.name }),
              },
            },
            options,
          )
          const submits = /(?:^|\/)qsub$/.test(program) && !argv.includes('--version')
          if (!losesAnswer || !submits) return result
          losesAnswer = false
          return { exitCode: 255, stdout: '', stderr: AWAY }
        },
      }
      const workspace = {
        ...transport,
        runner,
        files: account === undefined ? transport.files : givenTo(transport.files, account),
      }
      const open = (): ClusterBackend => {
        const backend = createPbsBackend({
          config: {
            arrays,
            ...(bin !== undefined && { bin }),
            ...(queue !== undefined && { queue }),
            ...(account !== undefined && { user: account.name }),
          },
          transport: workspace,
          clock: systemClock,
          workRoot: folder,
          commands: { retry: { attempts: 2, firstMs: 50 } },
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
          losesAnswer = true
        },
        outage: async (now) => {
          away = now
        },
        reopen,
        dispose: async () => {
          away = false
          await backend.cancel(ids)
          await backend.close?.()
          await transport.close()
          rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
        },
      }
    },
  }
}

const becoming = ({ uid, gid }: Account): readonly string[] => [
  'setpriv',
  `--reuid=${uid}`,
  `--regid=${gid}`,
  '--init-groups',
]

/** What is made by root is given to the account, whose jobs write there. */
function givenTo<T extends object>(files: T, { uid, gid }: Account): T {
  return new Proxy(files, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown
      if (typeof value !== 'function') return value
      return async (...words: readonly unknown[]) => {
        const answer = (await value.apply(target, words)) as unknown
        const paths = words.filter((word): word is string => typeof word === 'string' && word.startsWith('/'))
        for (const path of paths) give(path, uid, gid)
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

/** What is submitted is remembered, so that nothing but that is cancelled at the end. */
function remembering(backend: ClusterBackend, ids: JobId[]): ClusterBackend {
  return new Proxy(backend, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown
      if (typeof value !== 'function') return value
      return async (...words: readonly unknown[]) => {
        const answer = (await value.apply(target, words)) as unknown
        if (key === 'submit')
          for (const outcome of answer as Awaited<ReturnType<ClusterBackend['submit']>>)
            if (outcome.kind === 'accepted') ids.push(outcome.id)
        return answer
      }
    },
  })
}
