/** A plain tree of folders as items for the folder archive. */

import { z } from 'zod'
import { InputError, filePathProblem, labelProblem } from '@orbweaver/core'
import type { IngestFile, IngestItem } from '../store/ingest.js'
import { readJsonObject } from './json-file.js'
import { shownPath, type ReadOptions } from './problems.js'
import { SourceFolder, type SourceEntry } from './source-folder.js'

export interface ReadTreeOptions extends ReadOptions {
  /** The top folders are subjects of this project. Default: the top folders are projects. */
  readonly project?: string
}

/** Folder names with a meaning of their own; they are those of XNAT's downloads. */
const RESOURCES = 'resources'
const SCANS = 'scans'
const ASSESSORS = 'assessors'

// One line of text: it is shown in tables.
const word = z
  .string()
  .trim()
  .min(1)
  .max(500)
  .regex(/^\P{Cc}*$/u, 'holds a control character')
const scanFile = z.strictObject({
  type: word.optional(),
  quality: word.optional(),
  description: word.optional(),
})
const sessionFile = z.strictObject({
  modality: word.optional(),
  date: z
    .string()
    .regex(/^\d{4}-\d{2}-\d{2}$/, 'is not YYYY-MM-DD')
    .optional(),
})

/**
 * Read a tree of folders:
 *
 * ```
 * [project/]subject/session/scan/resource/files…
 * [project/]subject/session/scan/scan.json          type, quality, description (each optional)
 * [project/]subject/session/session.json            modality, date (each optional)
 * [project/]subject/session/resources/resource/…    a resource of the session
 * [project/]subject/resources/resource/…            a resource of the subject
 * ```
 *
 * XNAT's downloads are read as well: `session/scans/scan/resources/resource/files/…`.
 *
 * A scan folder `301-T1w` or `301_T1w` is the scan `301` of type `T1w`; `3-MR2-T1w` is `3-MR2`; any other name is label
 * and type at once. Hidden files are left out. A folder whose name cannot be a label is an error.
 *
 * @throws NotFoundError, AccessDeniedError, InputError the folder itself cannot be read, or it is one level off; anything
 * below it is reported
 */
export async function* readTree(directory: string, options: ReadTreeOptions): AsyncGenerator<IngestItem> {
  const folder = await SourceFolder.open(directory, options.onProblem ?? ((): void => undefined))
  const reader = new TreeReader(folder, options)
  await reader.checkTop()
  if (options.project === undefined) {
    for (const project of await reader.labelled('', 'project'))
      yield* reader.project(project.name, project.path)
  } else yield* reader.project(options.project, '')
}

/** `301-T1w` → label and type. */
export function parseScanFolder(name: string): { readonly label: string; readonly type: string } {
  const match = /^(\d+(?:-[A-Z]{2}\d+)?)(?:[-_](.+))?$/.exec(name)
  const [, label = name, type = name] = match ?? []
  return { label, type }
}

class TreeReader {
  constructor(
    private readonly folder: SourceFolder,
    private readonly options: ReadTreeOptions,
  ) {}

  /** A tree that starts at the project, taken for one that starts at the subjects, would come in one level off. */
  async checkTop(): Promise<void> {
    const { project } = this.options
    if (project === undefined) return
    const same = (await this.folder.list('')).find(
      (entry) => entry.name === project && entry.kind === 'folder',
    )
    if (same === undefined) return
    const shown = shownPath(this.folder.root)
    throw new InputError(
      `Cannot tell the levels of ${shown}: it has a folder with the name of the project, ${project}.`,
      {
        details: { path: this.folder.root, project },
        hint: `With --project the top folders are subjects: import ${shown}/${project}, or leave --project out.`,
      },
    )
  }

  async *project(project: string, path: string): AsyncGenerator<IngestItem> {
    for (const subject of await this.labelled(path, 'subject')) {
      const at = { project, subject: subject.name }
      for (const entry of await this.folders(subject.path)) {
        if (entry.name === RESOURCES) yield* this.resources(entry.path, at)
        else if (this.good(entry, entry.name, 'session')) yield* this.session(entry, at)
      }
    }
  }

  private async *session(
    entry: SourceEntry,
    above: { readonly project: string; readonly subject: string },
  ): AsyncGenerator<IngestItem> {
    const inside = await this.folder.list(entry.path)
    const described = await this.describe(inside, 'session.json', sessionFile)
    const at = {
      ...above,
      session: entry.name,
      ...(described.modality !== undefined && { modality: described.modality }),
      ...(described.date !== undefined && { date: described.date }),
    }
    const labels = new Map<string, string>()
    for (const inner of this.foldersOf(inside, ['session.json'])) {
      if (inner.name === RESOURCES) yield* this.resources(inner.path, at)
      else if (inner.name === SCANS) {
        for (const scan of await this.folders(inner.path)) yield* this.scan(scan, at, labels)
      } else if (inner.name === ASSESSORS) {
        this.skip(inner, 'results are not imported')
      } else yield* this.scan(inner, at, labels)
    }
  }

  private async *scan(
    entry: SourceEntry,
    at: Omit<IngestItem, 'resource' | 'files' | 'scan'>,
    labels: Map<string, string>,
  ): AsyncGenerator<IngestItem> {
    this.options.signal?.throwIfAborted()
    const { label, type } = parseScanFolder(entry.name)
    if (!this.good(entry, label, 'scan')) return
    if (/\p{Cc}/u.test(type)) {
      this.error(entry, 'its name holds a control character', 'Rename the folder.')
      return
    }
    const other = labels.get(label)
    if (other !== undefined) {
      this.error(entry, `it gives the same scan label ${label} as ${shownPath(other)}`, 'Rename one of them.')
      return
    }
    labels.set(label, entry.name)
    const inside = await this.folder.list(entry.path)
    const described = await this.describe(inside, 'scan.json', scanFile)
    const scan = { label, type, ...definedOf(described) }
    for (const inner of this.foldersOf(inside, ['scan.json'])) {
      if (inner.name === RESOURCES) yield* this.resources(inner.path, { ...at, scan })
      else yield* this.resource(inner, { ...at, scan }, '')
    }
  }

  private async *resources(
    path: string,
    at: Omit<IngestItem, 'resource' | 'files'>,
  ): AsyncGenerator<IngestItem> {
    for (const entry of await this.folders(path)) {
      const inside = await this.folder.list(entry.path)
      // XNAT's downloads put a folder `files` between the resource and its files.
      const wrapped = inside.length === 1 && inside[0]?.kind === 'folder' && inside[0].name === 'files'
      yield* this.resource(entry, at, wrapped ? '/files' : '')
    }
  }

  private async *resource(
    entry: SourceEntry,
    at: Omit<IngestItem, 'resource' | 'files'>,
    inner: string,
  ): AsyncGenerator<IngestItem> {
    if (!this.good(entry, entry.name, 'resource')) return
    const top = entry.path + inner
    const files: IngestFile[] = []
    for await (const file of this.folder.walk(top, this.options.signal)) {
      const path = file.path.slice(top.length + 1)
      const problem = filePathProblem(path)
      if (problem === undefined) files.push({ path, source: file.absolute })
      else this.error(file, `its path cannot be used: ${problem}`, 'Rename it.')
    }
    if (files.length === 0) this.skip(entry, 'it holds no files')
    else yield { ...at, resource: entry.name, files }
  }

  /** Folders below a folder whose names can be labels. */
  async labelled(path: string, what: string): Promise<readonly SourceEntry[]> {
    return (await this.folders(path)).filter((entry) => this.good(entry, entry.name, what))
  }

  private async folders(path: string): Promise<readonly SourceEntry[]> {
    return this.foldersOf(await this.folder.list(path), [])
  }

  /** Folders among entries; files that are not known here are named. */
  private foldersOf(entries: readonly SourceEntry[], known: readonly string[]): readonly SourceEntry[] {
    const folders: SourceEntry[] = []
    for (const entry of entries) {
      if (entry.kind === 'folder') folders.push(entry)
      else if (!known.includes(entry.name)) {
        this.skip(
          entry,
          'it lies outside a resource folder',
          'Files go into project/subject/session/scan/resource, as P1/S1/MR1/301-T1w/NIFTI; with --project, without the first level.',
        )
      }
    }
    return folders
  }

  private good(entry: SourceEntry, label: string, what: string): boolean {
    const problem = labelProblem(label)
    if (problem === undefined) return true
    this.error(entry, `it cannot be the label of a ${what}: ${problem}`, 'Rename the folder.')
    return false
  }

  private async describe<Schema extends z.ZodType>(
    inside: readonly SourceEntry[],
    name: string,
    schema: Schema,
  ): Promise<Partial<z.output<Schema>>> {
    const file = inside.find((entry) => entry.name === name && entry.kind === 'file')
    if (file === undefined) return {}
    const value = await readJsonObject(file.absolute)
    let reasons: string
    if (typeof value === 'string') reasons = value
    else {
      const parsed = schema.safeParse(value)
      if (parsed.success) return parsed.data
      reasons = parsed.error.issues.map((issue) => [...issue.path, issue.message].join(' ')).join('; ')
    }
    this.error(file, reasons, 'Correct the file or remove it.')
    return {}
  }

  private error(entry: SourceEntry, reason: string, hint: string): void {
    this.options.onProblem?.({ kind: 'error', path: shownPath(entry.path), reason, hint })
  }

  private skip(entry: SourceEntry, reason: string, hint?: string): void {
    this.options.onProblem?.({
      kind: 'skipped',
      path: shownPath(entry.path),
      reason,
      ...(hint !== undefined && { hint }),
    })
  }
}

function definedOf(described: Partial<z.output<typeof scanFile>>): {
  type?: string
  quality?: string
  description?: string
} {
  const { type, quality, description } = described
  return {
    ...(type !== undefined && { type }),
    ...(quality !== undefined && { quality }),
    ...(description !== undefined && { description }),
  }
}
