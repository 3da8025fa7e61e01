/** Tasks to look at again: ready ones that wait for room, failed ones that wait for their time. On disk at once. */

import type { BacklogRow, Journal } from '../ports/journal.js'

export class Reminders {
  /** What this run itself was reminded of; only kept when it looks at a part of its projects. */
  private readonly own = new Map<string, BacklogRow>()

  /** @param partial - the run looks at selected tasks only: it must neither wait for the others nor forget them */
  constructor(
    private readonly journal: Journal,
    private readonly partial: boolean,
  ) {}

  put(row: BacklogRow): void {
    this.journal.putBacklog([row])
    if (this.partial) this.own.set(row.label, row)
  }

  remove(labels: readonly string[]): void {
    this.journal.removeBacklog(labels)
    for (const label of labels) this.own.delete(label)
  }

  /** First in, first out. */
  due(project: string, nowMs: number, limit: number): readonly BacklogRow[] {
    if (!this.partial) return this.journal.dueBacklog(project, nowMs, limit)
    return [...this.own.values()]
      .filter((row) => row.project === project && row.notBeforeMs <= nowMs)
      .slice(0, limit)
  }

  /** The earliest time in the future. */
  nextMs(projects: readonly string[], nowMs: number): number | undefined {
    if (!this.partial) return this.journal.nextDueMs(projects, nowMs)
    const times = [...this.own.values()].map((row) => row.notBeforeMs).filter((time) => time > nowMs)
    return times.length === 0 ? undefined : Math.min(...times)
  }

  count(projects: readonly string[]): number {
    return this.partial
      ? this.own.size
      : projects.reduce((sum, project) => sum + this.journal.backlogCount(project), 0)
  }
}
