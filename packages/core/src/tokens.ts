/** Names under which ports are bound in the container. `Symbol.for`: two copies of core in one tree still agree. */

import type { ServiceIdentifier } from 'inversify'
import type { ClusterBackend } from './ports/cluster-backend.js'
import type { DataStore } from './ports/data-store.js'
import type { Journal } from './ports/journal.js'
import type { Clock, Logger, Notifier } from './ports/services.js'
import type { Transport } from './ports/transport.js'
import type { Engine } from './engine/engine.js'

export const CLUSTER_BACKEND: ServiceIdentifier<ClusterBackend> = Symbol.for('@orbweaver/core/ClusterBackend')
export const DATA_STORE: ServiceIdentifier<DataStore> = Symbol.for('@orbweaver/core/DataStore')
export const TRANSPORT: ServiceIdentifier<Transport> = Symbol.for('@orbweaver/core/Transport')
export const JOURNAL: ServiceIdentifier<Journal> = Symbol.for('@orbweaver/core/Journal')
export const CLOCK: ServiceIdentifier<Clock> = Symbol.for('@orbweaver/core/Clock')
export const LOGGER: ServiceIdentifier<Logger> = Symbol.for('@orbweaver/core/Logger')
export const NOTIFIER: ServiceIdentifier<Notifier> = Symbol.for('@orbweaver/core/Notifier')
export const ENGINE: ServiceIdentifier<Engine> = Symbol.for('@orbweaver/core/Engine')
