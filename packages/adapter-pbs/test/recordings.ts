/** Recorded replies, in whatever format their command asked for, as the records that the adapter draws its conclusions from. */

import { constants } from 'node:os'
import { expect } from 'chai'
import type { Recording } from '@orbweaver/conformance'
import { jobId, type JobStatus } from '@orbweaver/core'
import type { Flavour } from '@orbweaver/adapter-pbs'
import { classify, failure, type ComplaintKind } from '#src/complaints.js'
import { readRecords, type PbsRecord } from '#src/records.js'
import { readStatuses, toStatus } from '#src/status.js'
import { readQsub } from '#src/submit.js'
import { spec } from './specs.js'

export interface Expectation {
  readonly error?: { readonly class: string } | null
  readonly absent?: readonly string[]
  readonly submit?: { readonly jobId: string; readonly isArray: boolean }
  readonly jobs?: Readonly<Record<string, ExpectedJob>>
  readonly ids?: readonly string[]
}
interface ExpectedJob {
  readonly phase: string
  readonly outcome: string | null
  readonly exitCode: number | null
  readonly signal: number | null
  readonly waitingOn?: string
  readonly heldBy?: string
  readonly elapsedSeconds?: number
  readonly maxRssBytes?: number
}

export const siteOf = (flavour: Flavour) => ({
  flavour,
  ended: true,
  elements: flavour === 'openpbs',
  server: 'pbs01',
})

const CLASSES: Readonly<Record<ComplaintKind, string>> = {
  gone: 'NOT_FOUND',
  ended: 'ALREADY_FINISHED',
  unreachable: 'UNREACHABLE',
  authentication: 'AUTH',
  permission: 'PERMISSION',
  limit: 'LIMIT',
  'array-size': 'REJECTED',
  refused: 'REJECTED',
  'no-history': 'BAD_REQUEST',
  element: 'BAD_REQUEST',
  unsupported: 'BAD_REQUEST',
}

function errorClassOf({ command, exit, stdout, stderr }: Recording, flavour: Flavour): string | undefined {
  if (/^tracejob/.test(command)) return undefined
  const complaint = classify(stderr.trim() === '' && exit !== 0 ? stdout : stderr)
  if (complaint !== undefined) return complaint.rule === 'name' ? 'BAD_REQUEST' : CLASSES[complaint.kind]
  if (exit !== 0) return 'BAD_REQUEST'
  if (!/^qstat.* -f?F JSON/i.test(command) || stdout.trim().startsWith('{')) return undefined
  const reading = readStatuses({ exitCode: exit, stdout, stderr }, [jobId('1.x')], siteOf(flavour), 0)
  return reading.kind === 'unreadable' ? 'UNPARSABLE' : undefined
}

const record = (id: string, fields: Readonly<Record<string, string>>): PbsRecord => ({
  id,
  fields: new Map(Object.entries(fields)),
  contradictory: false,
})

/** The adapter's own reader for its own formats; the others, which it never asks for, are brought into the same shape here. */
export function recordsOf({ command, stdout }: Recording, flavour: Flavour): readonly PbsRecord[] {
  if (/^tracejob|^mail/.test(command)) return fromLog(stdout, flavour)
  if (/-F json/i.test(command)) return fromJson(stdout)
  if (/-F dsv/.test(command)) return readRecords(stdout.replaceAll('|', '\u001e'))
  if (/-f|qstat -x/.test(command) && (/^Job Id: /m.test(stdout) || stdout.includes('<Job>')))
    return readRecords(stdout)
  return stdout.split('\n').flatMap((line) => {
    const words = line.trim().split(/\s+/)
    const state = words.findLast((word) => /^[A-Z]$/.test(word))
    return /^\d+(?:\[\d*\])?(?:\.|$)/.test(words[0] ?? '') && state !== undefined
      ? [record(words[0]?.replace(/\*$/, '') ?? '', { job_state: state })]
      : []
  })
}

function fromJson(text: string): readonly PbsRecord[] {
  const { Jobs: jobs = {} } = JSON.parse(text) as {
    readonly Jobs?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  }
  return Object.entries(jobs).map(([id, attributes]) => {
    const flat = Object.entries(attributes).flatMap(([name, value]): [string, string][] =>
      typeof value === 'object' && value !== null
        ? Object.entries(value).map(([key, inner]) => [`${name}.${key}`, String(inner)])
        : [[name, String(value)]],
    )
    return record(id, Object.fromEntries(flat))
  })
}

/** Its last lines, as the record that the server would have printed. */
function fromLog(text: string, flavour: Flavour): readonly PbsRecord[] {
  const id = /^(?:Job: |PBS Job Id: )(\S+)/m.exec(text)?.[1]
  if (id === undefined || !/ {2}S {4}|\sS\s{4}|Exit_status|Job Run|enqueuing/.test(text)) return []
  const fields = Object.fromEntries(
    [...text.matchAll(/(Exit_status|resources_used\.\w+)=(\S+)/g)].map((match) => [match[1], match[2]]),
  ) as Record<string, string>
  const running = /Job (?:Run|started)/i.test(text)
  const ended = fields['Exit_status'] !== undefined
  const state = ended ? (flavour === 'torque' ? 'C' : 'F') : running ? 'R' : 'Q'
  return [record(id, { job_state: state, ...fields })]
}

export function checkCase(recording: Recording, expected: Expectation, flavour: Flavour): void {
  if (expected.error !== undefined)
    expect(errorClassOf(recording, flavour), 'class of the error').to.equal(expected.error?.class)
  const { exit, stdout, stderr } = recording
  if (expected.submit !== undefined) {
    const { jobId: id, isArray: array } = expected.submit
    const members = array ? [spec('a'), spec('b')] : [spec('a')]
    const ids = array ? [0, 1].map((index) => id.replace('[]', `[${index}]`)) : [id]
    expect(readQsub({ exitCode: exit, stdout, stderr }, { array, members })).to.deep.equal({
      kind: 'accepted',
      ids,
    })
  }
  if (expected.ids !== undefined)
    expect(stdout.split('\n').filter((line) => line !== '')).to.deep.equal(expected.ids)
  if (expected.jobs === undefined && expected.absent === undefined) return
  if (/^qstat|^tracejob/.test(recording.command) && expected.absent !== undefined && exit !== 0)
    expect(failure({ exitCode: exit, stdout, stderr }), 'absence is an answer').to.equal(undefined)
  const records = recordsOf(recording, flavour)
  const found = new Map(records.map((one) => [one.id, toStatus(one, siteOf(flavour), 0)]))
  for (const id of expected.absent ?? []) expect(found.has(id), `${id} is reported`).to.equal(false)
  if (expected.jobs === undefined) return
  const short = (id: string): string => (expected.jobs?.[id] === undefined ? id.replace(/\..*$/, '') : id)
  expect([...found.keys()].map(short)).to.have.members(Object.keys(expected.jobs))
  for (const [id, status] of found) {
    const job = expected.jobs[short(id)]
    // The state of an array as a whole is never asked for.
    if (job !== undefined && !id.includes('[]')) checkJob(id, status, job, recording)
  }
}

function checkJob(id: string, status: JobStatus, job: ExpectedJob, { command }: Recording): void {
  const word = (text: string): string => text.toLowerCase().replaceAll('_', '-')
  expect(status.phase, `phase of ${id}`).to.equal(word(job.phase))
  expect(status.outcome ?? null, `outcome of ${id}`).to.equal(job.outcome === null ? null : word(job.outcome))
  expect(status.exitCode ?? null, `exit code of ${id}`).to.equal(job.exitCode)
  const signal = status.signal === undefined ? null : constants.signals[status.signal as NodeJS.Signals]
  expect(signal, `signal of ${id}`).to.equal(job.signal)
  if (job.waitingOn !== undefined) expect(status.waitingOn, `${id} waits on`).to.equal(job.waitingOn)
  // The table does not say who holds.
  if (job.heldBy !== undefined && command.includes('-f')) expect(status.heldBy).to.equal(job.heldBy)
  if (job.elapsedSeconds !== undefined) expect(status.usage?.elapsedSeconds).to.equal(job.elapsedSeconds)
  if (job.maxRssBytes !== undefined) expect(status.usage?.peakMemoryBytes).to.equal(job.maxRssBytes)
}
