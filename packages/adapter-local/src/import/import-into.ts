/** One call for the whole import: find out the kind, check everything, then change the archive. */

import { open } from 'node:fs/promises'
import {
  InputError,
  checkLabel,
  filePathProblem,
  formatRef,
  labelProblem,
  printable,
  systemErrorCode,
  type ArchiveRef,
  type CallOptions,
} from '@orbweaver/core'
import type { IngestItem, IngestOptions, IngestSummary } from '../store/ingest.js'
import { bidsItems } from './bids.js'
import { detectImportKind, type ImportKind } from './detect.js'
import { surveyDicom, surveyItems, type DicomLabelRules } from './dicom.js'
import { formatImportProblem, shownPath, type ImportProblem } from './problems.js'
import { ScratchFiles } from './scratch-files.js'
import { readTree } from './tree.js'

/** The part of the folder archive that an import needs. */
export interface IngestTarget {
  ingest(
    items: AsyncIterable<IngestItem> | Iterable<IngestItem>,
    options?: IngestOptions,
  ): Promise<IngestSummary>
}

export interface ImportProgress {
  /** `read`: headers and names are being looked at. `store`: files are going into the archive. */
  readonly phase: 'read' | 'store'
  readonly resources: number
  readonly files: number
  readonly bytes: number
  /** Known once everything has been read. */
  readonly totalResources?: number
  readonly totalFiles?: number
  readonly totalBytes?: number
  /** The node just done, as `P/S/E/scans/3`. */
  readonly node?: string
}

export interface ImportOptions extends CallOptions {
  /** Default `auto`: see {@link detectImportKind}. */
  readonly kind?: ImportKind | 'auto'
  /** Required for BIDS; for DICOM the header may say; for a tree its top folders are projects without it. */
  readonly project?: string
  /** Label rules for DICOM. */
  readonly map?: DicomLabelRules
  /** Link instead of copying. Default: false. */
  readonly link?: boolean
  /** Read and check everything, change nothing. Problems are then returned, never thrown. Default: false. */
  readonly dryRun?: boolean
  /** Import what is good and leave out what has errors. Default: false, an error anywhere and nothing is imported. */
  readonly skipBad?: boolean
  readonly onProgress?: (progress: ImportProgress) => void
}

export interface ImportSummary {
  readonly kind: ImportKind
  /** What the kind was told by; empty when it was given. */
  readonly reasons: readonly string[]
  readonly dryRun: boolean
  readonly projects: readonly string[]
  readonly subjects: number
  readonly sessions: number
  readonly scans: number
  readonly resources: number
  /** Files of those resources, and their size (without sidecars that are merged on the way). */
  readonly files: number
  readonly bytes: number
  /** Resources by what became of them; all 0 in a dry run. */
  readonly created: number
  readonly unchanged: number
  readonly changed: number
  /** Files copied or linked in this run, and their size. */
  readonly copiedFiles: number
  readonly copiedBytes: number
  /** Errors first. At most {@link MAX_PROBLEMS}; the counts are of all. */
  readonly problems: readonly ImportProblem[]
  readonly problemCounts: Readonly<Record<ImportProblem['kind'], number>>
}

/** More problems than a person reads; the rest is counted. */
export const MAX_PROBLEMS = 500
const SHOWN_IN_MESSAGE = 20

/**
 * Import a folder into the folder archive.
 *
 * Two passes: the first reads every name (and header) and checks it, the second hands the files over. An error found by
 * the first one, such as a label that cannot be used, a folder that cannot be read or an image that is cut short, stops
 * the import before anything is changed. Importing the same folder again changes nothing.
 *
 * @throws InputError the folder is none of the kind, the project is missing, or parts of it are bad (`details.problems`
 * has them all) and `skipBad` was not set
 */
export async function importInto(
  store: IngestTarget,
  directory: string,
  options: ImportOptions = {},
): Promise<ImportSummary> {
  const { project, signal } = options
  if (project !== undefined) checkLabel(project, 'Project')
  const detected =
    options.kind === undefined || options.kind === 'auto'
      ? await detectImportKind(directory)
      : { kind: options.kind, reasons: [] }
  const problems = new ProblemList()
  const scratch = new ScratchFiles()
  try {
    const source = await openSource(detected.kind, directory, options, problems, scratch)
    const check = new Check(problems)
    for await (const item of source.check()) {
      signal?.throwIfAborted()
      await check.item(item)
      options.onProgress?.({ phase: 'read', ...check.totals() })
    }
    if (check.resources === 0 && problems.counts.error === 0) {
      problems.add({
        kind: 'error',
        path: '.',
        reason: 'nothing in it can be imported',
        hint: 'See the other lines for why.',
      })
    }
    if (
      problems.counts.error > 0 &&
      options.dryRun !== true &&
      (options.skipBad !== true || check.resources === 0)
    ) {
      throw refusal(directory, detected.kind, problems, options)
    }
    const stored = options.dryRun === true ? NOTHING : await storeItems(store, source.items(), check, options)
    return {
      kind: detected.kind,
      reasons: detected.reasons,
      dryRun: options.dryRun === true,
      projects: [...check.projects].sort(),
      subjects: check.subjects,
      sessions: check.sessions,
      scans: check.scans,
      ...check.totals(),
      created: stored.created,
      unchanged: stored.unchanged,
      changed: stored.changed,
      copiedFiles: stored.files,
      copiedBytes: stored.bytes,
      problems: problems.list(),
      problemCounts: { ...problems.counts },
    }
  } finally {
    await scratch.remove()
  }
}

const NOTHING: IngestSummary = { created: 0, unchanged: 0, changed: 0, files: 0, bytes: 0, linked: 0 }

/** The same items twice: to be checked, and to be stored. */
interface Source {
  check(): AsyncIterable<IngestItem> | Iterable<IngestItem>
  items(): AsyncIterable<IngestItem> | Iterable<IngestItem>
}

async function openSource(
  kind: ImportKind,
  directory: string,
  options: ImportOptions,
  problems: ProblemList,
  scratch: ScratchFiles,
): Promise<Source> {
  const { project, signal, map } = options
  const common = {
    ...(project !== undefined && { project }),
    ...(signal !== undefined && { signal }),
  }
  const onProblem = (problem: ImportProblem): void => problems.add(problem)
  switch (kind) {
    case 'bids': {
      if (project === undefined) {
        throw new InputError(
          `Cannot import ${shownPath(directory)}: a BIDS dataset does not say which project it is.`,
          {
            details: { path: directory },
            hint: 'Give the project with --project.',
          },
        )
      }
      const read = { ...common, project }
      const damaged = new Set<string>()
      return {
        check: () =>
          bidsItems(
            directory,
            { ...read, onProblem },
            { checkImages: true, damaged, writeFiles: false },
            scratch,
          ),
        items: () => bidsItems(directory, read, { checkImages: false, damaged, writeFiles: true }, scratch),
      }
    }
    case 'dicom': {
      const survey = await surveyDicom(directory, {
        ...common,
        ...(map !== undefined && { map }),
        onProblem,
        onFile: (files) => options.onProgress?.({ phase: 'read', resources: 0, files, bytes: 0 }),
      })
      return { check: () => surveyItems(survey), items: () => surveyItems(survey) }
    }
    case 'tree':
      return {
        check: () => readTree(directory, { ...common, onProblem }),
        items: () => readTree(directory, common),
      }
  }
}

async function storeItems(
  store: IngestTarget,
  items: AsyncIterable<IngestItem> | Iterable<IngestItem>,
  check: Check,
  options: ImportOptions,
): Promise<IngestSummary> {
  const { resources: totalResources, files: totalFiles, bytes: totalBytes } = check.totals()
  return await store.ingest(check.accepted(items), {
    ...(options.link !== undefined && { link: options.link }),
    ...(options.signal !== undefined && { signal: options.signal }),
    onProgress: ({ resources, files, bytes, item }) =>
      options.onProgress?.({
        phase: 'store',
        resources,
        files,
        bytes,
        totalResources,
        totalFiles,
        totalBytes,
        node: formatRef(nodeOf(item)),
      }),
  })
}

/** Nothing reaches the archive that has not passed here, whichever reader it comes from. */
class Check {
  readonly projects = new Set<string>()
  subjects = 0
  sessions = 0
  scans = 0
  resources = 0
  private files = 0
  private bytes = 0
  private readonly seen = new Set<string>()
  /** Resources of the session at hand; items of one session follow each other. */
  private session = ''
  private readonly inSession = new Set<string>()
  /** Resources that were refused here; as a rule none. */
  private readonly refused = new Set<string>()

  constructor(private readonly problems: ProblemList) {}

  totals(): { readonly resources: number; readonly files: number; readonly bytes: number } {
    return { resources: this.resources, files: this.files, bytes: this.bytes }
  }

  async item(item: IngestItem): Promise<void> {
    const problem = itemProblem(item)
    const session = [item.project, item.subject, item.session].join('/')
    if (session !== this.session) {
      this.session = session
      this.inSession.clear()
    }
    const key = resourceKey(item)
    if (problem !== undefined || this.inSession.has(key)) {
      this.refuse(
        key,
        problem ?? 'it comes up twice: two parts of the folder give the same labels',
        'Rename one of the folders or files it is made from.',
      )
      return
    }
    this.inSession.add(key)
    let bytes = 0
    for (const { path, source } of item.files) {
      // A merged sidecar is made only when it is stored.
      if (source === '') continue
      try {
        // Opened, not asked: only that tells on network file systems and for programs with borrowed rights.
        const file = await open(source, 'r')
        try {
          bytes += (await file.stat()).size
        } finally {
          await file.close()
        }
      } catch (error) {
        const code = systemErrorCode(error)
        if (code === undefined) throw error
        const denied = code === 'EACCES' || code === 'EPERM'
        this.refuse(
          key,
          `its file ${printable(path)} ${denied ? 'may not be read by this user' : `cannot be read (${code})`}`,
          denied ? 'Ask its owner for read permission.' : 'Check the disk and try again.',
        )
        return
      }
    }
    this.count(item)
    this.files += item.files.length
    this.bytes += bytes
  }

  private refuse(key: string, reason: string, hint: string): void {
    this.refused.add(key)
    this.problems.add({ kind: 'error', path: shownPath(key), reason, hint })
  }

  /** Items that passed; the readers see the same folder again and leave out what they reported before. */
  async *accepted(items: AsyncIterable<IngestItem> | Iterable<IngestItem>): AsyncGenerator<IngestItem> {
    for await (const item of items) {
      if (itemProblem(item) === undefined && !this.refused.has(resourceKey(item))) yield item
    }
  }

  private count(item: IngestItem): void {
    const first = (key: string): boolean => {
      if (this.seen.has(key)) return false
      this.seen.add(key)
      return true
    }
    this.projects.add(item.project)
    this.resources += 1
    const subject = `${item.project}/${item.subject}`
    if (first(subject)) this.subjects += 1
    if (item.session === undefined) return
    if (first(`${subject}/${item.session}`)) this.sessions += 1
    if (item.scan === undefined) return
    const scan = `scan ${item.scan.label}`
    if (!this.inSession.has(scan)) {
      this.inSession.add(scan)
      this.scans += 1
    }
  }
}

function itemProblem(item: IngestItem): string | undefined {
  const labels: readonly (readonly [string, string | undefined])[] = [
    ['project', item.project],
    ['subject', item.subject],
    ['session', item.session],
    ['scan', item.scan?.label],
    ['resource', item.resource],
  ]
  for (const [what, label] of labels) {
    const problem = label === undefined ? undefined : labelProblem(label)
    if (problem !== undefined) return `${printable(label ?? '')} cannot be the label of a ${what}: ${problem}`
  }
  const paths = new Set<string>()
  for (const { path } of item.files) {
    const problem = filePathProblem(path)
    if (problem !== undefined) return `the file path ${printable(path)} cannot be used: ${problem}`
    if (paths.has(path)) return `the file ${printable(path)} comes up twice`
    paths.add(path)
  }
  return undefined
}

function nodeOf({ project, subject, session, scan }: IngestItem): ArchiveRef {
  return {
    project,
    subject,
    ...(session !== undefined && { session }),
    ...(scan !== undefined && { scan: scan.label }),
  }
}

function resourceKey(item: IngestItem): string {
  return `${formatRef(nodeOf(item))}:${item.resource}`
}

class ProblemList {
  readonly counts: Record<ImportProblem['kind'], number> = { error: 0, skipped: 0, note: 0 }
  private readonly kept: ImportProblem[] = []

  add(problem: ImportProblem): void {
    this.counts[problem.kind] += 1
    // Errors always find room: they are what a person must act on.
    if (problem.kind === 'error' ? this.counts.error <= MAX_PROBLEMS : this.kept.length < MAX_PROBLEMS) {
      this.kept.push(problem)
    }
  }

  list(): readonly ImportProblem[] {
    const rank = { error: 0, skipped: 1, note: 2 } as const
    return [...this.kept].sort((a, b) => rank[a.kind] - rank[b.kind]).slice(0, MAX_PROBLEMS)
  }
}

function refusal(
  directory: string,
  kind: ImportKind,
  problems: ProblemList,
  options: ImportOptions,
): InputError {
  const errors = problems.list().filter((problem) => problem.kind === 'error')
  const shown = errors.slice(0, SHOWN_IN_MESSAGE).map((problem) => `  ${formatImportProblem(problem)}`)
  const more = problems.counts.error - shown.length
  const count = problems.counts.error === 1 ? '1 error' : `${problems.counts.error} errors`
  return new InputError(
    [
      `Nothing was imported from ${shownPath(directory)}: ${count} in it (read as ${kind}).`,
      ...shown,
      ...(more > 0 ? [`  and ${more} more`] : []),
    ].join('\n'),
    {
      details: { path: directory, kind, problems: errors, counts: { ...problems.counts } },
      hint:
        options.skipBad === true
          ? 'Nothing would be left without the bad parts.'
          : 'Correct them and import again, or leave the bad parts out with --skip-bad.',
    },
  )
}
