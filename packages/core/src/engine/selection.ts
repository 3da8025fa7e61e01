/** What a command is about: selectors, and whether something is among what they select. */

import type { ArchiveRef } from '../domain/archive.js'
import { wildcard } from '../domain/labels.js'
import type { Processor } from '../domain/processor.js'
import type { TaskState } from '../domain/task.js'
import { nameOf } from './candidates.js'
import type { Pause } from './engine.js'
import type { Decision } from './plan.js'

/** The selectors every command has. What is absent selects everything. Words may hold `*` and `?`. */
export interface Selection {
  readonly projects?: readonly string[]
  readonly subjects?: readonly string[]
  readonly sessions?: readonly string[]
  /** Processor names or procTypes. */
  readonly processors?: readonly string[]
  readonly states?: readonly TaskState[]
  /** Exact task labels. */
  readonly labels?: readonly string[]
  /** Only tasks changed since. Epoch milliseconds. */
  readonly sinceMs?: number
}

export function isNamed({ task, madeBy }: Decision, labels: ReadonlySet<string>): boolean {
  return labels.has(task?.label ?? '') || (madeBy !== undefined && labels.has(madeBy))
}

export function anyWildcard(patterns: readonly string[] | undefined): (text: string) => boolean {
  if (patterns === undefined || patterns.length === 0) return () => true
  const tests = patterns.map(wildcard)
  return (text) => tests.some((test) => test(text))
}

export function pauseApplies(pause: Pause, project: string, processor: Processor, label: string): boolean {
  const processorTest = anyWildcard(pause.processors)
  return (
    anyWildcard(pause.projects)(project) &&
    (processorTest(processor.name) || processorTest(processor.procType)) &&
    (pause.labels === undefined || pause.labels.includes(label))
  )
}

/** Whether a task label, session and so on are named by a selection; for lists that come from the archive. */
export function selectionTest(
  selection: Selection,
): (ref: ArchiveRef, procType: string, state: TaskState | undefined) => boolean {
  const project = anyWildcard(selection.projects)
  const subject = anyWildcard(selection.subjects)
  const session = anyWildcard(selection.sessions)
  const processor = anyWildcard(selection.processors)
  const labels = selection.labels === undefined ? undefined : new Set(selection.labels)
  return (ref, procType, state) =>
    project(ref.project) &&
    (selection.subjects === undefined || (ref.subject !== undefined && subject(ref.subject))) &&
    (selection.sessions === undefined || (ref.session !== undefined && session(ref.session))) &&
    (processor(procType) || processor(nameOf(procType))) &&
    (labels === undefined || labels.has(ref.assessor ?? '')) &&
    (selection.states === undefined || (state !== undefined && selection.states.includes(state)))
}
