import type { FolderStore } from '@orbweaver/adapter-local'
import type { TaskView } from '@orbweaver/core'
import { sampleDirectory } from '@orbweaver/processors'
import type { Command } from 'commander'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Bind } from '../program.js'
import { EXIT, UsageError, shortPath } from '../exit.js'
import type { Session } from '../session.js'
import { siteFileText } from '../site-template.js'
import { openSite } from '../site.js'
import { quoteForShell } from '../terminal/shell.js'
import { count } from '../terminal/text.js'
import { importFolder, importLines } from './import.js'
import { showPlan } from './plan.js'
import { runAndReport } from './run.js'
import { taskColumns } from './status.js'

const PROJECT = 'SAMPLE'
const PROCESSORS = ['dcm2niix', 'nifti-qa', 'fmri-qa', 'dti-qa']
/** In the first line of the demo's site file: nothing else is ever taken for ours. */
const MARK = '# Written by `orbweaver demo`.'

export function registerDemo(program: Command, bind: Bind): void {
  const command = program
    .command('demo')
    .summary('see it all work, on real images')
    .description(
      'Make a small site in a folder of its own, bring real brain images into its archive, and run every processor ' +
        'that applies: DICOM to NIfTI and quality reports. A second time there is nothing left to do.',
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
    const store = await openArchive(session)
    const { engine } = await session.open()

    await heading('1. The archive')
    await say(`Site file ${shortPath(file, session.directory)}`)
    const sample = sampleDirectory()
    for (const kind of ['bids', 'dicom'] as const) {
      const summary = await importFolder(session, store, join(sample, kind), { kind, project: PROJECT })
      for (const line of importLines(summary)) await say(line)
    }

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
    await printReports(session, store, views)
    await printNext(session, directory, views.find(({ node }) => node.state === 'failed') ?? views[0])
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
      projects: [PROJECT],
      processors: PROCESSORS,
      clusterProfiles: true,
    })
    await writeFile(file, `${MARK}\n${text}`, { flag: 'wx' })
    return file
  }
  throw new UsageError(
    `${directory} holds a site of your own, which the demo leaves alone.`,
    'Give another folder with --dir.',
  )
}

/** The open archive, made new for a new demo. */
async function openArchive(session: Session): Promise<FolderStore> {
  const { FolderStore } = await import('@orbweaver/adapter-local')
  const site = await session.site()
  const { path } = site.store.config
  if (site.store.use === 'folder' && typeof path === 'string') {
    const made = await FolderStore.open({ path: resolve(site.directory, path), create: true })
    await made.addProject(PROJECT)
    await made.close()
  }
  const { store } = await session.open()
  if (store instanceof FolderStore) return store
  throw new UsageError(
    'The demo keeps its images in a folder archive.',
    'Run it without --profile, or with one that leaves `store` alone.',
  )
}

/** Where the PDFs are. */
async function printReports(session: Session, store: FolderStore, views: readonly TaskView[]): Promise<void> {
  const reports: string[] = []
  for (const { ref, node } of views) {
    if (node.state !== 'complete' || !node.resources.some(({ label }) => label === 'PDF')) continue
    const source = await store.source({ node: ref, resource: 'PDF' }, { signal: session.signal })
    for (const { path } of source.files) {
      const place = source.localPath(path)
      if (place !== undefined) reports.push(shortPath(place, session.directory))
    }
  }
  if (reports.length === 0) return
  await session.print()
  await session.print(`${count(reports.length, 'report')} to look at:`)
  await session.terminal.lines(reports.map((report) => `  ${report}`))
}

async function printNext(session: Session, directory: string, view: TaskView | undefined): Promise<void> {
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
  await session.print(`Try next, after \`cd ${folder}\`:`)
  await session.table(
    [
      { head: '', value: ([command]) => command },
      { head: '', value: ([, what]) => what, paint: session.terminal.paint.dim },
    ],
    commands,
    2,
  )
}
