import { ALL_STEPS, type PassSteps, type RunOptions, type RunSummary, type Selection } from '@orbweaver/core'
import { Option, type Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT, UsageError } from '../exit.js'
import { RunView, type SeenTask } from '../run-view.js'
import { addSelectors, type SelectorOptions } from '../selectors.js'
import type { Session } from '../session.js'
import { causeJson, nothingMatches } from '../tasks.js'
import { count } from '../terminal/text.js'
import { checkWorkRoot } from '../work-root.js'
import { decidesNothing, showPlan } from './plan.js'
import { Tally, summaryColumns } from './status.js'

interface RunCommandOptions extends SelectorOptions {
  readonly once?: boolean
  readonly watch?: boolean
  readonly full?: boolean
  readonly wait?: boolean
  readonly dryRun?: boolean
}

export function registerRun(program: Command, bind: Bind): void {
  const command = program
    .command('run')
    .summary('do everything that can be done, until nothing is left')
    .description(
      'Find what can run, run it, follow the jobs, store and verify the results; again until nothing is left to do. ' +
        'May be stopped at any time: jobs go on, and the next run takes over.',
    )
    .addOption(new Option('--once', 'one pass, then leave with jobs running').conflicts('watch'))
    .option('--watch', 'go on until interrupted: for a service')
    .option('--full', 'look at every session, even where the archive tells what changed')
    .option('--wait', 'wait while another engine serves a project, instead of exit code 75')
    .option('-n, --dry-run', 'show the plan and do nothing')
  addSelectors(command)
  bind<RunCommandOptions>(command, async (session, options) => {
    const selection = await session.selection(options)
    if (options.dryRun === true) {
      await showPlan(session, selection, { limit: 20 })
      return EXIT.good
    }
    const until = options.once === true ? 'once' : options.watch === true ? 'forever' : 'done'
    return runAndReport(session, 'run', selection, {
      steps: ALL_STEPS,
      until,
      full: options.full === true,
      waitForLease: options.wait === true,
    })
  })
}

interface StepCommand {
  readonly name: keyof PassSteps
  readonly summary: string
  readonly description: string
}

const STEPS: readonly StepCommand[] = [
  {
    name: 'build',
    summary: 'one pass: make tasks and mark what is ready',
    description:
      'One pass that only makes tasks in the archive and marks what is ready or waits. Submits nothing.',
  },
  {
    name: 'launch',
    summary: 'one pass: submit what is ready',
    description: 'One pass that only stages inputs and submits the jobs of tasks that are ready.',
  },
  {
    name: 'update',
    summary: 'one pass: ask how jobs stand',
    description:
      'One pass that only asks the scheduler how jobs stand, and marks what runs, ended or failed.',
  },
  {
    name: 'upload',
    summary: 'one pass: store and verify results',
    description: 'One pass that only stores and verifies the results of jobs that ended well.',
  },
]

export function registerSteps(program: Command, bind: Bind): void {
  for (const { name, summary, description } of STEPS) {
    const command = program
      .command(name)
      .summary(summary)
      .description(`${description} \`orbweaver run\` does all four steps.`)
      .option('--full', 'look at every session, even where the archive tells what changed')
      .option('--wait', 'wait while another engine serves a project, instead of exit code 75')
      .option('-n, --dry-run', 'show the plan and do nothing')
    addSelectors(command)
    bind<RunCommandOptions>(command, async (session, options) => {
      const selection = await session.selection(options)
      if (options.dryRun === true) {
        await showPlan(session, selection, { limit: 20 })
        return EXIT.good
      }
      const none: PassSteps = { build: false, launch: false, update: false, upload: false }
      return runAndReport(session, name, selection, {
        steps: { ...none, [name]: true },
        until: 'once',
        full: options.full === true,
        waitForLease: options.wait === true,
      })
    })
  }
}

/** Runs, shows progress, prints the end. @returns the exit code */
export async function runAndReport(
  session: Session,
  name: string,
  selection: Selection,
  options: Omit<RunOptions, 'signal' | 'onEvent' | 'purpose'>,
): Promise<number> {
  const services = await session.open()
  const { engine } = services
  if (engine.settings.projects.length === 0) {
    throw new UsageError('The site has no projects.', 'Add one under `projects:` in the site file.')
  }
  if (options.steps?.launch !== false) await checkWorkRoot(services, session.signal)
  const { terminal } = session
  const view = new RunView({
    terminal,
    processors: engine.settings.projects.flatMap(({ processors }) => processors),
    style: session.json && !session.verbose ? 'quiet' : terminal.errorIsTty ? 'block' : 'lines',
    title: name,
    detailed: session.verbose,
  })
  let summary: RunSummary
  view.start()
  try {
    summary = await engine.run(selection, {
      ...options,
      signal: session.signal,
      onEvent: view.onEvent,
      purpose: name,
    })
  } catch (error) {
    view.stop()
    // What was done until then is worth knowing, above all after Ctrl-C.
    if (!session.json && view.progress.tasks.size > 0)
      await printTouched(session, [...view.progress.tasks.values()])
    throw error
  } finally {
    view.stop()
  }
  const touched = [...view.progress.tasks.values()]
  // Whole projects are known to be there, and of them only what has changed is looked at.
  const { projects: _projects, ...narrower } = selection
  if (touched.length === 0 && summary.problems.length === 0 && decidesNothing(summary.counts, narrower)) {
    throw nothingMatches(selection, 'targets of a processor')
  }
  if (session.json) {
    await session.answer(name, {
      summary,
      tasks: touched.map(({ label, processor, place, state, attempt, cause }) => ({
        label,
        processor,
        place,
        state,
        attempt,
        cause: causeJson(cause),
      })),
    })
  } else {
    await printTouched(session, touched)
    await session.terminal.lines(endLines(summary, touched, options.until ?? 'done'))
  }
  if (summary.failedTasks > 0 || summary.problems.length > 0) return EXIT.failed
  return summary.away ? EXIT.temporary : EXIT.good
}

async function printTouched(session: Session, touched: readonly SeenTask[]): Promise<void> {
  if (touched.length === 0) return
  const { paint } = session.terminal
  const tally = new Tally()
  for (const { processor, state } of touched) tally.add(processor, state)
  await session.table(summaryColumns(paint, tally), [...tally.byProcessor.keys()].sort())
  await session.print()
  const failed = touched.filter(({ state }) => state === 'failed')
  if (failed.length === 0) return
  await session.table(
    [
      { head: 'FAILED', value: ({ label }) => label, narrow: 'middle', least: 28, paint: paint.red },
      { head: 'CAUSE', value: ({ cause }) => cause?.kind ?? '' },
      { head: 'WHAT HAPPENED', value: ({ cause }) => cause?.summary ?? '', narrow: 'wrap', least: 24 },
    ],
    failed.slice(0, 20),
  )
  if (failed.length > 20) await session.print(`… and ${count(failed.length - 20, 'more', 'more')}`)
  await session.print(
    `See more: orbweaver logs ${failed[0]?.label.slice(-8)} · orbweaver status --failed --long`,
  )
  await session.print()
}

function endLines(summary: RunSummary, touched: readonly SeenTask[], until: string): string[] {
  const { counts } = summary
  const parts = [
    summary.submitted > 0 ? `${count(summary.submitted, 'job')} submitted` : '',
    summary.completed > 0 ? `${count(summary.completed, 'task')} completed and verified` : '',
    summary.failedTasks > 0 ? `${count(summary.failedTasks, 'task')} failed` : '',
    summary.failedAttempts > summary.failedTasks
      ? `${count(summary.failedAttempts - summary.failedTasks, 'attempt')} failed and tried again`
      : '',
    summary.open > 0 ? `${count(summary.open, 'job')} under way` : '',
    summary.backlog > 0 ? `${count(summary.backlog, 'task')} waiting for room or time` : '',
  ].filter((part) => part !== '')
  // Each was told when it happened, on stderr.
  const troubles =
    summary.problems.length === 0
      ? []
      : [
          `${count(summary.problems.length, 'problem')}, told above; what they concern is left for the next run.`,
        ]
  if (parts.length === 0 && touched.length === 0 && troubles.length > 0) return troubles
  if (parts.length === 0 && touched.length === 0) {
    const done = counts.states.complete
    const failed = counts.states.failed
    if (counts.sessions === 0) return ['Nothing to do: nothing has changed since the last run.']
    return [
      `Nothing to do: ${count(done, 'task is', 'tasks are')} complete${failed > 0 ? `, ${failed} failed before (orbweaver status --failed)` : ''}.`,
    ]
  }
  const lines = [`${parts.length === 0 ? 'Nothing was submitted' : parts.join(', ')}.`, ...troubles]
  if (until === 'once' && summary.open > 0)
    lines.push('Follow them with: orbweaver run, or orbweaver run --once again later.')
  if (summary.away) lines.push('The archive or the cluster was away; work is left for the next run.')
  return lines
}
