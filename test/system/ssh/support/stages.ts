/** Programs of the far side that tell in which stage of the work they run, and wait in it for as long as a test wants. */

import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

export type Stage = 'submit' | 'poll' | 'inputs' | 'results'

const SFTP_SERVER = '/usr/lib/openssh/sftp-server'

/**
 * Program → the stage that it runs in, as lines of a shell program that may set `stage`. Whatever else it is used for goes
 * through untouched.
 */
const PROGRAMS: Readonly<Record<string, string>> = {
  sbatch: 'stage=submit',
  squeue: 'stage=poll',
  sacct: 'stage=poll',
  // Records of ended jobs are named by whole paths, results by their place below a folder.
  tar: 'case "$*" in --extract*) stage=inputs ;; *--absolute-names*) stage=poll ;; --create*) stage=results ;; esac',
  // Content of one file goes through `cat` into it.
  cat: 'case $(readlink /proc/$$/fd/1) in */inputs/*) stage=inputs ;; esac',
  find: 'stage=results',
  sha256sum: '[ "$1" != -b ] || stage=results',
  'sftp-server': 'stage=results',
}

/** Where in a program it waits: before it does its work, or after. */
const PLACES = ['before', 'after'] as const

export interface Held {
  /** Of a program that waits in the stage. */
  readonly pid: number
  /** It, and all others, may go on. */
  release(): void
}

export class Stages {
  /** Goes in front of the PATH. */
  readonly programs: string
  readonly sftpServer: string
  readonly #marks: string

  constructor(folder: string) {
    this.programs = path.join(folder, 'programs')
    this.#marks = path.join(folder, 'marks')
    this.sftpServer = path.join(this.programs, 'sftp-server')
    fs.mkdirSync(this.programs, { recursive: true })
    fs.mkdirSync(this.#marks)
    for (const place of [folder, this.programs]) fs.chmodSync(place, 0o755)
    fs.chmodSync(this.#marks, 0o777)
    for (const [name, stage] of Object.entries(PROGRAMS)) {
      const file = path.join(this.programs, name)
      fs.writeFileSync(file, wrapper(whereIs(name), stage, this.#marks))
      fs.chmodSync(file, 0o755)
    }
  }

  /** From now on programs of the stage wait; resolves with one that does. Undefined: `over` said so before. */
  async hold(stage: Stage, random: () => number, over: () => boolean): Promise<Held | undefined> {
    const mark = path.join(this.#marks, `waits-${stage}`)
    fs.rmSync(mark, { force: true })
    const place = PLACES[Math.floor(random() * PLACES.length)] ?? 'before'
    const hold = path.join(this.#marks, `hold-${stage}-${place}`)
    fs.writeFileSync(hold, '')
    const release = (): void => fs.rmSync(hold, { force: true })
    for (;;) {
      const pid = Number(fs.existsSync(mark) ? fs.readFileSync(mark, 'utf8').split('\n')[0] : 0)
      if (pid > 0) return { pid, release }
      if (over()) {
        release()
        return undefined
      }
      await pause(20)
    }
  }

  /** Whether a program that was held still waits. */
  isThere(pid: number): boolean {
    return fs.existsSync(`/proc/${pid}`)
  }
}

function wrapper(program: string, stage: string, marks: string): string {
  return `#!/bin/sh
stage=
${stage}
[ -n "$stage" ] || exec ${program} "$@"
wait_at() {
  while [ -e ${marks}/hold-$stage-$1 ]; do
    [ -n "$told" ] || echo $$ >>${marks}/waits-$stage
    told=yes
    sleep 0.05
  done
}
told=
wait_at before
${program} "$@"
code=$?
wait_at after
exit $code
`
}

function whereIs(program: string): string {
  if (program === 'sftp-server') return SFTP_SERVER
  const folder = ['/usr/local/bin', '/usr/bin', '/bin'].find((each) =>
    fs.existsSync(path.join(each, program)),
  )
  if (folder === undefined) throw new Error(`no ${program} on this machine`)
  return path.join(folder, program)
}
