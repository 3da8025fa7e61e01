/** Who a staging folder belongs to, written into its name: made in one step with the folder, and readable after a crash. */

import { createHash, randomUUID } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { systemErrorCode } from '@orbweaver/core'

const RELEASED = 'left'

const short = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8)

/** Text of a file of `/proc`, or '' where there is no such thing (macOS, a process that has gone). */
function procText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return ''
  }
}

/** Start time in clock ticks since boot: tells a process from a later one with its number. '0' where unknown. */
function startTime(pid: number): string {
  // The program's name stands in parentheses and may hold anything; the fields after the last one are numbers.
  const stat = procText(`/proc/${pid}/stat`)
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0'
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return ''
  }
}

// Two containers on one machine share a boot id and may share a host name; their process numbers mean different things.
const HOST = short(`${hostname()}\n${pidNamespace()}`)
const BOOT = short(procText('/proc/sys/kernel/random/boot_id'))
const SELF = `${HOST}~${BOOT}~${process.pid}~${startTime(process.pid)}`

/** `PREFIX~UUID~HOST~BOOT~PID~START` */
export function ownedName(prefix: string): string {
  return `${prefix}~${randomUUID()}~${SELF}`
}

/** The same folder once its owner is done with it and leaves it for somebody to go on with. */
export function releasedName(name: string): string {
  const [prefix, id] = name.split('~')
  return `${prefix}~${id}~${RELEASED}`
}

export interface Ownership {
  readonly prefix: string
  /** `gone`: released, or its process is no more. `unknown`: of another machine. */
  readonly owner: 'alive' | 'gone' | 'unknown'
}

/** @returns undefined: the name is not one of ours */
export function readOwner(name: string): Ownership | undefined {
  const [prefix, id, host, boot, pid, start, ...rest] = name.split('~')
  if (prefix === undefined || id === undefined || host === undefined || rest.length > 0) return undefined
  if (host === RELEASED) return { prefix, owner: 'gone' }
  if (boot === undefined || pid === undefined || start === undefined) return undefined
  if (host !== HOST) return { prefix, owner: 'unknown' }
  if (boot !== BOOT) return { prefix, owner: 'gone' }
  return { prefix, owner: isRunning(Number(pid), start) ? 'alive' : 'gone' }
}

function isRunning(pid: number, start: string): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it is there, and somebody else's.
    if (systemErrorCode(error) !== 'EPERM') return false
  }
  return startTime(pid) === start
}
