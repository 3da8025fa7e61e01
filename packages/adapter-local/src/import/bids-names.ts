/** File names of BIDS, by table. Source: BIDS specification 1.10, appendix "Entities" and the file name templates. */

/** Entities in the order in which a name has them. */
export const ENTITY_ORDER = [
  'sub',
  'ses',
  'sample',
  'task',
  'tracksys',
  'acq',
  'nuc',
  'voi',
  'ce',
  'trc',
  'stain',
  'rec',
  'dir',
  'run',
  'mod',
  'echo',
  'flip',
  'inv',
  'mt',
  'part',
  'proc',
  'hemi',
  'space',
  'split',
  'recording',
  'chunk',
  'seg',
  'res',
  'den',
  'label',
  'desc',
] as const

const ENTITY_RANK: ReadonlyMap<string, number> = new Map(ENTITY_ORDER.map((key, rank) => [key, rank]))

/** Folders below a subject or session that hold data, and the modality of a session whose first data is of that kind. */
export const DATATYPES: Readonly<Record<string, { readonly modality?: string }>> = {
  anat: { modality: 'MR' },
  func: { modality: 'MR' },
  dwi: { modality: 'MR' },
  fmap: { modality: 'MR' },
  perf: { modality: 'MR' },
  mrs: { modality: 'MR' },
  pet: { modality: 'PET' },
  meg: { modality: 'MEG' },
  eeg: { modality: 'EEG' },
  ieeg: { modality: 'IEEG' },
  nirs: { modality: 'NIRS' },
  motion: {},
  micr: {},
  beh: {},
}

/** The datatype a suffix usually lies in; for naming results. Only suffixes that are unambiguous. */
export const DATATYPE_OF_SUFFIX: Readonly<Record<string, string>> = {
  T1w: 'anat',
  T2w: 'anat',
  T2starw: 'anat',
  FLAIR: 'anat',
  PDw: 'anat',
  PDT2: 'anat',
  MP2RAGE: 'anat',
  UNIT1: 'anat',
  inplaneT1: 'anat',
  inplaneT2: 'anat',
  angio: 'anat',
  T1map: 'anat',
  T2map: 'anat',
  T2star: 'anat',
  bold: 'func',
  cbv: 'func',
  dwi: 'dwi',
  phasediff: 'fmap',
  phase1: 'fmap',
  phase2: 'fmap',
  magnitude: 'fmap',
  magnitude1: 'fmap',
  magnitude2: 'fmap',
  fieldmap: 'fmap',
  epi: 'fmap',
  asl: 'perf',
  m0scan: 'perf',
  pet: 'pet',
  eeg: 'eeg',
  meg: 'meg',
  ieeg: 'ieeg',
  nirs: 'nirs',
  svs: 'mrs',
  mrsi: 'mrs',
}

/**
 * Files that belong to data files rather than being some, and to which: suffix → suffixes of the data. They are copied
 * with every data file of the same datatype whose entities contain theirs.
 */
export const ASSOCIATES: Readonly<Record<string, ReadonlySet<string>>> = {
  events: new Set(['bold', 'cbv', 'asl', 'eeg', 'meg', 'ieeg', 'nirs', 'pet', 'motion']),
  physio: new Set(['bold', 'cbv', 'asl', 'dwi', 'eeg', 'meg', 'ieeg', 'nirs', 'pet', 'T1w', 'T2w']),
  physioevents: new Set(['bold', 'cbv', 'asl', 'dwi', 'eeg', 'meg', 'ieeg', 'nirs']),
  stim: new Set(['bold', 'cbv', 'asl', 'eeg', 'meg', 'ieeg', 'nirs']),
  channels: new Set(['eeg', 'meg', 'ieeg', 'nirs', 'motion']),
  electrodes: new Set(['eeg', 'meg', 'ieeg']),
  coordsystem: new Set(['eeg', 'meg', 'ieeg', 'nirs']),
  optodes: new Set(['nirs']),
  headshape: new Set(['meg']),
  markers: new Set(['meg']),
  aslcontext: new Set(['asl']),
  asllabeling: new Set(['asl']),
  blood: new Set(['pet']),
}

/** Entities that an associate may have and its data file has not. */
export const ASSOCIATE_OWN_ENTITIES: ReadonlySet<string> = new Set(['recording', 'space'])

export interface BidsName {
  /** Without the extension: `sub-01_task-rest_bold`. */
  readonly stem: string
  /** Key → value, in the order of the name. */
  readonly entities: ReadonlyMap<string, string>
  readonly suffix: string
  /** From the first dot on: `.nii.gz`. Empty when there is none. */
  readonly extension: string
}

/** A name taken apart, or the reason why it is none of BIDS. */
export function parseBidsName(name: string): BidsName | string {
  const dot = name.indexOf('.')
  const stem = dot < 0 ? name : name.slice(0, dot)
  const extension = dot < 0 ? '' : name.slice(dot)
  const parts = stem.split('_')
  const suffix = parts.pop() ?? ''
  if (!/^[A-Za-z0-9]+$/.test(suffix)) {
    return suffix.includes('-')
      ? 'its name ends with an entity; a suffix as _bold or _T1w is missing'
      : 'its name has no suffix of letters and digits, as _bold or _T1w'
  }
  const entities = new Map<string, string>()
  for (const part of parts) {
    const pair = /^([a-z]+)-([A-Za-z0-9+]+)$/.exec(part)
    if (pair === null) return `the part "${part}" of its name is not key-value with letters and digits only`
    const [, key = '', value = ''] = pair
    if (!ENTITY_RANK.has(key)) return `its name has the entity "${key}", which BIDS does not know`
    if (entities.has(key)) return `its name has the entity "${key}" twice`
    entities.set(key, value)
  }
  return { stem, entities, suffix, extension }
}

/** `task-rest_run-1_bold`: entities in BIDS order without subject and session, and the suffix. */
export function scanLabelOf(name: Pick<BidsName, 'entities' | 'suffix'>): string {
  return [...entityPairs(name.entities).filter((pair) => !/^(?:sub|ses)-/.test(pair)), name.suffix].join('_')
}

/** `key-value` words in BIDS order. */
export function entityPairs(entities: ReadonlyMap<string, string>): string[] {
  return [...entities]
    .sort(([a], [b]) => (ENTITY_RANK.get(a) ?? 0) - (ENTITY_RANK.get(b) ?? 0))
    .map(([key, value]) => `${key}-${value}`)
}

/** Every entity of `part`, but the exempt ones, with the same value in `whole`. */
export function containsEntities(
  whole: ReadonlyMap<string, string>,
  part: ReadonlyMap<string, string>,
  exempt: ReadonlySet<string> = new Set(),
): boolean {
  for (const [key, value] of part) {
    if (!exempt.has(key) && whole.get(key) !== value) return false
  }
  return true
}
