/** Job scripts in folders of their own, run by real shells. */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExitRecord, StartRecord } from '#src/domain/job.js'
import { systemErrorCode } from '#src/errors.js'
import {
  parseExitRecord,
  parseStartRecord,
  renderJobScript,
  type JobCommands,
  type JobScriptOptions,
} from '#src/job/job-script.js'
import { pathsOf } from '#src/job/workspace.js'

/** How a script is given to a shell. From standard input it cannot start itself again under bash. */
export interface Shell {
  readonly name: string
  readonly argv: readonly string[]
  readonly fromInput: boolean
}

const has = (program: string): boolean =>
  spawnSync('/bin/sh', ['-c', 'command -v "$1"', 'sh', program], { stdio: 'ignore' }).status === 0

const PLAIN: Shell = {
  name: 'sh, which goes on as bash where there is one',
  argv: ['/bin/sh'],
  fromInput: false,
}

/** The shells of this machine. */
export const SHELLS: readonly Shell[] = [
  PLAIN,
  ...(has('dash') ? [{ name: 'dash alone', argv: ['dash'], fromInput: true }] : []),
  ...(has('busybox') ? [{ name: 'busybox alone', argv: ['busybox', 'sh'], fromInput: true }] : []),
]

export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: Buffer
  readonly stderr: string
  readonly start: StartRecord | undefined
  readonly exit: ExitRecord | undefined
}

let serial = 0

export class ScriptLab {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'orbweaver-job-')))
  /** In the environment of everything that is started here. */
  readonly mark = `ORBWEAVER_TEST_MARK=${this.folder}`
  #serial = 0

  /** A workspace with its folders. */
  workspace(name = `w${++this.#serial}`): string {
    const root = join(this.folder, name)
    for (const folder of ['inputs', 'outputs', 'tmp', 'log'])
      mkdirSync(join(root, folder), { recursive: true })
    return root
  }

  start(
    commands: JobCommands,
    options: Partial<JobScriptOptions> & {
      readonly shell?: Shell
      readonly outside?: Readonly<Record<string, string>>
    } = {},
  ): { readonly child: ChildProcess; readonly workspace: string; readonly done: Promise<Finished> } {
    const { shell = PLAIN, outside, ...rest } = options
    const workspace = rest.workspace ?? this.workspace()
    const paths = pathsOf(workspace)
    const script = renderJobScript(commands, {
      name: `ow-test-${++serial}`,
      fsync: false,
      ...rest,
      workspace,
    })
    const file = join(this.folder, `job-${serial}.sh`)
    writeFileSync(file, script)
    const [program = 'sh', ...words] = shell.argv
    const input = shell.fromInput ? openSync(file, 'r') : 'ignore'
    const child = spawn(program, shell.fromInput ? words : [...words, file], {
      env: { PATH: process.env['PATH'], ORBWEAVER_TEST_MARK: this.folder, ...outside },
      stdio: [input, 'pipe', 'pipe'],
    })
    if (typeof input === 'number') closeSync(input)
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
    const done = new Promise<Finished>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        resolve({
          code,
          signal,
          stdout: Buffer.concat(stdout),
          stderr: Buffer.concat(stderr).toString('utf8'),
          start: existsSync(paths.started)
            ? parseStartRecord(readFileSync(paths.started, 'utf8'))
            : undefined,
          exit: existsSync(paths.exit) ? parseExitRecord(readFileSync(paths.exit, 'utf8')) : undefined,
        })
      })
    })
    return { child, workspace, done }
  }

  async run(...words: Parameters<ScriptLab['start']>): Promise<Finished> {
    return await this.start(...words).done
  }

  /** Numbers of the living processes that were started here. Zombies have ended. */
  processes(): readonly number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        const stat = textOf(`/proc/${pid}/stat`)
        return (
          textOf(`/proc/${pid}/environ`).split('\0').includes(this.mark) &&
          !stat.slice(stat.lastIndexOf(')')).startsWith(') Z')
        )
      })
  }

  async nothingLeft(): Promise<void> {
    await until('nothing that was started here lives', () => this.processes().length === 0)
  }

  dispose(): void {
    for (const pid of this.processes()) process.kill(pid, 'SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(systemErrorCode(error) ?? '')) return ''
    throw error
  }
}

export async function until(what: string, look: () => boolean, deadlineMs = 20_000): Promise<void> {
  const deadline = Date.now() + deadlineMs
  while (!look()) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
