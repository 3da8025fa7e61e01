/** Small services the engine is given: time, log lines, and people to tell. */

import type { CauseKind } from '../domain/cause.js'
import type { CallOptions } from './options.js'

export interface Clock {
  /** Epoch milliseconds. */
  now(): number
  /** Resolves after the time, rejects with the signal's reason on abort. */
  sleep(ms: number, options?: CallOptions): Promise<void>
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** One line an event. Fields are ids and numbers; never file content, names of people or secrets. */
export interface Logger {
  log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** Something a person may want to hear of. Carries ids and counts only. */
export type Notification =
  | {
      readonly kind: 'task-failed'
      readonly label: string
      readonly cause: CauseKind
      readonly final: boolean
    }
  | { readonly kind: 'task-complete'; readonly label: string }
  | { readonly kind: 'archive-away' | 'backend-away'; readonly message: string }
  | { readonly kind: 'pass-done'; readonly counts: Readonly<Record<string, number>> }

export interface Notifier {
  /** A notifier that fails is logged and otherwise ignored: it never stops the work. */
  notify(notification: Notification): Promise<void>
}
