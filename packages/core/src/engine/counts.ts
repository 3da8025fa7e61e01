/** How many decisions of which kind a plan holds. */

import type { SessionNode } from '../domain/archive.js'
import { TASK_STATES, type TaskState } from '../domain/task.js'
import type { Action, Decision, PlanCounts } from './plan.js'

export class Tally {
  private subjects = 0
  private sessions = 0
  private scans = 0
  private noTask = 0
  private readonly actions: Record<Action, number> = {
    none: 0,
    create: 0,
    mark: 0,
    submit: 0,
    rerun: 0,
    follow: 0,
  }
  private readonly states = Object.fromEntries(TASK_STATES.map((state) => [state, 0])) as Record<
    TaskState,
    number
  >

  subject({ sessions }: { readonly sessions: readonly SessionNode[] }): void {
    this.subjects += 1
    this.sessions += sessions.length
    for (const session of sessions) this.scans += session.scans.length
  }

  decision(decision: Decision): void {
    this.actions[decision.action] += 1
    if (decision.task === undefined) this.noTask += 1
    else this.states[decision.to] += 1
  }

  counts(): PlanCounts {
    return {
      subjects: this.subjects,
      sessions: this.sessions,
      scans: this.scans,
      actions: { ...this.actions },
      states: { ...this.states },
      noTask: this.noTask,
    }
  }
}

/** Sums of several projects. */
export function addCounts(a: PlanCounts, b: PlanCounts): PlanCounts {
  const sum = <K extends string>(
    x: Readonly<Record<K, number>>,
    y: Readonly<Record<K, number>>,
  ): Record<K, number> =>
    Object.fromEntries((Object.keys(x) as K[]).map((key) => [key, x[key] + y[key]])) as Record<K, number>
  return {
    subjects: a.subjects + b.subjects,
    sessions: a.sessions + b.sessions,
    scans: a.scans + b.scans,
    actions: sum(a.actions, b.actions),
    states: sum(a.states, b.states),
    noTask: a.noTask + b.noTask,
  }
}

export function emptyCounts(): PlanCounts {
  return new Tally().counts()
}
