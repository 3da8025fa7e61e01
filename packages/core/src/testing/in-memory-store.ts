/** An archive in memory: every promise of the port, and every fault by asking. */

import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ConflictError, InputError, IntegrityError, NotFoundError, StoreUnavailableError } from '../errors.js'
import {
  formatRef,
  formatResourceRef,
  levelOf,
  type ArchiveRef,
  type AssessorNode,
  type Checksum,
  type ChecksumAlgorithm,
  type FileEntry,
  type ProjectNode,
  type ResourceNode,
  type ResourceRef,
  type ScanNode,
  type SessionNode,
  type SubjectNode,
} from '../domain/archive.js'
import { checkFilePath, checkLabel } from '../domain/labels.js'
import { stateOfStatusWord, statusWordOf, type StatusVocabulary } from '../domain/status-words.js'
import type { TaskRecord } from '../domain/task.js'
import type { Diagnosis } from '../ports/cluster-backend.js'
import type {
  AssessorChange,
  AssessorDetail,
  AssessorInit,
  Changes,
  DataStore,
  FileSink,
  FileSource,
  ProjectSnapshot,
  SnapshotOptions,
  StoreCapabilities,
  UploadOptions,
} from '../ports/data-store.js'
import type { CallOptions } from '../ports/options.js'
import { verifying } from '../transport/local-files.js'
import type { SeedProject, SeedResources, SeedSession } from './seed.js'

export interface InMemoryStoreOptions {
  /** Default `memory`. */
  readonly name?: string
  /** Checksums in listings. Default `sha256`. */
  readonly checksums?: ChecksumAlgorithm | 'none'
  /** Whether there is a change feed. Default `true`. */
  readonly changeFeed?: boolean
  /** Status words. Default `dax`. */
  readonly words?: StatusVocabulary
  /** What is in it at first. */
  readonly projects?: readonly SeedProject[]
}

/** An assessor that is not ours: made by DAX or by hand. */
export interface ForeignAssessor {
  readonly procType: string
  readonly statusWord: string
  readonly quality?: string
  readonly resources?: SeedResources
}

type Method =
  | 'projects'
  | 'snapshot'
  | 'changedSince'
  | 'readAssessor'
  | 'createAssessor'
  | 'updateAssessor'
  | 'deleteAssessor'
  | 'listFiles'
  | 'download'
  | 'upload'

interface StoredFile {
  readonly content: Buffer
  readonly sha256: string
}
interface Resource {
  readonly files: Map<string, StoredFile>
}
interface Assessor {
  readonly label: string
  procType: string
  procVersion?: string
  scans?: readonly string[]
  /** JSON, so that nothing is shared with a caller. */
  record?: string
  statusWord: string
  quality: string
  revision: number
  readonly resources: Map<string, Resource>
}
interface Owner {
  readonly resources: Map<string, Resource>
}
interface Scan extends Owner {
  readonly node: Omit<ScanNode, 'resources'>
}
interface Session extends Owner {
  readonly node: Omit<SessionNode, 'resources' | 'scans' | 'assessors'>
  readonly scans: Map<string, Scan>
  readonly assessors: Map<string, Assessor>
}
interface Subject extends Owner {
  readonly sessions: Map<string, Session>
  readonly assessors: Map<string, Assessor>
}
interface Project extends Owner {
  readonly label: string
  hidden: boolean
  readonly subjects: Map<string, Subject>
  readonly assessors: Map<string, Assessor>
  /** Oldest first; `undefined`: the project's own things. */
  readonly changes: { readonly sequence: number; readonly subject: string | undefined }[]
}

/** What stores of one archive share. */
class Archive {
  readonly projects = new Map<string, Project>()
  /** Files received whole by uploads that did not come to their end; nobody sees them. By resource, then path. */
  readonly received = new Map<string, Map<string, StoredFile>>()
  sequence = 0
}

/**
 * A `DataStore` in memory that keeps every promise of the port.
 *
 * Faults are had by asking: {@link outage}, {@link failNext}, {@link conflictNext}, {@link breakNextUpload},
 * {@link corruptNextUpload}, {@link corruptNextDownload}, {@link tamper}.
 */
export class InMemoryStore implements DataStore {
  readonly name: string
  readonly capabilities: StoreCapabilities
  readonly changedSince?: (
    project: string,
    cursor: string | undefined,
    options?: CallOptions,
  ) => Promise<Changes>
  /** How often each method was called. */
  readonly calls: Record<Method, number> = {
    projects: 0,
    snapshot: 0,
    changedSince: 0,
    readAssessor: 0,
    createAssessor: 0,
    updateAssessor: 0,
    deleteAssessor: 0,
    listFiles: 0,
    download: 0,
    upload: 0,
  }
  /** Bytes of file content received by uploads. */
  bytesReceived = 0

  readonly #options: InMemoryStoreOptions
  readonly #archive: Archive
  readonly #failures: { readonly method: Method; readonly error: Error }[] = []
  #away = false
  #conflicts = 0
  #corruptUploads = 0
  #corruptDownloads = 0
  #breakUploadAfter: number | undefined

  constructor(options: InMemoryStoreOptions = {}, archive?: unknown) {
    this.#options = options
    this.#archive = archive instanceof Archive ? archive : new Archive()
    this.name = options.name ?? 'memory'
    const changedSince = options.changeFeed ?? true
    this.capabilities = { checksums: options.checksums ?? 'sha256', changedSince, localFiles: false }
    if (changedSince) this.changedSince = (project, cursor, call) => this.#changedSince(project, cursor, call)
    if (archive === undefined) this.seed(...(options.projects ?? []))
  }

  /** Another client of the same archive, without the faults of this one. */
  second(): InMemoryStore {
    return new InMemoryStore(this.#options, this.#archive)
  }

  // ---------------------------------------------------------------- the tree

  async projects(options?: CallOptions): Promise<readonly string[]> {
    this.#enter('projects', options)
    return sortedKeys(this.#archive.projects).filter(
      (label) => this.#archive.projects.get(label)?.hidden === false,
    )
  }

  async snapshot(label: string, options: SnapshotOptions = {}): Promise<ProjectSnapshot> {
    this.#enter('snapshot', options)
    const project = this.#project(label)
    const node: ProjectNode = {
      label,
      resources: this.#resourceNodes(project),
      assessors: this.#assessorNodes(project.assessors),
    }
    return { project: node, subjects: this.#subjects(project, options) }
  }

  async *#subjects(project: Project, options: SnapshotOptions): AsyncGenerator<SubjectNode> {
    const { subjects, sessions, signal } = options
    for (const label of sortedKeys(project.subjects)) {
      if (subjects?.includes(label) === false) continue
      signal?.throwIfAborted()
      if (this.#away) throw unavailable()
      const subject = project.subjects.get(label)
      if (subject === undefined) continue
      const wanted = sortedKeys(subject.sessions).filter((session) => sessions?.includes(session) ?? true)
      // A subject without any of the sessions asked for is not asked for itself.
      if (sessions !== undefined && wanted.length === 0) continue
      yield {
        label,
        resources: this.#resourceNodes(subject),
        assessors: this.#assessorNodes(subject.assessors),
        sessions: wanted.flatMap((name) => {
          const session = subject.sessions.get(name)
          return session === undefined ? [] : [this.#sessionNode(session)]
        }),
      }
    }
  }

  #sessionNode({ node, resources, scans, assessors }: Session): SessionNode {
    return {
      ...node,
      resources: this.#resourceNodes({ resources }),
      scans: [...scans.values()]
        .map((scan) => ({ ...scan.node, resources: this.#resourceNodes(scan) }))
        .sort((a, b) => a.label.localeCompare(b.label, 'en', { numeric: true })),
      assessors: this.#assessorNodes(assessors),
    }
  }

  #resourceNodes({ resources }: Owner): readonly ResourceNode[] {
    return sortedKeys(resources).flatMap((label) => {
      const files = resources.get(label)?.files
      if (files === undefined) return []
      const digest = createHash('sha256')
      let bytes = 0
      for (const path of sortedKeys(files)) {
        const file = files.get(path)
        digest.update(`${path}\0${file?.sha256 ?? ''}\n`)
        bytes += file?.content.length ?? 0
      }
      return [{ label, fileCount: files.size, bytes, digest: digest.digest('hex') }]
    })
  }

  #assessorNodes(assessors: ReadonlyMap<string, Assessor>): readonly AssessorNode[] {
    return sortedKeys(assessors).flatMap((label) => {
      const assessor = assessors.get(label)
      return assessor === undefined ? [] : [this.#assessorNode(assessor)]
    })
  }

  #assessorNode(assessor: Assessor): AssessorNode {
    const record = recordOf(assessor)
    const state = record?.state ?? stateOfStatusWord(assessor.statusWord)
    return {
      label: assessor.label,
      procType: assessor.procType,
      ...(assessor.procVersion !== undefined && { procVersion: assessor.procVersion }),
      ...(state !== undefined && { state }),
      statusWord: assessor.statusWord,
      ...(record?.cause !== undefined && { cause: record.cause.kind }),
      attempt: record?.attempt ?? 0,
      ...(record?.retryAtMs !== undefined && { retryAtMs: record.retryAtMs }),
      quality: assessor.quality,
      resources: this.#resourceNodes(assessor),
      ...(assessor.scans !== undefined && { scans: [...assessor.scans] }),
      revision: String(assessor.revision),
    }
  }

  async #changedSince(label: string, cursor: string | undefined, options?: CallOptions): Promise<Changes> {
    this.#enter('changedSince', options)
    const { changes } = this.#project(label)
    const now = String(this.#archive.sequence)
    const since = cursor !== undefined && /^\d+$/.test(cursor) ? Number(cursor) : undefined
    if (since === undefined) return { cursor: now, subjects: 'all', project: true }
    const news = changes.filter(({ sequence }) => sequence > since)
    return {
      cursor: now,
      subjects: [...new Set(news.flatMap(({ subject }) => (subject === undefined ? [] : [subject])))].sort(),
      project: news.some(({ subject }) => subject === undefined),
    }
  }

  // ---------------------------------------------------------------- assessors

  async readAssessor(ref: ArchiveRef, options?: CallOptions): Promise<AssessorDetail> {
    this.#enter('readAssessor', options)
    return this.#detail(this.#assessor(ref))
  }

  async createAssessor(
    ref: ArchiveRef,
    init: AssessorInit,
    options?: CallOptions,
  ): Promise<AssessorDetail & { readonly created: boolean }> {
    this.#enter('createAssessor', options)
    const label = assessorLabel(ref)
    const { assessors } = this.#parent(ref)
    const there = assessors.get(label)
    if (there !== undefined) return { ...this.#detail(there), created: false }
    const assessor: Assessor = {
      label,
      procType: init.procType,
      procVersion: init.procVersion,
      scans: [...init.scans],
      record: JSON.stringify(init.record),
      statusWord: this.#word(init.record),
      quality: '',
      revision: this.#changed(ref),
      resources: new Map(),
    }
    assessors.set(label, assessor)
    return { ...this.#detail(assessor), created: true }
  }

  async updateAssessor(
    ref: ArchiveRef,
    change: AssessorChange,
    revision: string,
    options?: CallOptions,
  ): Promise<AssessorNode> {
    this.#enter('updateAssessor', options)
    const assessor = this.#assessor(ref)
    if (this.#conflicts > 0) {
      this.#conflicts--
      assessor.revision = this.#changed(ref)
    }
    if (String(assessor.revision) !== revision) {
      throw new ConflictError(`${formatRef(ref)} was changed since it was read.`, {
        details: { ref: formatRef(ref), revision, now: String(assessor.revision) },
        hint: 'Read it again and decide again.',
      })
    }
    if (change.record !== undefined) {
      assessor.record = JSON.stringify(change.record)
      assessor.statusWord = this.#word(change.record)
      assessor.procType = change.record.procType
      assessor.procVersion = change.record.procVersion
    }
    if (change.quality !== undefined) assessor.quality = change.quality
    assessor.revision = this.#changed(ref)
    return this.#assessorNode(assessor)
  }

  async deleteAssessor(ref: ArchiveRef, options?: CallOptions): Promise<void> {
    this.#enter('deleteAssessor', options)
    const label = assessorLabel(ref)
    let parent: { readonly assessors: Map<string, Assessor> }
    try {
      parent = this.#parent(ref)
    } catch (error) {
      if (error instanceof NotFoundError) return
      throw error
    }
    if (parent.assessors.delete(label)) this.#changed(ref)
  }

  #detail(assessor: Assessor): AssessorDetail {
    const record = recordOf(assessor)
    return { node: this.#assessorNode(assessor), ...(record !== undefined && { record }) }
  }

  #word(record: TaskRecord): string {
    return statusWordOf(record.state, this.#options.words, record.cause?.kind)
  }

  // ---------------------------------------------------------------- files

  async listFiles(ref: ResourceRef, options?: CallOptions): Promise<readonly FileEntry[]> {
    this.#enter('listFiles', options)
    return entriesOf(this.#resource(ref).files, this.capabilities.checksums)
  }

  async download(
    ref: ResourceRef,
    files: readonly FileEntry[],
    sink: FileSink,
    options: CallOptions = {},
  ): Promise<void> {
    this.#enter('download', options)
    const resource = this.#resource(ref)
    for (const entry of files) {
      options.signal?.throwIfAborted()
      const stored = resource.files.get(checkFilePath(entry.path))
      if (stored === undefined)
        throw new NotFoundError(`${formatResourceRef(ref)} has no file ${JSON.stringify(entry.path)}.`)
      let { content } = stored
      if (this.#corruptDownloads > 0) {
        this.#corruptDownloads--
        content = damaged(content)
      }
      // What a sink is given ends in an error when it is not what was listed: nothing appears there.
      const checksum = entry.checksum ?? { algorithm: 'sha256', hex: stored.sha256 }
      const checked = verifying({ ...entry, checksum }, entry.path)
      const sent = pipeline(Readable.from([content], { objectMode: false }), checked)
      const written = sink.write(entry.path, checked, entry, options).catch((error: unknown) => {
        checked.destroy() // a sink that gave up reads no further
        throw error
      })
      const outcomes = await Promise.allSettled([sent, written])
      options.signal?.throwIfAborted()
      const reasons = outcomes.flatMap((outcome) =>
        outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
      )
      const reason = reasons.find((error) => error instanceof IntegrityError) ?? reasons.at(-1)
      if (reason !== undefined) throw reason as Error
    }
  }

  async upload(
    ref: ResourceRef,
    source: FileSource,
    options: UploadOptions = {},
  ): Promise<readonly FileEntry[]> {
    this.#enter('upload', options)
    checkPaths(source.files)
    checkLabel(ref.resource, 'Resource')
    const owner = this.#owner(ref.node)
    const key = formatResourceRef(ref)
    const there = owner.resources.get(ref.resource)?.files
    const received = this.#archive.received.get(key) ?? new Map<string, StoredFile>()
    this.#archive.received.set(key, received)
    const files = new Map<string, StoredFile>()
    let sent = 0
    for (const entry of source.files) {
      let file = [there?.get(entry.path), received.get(entry.path)].find((known) => isSame(known, entry))
      if (file === undefined) {
        file = await this.#receive(entry, source, options, (bytes) => {
          sent += bytes
          this.bytesReceived += bytes
          options.onProgress?.(sent)
        })
        received.set(entry.path, file)
      }
      files.set(entry.path, file)
    }
    options.signal?.throwIfAborted()
    // Somebody may have deleted the node meanwhile.
    this.#owner(ref.node).resources.set(ref.resource, { files })
    this.#archive.received.delete(key)
    this.#changed(ref.node)
    if (this.#corruptUploads > 0) {
      this.#corruptUploads--
      const [path] = files.keys()
      if (path !== undefined) this.tamper(ref, path)
      throw new IntegrityError(`${key} lists something else than was sent.`, {
        details: { resource: key, path },
      })
    }
    return entriesOf(files, this.capabilities.checksums)
  }

  async diagnose({ signal }: CallOptions = {}): Promise<readonly Diagnosis[]> {
    signal?.throwIfAborted()
    return this.#away
      ? [
          {
            check: `${this.name}: archive`,
            status: 'problem',
            found: 'it does not answer',
            hint: 'Wait until it is back.',
          },
        ]
      : [{ check: `${this.name}: archive`, status: 'ok', found: `${this.#archive.projects.size} projects` }]
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  // ---------------------------------------------------------------- for tests

  /** Add projects, or to projects. */
  seed(...projects: readonly SeedProject[]): void {
    for (const { label, hidden = false, subjects = [], resources } of projects) {
      const project = entry<string, Project>(this.#archive.projects, checkLabel(label, 'Project'), () => ({
        label,
        hidden,
        subjects: new Map(),
        assessors: new Map(),
        resources: new Map(),
        changes: [],
      }))
      project.hidden = hidden
      addResources(project, resources)
      this.#changed({ project: label })
      for (const subject of subjects) {
        const owner = entry<string, Subject>(project.subjects, checkLabel(subject.label, 'Subject'), () => ({
          sessions: new Map(),
          assessors: new Map(),
          resources: new Map(),
        }))
        addResources(owner, subject.resources)
        for (const session of subject.sessions ?? []) addSession(owner, session)
        this.#changed({ project: label, subject: subject.label })
      }
    }
  }

  /** Put an assessor there that is not ours. */
  addForeignAssessor(ref: ArchiveRef, foreign: ForeignAssessor): void {
    const label = assessorLabel(ref)
    const assessor: Assessor = {
      label,
      procType: foreign.procType,
      statusWord: foreign.statusWord,
      quality: foreign.quality ?? '',
      revision: this.#changed(ref),
      resources: new Map(),
    }
    addResources(assessor, foreign.resources)
    this.#parent(ref).assessors.set(label, assessor)
  }

  /** A person gives a scan another quality. */
  setScanQuality(ref: ArchiveRef, quality: string): void {
    const session = this.#session(ref)
    const scan = session.scans.get(ref.scan ?? '')
    if (scan === undefined) throw notFound(ref)
    session.scans.set(scan.node.label, { ...scan, node: { ...scan.node, quality } })
    this.#changed(ref)
  }

  /** A person sets the quality of an assessor, without asking for its revision. */
  setQuality(ref: ArchiveRef, quality: string): void {
    const assessor = this.#assessor(ref)
    assessor.quality = quality
    assessor.revision = this.#changed(ref)
  }

  /** Remove a subject, session or scan with all below it. */
  removeNode(ref: ArchiveRef): void {
    const project = this.#project(ref.project)
    if (ref.scan !== undefined) this.#session(ref).scans.delete(ref.scan)
    else if (ref.session !== undefined) project.subjects.get(ref.subject ?? '')?.sessions.delete(ref.session)
    else if (ref.subject !== undefined) project.subjects.delete(ref.subject)
    this.#changed(ref)
  }

  /** Text of a file, or undefined. */
  text(ref: ResourceRef, path: string): string | undefined {
    return this.#owner(ref.node).resources.get(ref.resource)?.files.get(path)?.content.toString('utf8')
  }

  /** Damage a file that is there, as a failing disk does. */
  tamper(ref: ResourceRef, path: string, content?: string): void {
    const { files } = this.#resource(ref)
    const file = files.get(path)
    if (file === undefined) throw new NotFoundError(`${formatResourceRef(ref)} has no file ${path}.`)
    files.set(path, storedFile(content === undefined ? damaged(file.content) : Buffer.from(content)))
  }

  /** The archive is away (or back): every call throws `StoreUnavailableError`. */
  outage(away: boolean): void {
    this.#away = away
  }

  /** The next call of this method throws that, and does nothing. */
  failNext(method: Method, error: Error): void {
    this.#failures.push({ method, error })
  }

  /** Before each of the next updates somebody else changes the assessor. */
  conflictNext(times = 1): void {
    this.#conflicts = times
  }

  /** The archive goes away in the next upload, after it has received so many bytes. */
  breakNextUpload(afterBytes: number): void {
    this.#breakUploadAfter = afterBytes
  }

  /** The next uploads damage one file on its way, notice it, and throw `IntegrityError`. */
  corruptNextUpload(times = 1): void {
    this.#corruptUploads = times
  }

  /** The next files that are downloaded are damaged on their way. */
  corruptNextDownload(times = 1): void {
    this.#corruptDownloads = times
  }

  // ---------------------------------------------------------------- pieces

  #enter(method: Method, { signal }: CallOptions = {}): void {
    signal?.throwIfAborted()
    this.calls[method]++
    const planned = this.#failures.findIndex((failure) => failure.method === method)
    if (planned !== -1) {
      const [failure] = this.#failures.splice(planned, 1)
      if (failure !== undefined) throw failure.error
    }
    if (this.#away) throw unavailable()
  }

  async #receive(
    expected: FileEntry,
    source: FileSource,
    { signal }: CallOptions,
    onBytes: (bytes: number) => void,
  ): Promise<StoredFile> {
    const options = signal === undefined ? {} : { signal }
    const content = await source.open(expected.path, options)
    const chunks: Buffer[] = []
    try {
      await pipeline(
        content,
        verifying(expected, expected.path),
        async (stream: AsyncIterable<Buffer>) => {
          for await (const chunk of stream) {
            if (this.#breakUploadAfter !== undefined) {
              this.#breakUploadAfter -= chunk.length
              if (this.#breakUploadAfter < 0) {
                this.#breakUploadAfter = undefined
                throw unavailable()
              }
            }
            chunks.push(chunk)
            onBytes(chunk.length)
          }
        },
        options,
      )
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    }
    return storedFile(Buffer.concat(chunks))
  }

  /** A new revision, noted in the change feed. */
  #changed(ref: ArchiveRef): number {
    const sequence = ++this.#archive.sequence
    this.#archive.projects.get(ref.project)?.changes.push({ sequence, subject: ref.subject })
    return sequence
  }

  #project(label: string): Project {
    const project = this.#archive.projects.get(checkLabel(label, 'Project'))
    if (project === undefined || project.hidden) throw notFound({ project: label })
    return project
  }

  #subject(ref: ArchiveRef): Subject {
    const subject = this.#project(ref.project).subjects.get(checkLabel(ref.subject ?? '', 'Subject'))
    if (subject === undefined) throw notFound(ref)
    return subject
  }

  #session(ref: ArchiveRef): Session {
    const label = checkLabel(ref.session ?? '', 'Session')
    const session = this.#subject(ref).sessions.get(label)
    if (session === undefined) throw notFound(ref)
    return session
  }

  /** What an assessor hangs on. */
  #parent(ref: ArchiveRef): { readonly assessors: Map<string, Assessor> } {
    if (ref.session !== undefined) return this.#session(ref)
    return ref.subject === undefined ? this.#project(ref.project) : this.#subject(ref)
  }

  #assessor(ref: ArchiveRef): Assessor {
    const assessor = this.#parent(ref).assessors.get(assessorLabel(ref))
    if (assessor === undefined) throw notFound(ref)
    return assessor
  }

  #owner(ref: ArchiveRef): Owner {
    switch (levelOf(ref)) {
      case 'assessor':
        return this.#assessor(ref)
      case 'scan': {
        const scan = this.#session(ref).scans.get(checkLabel(ref.scan ?? '', 'Scan'))
        if (scan === undefined) throw notFound(ref)
        return scan
      }
      case 'session':
        return this.#session(ref)
      case 'subject':
        return this.#subject(ref)
      case 'project':
        return this.#project(ref.project)
    }
  }

  #resource(ref: ResourceRef): Resource {
    const resource = this.#owner(ref.node).resources.get(checkLabel(ref.resource, 'Resource'))
    if (resource === undefined) throw new NotFoundError(`There is no ${formatResourceRef(ref)}.`)
    return resource
  }
}

function addSession(subject: Subject, seed: SeedSession): void {
  const { label, modality, date, scans = [], resources } = seed
  const session = entry<string, Session>(subject.sessions, checkLabel(label, 'Session'), () => ({
    node: { label, ...(modality !== undefined && { modality }), ...(date !== undefined && { date }) },
    scans: new Map(),
    assessors: new Map(),
    resources: new Map(),
  }))
  addResources(session, resources)
  for (const { label: name, type, quality = 'usable', description, resources: files } of scans) {
    const scan: Scan = {
      node: {
        label: checkLabel(name, 'Scan'),
        type,
        quality,
        ...(description !== undefined && { description }),
      },
      resources: session.scans.get(name)?.resources ?? new Map<string, Resource>(),
    }
    addResources(scan, files)
    session.scans.set(name, scan)
  }
}

function addResources({ resources }: Owner, seed: SeedResources = {}): void {
  for (const [label, files] of Object.entries(seed)) {
    const resource = entry<string, Resource>(resources, checkLabel(label, 'Resource'), () => ({
      files: new Map(),
    }))
    for (const [path, content] of Object.entries(files)) {
      resource.files.set(checkFilePath(path), storedFile(Buffer.from(content)))
    }
  }
}

/** The entry of a map, made when it is not there. */
function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const there = map.get(key)
  if (there !== undefined) return there
  const made = make()
  map.set(key, made)
  return made
}

function sortedKeys(map: ReadonlyMap<string, unknown>): readonly string[] {
  return [...map.keys()].sort()
}

function recordOf({ record }: Assessor): TaskRecord | undefined {
  return record === undefined ? undefined : (JSON.parse(record) as TaskRecord)
}

function assessorLabel({ assessor }: ArchiveRef): string {
  return checkLabel(assessor ?? '', 'Assessor')
}

/** No path twice, none inside another. */
function checkPaths(files: readonly FileEntry[]): void {
  const paths = new Set(files.map(({ path }) => checkFilePath(path)))
  if (paths.size !== files.length) throw new InputError('The source names a file twice.')
  for (const path of paths) {
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
      const folder = path.slice(0, slash)
      if (paths.has(folder)) throw new InputError(`The source has ${folder} as a file and as a folder.`)
    }
  }
}

function storedFile(content: Buffer): StoredFile {
  return { content, sha256: createHash('sha256').update(content).digest('hex') }
}

/** Known to be the same bytes: nothing else than a checksum can tell. */
function isSame(file: StoredFile | undefined, { bytes, checksum }: FileEntry): boolean {
  if (file === undefined || checksum === undefined || file.content.length !== bytes) return false
  return checksumOf(file, checksum.algorithm).hex === checksum.hex.toLowerCase()
}

function checksumOf({ content, sha256 }: StoredFile, algorithm: ChecksumAlgorithm): Checksum {
  const hex = algorithm === 'sha256' ? sha256 : createHash('md5').update(content).digest('hex')
  return { algorithm, hex }
}

function entriesOf(
  files: ReadonlyMap<string, StoredFile>,
  algorithm: ChecksumAlgorithm | 'none',
): readonly FileEntry[] {
  return sortedKeys(files).flatMap((path) => {
    const file = files.get(path)
    if (file === undefined) return []
    const bytes = file.content.length
    return [{ path, bytes, ...(algorithm !== 'none' && { checksum: checksumOf(file, algorithm) }) }]
  })
}

/** The same length, other bytes; an empty file gets one. */
function damaged(content: Buffer): Buffer {
  const copy = content.length === 0 ? Buffer.alloc(1) : Buffer.from(content)
  copy[0] = (copy[0] ?? 0) ^ 0xff
  return copy
}

function unavailable(): StoreUnavailableError {
  return new StoreUnavailableError('The in-memory archive does not answer.')
}

function notFound(ref: ArchiveRef): NotFoundError {
  return new NotFoundError(`There is no ${formatRef(ref)} that you may see.`, {
    details: { ref: formatRef(ref) },
  })
}
