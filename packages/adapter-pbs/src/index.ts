/**
 * PBS as a cluster backend: OpenPBS and PBS Professional, and Torque.
 *
 * @packageDocumentation
 */

import 'reflect-metadata'
import { pbsAdapter } from './adapter.js'

export default pbsAdapter
export { pbsAdapter }
export { PBS_STATE_FOLDER, PbsBackend, createPbsBackend } from './backend.js'
export type { PbsBackendOptions } from './backend.js'
export { pbsConfig } from './config.js'
export type { Flavour, PbsConfig } from './config.js'
export { pbsDialect } from './dialect.js'
