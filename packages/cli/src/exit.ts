/** Exit codes, and what a person reads when something goes wrong. */

import {
  ConfigError,
  PipelineError,
  formatProblem,
  isAbort,
  nearest,
  systemErrorCode,
  type ConfigProblem,
  type ErrorCode,
} from '@orbweaver/core'
import { isAbsolute, relative } from 'node:path'
import { count, wrap } from './terminal/text.js'
import type { Paint } from './terminal/terminal.js'

/** Stable: scripts and cron jobs depend on them. 75 is EX_TEMPFAIL of sysexits.h. */
export const EXIT = {
  good: 0,
  failed: 1,
  usage: 2,
  temporary: 75,
  hangUp: 129,
  interrupted: 130,
  terminated: 143,
} as const

/** The command line itself is wrong: exit code 2. */
export class UsageError extends PipelineError {
  constructor(message: string, hint?: string) {
    super('INPUT_INVALID', false, message, hint === undefined ? {} : { hint })
  }
}

/** Something named on the command line is not there: exit code 1. */
export class NoMatchError extends PipelineError {
  constructor(message: string, hint?: string) {
    super('NOT_FOUND', false, message, hint === undefined ? {} : { hint })
  }
}

const TEMPORARY: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'LEASE_HELD',
  'NO_SPACE',
  'BACKEND_UNAVAILABLE',
  'STORE_UNAVAILABLE',
  'TRANSPORT_UNAVAILABLE',
])

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage
  if (isAbort(error)) return EXIT.interrupted
  const known = asKnown(error)
  if (known === undefined) return EXIT.failed
  if (known.code === 'CONFIG_INVALID') return EXIT.usage
  return TEMPORARY.has(known.code) ? EXIT.temporary : EXIT.failed
}

/** The fields of the `error` of `--json`. */
export function errorFields(error: unknown): Readonly<Record<string, unknown>> {
  const known = asKnown(error)
  if (known === undefined) {
    return {
      code: isAbort(error) ? 'INTERRUPTED' : 'INTERNAL',
      message: messageOf(error),
      retryable: isAbort(error),
    }
  }
  return {
    code: known.code,
    message: known.message,
    retryable: known.retryable,
    ...(known.hint !== undefined && { hint: known.hint }),
    details: known.details,
  }
}

export interface ErrorView {
  readonly paint: Paint
  readonly width: number
  readonly verbose: boolean
  readonly directory: string
}

/** What failed, on what, what came back; is it lasting; what next. Stack traces only when asked for. */
export function renderError(error: unknown, view: ErrorView): string {
  const { paint } = view
  const lines: string[] = []
  const known = asKnown(error)
  if (known instanceof ConfigError) {
    lines.push(...renderProblems(known.problems, view))
    if (known.hint !== undefined) lines.push(`  ${known.hint}`)
  } else if (known !== undefined) {
    const [first = '', ...rest] = wrap(known.message, view.width - 8)
    lines.push(`${paint.red(paint.bold('Error:'))} ${first}`, ...rest.map((line) => `  ${line}`))
    const indented = (text: string): void =>
      void lines.push(...wrap(text, view.width - 4).map((line) => `  ${line}`))
    if (known.retryable) indented('This may pass by itself: the same command can work later.')
    if (known.hint !== undefined) indented(known.hint)
    lines.push(paint.dim(`  [${known.code}]`))
  } else {
    lines.push(
      `${paint.red(paint.bold('Error:'))} ${messageOf(error)}`,
      '  Orbweaver did not expect this; it looks like a defect in it. Run again with -v for details to report.',
      paint.dim('  [INTERNAL]'),
    )
  }
  if (view.verbose) lines.push(...stackOf(error).map((line) => paint.dim(line)))
  return `${lines.join('\n')}\n`
}

/** `file:line:column: path: message (hint)`, one a line. */
export function renderProblems(problems: readonly ConfigProblem[], view: ErrorView): string[] {
  const { paint } = view
  const lines = problems.map((problem) => {
    const text = formatProblem({ ...problem, file: shortPath(problem.file, view.directory) })
    return `${paint.red('error')} ${text}`
  })
  return problems.length > 1 ? [...lines, `${count(problems.length, 'problem')}.`] : lines
}

/** Relative when the file is below the current folder. */
export function shortPath(file: string, directory: string): string {
  if (!isAbsolute(file)) return file
  const short = relative(directory, file)
  return short === '' || short.startsWith('..') ? file : short
}

/** `Did you mean x?`, or the words there are when they are few, or nothing. */
export function didYouMean(word: string, known: readonly string[], noun: string): string | undefined {
  const near = nearest(word, known)
  if (near !== undefined) return `Did you mean ${near}?`
  if (known.length === 0) return undefined
  return known.length <= 12 ? `Known ${noun}: ${known.join(', ')}.` : undefined
}

/** Ours as they are; those of the operating system with the way out. Anything else is a defect. */
function asKnown(error: unknown): PipelineError | undefined {
  if (error instanceof PipelineError) return error
  // A second copy of core (of a third-party adapter) throws classes that are not ours.
  if (error instanceof Error && 'code' in error && 'retryable' in error && 'details' in error) {
    return error as PipelineError
  }
  const code = systemErrorCode(error)
  const path = (error as { path?: unknown } | undefined)?.path
  const on = typeof path === 'string' ? path : messageOf(error)
  const options = (hint: string): ConstructorParameters<typeof PipelineError>[3] => ({
    cause: error,
    hint,
    details: { systemCode: code },
  })
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new PipelineError('NO_SPACE', true, `No space left: ${on}`, options('Free some space.'))
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new PipelineError(
        'ACCESS_DENIED',
        false,
        `No permission: ${on}`,
        options('Check the owner and mode of this path.'),
      )
    case 'ENOENT':
      return new PipelineError('NOT_FOUND', false, `Not found: ${on}`, options('Check the path.'))
    default:
      return undefined
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function stackOf(error: unknown): string[] {
  const lines: string[] = []
  for (let each = error; each instanceof Error; each = each.cause) {
    lines.push(...(each.stack ?? each.message).split('\n').map((line) => `  ${line}`))
    if (each.cause !== undefined) lines.push('  caused by')
  }
  return lines
}
