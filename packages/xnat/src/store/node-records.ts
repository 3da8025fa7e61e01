/**
 * Results of subject- and project-level processors. XNAT has no assessors there, so their records are files of one resource
 * of the project: one listing tells the states of all of them. Each state is a file of its own, numbered; XNAT does not
 * replace a file unless told to, so of two that write the next state exactly one succeeds.
 */

import {
  AccessDeniedError,
  ConflictError,
  NotFoundError,
  StoreUnavailableError,
  formatRef,
  printable,
  statusWordOf,
  type ArchiveRef,
  type AssessorChange,
  type AssessorDetail,
  type AssessorInit,
  type AssessorNode,
  type CallOptions,
  type ResourceNode,
  type StatusVocabulary,
  type TaskRecord,
} from '@orbweaver/core'
import { checkNewLabel, type ResourceAddress } from '../client/address.js'
import type { XnatClient, XnatFile } from '../client/client.js'
import { OWN_RESOURCE, formatRecord, parseRecord, sortResources } from './document.js'
import { JOINT, missing, type AssessorRef } from './places.js'
import { formatSummary, newNonce, parseSummary, summaryOf, type Summary } from './summary.js'

const CLAIM_TRIES = 4

/** The latest state of one result. */
interface Entry {
  readonly path: string
  readonly number: number
  readonly summary: Summary
  /** Numbers of older states that are still there. */
  readonly older: readonly string[]
}

/** All records of a project, by {@link keyOf}. */
export type NodeRecordIndex = ReadonlyMap<string, Entry>

export class NodeRecords {
  readonly #client: XnatClient
  readonly #words: StatusVocabulary

  constructor(client: XnatClient, words: StatusVocabulary) {
    this.#client = client
    this.#words = words
  }

  async index(project: string, options: CallOptions): Promise<NodeRecordIndex> {
    return indexOf(await this.#client.files(addressOf(project), options))
  }

  /** Nodes of the results on a subject, or on the project itself. @param resources - of that subject or project */
  nodes(
    index: NodeRecordIndex,
    ref: ArchiveRef,
    resources: readonly ResourceNode[],
  ): { readonly assessors: readonly AssessorNode[]; readonly resources: readonly ResourceNode[] } {
    const start = folderOf(ref)
    const assessors: AssessorNode[] = []
    const taken = new Set<string>()
    for (const [key, entry] of index) {
      if (!key.startsWith(start)) continue
      const label = key.slice(start.length)
      const own = resources.filter((one) => one.label.startsWith(`${label}${JOINT}`))
      for (const one of own) taken.add(one.label)
      assessors.push(toNode(label, entry, own))
    }
    assessors.sort((a, b) => (a.label < b.label ? -1 : 1))
    return { assessors, resources: sortResources(resources.filter(({ label }) => !taken.has(label))) }
  }

  /** @throws NotFoundError */
  async exists(ref: AssessorRef, options: CallOptions): Promise<void> {
    if (!(await this.index(ref.project, options)).has(keyOf(ref))) throw missing(ref)
  }

  async read(ref: AssessorRef, options: CallOptions): Promise<AssessorDetail> {
    const entry = (await this.#indexOrEmpty(ref, options)).get(keyOf(ref))
    if (entry === undefined) throw missing(ref)
    return {
      node: toNode(ref.assessor, entry, await this.#resources(ref, options)),
      record: await this.#record(ref, entry, options),
    }
  }

  async create(
    ref: AssessorRef,
    init: AssessorInit,
    options: CallOptions,
  ): Promise<AssessorDetail & { readonly created: boolean }> {
    checkNewLabel(ref.assessor, 'assessor')
    await this.parentExists(ref, options)
    const there = (await this.index(ref.project, options)).get(keyOf(ref))
    if (there === undefined) {
      const { record } = init
      const word = statusWordOf(record.state, this.#words, record.cause?.kind)
      const summary = summaryOf(record, word, init.scans)
      const path = `${keyOf(ref)}/${numbered(1)}`
      if (await this.#claim(ref, path, record, summary, options)) {
        const entry: Entry = { path, number: 1, summary, older: [] }
        return { node: toNode(ref.assessor, entry, []), record: copyOf(record), created: true }
      }
    }
    return { ...(await this.read(ref, options)), created: false }
  }

  async update(
    ref: AssessorRef,
    change: AssessorChange,
    revision: string,
    options: CallOptions,
  ): Promise<AssessorNode> {
    const entry = (await this.#indexOrEmpty(ref, options)).get(keyOf(ref))
    if (entry === undefined) throw missing(ref)
    const conflict = (): ConflictError =>
      new ConflictError(`Assessor ${printable(formatRef(ref))} was changed since it was read.`, {
        details: { ref: formatRef(ref), revision: entry.summary.nonce, read: revision },
      })
    if (entry.summary.nonce !== revision) throw conflict()
    const resources = await this.#resources(ref, options)
    const record = change.record ?? (await this.#record(ref, entry, options))
    const word = statusWordOf(record.state, this.#words, record.cause?.kind)
    const quality = change.quality ?? entry.summary.quality
    const summary: Summary = {
      ...(change.record === undefined
        ? { ...entry.summary, nonce: newNonce() }
        : summaryOf(record, word, entry.summary.scans)),
      ...(quality !== undefined && { quality }),
    }
    const path = `${keyOf(ref)}/${numbered(entry.number + 1)}`
    if (!(await this.#claim(ref, path, record, summary, options))) throw conflict()
    await this.#clearOlder(ref, entry.older, options)
    return toNode(ref.assessor, { path, number: entry.number + 1, summary, older: [] }, resources)
  }

  async remove(ref: AssessorRef, options: CallOptions): Promise<void> {
    const entry = (await this.#indexOrEmpty(ref, options)).get(keyOf(ref))
    if (entry === undefined) return
    for (const { label } of await this.#resources(ref, options)) {
      const { project, subject } = ref
      const node = { project, ...(subject !== undefined && { subject }) }
      await this.#client.deleteResource({ node, resource: `${ref.assessor}${JOINT}${label}` }, options)
    }
    // The newest last: as long as it is there, the result is.
    for (const path of [...entry.older, entry.path])
      await this.#client.deleteFile(addressOf(ref.project), path, options)
  }

  /** @throws NotFoundError the subject or project is not there */
  async parentExists(ref: ArchiveRef, options: CallOptions): Promise<void> {
    const { project, subject } = ref
    const rows = await this.#client
      .subjects(project, { columns: ['ID', 'label'], ...options })
      .catch((error: unknown) => {
        throw error instanceof NotFoundError ? missing({ project }) : error
      })
    if (subject !== undefined && !rows.some(({ label }) => label === subject))
      throw missing({ project, subject })
  }

  /** @returns whether this state is now there, and was written by this call */
  async #claim(
    ref: AssessorRef,
    path: string,
    record: TaskRecord,
    summary: Summary,
    options: CallOptions,
  ): Promise<boolean> {
    const address = addressOf(ref.project)
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#client.uploadFile(address, path, formatRecord(record), {
          content: formatSummary(summary),
          ...options,
        })
        break
      } catch (error) {
        // The answer is lost, or the catalog was being changed: the next try finds the file if this one came through.
        if (!(error instanceof StoreUnavailableError) || attempt >= CLAIM_TRIES) throw error
      }
    }
    return await this.#isOurs(address, path, summary, options)
  }

  async #isOurs(
    address: ResourceAddress,
    path: string,
    { nonce }: Summary,
    options: CallOptions,
  ): Promise<boolean> {
    const found = (await this.#client.files(address, options)).find((file) => file.path === path)
    if (found === undefined) {
      throw new AccessDeniedError(
        `XNAT took a record and did not store it: user may not write to ${printable(path)}.`,
        { hint: 'Ask an owner of the project for the role of a member.' },
      )
    }
    return parseSummary(found.content)?.nonce === nonce
  }

  /** Two states stay: the one that counts, and the one before it, which others may be about to follow. */
  async #clearOlder(ref: AssessorRef, paths: readonly string[], options: CallOptions): Promise<void> {
    for (const path of paths) {
      try {
        await this.#client.deleteFile(addressOf(ref.project), path, options)
      } catch (error) {
        // Members may not delete; older states do no harm.
        if (error instanceof AccessDeniedError) return
        throw error
      }
    }
  }

  async #indexOrEmpty(ref: AssessorRef, options: CallOptions): Promise<NodeRecordIndex> {
    try {
      return await this.index(ref.project, options)
    } catch (error) {
      if (error instanceof NotFoundError) return new Map()
      throw error
    }
  }

  async #record(ref: AssessorRef, entry: Entry, options: CallOptions): Promise<TaskRecord> {
    const path = `${pathOf(ref.project)}/${entry.path.split('/').map(encodeURIComponent).join('/')}`
    const { text } = await this.#client.send({ method: 'GET', path, ...options })
    return parseRecord(text, ref.assessor)
  }

  async #resources(ref: AssessorRef, options: CallOptions): Promise<readonly ResourceNode[]> {
    const { project, subject, assessor } = ref
    const listed = await this.#client.resources(
      { project, ...(subject !== undefined && { subject }) },
      options,
    )
    return listed
      .filter(({ label }) => label.startsWith(`${assessor}${JOINT}`))
      .map(({ label, fileCount, bytes }) => ({
        label: label.slice(assessor.length + JOINT.length),
        ...(fileCount !== undefined && { fileCount }),
        ...(bytes !== undefined && { bytes }),
      }))
  }
}

function addressOf(project: string): ResourceAddress {
  return { node: { project }, resource: OWN_RESOURCE }
}

function pathOf(project: string): string {
  return `/data/projects/${encodeURIComponent(project)}/resources/${OWN_RESOURCE}/files`
}

/** `subjects/S/` or `project/`. */
function folderOf({ subject }: ArchiveRef): string {
  return subject === undefined ? 'project/' : `subjects/${subject}/`
}

function keyOf(ref: AssessorRef): string {
  return `${folderOf(ref)}${ref.assessor}`
}

function numbered(number: number): string {
  return `${String(number).padStart(6, '0')}.json`
}

function indexOf(files: readonly XnatFile[]): NodeRecordIndex {
  const index = new Map<string, Entry>()
  for (const { path, content } of files) {
    const [, key, digits] = /^((?:project|subjects\/[^/]+)\/[^/]+)\/(\d{6,})\.json$/.exec(path) ?? []
    const summary = parseSummary(content)
    if (key === undefined || digits === undefined || summary === undefined) continue
    const number = Number(digits)
    const other = index.get(key)
    if (other === undefined) index.set(key, { path, number, summary, older: [] })
    else if (other.number > number) index.set(key, { ...other, older: [...other.older, path] })
    else index.set(key, { path, number, summary, older: [...other.older, other.path] })
  }
  return index
}

function toNode(label: string, { summary }: Entry, resources: readonly ResourceNode[]): AssessorNode {
  const plain = resources.map((one) =>
    one.label.startsWith(`${label}${JOINT}`)
      ? { ...one, label: one.label.slice(label.length + JOINT.length) }
      : one,
  )
  return {
    label,
    procType: summary.procType,
    ...(summary.procVersion !== '' && { procVersion: summary.procVersion }),
    state: summary.state,
    statusWord: summary.statusWord,
    ...(summary.cause !== undefined && { cause: summary.cause }),
    attempt: summary.attempt,
    ...(summary.retryAtMs !== undefined && { retryAtMs: summary.retryAtMs }),
    quality: summary.quality ?? '',
    resources: sortResources(plain),
    ...(summary.scans !== undefined && { scans: summary.scans }),
    revision: summary.nonce,
  }
}

/** As a reader would get it: nobody's later change to the object shows. */
function copyOf(record: TaskRecord): TaskRecord {
  return JSON.parse(JSON.stringify(record)) as TaskRecord
}
