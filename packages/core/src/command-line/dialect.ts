/**
 * What a scheduler's programs expect and print, as data and pure functions. A dialect has no loop, no sleep, no retry, no
 * process and no logger: {@link CommandLineBackend} has those, once for all dialects.
 */

import type { JobId, JobSpec, JobStatus } from '../domain/job.js'
import type { BackendCapabilities, BackendLimits, Diagnosis } from '../ports/cluster-backend.js'

/** One run of a program. */
export interface DialectCommand {
  /** First word: the program. No shell is involved. */
  readonly argv: readonly string[]
  readonly stdin?: string
  /** Beside {@link Dialect.environment}. */
  readonly environment?: Readonly<Record<string, string>>
  /** Default: the backend's own, 60 s. */
  readonly timeoutMs?: number
}

/** What came back, stdout and stderr apart. */
export interface Reply {
  /** `undefined` when a signal ended the program. */
  readonly exitCode: number | undefined
  readonly signal?: string
  readonly stdout: string
  readonly stderr: string
}

/** A text that must be on the jobs' side, whole, before a command runs. */
export interface DialectFile {
  /** Absolute, on the side where jobs run. */
  readonly path: string
  readonly text: string
}

// ---------------------------------------------------------------- replies, read

/** Nothing is known: no answer, or the answer is that it cannot serve now. Worth asking again. */
export interface Unavailable {
  readonly kind: 'unavailable'
  readonly message: string
}
/** It answered, and what it printed cannot be read. Never the same as an empty answer. */
export interface Unreadable {
  readonly kind: 'unreadable'
  readonly message: string
}
/** This user may not. */
export interface Denied {
  readonly kind: 'denied'
  readonly message: string
}
/** The site does not have this service (accounting switched off, program not installed). */
export interface Absent {
  readonly kind: 'absent'
  readonly message: string
}
/** The program is too old for this form of the question. */
export interface Unsupported {
  readonly kind: 'unsupported'
  readonly message: string
}
/** The program says that the question is wrong, in words that we know. */
export interface BadRequest {
  readonly kind: 'bad-request'
  readonly message: string
}
export type ReadingFailure = Unavailable | Unreadable | Denied | Absent | Unsupported | BadRequest

export interface Answer<T> {
  readonly kind: 'answer'
  readonly value: T
}
export type Reading<T> = Answer<T> | ReadingFailure

export const answer = <T>(value: T): Answer<T> => ({ kind: 'answer', value })

// ---------------------------------------------------------------- submit

export interface SubmitContext {
  readonly limits: BackendLimits
  /** Largest array to make; 1: none. */
  readonly arraySize: number
  /** Makes the names of arrays unique. */
  readonly token: string
  /** Folder on the jobs' side, visible from the nodes, for {@link Submission.files}. */
  readonly stateFolder: string
}

/** One submit command: a job, or an array of jobs. */
export interface Submission {
  /** The name the scheduler is given. Of a single job the spec's own; of an array one made for it. */
  readonly name: string
  /** One: a single job. Several: an array; a member's place is its index. */
  readonly members: readonly JobSpec[]
  readonly array: boolean
  /** Written, in this order, before the command runs. */
  readonly files: readonly DialectFile[]
  readonly command: DialectCommand
}

export type SubmitReading =
  /** One id per member, in order. */
  | { readonly kind: 'accepted'; readonly ids: readonly JobId[] }
  /** `rule`: what was broken, in a few words: `partition`, `walltime of the partition`. */
  | { readonly kind: 'refused'; readonly rule: string; readonly message: string; readonly hint?: string }
  /** A limit is reached; nothing was created. */
  | { readonly kind: 'later'; readonly reason: string }
  /** The array is larger than the site takes; nothing was created. */
  | { readonly kind: 'too-large'; readonly reason: string }
  | Unavailable
  | Unreadable

// ---------------------------------------------------------------- questions

export interface Question {
  /** The account that owns the jobs. */
  readonly user: string
  readonly nowMs: number
  /** No job asked for is older than this. */
  readonly sinceMs: number
  /** Which of {@link Step.forms} is tried: 0 first. */
  readonly form: number
}
export interface QueryQuestion extends Question {
  readonly ids: readonly JobId[]
}
export interface FindQuestion extends Question {
  readonly names: readonly string[]
}

/** How much goes into one command. Absent: everything, because the command does not name what it asks for. */
export interface ChunkLimits {
  readonly count: number
  /** Of the words themselves and one separator each. */
  readonly bytes: number
}

/** One witness that is asked: the queue, then the accounting. */
interface Step {
  /** As in messages: the name of the program. */
  readonly name: string
  readonly source: 'queue' | 'accounting'
  /**
   * `true`: its failure is survived and noted. What only this step could have known is then `unknown`: a failed query is
   * no evidence.
   */
  readonly optional: boolean
  readonly chunk?: ChunkLimits
  /** How many forms of the question there are, newest first; the next one is tried after `unsupported`. Default 1. */
  readonly forms?: number
}

export interface QueryStep extends Step {
  /** Ask this step as well about a job that an earlier step knows. Default: no. */
  wants?(status: JobStatus): boolean
  command(question: QueryQuestion): DialectCommand
  /** Statuses of jobs that were not asked for are left out later. */
  read(reply: Reply, question: QueryQuestion): Reading<ReadonlyMap<JobId, JobStatus>>
}

/** A job seen under a name. */
export interface FoundJob {
  readonly name: string
  /** Of an array, or any element of one: the array's own id. */
  readonly id: JobId
  readonly submittedAtMs?: number
}

export interface FindStep extends Step {
  command(question: FindQuestion): DialectCommand
  read(reply: Reply, question: FindQuestion): Reading<readonly FoundJob[]>
}

// ---------------------------------------------------------------- the rest

export type ControlAction = 'cancel' | 'hold' | 'release'

/** A command whose reply is read together with others. */
export interface Probe {
  readonly name: string
  /** `true`: without its reply the rest is still worth reading. */
  readonly optional: boolean
  readonly command: (context: ProbeContext) => DialectCommand
}
export interface ProbeContext {
  readonly user: string
  readonly nowMs: number
}
/** Probe → its reply, or why there is none. */
export type ProbeReplies = ReadonlyMap<string, Reply | { readonly failure: string }>

export interface Dialect {
  /** As in the site file. */
  readonly name: string
  /** As people write it, for messages. */
  readonly title: string
  readonly capabilities: BackendCapabilities
  /** Variables of every command. Nothing else of our environment reaches them. */
  readonly environment: Readonly<Record<string, string>>

  /** Which of these may be an id of this scheduler. Others are not asked for: nobody knows them. */
  isId(id: JobId): boolean
  /** Single jobs and arrays for these specs, in any order; each spec in exactly one. */
  group(specs: readonly JobSpec[], context: SubmitContext): readonly Submission[]
  readSubmit(reply: Reply, submission: Submission): SubmitReading
  /** Id of one element of an array. */
  elementId(array: JobId, index: number): JobId
  /** Which element of its array this is; undefined: none. Where it is there, `name` of an element's status is the array's. */
  indexOf?(id: JobId): number | undefined
  /** Why the site will never run this, by limits that the scheduler itself checks late or not at all. */
  refusal?(
    spec: JobSpec,
    limits: BackendLimits,
  ): { readonly rule: string; readonly message: string } | undefined

  readonly querySteps: readonly QueryStep[]
  /** What two witnesses say of one job, in the order of the steps. */
  merge(earlier: JobStatus, later: JobStatus): JobStatus
  /**
   * How long a job that has ended waits for what a later step adds to it (memory used, for one). Milliseconds, since the end
   * was first seen here.
   */
  readonly settleMs: number

  readonly findSteps: readonly FindStep[]

  control(action: ControlAction, ids: readonly JobId[]): DialectCommand
  readonly controlChunk: ChunkLimits
  /** Jobs that have ended or are not known are no failure. */
  readControl(reply: Reply, action: ControlAction): Reading<undefined>

  readonly limitProbes: readonly Probe[]
  readLimits(replies: ProbeReplies, context: ProbeContext): Reading<BackendLimits>

  readonly doctorProbes: readonly Probe[]
  readDoctor(replies: ProbeReplies, context: ProbeContext): readonly Diagnosis[]
}

/** A dialect, checked by the compiler where it is written. */
export const defineDialect = (dialect: Dialect): Dialect => dialect
