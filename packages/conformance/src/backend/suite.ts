import { runChapters, type Chapter, type SuiteOptions } from '../claims.js'
import type { BackendHarness } from '../harness.js'
import { abort } from './abort.js'
import { awkward } from './awkward.js'
import { cancel } from './cancel.js'
import { BackendContext } from './context.js'
import { lifecycle } from './lifecycle.js'
import { many } from './many.js'
import { outage } from './outage.js'
import { outcomes } from './outcomes.js'
import { recovery } from './recovery.js'
import { restart } from './restart.js'
import { states } from './states.js'

export const backendChapters: readonly Chapter<BackendContext>[] = [
  lifecycle,
  states,
  outcomes,
  cancel,
  many,
  awkward,
  abort,
  outage,
  recovery,
  restart,
]

/**
 * Claims about a `ClusterBackend`. Call it inside a mocha `describe`. What the backend says it cannot do is left out, or
 * claimed to be refused.
 */
export function clusterBackendSuite(harness: BackendHarness, options: SuiteOptions = {}): void {
  runChapters(
    'conforms as a cluster backend',
    backendChapters,
    { create: async () => new BackendContext(await harness.create(), harness) },
    options,
  )
}
