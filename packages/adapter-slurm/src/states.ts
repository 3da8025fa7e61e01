/**
 * Slurm's words for states and reasons → the words of the port. Tables: `job_states` and `job_state_reason` of slurm.h and
 * slurm_protocol_defs.c, releases 20.02 to 26.05.
 */

import type { JobOutcome, JobPhase, JobStatus, WaitingOn } from '@orbweaver/core'

type Meaning = Pick<JobStatus, 'phase' | 'outcome' | 'heldBy'>

const live = (phase: JobPhase): Meaning => ({ phase })
const ended = (outcome: JobOutcome): Meaning => ({ phase: 'finished', outcome })

/** Base states: exactly one of them holds. Long and compact forms. */
const BASE: Readonly<Record<string, Meaning>> = {
  PENDING: live('queued'),
  PD: live('queued'),
  RUNNING: live('running'),
  R: live('running'),
  SUSPENDED: live('suspended'),
  S: live('suspended'),
  COMPLETED: ended('succeeded'),
  CD: ended('succeeded'),
  CANCELLED: ended('cancelled'),
  CA: ended('cancelled'),
  FAILED: ended('failed'),
  F: ended('failed'),
  TIMEOUT: ended('timeout'),
  TO: ended('timeout'),
  NODE_FAIL: ended('node-fail'),
  NF: ended('node-fail'),
  PREEMPTED: ended('preempted'),
  PR: ended('preempted'),
  BOOT_FAIL: ended('launch-failed'),
  BF: ended('launch-failed'),
  DEADLINE: ended('deadline'),
  DL: ended('deadline'),
  OUT_OF_MEMORY: ended('out-of-memory'),
  OOM: ended('out-of-memory'),
}

/** Flags: the text programs print one of them in place of the base state. */
const FLAGS: Readonly<Record<string, Meaning>> = {
  CONFIGURING: live('starting'),
  CF: live('starting'),
  POWER_UP_NODE: live('starting'),
  COMPLETING: live('finishing'),
  CG: live('finishing'),
  STAGE_OUT: live('finishing'),
  SO: live('finishing'),
  RESIZING: live('running'),
  RS: live('running'),
  SIGNALING: live('running'),
  SI: live('running'),
  STOPPED: live('suspended'),
  ST: live('suspended'),
  REQUEUED: live('queued'),
  RQ: live('queued'),
  REQUEUE_FED: live('queued'),
  RF: live('queued'),
  EXPEDITING: live('queued'),
  REQUEUE_HOLD: { phase: 'held', heldBy: 'requeue' },
  RH: { phase: 'held', heldBy: 'requeue' },
  SPECIAL_EXIT: { phase: 'held', heldBy: 'requeue' },
  SE: { phase: 'held', heldBy: 'requeue' },
  RESV_DEL_HOLD: { phase: 'held', heldBy: 'admin' },
  RD: { phase: 'held', heldBy: 'admin' },
  REVOKED: ended('revoked'),
  RV: ended('revoked'),
}
/** Flags that say nothing about where the job is. */
const SILENT_FLAGS: ReadonlySet<string> = new Set(['LAUNCH_FAILED', 'RECONFIG_FAIL', 'UPDATE_DB'])

/** A state as printed: one word (`CANCELLED by 1002` among them), or several of a list. */
export interface NativeWords {
  readonly meaning: Meaning
  /** Of `CANCELLED by UID`. */
  readonly cancelledBy?: number
}

/** An unknown word is phase `unknown`; nothing is guessed from it. */
export function readState(text: string | readonly string[]): NativeWords {
  const given = typeof text === 'string' ? [text] : text
  const words = given.map((word) => word.trim())
  const by = words.map((word) => /^CANCELLED by (\d+)$/.exec(word)).find((match) => match !== null)
  const names = words.map((word) => (/^CANCELLED by \d+$/.test(word) ? 'CANCELLED' : word))
  const known = names.filter((name) => !SILENT_FLAGS.has(name))
  // A flag wins over the base state, as in the text programs.
  const flag = known.map((name) => own(FLAGS, name)).find((meaning) => meaning !== undefined)
  const base = known.map((name) => own(BASE, name)).find((meaning) => meaning !== undefined)
  const strange = known.some((name) => own(FLAGS, name) === undefined && own(BASE, name) === undefined)
  const meaning = strange ? live('unknown') : (flag ?? base ?? live('unknown'))
  return { meaning, ...(by?.[1] !== undefined && { cancelledBy: Number(by[1]) }) }
}

function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined
}

interface Waiting {
  readonly waitingOn?: WaitingOn
  readonly heldBy?: NonNullable<JobStatus['heldBy']>
  readonly willNeverRun?: true
}

/**
 * Reasons of a waiting job, by prefix, first match wins: programs cut reasons (`DependencyNeverSatis`) and extend them
 * (`ReqNodeNotAvail, UnavailableNodes:n1`).
 */
const REASONS: readonly (readonly [prefix: string, meaning: Waiting])[] = [
  ['JobHeldUser', { heldBy: 'user' }],
  ['JobHeldAdmin', { heldBy: 'admin' }],
  ['launch failed requeued held', { heldBy: 'requeue' }],
  ['job requeued in held state', { heldBy: 'requeue' }],
  ['JobHoldMaxRequeue', { heldBy: 'requeue' }],
  ['ReservationDeleted', { heldBy: 'requeue' }],
  ['BurstBufferStageOut', { waitingOn: 'other' }],
  ['DependencyNeverSatis', { waitingOn: 'dependency', willNeverRun: true }],
  ['Dependency', { waitingOn: 'dependency' }],
  ['JobArrayTaskLimit', { waitingOn: 'array-throttle' }],
  ['BeginTime', { waitingOn: 'begin-time' }],
  ['Cleaning', { waitingOn: 'begin-time' }],
  ['Priority', { waitingOn: 'priority' }],
  ['Resources', { waitingOn: 'resources' }],
  ['PartitionTimeLimit', { waitingOn: 'limit', willNeverRun: true }],
  ['PartitionNodeLimit', { waitingOn: 'limit', willNeverRun: true }],
  ['PartitionConfig', { waitingOn: 'limit', willNeverRun: true }],
  ['BadConstraints', { waitingOn: 'limit', willNeverRun: true }],
  ['AccountNotAllowed', { waitingOn: 'limit', willNeverRun: true }],
  ['AccountingPolicy', { waitingOn: 'limit' }],
  ['QOSNotAllowed', { waitingOn: 'limit', willNeverRun: true }],
  ['InvalidQOS', { waitingOn: 'limit', willNeverRun: true }],
  ['InvalidAccount', { waitingOn: 'limit', willNeverRun: true }],
  ['PartitionDown', { waitingOn: 'partition-down' }],
  ['PartitionInactive', { waitingOn: 'partition-down' }],
  ['NodeDown', { waitingOn: 'partition-down' }],
  ['FrontEndDown', { waitingOn: 'partition-down' }],
  // In place of a word: what the controller says when no node of the partition can be used.
  ['Nodes required for job are DOWN', { waitingOn: 'partition-down' }],
  ['Nodes_required_for_job_are_DOWN', { waitingOn: 'partition-down' }],
  ['ReqNodeNotAvail', { waitingOn: 'partition-down' }],
  ['Licenses', { waitingOn: 'licence' }],
  ['Reservation', { waitingOn: 'reservation' }],
  ['Assoc', { waitingOn: 'limit' }],
  ['QOS', { waitingOn: 'limit' }],
  ['Max', { waitingOn: 'limit' }],
  ['Grp', { waitingOn: 'limit' }],
]
/** Nothing is said. */
const NO_REASON: ReadonlySet<string> = new Set(['', 'None', '(null)', 'N/A'])

/** What a reason says of a job that waits. */
export function readReason(reason: string): Waiting {
  const given = reason.trim()
  const text = given.replace(/^\((.*)\)$/, '$1')
  if (NO_REASON.has(given) || NO_REASON.has(text)) return {}
  const found = REASONS.find(([prefix]) => text.startsWith(prefix))
  return found?.[1] ?? { waitingOn: 'other' }
}

/** Phase, outcome, what it waits on: from the state and the reason as printed. */
export function readNative(
  state: string | readonly string[],
  reason: string | undefined,
): Pick<JobStatus, 'phase' | 'outcome' | 'waitingOn' | 'heldBy' | 'willNeverRun' | 'native'> & {
  readonly cancelledBy?: number
} {
  const { meaning, cancelledBy } = readState(state)
  const text = typeof state === 'string' ? state.trim() : state.join(',')
  const native = {
    state: text,
    ...(reason !== undefined && !NO_REASON.has(reason.trim()) && { reason: reason.trim() }),
  }
  const common = { native, ...(cancelledBy !== undefined && { cancelledBy }) }
  const why = readReason(reason ?? '')
  if (meaning.phase === 'queued') {
    if (why.heldBy !== undefined) return { ...common, phase: 'held', heldBy: why.heldBy }
    return {
      ...common,
      phase: 'queued',
      ...(why.waitingOn !== undefined && { waitingOn: why.waitingOn }),
      ...(why.willNeverRun === true && { willNeverRun: true }),
    }
  }
  // A job that is cancelled while it waits keeps the reason for which it waited.
  if (meaning.outcome === 'cancelled' && /^DependencyNeverSatis/.test(reason ?? ''))
    return { ...common, phase: 'finished', outcome: 'dependency-failed' }
  return { ...common, ...meaning }
}
