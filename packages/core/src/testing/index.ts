/**
 * Doubles of every port that keep all its promises, for tests of engines and adapters. They pass the conformance kit.
 *
 * @packageDocumentation
 */

export { InMemoryBackend, jobScriptEffects } from './in-memory-backend.js'
export type { InMemoryBackendOptions, JobEffects, JobScript, VirtualJob } from './in-memory-backend.js'
export { InMemoryFiles } from './in-memory-files.js'
export type { InMemoryFilesOptions } from './in-memory-files.js'
export { InMemoryJournal } from './in-memory-journal.js'
export type { InMemoryJournalOptions } from './in-memory-journal.js'
export { InMemoryStore } from './in-memory-store.js'
export type { ForeignAssessor, InMemoryStoreOptions } from './in-memory-store.js'
export { ManualClock } from './manual-clock.js'
export type { ManualClockOptions } from './manual-clock.js'
export { RecordingLogger, RecordingNotifier } from './recorders.js'
export type { LogLine } from './recorders.js'
export { seedMany, seedScan } from './seed.js'
export type { SeedFiles, SeedProject, SeedResources, SeedScan, SeedSession, SeedSubject } from './seed.js'
export { skipTest } from './skip-test.js'
export type { SkippableContext } from './skip-test.js'
