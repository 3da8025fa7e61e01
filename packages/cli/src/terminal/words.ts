/** How states and verdicts look. */

import type { Diagnosis, TaskState, Action } from '@orbweaver/core'
import type { Paint } from './terminal.js'

export function paintState(paint: Paint, state: TaskState | undefined): (text: string) => string {
  switch (state) {
    case 'complete':
      return paint.green
    case 'failed':
      return paint.red
    case 'running':
    case 'uploading':
      return paint.cyan
    case 'queued':
    case 'ready':
      return paint.blue
    case 'waiting':
    case 'held':
      return paint.yellow
    case 'cancelled':
    case undefined:
      return paint.dim
  }
}

export function paintDiagnosis(paint: Paint, status: Diagnosis['status']): (text: string) => string {
  return { ok: paint.green, warning: paint.yellow, problem: paint.red }[status]
}

/** What `plan` calls each group of decisions. */
export const ACTION_TITLES: Readonly<Record<Action, string>> = {
  submit: 'Submit',
  rerun: 'Remove the old result and run again',
  create: 'Record, and wait',
  mark: 'Change state',
  follow: 'Under way',
  none: 'Nothing to do',
}
export const ACTION_ORDER: readonly Action[] = ['submit', 'rerun', 'create', 'mark', 'follow', 'none']

/** `[####······]` */
export function bar(done: number, total: number, width: number): string {
  const full = total <= 0 ? 0 : Math.min(width, Math.floor((done / total) * width))
  return '█'.repeat(full) + '░'.repeat(width - full)
}
