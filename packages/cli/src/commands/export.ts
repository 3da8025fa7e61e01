import type { ExportOptions, ExportProblem, ExportProgress } from '@orbweaver/adapter-local'
import { formatMemory, wildcard, type Selection } from '@orbweaver/core'
import { Argument, type Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT, UsageError, shortPath } from '../exit.js'
import { addSelectors, collect, type SelectorOptions } from '../selectors.js'
import type { Session } from '../session.js'
import { nothingMatches } from '../tasks.js'
import { LiveBlock } from '../terminal/live-block.js'
import { count, shortenEnd } from '../terminal/text.js'
import { bar } from '../terminal/words.js'

type Form = 'bids' | 'tree'

interface ExportCommandOptions extends SelectorOptions {
  readonly out: string
  readonly quality?: readonly string[]
}

/** One folder that was written. */
interface Written {
  readonly project: string
  readonly folder: string
  readonly results: number
  readonly files: number
  readonly written: number
  readonly bytes: number
  readonly unchanged: number
  readonly removed: number
}

const SHOWN = 20

export function registerExport(program: Command, bind: Bind): void {
  const command = program
    .command('export')
    .summary('results as a BIDS derivative or a plain tree')
    .description(
      'Write complete results to a folder: as BIDS derivative datasets, one for each processor and version, or as a tree ' +
        'of projects, subjects, sessions and results. Exporting again brings only what differs.',
    )
    .addArgument(new Argument('<form>', 'how').choices(['bids', 'tree']))
    .requiredOption('--out <folder>', 'where to write; made when it is not there')
    .option('--quality <word>', 'only results with this verdict, as Passed (repeatable)', collect)
  addSelectors(command, ['status', 'failed', 'since'])
  bind<ExportCommandOptions, [Form]>(command, async (session, options, form) => {
    const selection = await session.selection(options)
    const projects = await selectedProjects(session, selection)
    if (form === 'bids' && projects.length > 1) {
      throw new UsageError(
        'A BIDS derivative is of one project.',
        `Give one with --project: ${projects.join(', ')}.`,
      )
    }
    const written: Written[] = []
    const problems: ExportProblem[] = []
    for (const project of projects) {
      const done = await exportProject(session, form, project, selection, options)
      written.push(...done.written)
      problems.push(...done.problems)
    }
    const results = written.reduce((sum, each) => sum + each.results, 0)
    if (session.json) await session.answer('export', { form, folders: written, problems })
    else await report(session, written, problems)
    if (results === 0 && problems.length === 0) throw nothingMatches(selection, 'complete results')
    return problems.length > 0 ? EXIT.failed : EXIT.good
  })
}

async function selectedProjects(session: Session, { projects }: Selection): Promise<readonly string[]> {
  const { settings } = await session.site()
  return settings.projects
    .map(({ id }) => id)
    .filter((id) => projects === undefined || projects.some((word) => wildcard(word)(id)))
}

async function exportProject(
  session: Session,
  form: Form,
  project: string,
  selection: Selection,
  options: ExportCommandOptions,
): Promise<{ readonly written: readonly Written[]; readonly problems: readonly ExportProblem[] }> {
  const { exportBidsDerivative, exportTree } = await import('@orbweaver/adapter-local')
  const { store } = await session.open()
  const { terminal } = session
  let progress: ExportProgress | undefined
  const common: ExportOptions = {
    project,
    out: session.path(options.out),
    signal: session.signal,
    onProgress: (now) => (progress = now),
    ...(selection.processors !== undefined && { processors: selection.processors }),
    ...(selection.subjects !== undefined && { subjects: selection.subjects }),
    ...(selection.sessions !== undefined && { sessions: selection.sessions }),
    ...(options.quality !== undefined && { quality: options.quality }),
  }
  const block =
    terminal.errorIsTty && !session.json
      ? new LiveBlock(terminal, (width) => [shortenEnd(progressLine(project, progress), width - 1)])
      : undefined
  block?.start()
  try {
    if (form === 'tree') {
      const { problems, ...folder } = await exportTree(store, common)
      return { written: [{ project, ...folder }], problems }
    }
    const { datasets, problems } = await exportBidsDerivative(store, common)
    return { written: datasets.map((dataset) => ({ project, ...dataset })), problems }
  } finally {
    block?.stop()
  }
}

function progressLine(project: string, progress: ExportProgress | undefined): string {
  if (progress === undefined) return `looking at ${project}`
  const { results, totalResults, files, bytes } = progress
  return `${bar(results, totalResults, 20)} ${results} of ${count(totalResults, 'result')}, ${count(files, 'file')}, ${formatMemory(bytes)}`
}

async function report(
  session: Session,
  written: readonly Written[],
  problems: readonly ExportProblem[],
): Promise<void> {
  const { paintError } = session.terminal
  for (const { path, reason, hint } of problems.slice(0, SHOWN)) {
    session.note(`${paintError.red('left out')} ${path}: ${reason}${hint === undefined ? '' : ` (${hint})`}`)
  }
  if (problems.length > SHOWN) session.note(`… and ${count(problems.length - SHOWN, 'more', 'more')}`)
  const some = written.filter(({ results, removed }) => results > 0 || removed > 0)
  await session.table(
    [
      {
        head: 'FOLDER',
        value: ({ folder }) => shortPath(folder, session.directory),
        narrow: 'middle',
        least: 20,
      },
      { head: 'RESULTS', value: ({ results }) => String(results), align: 'right' },
      { head: 'FILES', value: ({ files }) => String(files), align: 'right' },
      { head: 'NEW', value: (each) => `${each.written} (${formatMemory(each.bytes)})`, align: 'right' },
      { head: 'AS BEFORE', value: ({ unchanged }) => String(unchanged), align: 'right' },
      { head: 'REMOVED', value: ({ removed }) => String(removed), align: 'right' },
    ],
    some,
  )
}
