/** The `orbweaver` command as a person or a cron job runs it: a process of its own, no terminal, no stdin. */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { ROOT } from '../../support/repository.js'

export const ORBWEAVER = path.join(ROOT, 'packages', 'cli', 'bin', 'orbweaver.mjs')

export interface CliOptions {
  readonly cwd: string
  readonly environment?: Readonly<Record<string, string>>
  /** Run as this user; needs root. */
  readonly uid?: number
  /** Default: the same number as `uid`. */
  readonly gid?: number
}

export interface CliResult {
  /** `null` when a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunningCli {
  readonly process: ChildProcess
  readonly ended: Promise<CliResult>
}

/** Only what a plain login has, so that settings of this machine do not leak into tests. */
function environmentFor({ cwd, environment }: CliOptions): NodeJS.ProcessEnv {
  const { PATH, HOME, LANG, TMPDIR, NODE_V8_COVERAGE } = process.env
  const kept = { PATH, HOME: HOME ?? cwd, LANG: LANG ?? 'C.UTF-8', TMPDIR, NODE_V8_COVERAGE }
  const set = Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined))
  return { ...set, NO_COLOR: '1', ...environment }
}

export function startCli(args: readonly string[], options: CliOptions): RunningCli {
  const child = spawn(process.execPath, [ORBWEAVER, ...args], {
    cwd: options.cwd,
    env: environmentFor(options),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.uid !== undefined && { uid: options.uid, gid: options.gid ?? options.uid }),
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = once(child, 'close').then(() => ({ code: child.exitCode, stdout, stderr }))
  return { process: child, ended }
}

export async function runCli(args: readonly string[], options: CliOptions): Promise<CliResult> {
  return startCli(args, options).ended
}

/** As {@link runCli}, for steps that must work: fails the test with everything that was said. */
export async function mustRun(args: readonly string[], options: CliOptions): Promise<CliResult> {
  const result = await runCli(args, options)
  if (result.code !== 0) {
    throw new Error(
      `orbweaver ${args.join(' ')}: exit code ${result.code}\n${result.stdout}\n${result.stderr}`,
    )
  }
  return result
}

/** What a command prints with `--json`. */
export async function askJson<T>(args: readonly string[], options: CliOptions): Promise<T> {
  const { stdout } = await mustRun([...args, '--json'], options)
  return JSON.parse(stdout) as T
}
