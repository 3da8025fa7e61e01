import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { ArchiveRef } from '@orbweaver/core'
import { dataStoreSuite, type SeedProject, type SeedResources } from '@orbweaver/conformance'
import { FolderStore, type IngestItem } from '@orbweaver/adapter-local'

/** Seeds as an importer would: files on disk, then items. */
async function seed(store: FolderStore, folder: string, projects: readonly SeedProject[]): Promise<void> {
  let count = 0
  const written = async (content: string | Uint8Array): Promise<string> => {
    const path = join(folder, 'seed', String((count += 1)))
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
    return path
  }
  const filesOf = async (files: SeedResources[string]): Promise<IngestItem['files']> =>
    await Promise.all(
      Object.entries(files).map(async ([path, content]) => ({ path, source: await written(content) })),
    )
  const resourcesOf = async function* (
    resources: SeedResources | undefined,
  ): AsyncGenerator<Pick<IngestItem, 'resource' | 'files'>> {
    for (const [resource, files] of Object.entries(resources ?? {})) {
      yield { resource, files: await filesOf(files) }
    }
  }
  const { db, tree } = await store.opened()
  for (const project of projects) {
    await store.addProject(project.label)
    for await (const { resource, files } of resourcesOf(project.resources)) {
      const at: ArchiveRef = { project: project.label }
      const places = new Map(files.map((file) => [file.path, file.source]))
      await store.upload(
        { node: at, resource },
        {
          files: await Promise.all(
            files.map(async ({ path, source }) => ({
              path,
              bytes: (await stat(source)).size,
            })),
          ),
          open: () => Promise.reject(new Error('local files are copied')),
          localPath: (path) => places.get(path),
        },
      )
    }
    for (const subject of project.subjects ?? []) {
      const base = { project: project.label, subject: subject.label }
      await db.write(() => tree.ensureSubject(base))
      for await (const each of resourcesOf(subject.resources)) await store.ingest([{ ...base, ...each }])
      for (const session of subject.sessions ?? []) {
        const { modality, date } = session
        const about = { ...(modality !== undefined && { modality }), ...(date !== undefined && { date }) }
        const inSession = { ...base, session: session.label }
        await db.write(() => tree.ensureSession(inSession, about))
        for await (const each of resourcesOf(session.resources))
          await store.ingest([{ ...inSession, ...each }])
        for (const { resources, ...scan } of session.scans ?? []) {
          await db.write(() => tree.ensureScan(inSession, scan))
          for await (const each of resourcesOf(resources))
            await store.ingest([{ ...inSession, scan, ...each }])
        }
      }
    }
  }
}

describe('folder archive conforms', () => {
  dataStoreSuite({
    create: async () => {
      const folder = await mkdtemp(join(tmpdir(), 'orbweaver-conform-'))
      const open = () => FolderStore.open({ path: join(folder, 'archive'), create: true })
      const store = await open()
      const others: FolderStore[] = []
      return {
        store,
        seed: (projects) => seed(store, folder, projects),
        second: async () => {
          const other = await open()
          others.push(other)
          return other
        },
        // As an unmounted file system: nothing is at the place any more.
        outage: async (away) => {
          const [from, to] = away ? ['archive', 'away'] : ['away', 'archive']
          await rename(join(folder, from), join(folder, to))
        },
        dispose: async () => {
          for (const each of [store, ...others]) await each.close()
          await rm(folder, { recursive: true, force: true })
        },
      }
    },
  })
})
