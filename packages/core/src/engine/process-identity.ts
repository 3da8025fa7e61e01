/** Who we are, so that another engine can tell a living holder from a dead one whose pid was given away again. */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

/** Start time of a process in the kernel's own words; undefined: there is no such process. Equal for the same process only. */
export function processStart(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      // Field 22 of proc(5) stat; the command name before it may hold blanks and brackets, so count from the last one.
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return fields[0] === 'Z' ? undefined : fields[19]
    } catch {
      return undefined // ENOENT, ESRCH: gone
    }
  }
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined
  } catch {
    return undefined // ps exits with 1 for an unknown pid
  }
}

/** Differs after every boot. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // macOS: the kernel's boot time does as well.
    return execFileSync('sysctl', ['-n', 'kern.boottime'], { encoding: 'utf8' }).trim()
  }
}

export const thisHost = (): string => hostname()
