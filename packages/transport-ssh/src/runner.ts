/** Programs on the far side, as `CommandRunner` promises them. */

import { InputError, printable, type CommandRunner, type CommandSpec } from '@orbweaver/core'
import type { SshConnection } from './connection/connection.js'
import { Collector, runProcess } from './connection/process.js'

export interface RunnerOptions {
  /** Folders in front of the account's PATH. */
  readonly path: readonly string[]
  /** Variables of the account's environment that programs keep. */
  readonly keepEnvironment: readonly string[]
  /** Between the polite signal and the last one. */
  readonly killGraceMs: number
}

const DEFAULT_TIMEOUT_MS = 60_000
const DEFAULT_MAX_OUTPUT_BYTES = 64 * 1024 ** 2

export function createSshRunner(connection: SshConnection, options: RunnerOptions): CommandRunner {
  return {
    async run(command, { signal } = {}) {
      signal?.throwIfAborted()
      checkCommand(command)
      await connection.settled(signal)
      const { argv, directory, environment, stdin } = command
      const maxOutputBytes = command.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES
      const stdout = new Collector(maxOutputBytes, argv[0] ?? '')
      const { stderr, exitCode, ...rest } = await runProcess(
        connection,
        {
          argv,
          path: options.path,
          keep: options.keepEnvironment,
          known: true,
          ...(directory !== undefined && { directory }),
          ...(environment !== undefined && { environment }),
          ...(stdin !== undefined && { stdin }),
          stdout,
          timeoutMs: command.timeoutMs ?? DEFAULT_TIMEOUT_MS,
          maxErrorBytes: maxOutputBytes,
        },
        { killGraceMs: options.killGraceMs, ...(signal !== undefined && { signal }) },
      )
      return { exitCode, ...rest, stdout: stdout.content.toString('utf8'), stderr: stderr.toString('utf8') }
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
