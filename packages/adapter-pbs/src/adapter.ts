/** `use: pbs`. */

import { CLOCK, CLUSTER_BACKEND, LOGGER, TRANSPORT, defineAdapter } from '@orbweaver/core'
import type { Clock, Logger, Transport } from '@orbweaver/core'
import { ContainerModule } from 'inversify'
import { createPbsBackend } from './backend.js'
import { pbsConfig } from './config.js'

export const pbsAdapter = defineAdapter({
  kind: 'cluster-backend',
  name: 'pbs',
  configSchema: pbsConfig,
  module: (config, { workRoot, stateDirectory }) =>
    new ContainerModule((container) => {
      const create = (transport: Transport, clock: Clock, logger: Logger) =>
        createPbsBackend({ config, workRoot, stateDirectory, transport, clock, logger })
      container.bind(CLUSTER_BACKEND).toResolvedValue(create, [TRANSPORT, CLOCK, LOGGER]).inSingletonScope()
      container.onDeactivation(CLUSTER_BACKEND, (backend) => backend.close())
    }),
})
