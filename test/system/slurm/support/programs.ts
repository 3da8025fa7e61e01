/** Slurm's programs, for folders that stand before them on the PATH. */

import fs from 'node:fs'
import path from 'node:path'

export const PROGRAMS = ['sbatch', 'squeue', 'scancel', 'scontrol', 'sinfo', 'sacct', 'sacctmgr']

/** Where this machine has a program. */
export function whereIs(program: string): string {
  const folder = (process.env['PATH'] ?? '')
    .split(':')
    .find((each) => fs.existsSync(path.join(each, program)))
  if (folder === undefined) throw new Error(`no ${program} on the PATH`)
  return path.join(folder, program)
}
