/** What the processes of jobs use: each job is a session of its own. */

import { readFileSync, readdirSync } from 'node:fs'

export interface Measure {
  readonly pids: number[]
  memoryKb: number
  virtualKb: number
  cpuSeconds: number
}

const PAGE_KB = 4
const TICKS = 100

/** Living processes by session. Without /proc: only whether the leader lives. */
export function measure(sessions: ReadonlySet<number>): ReadonlyMap<number, Measure> {
  const found = new Map<number, Measure>()
  let names: readonly string[]
  try {
    names = readdirSync('/proc')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    for (const pid of sessions)
      if (send(pid, 0)) found.set(pid, { pids: [pid], memoryKb: 0, virtualKb: 0, cpuSeconds: 0 })
    return found
  }
  for (const name of names) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const fields = stat(name)
    const session = Number(fields?.[3])
    if (fields === undefined || fields[0] === 'Z' || !sessions.has(session)) continue
    const entry = found.get(session) ?? { pids: [], memoryKb: 0, virtualKb: 0, cpuSeconds: 0 }
    entry.pids.push(pid)
    entry.memoryKb += Number(fields[21]) * PAGE_KB
    entry.virtualKb += Math.round(Number(fields[20]) / 1024)
    entry.cpuSeconds += (Number(fields[11]) + Number(fields[12])) / TICKS
    found.set(session, entry)
  }
  return found
}

/** Fields of /proc/PID/stat from the state on: the name before it may hold anything. */
function stat(pid: string): readonly string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return undefined // it has ended meanwhile
    throw error
  }
}

/** @returns false when there is no such process */
export function send(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}
