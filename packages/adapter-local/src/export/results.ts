/** Which results of an archive are to be exported. Knows the port alone. */

import {
  InputError,
  filePathProblem,
  formatRef,
  labelProblem,
  printable,
  sameContent,
  wildcard,
  type ArchiveRef,
  type AssessorNode,
  type CallOptions,
  type DataStore,
  type FileEntry,
  type InputBinding,
} from '@orbweaver/core'

export interface ExportSelection {
  readonly project: string
  /** Processor names or procTypes; `*` and `?` allowed. Default: all. */
  readonly processors?: readonly string[]
  /** Subject labels; wildcards allowed. */
  readonly subjects?: readonly string[]
  /** Session labels; wildcards allowed. Leaves out results of subjects and of the project. */
  readonly sessions?: readonly string[]
  /** A person's verdicts, as `Passed`; wildcards allowed, letter case does not matter. Default: any, and none. */
  readonly quality?: readonly string[]
}

export interface ExportProgress {
  /** Results looked at, of all that are selected. */
  readonly results: number
  readonly totalResults: number
  /** Files and bytes brought from the archive so far. */
  readonly files: number
  readonly bytes: number
}

export interface ExportOptions extends ExportSelection, CallOptions {
  /** Folder to write into; made when it is not there. */
  readonly out: string
  readonly onProgress?: (progress: ExportProgress) => void
}

/** Something that was not exported as wanted. */
export interface ExportProblem {
  /** A result, as `P/S/E/assessors/L`, or a file in the output folder. */
  readonly path: string
  readonly reason: string
  readonly hint?: string
}

/** One complete result that is selected. */
export interface Result {
  readonly ref: ArchiveRef
  readonly label: string
  readonly procType: string
  /** procType without its version. */
  readonly pipeline: string
  /** Exact where known, else the major version in the procType, else `0`. */
  readonly version: string
  readonly scans: readonly string[]
  readonly quality: string
}

/** A result with its files, as the archive lists them now. */
export interface ListedResult extends Result {
  readonly inputs: readonly InputBinding[]
  readonly resources: readonly { readonly label: string; readonly files: readonly FileEntry[] }[]
}

export interface Selected {
  /** By project, subject, session, label. */
  readonly results: readonly Result[]
  /** Every subject of the project and its sessions, selected or not: names are made with all of them in view. */
  readonly sessions: ReadonlyMap<string, readonly string[]>
}

/**
 * Whether an earlier export's file is of a subject, session or processor that this export is not about: then it stays. (What a
 * person's verdict or the archive says otherwise about a selected one counts: then it goes.)
 */
export function outOfScope(options: ExportSelection): (columns: Readonly<Record<string, string>>) => boolean {
  const subject = anyOf(options.subjects)
  const session = anyOf(options.sessions)
  const processor = anyOf(options.processors)
  return ({ subject: ofSubject = '', session: ofSession = '', procType }) => {
    if (!subject(ofSubject) || !session(ofSession)) return true
    // Only folders that hold results of several types say which type a file is of.
    return procType !== undefined && !processor(procType) && !processor(pipelineOf(procType))
  }
}

/** Read the tree once. Of each result only what names it is kept. */
export async function selectResults(store: DataStore, options: ExportOptions): Promise<Selected> {
  const { project, signal } = options
  const wanted = {
    processor: anyOf(options.processors),
    subject: anyOf(options.subjects),
    session: anyOf(options.sessions),
    quality: anyOf(options.quality),
  }
  const results: Result[] = []
  const sessions = new Map<string, readonly string[]>()
  const take = (parent: ArchiveRef, assessors: readonly AssessorNode[]): void => {
    for (const node of assessors) {
      if (node.state !== 'complete') continue
      const result = resultOf(parent, node)
      const named = wanted.processor(result.pipeline) || wanted.processor(result.procType)
      if (named && wanted.quality(result.quality)) results.push(result)
    }
  }
  const snapshot = await store.snapshot(project, signal === undefined ? {} : { signal })
  if (options.subjects === undefined && options.sessions === undefined) {
    take({ project }, snapshot.project.assessors)
  }
  for await (const subject of snapshot.subjects) {
    signal?.throwIfAborted()
    sessions.set(
      subject.label,
      subject.sessions.map((session) => session.label),
    )
    if (!wanted.subject(subject.label)) continue
    const above = { project, subject: subject.label }
    if (options.sessions === undefined) take(above, subject.assessors)
    for (const session of subject.sessions) {
      if (wanted.session(session.label)) take({ ...above, session: session.label }, session.assessors)
    }
  }
  results.sort((a, b) => compare(formatRef(a.ref), formatRef(b.ref)))
  return { results, sessions }
}

/**
 * The files of a result, compared with what was recorded when it was completed.
 *
 * @returns the problem instead when it cannot be exported truthfully: it is no longer complete, or what the archive
 * lists is not what was recorded
 */
export async function listResult(
  store: DataStore,
  result: Result,
  options: CallOptions,
): Promise<ListedResult | ExportProblem> {
  const path = formatRef(result.ref)
  const { node, record } = await store.readAssessor(result.ref, options)
  if (node.state !== 'complete') {
    return { path, reason: `it is no longer complete but ${node.state ?? node.statusWord}` }
  }
  // Without a record (a result made by other software) everything that is there belongs to it.
  const recorded = record?.outputs === undefined || record.outputs.length === 0 ? undefined : record.outputs
  const labels =
    recorded?.map((output) => output.resource) ?? node.resources.map((resource) => resource.label)
  const resources: { label: string; files: readonly FileEntry[] }[] = []
  for (const label of [...labels].sort(compare)) {
    const bad = labelProblem(label)
    if (bad !== undefined)
      return { path, reason: `its resource ${printable(label)} cannot be a folder: ${bad}` }
    const files = await store.listFiles({ node: result.ref, resource: label }, options)
    const expected = recorded?.find((output) => output.resource === label)?.files
    const difference =
      files.map((file) => pathProblem(file)).find((problem) => problem !== undefined) ??
      (expected === undefined ? undefined : differenceOf(files, expected))
    if (difference !== undefined) {
      return {
        path,
        reason: `${printable(label)}: ${difference}`,
        hint: 'Run verify on it; then run it again.',
      }
    }
    resources.push({ label, files: [...files].sort((a, b) => compare(a.path, b.path)) })
  }
  return { ...result, inputs: record?.inputs ?? [], resources }
}

export function isProblem(value: ListedResult | ExportProblem): value is ExportProblem {
  return 'reason' in value
}

/** The last part of a folder for one result: `bold-qc_v1-1a2b3c4d`, or the label of a result that is not ours. */
export function resultFolder(result: Result): string {
  const match = /-x-([^/]+)-x-([0-9a-f]{8})$/.exec(result.label)
  return match === null ? result.label : `${result.procType}-${match[2] ?? ''}`
}

/** @throws InputError a label from the archive cannot be the name of a folder */
export function checkFolderNames(ref: ArchiveRef): void {
  for (const label of [ref.project, ref.subject, ref.session, ref.assessor]) {
    const problem = label === undefined ? undefined : labelProblem(label)
    if (problem !== undefined) {
      throw new InputError(
        `The archive has a label ${printable(label ?? '')} that cannot be a folder: ${problem}.`,
        {
          details: { label: printable(label ?? '') },
          hint: 'Rename it in the archive, or leave it out with a selector.',
        },
      )
    }
  }
}

export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function resultOf(parent: ArchiveRef, node: AssessorNode): Result {
  const major = /_v(\d+)$/.exec(node.procType)?.[1] ?? '0'
  return {
    ref: { ...parent, assessor: node.label },
    label: node.label,
    procType: node.procType,
    pipeline: pipelineOf(node.procType),
    version: node.procVersion ?? major,
    scans: node.scans ?? [],
    quality: node.quality,
  }
}

function pipelineOf(procType: string): string {
  return procType.replace(/_v\d+$/, '')
}

function anyOf(patterns: readonly string[] | undefined): (text: string) => boolean {
  if (patterns === undefined) return () => true
  const matchers = patterns.map((pattern) => wildcard(pattern))
  return (text) => matchers.some((matches) => matches(text))
}

function pathProblem(file: FileEntry): string | undefined {
  const problem = filePathProblem(file.path)
  return problem === undefined
    ? undefined
    : `the file path ${printable(file.path)} cannot be used: ${problem}`
}

function differenceOf(files: readonly FileEntry[], expected: readonly FileEntry[]): string | undefined {
  const listed = new Map(files.map((file) => [file.path, file]))
  for (const file of expected) {
    const found = listed.get(file.path)
    if (found === undefined) return `${printable(file.path)} is missing in the archive`
    if (!sameContent(found, file)) return `${printable(file.path)} is not what was recorded`
  }
  return files.length === expected.length ? undefined : 'there are files that were not recorded'
}
