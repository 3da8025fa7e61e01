import { runChapters, type Chapter, type SuiteOptions } from '../claims.js'
import type { StoreHarness } from '../harness.js'
import { abortAndOutage } from './abort-and-outage.js'
import { absence } from './absence.js'
import { assessors } from './assessors.js'
import { awkward } from './awkward.js'
import { changeFeed } from './change-feed.js'
import { StoreContext } from './context.js'
import { files } from './files.js'
import { interrupted } from './interrupted.js'
import { large } from './large.js'
import { tree } from './tree.js'
import { updates } from './updates.js'

export const storeChapters: readonly Chapter<StoreContext>[] = [
  tree,
  assessors,
  updates,
  files,
  interrupted,
  awkward,
  large,
  absence,
  changeFeed,
  abortAndOutage,
]

/**
 * Claims about a `DataStore`. Call it inside a mocha `describe`. What the store says it cannot do is left out, or
 * claimed to be absent.
 */
export function dataStoreSuite(harness: StoreHarness, options: SuiteOptions = {}): void {
  runChapters(
    'conforms as a data store',
    storeChapters,
    { create: async () => new StoreContext(await harness.create(), harness) },
    options,
  )
}
