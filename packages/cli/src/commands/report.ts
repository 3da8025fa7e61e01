import {
  formatDuration,
  formatMemory,
  TASK_STATES,
  type Engine,
  type Selection,
  type TaskRecord,
  type TaskView,
} from '@orbweaver/core'
import type { Command } from 'commander'
import { EXIT, UsageError } from '../exit.js'
import type { Bind } from '../program.js'
import { Figures, type ProcessorFigures, type Usage } from '../report/figures.js'
import { addSelectors, selectsEverything, type SelectorOptions } from '../selectors.js'
import type { Session } from '../session.js'
import { nothingMatches } from '../tasks.js'
import { count, safeForTerminal, wrap } from '../terminal/text.js'

interface ReportOptions extends SelectorOptions {
  readonly csv?: boolean
}

/** Records read at once: the archive may be far away. */
const READS = 16

export function registerReport(program: Command, bind: Bind): void {
  const command = program
    .command('report')
    .summary('what the work took, by processor')
    .description(
      'Add up by processor: states, failures by cause, cpu hours, memory and walltime asked for and used with what would ' +
        'do, and the longest waits in the queue. Of each task the latest attempt counts.',
    )
    .option('--csv', 'one line a processor, for a spreadsheet; bytes and seconds')
  addSelectors(command)
  bind<ReportOptions, []>(command, async (session, options) => {
    if (options.csv === true && session.json) {
      throw new UsageError('--csv and --json are two forms of one answer.', 'Give one of them.')
    }
    const { engine } = await session.open()
    const selection = await session.selection(options)
    const figures = await gather(engine, selection, session.signal)
    if (figures.total === 0 && !selectsEverything(selection)) throw nothingMatches(selection, 'tasks')
    const processors = figures.list()
    if (session.json) await session.answer('report', { total: figures.total, processors })
    else if (options.csv === true) await session.terminal.lines(csvLines(processors))
    else if (figures.total === 0) {
      await session.print('No tasks in the archive yet. To make some: orbweaver plan, then orbweaver run')
    } else {
      for (const [index, processor] of processors.entries()) {
        if (index > 0) await session.print()
        await printProcessor(session, processor)
      }
    }
    return EXIT.good
  })
}

async function gather(engine: Engine, selection: Selection, signal: AbortSignal): Promise<Figures> {
  const figures = new Figures()
  let batch: TaskView[] = []
  const flush = async (): Promise<void> => {
    const records = await Promise.all(
      batch.map(async (view): Promise<TaskRecord | undefined> => {
        // Without an attempt there was no job.
        const hasRecord = view.node.attempt > 0 || view.node.state === 'failed'
        return hasRecord ? engine.record(view.ref, { signal }) : undefined
      }),
    )
    for (const [index, view] of batch.entries()) figures.add(view, records[index])
    batch = []
  }
  for await (const view of engine.tasks(selection, { signal })) {
    batch.push(view)
    if (batch.length >= READS) await flush()
  }
  await flush()
  return figures
}

async function printProcessor(session: Session, figures: ProcessorFigures): Promise<void> {
  const { paint, width } = session.terminal
  const lines = [paint.bold(figures.processor)]
  const field = (name: string, text: string): void => {
    if (text === '') return
    const [first = '', ...rest] = wrap(safeForTerminal(text), width - 13)
    lines.push(`  ${paint.dim(name.padEnd(10))} ${first}`, ...rest.map((line) => ' '.repeat(13) + line))
  }
  field('tasks', `${figures.tasks.toLocaleString('en-GB')}: ${statesText(figures)}`)
  for (const { cause, tasks, examples } of figures.failures) {
    field('failed', `${cause}: ${count(tasks, 'task')}`)
    for (const { label, summary } of examples) field('', `${label}${summary === '' ? '' : `: ${summary}`}`)
  }
  if (figures.jobs > 0) {
    const restarts =
      figures.restarts === 0 ? '' : `, started again ${count(figures.restarts, 'time')} by the scheduler`
    field(
      'cpu hours',
      `${hours(figures.cpuHours)} used, ${hours(figures.reservedHours)} reserved, in ${count(figures.jobs, 'job')}${restarts}`,
    )
  }
  field('memory', usageText(figures.memory, formatMemory))
  field('walltime', usageText(figures.walltime, wholeSeconds))
  const wait = figures.queueWait
  if (wait !== undefined) {
    field(
      'queue',
      `waited ${wholeSeconds(wait.median)} (median), ${wholeSeconds(wait.p95)} (95 %), ${wholeSeconds(wait.max)} (most)`,
    )
    for (const { label, seconds } of figures.longestWaits) {
      if (seconds >= 60) field('', `${wholeSeconds(seconds)}: ${label}`)
    }
  }
  await session.terminal.lines(lines)
}

const statesText = ({ states }: ProcessorFigures): string =>
  [...TASK_STATES, 'other' as const]
    .flatMap((state) =>
      states[state] === undefined ? [] : [`${states[state].toLocaleString('en-GB')} ${state}`],
    )
    .join(', ')

const hours = (value: number): string => value.toFixed(value < 10 ? 2 : 0)
const wholeSeconds = (value: number): string => formatDuration(Math.round(value))

function usageText({ asked, used, suggested }: Usage, print: (value: number) => string): string {
  const parts = [
    asked === undefined ? '' : `asked for ${print(asked)}`,
    used === undefined
      ? ''
      : `used ${print(used.median)} (median), ${print(used.p95)} (95 %), ${print(used.max)} (most)`,
    suggested === undefined ? '' : `${print(suggested)} would do`,
  ]
  return parts.filter((part) => part !== '').join(', ')
}

/** RFC 4180 with a head line. Bytes, seconds and hours as plain numbers; empty: not known. */
export function csvLines(processors: readonly ProcessorFigures[]): readonly string[] {
  const states = [...TASK_STATES, 'other' as const]
  const columns: readonly (readonly [string, (figures: ProcessorFigures) => string | number | undefined])[] =
    [
      ['processor', ({ processor }) => processor],
      ['tasks', ({ tasks }) => tasks],
      ...states.map((state) => [state, (figures: ProcessorFigures) => figures.states[state] ?? 0] as const),
      ['failures', ({ failures }) => failures.map(({ cause, tasks }) => `${cause}=${tasks}`).join(' ')],
      ['jobs', ({ jobs }) => jobs],
      ['cpu_hours', ({ cpuHours }) => cpuHours.toFixed(4)],
      ['reserved_hours', ({ reservedHours }) => reservedHours.toFixed(4)],
      ['restarts', ({ restarts }) => restarts],
      ...usageColumns('memory_bytes', ({ memory }) => memory),
      ...usageColumns('walltime_seconds', ({ walltime }) => walltime),
      ['queue_wait_median_seconds', ({ queueWait }) => queueWait?.median],
      ['queue_wait_max_seconds', ({ queueWait }) => queueWait?.max],
    ]
  return [
    columns.map(([head]) => head).join(','),
    ...processors.map((figures) => columns.map(([, value]) => csvCell(value(figures))).join(',')),
  ]
}

function usageColumns(
  unit: string,
  of: (figures: ProcessorFigures) => Usage,
): readonly (readonly [string, (figures: ProcessorFigures) => number | undefined])[] {
  return [
    [`${unit}_asked`, (figures) => of(figures).asked],
    [`${unit}_median`, (figures) => of(figures).used?.median],
    [`${unit}_p95`, (figures) => of(figures).used?.p95],
    [`${unit}_max`, (figures) => of(figures).used?.max],
    [`${unit}_suggested`, (figures) => of(figures).suggested],
  ]
}

export function csvCell(value: string | number | undefined): string {
  const text = String(value ?? '')
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
