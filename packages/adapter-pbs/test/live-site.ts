/**
 * A real PBS, as the variables of the environment name it. Jobs of it see the temporary folder of this machine.
 *
 * - `ORBWEAVER_PBS_BIN`: folder of the programs. Or `ORBWEAVER_PBS=path`: they are on the PATH. `off`: there is none.
 * - `ORBWEAVER_PBS_CONF`: what the programs read as `PBS_CONF_FILE`, where it is not their own.
 * - `ORBWEAVER_PBS_USER`: whose the jobs are, when root runs the tests: OpenPBS takes none of root's.
 * - `ORBWEAVER_PBS_QUEUE`: queue of the jobs, where it is not the server's own.
 * - `ORBWEAVER_PBS_MEMORY=enforced`: the site ends jobs that use more memory than they asked for.
 */

import { execFileSync, spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { dirname, join } from 'node:path'

export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}

export interface LivePbs {
  readonly bin: string
  /** Of every program of PBS. */
  readonly environment: Readonly<Record<string, string>>
  /** Whose the jobs are, where it is not who runs the tests. */
  readonly account: Account | undefined
  readonly queue: string | undefined
  readonly enforcesMemory: boolean
}

const variable = (name: string): string | undefined => {
  const value = process.env[name]
  return value === undefined || value === '' ? undefined : value
}

/**
 * Why there is no real PBS to be tried.
 *
 * @param onPath - one that is on the PATH is taken without being named
 */
export function livePbsProblem(onPath = false): string | undefined {
  const how =
    'ORBWEAVER_PBS_BIN names the folder of its programs, or ORBWEAVER_PBS=path takes those on the PATH'
  const word = variable('ORBWEAVER_PBS')
  if (word === 'off') return 'no real PBS: ORBWEAVER_PBS=off'
  if (variable('ORBWEAVER_PBS_BIN') === undefined) {
    if (word !== 'path' && !onPath) return `no real PBS: ${how}`
    const bin = folderOnPath()
    if (bin === undefined || !isPbs(bin)) return `no PBS on the PATH: ${how}`
  }
  if (process.getuid?.() === 0 && variable('ORBWEAVER_PBS_USER') === undefined)
    return 'PBS takes no jobs of root: ORBWEAVER_PBS_USER names whose the jobs are'
  return undefined
}

/** @throws Error where {@link livePbsProblem} tells one */
export function livePbs(): LivePbs {
  const bin = variable('ORBWEAVER_PBS_BIN') ?? folderOnPath()
  if (bin === undefined) throw new Error('there is no qsub on the PATH')
  const conf = variable('ORBWEAVER_PBS_CONF')
  const name = process.getuid?.() === 0 ? variable('ORBWEAVER_PBS_USER') : undefined
  return {
    bin,
    environment: conf === undefined ? {} : { PBS_CONF_FILE: conf },
    account: name === undefined ? undefined : accountOf(name),
    queue: variable('ORBWEAVER_PBS_QUEUE'),
    enforcesMemory: variable('ORBWEAVER_PBS_MEMORY') === 'enforced',
  }
}

function folderOnPath(): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(':')) {
    try {
      accessSync(join(folder, 'qsub'), constants.X_OK)
      return dirname(join(folder, 'qsub'))
    } catch (error) {
      if (!['ENOENT', 'EACCES', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
  }
  return undefined
}

/** Slurm has commands of the same names. */
function isPbs(bin: string): boolean {
  const { stdout, stderr } = spawnSync(join(bin, 'qsub'), ['--version'], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  return /^(?:pbs_version = |Version: )/im.test(`${stdout}\n${stderr}`)
}

function accountOf(name: string): Account {
  const fields = execFileSync('getent', ['passwd', name], { encoding: 'utf8' }).trim().split(':')
  const [, , uid, gid, , home = '/'] = fields
  return { name, uid: Number(uid), gid: Number(gid), home }
}

/** Words before a command of the account's. */
export const becoming = ({ uid, gid }: Account): readonly string[] => [
  'setpriv',
  `--reuid=${uid}`,
  `--regid=${gid}`,
  '--init-groups',
]
