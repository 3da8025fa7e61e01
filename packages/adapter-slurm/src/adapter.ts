/** The Slurm backend as the command line loads it: `use: slurm`. */

import { ContainerModule } from 'inversify'
import {
  CLOCK,
  CLUSTER_BACKEND,
  LOGGER,
  TRANSPORT,
  defineAdapter,
  type Clock,
  type Logger,
  type Transport,
} from '@orbweaver/core'
import { createSlurmBackend } from './backend.js'
import { slurmConfig } from './config.js'

export const slurmAdapter = defineAdapter({
  kind: 'cluster-backend',
  name: 'slurm',
  configSchema: slurmConfig,
  module: (config, { workRoot, stateDirectory }) =>
    new ContainerModule(({ bind, onDeactivation }) => {
      bind(CLUSTER_BACKEND)
        .toResolvedValue(
          (transport: Transport, clock: Clock, logger: Logger) =>
            createSlurmBackend({ config, transport, clock, logger, workRoot, stateDirectory }),
          [TRANSPORT, CLOCK, LOGGER],
        )
        .inSingletonScope()
      onDeactivation(CLUSTER_BACKEND, (backend) => backend.close())
    }),
})
