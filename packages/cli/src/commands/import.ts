import type { ImportOptions, ImportProgress, ImportSummary, IngestTarget } from '@orbweaver/adapter-local'
import { formatMemory, systemErrorCode, type DataStore } from '@orbweaver/core'
import { Option, type Command } from 'commander'
import { readdir, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Bind } from '../program.js'
import { EXIT, UsageError } from '../exit.js'
import type { Session } from '../session.js'
import { LiveBlock } from '../terminal/live-block.js'
import { count, listWords, safeForTerminal, shortenEnd } from '../terminal/text.js'
import { bar } from '../terminal/words.js'

type Kind = NonNullable<ImportOptions['kind']>

interface ImportCommandOptions {
  readonly project?: string
  readonly as: Kind
  readonly link?: boolean
  readonly skipBad?: boolean
  readonly dryRun?: boolean
}

/** Remarks on the folder that are shown; the rest is counted. */
const SHOWN = 20

export function registerImport(program: Command, bind: Bind): void {
  const command = program
    .command('import')
    .summary('bring images into the folder archive')
    .description(
      'Bring a BIDS dataset, a folder of DICOM files or a project/subject/session/scan/resource tree into the folder ' +
        'archive. Importing the same folder again changes nothing. One bad part and nothing is imported.',
    )
    .argument('<folder>', 'the folder with the images')
    .option('--project <label>', 'into this project; needed for BIDS')
    .addOption(
      new Option('--as <kind>', 'what the folder is')
        .choices(['auto', 'bids', 'dicom', 'tree'])
        .default('auto'),
    )
    .option('--link', 'link to the files instead of copying them; they must stay as they are')
    .option('--skip-bad', 'import what is good and leave out what has errors')
    .option('-n, --dry-run', 'read and check everything, change nothing')
  bind<ImportCommandOptions, [string]>(command, async (session, options, word) => {
    const folder = session.path(word)
    await checkFolder(folder)
    if (options.dryRun !== true) await ensureArchive(session)
    const { store } = await session.open()
    const target = ingestTarget(store)
    const summary = await importFolder(session, target, folder, {
      kind: options.as,
      ...(options.project !== undefined && { project: options.project }),
      ...(options.link !== undefined && { link: options.link }),
      ...(options.skipBad !== undefined && { skipBad: options.skipBad }),
      ...(options.dryRun !== undefined && { dryRun: options.dryRun }),
    })
    const bad = summary.problemCounts.error
    if (session.json) await session.answer('import', { ...summary })
    else await printSummary(session, summary)
    return bad > 0 ? EXIT.failed : EXIT.good
  })
}

async function checkFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
    throw error
  })
  if (found === undefined) throw new UsageError(`There is no folder ${folder}.`, 'Check the path.')
  if (!found.isDirectory())
    throw new UsageError(`${folder} is no folder.`, 'Name the folder that holds the images.')
}

/**
 * A site written by hand has no archive before the first import. On a terminal the person is asked: a file system that is
 * not mounted looks the same. A folder with something else in it is left to the archive to refuse.
 *
 * @throws UsageError the answer was no
 */
async function ensureArchive(session: Session): Promise<void> {
  const { store, directory } = await session.site()
  const { path } = store.config as { readonly path?: unknown }
  if (store.descriptor.name !== 'folder' || typeof path !== 'string') return
  const root = resolve(directory, path)
  if (!(await isVacant(root))) return
  if (
    session.terminal.canAsk &&
    !session.json &&
    !(await session.confirm(`Make a new archive at ${root}?`))
  ) {
    throw new UsageError(
      `There is no archive at ${root}.`,
      'Check the path, and that its file system is mounted.',
    )
  }
  const { FolderStore } = await import('@orbweaver/adapter-local')
  await (await FolderStore.open({ path: root, create: true })).close()
  session.note(`New archive at ${root}.`)
}

/** Not there, or empty. */
async function isVacant(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).length === 0
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT') return true
    // The archive says what is wrong with it.
    if (code === 'ENOTDIR' || code === 'EACCES') return false
    throw error
  }
}

/** @throws UsageError the site's archive takes no import */
export function ingestTarget(store: DataStore): IngestTarget {
  if ('ingest' in store && typeof store.ingest === 'function') return store as DataStore & IngestTarget
  throw new UsageError(
    `The archive of this site (${store.name}) takes no import.`,
    'Images go into a folder archive: `store: { use: folder, path: ./archive }`.',
  )
}

/** With progress on a terminal. */
export async function importFolder(
  session: Session,
  target: IngestTarget,
  folder: string,
  options: Omit<ImportOptions, 'signal' | 'onProgress'>,
): Promise<ImportSummary> {
  const { importInto } = await import('@orbweaver/adapter-local')
  const { terminal } = session
  let progress: ImportProgress | undefined
  const block =
    terminal.errorIsTty && !session.json
      ? new LiveBlock(terminal, (width) => [shortenEnd(progressLine(progress), width - 1)])
      : undefined
  block?.start()
  try {
    return await importInto(target, folder, {
      ...options,
      signal: session.signal,
      onProgress: (now) => (progress = now),
    })
  } finally {
    block?.stop()
  }
}

function progressLine(progress: ImportProgress | undefined): string {
  if (progress === undefined) return 'reading'
  const { phase, files, bytes, totalFiles, totalBytes, node = '' } = progress
  if (phase === 'read' || totalFiles === undefined || totalBytes === undefined) {
    return `reading  ${count(files, 'file')}`
  }
  return `${bar(bytes, totalBytes, 20)} ${files} of ${count(totalFiles, 'file')}, ${formatMemory(bytes)} of ${formatMemory(totalBytes)}  ${node}`
}

async function printSummary(session: Session, summary: ImportSummary): Promise<void> {
  const { problems, problemCounts } = summary
  const { paintError, paint } = session.terminal
  for (const { kind, path, reason, hint } of problems.slice(0, SHOWN)) {
    const word = kind === 'error' ? paintError.red(kind) : paintError.yellow(kind)
    session.note(safeForTerminal(`${word} ${path}: ${reason}${hint === undefined ? '' : ` (${hint})`}`))
  }
  const left =
    problemCounts.error + problemCounts.skipped + problemCounts.note - Math.min(SHOWN, problems.length)
  if (left > 0) session.note(`… and ${count(left, 'more', 'more')}`)
  await session.terminal.lines(importLines(summary))
  if (summary.dryRun) await session.print(paint.dim('Nothing was changed.'))
}

export function importLines(summary: ImportSummary): readonly string[] {
  const { kind, reasons, projects, subjects, sessions, scans, files, bytes, created, changed, dryRun } =
    summary
  const what = [
    count(subjects, 'subject'),
    count(sessions, 'session'),
    count(scans, 'scan'),
    `${count(files, 'file')} (${formatMemory(bytes)})`,
  ]
  const read = reasons.length > 0 ? ` (${kind}: ${reasons.join(', ')})` : ` (${kind})`
  const into =
    projects.length === 0
      ? ''
      : ` for ${projects.length === 1 ? 'project' : 'projects'} ${listWords(projects)}`
  const lines = [`Found ${listWords(what)}${into}${read}.`]
  if (dryRun) return lines
  if (created === 0 && changed === 0) lines.push('All of it was in the archive already.')
  else {
    lines.push(
      `Imported: ${count(created, 'resource')} new, ${changed} changed, ${summary.unchanged} as before; ` +
        `${count(summary.copiedFiles, 'file')} (${formatMemory(summary.copiedBytes)}) stored.`,
    )
  }
  return lines
}
