/** The local-process backend as the command line loads it: `use: local`. */

import { ContainerModule } from 'inversify'
import { CLUSTER_BACKEND, defineAdapter } from '@orbweaver/core'
import { localConfig } from './config.js'
import { LocalBackend } from './local-backend.js'

export const localAdapter = defineAdapter({
  kind: 'cluster-backend',
  name: 'local',
  configSchema: localConfig,
  module: (config, { stateDirectory }) =>
    new ContainerModule(({ bind, onDeactivation }) => {
      bind(CLUSTER_BACKEND)
        .toDynamicValue(() => new LocalBackend({ stateDirectory, config }))
        .inSingletonScope()
      onDeactivation(CLUSTER_BACKEND, (backend) => backend.close())
    }),
})
