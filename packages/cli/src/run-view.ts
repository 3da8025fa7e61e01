/** What a pass looks like while it goes on: a block on a terminal, dated lines elsewhere. Fed with engine events. */

import {
  FINAL_STATES,
  TASK_STATES,
  formatDuration,
  formatMemory,
  formatRef,
  type EngineEvent,
  type FailureCause,
  type Processor,
  type TaskState,
} from '@orbweaver/core'
import { LiveBlock } from './terminal/live-block.js'
import type { Paint, Terminal } from './terminal/terminal.js'
import { count, pad, shortenEnd, shortenMiddle } from './terminal/text.js'
import { formatElapsed, formatSpan, formatTime } from './terminal/time.js'
import { bar, paintState } from './terminal/words.js'

/** A task that something happened to in this run. */
export interface SeenTask {
  readonly label: string
  readonly processor: string
  /** Of the task's own node, without the assessor: `P/S/E`. */
  readonly place: string
  state: TaskState
  attempt: number
  sinceMs: number
  cause?: FailureCause
  note?: string
}

/** How many tasks are shown as they run. */
const SHOWN = 8

/** What has happened so far. No output. */
export class RunProgress {
  readonly tasks = new Map<string, SeenTask>()
  /** Tasks that were complete before, by project. */
  private readonly alreadyComplete = new Map<string, number>()
  backlog = 0
  idleUntilMs: number | undefined
  away: { readonly what: string; readonly message: string; readonly untilMs: number } | undefined
  project: string | undefined

  private readonly names: ReadonlyMap<string, string>

  constructor(
    private readonly now: () => number = Date.now,
    processors: readonly Processor[] = [],
  ) {
    this.names = new Map(processors.map(({ name, procType }) => [procType, name]))
  }

  handle(event: EngineEvent): void {
    this.idleUntilMs = undefined
    if (event.kind !== 'away' && event.kind !== 'idle') this.away = undefined
    switch (event.kind) {
      case 'pass':
        this.project = event.project
        break
      case 'planned':
        // Later plans of this run count what it has itself completed.
        if (!this.alreadyComplete.has(event.project)) {
          this.alreadyComplete.set(event.project, event.counts.states.complete)
        }
        break
      case 'task':
        this.handleTask(event)
        break
      case 'staging':
        this.annotate(event.label, `inputs: ${count(event.files, 'file')}, ${formatMemory(event.bytes)}`)
        break
      case 'uploaded':
        this.annotate(
          event.label,
          `${event.resource}: ${count(event.files, 'file')}, ${formatMemory(event.bytes)}`,
        )
        break
      case 'idle':
        this.backlog = event.backlog
        this.idleUntilMs = event.untilMs
        break
      case 'away':
        this.away = event
        break
    }
  }

  private handleTask(event: Extract<EngineEvent, { kind: 'task' }>): void {
    const { assessor: _, ...node } = event.ref
    const known = this.tasks.get(event.label)
    this.tasks.set(event.label, {
      label: event.label,
      processor: this.names.get(event.processor) ?? event.processor,
      place: formatRef(node),
      state: event.to,
      attempt: event.attempt,
      sinceMs: known?.state === event.to ? known.sinceMs : this.now(),
      ...(event.cause !== undefined && { cause: event.cause }),
    })
  }

  private annotate(label: string, note: string): void {
    const task = this.tasks.get(label)
    if (task !== undefined) task.note = note
  }

  /** Of the tasks of this run. */
  inState(state: TaskState): readonly SeenTask[] {
    return [...this.tasks.values()].filter((task) => task.state === state)
  }

  get completeBefore(): number {
    return [...this.alreadyComplete.values()].reduce((sum, number) => sum + number, 0)
  }

  /** Tasks of this run that have come to their end, and all there are. */
  get share(): { readonly done: number; readonly all: number } {
    let done = 0
    let ready = 0
    let all = 0
    for (const { state } of this.tasks.values()) {
      // What waits for an input or a person is not work of this run.
      if (state === 'waiting' || state === 'held') continue
      all += 1
      if (FINAL_STATES.has(state)) done += 1
      if (state === 'ready') ready += 1
    }
    return { done, all: all + Math.max(0, this.backlog - ready) }
  }
}

export interface RunViewOptions {
  readonly terminal: Terminal
  readonly processors: readonly Processor[]
  /** `block` draws on the terminal, `lines` prints a line an event, `quiet` nothing. */
  readonly style: 'block' | 'lines' | 'quiet'
  readonly title: string
  /** Also what matters only when something is looked for. */
  readonly detailed?: boolean
}

export class RunView {
  readonly progress: RunProgress
  private readonly startedMs = Date.now()
  private readonly block: LiveBlock | undefined
  private readonly walltimes: ReadonlyMap<string, number>
  private readonly paint: Paint
  private lastAway = ''

  constructor(private readonly options: RunViewOptions) {
    this.progress = new RunProgress(Date.now, options.processors)
    this.paint = options.terminal.paintError
    this.walltimes = new Map(
      options.processors.map(({ name, requirements }) => [name, requirements.walltimeSeconds]),
    )
    this.block =
      options.style === 'block'
        ? new LiveBlock(options.terminal, (width) => this.render(Math.min(width, 200)))
        : undefined
  }

  start(): void {
    this.block?.start()
  }

  readonly onEvent = (event: EngineEvent): void => {
    this.progress.handle(event)
    const line = this.lineOf(event)
    if (line === undefined) return
    if (this.options.style === 'lines') this.options.terminal.error(`${formatTime(Date.now())} ${line}\n`)
    // On a terminal only what should stay on the screen goes above the block.
    else if (this.block !== undefined && stays(event)) this.options.terminal.error(`${line}\n`)
  }

  stop(): void {
    this.block?.stop()
  }

  /** What a line of a log says of an event; undefined: nothing worth a line. */
  private lineOf(event: EngineEvent): string | undefined {
    const { paint } = this
    switch (event.kind) {
      case 'task': {
        const place = event.label
        const why = event.cause === undefined ? event.reason : `${event.cause.kind}: ${event.cause.summary}`
        const attempt = event.attempt > 1 ? ` (attempt ${event.attempt})` : ''
        return `${paintState(paint, event.to)(pad(event.to, 9))} ${place}${attempt}${why === '' ? '' : ` — ${why}`}`
      }
      case 'planned': {
        const { actions, states } = event.counts
        const submit = actions.submit + actions.rerun
        return `${pad('planned', 9)} ${event.project}: ${submit} to submit, ${actions.follow} under way, ${states.complete} complete`
      }
      case 'away': {
        const text = `${event.what} is away, next try at ${formatTime(event.untilMs)}: ${event.message}`
        if (text === this.lastAway) return undefined
        this.lastAway = text
        return paint.yellow(`${pad('away', 9)} ${text}`)
      }
      case 'uploaded':
        // One a resource: too much for a log that is read for years.
        if (this.options.detailed !== true) return undefined
        return `${pad('uploaded', 9)} ${event.label} ${event.resource}: ${count(event.files, 'file')}, ${formatMemory(event.bytes)}`
      default:
        return undefined
    }
  }

  private render(width: number): string[] {
    const { paint, progress } = this
    const { done, all } = progress.share
    const now = Date.now()
    const barWidth = Math.max(10, Math.min(30, width - 50))
    const head =
      all === 0
        ? `${this.options.title}: ${progress.project === undefined ? 'starting' : `looking at ${progress.project}`}`
        : `${bar(done, all, barWidth)} ${done} of ${count(all, 'task')}`
    const lines = [this.clip(`${head}  ${formatElapsed(now - this.startedMs)}`, width, paint.bold)]
    const counts = TASK_STATES.map((state) => [state, progress.inState(state).length] as const).filter(
      ([, number]) => number > 0,
    )
    const before = progress.completeBefore > 0 ? [`${progress.completeBefore} complete before`] : []
    const words = [...counts.map(([state, number]) => `${number} ${state}`), ...before].join(' · ')
    if (words !== '') lines.push(this.clip(`  ${words}`, width, paint.dim))
    const active = [...progress.inState('uploading'), ...progress.inState('running')]
    for (const task of active.slice(0, SHOWN)) lines.push(this.taskLine(task, now, width))
    if (active.length > SHOWN)
      lines.push(this.clip(`  … and ${active.length - SHOWN} more`, width, paint.dim))
    if (progress.away !== undefined) {
      const { what, untilMs, message } = progress.away
      lines.push(
        this.clip(
          `  ${what} is away, next try in ${formatSpan(untilMs - now)}: ${message}`,
          width,
          paint.yellow,
        ),
      )
    }
    return lines
  }

  /** `  running   dti-qa    P/S/E          0:12 of 1h ██░░░░` */
  private taskLine(task: SeenTask, now: number, width: number): string {
    const elapsed = now - task.sinceMs
    const walltime = this.walltimes.get(task.processor)
    const limited = walltime !== undefined && task.state === 'running'
    const clock = limited
      ? `${bar(elapsed / 1000, walltime, 8)} ${formatElapsed(elapsed).padStart(7)} of ${formatDuration(walltime)}`
      : `${' '.repeat(9)}${formatElapsed(elapsed).padStart(7)}`
    const name = pad(shortenMiddle(task.processor, 16), 16)
    const room = width - 2 - 10 - 17 - 32
    // Several tasks of a processor may be at one place; the end of the label tells them apart, and serves as a name.
    const where = `${task.place} ${task.label.slice(-8)}`
    const place = pad(shortenMiddle(where, Math.max(8, room)), Math.max(8, room))
    const state = pad(task.state, 9)
    const text = shortenEnd(`  ${state} ${name} ${place} ${clock}`, width - 1)
    return text.replace(state, paintState(this.paint, task.state)(state))
  }

  private clip(text: string, width: number, paint: (text: string) => string): string {
    return paint(shortenEnd(text, width - 1))
  }
}

/** Worth keeping on the screen when the block is gone: what ended badly. */
function stays(event: EngineEvent): boolean {
  return (
    (event.kind === 'task' && (event.to === 'failed' || event.cause !== undefined)) || event.kind === 'away'
  )
}
