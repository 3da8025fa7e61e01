/** A store lab with the verbs that claims are written in. */

import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import {
  parentOf,
  type ArchiveRef,
  type AssessorInit,
  type AssessorNode,
  type CallOptions,
  type DataStore,
  type FileEntry,
  type FileSink,
  type FileSource,
  type ProjectNode,
  type ResourceRef,
  type SnapshotOptions,
  type SubjectNode,
  type TaskRecord,
  type UploadOptions,
} from '@orbweaver/core'
import { seedScan, type SeedProject } from '@orbweaver/core/testing'
import type { StoreHarness, StoreLab } from '../harness.js'

/** Files of a resource, by path. */
export type Content = Readonly<Record<string, string | Buffer>>

export interface WholeProject {
  readonly project: ProjectNode
  readonly subjects: readonly SubjectNode[]
}

const AWKWARD_LABELS: readonly string[] = [
  'two words',
  "o'brien",
  'Ünïcödé_脳',
  'a.b-c_d',
  '100%',
  'x(1)[2]',
  'a&b',
  'a+b=c',
  '#1',
  '~tilde',
  'a,b@c',
  'really!',
]

export class StoreContext {
  readonly store: DataStore
  /** A project of this claim alone: see {@link seedTree}. */
  readonly project = `CONF_${randomBytes(3).toString('hex')}`
  readonly #lab: StoreLab
  readonly #harness: StoreHarness

  constructor(lab: StoreLab, harness: StoreHarness) {
    this.#lab = lab
    this.#harness = harness
    this.store = lab.store
  }

  get seedsHidden(): boolean {
    return this.#harness.seedsHidden ?? false
  }
  get canTakeAway(): true | string {
    return this.#lab.outage !== undefined || 'the lab cannot take the archive away'
  }
  get comparesContent(): true | string {
    return this.store.capabilities.checksums !== 'none' || 'the archive keeps no checksums to compare'
  }
  get largeFile(): { readonly bytes: number; readonly maxGrowthBytes: number | undefined } {
    const mebibyte = 1024 ** 2
    return this.#harness.largeFile ?? { bytes: 64 * mebibyte, maxGrowthBytes: 56 * mebibyte }
  }
  get manyFiles(): number {
    return this.#harness.manyFiles ?? 300
  }
  get awkwardLabels(): readonly string[] {
    return this.#harness.awkwardLabels ?? AWKWARD_LABELS
  }

  get plainLabelsOnly(): boolean {
    return this.#harness.plainLabelsOnly ?? false
  }

  get session(): ArchiveRef {
    return { project: this.project, subject: 'S01', session: 'S01_A' }
  }
  /** The usual result. */
  get assessor(): ArchiveRef {
    const { project, subject = '', session = '' } = this.session
    switch (this.#harness.resultsOn) {
      case 'project':
        return { project, assessor: `${project}-x-proc_v1-x-0123abcd` }
      case 'subject':
        return { project, subject, assessor: `${project}-x-${subject}-x-proc_v1-x-0123abcd` }
      default:
        return {
          ...this.session,
          assessor: `${project}-x-${subject}-x-${session}-x-proc_v1-x-0123abcd`,
        }
    }
  }

  async seed(...projects: readonly SeedProject[]): Promise<void> {
    await this.#lab.seed(projects)
  }

  /** Three subjects, given in disorder: S01 with two sessions, S02 with one, S10 with none. */
  async seedTree(): Promise<void> {
    await this.seed({
      label: this.project,
      subjects: [
        { label: 'S10', resources: { NOTES: { 'notes.txt': 'no session yet\n' } } },
        { label: 'S02', sessions: [{ label: 'S02_A', modality: 'MR', scans: [seedScan('1', 'T1w')] }] },
        {
          label: 'S01',
          sessions: [
            { label: 'S01_B', resources: { PHYSIO: { 'pulse.log': '1 2 3\n' } } },
            {
              label: 'S01_A',
              modality: 'MR',
              date: '2026-03-04',
              scans: [
                {
                  label: '2',
                  type: 'BOLD rest (2mm) [TR=2s]',
                  quality: 'questionable',
                  description: 'bold_rest_2mm',
                  resources: { NIFTI: { 'bold.nii': 'bold image\n', 'bold.json': '{}\n' } },
                },
                {
                  label: '1',
                  type: 'T1w',
                  resources: {
                    NIFTI: { 't1.nii': 't1 image\n' },
                    DICOM: { '1.dcm': 'first\n', '2.dcm': 'second\n' },
                  },
                },
              ],
            },
          ],
        },
      ],
    })
  }

  /** The tree of the project, read to its end. */
  async tree(options?: SnapshotOptions, store: DataStore = this.store): Promise<WholeProject> {
    const { project, subjects } = await store.snapshot(this.project, options)
    const all: SubjectNode[] = []
    for await (const subject of subjects) all.push(subject)
    return { project, subjects: all }
  }

  /** The assessors that the tree shows where the usual one hangs: on this session, or on its subject or project. */
  async assessorsOf(session: string): Promise<readonly AssessorNode[]> {
    const { project, subjects } = await this.tree()
    const { resultsOn } = this.#harness
    if (resultsOn === 'project') return project.assessors
    if (resultsOn === 'subject') {
      const on = subjects.find(({ sessions }) => sessions.some(({ label }) => label === session))
      return on?.assessors ?? expect.fail(`the tree has no subject of ${session}`)
    }
    const found = subjects.flatMap(({ sessions }) => sessions).find(({ label }) => label === session)
    if (found === undefined) expect.fail(`the tree has no session ${session}`)
    return found.assessors
  }

  record(change: Partial<TaskRecord> = {}): TaskRecord {
    const label = this.assessor.assessor ?? ''
    return {
      schema: 1,
      label,
      procType: 'proc_v1',
      procVersion: '1.2.3',
      target: parentOf(this.assessor) ?? this.session,
      inputs: [
        {
          name: 't1',
          sources: [{ node: { ...this.session, scan: '1' }, resource: 'NIFTI', type: 'T1w' }],
        },
      ],
      params: {},
      state: 'ready',
      reason: 'all inputs are there',
      attempt: 0,
      failures: {},
      createdAtMs: 1_767_225_600_000,
      updatedAtMs: 1_767_225_600_000,
      ...change,
    }
  }

  init(change: Partial<TaskRecord> = {}): AssessorInit {
    const record = this.record(change)
    return { procType: record.procType, procVersion: record.procVersion, scans: ['1'], record }
  }

  /** Make the usual assessor. */
  async make(ref: ArchiveRef = this.assessor, change: Partial<TaskRecord> = {}): Promise<AssessorNode> {
    const label = ref.assessor ?? ''
    const made = await this.store.createAssessor(
      ref,
      this.init({ label, target: parentOf(ref) ?? ref, ...change }),
    )
    expect(made.created, 'created').to.equal(true)
    return made.node
  }

  async second(): Promise<DataStore> {
    return (await this.#lab.second?.()) ?? this.store
  }

  async outage(away: boolean): Promise<void> {
    await this.#lab.outage?.(away)
  }

  /** Send content; what the archive then lists, and how many bytes of content it was sent. */
  async send(
    ref: ResourceRef,
    content: Content,
    options: UploadOptions & { readonly source?: FileSource; readonly store?: DataStore } = {},
  ): Promise<{ readonly files: readonly FileEntry[]; readonly sentBytes: number }> {
    const before = (await this.#lab.bytesReceived?.()) ?? 0
    let progress = 0
    const { source = sourceOf(content), store = this.store, ...rest } = options
    const files = await store.upload(ref, source, {
      ...rest,
      onProgress: (bytes) => {
        progress = bytes
        options.onProgress?.(bytes)
      },
    })
    const after = await this.#lab.bytesReceived?.()
    return { files, sentBytes: after === undefined ? progress : after - before }
  }

  /** All files of a resource, by path. */
  async fetch(ref: ResourceRef, options?: CallOptions): Promise<Readonly<Record<string, Buffer>>> {
    const sink = new MemorySink()
    await this.store.download(ref, await this.store.listFiles(ref), sink, options)
    return Object.fromEntries([...sink.files].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  async dispose(): Promise<void> {
    await this.#lab.dispose()
  }
}

export function sha256(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

/** What a listing should say of this content. */
export function entryOf(path: string, content: string | Buffer): FileEntry {
  return {
    path,
    bytes: Buffer.byteLength(content),
    checksum: { algorithm: 'sha256', hex: sha256(content) },
  }
}

/** Content as a source of streams. */
export function sourceOf(content: Content): FileSource {
  return {
    files: Object.entries(content).map(([path, data]) => entryOf(path, data)),
    open: async (path) => streamOf(content[path] ?? ''),
  }
}

/** In small pieces, as a network gives them. */
export function streamOf(content: string | Buffer, pieceBytes = 8192): Readable {
  const data = Buffer.from(content)
  function* pieces(): Iterable<Buffer> {
    for (let start = 0; start < data.length; start += pieceBytes)
      yield data.subarray(start, start + pieceBytes)
  }
  return Readable.from(pieces(), { objectMode: false })
}

/** A source whose stream of one file breaks after some bytes. */
export function breakingSource(
  content: Content,
  breaksAt: string,
  afterBytes: number,
  error: Error,
): FileSource {
  const whole = sourceOf(content)
  return {
    ...whole,
    open: async (path) => {
      if (path !== breaksAt) return streamOf(content[path] ?? '')
      const start = Buffer.from(content[path] ?? '').subarray(0, afterBytes)
      async function* pieces(): AsyncGenerator<Buffer> {
        yield start
        await Promise.resolve()
        throw error
      }
      return Readable.from(pieces(), { objectMode: false })
    },
  }
}

/** Keeps what it is given; a file is there only once its stream has ended well. */
export class MemorySink implements FileSink {
  readonly files = new Map<string, Buffer>()

  async write(path: string, content: Readable): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of content) chunks.push(Buffer.from(chunk as Buffer))
    this.files.set(path, Buffer.concat(chunks))
  }
}

/** Content with every value as bytes, sorted, to be compared with what was fetched. */
export function bytesOf(content: Content): Readonly<Record<string, Buffer>> {
  return Object.fromEntries(
    Object.entries(content)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, data]) => [path, Buffer.from(data)]),
  )
}
