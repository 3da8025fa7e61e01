/** An XNAT as the archive: a {@link DataStore} over its REST API. */

import {
  NotFoundError,
  formatResourceRef,
  printable,
  type ArchiveRef,
  type AssessorChange,
  type AssessorDetail,
  type AssessorInit,
  type AssessorNode,
  type CallOptions,
  type DataStore,
  type Diagnosis,
  type FileEntry,
  type FileSink,
  type FileSource,
  type ProjectSnapshot,
  type ResourceRef,
  type SnapshotOptions,
  type StatusVocabulary,
  type StoreCapabilities,
  type UploadOptions,
} from '@orbweaver/core'
import { XnatClient, type XnatClientOptions } from '../client/client.js'
import type { XnatFile } from '../client/listed.js'
import type { ResourceAddress } from '../client/address.js'
import { Assessors } from './assessors.js'
import { diagnoseXnat } from './diagnose.js'
import { OWN_RESOURCE } from './document.js'
import { downloadFiles } from './download.js'
import { SharedListings, type ListSeveral } from './listings.js'
import { NodeRecords } from './node-records.js'
import { Places, assessorRef, checkRef, checkResourceRef, isOnSession, missing } from './places.js'
import { readSnapshot } from './snapshot.js'
import { toEntry, uploadFiles, type UploadContext } from './upload.js'

export interface XnatDataStoreOptions extends XnatClientOptions {
  /** Which status words people see. Default: `dax`. */
  readonly words?: StatusVocabulary
}

/** Sizes of resources that were listed lately: tells whether an archive or single files are quicker. */
const REMEMBERED_LISTINGS = 500

/**
 * Sessions, scans and resources as XNAT has them. Results on sessions are assessors: `proc:genProcData` with DAX's fields and
 * words where the site has that type, `xnat:qcAssessmentData` otherwise; their files are `out` resources. Results on subjects
 * are experiments of type `proc:subjGenProcData` where the site has that; elsewhere, and on projects, they are resources. There is no change feed: XNAT does not tell of changes to files and deletions, and a
 * feed may not miss any. A pass costs a constant number of listings instead.
 */
export class XnatDataStore implements DataStore {
  readonly name = 'xnat'
  readonly capabilities: StoreCapabilities = { checksums: 'md5', changedSince: false, localFiles: false }
  /** For what the port does not have. Closed together with the store. */
  readonly client: XnatClient
  readonly #places: Places
  readonly #assessors: Assessors
  readonly #nodeRecords: NodeRecords
  /** Looks at what was just sent, which wait for each other, and all other looks, which do not. */
  readonly #sent = new SharedListings()
  readonly #looks = new SharedListings()
  readonly #totals = new Map<string, number>()
  #types: Promise<ReadonlySet<string>> | undefined

  constructor(options: XnatDataStoreOptions) {
    const { words = 'dax', ...clientOptions } = options
    this.client = new XnatClient(clientOptions)
    this.#places = new Places(this.client)
    const types = (call: CallOptions): Promise<ReadonlySet<string>> => this.#dataTypes(call)
    this.#nodeRecords = new NodeRecords(this.client, words, types)
    this.#assessors = new Assessors({ client: this.client, places: this.#places, words, types })
  }

  async projects(options: CallOptions = {}): Promise<readonly string[]> {
    const rows = await this.client.projects({ columns: ['ID'], ...options })
    return rows.flatMap(({ id }) => (id === undefined || id === '' ? [] : [id])).sort()
  }

  /**
   * Five listings; one more when there are `proc:genProcData`, one when there are records of results on subjects or projects,
   * and, unless those are not wanted, one for `proc:subjGenProcData` where the site has that type.
   */
  async snapshot(project: string, options: SnapshotOptions = {}): Promise<ProjectSnapshot> {
    options.signal?.throwIfAborted()
    checkRef({ project })
    const { client } = this
    return await readSnapshot(
      {
        client,
        places: this.#places,
        nodeRecords: this.#nodeRecords,
        types: (call) => this.#dataTypes(call),
      },
      project,
      options,
    )
  }

  async readAssessor(ref: ArchiveRef, options: CallOptions = {}): Promise<AssessorDetail> {
    options.signal?.throwIfAborted()
    const assessor = assessorRef(ref)
    return isOnSession(assessor)
      ? await this.#assessors.read(assessor, options)
      : await this.#nodeRecords.read(assessor, options)
  }

  async createAssessor(
    ref: ArchiveRef,
    init: AssessorInit,
    options: CallOptions = {},
  ): Promise<AssessorDetail & { readonly created: boolean }> {
    options.signal?.throwIfAborted()
    const assessor = assessorRef(ref)
    return isOnSession(assessor)
      ? await this.#assessors.create(assessor, init, options)
      : await this.#nodeRecords.create(assessor, init, options)
  }

  async updateAssessor(
    ref: ArchiveRef,
    change: AssessorChange,
    revision: string,
    options: CallOptions = {},
  ): Promise<AssessorNode> {
    options.signal?.throwIfAborted()
    const assessor = assessorRef(ref)
    return isOnSession(assessor)
      ? await this.#assessors.update(assessor, change, revision, options)
      : await this.#nodeRecords.update(assessor, change, revision, options)
  }

  async deleteAssessor(ref: ArchiveRef, options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted()
    const assessor = assessorRef(ref)
    if (isOnSession(assessor)) await this.#assessors.remove(assessor, options)
    else await this.#nodeRecords.remove(assessor, options)
  }

  async listFiles(ref: ResourceRef, options: CallOptions = {}): Promise<readonly FileEntry[]> {
    options.signal?.throwIfAborted()
    checkResourceRef(ref)
    const address = await this.#address(ref, options)
    const files = await this.#listShared(this.#looks, ref, address, options)
    if (files.length === 0) await this.#resourceExists(ref, address, options)
    this.#rememberTotal(ref, files)
    return files.map(toEntry)
  }

  async download(
    ref: ResourceRef,
    files: readonly FileEntry[],
    sink: FileSink,
    options: CallOptions = {},
  ): Promise<void> {
    options.signal?.throwIfAborted()
    checkResourceRef(ref)
    const address = await this.#address(ref, options)
    const shown = formatResourceRef(ref)
    const totalBytes = this.#totals.get(shown)
    await downloadFiles({ client: this.client, shown, totalBytes }, address, files, sink, options)
  }

  async upload(
    ref: ResourceRef,
    source: FileSource,
    options: UploadOptions = {},
  ): Promise<readonly FileEntry[]> {
    options.signal?.throwIfAborted()
    checkResourceRef(ref)
    const call = options.signal === undefined ? {} : { signal: options.signal }
    const address = await this.#address(ref, call)
    const { assessor } = ref.node
    const result = assessor === undefined ? undefined : { ...ref.node, assessor }
    const onSession = result !== undefined && isOnSession(result) ? result : undefined
    const isNew = onSession !== undefined && this.#assessors.lacks(onSession, ref.resource)
    if (onSession !== undefined) this.#assessors.touched(onSession, ref.resource)
    const sent =
      onSession === undefined
        ? undefined
        : this.#sent.sending(onSession, this.#listSeveral(ref.node, address))
    const context: UploadContext = {
      client: this.client,
      shown: formatResourceRef(ref),
      isNew,
      list: (inner) => this.#list(ref, address, inner),
      listSent: (inner) => {
        sent?.()
        return this.#listShared(this.#sent, ref, address, inner)
      },
      // XNAT says so itself, unless the resource is one of the subject or project above the result.
      nodeExists: async (inner) => {
        if (result !== undefined && onSession === undefined) await this.#nodeRecords.exists(result, inner)
      },
    }
    try {
      return await uploadFiles(context, address, source, options)
    } finally {
      sent?.()
    }
  }

  async diagnose(options: CallOptions = {}): Promise<readonly Diagnosis[]> {
    options.signal?.throwIfAborted()
    return await diagnoseXnat(this.client, options)
  }

  async close(): Promise<void> {
    await this.client.close()
  }

  // ---------------------------------------------------------------- what XNAT does not tell apart

  async #address(ref: ResourceRef, options: CallOptions): Promise<ResourceAddress> {
    const { node, resource } = ref
    const { assessor } = node
    return assessor === undefined || isOnSession(node)
      ? await this.#places.resource(ref, options)
      : await this.#nodeRecords.resourceOf({ ...node, assessor }, resource, options)
  }

  /** Questions about several resources of a result become one request. */
  async #listShared(
    listings: SharedListings,
    ref: ResourceRef,
    address: ResourceAddress,
    options: CallOptions,
  ): Promise<readonly XnatFile[]> {
    const { node, resource } = ref
    if (node.assessor === undefined || !isOnSession(node)) return await this.#list(ref, address, options)
    return await listings.list(node, resource, this.#listSeveral(node, address), options)
  }

  /** The one request serves all who asked: whoever of them gives up leaves it to the others. */
  #listSeveral(node: ArchiveRef, { node: at }: ResourceAddress): ListSeveral {
    return async (labels) => {
      const single = async (resource: string): Promise<readonly XnatFile[]> =>
        await this.#list({ node, resource }, { node: at, resource }, {})
      const [first = ''] = labels
      if (labels.length === 1) return new Map([[first, await single(first)]])
      const found = new Map<string, XnatFile[]>()
      const files = await this.client.filesOfSeveral(at, labels).catch((error: unknown) => {
        throw error instanceof NotFoundError ? missing(node) : error
      })
      if (files.some(({ uri }) => !uri.includes('/out/'))) throw missing(node)
      for (const file of files) {
        const { resource = '' } = file
        const known = found.get(resource)
        if (known === undefined) found.set(resource, [file])
        else known.push(file)
      }
      // A server that does not take several labels shows none: each is asked for alone before that is believed.
      const rest = labels.filter((label) => !found.has(label))
      const alone = await Promise.all(rest.map(async (label) => [label, await single(label)] as const))
      return new Map<string, readonly XnatFile[]>([...found, ...alone])
    }
  }

  /** Files of a resource of this very node: below a scan that is not there, XNAT may list those of the session. */
  async #list(
    ref: ResourceRef,
    address: ResourceAddress,
    options: CallOptions,
  ): Promise<readonly XnatFile[]> {
    let files: readonly XnatFile[]
    try {
      files = await this.client.files(address, options)
    } catch (error) {
      if (error instanceof NotFoundError) throw missing(ref.node)
      throw error
    }
    const { scan, assessor } = ref.node
    const inside =
      scan !== undefined ? '/scans/' : isOnSession(ref.node) && assessor !== undefined ? '/out/' : '/'
    if (files.some(({ uri }) => !uri.includes(inside))) throw missing(ref.node)
    return files
  }

  /** An empty list is the answer for an empty resource, for a missing one, and for a missing node. */
  async #resourceExists(ref: ResourceRef, address: ResourceAddress, options: CallOptions): Promise<void> {
    await this.#nodeExists(ref.node, options)
    const listed = await this.client.resources(address.node, options)
    if (listed.some(({ label }) => label === address.resource)) return
    throw new NotFoundError(`There is no ${printable(formatResourceRef(ref))} in the archive.`, {
      details: { resource: formatResourceRef(ref) },
    })
  }

  async #nodeExists(node: ArchiveRef, options: CallOptions): Promise<void> {
    const { assessor, scan } = node
    if (assessor !== undefined) {
      const ref = { ...node, assessor }
      await (isOnSession(ref) ? this.#assessors.exists(ref, options) : this.#nodeRecords.exists(ref, options))
    } else if (isOnSession(node)) {
      const rows = await this.#places.inSession(node, options, (experiment) =>
        this.client.scans({ experiment }, { columns: ['ID'], ...options }),
      )
      if (scan !== undefined && !rows.some(({ id }) => id === scan)) throw missing(node)
    } else {
      await this.#nodeRecords.parentExists(node, options)
    }
  }

  #rememberTotal(ref: ResourceRef, files: readonly XnatFile[]): void {
    const key = formatResourceRef(ref)
    this.#totals.delete(key)
    this.#totals.set(
      key,
      files.reduce((sum, { bytes }) => sum + bytes, 0),
    )
    const [oldest] = this.#totals.keys()
    if (this.#totals.size > REMEMBERED_LISTINGS && oldest !== undefined) this.#totals.delete(oldest)
  }

  async #dataTypes(options: CallOptions): Promise<ReadonlySet<string>> {
    const types = (this.#types ??= this.client.dataTypes(options))
    try {
      return await types
    } catch (error) {
      if (this.#types === types) this.#types = undefined
      throw error
    }
  }
}

/** Labels of resources that are ours and are never shown. */
export const RESERVED_RESOURCES: readonly string[] = [OWN_RESOURCE]
