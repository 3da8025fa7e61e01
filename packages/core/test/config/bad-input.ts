/** Checks that bad input gets its problem: in the right file, at the right place, with the right hint. */

import { expect } from 'chai'
import { basename } from 'node:path'
import { ConfigError, formatProblem } from '#src/errors.js'
import type { ConfigProblem } from '#src/errors.js'

export interface Expected {
  /** Name of the file without folders. */
  readonly file?: string
  /** `line:column`; absent for problems that have none. */
  readonly at?: string
  readonly path: string
  readonly message: RegExp
  readonly hint?: RegExp
}

export async function problemsOf(work: Promise<unknown>): Promise<readonly ConfigProblem[]> {
  try {
    await work
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  throw new Error('it was accepted')
}

export function expectProblem(problems: readonly ConfigProblem[], expected: Expected): void {
  const all = problems.map(formatProblem).join('\n')
  const problem = problems.find((each) => each.path === expected.path && expected.message.test(each.message))
  if (problem === undefined)
    throw new Error(`no problem at "${expected.path}" like ${String(expected.message)} in:\n${all}`)
  const place = problem.line === undefined ? undefined : `${problem.line}:${problem.column}`
  expect(place, all).to.equal(expected.at)
  if (expected.file !== undefined) expect(basename(problem.file)).to.equal(expected.file)
  if (expected.hint !== undefined) expect(problem.hint, all).to.match(expected.hint)
}

/** `line:column` of the marker `➤` in a text, and the text without it. */
export function marked(text: string): { readonly text: string; readonly at: string | undefined } {
  const offset = text.indexOf('➤')
  if (offset === -1) return { text, at: undefined }
  const before = text.slice(0, offset)
  const line = before.split('\n').length
  return { text: text.replace('➤', ''), at: `${line}:${offset - before.lastIndexOf('\n')}` }
}
