import {
  TASK_STATES,
  formatDuration,
  formatMemory,
  type ClusterBackend,
  type Engine,
  type Selection,
  type TaskRecord,
  type TaskState,
  type TaskView,
} from '@orbweaver/core'
import type { Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT } from '../exit.js'
import { addSelectors, selectsEverything, type SelectorOptions } from '../selectors.js'
import type { Session } from '../session.js'
import { nothingMatches, placeOf, resolveLabels, streamJson, taskJson } from '../tasks.js'
import type { Column } from '../terminal/table.js'
import type { Paint } from '../terminal/terminal.js'
import { count, wrap } from '../terminal/text.js'
import { formatSpan, formatTime } from '../terminal/time.js'
import { paintState } from '../terminal/words.js'

interface StatusOptions extends SelectorOptions {
  readonly long?: boolean
  readonly summary?: boolean
}

export function registerStatus(program: Command, bind: Bind): void {
  const command = program
    .command('status')
    .summary('how every task stands')
    .description('Show how tasks stand, as the archive has them.')
    .argument('[labels...]', 'tasks, by label or a piece of it; default: all')
    .option('-l, --long', 'with cause, evidence, job, node, memory and times')
    .option('--summary', 'numbers by processor and state')
  addSelectors(command)
  bind<StatusOptions, [readonly string[]]>(command, async (session, options, words) => {
    const { engine, backend } = await session.open()
    const labels = words.length === 0 ? [] : await resolveLabels(engine, words, session)
    const selection = await session.selection(options, labels)
    const tally = new Tally()
    if (options.summary === true) await showSummary(session, engine, selection, tally)
    else if (session.json) await showJson(session, engine, selection, options.long === true, backend)
    else if (options.long === true) await showLong(session, engine, selection, tally)
    else await showTable(session, engine, selection, tally)
    if (!session.json) {
      await showEnd(session, engine, selection, tally)
      for (const line of healthLines(backend, Date.now())) session.note(line)
    }
    return EXIT.good
  })
}

/** Counts by processor and state. */
export class Tally {
  readonly byProcessor = new Map<string, Map<TaskState | 'other', number>>()
  total = 0

  add(processor: string, state: TaskState | undefined): void {
    const states = this.byProcessor.get(processor) ?? new Map<TaskState | 'other', number>()
    this.byProcessor.set(processor, states)
    const key = state ?? 'other'
    states.set(key, (states.get(key) ?? 0) + 1)
    this.total += 1
  }

  of(state: TaskState | 'other'): number {
    let sum = 0
    for (const states of this.byProcessor.values()) sum += states.get(state) ?? 0
    return sum
  }

  /** `20 complete, 2 failed`. */
  toString(): string {
    return [...TASK_STATES, 'other' as const]
      .map((state) => [state, this.of(state)] as const)
      .filter(([, number]) => number > 0)
      .map(([state, number]) => `${number.toLocaleString('en-GB')} ${state}`)
      .join(', ')
  }

  toJSON(): object {
    return Object.fromEntries(
      [...this.byProcessor].map(([processor, states]) => [processor, Object.fromEntries(states)]),
    )
  }
}

async function* counted(tasks: AsyncIterable<TaskView>, tally: Tally): AsyncGenerator<TaskView> {
  for await (const view of tasks) {
    tally.add(view.processor, view.node.state)
    yield view
  }
}

export function taskColumns(paint: Paint): readonly Column<TaskView>[] {
  return [
    {
      head: 'STATE',
      value: ({ node }) => node.state ?? node.statusWord,
      paint: (cell, { node }) => paintState(paint, node.state)(cell),
    },
    { head: 'CAUSE', value: ({ node }) => node.cause ?? '' },
    { head: 'TRY', value: ({ node }) => (node.attempt > 0 ? String(node.attempt) : ''), align: 'right' },
    { head: 'QUALITY', value: ({ node }) => node.quality, narrow: 'end', least: 8 },
    {
      head: 'AGAIN IN',
      value: ({ node }) =>
        node.retryAtMs === undefined || node.retryAtMs <= Date.now()
          ? ''
          : formatSpan(node.retryAtMs - Date.now()),
    },
    { head: 'PROCESSOR', value: ({ processor }) => processor, narrow: 'middle' },
    { head: 'LABEL', value: ({ label }) => label, narrow: 'middle', least: 24 },
  ]
}

async function showTable(
  session: Session,
  engine: Engine,
  selection: Selection,
  tally: Tally,
): Promise<void> {
  const tasks = engine.tasks(selection, { signal: session.signal })
  await session.streamTable(taskColumns(session.terminal.paint), counted(tasks, tally))
}

async function showSummary(
  session: Session,
  engine: Engine,
  selection: Selection,
  tally: Tally,
): Promise<void> {
  for await (const { processor, node } of engine.tasks(selection, { signal: session.signal })) {
    tally.add(processor, node.state)
  }
  if (session.json) {
    await session.answer('status-summary', { total: tally.total, processors: tally })
    return
  }
  await session.table(summaryColumns(session.terminal.paint, tally), [...tally.byProcessor.keys()].sort())
}

/** Processors down, states across; states that nobody is in are left out. */
export function summaryColumns(paint: Paint, tally: Tally): readonly Column<string>[] {
  const states = [...TASK_STATES, 'other' as const].filter((state) => tally.of(state) > 0)
  return [
    { head: 'PROCESSOR', value: (processor) => processor, narrow: 'middle' },
    ...states.map((state): Column<string> => ({
      head: state.toUpperCase(),
      align: 'right',
      value: (processor) => String(tally.byProcessor.get(processor)?.get(state) ?? '·'),
      paint: (cell) =>
        cell.trim() === '·'
          ? paint.dim(cell)
          : paintState(paint, state === 'other' ? undefined : state)(cell),
    })),
  ]
}

async function showJson(
  session: Session,
  engine: Engine,
  selection: Selection,
  long: boolean,
  backend: ClusterBackend,
): Promise<void> {
  const { signal } = session
  await streamJson(session, 'status', 'tasks', async (add) => {
    const tally = new Tally()
    for await (const view of counted(engine.tasks(selection, { signal }), tally)) {
      await add(taskJson(view, long ? await engine.record(view.ref, { signal }) : undefined))
    }
    const health = backend.health?.()
    return {
      total: tally.total,
      pauses: engine.pauses(),
      cluster: { backend: backend.name, ...(health !== undefined && { health }) },
    }
  })
}

async function showLong(session: Session, engine: Engine, selection: Selection, tally: Tally): Promise<void> {
  const { signal } = session
  for await (const view of counted(engine.tasks(selection, { signal }), tally)) {
    const record = await engine.record(view.ref, { signal })
    await session.terminal.lines(renderTask(view, record, session.terminal.paint, session.terminal.width))
    await session.print()
  }
}

/** One task with everything that is known of it. */
export function renderTask(
  view: TaskView,
  record: TaskRecord | undefined,
  paint: Paint,
  width: number,
): string[] {
  const { node } = view
  const lines = [`${paint.bold(view.label)}`]
  const field = (name: string, text: string | undefined): void => {
    if (text === undefined || text === '') return
    const [first = '', ...rest] = wrap(text, width - 13)
    lines.push(`  ${paint.dim(name.padEnd(10))} ${first}`, ...rest.map((line) => ' '.repeat(13) + line))
  }
  const state = paintState(paint, node.state)(node.state ?? node.statusWord)
  lines.push(
    `  ${paint.dim('state'.padEnd(10))} ${state}${record === undefined ? '' : paint.dim(` since ${formatTime(record.updatedAtMs)}`)}`,
  )
  field('why', record?.reason)
  if (node.inputs !== undefined)
    field('made by', `another program; its word is ${node.statusWord || 'empty'}`)
  field('on', placeOf(view))
  field('processor', `${view.processor} ${node.procVersion ?? ''}`.trim())
  field('quality', node.quality)
  const cause = record?.cause
  if (cause !== undefined && node.state !== 'complete') {
    field('cause', `${cause.kind}: ${cause.summary}`)
    for (const { source, text, atMs } of cause.evidence) field('', `${source} (${formatTime(atMs)}): ${text}`)
  }
  if (node.retryAtMs !== undefined && node.retryAtMs > Date.now()) {
    field('again at', formatTime(node.retryAtMs))
  }
  const job = record?.job
  if (job !== undefined) {
    field('attempt', String(node.attempt))
    field(
      'job',
      `${job.id ?? 'not accepted yet'} on ${job.backend}${job.node === undefined ? '' : `, node ${job.node}`}`,
    )
    field('asked for', asked(job))
    field('used', used(job))
    field('times', times(job))
    if (node.state !== 'complete') field('workspace', job.workspace)
  }
  for (const { label, fileCount, bytes } of node.resources) {
    const size = bytes === undefined ? '' : `, ${formatMemory(bytes)}`
    field('result', fileCount === undefined ? label : `${label}: ${count(fileCount, 'file')}${size}`)
  }
  return lines
}

type Job = NonNullable<TaskRecord['job']>

function asked({ cpus, memoryBytes, walltimeSeconds }: Job): string {
  return [
    cpus === undefined ? '' : count(cpus, 'cpu'),
    memoryBytes === undefined ? '' : formatMemory(memoryBytes),
    walltimeSeconds === undefined ? '' : formatDuration(walltimeSeconds),
  ]
    .filter((part) => part !== '')
    .join(', ')
}

function used({ peakMemoryBytes, cpuSeconds, elapsedSeconds, exitCode, restarts }: Job): string {
  return [
    peakMemoryBytes === undefined ? '' : `${formatMemory(peakMemoryBytes)} at most`,
    cpuSeconds === undefined ? '' : `${formatDuration(Math.round(cpuSeconds))} of cpu`,
    elapsedSeconds === undefined ? '' : `${formatDuration(Math.round(elapsedSeconds))} in all`,
    exitCode === undefined ? '' : `exit code ${exitCode}`,
    restarts === undefined ? '' : `started again ${count(restarts, 'time')} by the scheduler`,
  ]
    .filter((part) => part !== '')
    .join(', ')
}

function times({ submittedAtMs, startedAtMs, endedAtMs }: Job): string {
  return [
    submittedAtMs === undefined ? '' : `submitted ${formatTime(submittedAtMs)}`,
    startedAtMs === undefined ? '' : `started ${formatTime(startedAtMs)}`,
    endedAtMs === undefined ? '' : `ended ${formatTime(endedAtMs)}`,
  ]
    .filter((part) => part !== '')
    .join(', ')
}

async function showEnd(session: Session, engine: Engine, selection: Selection, tally: Tally): Promise<void> {
  if (tally.total === 0) {
    if (!selectsEverything(selection)) throw nothingMatches(selection, 'tasks')
    await session.print('No tasks in the archive yet. To make some: orbweaver plan, then orbweaver run')
    return
  }
  await session.print(`${count(tally.total, 'task')}: ${tally.toString()}.`)
  if (tally.of('failed') > 0) {
    session.note(
      session.terminal.paintError.dim(
        'Why: orbweaver status --failed --long · again: orbweaver retry --failed',
      ),
    )
  }
  for (const pause of engine.pauses()) session.note(`Paused ${describePause(pause)}: orbweaver resume`)
}

/** Nothing while the scheduler answers. */
export function healthLines(backend: ClusterBackend, nowMs: number): string[] {
  const health = backend.health?.()
  if (health === undefined) return []
  const lines = health.notes.map((note) => `${backend.name}: ${note}`)
  if (health.state === 'closed') return lines
  const since =
    health.lastFailure === undefined
      ? ''
      : `, last asked ${formatTime(health.lastFailure.atMs)}: ${health.lastFailure.message}`
  const next =
    health.nextTryMs === undefined || health.nextTryMs <= nowMs
      ? 'It is asked again at the next chance'
      : `It is asked again in ${formatSpan(health.nextTryMs - nowMs)}`
  return [
    `${backend.name} does not answer (${count(health.failures, 'failure')} in a row${since}). ${next}; work waits, nothing is lost.`,
    ...lines,
  ]
}

export function describePause(pause: ReturnType<Engine['pauses']>[number]): string {
  const parts = [
    ...(pause.projects ?? []).map((word) => `project ${word}`),
    ...(pause.processors ?? []).map((word) => `processor ${word}`),
    ...(pause.labels ?? []).map((word) => `task ${word}`),
  ]
  const note = pause.note === '' ? '' : ` (${pause.note})`
  return `${parts.length === 0 ? 'everything' : parts.join(', ')} since ${formatTime(pause.atMs)}${note}`
}
