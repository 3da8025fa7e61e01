import { runChapters, type Chapter, type SuiteOptions } from '../claims.js'
import type { TransportHarness } from '../harness.js'
import { commands } from './commands.js'
import { TransportContext } from './context.js'
import { files } from './files.js'

export const transportChapters: readonly Chapter<TransportContext>[] = [commands, files]

/** Claims about a `Transport`: its commands and its files. Call it inside a mocha `describe`. */
export function transportSuite(harness: TransportHarness, options: SuiteOptions = {}): void {
  runChapters(
    'conforms as a transport',
    transportChapters,
    { create: async () => new TransportContext(await harness.create(), harness) },
    options,
  )
}
