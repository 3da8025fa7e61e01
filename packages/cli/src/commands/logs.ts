import type { LogChunk } from '@orbweaver/core'
import type { Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT, NoMatchError, UsageError } from '../exit.js'
import { parseCount } from '../selectors.js'
import { resolveLabels } from '../tasks.js'
import { safeForTerminal } from '../terminal/text.js'

interface LogsOptions {
  readonly attempt?: number
  readonly follow?: boolean
  readonly stderr?: boolean
}

export function registerLogs(program: Command, bind: Bind): void {
  const command = program
    .command('logs')
    .summary('what the job of a task printed')
    .description(
      "Show what the job of a task printed: its stdout on stdout, its stderr on stderr. From the job's folder while it " +
        'is there, else from the archive.',
    )
    .argument('<label>', 'the task, by label or a piece of it')
    .option('-a, --attempt <number>', 'of this attempt; default: the last one', parseCount)
    .option('-f, --follow', 'go on until the job ends')
    .option('--stderr', 'only what went to stderr (printed on stdout)')
  bind<LogsOptions, [string]>(command, async (session, options, word) => {
    if (session.json && options.follow === true) {
      throw new UsageError(
        '--json prints one object at the end and cannot follow.',
        'Leave out --follow or --json.',
      )
    }
    const { engine } = await session.open()
    const [label = word] = await resolveLabels(engine, [word], session)
    const attempts = engine.attempts(label).map(({ attempt }) => attempt)
    if (options.attempt !== undefined && attempts.length > 0 && !attempts.includes(options.attempt)) {
      throw new NoMatchError(
        `Task ${label} has no attempt ${options.attempt}.`,
        `Attempts: ${[...attempts].sort((a, b) => a - b).join(', ')}.`,
      )
    }
    const { terminal } = session
    const texts: Record<LogChunk['stream'], string[]> = { stdout: [], stderr: [] }
    let printed = false
    // Chunks come by a callback that cannot wait; the stream keeps them in order.
    let last: Promise<void> = Promise.resolve()
    await engine.logs(label, {
      signal: session.signal,
      ...(options.attempt !== undefined && { attempt: options.attempt }),
      ...(options.follow !== undefined && { follow: options.follow }),
      onChunk({ stream, text }) {
        if (text === '' || (options.stderr === true && stream === 'stdout')) return
        printed = true
        if (session.json) texts[stream].push(text)
        else if (stream === 'stderr' && options.stderr !== true) {
          terminal.error(terminal.errorIsTty ? safeForTerminal(text) : text)
        } else {
          const shown = terminal.outIsTty ? safeForTerminal(text) : text
          last = last.then(() => terminal.write(shown))
        }
      },
    })
    await last
    if (session.json) {
      await session.answer('logs', {
        label,
        ...(options.attempt !== undefined && { attempt: options.attempt }),
        ...(options.stderr !== true && { stdout: texts.stdout.join('') }),
        stderr: texts.stderr.join(''),
      })
    } else if (!printed) session.note('The job printed nothing.')
    return EXIT.good
  })
}
