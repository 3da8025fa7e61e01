/** Processes that belong to jobs, found by the marker every job carries in its environment. */

import fs from 'node:fs'

export interface JobProcess {
  readonly pid: number
  readonly command: string
}

/** Living processes of jobs whose environment or command names the given folder. Linux only: reads /proc. */
export function jobProcesses(folder: string): JobProcess[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const environment = fs.readFileSync(`/proc/${name}/environ`, 'utf8')
        const command = fs.readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
        const state = /\) (\S)/.exec(fs.readFileSync(`/proc/${name}/stat`, 'utf8'))?.[1]
        const isJob = environment.includes('ORBWEAVER_JOB_ID=') || command.includes('job.sh')
        const isOurs = environment.includes(folder) || command.includes(folder)
        return isJob && isOurs && state !== 'Z' ? [{ pid: Number(name), command }] : []
      } catch (error) {
        // Gone while we looked, or another user's: neither is a job of this test.
        const { code } = error as NodeJS.ErrnoException
        if (code === 'ENOENT' || code === 'EACCES' || code === 'ESRCH') return []
        throw error
      }
    })
}

/** Ends what a failed test may have left. */
export function endJobs(folder: string): void {
  for (const { pid } of jobProcesses(folder)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}
