/** Slurm's programs, for folders that stand before them on the PATH. */

import fs from 'node:fs'
import path from 'node:path'
import type { SlurmLab } from '../../../lab/slurm/slurm-lab.js'
import { scratchFolder, write } from '../../support/folders.js'

export const PROGRAMS = ['sbatch', 'squeue', 'scancel', 'scontrol', 'sinfo', 'sacct', 'sacctmgr']

/** Where this machine has a program. */
export function whereIs(program: string): string {
  const folder = (process.env['PATH'] ?? '')
    .split(':')
    .find((each) => fs.existsSync(path.join(each, program)))
  if (folder === undefined) throw new Error(`no ${program} on the PATH`)
  return path.join(folder, program)
}

/** A folder with Slurm's programs as on a machine of its cluster, where nothing needs to be said of the configuration. */
export function programsOf(lab: SlurmLab): string {
  const folder = scratchFolder('programs')
  fs.chmodSync(folder, 0o755)
  const settings = Object.entries(lab.environment).map(([name, value]) => `${name}='${value}'`)
  for (const program of PROGRAMS) {
    const text = `#!/bin/sh\n${settings.join(' ')} exec ${whereIs(program)} "$@"\n`
    write(path.join(folder, program), text, 0o755)
  }
  return folder
}
