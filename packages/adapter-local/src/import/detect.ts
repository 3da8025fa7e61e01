/** What kind of folder is it? */

import { InputError } from '@orbweaver/core'
import { readDicomHeader } from './dicom-header.js'
import { shownPath } from './problems.js'
import { SourceFolder, type SourceEntry } from './source-folder.js'

export type ImportKind = 'bids' | 'dicom' | 'tree'

export interface DetectedKind {
  readonly kind: ImportKind
  /** What it was told by; one clause each. */
  readonly reasons: readonly string[]
}

/** Resource folders by habit; one of them at the right depth tells a plain tree. */
const USUAL_RESOURCES =
  /^(?:DICOM|NIFTI|NII|BIDS|EDAT|SECONDARY|SNAPSHOTS|PARREC|BVAL|BVEC|JSON|EEG|MEG|PET)$/i
/** Looked at before a guess is given up. */
const SAMPLE_FILES = 200

/**
 * Tell what an import finds in a folder. In this order: a `dataset_description.json` or `sub-…` folders mean BIDS; a
 * folder with a usual resource name (`DICOM`, `NIFTI`, …), a `scan.json`, `session.json` or `scans` folder at its place
 * in a tree means a plain tree; a DICOM file among the first 200 means DICOM; files at least four folders deep a tree.
 *
 * @throws InputError nothing tells; the message says what was looked for
 */
export async function detectImportKind(directory: string): Promise<DetectedKind> {
  const folder = await SourceFolder.open(directory, () => undefined)
  const top = await folder.list('')
  const names = new Set(top.filter((entry) => entry.kind === 'file').map((entry) => entry.name))
  const folders = top.filter((entry) => entry.kind === 'folder')
  const subjects = folders.filter((entry) => entry.name.startsWith('sub-'))
  if (names.has('dataset_description.json') || subjects.length > 0) {
    return {
      kind: 'bids',
      reasons: [
        ...(names.has('dataset_description.json') ? ['it has a dataset_description.json'] : []),
        ...(subjects.length > 0 ? [`it has ${subjects.length} folders sub-…`] : []),
      ],
    }
  }
  const treeSign = await findTreeSign(folder, folders)
  if (treeSign !== undefined) return { kind: 'tree', reasons: [treeSign] }

  let looked = 0
  let deep: string | undefined
  for await (const entry of folder.walk('')) {
    if (looked >= SAMPLE_FILES) break
    looked += 1
    if (entry.path.split('/').length >= 5) deep ??= entry.path
    // A file that cannot be read tells nothing here; the import itself will name it.
    const reading = await readDicomHeader(entry.absolute).catch(() => undefined)
    if (reading !== undefined && reading.kind !== 'foreign') {
      return { kind: 'dicom', reasons: [`${shownPath(entry.path)} is a DICOM file`] }
    }
  }
  if (deep !== undefined) {
    return {
      kind: 'tree',
      reasons: [`${shownPath(deep)} lies as deep as project/subject/session/scan/resource`],
    }
  }
  throw new InputError(
    `Cannot tell what ${shownPath(directory)} is: it looks like no BIDS dataset, no DICOM and no tree.`,
    {
      details: { path: directory, filesLookedAt: looked },
      hint: 'Wanted is a dataset_description.json with sub-… folders, DICOM files, or project/subject/session/scan/resource folders; or say which kind it is.',
    },
  )
}

/** Follows the first folder of each level: enough to see a shape, and cheap on a large archive. */
async function findTreeSign(folder: SourceFolder, top: readonly SourceEntry[]): Promise<string | undefined> {
  let level = top.slice(0, 5)
  for (let depth = 1; depth <= 6 && level.length > 0; depth += 1) {
    const next: SourceEntry[] = []
    for (const entry of level) {
      // With --project the tree starts at the subjects: resources are then one level higher.
      if (depth >= 4 && USUAL_RESOURCES.test(entry.name))
        return `${shownPath(entry.path)} is a resource folder of a scan`
      for (const inner of await folder.list(entry.path)) {
        if (inner.kind === 'file' && (inner.name === 'scan.json' || inner.name === 'session.json')) {
          return `it has ${shownPath(inner.path)}`
        }
        if (inner.kind === 'folder' && inner.name === 'scans' && depth >= 2)
          return `it has ${shownPath(inner.path)}`
        if (inner.kind === 'folder' && next.length < 5) next.push(inner)
      }
    }
    level = next
  }
  return undefined
}
