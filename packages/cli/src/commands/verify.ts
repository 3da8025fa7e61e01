import type { VerifyResult } from '@orbweaver/core'
import { formatMemory } from '@orbweaver/core'
import type { Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT } from '../exit.js'
import { addSelectors, selectsEverything, type SelectorOptions } from '../selectors.js'
import { nothingMatches, resolveLabels, streamJson } from '../tasks.js'
import { LiveBlock } from '../terminal/live-block.js'
import { count, shortenMiddle } from '../terminal/text.js'

export function registerVerify(program: Command, bind: Bind): void {
  const command = program
    .command('verify')
    .summary('read the archive again and compare with what was recorded')
    .description(
      'Read the results of complete tasks in the archive again and compare names, sizes and checksums with what was ' +
        'recorded when they were stored. Changes nothing. Exit code 1 when anything differs.',
    )
    .argument('[labels...]', 'tasks, by label or a piece of it; default: all')
    .option('--deep', 'also read every byte and compute its checksum')
  addSelectors(command)
  bind<SelectorOptions & { readonly deep?: boolean }, [readonly string[]]>(
    command,
    async (session, options, words) => {
      const { engine } = await session.open()
      const labels = words.length === 0 ? [] : await resolveLabels(engine, words, session)
      const selection = await session.selection(options, labels)
      const totals = { tasks: 0, bad: 0, files: 0, bytes: 0 }
      const tally = (result: VerifyResult): void => {
        totals.tasks += 1
        totals.files += result.files
        totals.bytes += result.bytes
        if (!result.ok) totals.bad += 1
      }
      const verify = (onResult: (result: VerifyResult) => void): Promise<void> =>
        engine.verify(selection, {
          signal: session.signal,
          ...(options.deep !== undefined && { deep: options.deep }),
          onResult,
        })
      if (session.json) {
        await streamJson(session, 'verify', 'results', async (add) => {
          let last: Promise<void> = Promise.resolve()
          await verify((result) => {
            tally(result)
            last = last.then(() => add(result))
          })
          await last
          return totals
        })
        return totals.bad > 0 ? EXIT.failed : EXIT.good
      }
      const { terminal } = session
      let current = ''
      const block = terminal.errorIsTty
        ? new LiveBlock(terminal, (width) => [
            `verifying ${count(totals.tasks, 'task')} ${shortenMiddle(current, Math.max(10, width - 30))}`,
          ])
        : undefined
      block?.start()
      try {
        await verify((result) => {
          tally(result)
          current = result.label
          if (result.ok) return
          terminal.error(`${terminal.paintError.red('differs')} ${result.label}\n`)
          for (const problem of result.problems) terminal.error(`  ${problem}\n`)
        })
      } finally {
        block?.stop()
      }
      if (totals.tasks === 0 && !selectsEverything(selection))
        throw nothingMatches(selection, 'complete tasks')
      const what = `${count(totals.tasks, 'task')}, ${count(totals.files, 'file')}, ${formatMemory(totals.bytes)}`
      const how =
        options.deep === true ? 'every byte read' : 'names, sizes and checksums as the archive lists them'
      await session.print(
        totals.bad === 0
          ? `All as recorded: ${what} (${how}).`
          : `${count(totals.bad, 'task differs', 'tasks differ')} from what was recorded (${what} looked at). To make them again: orbweaver retry --force LABEL`,
      )
      return totals.bad > 0 ? EXIT.failed : EXIT.good
    },
  )
}
