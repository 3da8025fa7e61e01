/** The fields that searches show, by the identifiers of XNAT's display documents: `SUBJECT_LABEL`, `MR_SCAN_COUNT_AGG`, … */

import { columnFor } from './columns.js'
import { entryValue, fieldReader, listEntries, type FieldReader } from './fields.js'
import type { DataType } from '../model/registry.js'
import type { ItemRecord } from '../state/records.js'
import type { Site } from './site.js'

/** Identifiers that do not follow from a field's name. */
const SUBJECT: Readonly<Record<string, string>> = {
  SUBJECT_LABEL: 'label',
  SUBJECT_ID: 'ID',
  SUBJECTID: 'ID',
  DOB: 'demographics/yob',
  EDUC: 'demographics/education',
  SUB_GROUP: 'group',
  INSERT_DATE: 'meta/insert_date',
  INSERT_USER: 'meta/insert_user',
  LAST_MODIFIED: 'meta/last_modified',
}

const DEMOGRAPHICS = new Set([
  'YOB',
  'AGE',
  'GENDER',
  'HANDEDNESS',
  'SES',
  'EDUCATION',
  'RACE',
  'ETHNICITY',
  'HEIGHT',
  'WEIGHT',
])

const EXPERIMENT: Readonly<Record<string, string>> = {
  SESSION_ID: 'ID',
  EXPT_ID: 'ID',
  SUBJECT_ID: 'subject_ID',
  SUBJECT_LABEL: 'subject_label',
  TYPE: 'session_type',
  MR_NOTES: 'note',
  NOTES: 'note',
  INSERT_DATE: 'meta/insert_date',
  INSERT_USER: 'meta/insert_user',
  LAST_MODIFIED: 'meta/last_modified',
  SCANNER_CSV: 'scanner',
}

/** @returns undefined: the type has no such field */
export function displayReader(site: Site, type: DataType, id: string): FieldReader | undefined {
  const { types, archive } = site
  if (id.includes('/')) return pathReader(site, type, id)
  const name = id.toUpperCase()
  if (name === 'PROJECTS') {
    return (item) =>
      [item.project, ...(item.shares ?? []).map(({ project }) => project)]
        .map((project) => `,<${project}>`)
        .join('')
  }
  if (name === 'QUARANTINE_STATUS') return (item) => item.status ?? 'active'
  if (name === 'XSITYPE') return fieldReader(site, 'xsiType')
  if (types.isA(type, 'xnat:subjectData')) {
    if (name === 'GENDER_TEXT') {
      const gender = fieldReader(site, 'demographics/gender')
      return (item, project) => ({ male: 'M', female: 'F' })[gender(item, project)] ?? 'U'
    }
    if (name === 'MR_COUNT') {
      return (item) =>
        String(
          [...archive.experimentsOf(item.id)].filter((session) =>
            types.isA(session.type, 'xnat:mrSessionData'),
          ).length,
        )
    }
    const path = SUBJECT[name] ?? (DEMOGRAPHICS.has(name) ? `demographics/${id.toLowerCase()}` : undefined)
    return path === undefined ? leafReader(site, type, name) : fieldReader(site, path)
  }
  if (name.endsWith('SCAN_COUNT_AGG')) return (item) => scanCounts(site, item)
  const path = EXPERIMENT[name]
  return path === undefined ? leafReader(site, type, name) : fieldReader(site, path)
}

/** `scanner/model` is `SCANNER_MODEL`. */
function leafReader(site: Site, type: DataType, name: string): FieldReader | undefined {
  const custom = /^[A-Z]+_\w+_FIELD_MAP=(.*)$/s.exec(name)
  if (custom !== null) return fieldReader(site, `fields/field[name=${(custom[1] ?? '').toLowerCase()}]/field`)
  for (const path of site.types.leaves(type).keys())
    if (displayName(path) === name) return fieldReader(site, path)
  return undefined
}

export function displayName(path: string): string {
  return path.toUpperCase().replaceAll('/', '_')
}

/** A field path in place of an identifier: old clients search by them. */
function pathReader(site: Site, type: DataType, path: string): FieldReader | undefined {
  const column = columnFor(site, type.name === 'xnat:subjectData' ? 'subject' : 'experiment', type, path)
  if (column === undefined || column.source !== 'root') return undefined
  if (column.read !== undefined) return column.read
  const { list, rest } = column
  if (list === undefined) return undefined
  return (item) =>
    listEntries(site, item, list)
      .map((entry) => entryValue(entry, rest))
      .join(', ')
}

/** `BOLD(2), T1w(1)`. */
function scanCounts(site: Site, item: ItemRecord): string {
  const counts = new Map<string, number>()
  for (const scan of site.archive.scansOf(item.id)) {
    const type = scan.data.attributes?.type ?? ''
    counts.set(type, (counts.get(type) ?? 0) + 1)
  }
  return [...counts]
    .sort()
    .map(([type, count]) => `${type}(${count})`)
    .join(', ')
}

/** What `GET /data/search/elements/{type}` lists: the identifiers above, and one for every field. */
export function displayFields(
  site: Site,
  type: DataType,
): readonly { readonly id: string; readonly path: string; readonly valueType: string }[] {
  const named = site.types.isA(type, 'xnat:subjectData')
    ? [...Object.keys(SUBJECT), ...DEMOGRAPHICS, 'GENDER_TEXT', 'MR_COUNT', 'PROJECTS']
    : [
        ...Object.keys(EXPERIMENT),
        'PROJECTS',
        ...(site.types.isA(type, 'xnat:imageSessionData') ? ['MR_SCAN_COUNT_AGG'] : []),
      ]
  const fields = new Map<string, { id: string; path: string; valueType: string }>()
  for (const id of named) fields.set(id, { id, path: id, valueType: 'string' })
  for (const [path, spec] of site.types.leaves(type)) {
    if (!spec.text && !spec.attribute) continue
    const id = displayName(path)
    if (!fields.has(id)) fields.set(id, { id, path, valueType: spec.valueType })
  }
  return [...fields.values()]
}
