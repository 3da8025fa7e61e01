import type { AttemptRow, BacklogRow, Journal, LeaseHolder, ProjectCursor } from '../ports/journal.js'

/** What instances of one journal share: it outlives each of them, as a file would. */
class Pages {
  readonly attempts = new Map<string, { row: AttemptRow; kept: boolean; sequence: number }>()
  readonly backlog = new Map<string, { row: BacklogRow; sequence: number }>()
  readonly cursors = new Map<string, ProjectCursor>()
  readonly leases = new Map<string, LeaseHolder>()
  sequence = 0
}

export interface InMemoryJournalOptions {
  /**
   * Whether the process of a lease holder still runs. `undefined`: it cannot be known (another host), the heartbeat
   * decides. Default: nothing is known of any process.
   */
  readonly isRunning?: (holder: LeaseHolder) => boolean | undefined
}

/** A `Journal` in memory that keeps every promise of the port. */
export class InMemoryJournal implements Journal {
  readonly #pages: Pages
  readonly #options: InMemoryJournalOptions

  constructor(options: InMemoryJournalOptions = {}, pages?: unknown) {
    this.#options = options
    this.#pages = pages instanceof Pages ? pages : new Pages()
  }

  /** The same journal opened again, as after a restart. */
  reopen(): InMemoryJournal {
    return new InMemoryJournal(this.#options, this.#pages)
  }

  putAttempt(row: AttemptRow): void {
    const key = keyOf(row.label, row.attempt)
    const before = this.#pages.attempts.get(key)
    this.#pages.attempts.set(key, {
      row: { ...row },
      kept: true,
      sequence: before?.sequence ?? ++this.#pages.sequence,
    })
  }

  getAttempt(label: string, attempt: number): AttemptRow | undefined {
    return this.#pages.attempts.get(keyOf(label, attempt))?.row
  }

  openAttempts(projects?: readonly string[]): readonly AttemptRow[] {
    return this.#rows(({ row }) => row.stage !== 'closed' && (projects?.includes(row.project) ?? true))
  }

  attemptsOf(label: string): readonly AttemptRow[] {
    return this.#rows(({ row }) => row.label === label).sort((a, b) => b.attempt - a.attempt)
  }

  keptWorkspaces(closedBeforeMs: number): readonly AttemptRow[] {
    return this.#rows(
      ({ row, kept }) => kept && row.stage === 'closed' && (row.closedAtMs ?? Infinity) < closedBeforeMs,
    )
  }

  forgetWorkspace(label: string, attempt: number): void {
    const entry = this.#pages.attempts.get(keyOf(label, attempt))
    if (entry !== undefined) entry.kept = false
  }

  putBacklog(rows: readonly BacklogRow[]): void {
    for (const row of rows) {
      const before = this.#pages.backlog.get(row.label)
      this.#pages.backlog.set(row.label, {
        row: { ...row },
        sequence: before?.sequence ?? ++this.#pages.sequence,
      })
    }
  }

  removeBacklog(labels: readonly string[]): void {
    for (const label of labels) this.#pages.backlog.delete(label)
  }

  dueBacklog(project: string, nowMs: number, limit: number): readonly BacklogRow[] {
    return [...this.#pages.backlog.values()]
      .filter(({ row }) => row.project === project && row.notBeforeMs <= nowMs)
      .sort((a, b) => a.row.notBeforeMs - b.row.notBeforeMs || a.sequence - b.sequence)
      .slice(0, limit)
      .map(({ row }) => row)
  }

  backlogCount(project: string): number {
    return [...this.#pages.backlog.values()].filter(({ row }) => row.project === project).length
  }

  nextDueMs(projects: readonly string[], nowMs: number): number | undefined {
    const times = [...this.#pages.backlog.values()]
      .filter(({ row }) => projects.includes(row.project) && row.notBeforeMs > nowMs)
      .map(({ row }) => row.notBeforeMs)
    return times.length === 0 ? undefined : Math.min(...times)
  }

  getCursor(project: string): ProjectCursor | undefined {
    return this.#pages.cursors.get(project)
  }

  putCursor(project: string, cursor: ProjectCursor | undefined): void {
    if (cursor === undefined) this.#pages.cursors.delete(project)
    else this.#pages.cursors.set(project, { ...cursor })
  }

  acquireLeases(
    projects: readonly string[],
    holder: LeaseHolder,
    staleMs: number,
  ): { readonly project: string; readonly holder: LeaseHolder } | undefined {
    for (const project of projects) {
      const other = this.#pages.leases.get(project)
      if (other === undefined || sameHolder(other, holder)) continue
      const running = this.#options.isRunning?.(other)
      if (running ?? holder.heartbeatMs - other.heartbeatMs < staleMs) return { project, holder: other }
    }
    for (const project of projects) this.#pages.leases.set(project, { ...holder })
    return undefined
  }

  beatLeases(projects: readonly string[], holder: LeaseHolder): boolean {
    for (const project of projects) {
      const current = this.#pages.leases.get(project)
      if (current === undefined || !sameHolder(current, holder)) return false
    }
    for (const project of projects) this.#pages.leases.set(project, { ...holder })
    return true
  }

  releaseLeases(projects: readonly string[], holder: LeaseHolder): void {
    for (const project of projects) {
      const current = this.#pages.leases.get(project)
      if (current !== undefined && sameHolder(current, holder)) this.#pages.leases.delete(project)
    }
  }

  close(): void {
    // The pages stay for whoever opens the journal next.
  }

  #rows(wanted: (entry: { row: AttemptRow; kept: boolean }) => boolean): AttemptRow[] {
    return [...this.#pages.attempts.values()]
      .filter(wanted)
      .sort((a, b) => a.row.createdAtMs - b.row.createdAtMs || a.sequence - b.sequence)
      .map(({ row }) => row)
  }
}

function keyOf(label: string, attempt: number): string {
  return JSON.stringify([label, attempt])
}

function sameHolder(a: LeaseHolder, b: LeaseHolder): boolean {
  return a.host === b.host && a.pid === b.pid && a.processStart === b.processStart && a.bootId === b.bootId
}
