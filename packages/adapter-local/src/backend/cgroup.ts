/** Memory cgroups, version 1 and 2: where this user may make one, the kernel itself keeps a job to its limit. */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { systemErrorCode } from '@orbweaver/core'

export interface CgroupHome {
  readonly version: 1 | 2
  /** Folder below which the jobs' cgroups are made. */
  readonly parent: string
}

/** A place where a cgroup can be made, limited and entered: tried out, not guessed. Undefined: there is none. */
export function findCgroupHome(): CgroupHome | undefined {
  return candidates().find(works)
}

/** Where the cgroup of a job is. The name holds the job's id, by which the job script knows it for its own. */
export function cgroupFolder(home: CgroupHome, id: string): string {
  return join(home.parent, `orbweaver-${id}`)
}

/** Make a cgroup, limited. Already there is no error. */
export function makeCgroup(folder: string, limitBytes: number): void {
  try {
    mkdirSync(folder)
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error
  }
  const versionTwo = join(folder, 'memory.max')
  if (existsSync(versionTwo)) {
    writeFileSync(versionTwo, String(limitBytes))
    // Without swap a limit is a limit; and all of the job ends, not a random part of it.
    writeIfThere(join(folder, 'memory.swap.max'), '0')
    writeIfThere(join(folder, 'memory.oom.group'), '1')
  } else {
    writeFileSync(join(folder, 'memory.limit_in_bytes'), String(limitBytes))
    writeIfThere(join(folder, 'memory.memsw.limit_in_bytes'), String(limitBytes))
  }
}

/** @returns `false`: a process of it is still there; try again later */
export function removeCgroup(folder: string): boolean {
  try {
    rmdirSync(folder)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EBUSY') return false
    if (code !== 'ENOENT') throw error
  }
  return true
}

function writeIfThere(file: string, text: string): void {
  // Kernels without swap accounting have no such file.
  if (existsSync(file)) writeFileSync(file, text)
}

function works(home: CgroupHome): boolean {
  const folder = cgroupFolder(home, `try-${process.pid}`)
  try {
    makeCgroup(folder, 64 * 1024 ** 2)
    try {
      const { status } = spawnSync('/bin/sh', ['-c', 'echo 0 >"$1"', 'sh', join(folder, 'cgroup.procs')], {
        stdio: 'ignore',
      })
      return status === 0
    } finally {
      removeCgroup(folder)
    }
  } catch (error) {
    // EACCES, EROFS, ENOENT, EBUSY, …: this one is not for us.
    if (systemErrorCode(error) === undefined) throw error
    return false
  }
}

function candidates(): readonly CgroupHome[] {
  if (process.platform !== 'linux') return []
  const own = linesOf('/proc/self/cgroup').map((line) => {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    return { controllers: controllers.split(','), path }
  })
  const homes: CgroupHome[] = []
  for (const line of linesOf('/proc/self/mounts')) {
    const [, mount = '', type, options = ''] = line.split(' ')
    if (type === 'cgroup' && options.split(',').includes('memory')) {
      const path = own.find(({ controllers }) => controllers.includes('memory'))?.path ?? '/'
      // In a container the path may be that of the host, while the mount shows only our part.
      homes.push({ version: 1, parent: join(mount, path) }, { version: 1, parent: mount })
    }
    if (type === 'cgroup2') {
      const path = own.find(({ controllers }) => controllers[0] === '')?.path ?? '/'
      // A cgroup with processes cannot have limited children, so a neighbour of ours it is, or one further up.
      for (let at = join(mount, path); at.startsWith(mount); at = dirname(at)) {
        if (linesOf(join(at, 'cgroup.subtree_control')).join(' ').split(' ').includes('memory')) {
          homes.push({ version: 2, parent: at })
        }
        if (at === mount) break
      }
    }
  }
  return homes
}

function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean)
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return []
  }
}
