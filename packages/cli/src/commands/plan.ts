import { formatRef, type Action, type Decision, type PlanCounts, type Selection } from '@orbweaver/core'
import type { Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT } from '../exit.js'
import { addSelectors, parseCount, selectsEverything, type SelectorOptions } from '../selectors.js'
import type { Session } from '../session.js'
import { decisionJson, nothingMatches, streamJson } from '../tasks.js'
import type { Column } from '../terminal/table.js'
import type { Paint } from '../terminal/terminal.js'
import { count } from '../terminal/text.js'
import { formatTime } from '../terminal/time.js'
import { ACTION_ORDER, ACTION_TITLES, paintState } from '../terminal/words.js'

interface PlanCommandOptions extends SelectorOptions {
  readonly limit: number
  readonly all?: boolean
}

const ROWS = 20

export function registerPlan(program: Command, bind: Bind): void {
  const command = program
    .command('plan')
    .summary('show what run would do, and why')
    .description('Show exactly what `orbweaver run` would do now, and why. Changes nothing.')
    .option('-n, --limit <rows>', 'rows shown of each kind', parseCount, ROWS)
    .option('--all', 'every decision, also those with nothing to do')
  addSelectors(command)
  bind<PlanCommandOptions>(command, async (session, options) => {
    const selection = await session.selection(options)
    const counts = await showPlan(session, selection, options)
    const { submit, rerun, create, mark } = counts.actions
    if (submit + rerun + create + mark > 0) session.note('Nothing was changed. To do this: orbweaver run')
    return EXIT.good
  })
}

/** Also what `run -n` does. */
export async function showPlan(
  session: Session,
  selection: Selection,
  options: { readonly limit: number; readonly all?: boolean },
): Promise<PlanCounts> {
  const { engine } = await session.open()
  const { signal } = session
  if (session.json) {
    const { counts } = await streamJson(session, 'plan', 'decisions', async (add) => {
      const found = await engine.plan(selection, {
        signal,
        onDecision: (decision) =>
          options.all === true || decision.action !== 'none' ? add(decisionJson(decision, false)) : undefined,
      })
      if (decidesNothing(found, selection)) throw nothingMatches(selection, 'targets of a processor')
      return { counts: found }
    })
    return counts
  }
  const counts =
    options.all === true
      ? await printAll(session, selection)
      : await printGroups(session, selection, options.limit)
  if (decidesNothing(counts, selection)) throw nothingMatches(selection, 'targets of a processor')
  await session.print(summarise(counts))
  return counts
}

/** Something was selected, and no processor has anything to say about it. */
export function decidesNothing({ actions, noTask }: PlanCounts, selection: Selection): boolean {
  const decided = Object.values(actions).reduce((sum, number) => sum + number, noTask)
  return decided === 0 && !selectsEverything(selection)
}

/** Every decision in archive order, in bounded memory. */
async function printAll(session: Session, selection: Selection): Promise<PlanCounts> {
  const { engine } = await session.open()
  const queue = new DecisionQueue()
  const planned = engine
    .plan(selection, { signal: session.signal, onDecision: (decision) => queue.put(decision) })
    .finally(() => queue.end())
  const columns: readonly Column<Decision>[] = [
    { head: 'ACTION', value: ({ action }) => action },
    ...decisionColumns(session.terminal.paint),
  ]
  // Waited for together: an error of either ends both.
  const [counts] = await Promise.all([planned, session.streamTable(columns, queue)])
  if (counts.sessions > 0) await session.print()
  return counts
}

/** Some decisions of each kind. */
async function printGroups(session: Session, selection: Selection, limit: number): Promise<PlanCounts> {
  const { engine } = await session.open()
  const kept = new Map<Action, Decision[]>(ACTION_ORDER.map((action) => [action, []]))
  // Ready but for a pause or a limit of the cluster: nothing is done, and yet somebody should know.
  const held: Decision[] = []
  let heldCount = 0
  const counts = await engine.plan(selection, {
    signal: session.signal,
    onDecision(decision) {
      const group = kept.get(decision.action)
      if (group !== undefined && decision.action !== 'none' && group.length < limit) group.push(decision)
      if (decision.action !== 'none' || decision.to !== 'held') return
      heldCount += 1
      if (held.length < limit) held.push(decision)
    },
  })
  const { paint } = session.terminal
  const groups = ACTION_ORDER.map(
    (action) => [ACTION_TITLES[action], kept.get(action) ?? [], counts.actions[action]] as const,
  )
  for (const [title, group, total] of [...groups, ['Held', held, heldCount] as const]) {
    if (group.length === 0) continue
    await session.print(`${paint.bold(title)} ${paint.dim(`(${total.toLocaleString('en-GB')})`)}`)
    await session.table(decisionColumns(paint), group, 2)
    if (total > group.length) {
      await session.print(
        paint.dim(`  … and ${count(total - group.length, 'more', 'more')}: --limit ${total}, or --all`),
      )
    }
    await session.print()
  }
  return counts
}

function decisionColumns(paint: Paint): readonly Column<Decision>[] {
  return [
    { head: 'TARGET', value: ({ target }) => formatRef(target), narrow: 'middle', least: 16 },
    { head: 'PROCESSOR', value: ({ processor }) => processor, narrow: 'middle', least: 12 },
    {
      head: 'STATE',
      value: ({ from, to, action }) =>
        from === undefined || from === to || action === 'none' ? to : `${from} → ${to}`,
      paint: (cell, { to }) => paintState(paint, to)(cell),
    },
    { head: 'TRY', value: ({ attempt }) => (attempt === undefined ? '' : String(attempt)), align: 'right' },
    {
      head: 'WHY',
      value: ({ reason, notBeforeMs }) =>
        notBeforeMs !== undefined && notBeforeMs > Date.now() && !reason.includes('until')
          ? `${reason} (not before ${formatTime(notBeforeMs)})`
          : reason,
      narrow: 'wrap',
      least: 24,
    },
  ]
}

export function summarise(counts: PlanCounts): string {
  const { actions, states, noTask } = counts
  const lines = [
    `Looked at ${count(counts.subjects, 'subject')}, ${count(counts.sessions, 'session')}, ${count(counts.scans, 'scan')}.`,
  ]
  const submit = actions.submit + actions.rerun
  const change = actions.create + actions.mark
  if (submit === 0 && change === 0 && actions.follow === 0) {
    lines.push(`Nothing to do: ${count(states.complete, 'task is', 'tasks are')} complete.`)
  } else {
    const parts = [
      submit > 0 ? `${count(submit, 'job')} to submit` : '',
      change > 0 ? `${count(change, 'state')} to write` : '',
      actions.follow > 0 ? `${count(actions.follow, 'task')} under way` : '',
      states.complete > 0 ? `${count(states.complete, 'task')} complete` : '',
    ].filter((part) => part !== '')
    lines.push(`${parts.join(', ')}.`)
  }
  if (states.held > 0) lines.push(`${count(states.held, 'task is', 'tasks are')} held.`)
  if (states.waiting > 0) {
    lines.push(
      `${count(states.waiting, 'task waits', 'tasks wait')} for inputs: orbweaver status --status waiting`,
    )
  }
  if (states.failed > 0)
    lines.push(`${count(states.failed, 'task has', 'tasks have')} failed: orbweaver status --failed`)
  if (noTask > 0) {
    lines.push(
      `${count(noTask, 'target has', 'targets have')} nothing for a processor to run on: orbweaver plan --all`,
    )
  }
  return lines.join('\n')
}

/** From a producer that waits for its consumer to a stream: one decision in between. */
class DecisionQueue implements AsyncIterable<Decision> {
  private waiting: { readonly decision: Decision; readonly taken: () => void } | undefined
  private wake: (() => void) | undefined
  private ended = false

  put(decision: Decision): Promise<void> {
    return new Promise((taken) => {
      this.waiting = { decision, taken }
      this.wake?.()
    })
  }

  end(): void {
    this.ended = true
    this.wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Decision> {
    for (;;) {
      const item = this.waiting
      if (item !== undefined) {
        this.waiting = undefined
        yield item.decision
        item.taken()
      } else if (this.ended) return
      else await new Promise<void>((wake) => (this.wake = wake))
    }
  }
}
