import type { FolderStore } from '@orbweaver/adapter-local'
import { ASSESSOR, PDF, contentOf, init, memorySource, type Files } from './helpers.js'

const OLD: Files = { same: 'same', changed: 'old', 'gone/far': 'x', 'swap/in': 'folder' }
const NEW: Files = {
  same: 'same',
  changed: 'new',
  'deep/er/added': 'z',
  swap: 'file',
}

/** What a reader may see: the files of the resource, or `gone`. */
export type Seen = Files | 'no resource' | 'no assessor'

export interface CrashCase {
  readonly prepare: (store: FolderStore) => Promise<unknown>
  readonly run: (store: FolderStore) => Promise<unknown>
  readonly before: Seen
  readonly after: Seen
}

export async function seen(store: FolderStore): Promise<Seen> {
  const assessors: string[] = []
  for await (const subject of (await store.snapshot('P')).subjects) {
    for (const session of subject.sessions) assessors.push(...session.assessors.map((each) => each.label))
  }
  if (!assessors.includes(ASSESSOR.assessor)) return 'no assessor'
  const { node } = await store.readAssessor(ASSESSOR)
  return node.resources.length === 0 ? 'no resource' : await contentOf(store)
}

const create = (store: FolderStore) => store.createAssessor(ASSESSOR, init())
const withOld = async (store: FolderStore) => {
  await create(store)
  await store.upload(PDF, memorySource(OLD))
}

export const CASES = {
  'first upload': {
    prepare: create,
    run: (store) => store.upload(PDF, memorySource(NEW)),
    before: 'no resource',
    after: NEW,
  },
  'replacing upload': {
    prepare: withOld,
    run: (store) => store.upload(PDF, memorySource(NEW)),
    before: OLD,
    after: NEW,
  },
  'emptying upload': {
    prepare: withOld,
    run: (store) => store.upload(PDF, memorySource({})),
    before: OLD,
    after: {},
  },
  delete: {
    prepare: withOld,
    run: (store) => store.deleteAssessor(ASSESSOR),
    before: OLD,
    after: 'no assessor',
  },
} as const satisfies Readonly<Record<string, CrashCase>>

export function isCase(name: string): name is keyof typeof CASES {
  return Object.hasOwn(CASES, name)
}
