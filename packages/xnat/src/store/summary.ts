/**
 * One line that says in a field of XNAT what a snapshot needs to know of a task: it fits into a listing of a whole project.
 * The full record lies beside it.
 */

import { randomBytes } from 'node:crypto'
import { CAUSE_KINDS, TASK_STATES, type CauseKind, type TaskRecord, type TaskState } from '@orbweaver/core'

export interface Summary {
  /** Another one at each write: whoever has read an older one has read an older state. */
  readonly nonce: string
  /** The nonce that this write replaced: two with the same one were written in the same moment. */
  readonly before?: string
  readonly state: TaskState
  readonly attempt: number
  readonly procType: string
  readonly procVersion: string
  readonly statusWord: string
  readonly cause?: CauseKind
  readonly retryAtMs?: number
  readonly scans?: readonly string[]
  /** A person's verdict, where the server has no field for it. */
  readonly quality?: string
  /** The result is an experiment of its own, and this line is kept beside it. */
  readonly onExperiment?: boolean
}

/** XNAT's `note` takes 1 500 characters. */
const MAX_NOTE = 1500
const MAX_REASON = 500
const MAX_SCANS = 500
const MARK = 'orbweaver:1'

export function newNonce(): string {
  return randomBytes(6).toString('hex')
}

export function summaryOf(record: TaskRecord, statusWord: string, scans?: readonly string[]): Summary {
  return {
    nonce: newNonce(),
    state: record.state,
    attempt: record.attempt,
    procType: record.procType,
    procVersion: record.procVersion,
    statusWord,
    ...(record.cause !== undefined && { cause: record.cause.kind }),
    ...(record.retryAtMs !== undefined && { retryAtMs: record.retryAtMs }),
    ...(scans !== undefined && { scans }),
  }
}

/** Words without blanks, so that nothing of it is changed by escaping or by line breaks. */
export function formatSummary(summary: Summary): string {
  const scans = summary.scans?.map(encode).join(',')
  const parts = [
    MARK,
    `n=${summary.nonce}`,
    ...(summary.before === undefined ? [] : [`b=${summary.before}`]),
    `s=${summary.state}`,
    `a=${summary.attempt}`,
    `p=${encode(summary.procType)}`,
    `v=${encode(summary.procVersion)}`,
    `w=${encode(summary.statusWord)}`,
    ...(summary.cause === undefined ? [] : [`c=${summary.cause}`]),
    ...(summary.retryAtMs === undefined ? [] : [`t=${summary.retryAtMs}`]),
    ...(scans === undefined || scans.length > MAX_SCANS ? [] : [`i=${scans}`]),
    ...(summary.quality === undefined || summary.quality === '' ? [] : [`q=${encode(summary.quality)}`]),
    ...(summary.onExperiment === true ? ['e=1'] : []),
  ]
  return parts.join(' ')
}

/** Undefined: not one of ours. */
export function parseSummary(text: string): Summary | undefined {
  const at = text.lastIndexOf(`${MARK} `)
  if (at < 0) return undefined
  const values = new Map<string, string>()
  for (const part of text.slice(at + MARK.length).split(/[\s\]]+/)) {
    const found = /^([a-z])=(.*)$/.exec(part)
    if (found !== null) values.set(found[1] ?? '', found[2] ?? '')
  }
  const state = TASK_STATES.find((one) => one === values.get('s'))
  const nonce = values.get('n')
  const attempt = Number(values.get('a'))
  if (state === undefined || nonce === undefined || !Number.isSafeInteger(attempt)) return undefined
  const cause = CAUSE_KINDS.find((one) => one === values.get('c'))
  const retryAtMs = Number(values.get('t') ?? 'none')
  const scans = values.get('i')
  const quality = values.get('q')
  const before = values.get('b')
  return {
    nonce,
    ...(before !== undefined && { before }),
    state,
    attempt,
    procType: decode(values.get('p') ?? ''),
    procVersion: decode(values.get('v') ?? ''),
    statusWord: decode(values.get('w') ?? ''),
    ...(cause !== undefined && { cause }),
    ...(Number.isSafeInteger(retryAtMs) && { retryAtMs }),
    ...(scans !== undefined && { scans: scans === '' ? [] : scans.split(',').map(decode) }),
    ...(quality !== undefined && { quality: decode(quality) }),
    ...(values.get('e') === '1' && { onExperiment: true }),
  }
}

/** What people read in XNAT's `note`: why the task is in its state, then the line for machines. */
export function formatNote(reason: string, summary: Summary): string {
  const line = `[${formatSummary(summary)}]`
  const words = plain(reason).slice(0, Math.min(MAX_REASON, MAX_NOTE - line.length - 1))
  return words === '' ? line : `${words} ${line}`
}

/** The part of a note that people wrote or read. */
export function reasonIn(note: string): string {
  return note.replace(/\s*\[orbweaver:1 [^\]]*\]\s*$/, '')
}

/** One line without control characters, and without what XML cannot hold. */
function plain(text: string): string {
  return (
    text
      // eslint-disable-next-line no-control-regex
      .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffe\uffff]+/g, ' ')
      .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, ' ')
      .replace(/\s+/g, ' ')
      .trim()
  )
}

/** As in URLs, and `]` too: everything that XNAT might change is out of it. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return text
    throw error
  }
}
