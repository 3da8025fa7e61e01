/**
 * Results on subjects as people see them, where the site has `proc:subjGenProcData`: an experiment of the subject with DAX's
 * fields and words, which holds the files. The records are kept beside it: see `node-records.ts`.
 */

import {
  ConflictError,
  NotFoundError,
  StoreUnavailableError,
  type CallOptions,
  type TaskRecord,
} from '@orbweaver/core'
import { nodePath, type LabelAddress } from '../client/address.js'
import type { XnatClient } from '../client/client.js'
import {
  SUBJECT_GEN_PROC,
  assessorId,
  assessorXml,
  fieldsOfItem,
  isProcessing,
  isoDate,
  type AssessorFields,
} from './document.js'
import type { AssessorRef } from './places.js'

export type OnSubject = AssessorRef & { readonly subject: string }

export function isOnSubject(ref: AssessorRef): ref is OnSubject {
  return ref.subject !== undefined && ref.session === undefined
}

const CREATE_TRIES = 4

export class SubjectExperiments {
  readonly #client: XnatClient
  readonly #types: (options: CallOptions) => Promise<ReadonlySet<string>>

  constructor(client: XnatClient, types: (options: CallOptions) => Promise<ReadonlySet<string>>) {
    this.#client = client
    this.#types = types
  }

  /** Whether the site has the type. */
  async isThere(options: CallOptions): Promise<boolean> {
    return (await this.#types(options)).has(SUBJECT_GEN_PROC)
  }

  /** Undefined: no such experiment, or it is something else. */
  async find(ref: OnSubject, options: CallOptions): Promise<AssessorFields | undefined> {
    try {
      const fields = fieldsOfItem(await this.#client.item(addressOf(ref), options))
      // XNAT answers to an id as well as to a label.
      return fields.label === ref.assessor && isProcessing(fields.xsiType) ? fields : undefined
    } catch (error) {
      if (error instanceof NotFoundError) return undefined
      throw error
    }
  }

  /** Make it, or find it. @throws ConflictError the label is used by something else */
  async make(
    ref: OnSubject,
    record: TaskRecord,
    written: { readonly note: string; readonly statusWord: string },
    options: CallOptions,
  ): Promise<AssessorFields> {
    const body = assessorXml({
      type: SUBJECT_GEN_PROC,
      id: assessorId(ref, ref.subject),
      label: ref.assessor,
      project: ref.project,
      date: isoDate(record.createdAtMs),
      record,
      ...written,
    })
    const path = `${nodePath({ project: ref.project, subject: ref.subject })}/experiments`
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#client.send({
          method: 'POST',
          path,
          body,
          contentType: 'text/xml; charset=utf-8',
          ...options,
        })
      } catch (error) {
        const isLost = error instanceof StoreUnavailableError && attempt < CREATE_TRIES
        if (!isLost && !(error instanceof ConflictError)) throw error
      }
      const fields = await this.find(ref, options)
      if (fields !== undefined) return fields
      if (attempt >= CREATE_TRIES) {
        throw new ConflictError(`XNAT has another experiment in place of ${ref.assessor}.`, {
          details: { label: ref.assessor },
          hint: 'Rename or delete it in XNAT.',
        })
      }
    }
  }

  /** What is absent stays. */
  async write(
    ref: OnSubject,
    { id, label, xsiType }: AssessorFields,
    change: {
      readonly note?: string
      readonly quality?: string
      readonly record?: TaskRecord
      readonly statusWord?: string
    },
    options: CallOptions,
  ): Promise<void> {
    const xml = assessorXml({ type: xsiType, id, label, project: ref.project, ...change })
    await this.#client.putDocument(addressOf(ref), xml, options)
  }

  /** Gone already is no error. */
  async remove(ref: OnSubject, options: CallOptions): Promise<void> {
    await this.#client.remove(addressOf(ref), options)
  }
}

/** An experiment of the subject: where XNAT keeps sessions as well. */
export function addressOf({ project, subject, assessor }: OnSubject): LabelAddress {
  return { project, subject, session: assessor }
}
