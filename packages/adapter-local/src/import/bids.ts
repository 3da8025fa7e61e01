/** A BIDS dataset as items for the folder archive. */

import { readFile } from 'node:fs/promises'
import { parse as parseCsv } from 'csv-parse/sync'
import ignore, { type Ignore } from 'ignore'
import pLimit from 'p-limit'
import { InputError, systemErrorCode } from '@orbweaver/core'
import type { IngestFile, IngestItem, IngestScan } from '../store/ingest.js'
import {
  SidecarReader,
  ambiguousPair,
  applicable,
  mergeSidecars,
  type MetadataFile,
} from './bids-inheritance.js'
import {
  ASSOCIATES,
  ASSOCIATE_OWN_ENTITIES,
  DATATYPES,
  containsEntities,
  entityPairs,
  parseBidsName,
  scanLabelOf,
  type BidsName,
} from './bids-names.js'
import { readJsonObject, type JsonObject } from './json-file.js'
import { niftiProblem } from './nifti-check.js'
import { shownPath, type ImportProblem, type ReadOptions } from './problems.js'
import { ScratchFiles } from './scratch-files.js'
import { SourceFolder, type SourceEntry } from './source-folder.js'

/** Session label for data that lies directly below its subject, without a `ses-` folder. */
export const SESSION_WITHOUT_LABEL = 'single'

/** Resource of a session that keeps what the dataset says of it: its `scans.tsv` and {@link BidsSessionRecord}. */
export const BIDS_RESOURCE = 'BIDS'
/** File of that resource with the mapping between archive labels and BIDS names. */
export const BIDS_RECORD_FILE = 'mapping.json'

/** What was mapped to what: enough to write the session back as BIDS. */
export interface BidsSessionRecord {
  readonly schema: 1
  readonly dataset: { readonly name?: string; readonly bidsVersion?: string }
  readonly subject: { readonly label: string; readonly bids: string }
  /** `bids` is null when the dataset has no session folder here. */
  readonly session: { readonly label: string; readonly bids: string | null }
  /** The subject's row of `participants.tsv`, without its id. */
  readonly participant?: Readonly<Record<string, string>>
  /** Scan label → where it lay. */
  readonly scans: Readonly<Record<string, { readonly datatype: string; readonly stem: string }>>
}

export interface ReadBidsOptions extends ReadOptions {
  readonly project: string
}

/** For the two passes of an import: names first, then everything. */
export interface PassOptions {
  /** Look into images for damage; without it, images in `damaged` are left out. */
  readonly checkImages: boolean
  /** Paths of images that are damaged: filled by a pass that looks, used by one that does not. */
  readonly damaged: Set<string>
  /** Write merged sidecars. Without it their `source` is empty. */
  readonly writeFiles: boolean
}

/** Top-level folders that are no subjects and are left out by design. */
const KNOWN_FOLDERS: ReadonlySet<string> = new Set([
  'derivatives',
  'sourcedata',
  'rawdata',
  'code',
  'stimuli',
  'phenotype',
])
/** The one associate that is JSON and nothing else. */
const JSON_ASSOCIATE = 'coordsystem'
const GRADIENTS: readonly string[] = ['.bval', '.bvec']
/** Folders that are one recording. */
const FOLDER_RECORDINGS: ReadonlySet<string> = new Set(['.ds', '.mefd', '.ome.zarr'])
/** Extensions of files nobody puts into a datatype folder by accident: a bad name among them is an error. */
const DATA_EXTENSION =
  /\.(?:nii(?:\.gz)?|json|bvals?|bvecs?|tsv(?:\.gz)?|edf|bdf|vhdr|vmrk|eeg|set|fdt|fif|ds|snirf|nwb|mefd|tiff?|img|hdr)$/i
const CHECKS_AT_ONCE = 8

/**
 * Read a BIDS dataset.
 *
 * Labels: the subject is the label after `sub-`, the session the label after `ses-`, or
 * {@link SESSION_WITHOUT_LABEL}; a scan is its entities and suffix without subject and session, in BIDS order, as
 * `task-rest_run-1_bold`; its type is the suffix (`T1w`, `bold`, `dwi`), its description the sidecar's
 * `SeriesDescription`, else `datatype/label`. Images and what belongs to them are the resource `NIFTI`; recordings that
 * are no images have their datatype in capitals (`EEG`, `MEG`, `BEH`). The mapping is kept in each session's resource
 * {@link BIDS_RESOURCE}.
 *
 * Sidecars follow the inheritance principle: where files above the image add something, the merged sidecar is what is
 * imported. Gradient tables, events and the other tables come from the nearest place that has them.
 *
 * Left out: `derivatives`, `sourcedata`, `code`, `stimuli`, `phenotype`, hidden files, and whatever `.bidsignore` names.
 *
 * @throws NotFoundError, AccessDeniedError, InputError the folder itself cannot be read or is no BIDS dataset; anything
 * below it is reported to `onProblem`
 */
export async function* readBids(directory: string, options: ReadBidsOptions): AsyncGenerator<IngestItem> {
  const scratch = new ScratchFiles(options.temporaryFolder)
  try {
    yield* bidsItems(directory, options, { checkImages: true, damaged: new Set(), writeFiles: true }, scratch)
  } finally {
    await scratch.remove()
  }
}

/** {@link readBids} in parts, with the caller's scratch files. */
export async function* bidsItems(
  directory: string,
  options: ReadBidsOptions,
  pass: PassOptions,
  scratch: ScratchFiles,
): AsyncGenerator<IngestItem> {
  const report = options.onProblem ?? ((): void => undefined)
  const folder = await SourceFolder.open(directory, report)
  const dataset = await openDataset(folder, report)
  const reader = new SessionReader(dataset, options, pass, scratch)
  for (const subject of dataset.subjects) {
    options.signal?.throwIfAborted()
    yield* reader.subject(subject)
  }
}

interface Dataset {
  readonly folder: SourceFolder
  readonly report: (problem: ImportProblem) => void
  readonly subjects: readonly SourceEntry[]
  readonly metadata: readonly MetadataFile[]
  readonly ignored: (entry: SourceEntry) => boolean
  readonly description: { readonly name?: string; readonly bidsVersion?: string }
  readonly participants: ReadonlyMap<string, Readonly<Record<string, string>>>
}

async function openDataset(folder: SourceFolder, report: (problem: ImportProblem) => void): Promise<Dataset> {
  const ignored = await readBidsIgnore(folder, report)
  const entries = (await folder.list('')).filter((entry) => !ignored(entry))
  const subjects: SourceEntry[] = []
  for (const entry of entries) {
    if (entry.kind === 'file') continue
    if (entry.name.startsWith('sub-')) subjects.push(entry)
    else if (!KNOWN_FOLDERS.has(entry.name)) {
      report({ kind: 'skipped', path: shownPath(entry.path), reason: 'it is no subject folder (sub-…)' })
    }
  }
  if (subjects.length === 0) {
    throw new InputError(`Cannot import ${shownPath(folder.root)} as BIDS: it has no folder sub-….`, {
      details: { path: folder.root },
      hint: 'Name the folder that holds dataset_description.json and the sub-… folders, or choose another kind of import.',
    })
  }
  const file = (name: string): SourceEntry | undefined =>
    entries.find((entry) => entry.name === name && entry.kind === 'file')
  return {
    folder,
    report,
    subjects,
    metadata: metadataOf(entries, 0),
    ignored,
    description: await readDescription(file('dataset_description.json'), report),
    participants: await readParticipants(file('participants.tsv'), report),
  }
}

async function readDescription(
  entry: SourceEntry | undefined,
  report: (problem: ImportProblem) => void,
): Promise<Dataset['description']> {
  if (entry === undefined) {
    report({
      kind: 'note',
      path: 'dataset_description.json',
      reason: 'it is missing',
      hint: 'BIDS requires it; the import goes on without.',
    })
    return {}
  }
  const description = await readJsonObject(entry.absolute)
  if (typeof description === 'string') {
    report({ kind: 'error', path: entry.path, reason: description, hint: 'Repair the file.' })
    return {}
  }
  if (description.DatasetType === 'derivative') {
    report({
      kind: 'note',
      path: entry.path,
      reason: 'it says that this is a derivative dataset; its files are imported as scans',
    })
  }
  const { Name: name, BIDSVersion: bidsVersion } = description
  return {
    ...(typeof name === 'string' && { name }),
    ...(typeof bidsVersion === 'string' && { bidsVersion }),
  }
}

async function readParticipants(
  entry: SourceEntry | undefined,
  report: (problem: ImportProblem) => void,
): Promise<Dataset['participants']> {
  const participants = new Map<string, Readonly<Record<string, string>>>()
  for (const row of entry === undefined ? [] : await readTable(entry, report)) {
    const { participant_id: id, ...rest } = row
    if (id === undefined || id === '') continue
    participants.set(id.startsWith('sub-') ? id : `sub-${id}`, rest)
  }
  return participants
}

/** `.bidsignore` has the syntax of `.gitignore`, and is hidden like it. */
async function readBidsIgnore(
  folder: SourceFolder,
  report: (problem: ImportProblem) => void,
): Promise<(entry: SourceEntry) => boolean> {
  let rules: Ignore
  try {
    rules = ignore().add(await readFile(`${folder.root}/.bidsignore`, 'utf8'))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return () => false
    folder.unreadable('.bidsignore', error)
    report({ kind: 'note', path: '.bidsignore', reason: 'nothing is left out by it' })
    return () => false
  }
  return (entry) => rules.ignores(entry.kind === 'folder' ? `${entry.path}/` : entry.path)
}

/** Rows of a tab-separated table by column name. A table that cannot be read is a problem and has no rows. */
async function readTable(
  entry: SourceEntry,
  report: (problem: ImportProblem) => void,
): Promise<readonly Readonly<Record<string, string>>[]> {
  try {
    return parseCsv(await readFile(entry.absolute), {
      bom: true,
      columns: (header: string[]) => header.map((name) => name.trim()),
      delimiter: '\t',
      // BIDS tables have no quoting: a quote is a character like others.
      quote: false,
      relax_column_count: true,
      skip_empty_lines: true,
      trim: true,
    })
  } catch (error) {
    report({
      kind: 'error',
      path: shownPath(entry.path),
      reason: `it is no table of tab-separated values (${error instanceof Error ? error.message : String(error)})`,
      hint: 'Repair the file.',
    })
    return []
  }
}

function metadataOf(entries: readonly SourceEntry[], level: number): MetadataFile[] {
  const found: MetadataFile[] = []
  for (const entry of entries) {
    if (entry.kind !== 'file') continue
    const parsed = parseBidsName(entry.name)
    if (typeof parsed !== 'string') found.push(toMetadata(entry, parsed, level))
  }
  return found
}

function toMetadata(entry: SourceEntry, parsed: BidsName, level: number): MetadataFile {
  return { ...parsed, name: entry.name, path: entry.path, absolute: entry.absolute, level }
}

/** One scan to be: the files of one name in one datatype folder. */
interface DataGroup {
  readonly entities: ReadonlyMap<string, string>
  readonly suffix: string
  readonly stem: string
  readonly datatype: string
  readonly entries: SourceEntry[]
}

interface ScansTable {
  readonly rows: ReadonlyMap<string, Readonly<Record<string, string>>>
  readonly file?: SourceEntry
}

/** Where a session lies, and what applies to it from above. */
interface Place {
  readonly subject: string
  readonly session: string
  readonly bidsSubject: string
  readonly bidsSession: string | null
  /** Folder of the session, or of the subject when there is none. */
  readonly path: string
  readonly datatypes: readonly SourceEntry[]
  readonly metadata: readonly MetadataFile[]
  readonly scans: ScansTable
}

class SessionReader {
  private readonly sidecars = new SidecarReader()
  /** Shared files are read for every image; each is complained of once. */
  private readonly complained = new Set<string>()
  private readonly limit = pLimit(CHECKS_AT_ONCE)

  constructor(
    private readonly dataset: Dataset,
    private readonly options: ReadBidsOptions,
    private readonly pass: PassOptions,
    private readonly scratch: ScratchFiles,
  ) {}

  async *subject(folder: SourceEntry): AsyncGenerator<IngestItem> {
    const subject = folder.name.slice('sub-'.length)
    if (!this.goodLabel(folder, subject, 'sub-')) return
    const entries = await this.list(folder.path)
    const own = metadataOf(entries, 1)
    const datatypes: SourceEntry[] = []
    const sessions: SourceEntry[] = []
    for (const entry of entries) {
      if (entry.kind === 'file') continue
      if (entry.name.startsWith('ses-')) sessions.push(entry)
      else if (Object.hasOwn(DATATYPES, entry.name)) datatypes.push(entry)
      else this.skipFolder(entry)
    }
    if (sessions.length === 0 && datatypes.length === 0) {
      this.dataset.report({ kind: 'skipped', path: shownPath(folder.path), reason: 'it holds no data' })
      return
    }
    const base = { subject, bidsSubject: folder.name }
    if (datatypes.length > 0) {
      if (sessions.length > 0) {
        this.dataset.report({
          kind: 'note',
          path: shownPath(folder.path),
          reason: `it has data outside its session folders; that becomes the session "${SESSION_WITHOUT_LABEL}"`,
        })
      }
      yield* this.session({
        ...base,
        session: SESSION_WITHOUT_LABEL,
        bidsSession: null,
        path: folder.path,
        datatypes,
        metadata: [...this.dataset.metadata, ...own],
        scans: await this.readScans(entries, `${folder.name}_scans.tsv`),
      })
    }
    for (const session of sessions) {
      this.options.signal?.throwIfAborted()
      const label = session.name.slice('ses-'.length)
      if (!this.goodLabel(session, label, 'ses-')) continue
      if (label === SESSION_WITHOUT_LABEL && datatypes.length > 0) {
        this.dataset.report({
          kind: 'error',
          path: shownPath(session.path),
          reason: `data outside session folders would get the same session label "${label}"`,
          hint: 'Move that data into a session folder, or rename this one.',
        })
        continue
      }
      const inside = await this.list(session.path)
      const folders = inside.filter((entry) => entry.kind === 'folder')
      for (const entry of folders) if (!Object.hasOwn(DATATYPES, entry.name)) this.skipFolder(entry)
      yield* this.session({
        ...base,
        session: label,
        bidsSession: session.name,
        path: session.path,
        datatypes: folders.filter((entry) => Object.hasOwn(DATATYPES, entry.name)),
        metadata: [...this.dataset.metadata, ...own, ...metadataOf(inside, 2)],
        scans: await this.readScans(inside, `${folder.name}_${session.name}_scans.tsv`),
      })
    }
  }

  private async *session(place: Place): AsyncGenerator<IngestItem> {
    const made: {
      readonly scan: IngestScan
      readonly files: readonly IngestFile[]
      readonly resource: string
    }[] = []
    const record: Record<string, { datatype: string; stem: string }> = {}
    const labels = new Set<string>()
    for (const folder of place.datatypes) {
      this.options.signal?.throwIfAborted()
      const { groups, metadata } = await this.datatype(place, folder)
      const candidates = [...place.metadata, ...metadata]
      const used = new Set<string>()
      // Recordings first: what belongs to one of them is no scan of its own.
      const isAssociate = (group: DataGroup): boolean => Object.hasOwn(ASSOCIATES, group.suffix)
      const ordered = [...groups.filter((g) => !isAssociate(g)), ...groups.filter(isAssociate)]
      const results = []
      for (const group of ordered) {
        if (isAssociate(group) && group.entries.every((entry) => used.has(entry.path))) continue
        results.push(await this.group(place, group, candidates, used))
      }
      for (const file of metadata) {
        if (used.has(file.path)) continue
        this.dataset.report({
          kind: 'skipped',
          path: shownPath(file.path),
          reason: 'it belongs to no data file here',
        })
      }
      for (const result of results) {
        if (result === undefined) continue
        const { group, scan } = result
        // Two datatypes may use one name (an M0 scan in perf and in fmap): the later one says where it is from.
        const label = labels.has(scan.label) ? `${scan.label}-${group.datatype}` : scan.label
        labels.add(label)
        record[label] = { datatype: group.datatype, stem: group.stem }
        made.push({ ...result, scan: { ...scan, label } })
      }
    }
    if (made.length === 0) {
      this.dataset.report({ kind: 'skipped', path: shownPath(place.path), reason: 'it holds no data' })
      return
    }
    const modality = modalityOf(Object.values(record).map(({ datatype }) => datatype))
    const date = dateOf(place.scans)
    const common = {
      project: this.options.project,
      subject: place.subject,
      session: place.session,
      ...(modality !== undefined && { modality }),
      ...(date !== undefined && { date }),
    }
    yield { ...common, resource: BIDS_RESOURCE, files: await this.sessionFiles(place, record) }
    for (const { scan, files, resource } of made) yield { ...common, scan, resource, files }
  }

  private async sessionFiles(
    place: Place,
    scans: BidsSessionRecord['scans'],
  ): Promise<readonly IngestFile[]> {
    const participant = this.dataset.participants.get(place.bidsSubject)
    const record: BidsSessionRecord = {
      schema: 1,
      dataset: this.dataset.description,
      subject: { label: place.subject, bids: place.bidsSubject },
      session: { label: place.session, bids: place.bidsSession },
      ...(participant !== undefined && { participant }),
      scans,
    }
    const files: IngestFile[] = [await this.generated(BIDS_RECORD_FILE, record)]
    const { file } = place.scans
    if (file !== undefined) files.push({ path: file.name, source: file.absolute })
    return files
  }

  /** Sort the entries of a datatype folder into scans and metadata. */
  private async datatype(
    place: Place,
    folder: SourceEntry,
  ): Promise<{ readonly groups: readonly DataGroup[]; readonly metadata: readonly MetadataFile[] }> {
    const groups = new Map<string, DataGroup>()
    const metadata: MetadataFile[] = []
    for (const entry of await this.list(folder.path)) {
      const parsed = parseBidsName(entry.name)
      const problem = typeof parsed === 'string' ? parsed : this.misplaced(place, parsed)
      if (typeof parsed === 'string' || problem !== undefined) {
        this.badName(entry, problem ?? '')
        continue
      }
      if (entry.kind === 'folder' && !FOLDER_RECORDINGS.has(parsed.extension)) {
        this.skipFolder(entry)
        continue
      }
      const inherits = parsed.extension === '.json' || GRADIENTS.includes(parsed.extension)
      if (inherits || Object.hasOwn(ASSOCIATES, parsed.suffix)) metadata.push(toMetadata(entry, parsed, 3))
      if (inherits) continue
      const label = scanLabelOf(parsed)
      const group = groups.get(label)
      if (group !== undefined) group.entries.push(entry)
      else {
        const { entities, suffix, stem } = parsed
        groups.set(label, { entities, suffix, stem, datatype: folder.name, entries: [entry] })
      }
    }
    return { groups: [...groups.values()], metadata }
  }

  /** The scan and files of one group; undefined when it cannot be imported, which has been reported. */
  private async group(
    place: Place,
    group: DataGroup,
    candidates: readonly MetadataFile[],
    used: Set<string>,
  ): Promise<
    | {
        readonly group: DataGroup
        readonly scan: IngestScan
        readonly files: IngestFile[]
        readonly resource: string
      }
    | undefined
  > {
    const files: IngestFile[] = []
    for (const entry of group.entries) {
      used.add(entry.path)
      if (entry.kind === 'file') files.push({ path: entry.name, source: entry.absolute })
      else {
        for await (const inner of this.dataset.folder.walk(entry.path, this.options.signal)) {
          files.push({ path: `${entry.name}${inner.path.slice(entry.path.length)}`, source: inner.absolute })
        }
      }
    }
    let whole = await this.wholeImages(group)
    const found = await this.sidecar(group, candidates, used, ` of ${group.stem}`)
    if (found === 'bad') whole = false
    const sidecar = found === 'bad' ? undefined : found
    if (sidecar !== undefined) files.push(sidecar.file)
    for (const extension of GRADIENTS) {
      const nearest = applicable(candidates, { ...group, extension }).at(-1)
      if (nearest === undefined) continue
      used.add(nearest.path)
      files.push({ path: group.stem + extension, source: nearest.absolute })
    }
    if (!(await this.associates(group, candidates, used, files))) whole = false
    if (!whole) return undefined

    const label = scanLabelOf(group)
    const image = group.entries.some((entry) => isNifti(entry.name))
    const described = sidecar?.merged.SeriesDescription
    const row = group.entries
      .map((entry) => place.scans.rows.get(entry.path.slice(place.path.length + 1)))
      .find((found) => found !== undefined)
    const quality = valueOf(row, 'quality')
    return {
      group,
      scan: {
        label,
        type: group.suffix,
        description:
          typeof described === 'string' && described.trim() !== ''
            ? described.trim()
            : `${group.datatype}/${label}`,
        ...(quality !== undefined && { quality }),
      },
      files,
      resource: image ? 'NIFTI' : group.datatype.toUpperCase(),
    }
  }

  private async wholeImages(group: DataGroup): Promise<boolean> {
    const images = group.entries.filter((entry) => entry.kind === 'file' && isNifti(entry.name))
    const [first, second] = images
    if (first !== undefined && second !== undefined) {
      this.dataset.report({
        kind: 'error',
        path: shownPath(second.path),
        reason: `there is also ${first.name}: two images with one name`,
        hint: 'Remove one of them.',
      })
      return false
    }
    const { damaged } = this.pass
    if (!this.pass.checkImages) return images.every((entry) => !damaged.has(entry.path))
    const problems = await Promise.all(
      images.map((entry) =>
        this.limit(async () => {
          try {
            const reason = await niftiProblem(entry.absolute, this.options)
            if (reason === undefined) return false
            this.dataset.report({
              kind: 'error',
              path: shownPath(entry.path),
              reason,
              hint: 'Get a whole copy of the file, or name it in .bidsignore.',
            })
          } catch (error) {
            this.dataset.folder.unreadable(entry.path, error)
          }
          damaged.add(entry.path)
          return true
        }),
      ),
    )
    return !problems.includes(true)
  }

  /** The sidecar that applies to a group: the file itself when it says everything, else a merged one. */
  private async sidecar(
    group: Pick<DataGroup, 'entities' | 'suffix' | 'stem'>,
    candidates: readonly MetadataFile[],
    used: Set<string>,
    what: string,
    exempt?: ReadonlySet<string>,
  ): Promise<{ readonly file: IngestFile; readonly merged: JsonObject } | 'bad' | undefined> {
    const found = applicable(candidates, {
      ...group,
      extension: '.json',
      ...(exempt !== undefined && { exempt }),
    })
    const nearest = found.at(-1)
    if (nearest === undefined) return undefined
    const pair = ambiguousPair(found)
    if (pair !== undefined) {
      this.complain(
        pair[1].path,
        `it and ${shownPath(pair[0].name)} both apply, and neither is the more special one${what}`,
        'Put the differing values into sidecars next to the images.',
      )
      return 'bad'
    }
    const objects: JsonObject[] = []
    for (const file of found) {
      used.add(file.path)
      const object = await this.sidecars.read(file)
      if (typeof object === 'string') {
        this.complain(file.path, object, 'Repair the file, or name it in .bidsignore.')
        return 'bad'
      }
      objects.push(object)
    }
    const { merged, adds } = mergeSidecars(objects)
    const path = `${group.stem}.json`
    return {
      merged,
      file: adds ? await this.generated(path, merged) : { path, source: nearest.absolute },
    }
  }

  /** Tables that go with a recording. @returns false when one of their sidecars is bad */
  private async associates(
    group: DataGroup,
    candidates: readonly MetadataFile[],
    used: Set<string>,
    files: IngestFile[],
  ): Promise<boolean> {
    let good = true
    for (const [suffix, targets] of Object.entries(ASSOCIATES)) {
      if (!targets.has(group.suffix)) continue
      const tables = candidates.filter(
        (file) =>
          file.suffix === suffix &&
          (file.extension !== '.json' || suffix === JSON_ASSOCIATE) &&
          containsEntities(group.entities, file.entities, ASSOCIATE_OWN_ENTITIES),
      )
      // Several recordings (cardiac, respiratory) or spaces go side by side; of each the nearest one counts.
      const kinds = new Map<string, MetadataFile[]>()
      for (const table of tables) {
        const own = ownEntities(table).join('_')
        const key = `${own}${table.extension}`
        kinds.set(key, [...(kinds.get(key) ?? []), table])
      }
      for (const same of kinds.values()) {
        const table = applicable(same, {
          ...group,
          suffix,
          extension: same[0]?.extension ?? '',
          exempt: ASSOCIATE_OWN_ENTITIES,
        }).at(-1)
        if (table === undefined) continue
        used.add(table.path)
        const entities = new Map([...group.entities, ...table.entities])
        const stem = table.level === 3 ? table.stem : [...entityPairs(entities), suffix].join('_')
        files.push({ path: stem + table.extension, source: table.absolute })
        if (table.extension === '.json') continue
        const sidecar = await this.sidecar({ entities, suffix, stem }, candidates, used, ` of ${stem}`)
        if (sidecar === 'bad') good = false
        else if (sidecar !== undefined && !files.some((file) => file.path === sidecar.file.path)) {
          files.push(sidecar.file)
        }
      }
    }
    return good
  }

  private async generated(path: string, value: unknown): Promise<IngestFile> {
    const source = this.pass.writeFiles
      ? await this.scratch.file(`${JSON.stringify(value, undefined, 2)}\n`)
      : ''
    return { path, source, copy: true }
  }

  private async readScans(entries: readonly SourceEntry[], name: string): Promise<ScansTable> {
    const file = entries.find((entry) => entry.name === name && entry.kind === 'file')
    const rows = new Map<string, Readonly<Record<string, string>>>()
    if (file === undefined) return { rows }
    for (const row of await readTable(file, this.dataset.report)) {
      if (row.filename !== undefined) rows.set(row.filename, row)
    }
    return { rows, file }
  }

  private async list(path: string): Promise<readonly SourceEntry[]> {
    return (await this.dataset.folder.list(path)).filter((entry) => !this.dataset.ignored(entry))
  }

  private goodLabel(entry: SourceEntry, label: string, prefix: string): boolean {
    if (/^[A-Za-z0-9+]+$/.test(label)) return true
    this.dataset.report({
      kind: 'error',
      path: shownPath(entry.path),
      reason: `a BIDS label after ${prefix} has only letters and digits`,
      hint: 'Rename the folder and the files in it, or name it in .bidsignore.',
    })
    return false
  }

  private misplaced(place: Place, name: BidsName): string | undefined {
    const subject = name.entities.get('sub')
    if (`sub-${subject ?? ''}` !== place.bidsSubject) {
      return subject === undefined
        ? 'its name does not start with the subject'
        : `its name says sub-${subject}, but it lies in ${place.bidsSubject}`
    }
    const session = name.entities.get('ses')
    const expected = place.bidsSession?.slice('ses-'.length)
    if (session === expected) return undefined
    if (session === undefined) return `its name does not say ses-${expected ?? ''}`
    return `its name says ses-${session}, but it lies in ${place.bidsSession ?? 'no session folder'}`
  }

  private badName(entry: SourceEntry, reason: string): void {
    // A bad name on data means that data would be missing: an error. Notes and the like may be left out.
    const data = DATA_EXTENSION.test(entry.name)
    this.dataset.report({
      kind: data ? 'error' : 'skipped',
      path: shownPath(entry.path),
      reason,
      ...(data && { hint: 'Rename it, or name it in .bidsignore.' }),
    })
  }

  private skipFolder(entry: SourceEntry): void {
    this.dataset.report({
      kind: 'skipped',
      path: shownPath(entry.path),
      reason: 'BIDS knows no folder of this name here',
    })
  }

  private complain(path: string, reason: string, hint: string): void {
    if (this.complained.has(path)) return
    this.complained.add(path)
    this.dataset.report({ kind: 'error', path: shownPath(path), reason, hint })
  }
}

function ownEntities(file: BidsName): string[] {
  return [...file.entities].filter(([key]) => ASSOCIATE_OWN_ENTITIES.has(key)).map((pair) => pair.join('-'))
}

function isNifti(name: string): boolean {
  return name.endsWith('.nii') || name.endsWith('.nii.gz')
}

/** A column by name, whatever its letter case; `n/a` is how BIDS writes that there is none. */
function valueOf(row: Readonly<Record<string, string>> | undefined, column: string): string | undefined {
  for (const [name, value] of Object.entries(row ?? {})) {
    if (name.toLowerCase() === column && value !== '' && value.toLowerCase() !== 'n/a') return value
  }
  return undefined
}

/** The day of the earliest acquisition. */
function dateOf(scans: ScansTable): string | undefined {
  return [...scans.rows.values()]
    .flatMap((row) => /^\d{4}-\d{2}-\d{2}/.exec(valueOf(row, 'acq_time') ?? '')?.[0] ?? [])
    .sort()[0]
}

/** PET wins over MR, which PET/MR sessions also have. */
function modalityOf(datatypes: readonly string[]): string | undefined {
  const found = datatypes.flatMap((datatype) => DATATYPES[datatype]?.modality ?? [])
  return found.includes('PET') ? 'PET' : found[0]
}
