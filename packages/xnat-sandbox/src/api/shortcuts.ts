/** Short names of fields that lists and writes take in place of a field path. */

import type { ItemKind } from '../state/records.js'

const VALIDATION: Readonly<Record<string, string>> = {
  validation_method: 'validation/method',
  validation_status: 'validation/status',
  validation_date: 'validation/date',
  validation_notes: 'validation/notes',
}

const META: Readonly<Record<string, string>> = {
  insert_date: 'meta/insert_date',
  insert_user: 'meta/insert_user',
  last_modified: 'meta/last_modified',
}

const MAGNET: Readonly<Record<string, string>> = {
  coil: 'coil',
  fieldStrength: 'fieldStrength',
  marker: 'marker',
  stabilization: 'stabilization',
}

/** Read only: they say something of the item's neighbours, or are the server's own. */
export const READ_ONLY: ReadonlySet<string> = new Set([
  'insert_date',
  'insert_user',
  'last_modified',
  'xsiType',
  'subject_label',
  'subject_project',
  'session_ID',
  'session_label',
  'session_project',
  'xnat_imagescandata_id',
  'URI',
])

const named = (...names: readonly string[]): Readonly<Record<string, string>> =>
  Object.fromEntries(names.map((name) => [name, name]))

const EXPERIMENT: Readonly<Record<string, string>> = {
  ...named(
    'ID',
    'visit_id',
    'visit',
    'protocol',
    'date',
    'time',
    'note',
    'project',
    'label',
    'subject_ID',
    'xsiType',
  ),
  pi_firstname: 'investigator/firstname',
  pi_lastname: 'investigator/lastname',
  ...VALIDATION,
  ...META,
  ...named('subject_label', 'subject_project', 'session_ID', 'session_label', 'session_project'),
  ...named(
    'scanner',
    'operator',
    'dcmAccessionNumber',
    'dcmPatientId',
    'dcmPatientName',
    'session_type',
    'modality',
    'UID',
  ),
  studyInstanceUID: 'UID',
  ...MAGNET,
  ...named('studyType', 'patientID', 'patientName'),
  scan_start_time: 'start_time_scan',
  injection_start_time: 'start_time_injection',
  tracer_name: 'tracer/name',
  tracer_startTime: 'tracer/startTime',
  tracer_dose: 'tracer/dose',
  tracer_sa: 'tracer/specificActivity',
  tracer_totalmass: 'tracer/totalMass',
  tracer_intermediate: 'tracer/intermediate',
  tracer_isotope: 'tracer/isotope',
  tracer_transmissions: 'tracer/transmissions',
}

const DEMOGRAPHICS =
  `dob yob age gender handedness ses education educationDesc race ethnicity weight height gestational_age
  post_menstrual_age birth_weight`.split(/\s+/)

const SHORTCUTS: Readonly<Record<ItemKind, Readonly<Record<string, string>>>> = {
  project: {
    ...named('ID', 'secondary_ID', 'name', 'description', 'keywords'),
    alias: 'aliases/alias',
    pi_firstname: 'PI/firstname',
    pi_lastname: 'PI/lastname',
    ...META,
  },
  subject: {
    ...named('ID', 'label', 'project', 'group', 'src', 'xsiType'),
    pi_firstname: 'investigator/firstname',
    pi_lastname: 'investigator/lastname',
    ...Object.fromEntries(DEMOGRAPHICS.map((name) => [name, `demographics/${name}`])),
    ...META,
  },
  experiment: EXPERIMENT,
  scan: {
    ...named(
      'ID',
      'type',
      'UID',
      'note',
      'quality',
      'condition',
      'series_description',
      'documentation',
      'scanner',
      'modality',
    ),
    ...named('frames', 'xsiType', 'xnat_imagescandata_id', 'project'),
    ...VALIDATION,
    ...META,
    ...MAGNET,
    scanTime: 'parameters/scanTime',
    session_ID: 'session_ID',
    session_label: 'session_label',
  },
  reconstruction: {
    ...named('ID', 'type', 'baseScanType', 'xsiType', 'xnat_reconstructedimagedata_id', 'URI'),
    ...META,
  },
}

const LOWER: Readonly<Record<ItemKind, ReadonlyMap<string, string>>> = {
  project: lowered('project'),
  subject: lowered('subject'),
  experiment: lowered('experiment'),
  scan: lowered('scan'),
  reconstruction: lowered('reconstruction'),
}

function lowered(kind: ItemKind): ReadonlyMap<string, string> {
  return new Map(Object.entries(SHORTCUTS[kind]).map(([name, path]) => [name.toLowerCase(), path]))
}

/** The field path a short name stands for; undefined: it is none. Case does not matter. */
export function shortcutPath(kind: ItemKind, name: string): string | undefined {
  return LOWER[kind].get(name.toLowerCase())
}

export function shortcutsOf(kind: ItemKind): readonly (readonly [string, string])[] {
  return Object.entries(SHORTCUTS[kind])
}

/** Where the field of a short name is declared, for names whose place is not the listed type itself. */
const DECLARED: Readonly<
  Partial<Record<ItemKind, readonly (readonly [type: string, names: readonly string[]])[]>>
> = {
  experiment: [
    [
      'xnat:experimentData',
      ['ID', 'visit_id', 'visit', 'protocol', 'date', 'time', 'note', 'project', 'label'],
    ],
    [
      'xnat:experimentData',
      [...Object.keys(VALIDATION), ...Object.keys(META), 'pi_firstname', 'pi_lastname'],
    ],
    ['xnat:subjectAssessorData', ['subject_ID']],
    [
      'xnat:imageSessionData',
      ['scanner', 'operator', 'session_type', 'modality', 'UID', 'dcmPatientId', 'dcmPatientName'],
    ],
    ['xnat:mrSessionData', Object.keys(MAGNET)],
  ],
  scan: [['xnat:imageScanData', Object.keys(SHORTCUTS.scan)]],
  subject: [['xnat:subjectData', ['ID', 'label', 'project', 'group', 'src', ...Object.keys(META)]]],
}

const NAMES_OF_PATHS: Readonly<Record<ItemKind, ReadonlyMap<string, string>>> = {
  project: new Map(),
  subject: namesOfPaths('subject'),
  experiment: new Map([
    ...namesOfPaths('experiment'),
    ['xnat:subjectdata/label', 'subject_label'],
    ['xnat:subjectdata/project', 'subject_project'],
    ['xnat:imagesessiondata/id', 'session_ID'],
    ['xnat:imagesessiondata/label', 'session_label'],
    ['xnat:imagesessiondata/project', 'session_project'],
  ]),
  scan: namesOfPaths('scan'),
  reconstruction: new Map(),
}

function namesOfPaths(kind: ItemKind): ReadonlyMap<string, string> {
  return new Map(
    (DECLARED[kind] ?? []).flatMap(([type, names]) =>
      names.map((name) => [`${type}/${SHORTCUTS[kind][name] ?? name}`.toLowerCase(), name] as const),
    ),
  )
}

/**
 * The key that a column has in a reply whose request named the whole path: where a short name stands for that very
 * path, the server answers by the short name (`xnat:imagesessiondata/label` comes back as `session_label`).
 */
export function keyOfPath(kind: ItemKind, path: string): string {
  const lower = path.toLowerCase()
  return NAMES_OF_PATHS[kind].get(lower) ?? lower
}
