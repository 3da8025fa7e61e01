/**
 * Commands and files over SSH.
 *
 * @packageDocumentation
 */

import 'reflect-metadata'

export { sshTransportAdapter as default } from './module.js'
export { sshTransportAdapter } from './module.js'
export { sshConfigSchema } from './config/schema.js'
export type { SshConfig, SshConfigInput } from './config/schema.js'
export { createSshTransport } from './transport.js'
export type { SshTransportOptions } from './transport.js'
export type { Ask } from './connection/authentication.js'
