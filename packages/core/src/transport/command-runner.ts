/** Programs on this machine: argument lists, a clean environment, and an end that is always known. */

import { spawn, type ChildProcess } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import {
  AccessDeniedError,
  InputError,
  NotFoundError,
  TransportUnavailableError,
  systemErrorCode,
} from '../errors.js'
import { printable } from '../domain/labels.js'
import type { CallOptions } from '../ports/options.js'
import type { CommandResult, CommandRunner, CommandSpec } from '../ports/transport.js'
import { printablePath } from './system-errors.js'

export interface LocalRunnerOptions {
  /** Where programs are looked for. Default: the PATH of this process, or the usual system folders. */
  readonly path?: string
  /** HOME of the programs. Default: this user's. */
  readonly home?: string
  /** Between the polite signal (SIGTERM) and the last one (SIGKILL) when a program's time is over. Default 1 000. */
  readonly killGraceMs?: number
}

const DEFAULT_TIMEOUT_MS = 60_000
const DEFAULT_MAX_OUTPUT_BYTES = 64 * 1024 ** 2

/**
 * Runs programs on this machine. Each gets a process group of its own, so that a time-out or an abort ends it with all
 * its children; nothing of this process's environment reaches it but PATH and HOME.
 */
export function createLocalRunner(options: LocalRunnerOptions = {}): CommandRunner {
  const minimal = {
    PATH: options.path ?? process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
    HOME: options.home ?? homedir(),
    LANG: 'C.UTF-8',
    LC_ALL: 'C.UTF-8',
  }
  const killGraceMs = options.killGraceMs ?? 1000
  return {
    async run(command: CommandSpec, { signal }: CallOptions = {}): Promise<CommandResult> {
      signal?.throwIfAborted()
      checkCommand(command)
      const child = await start(command, { ...minimal, ...command.environment })
      return await watch(child, command, killGraceMs, signal)
    },
  }
}

function checkCommand({ argv, directory, environment = {} }: CommandSpec): void {
  if (argv.length === 0 || argv[0] === '') throw new TypeError('argv needs a program as its first word')
  const texts = [...argv, directory ?? '', ...Object.keys(environment), ...Object.values(environment)]
  const bad = texts.find((text) => text.includes('\0'))
  if (bad !== undefined) {
    throw new InputError(
      `Cannot run ${printable(argv[0] ?? '')}: ${printable(bad)} holds a NUL character, which no program can be given.`,
    )
  }
}

async function start(command: CommandSpec, environment: Record<string, string>): Promise<ChildProcess> {
  const [program = '', ...words] = command.argv
  try {
    const child = spawn(program, words, {
      env: environment,
      detached: true, // a process group of its own
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(command.directory !== undefined && { cwd: command.directory }),
    })
    if (child.pid !== undefined) return child
    throw await new Promise<unknown>((resolve) => child.once('error', resolve))
  } catch (error) {
    throw await startError(error, command, environment['PATH'] ?? '')
  }
}

async function startError(
  error: unknown,
  { argv, directory }: CommandSpec,
  searchPath: string,
): Promise<unknown> {
  const code = systemErrorCode(error)
  if (code === undefined) return error
  const program = printable(argv[0] ?? '')
  const options = { details: { program: argv[0], directory, code }, cause: error }
  // A folder of the PATH that may not be entered gives EACCES for a program that is in none of the others.
  const notThere = code === 'EACCES' && !(await isOnPath(argv[0] ?? '', searchPath))
  if (code === 'ENOENT' || code === 'ENOTDIR' || notThere) {
    // The system gives the same code for a missing program and a missing working directory.
    if (directory !== undefined && !(await isFolder(directory))) {
      return new NotFoundError(
        `Cannot run ${program} in ${printablePath(directory)}: there is no such folder.`,
        options,
      )
    }
    return new NotFoundError(`Cannot run ${program}: there is no such program on this machine.`, {
      ...options,
      hint: 'Install it, or write its full path in the site file.',
    })
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new AccessDeniedError(`Cannot run ${program}: permission denied (${code}).`, {
      ...options,
      hint: 'Check that it is executable and that this user may enter its folder.',
    })
  }
  if (code === 'E2BIG') {
    return new InputError(
      `Cannot run ${program}: its arguments and environment are longer than the system allows.`,
      options,
    )
  }
  return new TransportUnavailableError(`Cannot start ${program} now: ${code}.`, {
    ...options,
    hint: 'The machine may be short of processes, memory or open files.',
  })
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
}

/** Whether a program is there, executable or not. One with a slash in its name is not looked for. */
async function isOnPath(program: string, searchPath: string): Promise<boolean> {
  if (program.includes('/')) return true
  for (const folder of searchPath.split(':')) {
    const found = await stat(join(folder, program)).catch(() => undefined)
    if (found?.isFile() === true) return true
  }
  return false
}

function watch(
  child: ChildProcess,
  command: CommandSpec,
  killGraceMs: number,
  signal: AbortSignal | undefined,
): Promise<CommandResult> {
  const timeoutMs = command.timeoutMs ?? DEFAULT_TIMEOUT_MS
  const maxOutputBytes = command.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES
  const program = printable(command.argv[0] ?? '')

  return new Promise((resolve, reject) => {
    let failure: { readonly reason: Error } | undefined
    let lastSignal: NodeJS.Timeout | undefined

    const end = (reason: Error): void => {
      if (failure !== undefined) return
      failure = { reason }
      if (child.exitCode !== null || child.signalCode !== null) {
        // It has ended; a child of it still holds the pipes.
        giveUp(child.exitCode, child.signalCode)
        return
      }
      killGroup(child, 'SIGTERM')
      lastSignal = setTimeout(() => killGroup(child, 'SIGKILL'), killGraceMs)
    }
    const collect = (stream: Readable | null, name: string): Buffer[] => {
      const chunks: Buffer[] = []
      let bytes = 0
      stream?.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes <= maxOutputBytes) chunks.push(chunk)
        else {
          end(
            new InputError(`${program} wrote more than ${maxOutputBytes} bytes to its ${name}.`, {
              details: { program: command.argv[0], maxOutputBytes },
              hint: 'Ask it for less at a time.',
            }),
          )
        }
      })
      return chunks
    }
    const stdout = collect(child.stdout, 'standard output')
    const stderr = collect(child.stderr, 'standard error')

    const onAbort = (): void => end(signal?.reason as Error)
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = setTimeout(
      () =>
        end(
          new TransportUnavailableError(
            `${program} did not end within ${timeoutMs / 1000} s and was ended.`,
            {
              details: { program: command.argv[0], timeoutMs },
            },
          ),
        ),
      timeoutMs,
    )

    const settle = (exitCode: number | null, ended: NodeJS.Signals | null): void => {
      clearTimeout(timer)
      clearTimeout(lastSignal)
      signal?.removeEventListener('abort', onAbort)
      if (failure !== undefined) {
        reject(failure.reason)
        return
      }
      resolve({
        exitCode: exitCode ?? undefined,
        ...(ended !== null && { signal: ended }),
        stdout: Buffer.concat(stdout).toString('utf8'),
        stderr: Buffer.concat(stderr).toString('utf8'),
      })
    }
    const giveUp = (exitCode: number | null, ended: NodeJS.Signals | null): void => {
      // The program heeded the signal; children of it that did not are ended now.
      killGroup(child, 'SIGKILL')
      // A process that left the group may hold the pipes open for ever: its output is of no use any more.
      child.stdout?.destroy()
      child.stderr?.destroy()
      settle(exitCode, ended)
    }
    child.on('error', (error) => end(error))
    child.once('exit', (exitCode, ended) => {
      if (failure !== undefined) giveUp(exitCode, ended)
    })
    child.once('close', settle)

    // A program that ends without reading its input is no failure of ours.
    child.stdin?.on('error', (error) => {
      const code = systemErrorCode(error)
      if (code !== 'EPIPE' && code !== 'ECONNRESET' && code !== 'ERR_STREAM_DESTROYED') end(error)
    })
    child.stdin?.end(command.stdin ?? '')
    if (signal?.aborted === true) onAbort()
  })
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    // ESRCH: nobody is left. EPERM (macOS): only zombies are left.
    const code = systemErrorCode(error)
    if (code !== 'ESRCH' && code !== 'EPERM') throw error
  }
}
