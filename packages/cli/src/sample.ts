/** The sample images, as an archive. */

import type { FolderStore } from '@orbweaver/adapter-local'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { importFolder, importLines } from './commands/import.js'
import type { Session } from './session.js'

export const SAMPLE_PROJECT = 'SAMPLE'

/** They are images as they come from a scanner, and a BIDS dataset. @returns what there is to say about it */
export async function importSample(session: Session, store: FolderStore): Promise<readonly string[]> {
  const { sampleDirectory } = await import('@orbweaver/processors')
  const lines: string[] = []
  for (const kind of ['bids', 'dicom'] as const) {
    const folder = join(sampleDirectory(), kind)
    lines.push(...importLines(await importFolder(session, store, folder, { kind, project: SAMPLE_PROJECT })))
  }
  return lines
}

/** For archives of other kinds: a folder archive of the sample, which is gone afterwards. */
export async function withSample<T>(session: Session, use: (store: FolderStore) => Promise<T>): Promise<T> {
  const { FolderStore } = await import('@orbweaver/adapter-local')
  const scratch = await mkdtemp(join(tmpdir(), 'orbweaver-sample-'))
  try {
    const store = await FolderStore.open({ path: join(scratch, 'archive'), create: true })
    try {
      await store.addProject(SAMPLE_PROJECT)
      await importSample(session, store)
      return await use(store)
    } finally {
      await store.close()
    }
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}
