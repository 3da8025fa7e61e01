/** Results as BIDS derivative datasets. */

import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import {
  checkLabel,
  formatRef,
  formatResourceRef,
  labelProblem,
  printable,
  type DataStore,
} from '@orbweaver/core'
import { bidsLabels } from './bids-labels.js'
import { derivativePath, plainPath, type NamedResult } from './derivative-names.js'
import {
  checkFolderNames,
  compare,
  isProblem,
  listResult,
  outOfScope,
  resultFolder,
  selectResults,
  type ExportOptions,
  type ExportProblem,
  type ListedResult,
  type Result,
} from './results.js'
import {
  MAPPING_FILE,
  publish,
  tableText,
  type EarlierFile,
  type MadeFiles,
  type PlannedFile,
  type Publishable,
} from './target-folder.js'

/** Version of BIDS that the datasets say they follow. */
const BIDS_VERSION = '1.10.0'

/** What a dataset's description says of the software beyond its name and version. */
export interface PipelineInfo {
  readonly description?: string
  readonly codeUrl?: string
  readonly container?: { readonly type: string; readonly tag?: string; readonly uri?: string }
}

export interface ExportBidsOptions extends ExportOptions {
  /** Where the raw data can be had. Default: a URN with the names of the archive and the project. */
  readonly source?: { readonly url?: string; readonly doi?: string; readonly version?: string }
  /** Details of a pipeline, by name and exact version. */
  readonly describe?: (pipeline: string, version: string) => PipelineInfo | undefined
}

export interface ExportedDataset {
  /** Absolute. */
  readonly folder: string
  readonly pipeline: string
  readonly version: string
  readonly results: number
  /** Files of results in the dataset now. */
  readonly files: number
  /** Of those: brought now, and their size; there already and the same. */
  readonly written: number
  readonly bytes: number
  readonly unchanged: number
  /** Files of an earlier export that are gone. */
  readonly removed: number
}

export interface ExportSummary {
  readonly datasets: readonly ExportedDataset[]
  readonly problems: readonly ExportProblem[]
}

/**
 * Write complete results as BIDS derivative datasets, one folder `<pipeline>-<version>` for each pipeline and exact
 * version: what `GeneratedBy` says is true of every file in it.
 *
 * Names follow BIDS where they can be derived (see {@link derivativePath}); other files lie in a folder of their result,
 * `sub-X/ses-Y/<procType>-<hash>/<resource>/…`, which `.bidsignore` names. Subject and session labels become letters and
 * digits (see {@link bidsLabels}); `participants.tsv` and `orbweaver-mapping.tsv` record what they were.
 *
 * Exporting again brings only what differs and removes what is no longer there or no longer selected; what an earlier
 * export wrote of subjects and sessions that this one is not about stays. A result whose
 * files are not what was recorded is not exported but reported, and so are changed files in the output folder.
 *
 * @throws NotFoundError no such project
 * @throws InputError, ConflictError, IntegrityError, NoSpaceError see {@link publish}
 */
export async function exportBidsDerivative(
  store: DataStore,
  options: ExportBidsOptions,
): Promise<ExportSummary> {
  checkLabel(options.project, 'Project')
  const problems: ExportProblem[] = []
  const { results, sessions } = await selectResults(store, options)
  const subjectLabels = bidsLabels(sessions.keys(), 'sub-')
  const progress = { results: 0, totalResults: results.length, files: 0, bytes: 0 }
  const datasets: ExportedDataset[] = []
  const call = options.signal === undefined ? {} : { signal: options.signal }
  const stays = outOfScope(options)

  for (const [name, group] of groupByDataset(results)) {
    const [first] = group
    const bad = labelProblem(name)
    if (bad !== undefined || first === undefined) {
      problems.push({
        path: formatRef(first?.ref ?? { project: options.project }),
        reason: `its type ${printable(name)} cannot be a folder: ${bad ?? ''}`,
      })
      continue
    }
    const plan = new DatasetPlan(subjectLabels, sessions)
    const build = async (earlier: readonly EarlierFile[]): Promise<Publishable> => {
      const retained = earlier.filter((file) => stays(file.columns))
      plan.retain(retained)
      for (const result of group) {
        options.signal?.throwIfAborted()
        const listed = await listResult(store, result, call)
        if (isProblem(listed)) problems.push(listed)
        else plan.add(listed)
        progress.results += 1
        options.onProgress?.({ ...progress })
      }
      return { files: plan.files, made: await madeFiles(store, first, plan, options), retained }
    }
    const folder = join(resolve(options.out), name)
    const published = await publish(store, folder, build, (problem) => problems.push(problem), {
      ...call,
      onFile: (bytes) => {
        progress.files += 1
        progress.bytes += bytes
        options.onProgress?.({ ...progress })
      },
    })
    datasets.push({
      folder,
      pipeline: first.pipeline,
      version: first.version,
      results: plan.results,
      files: plan.files.length,
      ...published,
    })
  }
  return { datasets, problems }
}

function groupByDataset(results: readonly Result[]): [string, Result[]][] {
  const groups = new Map<string, Result[]>()
  for (const result of results) {
    const name = `${result.pipeline}-${result.version}`
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [result])
    else group.push(result)
  }
  return [...groups].sort(([a], [b]) => compare(a, b))
}

/** Every file of one dataset with its name. */
class DatasetPlan {
  readonly files: PlannedFile[] = []
  /** BIDS subject label → archive label. */
  readonly subjects = new Map<string, string>()
  /** Folders that are outside BIDS, for `.bidsignore`. */
  readonly plainFolders = new Set<string>()
  results = 0
  private readonly taken = new Set<string>()
  private readonly sessionLabels = new Map<string, ReadonlyMap<string, string>>()

  constructor(
    private readonly subjectLabels: ReadonlyMap<string, string>,
    private readonly sessions: ReadonlyMap<string, readonly string[]>,
  ) {}

  /** Files that stay from an earlier export: their names are taken, their subjects are still there. */
  retain(files: readonly EarlierFile[]): void {
    for (const { path, columns } of files) {
      this.taken.add(path.toLowerCase())
      const participant = columns.participant_id ?? ''
      if (participant !== '') this.subjects.set(participant.slice('sub-'.length), columns.subject ?? '')
      const [folder, ...inner] = path.split('/').filter((part) => !/^(?:sub|ses)-/.test(part))
      if (folder !== undefined && inner.length >= 2) this.plainFolders.add(folder)
    }
  }

  add(result: ListedResult): void {
    checkFolderNames(result.ref)
    const named = this.name(result)
    if (named.subject !== undefined) this.subjects.set(named.subject, result.ref.subject ?? '')
    for (const resource of result.resources) {
      for (const entry of resource.files) {
        const from = { node: result.ref, resource: resource.label }
        const path = this.place(named, resource.label, entry.path)
        this.files.push({
          path,
          from,
          entry,
          columns: this.columns(result, named, resource.label, entry.path),
        })
      }
    }
    this.results += 1
  }

  private place(named: NamedResult, resource: string, file: string): string {
    const derived = derivativePath(named, resource, file)
    if (derived !== undefined && !this.taken.has(derived.toLowerCase())) {
      this.taken.add(derived.toLowerCase())
      return derived
    }
    this.plainFolders.add(named.folder)
    return plainPath(named, resource, file)
  }

  private name(result: ListedResult): NamedResult {
    const { subject, session } = result.ref
    const place = {
      ...(subject !== undefined && { subject: this.subjectLabels.get(subject) ?? '' }),
      ...(subject !== undefined && session !== undefined && { session: this.sessionLabel(subject, session) }),
    }
    return { ...place, scans: scansOf(result), folder: resultFolder(result) }
  }

  private sessionLabel(subject: string, session: string): string {
    let labels = this.sessionLabels.get(subject)
    if (labels === undefined) {
      labels = bidsLabels(this.sessions.get(subject) ?? [], 'ses-')
      this.sessionLabels.set(subject, labels)
    }
    return labels.get(session) ?? ''
  }

  private columns(
    result: ListedResult,
    named: NamedResult,
    resource: string,
    file: string,
  ): Readonly<Record<string, string>> {
    const { project, subject = '', session = '' } = result.ref
    return {
      participant_id: named.subject === undefined ? '' : `sub-${named.subject}`,
      session_id: named.session === undefined ? '' : `ses-${named.session}`,
      project,
      subject,
      session,
      result: result.label,
      resource,
      file,
      inputs: result.inputs
        .flatMap((input) => input.sources.map((source) => formatResourceRef(source)))
        .join(', '),
      quality: result.quality,
    }
  }
}

/** Scans of the result's own session that it was made from. */
function scansOf(result: ListedResult): readonly string[] {
  if (result.scans.length > 0) return result.scans
  const { subject, session } = result.ref
  const labels = result.inputs.flatMap((input) =>
    input.sources.flatMap(({ node }) =>
      node.scan !== undefined && node.subject === subject && node.session === session ? [node.scan] : [],
    ),
  )
  return [...new Set(labels)]
}

async function madeFiles(
  store: DataStore,
  first: Result,
  plan: DatasetPlan,
  options: ExportBidsOptions,
): Promise<MadeFiles> {
  const { pipeline, version } = first
  const info = options.describe?.(pipeline, version)
  const { url, doi, version: sourceVersion } = options.source ?? {}
  const urn = `urn:orbweaver:archive:${encodeURIComponent(store.name)}:${encodeURIComponent(options.project)}`
  const location = url ?? (doi === undefined ? urn : `https://doi.org/${doi.replace(/^doi:/, '')}`)
  const description = {
    Name: `${pipeline} ${version} of ${options.project}`,
    BIDSVersion: BIDS_VERSION,
    DatasetType: 'derivative',
    GeneratedBy: [
      {
        Name: pipeline,
        Version: version,
        ...(info?.description !== undefined && { Description: info.description }),
        ...(info?.codeUrl !== undefined && { CodeURL: info.codeUrl }),
        ...(info?.container !== undefined && {
          Container: {
            Type: info.container.type,
            ...(info.container.tag !== undefined && { Tag: info.container.tag }),
            ...(info.container.uri !== undefined && { URI: info.container.uri }),
          },
        }),
      },
      {
        Name: 'Orbweaver',
        Version: await ownVersion(),
        Description: 'Ran the pipeline and wrote this dataset.',
      },
    ],
    SourceDatasets: [
      {
        URL: location,
        ...(doi !== undefined && { DOI: doi }),
        ...(sourceVersion !== undefined && { Version: sourceVersion }),
      },
    ],
    DatasetLinks: { source: location },
  }
  const participants = [...plan.subjects]
    .sort(([a], [b]) => compare(a, b))
    .map(([bids, label]) => [`sub-${bids}`, label])
  return {
    'dataset_description.json': `${JSON.stringify(description, undefined, 2)}\n`,
    'participants.tsv': tableText(['participant_id', 'archive_subject'], participants),
    'participants.json': `${JSON.stringify(
      { archive_subject: { Description: 'Label of the subject in the archive the results come from.' } },
      undefined,
      2,
    )}\n`,
    '.bidsignore': [
      MAPPING_FILE,
      ...[...plan.plainFolders].sort(compare).map((name) => `${escapeIgnore(name)}/`),
    ]
      .map((line) => `${line}\n`)
      .join(''),
    'README.md': readme(pipeline, version, options.project),
  }
}

/** Characters that mean something in `.bidsignore`. */
function escapeIgnore(name: string): string {
  return name.replace(/[[\]*?!#\\ ]/g, '\\$&')
}

function readme(pipeline: string, version: string, project: string): string {
  return `# ${pipeline} ${version}

Results of ${pipeline} ${version} on the project ${project}, written by Orbweaver from its archive.

\`participants.tsv\` tells which subject of the archive each participant is. \`${MAPPING_FILE}\` tells for every file
which result it is from, what that was made from, and its SHA-256. Files that have no name by the rules of BIDS lie in a
folder of their result.

Exporting again updates this folder; changes made here by hand are kept and reported.
`
}

let version: Promise<string> | undefined

function ownVersion(): Promise<string> {
  version ??= readFile(new URL('../../package.json', import.meta.url), 'utf8').then(
    (text) => (JSON.parse(text) as { version: string }).version,
  )
  return version
}
