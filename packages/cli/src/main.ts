/** From the process to the program: streams, signals, exit codes. */

import { setMaxListeners } from 'node:events'
import { realpathSync } from 'node:fs'
import { complete } from './commands/completion.js'
import { EXIT, errorFields, exitCodeOf, renderError } from './exit.js'
import { createProgram } from './program.js'
import { wasPrinted, writeJson } from './terminal/json.js'
import { Terminal } from './terminal/terminal.js'
import { VERSION } from './version.js'

const SIGNALS = { SIGINT: EXIT.interrupted, SIGTERM: EXIT.terminated, SIGHUP: EXIT.hangUp } as const
/** After the reader of our output is gone, work in progress gets this long to end cleanly. */
const CLOSING_MS = 5000

/** Runs the program on this process and ends it with the right exit code. */
export async function runFromProcess(): Promise<void> {
  // Files of patients' data: nobody else's business, whatever the login shell says.
  process.umask(0o077)
  const argv = process.argv.slice(2)
  const controller = new AbortController()
  // Every transfer and wait in flight listens to it; their number is limited elsewhere.
  setMaxListeners(0, controller.signal)
  let signalled: number | undefined
  let terminal: Terminal | undefined

  for (const [name, code] of Object.entries(SIGNALS)) {
    process.on(name, () => {
      if (signalled !== undefined) process.exit(code) // asked twice: at once
      signalled = code
      // Through the terminal in use: a live block may be drawn there.
      if (process.stderr.isTTY && name === 'SIGINT') {
        terminal?.error('\nStopping cleanly; jobs that run go on. Press Ctrl-C again to stop at once.\n')
      }
      controller.abort(new DOMException(`Interrupted by ${name}`, 'AbortError'))
    })
  }
  // `orbweaver status | head`: the reader has enough, which is no failure of ours.
  let readerGone = false
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') throw error
      readerGone = true
      controller.abort(new DOMException('Nobody reads the output any more', 'AbortError'))
      setTimeout(() => process.exit(EXIT.good), CLOSING_MS).unref()
    })
  }

  const terminalFor = (noColor: boolean): Terminal => {
    terminal = new Terminal({
      stdout: process.stdout,
      stderr: process.stderr,
      stdinIsTty: process.stdin.isTTY,
      environment: process.env,
      noColor,
    })
    return terminal
  }
  let code = await runMain({
    argv,
    terminal: terminalFor,
    environment: process.env,
    directory: currentDirectory(),
    signal: controller.signal,
  })
  if (readerGone) code = EXIT.good
  else if (signalled !== undefined) code = signalled
  // Everything is closed by now; a handle that a library forgot must not keep a cron job alive.
  await flush()
  process.exit(code)
}

export interface MainOptions {
  /** Without node and script. */
  readonly argv: readonly string[]
  readonly terminal: (noColor: boolean) => Terminal
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly directory: string
  readonly signal: AbortSignal
}

/** The whole program but for what belongs to the process itself. Errors are printed here. @returns the exit code */
export async function runMain(options: MainOptions): Promise<number> {
  const { argv, environment, directory, signal } = options
  const program = createProgram({ ...options, version: VERSION })
  try {
    const [first, dashes, ...words] = argv
    if (first === 'complete' && dashes === '--') {
      // Asked by the shell at each press of Tab, so nothing else may be printed.
      await complete(program.command, words, environment, directory)
      return EXIT.good
    }
    return await program.run(argv)
  } catch (error) {
    const code = exitCodeOf(error)
    const asked = signal.aborted && code === EXIT.interrupted
    if (!asked) await reportError(error, options)
    return code
  }
}

async function reportError(
  error: unknown,
  { argv, terminal: terminalFor, directory }: MainOptions,
): Promise<void> {
  const options = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : undefined)
  const terminal = terminalFor(options.includes('--no-color'))
  if (options.includes('--json') && !wasPrinted(error)) {
    await writeJson(terminal, 'error', { error: errorFields(error) })
  }
  terminal.error(
    renderError(error, {
      paint: terminal.paintError,
      width: terminal.errorWidth,
      verbose: options.some((word) => word === '--verbose' || /^-[a-z]*v[a-z]*$/.test(word)),
      directory,
    }),
  )
}

function currentDirectory(): string {
  try {
    return process.cwd()
  } catch {
    // The folder was removed under us; a path that is surely there keeps messages readable.
    return realpathSync('/')
  }
}

/** Pipes are written asynchronously: `process.exit` alone could cut the end off. */
async function flush(): Promise<void> {
  await Promise.all(
    [process.stdout, process.stderr].map(
      (stream) =>
        new Promise<void>((done) => {
          if (stream.writableLength === 0 || stream.destroyed) done()
          else {
            stream.once('drain', done)
            stream.once('error', () => done())
          }
        }),
    ),
  )
}
