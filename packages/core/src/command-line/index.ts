/**
 * Schedulers driven by their programs: write a {@link Dialect}, and {@link CommandLineBackend} runs it.
 *
 * @packageDocumentation
 */

export { CommandLineBackend } from './command-line-backend.js'
export type { CommandLineBackendOptions } from './command-line-backend.js'
export { answer, defineDialect } from './dialect.js'
export type {
  Absent,
  Answer,
  BadRequest,
  ChunkLimits,
  ControlAction,
  Denied,
  Dialect,
  DialectCommand,
  DialectFile,
  FindQuestion,
  FindStep,
  FoundJob,
  Probe,
  ProbeContext,
  ProbeReplies,
  QueryQuestion,
  QueryStep,
  Question,
  Reading,
  ReadingFailure,
  Reply,
  Submission,
  SubmitContext,
  SubmitReading,
  Unavailable,
  Unreadable,
  Unsupported,
} from './dialect.js'
export { ArrayBook, arrayToken } from './array-book.js'
export type { ArrayPlace } from './array-book.js'
export { CircuitBreaker } from './breaker.js'
export type { BreakerOptions } from './breaker.js'
export type { RetryOptions } from './caller.js'
export { chunks } from './chunks.js'
