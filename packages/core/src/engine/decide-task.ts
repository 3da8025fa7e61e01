/** What is to become of one set of inputs of one processor: what is there already, what stands in its way. Pure. */

import type { ArchiveRef } from '../domain/archive.js'
import {
  DO_NOT_RUN_QUALITIES,
  RERUN_QUALITIES,
  type Processor,
  type TargetView,
} from '../domain/processor.js'
import { formatDuration, formatMemory } from '../domain/requirements.js'
import {
  ACTIVE_STATES,
  taskLabel,
  type InputBinding,
  type TaskIdentity,
  type TaskState,
} from '../domain/task.js'
import type { BackendLimits } from '../ports/cluster-backend.js'
import type { Candidate } from './candidates.js'
import { describeInputs } from './choose.js'
import type { DecideContext } from './decide.js'
import { madeElsewhere, type KnownAssessors } from './made-elsewhere.js'
import type { Action, Decision, TraceStep } from './plan.js'
import { pauseApplies } from './selection.js'

/** One set of inputs for one target, or why there is none. */
export type Formed =
  | {
      readonly inputs: readonly InputBinding[]
      readonly blocked: Candidate['blocked'] | undefined
      readonly target: ArchiveRef
      readonly trace: readonly TraceStep[]
    }
  | {
      readonly inputs?: undefined
      readonly none: string
      readonly target: ArchiveRef
      readonly trace: readonly TraceStep[]
    }

/**
 * The rules in their order: an attempt under way, another program's result, a person's word, the state in the archive, the
 * processor's own word, missing inputs, pauses and limits.
 *
 * @param parent - the node that the assessor hangs on
 * @param known - the assessors there
 */
export function decideTask(
  context: DecideContext,
  project: string,
  processor: Processor,
  view: TargetView,
  parent: ArchiveRef,
  formed: Extract<Formed, { inputs: readonly InputBinding[] }>,
  known: KnownAssessors,
): Decision {
  const label = taskLabel(processor.procType, view.ref, formed.inputs)
  const existing = known.byLabel.get(label)
  const task: TaskIdentity = {
    label,
    ref: { ...parent, assessor: label },
    procType: processor.procType,
    target: view.ref,
    inputs: formed.inputs,
  }
  const trace = [...formed.trace]
  const note = (rule: string, result: TraceStep['result'], found: string): void => {
    if (context.trace) trace.push({ rule, result, found })
  }
  if (existing === undefined) note('already in the archive', 'no', 'no assessor of this label')
  else {
    const version = existing.procVersion === undefined ? '' : ` by version ${existing.procVersion}`
    note(
      'already in the archive',
      'yes',
      `${existing.state ?? existing.statusWord}${version}, attempt ${existing.attempt}`,
    )
  }
  const make = (to: TaskState, action: Action, reason: string, more: Partial<Decision> = {}): Decision => ({
    processor: processor.name,
    procVersion: processor.version,
    procType: processor.procType,
    target: view.ref,
    task,
    ...(existing?.state !== undefined && { from: existing.state }),
    ...(existing !== undefined && { revision: existing.revision }),
    to,
    action,
    reason,
    ...more,
    trace,
  })

  const running = context.open.get(label)
  if (running !== undefined) {
    note('an attempt is under way', 'yes', `${running.name} (${running.stage})`)
    return make(existing?.state ?? 'queued', 'follow', `attempt ${running.attempt} is under way`, {
      attempt: running.attempt,
    })
  }

  // What we have begun ourselves is ours to end.
  const elsewhere =
    existing === undefined || existing.attempt === 0
      ? madeElsewhere(known, processor.procType, formed.inputs)
      : undefined
  if (elsewhere !== undefined) {
    const { assessor, to, reason } = elsewhere
    note('made by another program', 'yes', `${assessor.label}, ${assessor.statusWord}`)
    return make(existing?.state ?? to, 'none', reason, { madeBy: assessor.label })
  }

  const quality = existing?.quality.toLowerCase() ?? ''
  if (existing !== undefined && quality !== '') note('quality status', 'info', existing.quality)
  if (DO_NOT_RUN_QUALITIES.has(quality)) {
    return make(existing?.state ?? 'waiting', 'none', 'a person has said: do not run')
  }
  const state = existing?.state
  const rerun =
    existing !== undefined &&
    RERUN_QUALITIES.has(quality) &&
    !(state !== undefined && ACTIVE_STATES.has(state))
  if (existing !== undefined && !rerun) {
    if (state === undefined) {
      return make('waiting', 'none', `made elsewhere, with status "${existing.statusWord}"; left alone`)
    }
    if (state === 'complete') return make('complete', 'none', 'complete')
    if (state === 'cancelled')
      return make('cancelled', 'none', 'cancelled by a person; `retry` makes it ready again')
    if (ACTIVE_STATES.has(state)) {
      return make(state, 'follow', `${state} in the archive, and this engine does not know the attempt yet`, {
        attempt: existing.attempt,
      })
    }
    if (state === 'failed') {
      const cause = existing.cause ?? 'unknown cause'
      if (existing.retryAtMs === undefined) {
        return make('failed', 'none', `failed (${cause}), and is not tried again by itself`)
      }
      if (existing.retryAtMs > context.nowMs) {
        const wait = formatDuration(Math.ceil((existing.retryAtMs - context.nowMs) / 1000))
        return make('failed', 'none', `failed (${cause}); tried again in ${wait}`, {
          notBeforeMs: existing.retryAtMs,
        })
      }
      note('time to try again', 'yes', `failed (${cause}) in attempt ${existing.attempt}`)
    }
  }

  const answer = processor.canRun(view)
  if (answer !== true) {
    note('processor says it can run', 'no', answer)
    if (existing === undefined)
      return withoutTask(processor, view.ref, `the processor says no: ${answer}`, trace)
    return make(state ?? 'waiting', 'none', `the processor says no: ${answer}`)
  }
  if (formed.blocked !== undefined) {
    const { by, reason } = formed.blocked
    note('all inputs are there', 'no', reason)
    // A failed or rerun task whose input has gone away since waits for it.
    if (existing === undefined) return make(by, 'create', reason)
    return make(by, state === by ? 'none' : 'mark', reason)
  }
  note('all inputs are there', 'yes', describeInputs(formed.inputs))

  const pause = context.pauses.find((item) => pauseApplies(item, project, processor, label))
  if (pause !== undefined) {
    note('paused', 'yes', pause.note)
    return make('held', 'none', `paused by an operator${pause.note === '' ? '' : `: ${pause.note}`}`)
  }
  const beyond = beyondLimits(processor, task, context.limits)
  if (beyond !== undefined) {
    note('fits the cluster', 'no', beyond)
    return make('held', 'none', beyond)
  }
  const attempt = (existing?.attempt ?? 0) + 1
  if (rerun) return make('ready', 'rerun', `a person asked for a rerun ("${existing.quality}")`, { attempt })
  return make('ready', 'submit', attempt === 1 ? 'all inputs are there' : `ready for attempt ${attempt}`, {
    attempt,
  })
}

/** For a target that no set of inputs could be formed for, or that the processor refuses. */
export function withoutTask(
  processor: Processor,
  target: ArchiveRef,
  reason: string,
  trace: readonly TraceStep[],
): Decision {
  return {
    processor: processor.name,
    procVersion: processor.version,
    procType: processor.procType,
    target,
    to: 'waiting',
    action: 'none',
    reason,
    trace,
  }
}

/** Which rule of the cluster the task breaks, with both numbers; undefined when it fits. */
function beyondLimits(processor: Processor, task: TaskIdentity, limits: BackendLimits): string | undefined {
  const asked = processor.requirementsFor(task)
  const plain = (value: number): string => String(value)
  const checks: readonly (readonly [
    string,
    number,
    number | undefined,
    (value: number) => string,
    string,
  ])[] = [
    ['memory', asked.memoryBytes, limits.maxMemoryBytes, formatMemory, 'maxMemoryBytes'],
    ['walltime', asked.walltimeSeconds, limits.maxWalltimeSeconds, formatDuration, 'maxWalltimeSeconds'],
    ['cpus', asked.cpus, limits.maxCpus, plain, 'maxCpus'],
    ['gpus', asked.gpus, limits.maxGpus, plain, 'maxGpus'],
  ]
  for (const [what, value, most, print, key] of checks) {
    if (most === undefined || value <= most) continue
    const source = limits.source[key] === undefined ? '' : ` (${limits.source[key]})`
    return `can never run here: it asks for ${what} ${print(value)}, and the cluster allows ${print(most)}${source}`
  }
  return undefined
}
