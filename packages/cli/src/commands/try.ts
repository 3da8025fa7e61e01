import { formatMemory, type Processor } from '@orbweaver/core'
import type { Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT, UsageError, didYouMean } from '../exit.js'
import { RunView } from '../run-view.js'
import { addSelectors, type SelectorOptions } from '../selectors.js'
import type { Session } from '../session.js'
import { loadProcessor, looksLikeFile, readyProcessor } from '../ready.js'
import { causeJson } from '../tasks.js'
import { quoteForShell } from '../terminal/shell.js'
import { count } from '../terminal/text.js'

export function registerTry(program: Command, bind: Bind): void {
  const command = program
    .command('try')
    .summary('run one processor on one session, without touching the archive')
    .description(
      'Run one processor on one session (or scan, subject, project) in a folder of its own. The archive is only read. ' +
        'For writing a processor: try it here, then run it unchanged.',
    )
    .argument('<processor>', 'name of a processor, or the path of its file')
    .option('--keep <folder>', 'run in this folder, and leave it there')
  addSelectors(command, ['processor', 'status', 'failed', 'since'])
  bind<SelectorOptions & { readonly keep?: string }, [string]>(command, async (session, options, word) => {
    const processor = await findProcessor(session, word)
    const selection = await session.selection(options)
    if (
      selection.sessions === undefined &&
      selection.subjects === undefined &&
      processor.level !== 'project'
    ) {
      throw new UsageError(
        'Say on what to try it.',
        'For example: --session S01_MR1. What there is: orbweaver list sessions',
      )
    }
    const { engine } = await session.open()
    const { terminal } = session
    const view = new RunView({
      terminal,
      processors: [processor],
      style: session.json && !session.verbose ? 'quiet' : terminal.errorIsTty ? 'block' : 'lines',
      title: `trying ${processor.name}`,
      detailed: session.verbose,
    })
    view.start()
    const results = await engine
      .try(processor, selection, {
        signal: session.signal,
        onEvent: view.onEvent,
        ...(options.keep !== undefined && { directory: session.path(options.keep) }),
      })
      .finally(() => view.stop())
    const failed = results.filter(({ state }) => state === 'failed').length
    if (session.json) {
      await session.answer('try', {
        processor: processor.name,
        results: results.map((result) => ({ ...result, cause: causeJson(result.cause) })),
      })
      return failed > 0 ? EXIT.failed : EXIT.good
    }
    const { paint } = terminal
    for (const result of results) {
      const good = result.state === 'complete'
      await session.print(`${good ? paint.green('complete') : paint.red('failed  ')} ${result.label}`)
      await session.print(`  command   ${result.command.map(quoteForShell).join(' ')}`)
      await session.print(`  folder    ${result.workspace}`)
      if (result.cause !== undefined) {
        await session.print(`  cause     ${result.cause.kind}: ${result.cause.summary}`)
        for (const { source, text } of result.cause.evidence) {
          await session.print(`            ${source}: ${text.replaceAll('\n', '\n            ')}`)
        }
      }
      for (const { resource, files } of result.outputs) {
        for (const { path, bytes } of files) {
          await session.print(`  result    ${resource}/${path} (${formatMemory(bytes)})`)
        }
      }
    }
    await session.print(
      failed === 0
        ? `${count(results.length, 'task')} tried, all good. The archive was not changed.`
        : `${failed} of ${count(results.length, 'task')} failed. The archive was not changed.`,
    )
    return failed > 0 ? EXIT.failed : EXIT.good
  })
}

async function findProcessor(session: Session, word: string): Promise<Processor> {
  if (looksLikeFile(word)) return loadProcessor(session.path(word))
  const { settings } = await session.site()
  const known = settings.projects.flatMap(({ processors }) => processors)
  const found = known.find(({ name, procType }) => name === word || procType === word) ?? readyProcessor(word)
  if (found !== undefined) return found
  const names = [...new Set(known.map(({ name }) => name))]
  throw new UsageError(
    `There is no processor ${word}.`,
    didYouMean(word, names, 'processors') ??
      'Give a name from `orbweaver list processors`, or a path such as ./my.yaml.',
  )
}
