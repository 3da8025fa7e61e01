/** What a path below `/data` names, by XNAT's templates. Longest match wins; what is left over is the "file path". */

export type Leaf =
  | 'projects'
  | 'project'
  | 'subjects'
  | 'subject'
  | 'experiments'
  | 'experiment'
  | 'scans'
  | 'scan'
  | 'reconstructions'
  | 'reconstruction'
  | 'assessors'
  | 'assessor'
  | 'resources'
  | 'resource'
  | 'files'

export interface Address {
  readonly leaf: Leaf
  readonly project?: string
  readonly subject?: string
  readonly experiment?: string
  readonly scan?: string
  readonly reconstruction?: string
  readonly assessor?: string
  readonly io?: 'in' | 'out'
  readonly resource?: string
  /** Parts behind what matched. */
  readonly rest: readonly string[]
  /** As `projects/{P}/subjects/{S}`: for the log. */
  readonly route: string
}

type Draft = { -readonly [K in keyof Address]: Address[K] }

const LEVELS: Readonly<
  Record<string, { readonly one: Leaf; readonly below: readonly string[]; readonly letter: string }>
> = {
  projects: { one: 'project', below: ['subjects', 'experiments', 'resources', 'files'], letter: '{P}' },
  subjects: { one: 'subject', below: ['experiments', 'resources', 'files'], letter: '{S}' },
  experiments: {
    one: 'experiment',
    below: ['scans', 'reconstructions', 'assessors', 'resources', 'files'],
    letter: '{E}',
  },
  scans: { one: 'scan', below: ['resources', 'files'], letter: '{N}' },
  reconstructions: { one: 'reconstruction', below: ['in', 'out', 'resources', 'files'], letter: '{X}' },
  assessors: { one: 'assessor', below: ['in', 'out', 'resources', 'files'], letter: '{A}' },
  resources: { one: 'resource', below: ['files'], letter: '{R}' },
}

/** @returns undefined: no archive path at all */
export function parseAddress(segments: readonly string[]): Address | undefined {
  const [first = ''] = segments
  if (!['projects', 'subjects', 'experiments'].includes(first)) return undefined
  const draft: Draft = { leaf: first as Leaf, rest: [], route: '' }
  const route: string[] = []
  let allowed: readonly string[] = ['projects', 'subjects', 'experiments']
  let at = 0
  while (at < segments.length) {
    const word = segments[at] ?? ''
    if (!allowed.includes(word)) break
    if (word === 'files') {
      draft.leaf = 'files'
      route.push('files')
      at += 1
      break
    }
    if (word === 'in' || word === 'out') {
      draft.io = word
      route.push(word)
      allowed = ['resources', 'files']
      at += 1
      continue
    }
    const level = LEVELS[word]
    if (level === undefined) break
    const name = segments[at + 1]
    route.push(word)
    if (name === undefined) {
      draft.leaf = word as Leaf
      at += 1
      break
    }
    draft.leaf = level.one
    setName(draft, level.one, name)
    route.push(level.letter)
    // There is no route to the scans, assessors or files of a session by its project alone.
    allowed =
      word === 'experiments' && draft.project !== undefined && draft.subject === undefined
        ? ['resources']
        : level.below
    at += 2
  }
  draft.rest = segments.slice(at)
  draft.route = route.join('/')
  return draft
}

/** The session that a path to something below it names. */
export function sessionAddress({
  scan: _scan,
  reconstruction: _reconstruction,
  assessor: _assessor,
  ...address
}: Address): Address {
  return { ...address, leaf: 'experiment' }
}

function setName(draft: Draft, level: Leaf, name: string): void {
  switch (level) {
    case 'project':
      draft.project = name
      break
    case 'subject':
      draft.subject = name
      break
    case 'experiment':
      draft.experiment = name
      break
    case 'scan':
      draft.scan = name
      break
    case 'reconstruction':
      draft.reconstruction = name
      break
    case 'assessor':
      draft.assessor = name
      break
    case 'resource':
      draft.resource = name
      break
    default:
      throw new Error(`${level} has no name`)
  }
}
