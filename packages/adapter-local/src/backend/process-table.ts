/** Who is alive? A pid is given away again, so a process is known by its pid, its start time and the boot it belongs to. */

import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { systemErrorCode } from '@orbweaver/core'

export interface ProcessIdentity {
  readonly pid: number
  /** In the words of the process table that it was read from. */
  readonly start: string
}

export interface ProcessTable {
  /** How the supervisor reads it: `proc` from `/proc`, `ps` by the program of that name. */
  readonly kind: 'proc' | 'ps'
  /** This machine; keeps over a boot. */
  readonly machine: string
  /** Differs after every boot, and between containers, whose process numbers mean different things. */
  readonly boot: string
  /** Start time of a process that has not ended; undefined: there is none. */
  startOf(pid: number): string | undefined
}

/** Whether this very process, not a later one with its number, has not ended. */
export function isAlive(table: ProcessTable, { pid, start }: ProcessIdentity): boolean {
  return start !== '' && table.startOf(pid) === start
}

/** The table of this machine. */
export function processTable(platform: NodeJS.Platform = process.platform): ProcessTable {
  return platform === 'linux' ? linuxTable() : psTable()
}

export function linuxTable(): ProcessTable {
  return {
    kind: 'proc',
    machine: textOf('/etc/machine-id') || hostname(),
    boot: `${textOf('/proc/sys/kernel/random/boot_id')} ${pidNamespace()}`,
    startOf(pid) {
      // The program's name stands in parentheses and may hold anything; the fields after the last one are plain:
      // field 3 of proc(5) is the state, field 22 the start time in ticks since boot.
      const stat = textOf(`/proc/${pid}/stat`)
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
    },
  }
}

/** For systems without `/proc`, as macOS. `ps` of any system tells the start time to the second. */
export function psTable(): ProcessTable {
  return {
    kind: 'ps',
    machine: hostname(),
    // The start times are dates, so a process of an earlier boot cannot be taken for one of this.
    boot: '',
    startOf(pid) {
      const line = psLine(pid)
      // Not split at blanks: the date holds some. The state is one word of letters and signs.
      const [, state = '', start] = /^\s*(\S+)\s+(.*\S)\s*$/.exec(line) ?? []
      return state.startsWith('Z') ? undefined : start
    },
  }
}

function psLine(pid: number): string {
  try {
    return execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch (error) {
    // Exit code 1: no such process. Anything else is no answer at all.
    if (error instanceof Error && (error as { status?: unknown }).status === 1) return ''
    throw error
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(systemErrorCode(error) ?? '')) return ''
    throw error
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return ''
  }
}
