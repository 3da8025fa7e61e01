/** What an import has to say about the folder it reads: collected, never thrown one by one. */

import { printable, type CallOptions } from '@orbweaver/core'

/**
 * - `error`: this part cannot be imported as it is. Nothing at all is imported while one stands, unless the caller
 *   asked to leave bad parts out.
 * - `skipped`: left out on purpose, and the rest is whole without it (a stray text file, a folder nobody asked for).
 * - `note`: imported, but worth knowing (a label that had to be rewritten).
 */
export type ImportProblemKind = 'error' | 'skipped' | 'note'

export interface ImportProblem {
  readonly kind: ImportProblemKind
  /** Relative to the imported folder and printable; `.` is the folder itself. */
  readonly path: string
  /** What is wrong; a clause without a full stop. */
  readonly reason: string
  /** What a person can do. */
  readonly hint?: string
}

/** One line for people: `error sub-1;x: it holds the character ; (Rename the folder)`. */
export function formatImportProblem(problem: ImportProblem): string {
  const hint = problem.hint === undefined ? '' : ` (${problem.hint})`
  return `${problem.kind} ${problem.path}: ${problem.reason}${hint}`
}

/** Options every reader of a folder has. */
export interface ReadOptions extends CallOptions {
  /** Called once for each problem, as it is found. Default: problems are dropped. */
  readonly onProblem?: (problem: ImportProblem) => void
  /**
   * Where files that are made on the way (merged sidecars) are put. Default: a folder of the reader's own, which lives
   * until the generator ends; give one here when files are read later than that.
   */
  readonly temporaryFolder?: string
}

/** A path of unknown origin, safe to print, without quotes when it is plain. */
export function shownPath(path: string): string {
  if (path === '') return '.'
  return /^[\w./+=@#,~%() -]+$/.test(path) && path.length <= 200 ? path : printable(path)
}
