/** The files and the process of one job: how the backend and its supervisors talk. */

import { spawn, type ChildProcess } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { systemErrorCode } from '@orbweaver/core'
import type { ProcessIdentity, ProcessTable } from './process-table.js'
import { SUPERVISOR_PROGRAM } from './supervisor-program.js'

export interface SupervisorOptions {
  readonly id: string
  readonly walltimeSeconds: number
  readonly graceSeconds: number
  readonly memoryMode: 'cgroup' | 'watch' | 'off'
  readonly memoryBytes: number
  /** Folder of the job's cgroup, or empty. */
  readonly cgroup: string
}

export interface LaunchOptions extends SupervisorOptions {
  readonly command: readonly string[]
  readonly directory: string
  readonly stdoutPath: string
  readonly stderrPath: string
  readonly environment: Readonly<Record<string, string>>
}

export interface Claim extends ProcessIdentity {
  readonly atMs: number
}

/** What a supervisor wrote about the end. */
export interface EndRecord {
  /** As the shell has it: above 128 for a signal. Absent: the supervisor that knew is gone. */
  readonly code: number | undefined
  readonly reason: 'cancel' | 'memory' | 'time' | 'lost' | undefined
  readonly peakMemoryBytes: number | undefined
  /** Processes that the kernel ended for memory. */
  readonly oomKills: number
  /** Processes that did not end even by SIGKILL. */
  readonly left: string
  readonly cpuSeconds: number | undefined
  readonly atMs: number
}

const BASH = ['/bin/bash', '/usr/bin/bash', '/usr/local/bin/bash', '/opt/homebrew/bin/bash']

export class Supervisors {
  readonly #folder: string
  readonly #table: ProcessTable
  readonly #pageBytes: number
  readonly #shell: readonly string[]
  #program: string | undefined

  /** @param folder - where the files of jobs are; made if need be */
  constructor(folder: string, table: ProcessTable, pageBytes: number, shell?: readonly string[]) {
    this.#folder = folder
    this.#table = table
    this.#pageBytes = pageBytes
    const bash = BASH.find((path) => existsSync(path))
    // --posix: BASH_ENV of the job is not read. See job-script-program of core for why bash.
    this.#shell = shell ?? (bash === undefined ? ['/bin/sh'] : [bash, '--posix'])
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  }

  get folder(): string {
    return this.#folder
  }

  /**
   * Start a supervisor. It does nothing if another has claimed the job. Output goes to the end of the files: a supervisor
   * that comes too late must not cut what the first one's job has written.
   */
  launch(options: LaunchOptions): ChildProcess {
    const stdout = openForAppend(options.stdoutPath)
    try {
      const stderr = openForAppend(options.stderrPath)
      try {
        return this.#spawn(options, ['run', ...options.command], {
          cwd: options.directory,
          env: environmentFor(options),
          stdio: ['ignore', stdout, stderr],
        })
      } finally {
        closeSync(stderr)
      }
    } finally {
      closeSync(stdout)
    }
  }

  /** End what a supervisor that is gone has left, and write the end record in its place. */
  reap(options: SupervisorOptions): ChildProcess {
    // Without the mark: it must not take itself for a part of the job.
    return this.#spawn(options, ['reap'], {
      cwd: '/',
      env: { PATH: toolPath() },
      stdio: 'ignore',
    })
  }

  #spawn(
    { id, walltimeSeconds, graceSeconds, memoryMode, memoryBytes, cgroup }: SupervisorOptions,
    words: readonly string[],
    how: { cwd: string; env: Record<string, string>; stdio: 'ignore' | ['ignore', number, number] },
  ): ChildProcess {
    const [shell = '/bin/sh', ...shellWords] = this.#shell
    const numbers = [walltimeSeconds, graceSeconds].map(String)
    const memory = [memoryMode, String(memoryBytes), cgroup, String(this.#pageBytes)]
    return spawn(
      shell,
      [
        ...shellWords,
        this.#installed(),
        this.#base(id),
        id,
        ...numbers,
        ...memory,
        this.#table.kind,
        ...words,
      ],
      { ...how, detached: true },
    )
  }

  /** Made once, whole or not at all; another version of Orbweaver has another name for its own. */
  #installed(): string {
    if (this.#program === undefined) {
      const hash = createHash('sha256').update(SUPERVISOR_PROGRAM).digest('hex').slice(0, 12)
      const file = join(this.#folder, `supervisor-${hash}.sh`)
      if (!existsSync(file)) {
        const temporary = `${file}.${randomUUID()}`
        writeFileSync(temporary, SUPERVISOR_PROGRAM, { mode: 0o700 })
        renameSync(temporary, file)
      }
      this.#program = file
    }
    return this.#program
  }

  /** Who runs the job. `empty`: somebody began to claim it, and has not finished. */
  claim(id: string): Claim | 'empty' | undefined {
    const read = readStamped(`${this.#base(id)}.claim`)
    if (read === undefined) return undefined
    const [pid, start, , end] = read.text.split('\n')
    return end === 'end' && start !== undefined ? { pid: Number(pid), start, atMs: read.atMs } : 'empty'
  }

  /** Claim a job so that no supervisor can. @returns `false`: one has */
  takeClaim(id: string): boolean {
    try {
      writeFileSync(`${this.#base(id)}.claim`, '0\n\n\nend\n', { flag: 'wx', mode: 0o600 })
      return true
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') return false
      throw error
    }
  }

  end(id: string): EndRecord | undefined {
    const read = readStamped(`${this.#base(id)}.end`)
    return read === undefined ? undefined : parseEnd(read.text, read.atMs)
  }

  removeFiles(id: string): void {
    for (const kind of ['claim', 'end', 'peak']) rmSync(`${this.#base(id)}.${kind}`, { force: true })
  }

  #base(id: string): string {
    return join(this.#folder, id)
  }
}

/** What the supervisor is given, for itself and to hand on. The mark is in the environment of all processes of the job. */
function environmentFor({ id, environment }: LaunchOptions): Record<string, string> {
  const names = Object.keys(environment).filter((name) => name !== 'ORBWEAVER_JOB_ID')
  return {
    PATH: toolPath(),
    ORBWEAVER_JOB_ID: id,
    ow_names: names.join(' '),
    ...Object.fromEntries(names.map((name) => [`ow_env_${name}`, environment[name] ?? ''])),
  }
}

/** Where the supervisor's own tools are: the system's first, then wherever ours are. */
function toolPath(): string {
  return ['/usr/bin:/bin:/usr/sbin:/sbin', process.env['PATH']].filter(Boolean).join(':')
}

/** @returns undefined: it is still being written */
export function parseEnd(text: string, atMs: number): EndRecord | undefined {
  if (!text.endsWith('\nend\n')) return undefined
  const lines = text.split('\n')
  const values = new Map(
    lines.map((line) => {
      const at = line.indexOf('=')
      return [line.slice(0, at), line.slice(at + 1)] as const
    }),
  )
  const number = (key: string): number | undefined => {
    const value = values.get(key) ?? ''
    return /^\d+$/.test(value) ? Number(value) : undefined
  }
  const reason = values.get('reason')
  return {
    code: number('code'),
    reason:
      reason === 'cancel' || reason === 'memory' || reason === 'time' || reason === 'lost'
        ? reason
        : undefined,
    peakMemoryBytes: number('peak'),
    oomKills: number('oom') ?? 0,
    left: values.get('left')?.trim() ?? '',
    cpuSeconds: childSeconds(lines),
    atMs,
  }
}

/** `times` prints two lines of `1m2.345s 0m0.100s`: of the shell, and of all it waited for. */
function childSeconds(lines: readonly string[]): number | undefined {
  const clock = /^(\d+)m([\d.,]+)s (\d+)m([\d.,]+)s$/
  const match = lines.map((line) => clock.exec(line)).filter((found) => found !== null)[1]
  if (match === undefined) return undefined
  const [, userMinutes, user = '', systemMinutes, system = ''] = match
  const seconds =
    (Number(userMinutes) + Number(systemMinutes)) * 60 +
    Number(user.replace(',', '.')) +
    Number(system.replace(',', '.'))
  return Number.isFinite(seconds) ? Math.round(seconds * 100) / 100 : undefined
}

function readStamped(file: string): { readonly text: string; readonly atMs: number } | undefined {
  try {
    return { text: readFileSync(file, 'utf8'), atMs: Math.round(statSync(file).mtimeMs) }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function openForAppend(path: string): number {
  try {
    return openSync(path, 'a', 0o600)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    return openSync(path, 'a', 0o600)
  }
}
