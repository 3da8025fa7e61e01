/** Tasks as people name them and as commands show them. */

import {
  formatRef,
  nearest,
  type AttemptRow,
  type CallOptions,
  type Decision,
  type Engine,
  type FailureCause,
  type Selection,
  type TaskRecord,
  type TaskView,
} from '@orbweaver/core'
import { NoMatchError, UsageError } from './exit.js'
import { describeSelection } from './selectors.js'
import { JsonList, markPrinted } from './terminal/json.js'
import { errorFields } from './exit.js'
import type { Session } from './session.js'
import { isoTime } from './terminal/time.js'

/** Shorter pieces of a label could be anything. */
const SHORTEST_PIECE = 4
const MANY = 10

/**
 * Full labels from what was typed: a label, or any piece that only one task has (its last 8 characters do).
 *
 * @throws NoMatchError nothing, or several tasks, match
 */
export async function resolveLabels(
  engine: Engine,
  words: readonly string[],
  options: CallOptions = {},
): Promise<readonly string[]> {
  const found = new Map<string, Set<string>>(words.map((word) => [word, new Set<string>()]))
  const open = words.filter((word) => {
    // What the journal knows by this very name needs no look at the archive.
    if (engine.attempts(word).length === 0) return true
    found.get(word)?.add(word)
    return false
  })
  const seen: string[] = []
  if (open.length > 0) {
    for await (const { label } of engine.tasks(hintOf(open, engine), options)) {
      if (seen.length < 5000) seen.push(label)
      for (const word of open) {
        const matches = found.get(word)
        if (label === word) found.set(word, new Set([label]))
        else if (word.length >= SHORTEST_PIECE && label.includes(word) && !matches?.has(word)) {
          if ((matches?.size ?? 0) <= MANY) matches?.add(label)
        }
      }
    }
  }
  return words.map((word) => {
    const [label, ...others] = found.get(word) ?? []
    if (label === undefined) {
      const near = nearest(word, seen)
      throw new NoMatchError(
        `No task ${word} in the archive.`,
        near === undefined
          ? 'Give a label, or a piece of one that no other has. See: orbweaver status'
          : `Did you mean ${near}?`,
      )
    }
    if (others.length > 0) {
      const shown = [label, ...others].slice(0, MANY)
      throw new UsageError(
        `${word} is part of several labels:\n${shown.join('\n')}${others.length >= MANY ? '\n…' : ''}`,
        'Give more of the label; its last 8 characters are enough.',
      )
    }
    return label
  })
}

/** Whole labels name their project: then only that is read. */
function hintOf(words: readonly string[], engine: Engine): Selection {
  const known = new Set(engine.settings.projects.map(({ id }) => id))
  const projects = words.map((word) => word.split('-x-')[0] ?? '')
  return projects.every((project) => known.has(project)) ? { projects: [...new Set(projects)] } : {}
}

/** @throws NoMatchError saying what was asked for */
export function nothingMatches(selection: Selection, what: string): NoMatchError {
  const asked = describeSelection(selection)
  return new NoMatchError(
    asked === '' ? `There are no ${what}.` : `No ${what} match ${asked}.`,
    'See what there is: orbweaver list, orbweaver status',
  )
}

/** Where a task belongs, without the label: `P/S/E`. */
export function placeOf(view: Pick<TaskView, 'ref'>): string {
  const { assessor: _, ...rest } = view.ref
  return formatRef(rest)
}

// ---------------------------------------------------------------- --json

export function causeJson(cause: FailureCause | undefined): object | undefined {
  if (cause === undefined) return undefined
  return {
    kind: cause.kind,
    summary: cause.summary,
    exitCode: cause.exitCode,
    signal: cause.signal,
    evidence: cause.evidence.map(({ source, text, atMs }) => ({ source, text, at: isoTime(atMs) })),
  }
}

export function decisionJson(decision: Decision, withTrace: boolean): object {
  return {
    processor: decision.processor,
    version: decision.procVersion,
    procType: decision.procType,
    target: decision.target,
    label: decision.task?.label,
    madeBy: decision.madeBy,
    action: decision.action,
    from: decision.from,
    to: decision.to,
    reason: decision.reason,
    attempt: decision.attempt,
    notBefore: isoTime(decision.notBeforeMs),
    cause: causeJson(decision.cause),
    inputs: decision.task?.inputs,
    trace: withTrace ? decision.trace : undefined,
  }
}

export function taskJson(view: TaskView, record?: TaskRecord): object {
  const { node, ref, label, processor, procType } = view
  return {
    label,
    processor,
    procType,
    version: node.procVersion,
    ref,
    state: node.state,
    statusWord: node.statusWord,
    cause: record?.cause === undefined ? node.cause : causeJson(record.cause),
    attempt: node.attempt,
    quality: node.quality,
    madeElsewhere: node.inputs === undefined ? undefined : true,
    retryAt: isoTime(node.retryAtMs),
    resources: node.resources.map((resource) => ({
      label: resource.label,
      files: resource.fileCount,
      bytes: resource.bytes,
    })),
    ...(record !== undefined && {
      reason: record.reason,
      failures: record.failures,
      created: isoTime(record.createdAtMs),
      updated: isoTime(record.updatedAtMs),
      job: record.job === undefined ? undefined : jobJson(record.job),
    }),
  }
}

function jobJson({ submittedAtMs, startedAtMs, endedAtMs, ...job }: NonNullable<TaskRecord['job']>): object {
  return {
    ...job,
    submittedAt: isoTime(submittedAtMs),
    startedAt: isoTime(startedAtMs),
    endedAt: isoTime(endedAtMs),
  }
}

export function attemptJson(row: AttemptRow): object {
  const { createdAtMs, submittedAtMs, closedAtMs, missingSinceMs, ...rest } = row
  return {
    ...rest,
    created: isoTime(createdAtMs),
    submitted: isoTime(submittedAtMs),
    closed: isoTime(closedAtMs),
    missingSince: isoTime(missingSinceMs),
  }
}

/** Print a list as it is made; an error half-way becomes part of the object, and is thrown on. */
export async function streamJson<Fields extends Readonly<Record<string, unknown>>>(
  session: Session,
  command: string,
  name: string,
  work: (add: (item: unknown) => Promise<void>) => Promise<Fields>,
): Promise<Fields> {
  const list = new JsonList(session.terminal, command, name)
  try {
    const fields = await work((item) => list.add(item))
    await list.end(fields)
    return fields
  } catch (error) {
    if (list.started) {
      await list.end({ error: errorFields(error) })
      markPrinted(error)
    }
    throw error
  }
}
