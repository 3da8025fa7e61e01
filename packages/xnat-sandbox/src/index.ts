/**
 * A server that speaks the part of XNAT's REST API that pipelines and their clients use, for trying and testing.
 *
 * @packageDocumentation
 */

export { startSandbox } from './sandbox.js'
export type { Sandbox, SandboxOptions, SandboxUser } from './sandbox.js'
export type { SeedOptions, SeedProgress, SeedSource } from './seed.js'
export type { Faults, Outage } from './http/faults.js'
export type { Counts, LoggedRequest } from './http/log.js'
export { logLine } from './http/log.js'
