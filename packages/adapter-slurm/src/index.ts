/**
 * Slurm as a cluster backend.
 *
 * @packageDocumentation
 */

import 'reflect-metadata'
import { slurmAdapter } from './adapter.js'

export default slurmAdapter

export { slurmAdapter } from './adapter.js'
export { STATE_FOLDER, createSlurmBackend } from './backend.js'
export type { SlurmBackendOptions } from './backend.js'
export { slurmConfig } from './config.js'
export type { SlurmConfig } from './config.js'
export { slurmDialect } from './dialect.js'
