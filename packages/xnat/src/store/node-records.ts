/**
 * Results of subject- and project-level processors. Their records are files of one resource of the project: one listing tells
 * the states of all of them. Each state is a file of its own, numbered; XNAT does not replace a file unless told to, so of two
 * that write the next state exactly one succeeds.
 *
 * Where the site has `proc:subjGenProcData`, a result on a subject is an experiment of that type as well: it shows DAX's words
 * to people, takes their verdict, and holds the files. Elsewhere, and on projects, the files are resources of the subject or
 * project. A result stays where it was made when the site gets the type later.
 */

import {
  ConflictError,
  NotFoundError,
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
import type { XnatClient } from '../client/client.js'
import { SUBJECT_GEN_PROC, sortResources, toAssessorNode, type AssessorFields } from './document.js'
import { JOINT, missing, type AssessorRef } from './places.js'
import { RecordFiles, folderOf, keyOf, pathOf, type RecordEntry, type RecordIndex } from './record-files.js'
import {
  SubjectExperiments,
  addressOf as experimentOf,
  isOnSubject,
  type OnSubject,
} from './subject-experiments.js'
import { formatNote, newNonce, parseSummary, summaryOf, type Summary } from './summary.js'

/** Of how many results it is remembered where their files are. */
const REMEMBERED = 5000

interface Experiment {
  readonly ref: OnSubject
  readonly fields: AssessorFields
}

type Found =
  | { readonly entry: RecordEntry; readonly experiment?: undefined }
  | { readonly entry: RecordEntry; readonly experiment: Experiment }
  | { readonly entry?: undefined; readonly experiment: Experiment }

export class NodeRecords {
  readonly #client: XnatClient
  readonly #words: StatusVocabulary
  readonly #experiments: SubjectExperiments
  /** The records themselves. */
  readonly files: RecordFiles
  /** Whether a result on a subject is an experiment. */
  readonly #homes = new Map<string, boolean>()

  constructor(
    client: XnatClient,
    words: StatusVocabulary,
    types: (options: CallOptions) => Promise<ReadonlySet<string>>,
  ) {
    this.#client = client
    this.#words = words
    this.#experiments = new SubjectExperiments(client, types)
    this.files = new RecordFiles(client)
  }

  /** Where the resource of a result lies. */
  async resourceOf(ref: AssessorRef, resource: string, options: CallOptions): Promise<ResourceAddress> {
    if (isOnSubject(ref) && (await this.#isExperiment(ref, options))) {
      return { node: experimentOf(ref), resource }
    }
    const { project, subject, assessor } = ref
    return {
      node: { project, ...(subject !== undefined && { subject }) },
      resource: `${assessor}${JOINT}${resource}`,
    }
  }

  async #isExperiment(ref: OnSubject, options: CallOptions): Promise<boolean> {
    const known = this.#homes.get(formatRef(ref))
    if (known !== undefined) return known
    if (!(await this.#experiments.isThere(options))) return false
    const entry = (await this.files.indexOrEmpty(ref.project, options)).get(keyOf(ref))
    const is =
      entry === undefined
        ? (await this.#experiments.find(ref, options)) !== undefined
        : entry.summary.onExperiment === true
    // What is not there yet may come to be the one or the other.
    if (entry !== undefined || is) this.#remember(ref, is)
    return is
  }

  #remember(ref: ArchiveRef, isExperiment: boolean): void {
    const key = formatRef(ref)
    this.#homes.delete(key)
    this.#homes.set(key, isExperiment)
    const [oldest] = this.#homes.keys()
    if (this.#homes.size > REMEMBERED && oldest !== undefined) this.#homes.delete(oldest)
  }

  /**
   * Nodes of the results on a subject, or on the project itself.
   *
   * @param resources - of that subject or project
   * @param experiments - processing results that are experiments of the subject
   */
  nodes(
    index: RecordIndex,
    ref: ArchiveRef,
    resources: readonly ResourceNode[],
    experiments: readonly AssessorFields[] = [],
  ): { readonly assessors: readonly AssessorNode[]; readonly resources: readonly ResourceNode[] } {
    const start = folderOf(ref)
    const assessors: AssessorNode[] = []
    const taken = new Set<string>()
    for (const [key, entry] of index) {
      if (!key.startsWith(start) || entry.summary.onExperiment === true) continue
      const label = key.slice(start.length)
      const own = resources.filter((one) => one.label.startsWith(`${label}${JOINT}`))
      for (const one of own) taken.add(one.label)
      assessors.push(toNode(label, entry, own))
    }
    for (const fields of experiments) {
      const entry = index.get(`${start}${fields.label}`)
      if (entry !== undefined && entry.summary.onExperiment !== true) continue
      this.#remember({ ...ref, assessor: fields.label }, true)
      assessors.push(toExperimentNode(fields, entry?.summary))
    }
    assessors.sort((a, b) => (a.label < b.label ? -1 : 1))
    return { assessors, resources: sortResources(resources.filter(({ label }) => !taken.has(label))) }
  }

  /** @throws NotFoundError */
  async exists(ref: AssessorRef, options: CallOptions): Promise<void> {
    await this.#found(ref, options)
  }

  /** A record, the experiment that it belongs to, or both; never none. */
  async #found(ref: AssessorRef, options: CallOptions): Promise<Found> {
    const entry = (await this.files.indexOrEmpty(ref.project, options)).get(keyOf(ref))
    if (entry !== undefined && entry.summary.onExperiment !== true) return { entry }
    if (!isOnSubject(ref) || !(await this.#experiments.isThere(options))) throw missing(ref)
    // Deleted by a person in XNAT: the record that is left counts for nothing.
    const fields = await this.#experiments.find(ref, options)
    if (fields === undefined) throw missing(ref)
    this.#remember(ref, true)
    const experiment = { ref, fields }
    return entry === undefined ? { experiment } : { entry, experiment }
  }

  async read(ref: AssessorRef, options: CallOptions): Promise<AssessorDetail> {
    const { entry, experiment } = await this.#found(ref, options)
    const node =
      experiment === undefined
        ? toNode(ref.assessor, entry, await this.#resources(ref, options))
        : toExperimentNode(experiment.fields, entry?.summary)
    return entry === undefined ? { node } : { node, record: await this.files.record(ref, entry, options) }
  }

  async create(
    ref: AssessorRef,
    init: AssessorInit,
    options: CallOptions,
  ): Promise<AssessorDetail & { readonly created: boolean }> {
    checkNewLabel(ref.assessor, 'assessor')
    await this.parentExists(ref, options)
    const { record } = init
    const word = statusWordOf(record.state, this.#words, record.cause?.kind)
    const subject = isOnSubject(ref) && (await this.#experiments.isThere(options)) ? ref : undefined
    let there = (await this.files.index(ref.project, options)).get(keyOf(ref))
    if (there !== undefined && subject !== undefined && (await this.#wasDeleted(subject, there, options))) {
      await this.files.remove(ref.project, there, options)
      there = undefined
    }
    if (there === undefined) {
      const summary: Summary = {
        ...summaryOf(record, word, init.scans),
        ...(subject !== undefined && { onExperiment: true }),
      }
      const path = pathOf(ref, 1)
      if (await this.files.claim(ref, path, record, summary, options)) {
        const made = { record: copyOf(record), created: true }
        const entry: RecordEntry = { path, number: 1, summary, older: [] }
        if (subject === undefined) return { node: toNode(ref.assessor, entry, []), ...made }
        return {
          node: toExperimentNode(await this.#make(subject, record, summary, options), summary),
          ...made,
        }
      }
    } else if (subject !== undefined && there.summary.onExperiment === true && there.number === 1) {
      // Whoever made the record may have come no further.
      await this.#make(subject, await this.files.record(ref, there, options), there.summary, options)
    }
    return { ...(await this.read(ref, options)), created: false }
  }

  async #make(
    ref: OnSubject,
    record: TaskRecord,
    summary: Summary,
    options: CallOptions,
  ): Promise<AssessorFields> {
    const { statusWord } = summary
    const note = formatNote(record.reason, summary)
    const fields = await this.#experiments.make(ref, record, { note, statusWord }, options)
    this.#remember(ref, true)
    return fields
  }

  /** A person has deleted the experiment of a result that was worked on. */
  async #wasDeleted(
    ref: OnSubject,
    { summary, number }: RecordEntry,
    options: CallOptions,
  ): Promise<boolean> {
    return (
      summary.onExperiment === true &&
      number > 1 &&
      (await this.#experiments.find(ref, options)) === undefined
    )
  }

  async update(
    ref: AssessorRef,
    change: AssessorChange,
    revision: string,
    options: CallOptions,
  ): Promise<AssessorNode> {
    const { entry, experiment } = await this.#found(ref, options)
    const before =
      experiment === undefined
        ? toNode(ref.assessor, entry, await this.#resources(ref, options))
        : toExperimentNode(experiment.fields, entry?.summary)
    const conflict = (): ConflictError =>
      new ConflictError(`Assessor ${printable(formatRef(ref))} was changed since it was read.`, {
        details: { ref: formatRef(ref), revision: before.revision, read: revision },
      })
    if (before.revision !== revision) throw conflict()
    if (entry === undefined) return await this.#judge(experiment, change, options)
    const record = change.record ?? (await this.files.record(ref, entry, options))
    const word = statusWordOf(record.state, this.#words, record.cause?.kind)
    const quality = experiment === undefined ? (change.quality ?? entry.summary.quality) : undefined
    const summary: Summary = {
      ...(change.record === undefined
        ? { ...entry.summary, nonce: newNonce() }
        : summaryOf(record, word, entry.summary.scans)),
      ...(quality !== undefined && { quality }),
      ...(experiment !== undefined && { onExperiment: true }),
    }
    const path = pathOf(ref, entry.number + 1)
    if (!(await this.files.claim(ref, path, record, summary, options))) throw conflict()
    await this.files.clearOlder(ref.project, entry.older, options)
    if (experiment === undefined) {
      return toNode(ref.assessor, { path, number: entry.number + 1, summary, older: [] }, before.resources)
    }
    const { fields } = experiment
    const note = formatNote(record.reason, summary)
    // A word that a person wrote stays until the engine has one of its own.
    const isKept = change.record === undefined && isCurrent(fields, entry.summary)
    const written = isKept ? {} : { record, statusWord: word }
    const verdict = change.quality === undefined ? {} : { quality: change.quality }
    await this.#experiments.write(experiment.ref, fields, { note, ...written, ...verdict }, options)
    const procStatus = isKept ? fields.procStatus : word
    return toExperimentNode({ ...fields, note, procStatus, ...verdict }, summary)
  }

  /** The verdict on a result of another program. */
  async #judge(
    { ref, fields }: Experiment,
    { quality }: AssessorChange,
    options: CallOptions,
  ): Promise<AssessorNode> {
    if (quality === undefined) return toExperimentNode(fields, undefined)
    await this.#experiments.write(ref, fields, { quality }, options)
    return toExperimentNode({ ...fields, quality }, undefined)
  }

  async remove(ref: AssessorRef, options: CallOptions): Promise<void> {
    const entry = (await this.files.indexOrEmpty(ref.project, options)).get(keyOf(ref))
    if (isOnSubject(ref) && (await this.#isExperiment(ref, options))) {
      await this.#experiments.remove(ref, options)
    } else if (entry !== undefined) {
      for (const { label } of await this.#resources(ref, options)) {
        await this.#client.deleteResource(await this.resourceOf(ref, label, options), options)
      }
    }
    this.#homes.delete(formatRef(ref))
    if (entry !== undefined) await this.files.remove(ref.project, entry, options)
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

function toNode(label: string, { summary }: RecordEntry, resources: readonly ResourceNode[]): AssessorNode {
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

/** Whether the experiment has the words of this very state of the record. */
function isCurrent({ note }: AssessorFields, { nonce }: Summary): boolean {
  return parseSummary(note)?.nonce === nonce
}

/**
 * A result that is an experiment. The record beside it is newer when its line is not the one in the note: then the words of
 * the experiment are yet to be written, or a crash kept them from that.
 */
function toExperimentNode(fields: AssessorFields, summary: Summary | undefined): AssessorNode {
  if (summary === undefined) return toAssessorNode(fields, '')
  const procStatus = isCurrent(fields, summary) ? fields.procStatus : summary.statusWord
  const { procType, procVersion } = summary
  const note = formatNote('', summary)
  return toAssessorNode({ ...fields, xsiType: SUBJECT_GEN_PROC, note, procStatus, procType, procVersion }, '')
}

/** As a reader would get it: nobody's later change to the object shows. */
function copyOf(record: TaskRecord): TaskRecord {
  return JSON.parse(JSON.stringify(record)) as TaskRecord
}
