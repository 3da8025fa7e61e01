/** The notebook's `Task`: one processor on one set of inputs, for people who write their own loops. */

import type { ArchiveRef } from '../domain/archive.js'
import type { TaskState } from '../domain/task.js'
import type { CallOptions } from '../ports/options.js'
import type { Engine } from './engine.js'
import type { Decision } from './plan.js'
import type { Selection } from './selection.js'

export class Task {
  private constructor(
    private readonly engine: Engine,
    private decision: Decision,
  ) {}

  /**
   * The tasks of a configured processor on one node: one, or one per match of an `each` input; also targets on which no set
   * of inputs can be formed yet ({@link hasInputs} is false and {@link label} undefined).
   */
  static async of(
    engine: Engine,
    processor: string,
    target: ArchiveRef,
    options: CallOptions = {},
  ): Promise<readonly Task[]> {
    const { decisions } = await engine.planAll({ ...selectionOf(target), processors: [processor] }, options)
    return decisions
      .filter((decision) => target.scan === undefined || decision.target.scan === target.scan)
      .map((decision) => new Task(engine, decision))
  }

  /** For loops that have decided already. */
  static from(engine: Engine, decision: Decision): Task {
    return new Task(engine, decision)
  }

  get label(): string | undefined {
    return this.decision.task?.label
  }
  get target(): ArchiveRef {
    return this.decision.target
  }
  get processor(): string {
    return this.decision.processor
  }
  /** Why it stands as it does; one sentence. */
  get reason(): string {
    return this.decision.reason
  }
  /** The decision this task was made from, with its trace. */
  get explained(): Decision {
    return this.decision
  }

  /** Whether the archive has an assessor for it, ours or another program's, as of the last look. */
  exists(): boolean {
    return this.decision.from !== undefined || this.decision.madeBy !== undefined
  }
  /** State in the archive, as of the last look; undefined: no assessor yet. */
  status(): TaskState | undefined {
    return this.decision.from ?? (this.decision.madeBy === undefined ? undefined : this.decision.to)
  }
  /** Whether everything it needs is there, as of the last look. */
  hasInputs(): boolean {
    return (
      this.decision.task !== undefined && !(this.decision.to === 'waiting' || this.decision.to === 'held')
    )
  }

  /** Look at it again. */
  async refresh(options: CallOptions = {}): Promise<this> {
    const selection = { ...selectionOf(this.target), processors: [this.processor] }
    const { decisions } = await this.engine.planAll(
      this.label === undefined ? selection : { ...selection, labels: [this.label] },
      options,
    )
    this.decision = decisions.find(({ task }) => task?.label === this.label) ?? this.decision
    return this
  }

  /**
   * Do what is due for it now: create, start, follow, upload. Returns at once with jobs running; call it again later.
   *
   * @throws LeaseHeldError an engine serves the project already
   */
  async update(options: CallOptions = {}): Promise<TaskState | undefined> {
    if (this.label === undefined) return undefined
    await this.engine.run(this.selection(), { ...options, until: 'once', purpose: 'task update' })
    return (await this.refresh(options)).status()
  }

  /** Submit it if everything is there. `false`: it is not ready; {@link reason} says why. */
  async start(options: CallOptions = {}): Promise<boolean> {
    await this.refresh(options)
    if (this.label === undefined || !(this.decision.action === 'submit' || this.decision.action === 'rerun'))
      return false
    await this.update(options)
    return this.status() !== 'ready'
  }

  /** End its job and mark it cancelled. `false`: there was nothing to cancel. */
  async cancel(options: CallOptions = {}): Promise<boolean> {
    return (await this.engine.cancel(this.selection(), options)).length > 0
  }

  private selection(): Selection {
    return { ...selectionOf(this.target), ...(this.label !== undefined && { labels: [this.label] }) }
  }
}

function selectionOf({ project, subject, session }: ArchiveRef): Selection {
  return {
    projects: [project],
    ...(subject !== undefined && { subjects: [subject] }),
    ...(session !== undefined && { sessions: [session] }),
  }
}
