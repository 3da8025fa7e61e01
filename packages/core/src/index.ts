/**
 * Orbweaver's core: domain, ports and engine. It names no scheduler and no archive.
 *
 * @packageDocumentation
 */

// -- errors
export {
  AccessDeniedError,
  BackendProtocolError,
  BackendUnavailableError,
  ConfigError,
  ConflictError,
  InputError,
  IntegrityError,
  JobRejectedError,
  LeaseHeldError,
  NoSpaceError,
  NotFoundError,
  NotSupportedError,
  PipelineError,
  StoreProtocolError,
  StoreUnavailableError,
  TransportUnavailableError,
  formatProblem,
  isAbort,
  systemErrorCode,
} from './errors.js'
export type { ConfigProblem, ErrorCode, PipelineErrorOptions } from './errors.js'

// -- domain
export { LEVELS, formatRef, formatResourceRef, levelOf, parentOf } from './domain/archive.js'
export type {
  ArchiveRef,
  AssessorNode,
  Checksum,
  ChecksumAlgorithm,
  FileEntry,
  Level,
  ProjectNode,
  ResourceNode,
  ResourceRef,
  ScanNode,
  ScanQuality,
  SessionNode,
  SubjectNode,
} from './domain/archive.js'
export { CAUSE_KINDS } from './domain/cause.js'
export type { CauseKind, Evidence, FailureCause } from './domain/cause.js'
export { JOB_OUTCOMES, JOB_PHASES, jobId } from './domain/job.js'
export type {
  ExitRecord,
  JobId,
  JobOutcome,
  JobPhase,
  JobSpec,
  JobStatus,
  JobUsage,
  NativeState,
  StartRecord,
  WaitingOn,
} from './domain/job.js'
export {
  MAX_LABEL_LENGTH,
  checkFilePath,
  checkLabel,
  filePathProblem,
  labelProblem,
  printable,
  wildcard,
} from './domain/labels.js'
export {
  AssessorProcessor,
  DO_NOT_RUN_QUALITIES,
  PASSED_QUALITIES,
  ProcessorBase,
  ProjectProcessor,
  RERUN_QUALITIES,
  ScanProcessor,
  SessionProcessor,
  SubjectProcessor,
  all,
  defineProcessor,
  each,
  first,
  last,
  one,
  optional,
} from './domain/processor.js'
export type {
  AssessorSelector,
  CommandContext,
  ContainerDeclaration,
  InputDeclaration,
  InputValue,
  OutputDeclaration,
  Processor,
  ProcessorContext,
  ProcessorDefinition,
  ResolvedInput,
  ResolvedOutput,
  ScanSelector,
  ScriptDeclaration,
  TargetView,
} from './domain/processor.js'
export {
  DEFAULT_REQUIREMENTS,
  formatClock,
  formatDuration,
  formatMemory,
  parseDuration,
  parseMemory,
  parseRequirements,
} from './domain/requirements.js'
export type { Requirements, RequirementsInput } from './domain/requirements.js'
export {
  definitionProblems,
  interpreterFor,
  overrideProblems,
  resolveProcessor,
} from './domain/resolve-processor.js'
export type { ProcessorOverrides, ResolveOptions } from './domain/resolve-processor.js'
export {
  assessorSelectorSchema,
  containerSchema,
  durationSchema,
  inputDeclarationSchema,
  memorySchema,
  outputDeclarationSchema,
  requirementsSchema,
  scanSelectorSchema,
  walltimeSchema,
} from './domain/processor-schema.js'
export { checkSchema, knownWords, nearest } from './domain/problems.js'
export type { DataPath, DataProblem, SchemaOptions, SchemaResult } from './domain/problems.js'
export {
  ACTIVE_STATES,
  FINAL_STATES,
  TASK_STATES,
  attemptName,
  canBecome,
  procTypeOf,
  sameChecksum,
  sameContent,
  taskLabel,
} from './domain/task.js'
export type {
  InputBinding,
  InputSource,
  JobRecord,
  OutputManifest,
  TaskIdentity,
  TaskRecord,
  TaskState,
} from './domain/task.js'
export { STATUS_VOCABULARIES, stateOfStatusWord, statusWordOf } from './domain/status-words.js'
export type { StatusVocabulary } from './domain/status-words.js'

// -- ports
export { defineAdapter } from './ports/adapter.js'
export type { AdapterContext, AdapterDescriptor, AdapterExport, AdapterKind } from './ports/adapter.js'
export type {
  BackendCapabilities,
  BackendHealth,
  BackendLimits,
  ClusterBackend,
  Diagnosis,
  SubmitOutcome,
} from './ports/cluster-backend.js'
export type {
  AssessorChange,
  AssessorDetail,
  AssessorInit,
  Changes,
  DataStore,
  FileSink,
  FileSource,
  ProjectSnapshot,
  SnapshotOptions,
  StoreCapabilities,
  UploadOptions,
} from './ports/data-store.js'
export type {
  AttemptRow,
  AttemptStage,
  BacklogRow,
  Journal,
  LeaseHolder,
  ProjectCursor,
} from './ports/journal.js'
export type { CallOptions } from './ports/options.js'
export type { Clock, LogLevel, Logger, Notification, Notifier } from './ports/services.js'
export type {
  CommandResult,
  CommandRunner,
  CommandSpec,
  FileBatch,
  FileGathering,
  FileTransfer,
  ListedFile,
  Transport,
} from './ports/transport.js'

// -- job
export { checkByJob } from './job/check-by-job.js'
export type { CheckByJobOptions } from './job/check-by-job.js'
export { pathsOf, workspacePaths } from './job/workspace.js'
export type { WorkspacePaths } from './job/workspace.js'
export { containerPaths, parseExitRecord, parseStartRecord, renderJobScript } from './job/job-script.js'
export type { ContainerRuntime, JobCommands, JobContainer, JobScriptOptions } from './job/job-script.js'
export { shellProgram, shellQuote, variableNameProblem } from './job/shell-words.js'

// -- engine
export { Task } from './engine/task.js'
export { ProjectLoop, ScanLoop, SessionLoop, SubjectLoop } from './engine/loops.js'
export { createEngine } from './engine/create-engine.js'
export { decide, ProjectDecider } from './engine/decide.js'
export type { DecideContext } from './engine/decide.js'
export type { EngineDeps } from './engine/deps.js'
export { onNetworkFileSystem, openJournal } from './engine/sqlite-journal.js'
export { bootId, processStart } from './engine/process-identity.js'
export { judge } from './domain/verdict.js'
export type { Verdict, Witnesses } from './domain/verdict.js'
export { ALL_STEPS } from './engine/engine.js'
export type {
  Engine,
  EngineEvent,
  EngineLimits,
  EngineProject,
  EngineSettings,
  EngineTiming,
  LogChunk,
  PassSteps,
  Pause,
  PlanOptions,
  RunOptions,
  RunSummary,
  TaskView,
  TryOptions,
  TryResult,
  VerifyResult,
} from './engine/engine.js'
export type { Action, Decision, Plan, PlanCounts, TraceStep } from './engine/plan.js'
export { DEFAULT_RETRY, decideRetry, grownRequirements } from './engine/retry.js'
export type { RetryDecision, RetryPolicy, RetryRule } from './engine/retry.js'
export type { Selection } from './engine/selection.js'

// -- configuration
export { PLACEHOLDERS, parseCommand } from './domain/command-template.js'
export type {
  CommandItem,
  CommandTemplate,
  TemplateNames,
  TemplateResult,
} from './domain/command-template.js'
export {
  PROCESSOR_ENDINGS,
  loadProcessorFile,
  processorFileSchema,
  processorJsonSchema,
} from './config/processor-file.js'
export { SITE_FILE_NAMES, findSiteFile, loadSite } from './config/site.js'
export type { LoadedSite, SiteAdapter, SiteOptions, SiteProcessor, SiteSummary } from './config/site.js'
export { siteJsonSchema } from './config/site-schema.js'
export { parseYaml, readYaml, validateDocument } from './config/yaml-document.js'
export type { DocumentSource, Validated, YamlDocument } from './config/yaml-document.js'

// -- container
export { CLOCK, CLUSTER_BACKEND, DATA_STORE, ENGINE, JOURNAL, LOGGER, NOTIFIER, TRANSPORT } from './tokens.js'

// -- runtime
export { systemClock } from './runtime/clock.js'
export { plainLogger, silentLogger } from './runtime/logger.js'
export type { PlainLoggerOptions } from './runtime/logger.js'
export { silentNotifier } from './runtime/notifier.js'

// -- transport: this machine
export { createLocalRunner } from './transport/command-runner.js'
export type { LocalRunnerOptions } from './transport/command-runner.js'
export { createFolderSink, createFolderSource } from './transport/folder.js'
export { checkAbsolute, checkContained, onFile } from './transport/file-guards.js'
export { createLocalTransport } from './transport/local.js'
export type { LocalTransportOptions } from './transport/local.js'
export { createLocalFiles, hashFile, verifying } from './transport/local-files.js'
export { fileError, printablePath } from './transport/system-errors.js'
