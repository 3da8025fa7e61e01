/**
 * Results of another program (DAX) that are what a task of ours would make: the same processor and major version, from the same
 * inputs. They are not made again. Pure.
 */

import type { ArchiveRef, AssessorNode } from '../domain/archive.js'
import { DO_NOT_RUN_QUALITIES, RERUN_QUALITIES } from '../domain/processor.js'
import { ACTIVE_STATES, type InputBinding, type TaskState } from '../domain/task.js'

/** Assessors that hang on one node. */
export interface KnownAssessors {
  readonly byLabel: ReadonlyMap<string, AssessorNode>
  /** Made by another program, by {@link typeKey}; absent: none. */
  readonly elsewhere?: ReadonlyMap<string, readonly AssessorNode[]>
}

export function knownAssessors(assessors: readonly AssessorNode[]): KnownAssessors {
  const byLabel = new Map<string, AssessorNode>()
  let elsewhere: Map<string, AssessorNode[]> | undefined
  for (const assessor of assessors) {
    byLabel.set(assessor.label, assessor)
    if (assessor.inputs === undefined) continue
    elsewhere ??= new Map()
    const key = typeKey(assessor.procType)
    const others = elsewhere.get(key)
    if (others === undefined) elsewhere.set(key, [assessor])
    else others.push(assessor)
  }
  return elsewhere === undefined ? { byLabel } : { byLabel, elsewhere }
}

/**
 * Names of processors are lower case words with `-`; other programs write `fMRIQA_v4` and `dtiQA_synb0_v7`. The major
 * version counts as it stands.
 */
function typeKey(procType: string): string {
  const [, name = procType, version = ''] = /^(.+)(_v\d+)$/.exec(procType) ?? []
  return `${name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}${version}`
}

/** How another program's assessor stands for a task, and what follows from that. */
export interface Elsewhere {
  readonly assessor: AssessorNode
  /** Of the task, with nothing to be done for it here. */
  readonly to: TaskState
  readonly reason: string
}

/** The assessor of another program that stands for a task; the furthest along when there are several. */
export function madeElsewhere(
  { elsewhere }: KnownAssessors,
  procType: string,
  inputs: readonly InputBinding[],
): Elsewhere | undefined {
  const others = elsewhere?.get(typeKey(procType))
  if (others === undefined) return undefined
  const same = others.filter((assessor) => isSame(assessor, inputs))
  const best =
    same.find(({ state }) => state === 'complete') ??
    same.find(({ state }) => state !== undefined && ACTIVE_STATES.has(state)) ??
    same[0]
  if (best !== undefined) return { assessor: best, ...standing(best) }
  // It may be this very result: that is for a person to say.
  const silent = others.find((assessor) => saysNothing(assessor))
  if (silent === undefined) return undefined
  return {
    assessor: silent,
    to: 'held',
    reason: `${silent.label} of another program does not say what it was made from, and may be this result; delete or rename it to have this made`,
  }
}

/** Only its own program runs it, again or at all. */
function standing({ label, state, statusWord, quality }: AssessorNode): Omit<Elsewhere, 'assessor'> {
  const by = `${label} of another program`
  const verdict = quality.toLowerCase()
  if (DO_NOT_RUN_QUALITIES.has(verdict)) {
    return { to: state ?? 'waiting', reason: `a person has said of ${by}: do not run` }
  }
  if (RERUN_QUALITIES.has(verdict)) {
    return {
      to: state ?? 'waiting',
      reason: `a rerun of ${by} was asked for ("${quality}"), which that program does`,
    }
  }
  if (state === 'complete') {
    return { to: 'complete', reason: `done: ${by} is this result${quality === '' ? '' : ` ("${quality}")`}` }
  }
  if (state === undefined) return { to: 'waiting', reason: `${by} has status "${statusWord}"; left alone` }
  if (state === 'failed' || state === 'cancelled') {
    return { to: state, reason: `${by} has failed; delete it to have this made here` }
  }
  if (ACTIVE_STATES.has(state)) return { to: state, reason: `under way elsewhere: ${by} is ${statusWord}` }
  return { to: state, reason: `${by} is ${statusWord}, and is left to it; delete it to have this made here` }
}

function saysNothing({ inputs = {}, scans }: AssessorNode): boolean {
  return Object.keys(inputs).length === 0 && scans === undefined
}

/** The same input names with the same nodes. Older results say no more than their scan. */
function isSame({ inputs = {}, scans }: AssessorNode, wanted: readonly InputBinding[]): boolean {
  const names = Object.entries(inputs).filter(([, refs]) => refs.length > 0)
  if (names.length === 0) {
    if (scans === undefined) return false
    const own = new Set(
      wanted.flatMap(({ sources }) =>
        sources.flatMap(({ node, standsFor }) => (standsFor?.node ?? node).scan ?? []),
      ),
    )
    return own.size === scans.length && scans.every((scan) => own.has(scan))
  }
  const given = wanted.filter(({ sources }) => sources.length > 0)
  return (
    given.length === names.length &&
    given.every(({ name, sources }) => {
      const refs = Object.hasOwn(inputs, name) ? (inputs[name] ?? []) : []
      if (refs.length !== sources.length) return false
      const keys = new Set(refs.map(keyOf))
      return sources.every(
        ({ node, standsFor }) =>
          keys.has(keyOf(node)) || (standsFor !== undefined && keys.has(keyOf(standsFor.node))),
      )
    })
  )
}

/** Without the project: a shared session is named by the project it came from, and all hang on the same node. */
function keyOf({ subject = '', session = '', scan = '', assessor = '' }: ArchiveRef): string {
  return [subject, session, scan, assessor].join('/')
}
