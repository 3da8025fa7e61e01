/**
 * XNAT: a client for its REST API, and an archive over it.
 *
 * @packageDocumentation
 */

import 'reflect-metadata'
import { xnatAdapter } from './adapter.js'

export default xnatAdapter

// -- client
export type { ExperimentAddress, LabelAddress, ResourceAddress, XnatAddress } from './client/address.js'
export { XnatClient } from './client/client.js'
export type { ListOptions, UploadFileOptions, XnatClientOptions } from './client/client.js'
export type { AliasToken } from './client/answers.js'
export type { XnatFile, XnatResource } from './client/listed.js'
export { XnatCredentials, findCredentials, urlFromEnvironment } from './client/credentials.js'
export type { FindCredentialsOptions } from './client/credentials.js'
export type {
  BodySource,
  RequestEvent,
  RetryOptions,
  XnatHttpOptions,
  XnatRequest,
} from './client/request.js'
export type { XnatItem } from './client/item.js'
export type { XnatRow } from './client/result-set.js'

// -- archive
export { xnatAdapter } from './adapter.js'
export { xnatConfig } from './config.js'
export type { XnatConfig } from './config.js'
export { XnatDataStore } from './store/xnat-store.js'
export type { XnatDataStoreOptions } from './store/xnat-store.js'

// -- helpers
export { JobHandler } from './helpers/job-handler.js'
export type { JobHandlerOptions } from './helpers/job-handler.js'
export { ResourceSyncer } from './helpers/resource-syncer.js'
export type {
  SyncEntry,
  SyncFailure,
  SyncOptions,
  SyncProgress,
  SyncResult,
} from './helpers/resource-syncer.js'
export type { OnConflict, SyncDirection } from './helpers/sync-plan.js'
export { fetchFiles, sendFiles, type TransferOptions, type TransferProgress } from './helpers/files.js'
