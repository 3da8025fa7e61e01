import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { AssessorInit, FileEntry, FileSink, FileSource, ResourceRef, TaskRecord } from '@orbweaver/core'
import { FolderStore, type FolderStoreOptions } from '#src/store/folder-store.js'

export const sha256 = (content: string | Uint8Array): string =>
  createHash('sha256').update(content).digest('hex')

export const SESSION = { project: 'P', subject: 'S1', session: 'E1' }
export const SCAN = { ...SESSION, scan: '1' }
export const ASSESSOR = { ...SESSION, assessor: 'P-x-S1-x-E1-x-qa_v1-x-0123abcd' }
export const PDF = { node: ASSESSOR, resource: 'PDF' }

export interface Lab {
  readonly folder: string
  readonly archive: string
  open(options?: Partial<FolderStoreOptions>): Promise<FolderStore>
  dispose(): Promise<void>
}

/** A temporary folder with an archive of one session with one scan; everything opened is closed at the end. */
export async function makeLab(): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), 'orbweaver-store-'))
  const archive = join(folder, 'archive')
  const stores: FolderStore[] = []
  const open = async (options: Partial<FolderStoreOptions> = {}): Promise<FolderStore> => {
    const store = await FolderStore.open({ path: archive, create: true, ...options })
    stores.push(store)
    return store
  }
  const first = await open()
  await addSession(first)
  await first.close()
  return {
    folder,
    archive,
    open,
    dispose: async () => {
      for (const store of stores) await store.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export async function addSession(store: FolderStore, ref = SESSION): Promise<void> {
  await store.ingest([{ ...ref, scan: { label: '1', type: 'T1w' }, resource: 'NIFTI', files: [] }])
}

export function taskRecord(changes: Partial<TaskRecord> = {}): TaskRecord {
  return {
    schema: 1,
    label: ASSESSOR.assessor,
    procType: 'qa_v1',
    procVersion: '1.2.0',
    target: SESSION,
    inputs: [{ name: 't1', sources: [{ node: SCAN, resource: 'NIFTI' }] }],
    params: { threshold: 0.5 },
    state: 'ready',
    reason: 'everything is there',
    attempt: 0,
    failures: {},
    createdAtMs: 1000,
    updatedAtMs: 1000,
    ...changes,
  }
}

export const init = (changes: Partial<TaskRecord> = {}): AssessorInit => ({
  procType: 'qa_v1',
  procVersion: '1.2.0',
  scans: ['1'],
  record: taskRecord(changes),
})

export type Files = Readonly<Record<string, string>>

export const entryOf = (path: string, content: string, checksum = true): FileEntry => ({
  path,
  bytes: Buffer.byteLength(content),
  ...(checksum && { checksum: { algorithm: 'sha256', hex: sha256(content) } }),
})

/** Files in memory; `opened` tells which were read. */
export function memorySource(
  files: Files,
  options: { readonly checksum?: boolean; readonly opened?: string[] } = {},
): FileSource {
  return {
    files: Object.entries(files).map(([path, content]) => entryOf(path, content, options.checksum ?? true)),
    open: async (path) => {
      options.opened?.push(path)
      return Readable.from([Buffer.from(files[path] ?? '')])
    },
  }
}

export class MemorySink implements FileSink {
  readonly files = new Map<string, string>()

  async write(path: string, content: Readable): Promise<void> {
    this.files.set(path, (await buffer(content)).toString())
  }

  get plain(): Files {
    return Object.fromEntries(this.files)
  }
}

/** What a resource holds, read through the store. */
export async function contentOf(store: FolderStore, ref: ResourceRef = PDF): Promise<Files> {
  const sink = new MemorySink()
  await store.download(ref, await store.listFiles(ref), sink)
  return sink.plain
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** The error of a promise that must fail. */
export async function failure(promise: Promise<unknown>): Promise<Error & { readonly code?: string }> {
  try {
    await promise
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
  throw new Error('it did not fail')
}
