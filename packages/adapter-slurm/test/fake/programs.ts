/** The programs by name, and what each says when a service it needs is away. */

import type { Cluster } from './cluster.js'
import { scancel, scontrol } from './control.js'
import type { Fault } from './model.js'
import { sacct, squeue } from './queries.js'
import { sbatch } from './sbatch.js'
import { sacctmgr, sinfo } from './site.js'
import { UsageError } from './words.js'

/** One run of a program. */
export interface Request {
  readonly program: string
  readonly args: readonly string[]
  readonly directory: string
  readonly user: string
  readonly uid: number
  readonly home: string
  /** Of sbatch: what it would hand on to the job. */
  readonly environment: Readonly<Record<string, string>>
  /** SLURM_TIME_FORMAT. */
  readonly timeFormat: string
  /** What it is given on standard input; asked for only where it is read. */
  stdin(): Promise<string>
}

export interface Output {
  /** `undefined`: it never comes back. */
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
}

export const PROGRAMS = [
  'sbatch',
  'squeue',
  'sacct',
  'scancel',
  'scontrol',
  'sinfo',
  'sacctmgr',
  'srun',
] as const

const AWAY = 'Unable to contact slurm controller (connect failure)'
const BUSY = 'Socket timed out on send/recv operation'
const DATABASE =
  'sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to host:127.0.0.1:6819: Connection refused\n' +
  'sacct: error: Sending PersistInit msg: Connection refused\n' +
  'sacct: error: Problem talking to the database: Connection refused\n'

/** @param has - whether a switch is on. @param once - the same, and it is off from now on */
export async function run(
  request: Request,
  cluster: Cluster,
  has: (fault: Fault) => boolean,
  once: (fault: Fault) => boolean,
): Promise<Output> {
  const { program, args } = request
  if (args.includes('--version') || args.includes('-V'))
    return { exitCode: 0, stdout: `slurm-wlm ${cluster.site.version}\n`, stderr: '' }
  cluster.hasAccounting = !has('accounting-off')
  const away = awayOf(request, has)
  if (away !== undefined) return away
  try {
    switch (program) {
      case 'sbatch': {
        const output = await sbatch(request, cluster)
        if (output.exitCode !== 0) return output
        if (once('hang-after-accept')) return { exitCode: undefined, stdout: '', stderr: '' }
        if (once('lose-answer')) return failed('sbatch', BUSY)
        return output
      }
      case 'squeue':
        return squeue(request, cluster)
      case 'sacct':
        return sacct(request, cluster)
      case 'scancel':
        return scancel(request, cluster)
      case 'scontrol':
        return scontrol(request, cluster)
      case 'sinfo':
        return sinfo(request, cluster)
      case 'sacctmgr':
        return sacctmgr(request, cluster)
      default:
        return { exitCode: 1, stdout: '', stderr: `${program}: error: the fake runs no steps\n` }
    }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return { exitCode: program === 'sbatch' ? 255 : 1, stdout: '', stderr: error.message }
  }
}

function awayOf({ program, args }: Request, has: (fault: Fault) => boolean): Output | undefined {
  if (program === 'sacct' || program === 'sacctmgr') {
    if (has('accounting-off'))
      return program === 'sacct'
        ? { exitCode: 1, stdout: '', stderr: 'Slurm accounting storage is disabled\n' }
        : {
            exitCode: 1,
            stdout: '',
            stderr:
              'You are not running a supported accounting_storage plugin\nOnly slurmdbd is supported.\n',
          }
    const down = has('accounting-down') || has('munge-down')
    return down
      ? { exitCode: 1, stdout: '', stderr: DATABASE.replaceAll('sacct:', `${program}:`) }
      : undefined
  }
  if (has('controller-down') || has('munge-down')) {
    const isPing = program === 'scontrol' && args.includes('ping')
    return isPing
      ? { exitCode: 1, stdout: 'Slurmctld(primary) at login1 is DOWN\n', stderr: '' }
      : failed(program, AWAY, args)
  }
  return has('controller-busy') ? failed(program, BUSY, args) : undefined
}

/** How each program says that it was not answered. */
export function failed(program: string, why: string, args: readonly string[] = []): Output {
  const words = args.filter((word) => !word.startsWith('-'))
  switch (program) {
    case 'sbatch':
      return { exitCode: 1, stdout: '', stderr: `sbatch: error: Batch job submission failed: ${why}\n` }
    case 'scancel':
      return {
        exitCode: 8,
        stdout: '',
        stderr: words.map((id) => `scancel: error: Kill job error on job id ${id}: ${why}\n`).join(''),
      }
    case 'sinfo':
      return { exitCode: 1, stdout: '', stderr: `slurm_load_partitions: ${why}\n` }
    case 'scontrol':
      return words[0] === 'show' && words[1] === 'config'
        ? { exitCode: 1, stdout: '', stderr: `slurm_load_ctl_conf error: ${why}\n` }
        : { exitCode: 1, stdout: '', stderr: `slurm_load_jobs error: ${why}\n` }
    default:
      return { exitCode: 1, stdout: '', stderr: `slurm_load_jobs error: ${why}\n` }
  }
}
