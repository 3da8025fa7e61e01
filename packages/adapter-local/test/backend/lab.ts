/** Real jobs in folders of their own; whatever a test leaves behind is ended by its mark. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { systemErrorCode, type JobId, type JobSpec, type JobStatus } from '@orbweaver/core'
import { cgroupFolder, findCgroupHome, removeCgroup } from '#src/backend/cgroup.js'
import { LocalBackend, type LocalBackendOptions } from '#src/backend/local-backend.js'

export const MIB = 1024 ** 2
const CGROUPS = findCgroupHome()

export class Lab {
  /** Absolute, without links on its way. */
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'orbweaver-local-')))
  readonly state = join(this.folder, 'state')
  readonly #backends: LocalBackend[] = []
  #serial = 0

  open(options: Omit<LocalBackendOptions, 'stateDirectory'> = {}): LocalBackend {
    const backend = new LocalBackend({
      ...options,
      stateDirectory: this.state,
      config: { cpus: 2, memory: 2048 * MIB, killGrace: 1, ...options.config },
    })
    this.#backends.push(backend)
    return backend
  }

  path(...parts: readonly string[]): string {
    return join(this.folder, ...parts)
  }

  spec(command: readonly string[], change: Partial<JobSpec> = {}): JobSpec {
    const name = change.name ?? `ow-test-${++this.#serial}`
    const directory = this.path(name)
    mkdirSync(directory, { recursive: true })
    return {
      name,
      command,
      directory,
      stdoutPath: join(directory, 'stdout.txt'),
      stderrPath: join(directory, 'stderr.txt'),
      requirements: { cpus: 1, gpus: 0, memoryBytes: 128 * MIB, walltimeSeconds: 600, scratchBytes: 0 },
      ...change,
    }
  }

  /** Ends every process that carries the mark of a job of this lab, by number. */
  async dispose(): Promise<void> {
    for (const backend of this.#backends) await backend.close()
    // Again and again: one that was being started is not in the first list.
    await until('its processes are gone', () => {
      const left = this.processes()
      for (const pid of left) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch (error) {
          if (systemErrorCode(error) !== 'ESRCH') throw error
        }
      }
      return left.length === 0
    })
    for (const id of this.#ids())
      await until(
        'its cgroup is gone',
        () => CGROUPS === undefined || removeCgroup(cgroupFolder(CGROUPS, id)),
      )
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Living processes of jobs and supervisors of this lab. */
  processes(): readonly number[] {
    const ids = this.#ids()
    if (ids.size === 0) return []
    return marked((id) => ids.has(id))
  }

  #ids(): ReadonlySet<string> {
    const files = readdirIfThere(join(this.state, 'local-jobs'))
    return new Set(
      files.map((name) => /^([0-9a-f]+-\d+)\.claim$/.exec(name)?.[1]).filter((id) => id !== undefined),
    )
  }
}

/** Living processes whose environment carries a job id that is wanted. */
export function marked(wanted: (id: string) => boolean): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const id = /(?:^|\0)ORBWEAVER_JOB_ID=([^\0]*)/.exec(textOf(`/proc/${pid}/environ`))?.[1]
      return id !== undefined && wanted(id) && isLiving(pid)
    })
}

/** Zombies have ended. */
export function isLiving(pid: number): boolean {
  const stat = textOf(`/proc/${pid}/stat`)
  return stat !== '' && !stat.slice(stat.lastIndexOf(')')).startsWith(') Z')
}

export function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(systemErrorCode(error) ?? '')) return ''
    throw error
  }
}

function readdirIfThere(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}

export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  deadlineMs = 20_000,
): Promise<Exclude<T, undefined | false>> {
  const deadline = Date.now() + deadlineMs
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found as Exclude<T, undefined | false>
    if (Date.now() > deadline) expect.fail(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export async function submitOne(backend: LocalBackend, spec: JobSpec): Promise<JobId> {
  const [outcome] = await backend.submit([spec])
  if (outcome?.kind !== 'accepted') expect.fail(JSON.stringify(outcome))
  return outcome.id
}

export async function statusNow(backend: LocalBackend, id: JobId): Promise<JobStatus> {
  const status = (await backend.query([id])).get(id)
  if (status === undefined) expect.fail(`job ${id} is not known`)
  return status
}

export async function phase(
  backend: LocalBackend,
  id: JobId,
  wanted: JobStatus['phase'],
): Promise<JobStatus> {
  return await until(`job ${id} is ${wanted}`, async () => {
    const status = await statusNow(backend, id)
    if (status.phase === 'finished' && wanted !== 'finished') expect.fail(JSON.stringify(status))
    return status.phase === wanted && status
  })
}

export const finished = (backend: LocalBackend, id: JobId): Promise<JobStatus> =>
  phase(backend, id, 'finished')

export const lines = (path: string): readonly string[] => textOf(path).split('\n').filter(Boolean)

export const hasProgram = (name: string): boolean =>
  spawnSync('/bin/sh', ['-c', 'command -v "$1"', 'sh', name], { stdio: 'ignore' }).status === 0
