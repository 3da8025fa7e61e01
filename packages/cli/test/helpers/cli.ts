/** Runs the program in a temporary folder: in this process, which is quick, or as a child, which is the real thing. */

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runMain } from '#src/main.js'
import { memoryTerminal } from './memory-terminal.js'

export const BIN = fileURLToPath(new URL('../../bin/orbweaver.mjs', import.meta.url))

export interface CliResult {
  readonly code: number | null
  /** Set when a signal ended it. */
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface CliOptions {
  readonly directory?: string
  readonly environment?: Readonly<Record<string, string>>
  readonly stdin?: string
  /** Called with the process once it has started: to send signals. */
  readonly onStart?: (pid: number) => void
  /** Called with each piece of stderr. */
  readonly onStderr?: (text: string, pid: number) => void
}

/** A folder of its own, removed by {@link Sandbox.remove}. */
export class Sandbox {
  readonly directory = mkdtempSync(join(tmpdir(), 'orbweaver-cli-'))
  private readonly running = new Set<number>()

  path(...parts: readonly string[]): string {
    return join(this.directory, ...parts)
  }

  /** In this process. */
  async run(argv: readonly string[], directory = this.directory): Promise<CliResult> {
    const { terminal, out, err } = memoryTerminal()
    const { signal } = new AbortController()
    const code = await runMain({ argv, terminal: () => terminal, environment: {}, directory, signal })
    return { code, signal: null, stdout: out(), stderr: err() }
  }

  /** As a child process. */
  spawn(argv: readonly string[], options: CliOptions = {}): Promise<CliResult> {
    let started = 0
    return runCli(argv, {
      directory: this.directory,
      ...options,
      onStart: (pid) => {
        started = pid
        this.running.add(pid)
        options.onStart?.(pid)
      },
    }).finally(() => this.running.delete(started))
  }

  /** Runs with `--json` and parses; throws when stdout is no JSON. */
  async json(argv: readonly string[], directory?: string): Promise<JsonResult> {
    return parsed(argv, await this.run([...argv, '--json'], directory))
  }

  async spawnJson(argv: readonly string[], options?: CliOptions): Promise<JsonResult> {
    return parsed(argv, await this.spawn([...argv, '--json'], options))
  }

  /** Also ends what a failed test has left running. */
  remove(): void {
    for (const pid of this.running) process.kill(pid, 'SIGKILL')
    rmSync(this.directory, { recursive: true, force: true })
  }
}

export interface JsonResult extends CliResult {
  readonly value: Json
}

function parsed(argv: readonly string[], result: CliResult): JsonResult {
  try {
    return { ...result, value: JSON.parse(result.stdout) as Json }
  } catch (error) {
    throw new Error(`orbweaver ${argv.join(' ')} printed no JSON: ${result.stdout}\n${result.stderr}`, {
      cause: error,
    })
  }
}

export type Json = Readonly<Record<string, unknown>>

/** What lies at a path of an answer, as `tasks.0.state`; undefined when there is nothing. */
export function at(value: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value)
}

function runCli(argv: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const {
    ORBWEAVER_SITE: _site,
    ORBWEAVER_PROFILE: _profile,
    COLUMNS: _columns,
    ...environment
  } = process.env
  const child = spawn(process.execPath, [BIN, ...argv], {
    cwd: options.directory,
    env: { ...environment, ...options.environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const { pid = 0 } = child
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    options.onStderr?.(text, pid)
  })
  // The program may end without reading its input.
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.stdin ?? '')
  if (pid !== 0) options.onStart?.(pid)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}
