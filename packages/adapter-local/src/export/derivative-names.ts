/** Where a file of a result goes in a BIDS derivative dataset. */

import {
  DATATYPE_OF_SUFFIX,
  DATATYPES,
  containsEntities,
  entityPairs,
  parseBidsName,
} from '../import/bids-names.js'
import { alphanumeric } from './bids-labels.js'

export interface NamedResult {
  /** BIDS label; absent for results of a project. */
  readonly subject?: string
  /** BIDS label; absent for results of a subject. */
  readonly session?: string
  /** Labels of the scans it was made from. */
  readonly scans: readonly string[]
  /** See `resultFolder`. */
  readonly folder: string
}

/** Extensions of two parts; of all others the last dot counts. */
const DOUBLE_EXTENSION =
  /\.(?:nii\.gz|tsv\.gz|tar\.gz|csv\.gz|ome\.tiff?|(?:d|p)(?:scalar|tseries|label|conn)\.nii|(?:func|shape|surf|label)\.gii)$/i

/**
 * A name by the rules of BIDS, `sub-X/[ses-Y/][datatype/]sub-X_[ses-Y_][entities_]desc-RESOURCE_STEM.ext`, or undefined
 * when none can be derived: the result is of no subject, its scans have no BIDS names, or the file lies in a subfolder.
 *
 * A file that has a BIDS name already keeps its entities, its `desc` and its suffix; subject and session become ours.
 */
export function derivativePath(result: NamedResult, resource: string, file: string): string | undefined {
  const { subject, session } = result
  if (subject === undefined) return undefined
  const name = file.slice(file.lastIndexOf('/') + 1)
  const own = ownName(name)
  if (own === undefined && file.includes('/')) return undefined
  const source = sourceOf(result.scans)
  if (source === undefined) return undefined

  const entities = new Map<string, string>([
    ...source.entities,
    ...(own?.entities ?? []),
    ['sub', subject],
    ...(session === undefined ? [] : ([['ses', session]] as const)),
  ])
  if (session === undefined) entities.delete('ses')
  const described = alphanumeric(resource)
  if (!entities.has('desc')) {
    if (described === '') return undefined
    entities.set('desc', described)
  }
  const { stem, extension } = own ?? splitName(name)
  const suffix = own?.suffix ?? alphanumeric(stem)
  if (suffix === '' || !/^(?:\.[A-Za-z0-9]+)+$/.test(extension)) return undefined
  const datatype = datatypeOf(file) ?? DATATYPE_OF_SUFFIX[own?.suffix ?? ''] ?? source.datatype
  return [
    ...placeOf(result),
    ...(datatype === undefined ? [] : [datatype]),
    `${[...entityPairs(entities), suffix].join('_')}${extension}`,
  ].join('/')
}

/** The place of a file without a BIDS name: always free, as resource and path are in it. */
export function plainPath(result: NamedResult, resource: string, file: string): string {
  return [...placeOf(result), result.folder, resource, file].join('/')
}

function placeOf({ subject, session }: NamedResult): string[] {
  if (subject === undefined) return []
  return [`sub-${subject}`, ...(session === undefined ? [] : [`ses-${session}`])]
}

/** A name that a BIDS tool gave: it starts with a subject. */
function ownName(name: string):
  | {
      readonly entities: ReadonlyMap<string, string>
      readonly suffix: string
      readonly stem: string
      readonly extension: string
    }
  | undefined {
  const parsed = parseBidsName(name)
  return typeof parsed === 'string' || !parsed.entities.has('sub') ? undefined : parsed
}

/** What all scans of a result have in common, or the one that says everything the others say; undefined: no BIDS names. */
function sourceOf(
  scans: readonly string[],
): { readonly entities: ReadonlyMap<string, string>; readonly datatype?: string } | undefined {
  const parsed: { readonly entities: ReadonlyMap<string, string>; readonly datatype: string }[] = []
  for (const scan of scans) {
    const name = parseBidsName(scan)
    if (typeof name === 'string' || name.extension !== '') return undefined
    const datatype = DATATYPE_OF_SUFFIX[name.suffix]
    if (datatype === undefined) return undefined
    parsed.push({ entities: name.entities, datatype })
  }
  // A run with the anatomical image it was aligned to is named after the run.
  const fullest = parsed.filter((one) =>
    parsed.every((other) => containsEntities(one.entities, other.entities)),
  )
  const [first] = fullest
  if (first !== undefined) {
    return fullest.every((one) => one.datatype === first.datatype) ? first : { entities: first.entities }
  }
  const [head, ...rest] = parsed
  const shared = [...(head?.entities ?? [])].filter(([key, value]) =>
    rest.every((one) => one.entities.get(key) === value),
  )
  const sameType = head !== undefined && rest.every((one) => one.datatype === head.datatype)
  return { entities: new Map(shared), ...(sameType && { datatype: head.datatype }) }
}

function splitName(name: string): { readonly stem: string; readonly extension: string } {
  const extension = DOUBLE_EXTENSION.exec(name)?.[0] ?? /\.[^.]+$/.exec(name)?.[0] ?? ''
  return { stem: name.slice(0, name.length - extension.length), extension }
}

/** The datatype folder that a file of a BIDS tool lies in. */
function datatypeOf(file: string): string | undefined {
  const parent = file.split('/').at(-2)
  return parent !== undefined && Object.hasOwn(DATATYPES, parent) ? parent : undefined
}
