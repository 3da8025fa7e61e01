/**
 * Runs in a mount namespace of its own on an archive whose file system is read-only, or small and full.
 * `node mounted-child.js ARCHIVE read-only|full`. Prints what each call did as JSON.
 */

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { PipelineError } from '@orbweaver/core'
import { FolderStore } from '#src/store/folder-store.js'
import {
  ASSESSOR,
  PDF,
  SCAN,
  SESSION,
  addSession,
  collect,
  contentOf,
  init,
  memorySource,
} from './helpers.js'

const [, , path = '', mode = ''] = process.argv
const outcomes: Record<string, unknown> = {}

async function attempt(name: string, call: () => Promise<unknown>): Promise<void> {
  try {
    outcomes[name] = (await call()) ?? 'done'
  } catch (error) {
    outcomes[name] = error instanceof PipelineError ? error.code : String(error)
  }
}

const big = (bytes: number) => ({
  files: [{ path: 'big', bytes }],
  open: async () => Readable.from(Array.from({ length: bytes / 65536 }, () => randomBytes(65536))),
})

if (mode === 'full') {
  const store = await FolderStore.open({ path, create: true })
  await addSession(store)
  await store.createAssessor(ASSESSOR, init())
  await store.upload(PDF, memorySource({ a: 'old' }))
  await attempt('upload that does not fit', () => store.upload(PDF, big(8 * 1024 ** 2)))
  const local = join(path, '..', '..', 'local')
  writeFileSync(local, randomBytes(8 * 1024 ** 2))
  await attempt('import that does not fit', () =>
    store.ingest([
      {
        ...SESSION,
        scan: { label: '1', type: 'T1w' },
        resource: 'NIFTI',
        files: [{ path: 'a', source: local }],
      },
    ]),
  )
  await attempt('old content', () => contentOf(store))
  await attempt('check', () => collect(store.check({ deep: true })))
  await attempt('filling the database', async () => {
    for (let n = 0; n < 10_000; n += 1) {
      await store.createAssessor({ ...SESSION, assessor: `A${n}` }, init({ reason: 'x'.repeat(2000) }))
    }
  })
  await attempt('still readable', async () => (await store.readAssessor(ASSESSOR)).node.label)
  await store.close()
} else {
  const store = new FolderStore({ path })
  await attempt('projects', () => store.projects())
  await attempt('content', () => contentOf(store))
  await attempt('create', () => store.createAssessor({ ...SESSION, assessor: 'B' }, init()))
  await attempt('upload', () => store.upload(PDF, memorySource({ a: 'new' })))
  await attempt('delete', () => store.deleteAssessor(ASSESSOR))
  await attempt('import', () =>
    store.ingest([{ ...SESSION, scan: { label: '2', type: 'T1w' }, resource: 'R', files: [] }]),
  )
  await attempt('feed', async () => (await store.changedSince('P', undefined)).subjects)
  await attempt('doctor', async () =>
    (await store.diagnose())
      .filter((each) => each.status !== 'ok')
      .map((each) => `${each.check}: ${each.status}`),
  )
  await attempt('new archive', () => FolderStore.open({ path: join(path, 'inside'), create: true }))
  await attempt('files of the scan', () => store.listFiles({ node: SCAN, resource: 'NIFTI' }))
  await store.close()
}
process.stdout.write(JSON.stringify(outcomes))
