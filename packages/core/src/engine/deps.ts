import type { ClusterBackend } from '../ports/cluster-backend.js'
import type { DataStore } from '../ports/data-store.js'
import type { Journal } from '../ports/journal.js'
import type { Clock, Logger, Notifier } from '../ports/services.js'
import type { Transport } from '../ports/transport.js'
import { PipelineError } from '../errors.js'
import type { EngineSettings } from './engine.js'

/** Everything an engine is given. */
export interface EngineDeps {
  readonly settings: EngineSettings
  readonly store: DataStore
  readonly backend: ClusterBackend
  readonly transport: Transport
  readonly journal: Journal
  readonly clock: Clock
  readonly logger: Logger
  readonly notifier: Notifier
}

/**
 * The archive, the scheduler, the way to them, or room on disk is away for now: work waits, nothing fails for it. A
 * scheduler whose answers cannot be read tells as little as one that does not answer.
 */
export function isAway(error: unknown): error is PipelineError {
  return (
    error instanceof PipelineError &&
    (error.code === 'STORE_UNAVAILABLE' ||
      error.code === 'BACKEND_UNAVAILABLE' ||
      error.code === 'BACKEND_PROTOCOL' ||
      error.code === 'TRANSPORT_UNAVAILABLE' ||
      error.code === 'NO_SPACE')
  )
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** `{ signal }` or nothing, as exact optional properties want it. */
export const withSignal = (signal: AbortSignal | undefined): { readonly signal?: AbortSignal } =>
  signal === undefined ? {} : { signal }
