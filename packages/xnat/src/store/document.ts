/** Assessors as XNAT stores them: what is written into which field of which data type, and back. */

import { createHash } from 'node:crypto'
import {
  StoreProtocolError,
  formatClock,
  stateOfStatusWord,
  type ArchiveRef,
  type AssessorNode,
  type ResourceNode,
  type TaskRecord,
} from '@orbweaver/core'
import { numberIn } from '../client/listed.js'
import type { XnatItem } from '../client/item.js'
import { unescapeHtml } from '../client/replies.js'
import { formatDaxInputs, readDaxInputs, scansOf } from './dax-inputs.js'
import { parseSummary, type Summary } from './summary.js'

/** The data type of DAX's plugin; its fields are what DAX's reports and pages read. */
export const GEN_PROC = 'proc:genProcData'
/** In every XNAT. */
export const QC = 'xnat:qcAssessmentData'
export type AssessorType = typeof GEN_PROC | typeof QC

export function isGenProc(xsiType: string | undefined): boolean {
  return xsiType?.toLowerCase() === GEN_PROC.toLowerCase()
}

/** The like of {@link GEN_PROC} for results that hang on a subject; a plugin of its own. */
export const SUBJECT_GEN_PROC = 'proc:subjGenProcData'

/** Either of the plugins' types. */
export function isProcessing(xsiType: string): boolean {
  return isGenProc(xsiType) || xsiType.toLowerCase() === SUBJECT_GEN_PROC.toLowerCase()
}

/** The parameter that holds the whole record. Its field is of XNAT's long text type. */
export const RECORD_PARAMETER = 'orbweaver'
/** A resource of our own on a node; never shown as one of its resources. */
export const OWN_RESOURCE = 'ORBWEAVER'

/** An assessor's fields, from a listing or from the item itself. */
export interface AssessorFields {
  readonly id: string
  readonly label: string
  readonly xsiType: string
  readonly note: string
  /** `validation/status`. */
  readonly quality: string
  /** Of `proc:genProcData` and its like; other types say it in the note, if at all. */
  readonly procType: string
  readonly procVersion: string
  readonly procStatus: string
  /** The plugin's field, as it was written. */
  readonly inputs: string
  readonly resources: readonly ResourceNode[]
}

/**
 * What a snapshot shows of an assessor.
 *
 * @param session - label of the session it hangs on; empty: it hangs on a subject
 */
export function toAssessorNode(fields: AssessorFields, session: string): AssessorNode {
  const summary = parseSummary(fields.note)
  const statusWord = fields.procStatus === '' ? (summary?.statusWord ?? '') : fields.procStatus
  // A word that somebody wrote by hand counts more than our line about the word before it.
  const ours = summary !== undefined && summary.statusWord === statusWord ? summary : undefined
  const state = ours?.state ?? stateOfStatusWord(statusWord)
  const procVersion = fields.procVersion === '' ? summary?.procVersion : fields.procVersion
  return {
    label: fields.label,
    procType: fields.procType === '' ? (summary?.procType ?? fields.xsiType) : fields.procType,
    ...(procVersion !== undefined && procVersion !== '' && { procVersion }),
    ...(state !== undefined && { state }),
    statusWord,
    ...(ours?.cause !== undefined && { cause: ours.cause }),
    attempt: summary?.attempt ?? 0,
    ...(ours?.retryAtMs !== undefined && { retryAtMs: ours.retryAtMs }),
    quality: fields.quality,
    resources: fields.resources,
    ...(summary === undefined
      ? madeElsewhere(fields, session)
      : summary.scans !== undefined && { scans: summary.scans }),
    revision: revisionOf(fields, summary),
  }
}

/** Of a processing result without our line: another program made it, and DAX's field says what from. */
function madeElsewhere(fields: AssessorFields, session: string): Pick<AssessorNode, 'inputs' | 'scans'> {
  if (!isProcessing(fields.xsiType)) return {}
  const inputs = readDaxInputs(fields.inputs)
  const scans = scansOf(inputs, { ...fields, session })
  return { inputs, ...(scans !== undefined && { scans }) }
}

/** Changes with each write of ours, and with each change that a person makes to status or verdict. */
function revisionOf(fields: AssessorFields, summary: Summary | undefined): string {
  const others = [fields.id, fields.procStatus, fields.quality, summary === undefined ? fields.note : '']
  const hash = createHash('sha256').update(others.join('\n')).digest('hex').slice(0, 10)
  return `${summary?.nonce ?? ''}.${hash}`
}

/** Resources in the order of their labels, without our own. */
export function sortResources(resources: readonly ResourceNode[]): readonly ResourceNode[] {
  return resources
    .filter(({ label }) => label !== '' && label !== OWN_RESOURCE)
    .sort((a, b) => (a.label < b.label ? -1 : a.label > b.label ? 1 : 0))
}

export function toResourceNode(
  label: string,
  fileCount: string | undefined,
  bytes: string | undefined,
): ResourceNode {
  const count = numberIn(fileCount)
  const size = numberIn(bytes)
  return {
    label,
    ...(count !== undefined && { fileCount: count }),
    ...(size !== undefined && { bytes: size }),
  }
}

/** From `GET …/assessors/A?format=json`. */
export function fieldsOfItem(item: XnatItem): AssessorFields {
  const { fields, children } = item
  return {
    id: fields.ID ?? fields.id ?? '',
    label: fields.label ?? '',
    xsiType: item.xsiType,
    note: fields.note ?? '',
    quality: fields['validation/status'] ?? children.validation?.[0]?.fields.status ?? '',
    procType: fields.proctype ?? '',
    procVersion: fields.procversion ?? '',
    procStatus: fields.procstatus ?? '',
    inputs: fields.inputs ?? '',
    resources: sortResources(
      (children['out/file'] ?? children['resources/resource'] ?? []).map(({ fields: of }) =>
        toResourceNode(of.label ?? '', of.file_count, of.file_size),
      ),
    ),
  }
}

/** Undefined: not one of ours. */
export function recordOfItem(item: XnatItem): TaskRecord | undefined {
  const parameters = item.children['parameters/addParam'] ?? []
  const found = parameters.find(({ fields }) => fields.name === RECORD_PARAMETER)
  const text = found?.fields.addField ?? found?.fields.addfield
  return text === undefined ? undefined : parseRecord(text, item.fields.label ?? '')
}

export function parseRecord(text: string, label: string): TaskRecord {
  for (const candidate of [text, unescapeHtml(text)]) {
    try {
      const record: unknown = JSON.parse(candidate)
      if (typeof record === 'object' && record !== null) return record as TaskRecord
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
    }
  }
  throw new StoreProtocolError(`The record of assessor ${label} cannot be read.`, {
    details: { label, raw: text.slice(0, 200) },
    hint: `Somebody changed its parameter "${RECORD_PARAMETER}" in XNAT. Delete the assessor to have it made again.`,
  })
}

/** JSON in ASCII: no encoding on the way can spoil it. */
export function formatRecord(record: TaskRecord): string {
  return JSON.stringify(record).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** What is written; absent: not touched. */
export interface AssessorDocument {
  readonly type: string
  readonly id: string
  readonly label: string
  readonly project: string
  /** XNAT's id of the session it hangs on; absent: it hangs on the subject of its address. */
  readonly sessionId?: string
  readonly note?: string
  readonly quality?: string
  readonly record?: TaskRecord
  readonly statusWord?: string
  /** `YYYY-MM-DD`, of a new one. */
  readonly date?: string
  readonly scans?: readonly string[]
}

const ROOT: Readonly<Record<string, string>> = {
  [GEN_PROC]: 'proc:Processing',
  [SUBJECT_GEN_PROC]: 'proc:SubjectProcessing',
  [QC]: 'xnat:QCAssessment',
}

/** The elements stand in the order of XNAT's schemas (`xnat.xsd`, `proc.xsd`). */
export function assessorXml(document: AssessorDocument): string {
  const { type, id, label, project, sessionId, note, quality, record, date, scans } = document
  const root = ROOT[type]
  if (root === undefined) {
    throw new StoreProtocolError(`Assessors of type ${type} are read, not written.`, {
      details: { type, label },
    })
  }
  const lines = [
    date === undefined ? '' : element('xnat:date', date),
    note === undefined ? '' : element('xnat:note', note),
    quality === undefined ? '' : `<xnat:validation status="${escapeXml(quality)}"/>`,
    sessionId === undefined ? '' : element('xnat:imageSession_ID', sessionId),
    // Only what hangs on a session has parameters.
    record === undefined || sessionId === undefined
      ? ''
      : `<xnat:parameters><xnat:addParam name="${RECORD_PARAMETER}">${escapeXml(formatRecord(record))}</xnat:addParam></xnat:parameters>`,
    ...(type === QC ? qcScans(scans) : genProcFields(document)),
  ]
  const typeAttribute =
    type === QC && record !== undefined ? ` type="${escapeXml(record.procType.slice(0, 255))}"` : ''
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns:xnat="http://nrg.wustl.edu/xnat" xmlns:proc="http://nrg.wustl.edu/proc" ` +
    `ID="${escapeXml(id)}" project="${escapeXml(project)}" label="${escapeXml(label)}"${typeAttribute}>\n` +
    `${lines.filter((line) => line !== '').join('\n')}\n</${root}>\n`
  )
}

function qcScans(scans: readonly string[] | undefined): string[] {
  if (scans === undefined || scans.length === 0) return []
  return [`<xnat:scans>${scans.map((scan) => `<xnat:scan id="${escapeXml(scan)}"/>`).join('')}</xnat:scans>`]
}

/** The words and forms that DAX writes: see its reports for what reads them. */
function genProcFields({ record, statusWord }: AssessorDocument): string[] {
  if (record === undefined) return []
  const { job } = record
  const inputs = formatDaxInputs(record)
  const memoryMb = job?.peakMemoryBytes === undefined ? undefined : Math.ceil(job.peakMemoryBytes / 1024 ** 2)
  const fields: readonly (readonly [string, string | undefined])[] = [
    ['procstatus', statusWord],
    ['proctype', record.procType],
    ['procversion', record.procVersion],
    ['jobid', job?.id],
    ['walltimeused', job?.elapsedSeconds === undefined ? undefined : formatClock(job.elapsedSeconds)],
    ['memusedmb', memoryMb === undefined ? undefined : String(memoryMb)],
    ['jobstartdate', job?.startedAtMs === undefined ? undefined : isoDate(job.startedAtMs)],
    ['memused', job?.peakMemoryBytes === undefined ? undefined : `${Math.ceil(job.peakMemoryBytes / 1024)}K`],
    ['jobnode', job?.node],
    ['inputs', inputs],
  ]
  return fields.flatMap(([name, value]) =>
    value === undefined ? [] : [element(`proc:${name}`, name === 'inputs' ? value : value.slice(0, 255))],
  )
}

export function isoDate(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

/** XNAT's id for an assessor of ours: the same for all who would make it, so that it cannot be made twice. */
export function assessorId(ref: ArchiveRef, sessionId: string): string {
  const text = [ref.project, sessionId, ref.assessor].join('\n')
  return `OW_${createHash('sha256').update(text).digest('hex').slice(0, 24)}`
}

function element(name: string, text: string): string {
  return `<${name}>${escapeXml(text)}</${name}>`
}

const XML_ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}

/** Line breaks and tabs as numbers: attributes would lose them. Characters that XML cannot hold are left out. */
export function escapeXml(text: string): string {
  return (
    text
      .replace(/[&<>"']/g, (c) => XML_ENTITIES[c] ?? c)
      .replace(/[\t\n\r]/g, (c) => `&#${c.charCodeAt(0)};`)
      .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '')
      // eslint-disable-next-line no-control-regex
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '')
  )
}
