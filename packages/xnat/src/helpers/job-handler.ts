/** A result in XNAT for a script that runs a job of its own: no folder structure to know, nothing half done to be seen. */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import {
  ConflictError,
  InputError,
  IntegrityError,
  createFolderSource,
  printable,
  taskLabel,
  type ArchiveRef,
  type CallOptions,
  type FileEntry,
  type FileSource,
  type InputBinding,
  type OutputManifest,
  type TaskRecord,
} from '@orbweaver/core'
import type { XnatDataStore } from '../store/xnat-store.js'

export interface JobHandlerOptions {
  /** The processor's type, `NAME_vMAJOR`. */
  readonly procType: string
  /** The exact version, `1.2.3`. */
  readonly procVersion: string
  /** What it is made from; the label is computed from it. Default: nothing, one result of this type a session. */
  readonly inputs?: readonly InputBinding[]
  /** Kept with the record. */
  readonly params?: Readonly<Record<string, unknown>>
  /** Default: as the engine would compute it. */
  readonly label?: string
}

/** One thing to be sent at the end. */
interface Addition {
  readonly resource: string
  send(options: CallOptions): Promise<OutputManifest>
}

/**
 * ```ts
 * const job = new JobHandler(store, { project, subject, session }, { procType: 'fmri-qa_v1', procVersion: '1.0.0' })
 * await job.start()
 * job.addPdf('report.pdf')
 * job.addSnapshots('thumb.png', 'large.png')
 * job.addDirectory('./out', 'DATA')
 * job.addProvenance({ program: 'fmri-qa', version: '1.0.0' })
 * await job.finish() // or, when it went wrong: await job.cleanUp('the program ended with exit code 3')
 * ```
 *
 * Nothing is sent before {@link finish}; only when the archive lists everything as it was sent is the result `complete`.
 */
export class JobHandler {
  /** The assessor. */
  readonly ref: ArchiveRef & { readonly assessor: string }
  readonly #store: XnatDataStore
  readonly #options: JobHandlerOptions
  readonly #additions: Addition[] = []
  #record: TaskRecord | undefined
  #revision = ''

  /** @param target - a session; or a subject or project, where the result hangs on that */
  constructor(store: XnatDataStore, target: ArchiveRef, options: JobHandlerOptions) {
    this.#store = store
    this.#options = options
    const assessor = options.label ?? taskLabel(options.procType, target, options.inputs ?? [])
    this.ref = { ...target, assessor }
  }

  /**
   * Make the assessor, or take up one that is not complete.
   *
   * @throws ConflictError a complete result is there
   */
  async start(options: CallOptions = {}): Promise<void> {
    const { procType, procVersion, inputs = [], params = {} } = this.#options
    const { assessor, ...target } = this.ref
    const nowMs = Date.now()
    const record: TaskRecord = {
      schema: 1,
      label: assessor,
      procType,
      procVersion,
      target,
      inputs,
      params,
      state: 'running',
      reason: 'a script is at work',
      attempt: 1,
      failures: {},
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    }
    const scans = inputs.flatMap(({ sources }) =>
      sources.flatMap(({ node: { scan } }) => (scan === undefined ? [] : [scan])),
    )
    const there = await this.#store.createAssessor(
      this.ref,
      { procType, procVersion, scans: [...new Set(scans)], record },
      options,
    )
    if (there.node.state === 'complete') {
      throw new ConflictError(`The result ${printable(assessor)} is complete already.`, {
        details: { label: assessor },
        hint: 'Delete it in XNAT to have it made again.',
      })
    }
    this.#revision = there.node.revision
    this.#record = there.record ?? record
    if (!there.created) {
      const attempt = there.node.attempt + 1
      await this.#move({ ...record, attempt, createdAtMs: this.#record.createdAtMs }, options)
    }
  }

  /** The report, as resource `PDF`. */
  addPdf(path: string): void {
    if (extname(path).toLowerCase() !== '.pdf') throw new InputError(`${printable(path)} is no PDF file.`)
    this.#addFile('PDF', path, basename(path))
  }

  /** What XNAT's pages show: a small picture that leads to the large one, as resource `SNAPSHOTS`. */
  addSnapshots(thumbnail: string, large: string): void {
    const files = [
      [`snapshot_preview${extname(thumbnail).toLowerCase()}`, thumbnail, 'THUMBNAIL'],
      [`snapshot_original${extname(large).toLowerCase()}`, large, 'ORIGINAL'],
    ] as const
    this.#additions.push({
      resource: 'SNAPSHOTS',
      send: async (options) => {
        const resource = 'SNAPSHOTS'
        const { client } = this.#store
        const address = { node: await this.#address(options), resource }
        for (const [name, path, content] of files) {
          const { size } = await stat(path)
          const body = { bytes: size, open: () => createReadStream(path) }
          await client.uploadFile(address, name, body, {
            content,
            format: extname(name).slice(1).toUpperCase(),
            overwrite: true,
            ...options,
          })
        }
        const listed = await this.#store.listFiles({ node: this.ref, resource }, options)
        for (const [name, path] of files) await checkStored(name, path, listed)
        return { resource, files: listed }
      },
    })
  }

  /** A folder with all that is in it, as the resource of this label. */
  addDirectory(folder: string, resource: string): void {
    this.#additions.push({
      resource,
      send: async (options) =>
        this.#upload(resource, await createFolderSource(folder, undefined, options), options),
    })
  }

  /** What made the result, as `PROVENANCE/provenance.json`. */
  addProvenance(provenance: Readonly<Record<string, unknown>>): void {
    const content = Buffer.from(`${JSON.stringify(provenance, undefined, 2)}\n`)
    const hex = createHash('sha256').update(content).digest('hex')
    const source: FileSource = {
      files: [{ path: 'provenance.json', bytes: content.length, checksum: { algorithm: 'sha256', hex } }],
      open: async () => Readable.from([content], { objectMode: false }),
    }
    this.#additions.push({
      resource: 'PROVENANCE',
      send: (options) => this.#upload('PROVENANCE', source, options),
    })
  }

  /** Send everything, see that it is there, and say so. May be called again after an error. */
  async finish(options: CallOptions = {}): Promise<void> {
    const record = this.#started()
    const twice = this.#additions.find(
      ({ resource }, index) => this.#additions.findIndex((one) => one.resource === resource) !== index,
    )
    if (twice !== undefined) throw new InputError(`Resource ${twice.resource} was added twice.`)
    await this.#move({ ...record, state: 'uploading', reason: 'results are being sent' }, options)
    const outputs: OutputManifest[] = []
    for (const addition of this.#additions) outputs.push(await addition.send(options))
    const reason = 'the archive holds every output, verified'
    await this.#move({ ...this.#started(), state: 'complete', reason, outputs }, options)
  }

  /**
   * The job went wrong: say why, and send nothing.
   *
   * @param reason - one sentence for people; without it the assessor is removed as if it had never been
   */
  async cleanUp(reason?: string, options: CallOptions = {}): Promise<void> {
    const record = this.#started()
    if (reason === undefined) {
      await this.#store.deleteAssessor(this.ref, options)
      return
    }
    const cause = { kind: 'tool', summary: reason, evidence: [] } as const
    await this.#move({ ...record, state: 'failed', reason, cause }, options)
  }

  #addFile(resource: string, path: string, name: string): void {
    this.#additions.push({
      resource,
      send: async (options) => {
        const { size } = await stat(path)
        const source: FileSource = {
          files: [{ path: name, bytes: size }],
          open: async () => createReadStream(path),
          localPath: () => path,
        }
        return await this.#upload(resource, source, options)
      },
    })
  }

  async #upload(resource: string, source: FileSource, options: CallOptions): Promise<OutputManifest> {
    const files = await this.#store.upload({ node: this.ref, resource }, source, options)
    return { resource, files }
  }

  async #address(options: CallOptions): Promise<{ readonly experiment: string; readonly assessor: string }> {
    const { project, subject, session, assessor } = this.ref
    if (subject === undefined || session === undefined) {
      throw new InputError(
        'Snapshots are shown by XNAT for results of sessions only: add them as a directory.',
      )
    }
    const item = await this.#store.client.item({ project, subject, session }, options)
    return { experiment: item.fields.ID ?? '', assessor }
  }

  #started(): TaskRecord {
    if (this.#record === undefined) throw new TypeError('start() comes first.')
    return this.#record
  }

  async #move(record: TaskRecord, options: CallOptions): Promise<void> {
    const stamped = { ...record, updatedAtMs: Date.now() }
    const node = await this.#store.updateAssessor(this.ref, { record: stamped }, this.#revision, options)
    this.#revision = node.revision
    this.#record = stamped
  }
}

async function checkStored(name: string, path: string, listed: readonly FileEntry[]): Promise<void> {
  const hash = createHash('md5')
  await pipeline(createReadStream(path), hash)
  const now = listed.find((file) => file.path === name)
  const { size } = await stat(path)
  const hex = hash.digest('hex')
  if (now?.bytes === size && (now.checksum === undefined || now.checksum.hex === hex)) return
  throw new IntegrityError(`XNAT does not hold ${name} as it was sent.`, { details: { name } })
}
