/**
 * Records of results, as files of one resource of the project: one listing tells the states of all of them. Each state is a
 * file of its own, numbered; XNAT does not replace a file unless told to, so of two that write the next state exactly one
 * succeeds.
 */

import {
  AccessDeniedError,
  NotFoundError,
  StoreUnavailableError,
  printable,
  type ArchiveRef,
  type CallOptions,
  type TaskRecord,
} from '@orbweaver/core'
import type { ResourceAddress } from '../client/address.js'
import type { XnatClient } from '../client/client.js'
import type { XnatFile } from '../client/listed.js'
import { OWN_RESOURCE, formatRecord, parseRecord } from './document.js'
import type { AssessorRef } from './places.js'
import { formatSummary, parseSummary, type Summary } from './summary.js'

const CLAIM_TRIES = 4

/** The latest state of one result. */
export interface RecordEntry {
  readonly path: string
  readonly number: number
  readonly summary: Summary
  /** Numbers of older states that are still there. */
  readonly older: readonly string[]
}

/** All records of a project, by {@link keyOf}. */
export type RecordIndex = ReadonlyMap<string, RecordEntry>

export class RecordFiles {
  readonly #client: XnatClient

  constructor(client: XnatClient) {
    this.#client = client
  }

  /** @throws NotFoundError no such project */
  async index(project: string, options: CallOptions): Promise<RecordIndex> {
    return indexOf(await this.#client.files(addressOf(project), options))
  }

  /** @returns whether this state is now there, and was written by this call */
  async claim(
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
  async clearOlder(project: string, paths: readonly string[], options: CallOptions): Promise<void> {
    for (const path of paths) {
      try {
        await this.#client.deleteFile(addressOf(project), path, options)
      } catch (error) {
        // Members may not delete; older states do no harm.
        if (error instanceof AccessDeniedError) return
        throw error
      }
    }
  }

  /** Of a project that is not there: none. */
  async indexOrEmpty(project: string, options: CallOptions): Promise<RecordIndex> {
    try {
      return await this.index(project, options)
    } catch (error) {
      if (error instanceof NotFoundError) return new Map()
      throw error
    }
  }

  async record(ref: AssessorRef, entry: RecordEntry, options: CallOptions): Promise<TaskRecord> {
    const path = `${filesOf(ref.project)}/${entry.path.split('/').map(encodeURIComponent).join('/')}`
    const { text } = await this.#client.send({ method: 'GET', path, ...options })
    return parseRecord(text, ref.assessor)
  }

  /** The newest last: as long as it is there, the record is. */
  async remove(project: string, { older, path }: RecordEntry, options: CallOptions): Promise<void> {
    for (const file of [...older, path]) await this.#client.deleteFile(addressOf(project), file, options)
  }
}

function addressOf(project: string): ResourceAddress {
  return { node: { project }, resource: OWN_RESOURCE }
}

function filesOf(project: string): string {
  return `/data/projects/${encodeURIComponent(project)}/resources/${OWN_RESOURCE}/files`
}

/** `subjects/S/` or `project/`. */
export function folderOf({ subject }: ArchiveRef): string {
  return subject === undefined ? 'project/' : `subjects/${subject}/`
}

export function keyOf(ref: AssessorRef): string {
  return `${folderOf(ref)}${ref.assessor}`
}

/** Of a state of a result. */
export function pathOf(ref: AssessorRef, number: number): string {
  return `${keyOf(ref)}/${String(number).padStart(6, '0')}.json`
}

function indexOf(files: readonly XnatFile[]): RecordIndex {
  const index = new Map<string, RecordEntry>()
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
