/**
 * Every error Orbweaver throws on purpose. Callers test `code`; codes keep, messages improve.
 * A message answers five questions: what failed, on what, what came back, is it lasting, what to do next.
 */

/** Stable error codes. See docs/reference/errors.md for one paragraph each. */
export type ErrorCode =
  | 'CONFIG_INVALID'
  | 'INPUT_INVALID'
  | 'JOB_REJECTED'
  | 'BACKEND_UNAVAILABLE'
  | 'STORE_UNAVAILABLE'
  | 'TRANSPORT_UNAVAILABLE'
  | 'BACKEND_PROTOCOL'
  | 'STORE_PROTOCOL'
  | 'INTEGRITY'
  | 'ACCESS_DENIED'
  | 'NOT_FOUND'
  | 'CONFLICT'
  | 'NOT_SUPPORTED'
  | 'LEASE_HELD'
  | 'NO_SPACE'
  | 'INTERNAL'

export interface PipelineErrorOptions {
  /** Ids, paths, exit codes: plain data for logs and `--json`. Never a secret, never file content. */
  readonly details?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
  /** One sentence that says what a person can do. Printed on its own line. */
  readonly hint?: string
}

/** Base of all errors thrown on purpose. */
export class PipelineError extends Error {
  readonly code: ErrorCode
  /** `true`: the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean
  readonly details: Readonly<Record<string, unknown>>
  readonly hint: string | undefined

  constructor(code: ErrorCode, retryable: boolean, message: string, options: PipelineErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.retryable = retryable
    this.details = options.details ?? {}
    this.hint = options.hint
  }
}

/** One problem of a configuration or processor file, with its place. Lines and columns count from 1. */
export interface ConfigProblem {
  readonly file: string
  readonly line?: number
  readonly column?: number
  /** Dotted path in the document, as `projects.0.processors`. Empty for the document itself. */
  readonly path: string
  readonly message: string
  /** What may stand here, or the nearest known word. */
  readonly hint?: string
}

/** The site file, a processor file or a flag is wrong. Lists every problem, not just the first. Not retryable. */
export class ConfigError extends PipelineError {
  readonly problems: readonly ConfigProblem[]
  constructor(problems: readonly ConfigProblem[], options: PipelineErrorOptions = {}) {
    super('CONFIG_INVALID', false, problems.map(formatProblem).join('\n'), {
      ...options,
      details: { ...options.details, problems },
    })
    this.problems = problems
  }
}

/** `file:line:column: path: message (hint)`, the form editors and terminals make clickable. */
export function formatProblem(problem: ConfigProblem): string {
  const place =
    problem.line === undefined ? problem.file : `${problem.file}:${problem.line}:${problem.column ?? 1}`
  const path = problem.path === '' ? '' : `${problem.path}: `
  return `${place}: ${path}${problem.message}${problem.hint === undefined ? '' : ` (${problem.hint})`}`
}

/** Data given to us (a file to import, a label, an argument of a command) cannot be used. Not retryable. */
export class InputError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('INPUT_INVALID', false, message, options)
  }
}

/** The scheduler understood the request and refused it: the same spec will be refused again. */
export class JobRejectedError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('JOB_REJECTED', false, message, options)
  }
}

/** No answer, a time-out or a refusal for load from the scheduler. After a submit the job may or may not exist. */
export class BackendUnavailableError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('BACKEND_UNAVAILABLE', true, message, options)
  }
}

/** The archive did not answer, or answered that it cannot serve now. */
export class StoreUnavailableError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('STORE_UNAVAILABLE', true, message, options)
  }
}

/** The machine that runs commands or holds the work root cannot be reached now. */
export class TransportUnavailableError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('TRANSPORT_UNAVAILABLE', true, message, options)
  }
}

/** The scheduler answered and we could not read it. `details.raw` carries the text. */
export class BackendProtocolError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('BACKEND_PROTOCOL', false, message, options)
  }
}

/** The archive answered and we could not read it. */
export class StoreProtocolError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('STORE_PROTOCOL', false, message, options)
  }
}

/** Size or checksum differs after a transfer, or from what was recorded. */
export class IntegrityError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('INTEGRITY', true, message, options)
  }
}

export class AccessDeniedError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('ACCESS_DENIED', false, message, options)
  }
}

/** Also thrown for what exists but is hidden from this user: the two cannot be told apart. */
export class NotFoundError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('NOT_FOUND', false, message, options)
  }
}

/** Somebody changed the thing since it was read. Read it again, decide again. */
export class ConflictError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('CONFLICT', false, message, options)
  }
}

export class NotSupportedError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('NOT_SUPPORTED', false, message, options)
  }
}

/** Another engine serves this project from this work root. Exit code 75: try again when it has finished. */
export class LeaseHeldError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('LEASE_HELD', true, message, options)
  }
}

/** The disk (or quota) of the work root or the archive is full. Work waits; nothing is marked failed for it. */
export class NoSpaceError extends PipelineError {
  constructor(message: string, options?: PipelineErrorOptions) {
    super('NO_SPACE', true, message, options)
  }
}

/** `true` for an abort by signal: such errors pass through untouched, everywhere. */
export function isAbort(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === 'AbortError' || (error as { code?: unknown }).code === 'ABORT_ERR')
  )
}

/** `error.code` of a Node system error (`ENOENT`, `ENOSPC`, …), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : undefined
}
