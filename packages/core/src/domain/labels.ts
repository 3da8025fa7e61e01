/** Labels come from an archive or a person and become folder names, words of a command and parts of a URL. Checked once, here. */

import { InputError } from '../errors.js'

/** Long enough for any label seen in the wild; short enough for a file name with a suffix. */
export const MAX_LABEL_LENGTH = 200

/**
 * Why a text cannot be a label, or undefined when it can.
 *
 * Allowed: letters and digits of any script, blank, and `_ - . + , = @ # ( ) [ ] ' & ! ~ %` inside. Not: an empty text,
 * control characters, `/ \ : ; " $ \` * ? < > |`, a leading `-` or `.`, a leading or trailing blank, more than 200 characters or bytes.
 */
export function labelProblem(text: string): string | undefined {
  if (text === '') return 'it is empty'
  if (Buffer.byteLength(text) > MAX_LABEL_LENGTH) return `it is longer than ${MAX_LABEL_LENGTH} bytes`
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text))
    return 'it holds a control character or line break'
  // Unicode's "format" characters (direction marks, zero-width blanks) make two different labels look the same.
  if (/\p{Cf}|\p{Cs}|\p{Co}/u.test(text)) return 'it holds an invisible character'
  const bad = /[/\\:;"$`*?<>|]/.exec(text)
  if (bad !== null) return `it holds the character ${bad[0]}`
  if (text.startsWith('-') || text.startsWith('.')) return `it starts with ${text.charAt(0)}`
  if (text.trim() !== text) return 'it starts or ends with a blank'
  return undefined
}

/** @throws InputError naming the label, printable, and why */
export function checkLabel(text: string, what: string): string {
  const problem = labelProblem(text)
  if (problem === undefined) return text
  const shown = printable(text)
  throw new InputError(`${what} ${shown} cannot be used: ${problem}.`, {
    details: { what, label: shown },
    hint: 'Rename it in the archive, or leave it out with a selector.',
  })
}

/** A text of unknown origin as one quoted, printable, short piece of a message. */
export function printable(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 77)}…` : text
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u2028\u2029]|\p{Cf}/gu,
    (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )
}

/**
 * Why a text cannot be the path of a file in a resource, or undefined when it can: relative, `/` between parts, no empty,
 * `.` or `..` part, no backslash, no control character, at most 1 000 bytes.
 */
export function filePathProblem(path: string): string | undefined {
  if (path === '') return 'it is empty'
  if (Buffer.byteLength(path) > 1000) return 'it is longer than 1000 bytes'
  if (path.startsWith('/')) return 'it is absolute'
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f\\]/.test(path)) return 'it holds a control character or backslash'
  for (const part of path.split('/')) {
    if (part === '' || part === '.' || part === '..') return `it has the part "${part}"`
    if (Buffer.byteLength(part) > 255) return 'a part of it is longer than 255 bytes'
  }
  return undefined
}

/** @throws InputError */
export function checkFilePath(path: string): string {
  const problem = filePathProblem(path)
  if (problem === undefined) return path
  throw new InputError(`File path ${printable(path)} cannot be used: ${problem}.`, {
    details: { path: printable(path) },
  })
}

/**
 * Case-blind match with `*` (any run) and `?` (one character), everything else literal: scan types hold brackets and
 * parentheses, so no richer glob language will do. At worst the product of both lengths, whatever the pattern: a regular
 * expression made of `*a*a*a*b` takes half a minute on a text of 120 letters.
 */
export function wildcard(pattern: string): (text: string) => boolean {
  if (/^\*+$/.test(pattern)) return () => true
  const wanted = characters(pattern.toLowerCase())
  if (!/[*?]/.test(pattern)) {
    const whole = pattern.toLowerCase()
    return (text) => text.toLowerCase() === whole
  }
  return (text) => matches(wanted, characters(text.toLowerCase()))
}

/** By character, so that `?` also stands for one outside the basic plane. */
function characters(text: string): ArrayLike<string> {
  return /[\ud800-\udfff]/.test(text) ? Array.from(text) : text
}

function matches(pattern: ArrayLike<string>, text: ArrayLike<string>): boolean {
  let at = 0
  let next = 0
  // Where to go on when the rest does not fit: after the last star, with one more character given to it.
  let star = -1
  let given = 0
  while (at < text.length) {
    if (pattern[next] === '*') {
      star = next
      given = at
      next += 1
    } else if (next < pattern.length && (pattern[next] === '?' || pattern[next] === text[at])) {
      next += 1
      at += 1
    } else if (star >= 0) {
      given += 1
      at = given
      next = star + 1
    } else {
      return false
    }
  }
  while (pattern[next] === '*') next += 1
  return next === pattern.length
}
