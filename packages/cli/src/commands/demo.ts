import type { TaskView } from '@orbweaver/core'
import type { Command } from 'commander'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bind } from '../program.js'
import { freePort, openDemoArchive, type DemoArchive } from '../demo-archives.js'
import { EXIT, UsageError, shortPath } from '../exit.js'
import { SAMPLE_PROJECT } from '../sample.js'
import type { Session } from '../session.js'
import { siteFileText } from '../site-template.js'
import { openSite } from '../site.js'
import { quoteForShell } from '../terminal/shell.js'
import { count } from '../terminal/text.js'
import { showPlan } from './plan.js'
import { runAndReport } from './run.js'
import { taskColumns } from './status.js'

const PROCESSORS = ['dcm2niix', 'nifti-qa', 'fmri-qa', 'dti-qa']
/** Reports of which the place is shown. */
const MOST_REPORTS = 20
/** In the first line of the demo's site file: nothing else is ever taken for ours. */
const MARK = '# Written by `orbweaver demo`.'

export function registerDemo(program: Command, bind: Bind): void {
  const command = program
    .command('demo')
    .summary('see it all work, on real images')
    .description(
      'Make a small site in a folder of its own, bring real brain images into its archive, and run every processor ' +
        'that applies: DICOM to NIfTI and quality reports. A second time there is nothing left to do. ' +
        'Profiles of its site file run the same on a cluster (slurm, pbs) or on an XNAT (xnat, xnat-slurm).',
    )
    .option('--dir <folder>', 'where', './orbweaver-demo')
  bind<{ readonly dir: string }>(command, async (session, options) => {
    const directory = session.path(options.dir)
    const file = await siteFor(directory)
    session.useSite(await openSite(file, session.globals.profile))
    // The demo is a story: all of it on stdout, in order.
    const say = async (text: string): Promise<void> => {
      if (!session.json) await session.print(text)
    }
    const heading = (text: string): Promise<void> => say(`\n${session.terminal.paint.bold(text)}`)
    const archive = await openDemoArchive(session, directory)
    const { engine } = await session.open()

    await heading('1. The archive')
    await say(`Site file ${shortPath(file, session.directory)}`)
    for (const line of await archive.fill()) await say(line)

    await heading('2. The plan')
    if (!session.json) await showPlan(session, {}, { limit: 20 })

    await heading('3. The run')
    const code = await runAndReport(session, 'demo', {}, { until: 'done' })
    if (session.json) return code

    await heading('4. Is everything in the archive as it was recorded?')
    const totals = { tasks: 0, files: 0, bad: 0 }
    await engine.verify(
      {},
      {
        signal: session.signal,
        deep: true,
        onResult({ ok, label, problems, files }) {
          totals.tasks += 1
          totals.files += files
          if (ok) return
          totals.bad += 1
          session.note(`${label}: ${problems.join('; ')}`)
        },
      },
    )
    await say(
      totals.bad === 0
        ? `Yes: ${count(totals.files, 'file')} of ${count(totals.tasks, 'task')} read back, every byte.`
        : `No: ${count(totals.bad, 'task differs', 'tasks differ')}.`,
    )

    await heading('5. The results')
    const views: TaskView[] = []
    for await (const view of engine.tasks({}, { signal: session.signal })) views.push(view)
    await session.table(taskColumns(session.terminal.paint), views)
    await printReports(session, archive, views)
    const view = views.find(({ node }) => node.state === 'failed') ?? views[0]
    await printNext(session, directory, archive.before, view)
    return totals.bad > 0 ? EXIT.failed : code
  })
}

/** The demo's own site, made when it is not there. */
async function siteFor(directory: string): Promise<string> {
  const file = join(directory, 'orbweaver.yaml')
  try {
    const text = await readFile(file, 'utf8')
    if (text.startsWith(MARK)) return file
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const text = siteFileText({
      name: 'demo',
      archive: './archive',
      workRoot: './work',
      projects: [SAMPLE_PROJECT],
      processors: PROCESSORS,
      demoProfiles: { xnatPort: await freePort() },
    })
    await writeFile(file, `${MARK}\n${text}`, { flag: 'wx' })
    return file
  }
  throw new UsageError(
    `${directory} holds a site of your own, which the demo leaves alone.`,
    'Give another folder with --dir.',
  )
}

/** Where the PDFs are. */
async function printReports(
  session: Session,
  archive: DemoArchive,
  views: readonly TaskView[],
): Promise<void> {
  const withPdf = views.filter(
    ({ node }) => node.state === 'complete' && node.resources.some(({ label }) => label === 'PDF'),
  )
  const reports = await archive.reports(withPdf.slice(0, MOST_REPORTS))
  if (reports.length === 0) return
  await session.print()
  await session.print(`${count(withPdf.length, 'report')} to look at:`)
  await session.terminal.lines(reports.map((report) => `  ${report}`))
  if (withPdf.length > MOST_REPORTS) await session.print('  …')
}

async function printNext(
  session: Session,
  directory: string,
  before: readonly string[],
  view: TaskView | undefined,
): Promise<void> {
  const folder = quoteForShell(shortPath(directory, session.directory))
  const piece = view?.label.slice(-8) ?? 'LABEL'
  // Started by npm (`npm run demo`, `npx`), the program is on the path only for npm.
  const program = session.environment.npm_execpath === undefined ? 'orbweaver' : 'npx orbweaver'
  const commands: readonly (readonly [string, string])[] = [
    [`${program} status --summary`, 'numbers by processor and state'],
    [`${program} explain ${piece}`, 'why this task is where it is, rule by rule'],
    [`${program} status --long ${piece}`, 'its job, memory, times and results'],
    [`${program} export bids --out derivatives`, 'the results as a BIDS derivative'],
  ]
  await session.print()
  if (before.length > 0) {
    await session.print('The results are on the server. To look at them:')
    await session.terminal.lines([`cd ${folder}`, ...before].map((line) => `  ${line}`))
    await session.print()
  }
  await session.print(before.length > 0 ? 'Try next:' : `Try next, after \`cd ${folder}\`:`)
  await session.table(
    [
      { head: '', value: ([command]) => command },
      { head: '', value: ([, what]) => what, paint: session.terminal.paint.dim },
    ],
    commands,
    2,
  )
}
