import { runChapters, type SuiteOptions } from '../claims.js'
import type { JournalHarness } from '../harness.js'
import { JournalContext, journalChapters } from './chapters.js'

/** Claims about a `Journal`. Call it inside a mocha `describe`. */
export function journalSuite(harness: JournalHarness, options: SuiteOptions = {}): void {
  runChapters(
    'conforms as a journal',
    journalChapters,
    { create: async () => new JournalContext(await harness.create()) },
    options,
  )
}
