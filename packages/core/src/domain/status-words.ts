/** The one status word that people and their reports read in an archive, and its way back to a task state. */

import type { CauseKind } from './cause.js'
import type { TaskState } from './task.js'

/** `dax`: the words DAX writes to `procstatus`. `notebook`: those of the 2013 design notebook. */
export const STATUS_VOCABULARIES = ['dax', 'notebook'] as const
export type StatusVocabulary = (typeof STATUS_VOCABULARIES)[number]

/** DAX 2, `task.py`: the words its pages and reports filter on. Two of our states may share a word. */
const DAX: Readonly<Record<TaskState, string>> = {
  waiting: 'NEED_INPUTS',
  held: 'NEED_INPUTS',
  ready: 'NEED_TO_RUN',
  queued: 'JOB_RUNNING',
  running: 'JOB_RUNNING',
  uploading: 'UPLOADING',
  complete: 'COMPLETE',
  failed: 'JOB_FAILED',
  cancelled: 'JOB_FAILED',
}

/** The notebook has no word for `held` and `cancelled`: they share those of `waiting` and `failed`, as in DAX. */
const NOTEBOOK: Readonly<Record<TaskState, string>> = {
  waiting: 'MISSING_INPUTS',
  held: 'MISSING_INPUTS',
  ready: 'PRE_COMPLETE',
  queued: 'JOB_RUNNING',
  running: 'JOB_RUNNING',
  uploading: 'JOB_COMPLETE',
  complete: 'BUILD_COMPLETE',
  failed: 'JOB_ERROR',
  cancelled: 'JOB_ERROR',
}

const STATES: ReadonlyMap<string, TaskState> = new Map<string, TaskState>([
  ['NEED_INPUTS', 'waiting'],
  ['NO_DATA', 'waiting'],
  ['NEED_TO_RUN', 'ready'],
  ['JOB_RUNNING', 'running'],
  ['READY_TO_UPLOAD', 'uploading'],
  ['UPLOADING', 'uploading'],
  ['COMPLETE', 'complete'],
  ['READY_TO_COMPLETE', 'uploading'],
  ['JOB_FAILED', 'failed'],
  ['PRE_RUNNING', 'waiting'],
  ['MISSING_INPUTS', 'waiting'],
  ['PRE_COMPLETE', 'ready'],
  ['JOB_COMPLETE', 'uploading'],
  ['BUILD_COMPLETE', 'complete'],
  ['SUCCESS', 'complete'],
  ['JOB_ERROR', 'failed'],
  ['XVFB_ERROR', 'failed'],
])

/** The word a store writes for a state. */
export function statusWordOf(
  state: TaskState,
  vocabulary: StatusVocabulary = 'dax',
  cause?: CauseKind,
): string {
  if (vocabulary === 'dax') return DAX[state]
  return state === 'failed' && cause === 'no-output' ? 'XVFB_ERROR' : NOTEBOOK[state]
}

/**
 * The state a word of either vocabulary stands for, where no record tells it exactly; undefined for other words. A word
 * shared by several states gives the one that promises least: `JOB_RUNNING` is `running`, `NEED_INPUTS` is `waiting`.
 */
export function stateOfStatusWord(word: string): TaskState | undefined {
  return STATES.get(word.trim().toUpperCase())
}
