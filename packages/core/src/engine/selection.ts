import type { TaskState } from '../domain/task.js'

/** The selectors every command has. What is absent selects everything. Words may hold `*` and `?`. */
export interface Selection {
  readonly projects?: readonly string[]
  readonly subjects?: readonly string[]
  readonly sessions?: readonly string[]
  /** Processor names or procTypes. */
  readonly processors?: readonly string[]
  readonly states?: readonly TaskState[]
  /** Exact task labels. */
  readonly labels?: readonly string[]
  /** Only tasks changed since. Epoch milliseconds. */
  readonly sinceMs?: number
}
