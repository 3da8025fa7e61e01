/** Assessors on sessions: made once, changed only by those who have seen the last state. */

import {
  ConflictError,
  FINAL_STATES,
  NotFoundError,
  StoreUnavailableError,
  formatRef,
  isAbort,
  printable,
  statusWordOf,
  type AssessorChange,
  type AssessorDetail,
  type AssessorInit,
  type AssessorNode,
  type CallOptions,
  type StatusVocabulary,
  type TaskRecord,
} from '@orbweaver/core'
import { checkNewLabel } from '../client/address.js'
import type { XnatClient } from '../client/client.js'
import type { XnatItem } from '../client/item.js'
import { oneAtATime } from '../client/lock.js'
import {
  GEN_PROC,
  QC,
  assessorId,
  assessorXml,
  fieldsOfItem,
  formatRecord,
  isGenProc,
  isoDate,
  recordOfItem,
  toAssessorNode,
  type AssessorFields,
  type AssessorType,
} from './document.js'
import { missing, type AssessorRef, type Places, type SessionRef } from './places.js'
import { formatNote, newNonce, parseSummary, reasonIn, summaryOf } from './summary.js'

const CREATE_TRIES = 4

export interface AssessorsContext {
  readonly client: XnatClient
  readonly places: Places
  readonly words: StatusVocabulary
  /** Data types of the site. */
  types(options: CallOptions): Promise<ReadonlySet<string>>
}

type OnSession = AssessorRef & SessionRef

/** How long it is believed which resources an assessor lacked; uploads follow a change of state at once. */
const BELIEVED_MS = 60_000
const MOST_BELIEVED = 2000

export class Assessors {
  readonly #context: AssessorsContext
  /** Labels of the resources that were there, and when that was seen. */
  readonly #seen = new Map<string, { readonly labels: Set<string>; readonly atMs: number }>()
  /** What was written here last, by assessor. */
  readonly #written = new Map<string, { readonly nonce: string; readonly before: string }>()

  constructor(context: AssessorsContext) {
    this.#context = context
  }

  async read(ref: OnSession, options: CallOptions): Promise<AssessorDetail> {
    const item = await this.#item(ref, options)
    const record = recordOfItem(item)
    return { node: toAssessorNode(fieldsOfItem(item), ref.session), ...(record !== undefined && { record }) }
  }

  /** Whether the assessor had no such resource a moment ago: then there is nothing to compare an upload with. */
  lacks(ref: OnSession, resource: string): boolean {
    const seen = this.#seen.get(formatRef(ref))
    return seen !== undefined && performance.now() - seen.atMs < BELIEVED_MS && !seen.labels.has(resource)
  }

  /** An upload has begun: whatever it leaves is to be compared with next time. */
  touched(ref: OnSession, resource: string): void {
    this.#seen.get(formatRef(ref))?.labels.add(resource)
  }

  #see(ref: OnSession, fields: AssessorFields): void {
    const key = formatRef(ref)
    const labels = new Set(fields.resources.map(({ label }) => label))
    this.#seen.delete(key)
    this.#seen.set(key, { labels, atMs: performance.now() })
    const [oldest] = this.#seen.keys()
    if (this.#seen.size > MOST_BELIEVED && oldest !== undefined) this.#seen.delete(oldest)
  }

  /** @throws NotFoundError */
  async exists(ref: OnSession, options: CallOptions): Promise<void> {
    await this.#item(ref, options)
  }

  async create(
    ref: OnSession,
    init: AssessorInit,
    options: CallOptions,
  ): Promise<AssessorDetail & { readonly created: boolean }> {
    const { client, places, words } = this.#context
    checkNewLabel(ref.assessor, 'assessor')
    const type = await this.#type(options)
    const { record } = init
    const statusWord = statusWordOf(record.state, words, record.cause?.kind)
    const summary = summaryOf(record, statusWord, init.scans)
    const note = formatNote(record.reason, summary)
    const made = await places.inSession(ref, options, async (sessionId) => {
      const id = assessorId(ref, sessionId)
      const xml = assessorXml({
        type,
        id,
        label: ref.assessor,
        project: ref.project,
        sessionId,
        note,
        record,
        statusWord,
        date: isoDate(record.createdAtMs),
        scans: init.scans,
      })
      for (let attempt = 1; ; attempt += 1) {
        try {
          await client.createAssessor({ experiment: sessionId }, xml, options)
          return id
        } catch (error) {
          if (error instanceof ConflictError) return undefined
          if (!(error instanceof StoreUnavailableError) || attempt >= CREATE_TRIES) throw error
          // The answer got lost: it may be there, made by this very call.
          const there = await this.#findItem(ref, sessionId, options)
          if (there === undefined) continue
          return parseSummary(fieldsOfItem(there).note)?.nonce === summary.nonce ? id : undefined
        }
      }
    })
    if (made === undefined) return { ...(await this.read(ref, options)), created: false }
    const fields: AssessorFields = {
      id: made,
      label: ref.assessor,
      xsiType: type,
      note,
      quality: '',
      ...procFields(type, record, statusWord),
      inputs: '',
      resources: [],
    }
    return { node: toAssessorNode(fields, ref.session), record: copyOf(record), created: true }
  }

  async update(
    ref: OnSession,
    change: AssessorChange,
    revision: string,
    options: CallOptions,
  ): Promise<AssessorNode> {
    const { client, places, words } = this.#context
    return await places.inSession(ref, options, (sessionId) =>
      oneAtATime(
        `${client.url} assessor ${sessionId} ${ref.assessor}`,
        async () => {
          const item = await this.#findItem(ref, sessionId, options)
          if (item === undefined) throw missing(ref)
          const before = fieldsOfItem(item)
          this.#see(ref, before)
          const node = toAssessorNode(before, ref.session)
          this.#checkNotOverwritten(ref, before, node.revision)
          if (node.revision !== revision) throw changed(ref, node.revision, revision)
          const { record, quality } = change
          const after = changedFields(before, change, words)
          await client.putDocument(
            { experiment: sessionId, assessor: ref.assessor },
            assessorXml({
              type: before.xsiType,
              id: before.id,
              label: before.label,
              project: ref.project,
              sessionId,
              ...(after.note !== before.note && { note: after.note }),
              ...(quality !== undefined && { quality }),
              ...(record !== undefined && {
                record,
                statusWord: statusWordOf(record.state, words, record.cause?.kind),
              }),
            }),
            options,
          )
          this.#remember(ref, after)
          if (record !== undefined && FINAL_STATES.has(record.state)) {
            await this.#checkLastWrite(ref, sessionId, options)
          }
          return toAssessorNode(after, ref.session)
        },
        options,
      ),
    )
  }

  /** Nobody writes after this: what another wrote in the same moment shows now or never. */
  async #checkLastWrite(ref: OnSession, sessionId: string, options: CallOptions): Promise<void> {
    let now: XnatItem | undefined
    try {
      now = await this.#findItem(ref, sessionId, options)
    } catch (error) {
      // The write was acknowledged; it does not become undone because it cannot be looked at now.
      if (error instanceof StoreUnavailableError) return
      throw error
    }
    if (now === undefined) throw missing(ref)
    const fields = fieldsOfItem(now)
    this.#checkNotOverwritten(ref, fields, toAssessorNode(fields, ref.session).revision)
  }

  #remember(ref: OnSession, { note }: AssessorFields): void {
    const { nonce, before } = parseSummary(note) ?? {}
    if (nonce === undefined || before === undefined) return
    const key = formatRef(ref)
    this.#written.delete(key)
    this.#written.set(key, { nonce, before })
    const [oldest] = this.#written.keys()
    if (this.#written.size > MOST_BELIEVED && oldest !== undefined) this.#written.delete(oldest)
  }

  /**
   * XNAT has no "change it only if it is as I read it": between our last look and our write another may write as well, and the
   * later write stays. It shows in what each says it replaced.
   *
   * @throws ConflictError with `overwritten` in its details: another engine replaced the very state that we had replaced
   */
  #checkNotOverwritten(ref: OnSession, now: AssessorFields, revision: string): void {
    const key = formatRef(ref)
    const mine = this.#written.get(key)
    const theirs = parseSummary(now.note)
    if (mine === undefined || theirs === undefined) return
    if (theirs.nonce === mine.nonce || theirs.before !== mine.before) return
    // Told once; from here on theirs is what is there.
    this.#written.delete(key)
    throw new ConflictError(
      `Assessor ${printable(key)} was written by another engine in the same moment, over what was written here: two engines with different work roots serve this project.`,
      { details: { ref: key, revision, overwritten: true }, hint: 'End one of the two.' },
    )
  }

  async remove(ref: OnSession, options: CallOptions): Promise<void> {
    this.#seen.delete(formatRef(ref))
    try {
      await this.#context.places.inSession(ref, options, async (experiment) => {
        await this.#context.client.remove({ experiment, assessor: ref.assessor }, options)
      })
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
    }
  }

  async #type(options: CallOptions): Promise<AssessorType> {
    return (await this.#context.types(options)).has(GEN_PROC) ? GEN_PROC : QC
  }

  async #item(ref: OnSession, options: CallOptions): Promise<XnatItem> {
    return await this.#context.places.inSession(ref, options, async (sessionId) => {
      const item = await this.#findItem(ref, sessionId, options)
      if (item === undefined) throw missing(ref)
      return item
    })
  }

  /** XNAT answers to an assessor's id as well as to its label: only the label counts here. */
  async #findItem(ref: OnSession, experiment: string, options: CallOptions): Promise<XnatItem | undefined> {
    try {
      const item = await this.#context.client.item({ experiment, assessor: ref.assessor }, options)
      return item.fields.label === ref.assessor ? item : undefined
    } catch (error) {
      if (error instanceof NotFoundError && !isAbort(error)) return undefined
      throw error
    }
  }
}

function changedFields(
  before: AssessorFields,
  { record, quality }: AssessorChange,
  words: StatusVocabulary,
): AssessorFields {
  const old = parseSummary(before.note)
  const fields = quality === undefined ? before : { ...before, quality }
  if (record === undefined) {
    // Not one of ours: the verdict alone is written, its own note stays.
    if (old === undefined) return fields
    const summary = { ...old, nonce: newNonce(), before: old.nonce }
    return { ...fields, note: formatNote(reasonIn(before.note), summary) }
  }
  const statusWord = statusWordOf(record.state, words, record.cause?.kind)
  return {
    ...fields,
    note: formatNote(record.reason, {
      ...summaryOf(record, statusWord, old?.scans),
      ...(old !== undefined && { before: old.nonce }),
    }),
    ...procFields(before.xsiType, record, statusWord),
  }
}

/** The plugin's type has fields of its own; in others the note says it. */
function procFields(
  xsiType: string,
  { procType, procVersion }: TaskRecord,
  procStatus: string,
): Pick<AssessorFields, 'procType' | 'procVersion' | 'procStatus'> {
  return isGenProc(xsiType)
    ? { procType, procVersion, procStatus }
    : { procType: '', procVersion: '', procStatus: '' }
}

function changed(ref: AssessorRef, now: string, read: string): ConflictError {
  return new ConflictError(`Assessor ${printable(formatRef(ref))} was changed since it was read.`, {
    details: { ref: formatRef(ref), revision: now, read },
  })
}

/** As a reader would get it: nobody's later change to the object shows. */
function copyOf(record: TaskRecord): TaskRecord {
  return JSON.parse(formatRecord(record)) as TaskRecord
}
