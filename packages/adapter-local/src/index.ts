/**
 * The embedded default: a folder as the archive, this machine as the cluster.
 *
 * @packageDocumentation
 */

import 'reflect-metadata'
import { adapters } from './adapter.js'

export default adapters

// -- local-process backend
export { localAdapter } from './backend/adapter.js'
export { localConfig } from './backend/config.js'
export type { LocalConfig } from './backend/config.js'
export { LocalBackend } from './backend/local-backend.js'
export type { LocalBackendOptions } from './backend/local-backend.js'

// -- folder archive
export { folderAdapter } from './store/adapter.js'
export type { CheckOptions, CheckProblem } from './store/check.js'
export { folderConfig } from './store/config.js'
export type { FolderConfig } from './store/config.js'
export { FolderStore } from './store/folder-store.js'
export type { FolderStoreOptions } from './store/folder-store.js'
export type {
  IngestFile,
  IngestItem,
  IngestOptions,
  IngestProgress,
  IngestScan,
  IngestSummary,
} from './store/ingest.js'
export { createSyntheticArchive, seedSessions, syntheticSessions } from './store/synthetic.js'
export type {
  SyntheticArchiveOptions,
  SyntheticAssessor,
  SyntheticResource,
  SyntheticScan,
  SyntheticSession,
  SyntheticSummary,
} from './store/synthetic.js'

// -- imports
export { BIDS_RECORD_FILE, BIDS_RESOURCE, SESSION_WITHOUT_LABEL, readBids } from './import/bids.js'
export type { BidsSessionRecord, ReadBidsOptions } from './import/bids.js'
export { detectImportKind } from './import/detect.js'
export type { DetectedKind, ImportKind } from './import/detect.js'
export { readDicom } from './import/dicom.js'
export type { DicomLabelRules, ReadDicomOptions } from './import/dicom.js'
export { DICOM_KEYWORDS } from './import/dicom-header.js'
export type { DicomKeyword } from './import/dicom-header.js'
export { MAX_PROBLEMS, importInto } from './import/import-into.js'
export type { ImportOptions, ImportProgress, ImportSummary, IngestTarget } from './import/import-into.js'
export { labelFromText, originalText } from './import/label-map.js'
export { formatImportProblem } from './import/problems.js'
export type { ImportProblem, ImportProblemKind, ReadOptions } from './import/problems.js'
export { readTree } from './import/tree.js'
export type { ReadTreeOptions } from './import/tree.js'

// -- exports
export { exportBidsDerivative } from './export/bids-derivative.js'
export type {
  ExportBidsOptions,
  ExportSummary,
  ExportedDataset,
  PipelineInfo,
} from './export/bids-derivative.js'
export { bidsLabels } from './export/bids-labels.js'
export { exportTree } from './export/result-tree.js'
export type { ExportTreeSummary } from './export/result-tree.js'
export type { ExportOptions, ExportProblem, ExportProgress, ExportSelection } from './export/results.js'
export { MAPPING_FILE } from './export/target-folder.js'
