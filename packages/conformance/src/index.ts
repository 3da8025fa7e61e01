/**
 * The conformance kit: contract suites for backends, stores, transports and journals.
 *
 * @packageDocumentation
 */

export { shellCommand } from './backend/behaviour.js'
export { clusterBackendSuite } from './backend/suite.js'
export { claimsAside } from './claims-aside.js'
export type { ClaimsAside } from './claims-aside.js'
export { inArrays } from './in-arrays.js'
export { listClaims } from './list-claims.js'
export { remembering, unreliable } from './live-backend.js'
export type { UnreliableRunner } from './live-backend.js'
export { recordedCases } from './recordings.js'
export type { RecordedCase, Recording } from './recordings.js'
export { dataStoreSuite } from './store/suite.js'
export { journalSuite } from './journal/suite.js'
export { transportSuite } from './transport/suite.js'
export type { ClaimInfo, Port, SuiteOptions, TestUi } from './claims.js'
export type {
  BackendHarness,
  BackendLab,
  JobBehaviour,
  JournalHarness,
  JournalLab,
  StoreHarness,
  StoreLab,
  TransportHarness,
  TransportLab,
} from './harness.js'
export type {
  SeedFiles,
  SeedProject,
  SeedResources,
  SeedScan,
  SeedSession,
  SeedSubject,
} from '@orbweaver/core/testing'
