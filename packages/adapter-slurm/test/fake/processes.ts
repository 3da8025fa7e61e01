/** Processes of jobs: every job is a session of its own, found by its number in /proc. */

import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs'
import { spawn, type ChildProcess } from 'node:child_process'

export interface Session {
  readonly pids: readonly number[]
  readonly rssKb: number
  readonly cpuMs: number
}

const PAGE_KB = 4
const TICK_MS = 10

/** Sessions of these leaders. Without /proc: whoever answers a signal. */
export function sessionsOf(leaders: ReadonlySet<number>): ReadonlyMap<number, Session> {
  const found = new Map<number, { pids: number[]; rssKb: number; cpuMs: number }>()
  let entries: readonly string[]
  try {
    entries = readdirSync('/proc')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return new Map([...leaders].filter(answers).map((pid) => [pid, { pids: [pid], rssKb: 0, cpuMs: 0 }]))
  }
  for (const entry of entries) {
    if (!/^\d+$/.test(entry)) continue
    const fields = statOf(entry)
    // Zombies have ended.
    if (fields === undefined || fields[0] === 'Z') continue
    const session = Number(fields[3])
    if (!leaders.has(session)) continue
    const known = found.get(session) ?? { pids: [], rssKb: 0, cpuMs: 0 }
    known.pids.push(Number(entry))
    known.rssKb += Number(fields[21]) * PAGE_KB
    known.cpuMs += (Number(fields[11]) + Number(fields[12])) * TICK_MS
    found.set(session, known)
  }
  return found
}

/** The fields of /proc/PID/stat after the name, which may hold anything. */
function statOf(pid: string): readonly string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined // it ended meanwhile
  }
}

function answers(pid: number): boolean {
  return signal(pid, 0)
}

/** @returns whether there was such a process */
export function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

export function launch(
  file: string,
  args: readonly string[],
  options: {
    readonly directory: string
    readonly environment: Readonly<Record<string, string>>
    readonly stdout: string
    readonly stderr: string | undefined
    readonly append: boolean
  },
): ChildProcess {
  const flags = options.append ? 'a' : 'w'
  const out = openSync(options.stdout, flags, 0o644)
  const err = options.stderr === undefined ? out : openSync(options.stderr, flags, 0o644)
  try {
    return spawn(file, [...args], {
      cwd: options.directory,
      env: { ...options.environment },
      detached: true,
      stdio: ['ignore', out, err],
    })
  } finally {
    closeSync(out)
    if (err !== out) closeSync(err)
  }
}
