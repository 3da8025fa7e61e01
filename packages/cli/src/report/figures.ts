/** What tasks took, added up by processor. Pure; one pass, a few numbers kept a task. */

import type { TaskRecord, TaskState, TaskView } from '@orbweaver/core'

/** Examples kept of each kind of failure, and of the longest waits. */
const EXAMPLES = 3
/** With fewer complete jobs nothing is suggested: one lucky scan says nothing of the next. */
const ENOUGH = 5
/** What is suggested lies this much over the most that was used. */
const ROOM = 1.25
/** A suggestion is worth the change only when it is less than this part of what was asked for. */
const WORTH = 0.8
/** A limit that killed jobs is raised by this much: what they would have used is not known. */
const RAISE = 1.5

/** Of the jobs that told; linear interpolation is not used, every number was seen. */
export interface Spread {
  readonly jobs: number
  readonly median: number
  readonly p95: number
  readonly max: number
}

/** One requirement: what was asked for (the most), what was used, what would do. */
export interface Usage {
  readonly asked?: number
  readonly used?: Spread
  readonly suggested?: number
}

export interface FailureFigures {
  readonly cause: string
  readonly tasks: number
  readonly examples: readonly { readonly label: string; readonly summary: string }[]
}

export interface Wait {
  readonly label: string
  readonly seconds: number
}

/** All figures are of the latest attempt of each task. Memory in bytes, times in seconds. */
export interface ProcessorFigures {
  readonly processor: string
  readonly tasks: number
  readonly states: Readonly<Partial<Record<TaskState | 'other', number>>>
  readonly failures: readonly FailureFigures[]
  /** Jobs that have told what they used. */
  readonly jobs: number
  readonly cpuHours: number
  /** Elapsed time times cpus asked for: what the cluster charges. */
  readonly reservedHours: number
  readonly restarts: number
  readonly memory: Usage
  readonly walltime: Usage
  readonly queueWait?: Spread
  /** Longest first. */
  readonly longestWaits: readonly Wait[]
}

/** Adds up one processor. */
class Processor {
  readonly #states = new Map<TaskState | 'other', number>()
  readonly #failures = new Map<string, { tasks: number; examples: { label: string; summary: string }[] }>()
  readonly #memory: number[] = []
  readonly #elapsed: number[] = []
  readonly #waits: number[] = []
  #longest: Wait[] = []
  #tasks = 0
  #jobs = 0
  #cpuSeconds = 0
  #reservedSeconds = 0
  #restarts = 0
  #askedMemory: number | undefined
  #askedWalltime: number | undefined

  add({ node, label }: TaskView, record: TaskRecord | undefined): void {
    this.#tasks += 1
    const state = node.state ?? 'other'
    this.#states.set(state, (this.#states.get(state) ?? 0) + 1)
    if (state === 'failed') this.#fail(label, record?.cause?.kind ?? node.cause ?? 'unknown', record)
    const job = record?.job
    if (job === undefined) return
    this.#askedMemory = most(this.#askedMemory, job.memoryBytes)
    this.#askedWalltime = most(this.#askedWalltime, job.walltimeSeconds)
    this.#restarts += job.restarts ?? 0
    if (job.startedAtMs !== undefined && job.submittedAtMs !== undefined) {
      // Clocks of two machines: a start that seems to lie before the submit is no wait.
      this.#wait({ label, seconds: Math.max(0, (job.startedAtMs - job.submittedAtMs) / 1000) })
    }
    if (job.elapsedSeconds === undefined && job.cpuSeconds === undefined) return
    this.#jobs += 1
    this.#cpuSeconds += job.cpuSeconds ?? 0
    this.#reservedSeconds += (job.elapsedSeconds ?? 0) * (job.cpus ?? 1)
    // A job that failed early has used less than it needs.
    if (state !== 'complete') return
    if (job.peakMemoryBytes !== undefined) this.#memory.push(job.peakMemoryBytes)
    if (job.elapsedSeconds !== undefined) this.#elapsed.push(job.elapsedSeconds)
  }

  #fail(label: string, cause: string, record: TaskRecord | undefined): void {
    const found = this.#failures.get(cause) ?? { tasks: 0, examples: [] }
    this.#failures.set(cause, found)
    found.tasks += 1
    if (found.examples.length < EXAMPLES) {
      found.examples.push({ label, summary: record?.cause?.summary ?? record?.reason ?? '' })
    }
  }

  #wait(wait: Wait): void {
    this.#waits.push(wait.seconds)
    this.#longest = [...this.#longest, wait].sort((a, b) => b.seconds - a.seconds).slice(0, EXAMPLES)
  }

  figures(processor: string): ProcessorFigures {
    const queueWait = spread(this.#waits)
    return {
      processor,
      tasks: this.#tasks,
      states: Object.fromEntries(this.#states),
      failures: [...this.#failures]
        .map(([cause, found]) => ({ cause, ...found }))
        .sort((a, b) => b.tasks - a.tasks),
      jobs: this.#jobs,
      cpuHours: this.#cpuSeconds / 3600,
      reservedHours: this.#reservedSeconds / 3600,
      restarts: this.#restarts,
      memory: usage(this.#askedMemory, this.#memory, this.#failures.has('memory'), roundMemory),
      walltime: usage(this.#askedWalltime, this.#elapsed, this.#failures.has('walltime'), roundTime),
      ...(queueWait !== undefined && { queueWait }),
      longestWaits: this.#longest,
    }
  }
}

export class Figures {
  readonly #processors = new Map<string, Processor>()
  total = 0

  add(view: TaskView, record: TaskRecord | undefined): void {
    const processor = this.#processors.get(view.processor) ?? new Processor()
    this.#processors.set(view.processor, processor)
    processor.add(view, record)
    this.total += 1
  }

  /** By name. */
  list(): readonly ProcessorFigures[] {
    return [...this.#processors]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, processor]) => processor.figures(name))
  }
}

/** Nearest rank. */
export function spread(values: readonly number[]): Spread | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (part: number): number => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? 0
  return sorted.length === 0 ? undefined : { jobs: sorted.length, median: at(0.5), p95: at(0.95), max: at(1) }
}

function usage(
  asked: number | undefined,
  values: readonly number[],
  killed: boolean,
  round: (value: number) => number,
): Usage {
  const used = spread(values)
  const suggested = suggest(asked, used, killed, round)
  return {
    ...(asked !== undefined && { asked }),
    ...(used !== undefined && { used }),
    ...(suggested !== undefined && { suggested }),
  }
}

/** Undefined: what is asked for is about right, or too little is known. */
function suggest(
  asked: number | undefined,
  used: Spread | undefined,
  killed: boolean,
  round: (value: number) => number,
): number | undefined {
  if (asked === undefined) return undefined
  if (killed) return round(asked * RAISE)
  if (used === undefined || used.jobs < ENOUGH) return undefined
  const wanted = round(used.max * ROOM)
  const isTight = used.max * 1.05 > asked
  return wanted < asked * WORTH || (isTight && wanted > asked) ? wanted : undefined
}

const MIB = 1024 ** 2

/** Up to whole steps of 64 MiB, and of 512 MiB beyond 4 GiB. */
function roundMemory(bytes: number): number {
  const step = bytes > 4096 * MIB ? 512 * MIB : 64 * MIB
  return Math.max(step, Math.ceil(bytes / step) * step)
}

/** Up to whole steps of 5 minutes, and of an hour beyond a day. At least 5 minutes: the slow node comes too. */
function roundTime(seconds: number): number {
  const step = seconds > 86_400 ? 3600 : 300
  return Math.max(step, Math.ceil(seconds / step) * step)
}

const most = (one: number | undefined, other: number | undefined): number | undefined =>
  one === undefined || other === undefined ? (one ?? other) : Math.max(one, other)
