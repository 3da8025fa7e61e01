import { formatRef, formatResourceRef, type Decision, type TaskRecord } from '@orbweaver/core'
import type { Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT, UsageError } from '../exit.js'
import { addSelectors, selectsEverything, type SelectorOptions } from '../selectors.js'
import type { Session } from '../session.js'
import { causeJson, decisionJson, nothingMatches, resolveLabels } from '../tasks.js'
import { wrap } from '../terminal/text.js'
import { formatTime } from '../terminal/time.js'
import { paintState } from '../terminal/words.js'

/** More than this is no explanation any more. */
const MOST = 200

export function registerExplain(program: Command, bind: Bind): void {
  const command = program
    .command('explain')
    .summary('why a task is where it is')
    .description(
      'Say rule by rule why a task is where it is, or why there is none: every question that was asked, and what was found.',
    )
    .argument('[label]', 'a task, by its label or a piece of it')
  addSelectors(command, ['since'])
  bind<SelectorOptions, [string | undefined]>(command, async (session, options, word) => {
    const { engine } = await session.open()
    const labels = word === undefined ? [] : await resolveLabels(engine, [word], session)
    const selection = await session.selection(options, labels)
    if (selectsEverything(selection)) {
      throw new UsageError(
        'Say what to explain: a task label, or selectors.',
        'For example: orbweaver explain --session S01_MR1 --processor dti-qa',
      )
    }
    // States are asked of what is decided, so that "why is this waiting" also finds what has no task yet.
    const { states, ...wide } = selection
    const { decisions } = await engine.planAll(wide, { signal: session.signal })
    const asked = decisions.filter(
      ({ task, to, from, madeBy = '' }) =>
        (labels.length === 0 ||
          (task !== undefined && labels.includes(task.label)) ||
          labels.includes(madeBy)) &&
        (states === undefined || states.includes(to) || (from !== undefined && states.includes(from))),
    )
    if (asked.length === 0 && word !== undefined) {
      throw nothingMatches(selection, 'decisions (no processor of this site makes this task)')
    }
    if (asked.length === 0) throw nothingMatches(selection, 'targets of a processor')
    const shown = asked.slice(0, MOST)
    const records = new Map<Decision, TaskRecord | undefined>()
    for (const decision of shown) {
      if (decision.task === undefined || decision.from === undefined) continue
      records.set(decision, await engine.record(decision.task.ref, { signal: session.signal }))
    }
    if (session.json) {
      await session.answer('explain', {
        decisions: shown.map((decision) => ({
          ...decisionJson(decision, true),
          cause: causeJson(decision.cause ?? records.get(decision)?.cause),
        })),
        left: asked.length - shown.length,
      })
      return EXIT.good
    }
    for (const [index, decision] of shown.entries()) {
      if (index > 0) await session.print()
      await session.terminal.lines(renderDecision(session, decision, records.get(decision)))
    }
    if (asked.length > shown.length)
      session.note(`… and ${asked.length - shown.length} more: narrow the selection.`)
    return EXIT.good
  })
}

export function renderDecision(
  session: Session,
  decision: Decision,
  record: TaskRecord | undefined,
): string[] {
  const { terminal } = session
  const { paint } = terminal
  const lines: string[] = []
  const field = (name: string, text: string): void => {
    const [first = '', ...rest] = wrap(text, terminal.width - 11)
    lines.push(`  ${paint.dim(name.padEnd(8))} ${first}`, ...rest.map((line) => ' '.repeat(11) + line))
  }
  lines.push(
    `${paint.bold(decision.processor)} ${decision.procVersion} on ${paint.bold(formatRef(decision.target))}`,
  )
  if (decision.task !== undefined) field('task', decision.task.label)
  if (decision.madeBy !== undefined) field('made by', `another program, as ${decision.madeBy}`)
  const { from, to, action, attempt } = decision
  const state = (word: typeof to): string => paintState(paint, word)(word)
  const change = from === undefined || from === to ? state(to) : `${state(from)} → ${state(to)}`
  const what =
    decision.task === undefined
      ? 'no task yet'
      : action === 'none'
        ? 'nothing to do'
        : `${action}${attempt === undefined ? '' : `, attempt ${attempt}`}`
  lines.push(`  ${paint.dim('state'.padEnd(8))} ${change} (${what})`)
  field('because', decision.reason)
  const cause = decision.cause ?? record?.cause
  if (cause !== undefined) {
    field('cause', `${cause.kind}: ${cause.summary}`)
    for (const { source, text } of cause.evidence) field('', `${source}: ${text}`)
  }
  if (decision.notBeforeMs !== undefined && decision.notBeforeMs > Date.now()) {
    field('not', `before ${formatTime(decision.notBeforeMs)}`)
  }
  for (const input of decision.task?.inputs ?? []) {
    const sources = input.sources.map((source) => formatResourceRef(source))
    field('input', `${input.name}: ${sources.length === 0 ? 'none (optional)' : sources.join(', ')}`)
  }
  if (decision.trace.length > 0) lines.push('')
  const marks = { yes: paint.green('yes '), no: paint.red('no  '), info: paint.dim(' ·  ') }
  for (const { rule, result, found } of decision.trace) {
    const [first = '', ...rest] = wrap(found === '' ? rule : `${rule} — ${found}`, terminal.width - 8)
    lines.push(`  ${marks[result]}  ${first}`, ...rest.map((line) => ' '.repeat(8) + line))
  }
  return lines
}
