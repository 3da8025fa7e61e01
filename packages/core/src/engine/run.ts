/**
 * One `run`: plan, act, follow the jobs, collect, again until nothing is left to do.
 *
 * What happens to an attempt, and what a crash at that point costs:
 *
 *   staging     journaled before the workspace is made; a crash → forgotten, staged anew under the same name
 *   submitting  journaled before the scheduler is asked; a crash → the scheduler is asked for the name before anything else
 *   submitted   the scheduler's id is journaled; a crash → followed again
 *   collecting  the job's verdict is journaled before the first byte is sent; a crash → sent again, what is there is skipped
 *   closed      the archive has the final state
 */

import { createHash } from 'node:crypto'
import type { Processor } from '../domain/processor.js'
import { type TaskState } from '../domain/task.js'
import { isAbort, PipelineError } from '../errors.js'
import type { BackendLimits } from '../ports/cluster-backend.js'
import type { Controls } from './controls.js'
import { addCounts, emptyCounts } from './counts.js'
import { looksAtSubjectResults, ProjectDecider } from './decide.js'
import { isAway, withSignal, type EngineDeps } from './deps.js'
import type { EngineProject, RunOptions, RunSummary } from './engine.js'
import { Finisher } from './finish.js'
import { Follower } from './follow.js'
import { Launcher } from './launch.js'
import type { Decision, PlanCounts } from './plan.js'
import { RunState, WRITES } from './run-state.js'
import type { Selection } from './selection.js'

/** Between two looks at what new results make possible: so many times as long as one takes. */
const TOUCHED_REST = 10

export class Run {
  private readonly state: RunState
  private readonly launcher: Launcher
  private readonly follower: Follower

  constructor(
    deps: EngineDeps,
    private readonly controls: Controls,
    private readonly selection: Selection,
    options: RunOptions,
    signal: AbortSignal,
  ) {
    this.state = new RunState(deps, options, signal, isPartial(selection))
    const finisher = new Finisher(this.state)
    this.launcher = new Launcher(this.state, finisher)
    this.follower = new Follower(this.state, this.launcher, finisher)
  }

  private limits: BackendLimits = { source: {} }

  private counts: PlanCounts = emptyCounts()

  /** Projects whose first look could not be finished because something was away. */
  private readonly unplanned = new Set<string>()

  async execute(): Promise<RunSummary> {
    const until = this.state.options.until ?? 'done'
    try {
      this.follower.reloadOpen()
      await this.state.attempt(() => this.follower.follow())
      for (const project of this.state.projects)
        await this.planWhenReachable(project, this.state.options.full === true)
      for (;;) {
        this.state.signal.throwIfAborted()
        if (until === 'once') {
          await this.settle()
          // What ended while we were planning is brought home in the same pass.
          break
        }
        await this.planTouched()
        await this.planDue()
        await this.state.attempt(() => this.launcher.submitNow(true))
        if (this.isDone()) {
          await this.settle()
          if (this.isDone() && (await this.finalLook())) {
            if (until === 'done') break
          }
        }
        await this.waitForChange()
        await this.state.attempt(() => this.follower.follow())
        for (const project of this.state.projects) {
          if (this.unplanned.has(project.id) || (until === 'forever' && this.lookAgain(project.id))) {
            await this.planWhenReachable(project, false)
          }
        }
      }
      this.tidyWorkspaces()
      await this.settle()
    } finally {
      // An abort stops the transfers; let them clean up before the lease goes.
      await Promise.allSettled([...this.state.busy.values(), ...this.state.writing])
    }
    return {
      counts: this.counts,
      ...this.state.totals,
      open: this.state.open.size,
      backlog: this.state.reminders.count(this.state.names),
      problems: this.state.problems,
      away: this.state.wasAway && (this.unplanned.size > 0 || this.state.isAwayNow()),
    }
  }

  private isDone(): boolean {
    const { clock } = this.state.deps
    const { reminders } = this.state
    return (
      this.state.busy.size === 0 &&
      this.launcher.submitQueue.length === 0 &&
      this.state.touched.size === 0 &&
      this.unplanned.size === 0 &&
      !this.hasFollowable() &&
      this.state.names.every((name) => reminders.due(name, clock.now(), 1).length === 0) &&
      reminders.nextMs(this.state.names, clock.now()) === undefined
    )
  }

  private hasFollowable(): boolean {
    if (!this.state.steps.update && !this.state.steps.upload) return false
    const { hurt, open } = this.state
    return [...open.keys()].some((label) => !hurt.has(label))
  }

  /** Project-level processors see what the subjects' results changed. `true`: nothing came of it. */
  private async finalLook(): Promise<boolean> {
    if (this.state.totals.completed === this.completedAtLastLook) return true
    this.completedAtLastLook = this.state.totals.completed
    let quiet = true
    for (const project of this.state.projects) {
      if (!project.processors.some((processor) => processor.level === 'project')) continue
      await this.planWhenReachable(project, true)
      quiet &&= this.isDone()
    }
    return quiet
  }

  private completedAtLastLook = 0

  private async waitForChange(): Promise<void> {
    const { clock, backend, settings } = this.state.deps
    const now = clock.now()
    const due = this.state.reminders.nextMs(this.state.names, now)
    const wakes = [now + settings.timing.pollMs]
    if (due !== undefined) wakes.push(due)
    if (this.state.touched.size > 0 && this.nextTouchedMs > now) wakes.push(this.nextTouchedMs)
    if (this.state.isAwayNow()) wakes.push(this.state.awayUntilMs)
    const idle =
      this.state.open.size === 0 && this.state.busy.size === 0 && this.state.options.until !== 'forever'
    const at = idle
      ? Math.min(...(due === undefined && !this.state.isAwayNow() ? wakes : wakes.slice(1)))
      : Math.min(...wakes)
    this.state.emit({
      kind: 'idle',
      open: this.state.open.size,
      backlog: this.state.reminders.count(this.state.names),
      ...(idle && { untilMs: at }),
    })
    const waiting = new AbortController()
    const signal = AbortSignal.any([this.state.signal, waiting.signal])
    const timeoutMs = Math.max(0, at - now)
    const events: Promise<unknown>[] = [clock.sleep(timeoutMs, { signal })]
    const listens = this.state.open.size > 0 && !this.state.isAwayNow() && !this.follower.isUnsure()
    if (backend.changes !== undefined && listens) {
      events.push(backend.changes(timeoutMs, { signal }))
      this.state.nextFollowMs = 0
    }
    if (this.state.busy.size > 0) events.push(Promise.race(this.state.busy.values()))
    try {
      await Promise.race(events)
    } catch (error) {
      if (!isAway(error)) throw error
      this.state.goneAway(error)
    } finally {
      waiting.abort()
      // The losers of the race reject with our own abort; nobody else looks at them.
      for (const event of events) event.catch((error: unknown) => this.state.quietly(error))
    }
    this.state.signal.throwIfAborted()
  }

  /** Everything that was begun has come to a stop. */
  private async settle(): Promise<void> {
    while (this.state.busy.size > 0 || this.state.writing.size > 0 || this.launcher.submitQueue.length > 0) {
      await this.state.attempt(() => this.launcher.submitNow(true))
      // What is staged and cannot be submitted now is staged again later: the journal says `staging`.
      if (this.state.isAwayNow()) this.launcher.submitQueue = []
      await Promise.all([...this.state.busy.values(), ...this.state.writing])
      this.state.signal.throwIfAborted()
    }
  }

  private async planWhenReachable(project: EngineProject, full: boolean): Promise<void> {
    let done: boolean
    try {
      done = await this.state.attempt(() => this.planProject(project, full))
    } catch (error) {
      if (isAbort(error) || this.state.signal.aborted || !(error instanceof PipelineError)) throw error
      // A project that is gone or closed to us: the others go on.
      this.state.problem(`project ${project.id}`, error)
      done = true
    }
    if (done) this.unplanned.delete(project.id)
    else this.unplanned.add(project.id)
  }

  private readonly lastLookMs = new Map<string, number>()

  /** In `forever` runs: is it time to ask the archive for news? */
  private lookAgain(project: string): boolean {
    const last = this.lastLookMs.get(project) ?? 0
    return this.state.deps.clock.now() - last >= this.state.deps.settings.timing.pollMs * 4
  }

  private async planProject(project: EngineProject, full: boolean): Promise<void> {
    const { store, journal, clock, settings } = this.state.deps
    const options = withSignal(this.state.signal)
    this.lastLookMs.set(project.id, clock.now())
    this.state.writeFailed = false
    const partial = isPartial(this.selection)
    this.limits = await this.state.deps.backend.limits(options)
    const fingerprint = this.fingerprint(project)
    const cursor = journal.getCursor(project.id)
    const changes =
      store.changedSince === undefined || partial
        ? undefined
        : await store.changedSince(project.id, cursor?.cursor, options)
    const known =
      !full &&
      cursor !== undefined &&
      cursor.fingerprint === fingerprint &&
      clock.now() - cursor.fullPassAtMs < settings.timing.fullPassMs
    let subjects: readonly string[] | undefined
    if (changes !== undefined && known && changes.subjects !== 'all') {
      subjects = changes.subjects
      const wholeNeeded = project.processors.some((processor) => processor.level === 'project')
      if (wholeNeeded && (subjects.length > 0 || changes.project)) subjects = undefined
    }
    this.state.emit({
      kind: 'pass',
      project: project.id,
      full: subjects === undefined,
      subjects: subjects?.length ?? 'all',
    })
    if (subjects === undefined || subjects.length > 0) {
      const counts = await this.decideAndAct(
        project,
        subjects ?? this.selection.subjects,
        subjects === undefined,
      )
      this.counts = addCounts(this.counts, counts)
      this.state.emit({ kind: 'planned', project: project.id, counts })
    } else {
      this.state.emit({ kind: 'planned', project: project.id, counts: emptyCounts() })
    }
    // Only now is everything that was decided on disk: as an assessor, an open attempt or a backlog row.
    await Promise.all(this.state.writing)
    if (
      changes !== undefined &&
      this.state.steps.build &&
      this.state.steps.launch &&
      !this.state.writeFailed
    ) {
      journal.putCursor(project.id, {
        cursor: changes.cursor,
        fingerprint,
        fullPassAtMs: subjects === undefined ? clock.now() : (cursor?.fullPassAtMs ?? clock.now()),
      })
    }
    this.state.cameBack()
  }

  /** What decisions depend on beside the archive. Another one: everything is looked at again. */
  private fingerprint(project: EngineProject): string {
    const { settings } = this.state.deps
    const { processors } = project
    const facts = [
      processors.map(({ name, version, level, inputs, params, requirements, outputs }) => ({
        name,
        version,
        level,
        inputs,
        params,
        requirements,
        outputs,
      })),
      this.controls.pauses(),
      this.limits,
      settings.retry,
    ]
    return createHash('sha256').update(JSON.stringify(facts)).digest('hex')
  }

  /**
   * What new results make possible. While results keep coming in it waits for more of them, ten times as long as the last
   * look took: some archives read a whole project to show one subject, and a look after each result would cost the square
   * of their number.
   */
  private async planTouched(): Promise<void> {
    const { clock } = this.state.deps
    if (this.state.touched.size === 0) return
    if (this.state.busy.size > 0 && clock.now() < this.nextTouchedMs) return
    const startMs = clock.now()
    try {
      await this.planAllTouched()
    } finally {
      this.nextTouchedMs = clock.now() + (clock.now() - startMs) * TOUCHED_REST
    }
  }

  private nextTouchedMs = 0

  private async planAllTouched(): Promise<void> {
    for (const [name, subjects] of this.state.touched) {
      const project = this.state.projects.find(({ id }) => id === name)
      this.state.touched.delete(name)
      if (project === undefined) continue
      const labels = [...subjects].filter((subject) => subject !== '')
      if (labels.length === 0) continue
      const done = await this.state.attempt(async () => {
        await this.decideAndAct(project, labels, false)
      })
      if (!done) for (const subject of subjects) this.state.touch(name, subject)
      if (!done) return
    }
  }

  /** Ready tasks that waited for room, failed ones whose time has come. */
  private async planDue(): Promise<void> {
    const { clock } = this.state.deps
    const { reminders } = this.state
    if (!this.state.steps.launch) return
    for (const project of this.state.projects) {
      const room = this.room()
      if (room <= 0) return
      const due = reminders.due(project.id, clock.now(), room)
      if (due.length === 0) continue
      const subjects = [...new Set(due.flatMap(({ subject }) => (subject === undefined ? [] : [subject])))]
      // What is put off again, or begins, is reminded of by whoever does so.
      const taken = new Set<string>()
      this.onTaken = (label) => taken.add(label)
      const done = await this.state.attempt(async () => {
        await this.decideAndAct(
          project,
          subjects,
          due.some(({ subject }) => subject === undefined),
          due.map(({ label }) => label),
        )
        reminders.remove(due.map(({ label }) => label).filter((label) => !taken.has(label)))
      })
      this.onTaken = undefined
      if (!done) return
    }
  }

  private onTaken: ((label: string) => void) | undefined

  private room(): number {
    return this.state.deps.settings.limits.jobs - this.state.open.size
  }

  /** @param whole - project level too, which needs every subject */
  private async decideAndAct(
    project: EngineProject,
    subjects: readonly string[] | undefined,
    whole: boolean,
    labels?: readonly string[],
  ): Promise<PlanCounts> {
    const { store, clock } = this.state.deps
    const needsAll = whole && project.processors.some(({ level }) => level === 'project')
    const plain = subjects?.filter((subject) => !/[*?]/.test(subject))
    const exact =
      !needsAll && subjects !== undefined && plain?.length === subjects.length ? subjects : undefined
    const { project: node, subjects: stream } = await store.snapshot(project.id, {
      ...withSignal(this.state.signal),
      ...(exact !== undefined && { subjects: exact }),
      subjectResults: looksAtSubjectResults(project.processors),
    })
    const byType = new Map(project.processors.map((processor) => [processor.procType, processor]))
    const decider = new ProjectDecider(node, {
      nowMs: clock.now(),
      processors: project.processors,
      open: this.state.open,
      pauses: this.controls.pauses(),
      limits: this.limits,
      trace: false,
      selection: {
        ...this.selection,
        ...(labels !== undefined && { labels }),
        ...(needsAll && subjects !== undefined && labels === undefined && { subjects }),
      },
    })
    this.launcher.planning = true
    try {
      for await (const subject of stream) {
        this.state.signal.throwIfAborted()
        for (const decision of decider.subject(subject)) await this.act(project, byType, decision)
        await this.breathe()
      }
      if (whole) for (const decision of decider.finish()) await this.act(project, byType, decision)
    } finally {
      this.launcher.planning = false
    }
    await this.launcher.submitNow(false)
    return decider.counts()
  }

  /** Between subjects: follow the jobs when it is time, and never have too much begun. */
  private async breathe(): Promise<void> {
    const { clock, settings } = this.state.deps
    while (this.state.writing.size > WRITES * 4) await Promise.race(this.state.writing)
    while (this.launcher.stagingCount >= settings.limits.transfers * 2)
      await Promise.race(this.state.busy.values())
    if (this.state.open.size > 0 && clock.now() >= this.state.nextFollowMs) await this.follower.follow()
  }

  private async act(
    project: EngineProject,
    byType: ReadonlyMap<string, Processor>,
    decision: Decision,
  ): Promise<void> {
    const processor = byType.get(decision.procType)
    const { task } = decision
    if (task === undefined || processor === undefined) return
    switch (decision.action) {
      case 'none':
        if (decision.notBeforeMs !== undefined) this.postpone(project.id, decision, decision.notBeforeMs)
        return
      case 'create':
        if (this.state.steps.build) this.state.write(() => this.create(decision, processor, decision.to))
        return
      case 'mark':
        if (this.state.steps.build) this.state.write(() => this.mark(decision))
        return
      case 'follow':
        if (!this.state.open.has(task.label)) await this.launcher.adopt(project.id, decision)
        return
      case 'submit':
      case 'rerun':
        // The same subject may be looked at twice while an attempt is being made.
        if (this.state.open.has(task.label) || this.state.busy.has(task.label)) return
        if (!this.state.steps.launch || this.room() <= 0) {
          if (this.state.steps.launch) this.postpone(project.id, decision, 0)
          if (this.state.steps.build && decision.from !== 'ready') {
            this.state.write(() =>
              decision.from === undefined ? this.create(decision, processor, 'ready') : this.mark(decision),
            )
          }
          return
        }
        this.onTaken?.(task.label)
        this.launcher.start(project, processor, decision)
        await this.breathe()
    }
  }

  private postpone(project: string, decision: Decision, notBeforeMs: number): void {
    const { task } = decision
    if (task === undefined) return
    const { subject } = task.ref
    this.onTaken?.(task.label)
    this.state.reminders.put({
      label: task.label,
      project,
      ...(subject !== undefined && { subject }),
      notBeforeMs,
    })
  }

  private async create(decision: Decision, processor: Processor, state: TaskState): Promise<void> {
    const detail = await this.state.records.ensure(
      decision,
      processor.params,
      state,
      decision.reason,
      this.state.signal,
    )
    this.state.records.forget(detail.node.label)
    if (detail.created) this.state.announce(decision, state, decision.reason, 0)
  }

  private async mark(decision: Decision): Promise<void> {
    const { task } = decision
    if (task === undefined) return
    const record = await this.state.records.write(
      task.ref,
      (now) =>
        // Somebody moved it meanwhile: leave it, the next look decides.
        now.state === decision.from ? { ...now, state: decision.to, reason: decision.reason } : undefined,
      withSignal(this.state.signal),
    )
    this.state.records.forget(task.label)
    if (record !== undefined) this.state.announce(decision, decision.to, decision.reason, record.attempt)
  }

  /** Workspaces of failed attempts that have been kept long enough. */
  private tidyWorkspaces(): void {
    const { journal, clock, settings } = this.state.deps
    for (const row of journal.keptWorkspaces(clock.now() - settings.timing.keepFailedMs)) {
      if (this.state.names.includes(row.project)) this.state.write(() => this.state.removeWorkspace(row))
    }
  }
}

/** A selection that does not cover whole projects says nothing about what is unchanged. */
function isPartial(selection: Selection): boolean {
  const { subjects, sessions, processors, states, labels } = selection
  return [subjects, sessions, processors, states, labels].some((part) => part !== undefined)
}
