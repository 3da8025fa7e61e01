/** The composition root: the only file that asks the container for anything. */

import 'reflect-metadata'
import {
  CLOCK,
  CLUSTER_BACKEND,
  DATA_STORE,
  ENGINE,
  JOURNAL,
  LOGGER,
  NOTIFIER,
  TRANSPORT,
  createEngine,
  createLocalTransport,
  openJournal,
  silentNotifier,
  systemClock,
  type AdapterContext,
  type Clock,
  type ClusterBackend,
  type DataStore,
  type Engine,
  type Journal,
  type LoadedSite,
  type Logger,
  type Notifier,
  type Transport,
} from '@orbweaver/core'
import { Container, ContainerModule } from 'inversify'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

/** What commands use. */
export interface Services {
  readonly site: LoadedSite
  readonly engine: Engine
  readonly store: DataStore
  readonly backend: ClusterBackend
  readonly transport: Transport
  close(): Promise<void>
}

export interface ContainerOptions {
  readonly logger: Logger
  /** Opened elsewhere, in place of the one that the site describes. Closed with the rest. */
  readonly store?: DataStore
}

/** Everything of a site, built once and wired. */
export async function buildContainer(site: LoadedSite, options: ContainerOptions): Promise<Services> {
  await mkdir(site.stateDirectory, { recursive: true, mode: 0o700 })
  const context: AdapterContext = {
    siteDirectory: site.directory,
    stateDirectory: site.stateDirectory,
    workRoot: site.workRoot,
    site: site.name,
  }
  const container = new Container({ defaultScope: 'Singleton' })
  container.load(
    runtimeModule(site, options),
    transportModule(site, context),
    site.cluster.descriptor.module(site.cluster.config, context),
    storeModule(site, context, options.store),
    engineModule(site),
  )
  const [engine, store, backend, transport, journal] = await Promise.all([
    container.getAsync(ENGINE),
    container.getAsync(DATA_STORE),
    container.getAsync(CLUSTER_BACKEND),
    container.getAsync(TRANSPORT),
    container.getAsync(JOURNAL),
  ])
  return {
    site,
    engine,
    store,
    backend,
    transport,
    async close() {
      await engine.close()
      await Promise.all([store.close(), backend.close(), transport.close()])
      journal.close()
    },
  }
}

function runtimeModule(site: LoadedSite, { logger }: ContainerOptions): ContainerModule {
  return new ContainerModule(({ bind }) => {
    bind(CLOCK).toConstantValue(systemClock)
    bind(LOGGER).toConstantValue(logger)
    bind(NOTIFIER).toConstantValue(silentNotifier)
    bind(JOURNAL).toResolvedValue(() => openJournal(join(site.stateDirectory, 'journal.db')), [])
  })
}

/** This machine, unless the site names another way. */
function transportModule(site: LoadedSite, context: AdapterContext): ContainerModule {
  const { transport } = site
  if (transport.descriptor !== undefined) return transport.descriptor.module(transport.config, context)
  return new ContainerModule(({ bind }) => {
    bind(TRANSPORT).toResolvedValue(() => createLocalTransport(), [])
  })
}

function storeModule(
  { store }: LoadedSite,
  context: AdapterContext,
  given: DataStore | undefined,
): ContainerModule {
  if (given === undefined) return store.descriptor.module(store.config, context)
  return new ContainerModule(({ bind }) => {
    bind(DATA_STORE).toConstantValue(given)
  })
}

function engineModule({ settings }: LoadedSite): ContainerModule {
  return new ContainerModule(({ bind }) => {
    bind(ENGINE).toResolvedValue(
      (
        store: DataStore,
        backend: ClusterBackend,
        transport: Transport,
        journal: Journal,
        clock: Clock,
        logger: Logger,
        notifier: Notifier,
      ) => createEngine({ settings, store, backend, transport, journal, clock, logger, notifier }),
      [DATA_STORE, CLUSTER_BACKEND, TRANSPORT, JOURNAL, CLOCK, LOGGER, NOTIFIER],
    )
  })
}
