/** The transport for the container, and the adapter's descriptor. */

import { ContainerModule } from 'inversify'
import { ConfigError, TRANSPORT, defineAdapter } from '@orbweaver/core'
import { sshConfigSchema } from './config/schema.js'
import { terminalAsk } from './connection/terminal.js'
import { createSshTransport } from './transport.js'

export const sshTransportAdapter = defineAdapter({
  kind: 'transport',
  name: 'ssh',
  configSchema: sshConfigSchema,
  module: (config, context) =>
    new ContainerModule(({ bind }) => {
      bind(TRANSPORT).toResolvedValue(() => {
        const agentSocket = process.env['SSH_AUTH_SOCK']
        const ask = terminalAsk()
        const variable = config.passphraseVariable
        const passphrase = variable === undefined ? undefined : process.env[variable]
        if (variable !== undefined && passphrase === undefined) {
          throw new ConfigError([
            {
              file: 'site file',
              path: 'cluster.transport.passphraseVariable',
              message: `the variable ${variable} is not set`,
              hint: 'set it to the passphrase of the key before starting orbweaver',
            },
          ])
        }
        return createSshTransport(config, {
          directory: context.siteDirectory,
          ...(agentSocket !== undefined && agentSocket !== '' && { agentSocket }),
          ...(passphrase !== undefined && { passphrase }),
          ...(ask !== undefined && { ask }),
        })
      }, [])
    }),
})
