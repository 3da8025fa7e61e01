/** Commands by which a person steers: retry, pause, resume, cancel, approve. */

import { ACTIVE_STATES, type Engine, type Selection, type TaskState, type TaskView } from '@orbweaver/core'
import type { Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT, UsageError } from '../exit.js'
import { addSelectors, demandSelection, describeSelection, type SelectorOptions } from '../selectors.js'
import type { Session } from '../session.js'
import { nothingMatches, resolveLabels } from '../tasks.js'
import { count } from '../terminal/text.js'
import { describePause, taskColumns } from './status.js'

interface ControlOptions extends SelectorOptions {
  readonly dryRun?: boolean
}

const LABELS = ['[labels...]', 'tasks, by label or a piece of it'] as const
/** Rows of a list that is only there to be looked over. */
const SHOWN = 20

export function registerControl(program: Command, bind: Bind): void {
  registerRetry(program, bind)
  registerPause(program, bind)
  registerResume(program, bind)
  registerCancel(program, bind)
  registerApprove(program, bind)
}

function registerRetry(program: Command, bind: Bind): void {
  const command = program
    .command('retry')
    .summary('let failed or cancelled tasks run again')
    .description(
      'Make failed or cancelled tasks ready again, with all their tries. They run with the next `orbweaver run`.',
    )
    .argument(...LABELS)
    .option('--force', 'also complete tasks: their results are replaced')
    .option('-n, --dry-run', 'only show which')
  addSelectors(command)
  bind<ControlOptions & { readonly force?: boolean }, [readonly string[]]>(
    command,
    async (session, options, words) => {
      const { engine, selection } = await selected(session, options, words, 'retry')
      const force = options.force === true
      const states: readonly TaskState[] = ['failed', 'cancelled', ...(force ? (['complete'] as const) : [])]
      const { views, passedOver } = await matching(engine, selection, session, (state) =>
        states.includes(state),
      )
      if (views.length === 0)
        return nothingThere(session, 'retry', passedOver, `none is ${states.join(' or ')}`)
      if (options.dryRun === true) return showOnly(session, 'retry', views)
      const complete = views.filter(({ node }) => node.state === 'complete').length
      if (
        complete > 0 &&
        !(await session.confirm(`Replace the results of ${count(complete, 'complete task')}?`))
      ) {
        return EXIT.failed
      }
      const labels = await engine.retry(selection, { signal: session.signal, force })
      return report(
        session,
        'retry',
        labels,
        `${count(labels.length, 'task')} ready again. Next: orbweaver run`,
      )
    },
  )
}

function registerPause(program: Command, bind: Bind): void {
  const command = program
    .command('pause')
    .summary('submit nothing more of what is selected')
    .description(
      'Submit no more jobs of what is selected, until resumed. Jobs that run go on, and their results are stored.',
    )
    .argument(...LABELS)
    .option('--note <text>', 'why, for your colleagues', '')
    .option('--list', 'show what is paused')
    .option('-n, --dry-run', 'only say what would be paused')
  addSelectors(command, ['subject', 'session', 'status', 'failed', 'since'])
  bind<ControlOptions & { readonly note: string; readonly list?: boolean }, [readonly string[]]>(
    command,
    async (session, options, words) => {
      if (options.list === true) {
        const { engine } = await session.open()
        const pauses = engine.pauses()
        if (session.json) await session.answer('pause', { pauses })
        else if (pauses.length === 0) await session.print('Nothing is paused.')
        else await session.terminal.lines(pauses.map(describePause))
        return EXIT.good
      }
      const { engine, selection } = await selected(session, options, words, 'pause')
      if (options.dryRun === true) return sayOnly(session, 'pause', selection)
      await engine.pause(selection, options.note)
      if (session.json) await session.answer('pause', { pauses: engine.pauses() })
      else await session.print('Paused. Jobs that run go on. To lift it: orbweaver resume')
      return EXIT.good
    },
  )
}

function registerResume(program: Command, bind: Bind): void {
  const command = program
    .command('resume')
    .summary('lift pauses')
    .description('Lift the pause of exactly what is selected; with no selection, all pauses.')
    .argument(...LABELS)
    .option('-n, --dry-run', 'only say what would be resumed')
  addSelectors(command, ['subject', 'session', 'status', 'failed', 'since'])
  bind<ControlOptions, [readonly string[]]>(command, async (session, options, words) => {
    const { engine } = await session.open()
    const labels = words.length === 0 ? [] : await resolveLabels(engine, words, session)
    const selection = await session.selection(options, labels)
    if (options.dryRun === true) return sayOnly(session, 'resume', selection)
    const lifted = await engine.resume(selection)
    const left = engine.pauses()
    if (session.json) await session.answer('resume', { lifted, pauses: left })
    else if (lifted > 0) await session.print(`${count(lifted, 'pause')} lifted. Next: orbweaver run`)
    else if (left.length === 0) await session.print('Nothing is paused.')
    else {
      await session.print('No pause has exactly this scope. Paused:')
      await session.terminal.lines(left.map((pause) => `  ${describePause(pause)}`))
    }
    return lifted === 0 && left.length > 0 ? EXIT.failed : EXIT.good
  })
}

function registerCancel(program: Command, bind: Bind): void {
  const command = program
    .command('cancel')
    .summary('end the jobs of tasks')
    .description('End the jobs of tasks and mark the tasks cancelled. They stay so until `orbweaver retry`.')
    .argument(...LABELS)
    .option('-n, --dry-run', 'only show which')
  addSelectors(command)
  bind<ControlOptions, [readonly string[]]>(command, async (session, options, words) => {
    const { engine, selection } = await selected(session, options, words, 'cancel')
    const { views, passedOver } = await matching(
      engine,
      selection,
      session,
      (state) => !['complete', 'cancelled'].includes(state),
    )
    if (views.length === 0)
      return nothingThere(session, 'cancel', passedOver, 'all are complete or cancelled')
    if (options.dryRun === true) return showOnly(session, 'cancel', views)
    const jobs = views.filter(({ node }) => node.state !== undefined && ACTIVE_STATES.has(node.state)).length
    const question = `Cancel ${count(views.length, 'task')}${jobs > 0 ? ` (${count(jobs, 'job')} under way)` : ''}?`
    // Who names single tasks has thought of each.
    if (words.length === 0 && !(await session.confirm(question))) return EXIT.failed
    const labels = await engine.cancel(selection, { signal: session.signal })
    if (labels.length === 0) {
      return report(session, 'cancel', labels, 'Nothing was cancelled: what is under way is being stored.')
    }
    // A scheduler takes its time, and what a job did last is seen by whoever follows it.
    let ending = 0
    for await (const { node } of engine.tasks({ labels }, { signal: session.signal })) {
      if (node.state !== 'cancelled') ending += 1
    }
    const sentence =
      ending === 0
        ? `${count(labels.length, 'task')} cancelled. To run again: orbweaver retry`
        : `${count(labels.length, 'task')} cancelled; ${count(ending, 'job is', 'jobs are')} being ended, ` +
          'which the engine at work, or the next `orbweaver run`, will record.'
    return report(session, 'cancel', labels, sentence, { ending })
  })
}

function registerApprove(program: Command, bind: Bind): void {
  const command = program
    .command('approve')
    .summary("set a person's verdict on results")
    .description(
      "Set a person's verdict on the results of complete tasks. Processors that ask for passed inputs wait for it.",
    )
    .argument(...LABELS)
    .option('--quality <word>', 'the verdict: Passed, Failed, Rerun, "Do Not Run", or your own', 'Passed')
    .option('-n, --dry-run', 'only show which')
  addSelectors(command)
  bind<ControlOptions & { readonly quality: string }, [readonly string[]]>(
    command,
    async (session, options, words) => {
      const quality = options.quality.trim()
      // eslint-disable-next-line no-control-regex
      if (quality === '' || quality.length > 100 || /[\u0000-\u001f\u007f]/.test(quality)) {
        throw new UsageError('--quality is a word or a few: at most 100 characters, no line breaks.')
      }
      const { engine, selection } = await selected(session, options, words, 'approve')
      const { views, passedOver } = await matching(engine, selection, session, () => true)
      if (views.length === 0) return nothingThere(session, 'approve', passedOver, '')
      if (options.dryRun === true) return showOnly(session, 'approve', views)
      const question = `Set quality "${quality}" on ${count(views.length, 'task')}?`
      if (words.length === 0 && !(await session.confirm(question))) return EXIT.failed
      const labels = await engine.approve(selection, quality, { signal: session.signal })
      return report(
        session,
        'approve',
        labels,
        `Quality of ${count(labels.length, 'task')} is now ${quality}.`,
      )
    },
  )
}

async function selected(
  session: Session,
  options: SelectorOptions,
  words: readonly string[],
  verb: string,
): Promise<{ readonly engine: Engine; readonly selection: Selection }> {
  const { engine } = await session.open()
  const labels = words.length === 0 ? [] : await resolveLabels(engine, words, session)
  const selection = await session.selection(options, labels)
  demandSelection(selection, verb)
  return { engine, selection }
}

/** Selected tasks in a state the command works on, and how many are in another. */
async function matching(
  engine: Engine,
  selection: Selection,
  session: Session,
  applies: (state: TaskState) => boolean,
): Promise<{ readonly views: readonly TaskView[]; readonly passedOver: number }> {
  const views: TaskView[] = []
  let passedOver = 0
  for await (const view of engine.tasks(selection, { signal: session.signal })) {
    if (view.node.state !== undefined && applies(view.node.state)) views.push(view)
    else passedOver += 1
  }
  if (views.length === 0 && passedOver === 0) throw nothingMatches(selection, 'tasks')
  return { views, passedOver }
}

async function nothingThere(
  session: Session,
  command: string,
  passedOver: number,
  why: string,
): Promise<number> {
  if (session.json) await session.answer(command, { labels: [], passedOver })
  else await session.print(`Nothing to ${command}: of ${count(passedOver, 'selected task')}, ${why}.`)
  return EXIT.good
}

async function showOnly(session: Session, command: string, views: readonly TaskView[]): Promise<number> {
  if (session.json) {
    await session.answer(command, { dryRun: true, labels: views.map(({ label }) => label) })
    return EXIT.good
  }
  await session.table(taskColumns(session.terminal.paint), views.slice(0, SHOWN))
  if (views.length > SHOWN) await session.print(`… and ${count(views.length - SHOWN, 'more', 'more')}`)
  await session.print(`Would ${command} ${count(views.length, 'task')}. Nothing was changed.`)
  return EXIT.good
}

async function sayOnly(session: Session, command: string, selection: Selection): Promise<number> {
  if (session.json) await session.answer(command, { dryRun: true, selection })
  else
    await session.print(
      `Would ${command} ${describeSelection(selection) || 'everything'}. Nothing was changed.`,
    )
  return EXIT.good
}

async function report(
  session: Session,
  command: string,
  labels: readonly string[],
  sentence: string,
  fields: Readonly<Record<string, unknown>> = {},
): Promise<number> {
  if (session.json) await session.answer(command, { labels, ...fields })
  else {
    await session.terminal.lines(labels.slice(0, SHOWN))
    if (labels.length > SHOWN) await session.print(`… and ${count(labels.length - SHOWN, 'more', 'more')}`)
    await session.print(sentence)
  }
  return EXIT.good
}
