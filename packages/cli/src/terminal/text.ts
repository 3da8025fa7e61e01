/** Pieces of text on a terminal: how wide they are, how to shorten them, what must not reach the screen. Pure. */

import fastStringWidth from 'fast-string-width'

/** Columns a text takes; colour codes take none, wide characters two. */
export function displayWidth(text: string): number {
  return fastStringWidth(text)
}

/** As {@link displayWidth} columns wide, filled with blanks. */
export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const blanks = ' '.repeat(Math.max(0, width - displayWidth(text)))
  return align === 'left' ? text + blanks : blanks + text
}

/**
 * At most `width` columns, the middle cut out: both ends of a label say most. Text without colour codes.
 */
export function shortenMiddle(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  if (width <= 1) return '…'.slice(0, Math.max(0, width))
  const head = takeStart(text, Math.floor((width - 1) / 2))
  return `${head}…${takeEnd(text, width - 1 - displayWidth(head))}`
}

/** At most `width` columns, the end cut off. Text without colour codes. */
export function shortenEnd(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  return width <= 1 ? '…'.slice(0, Math.max(0, width)) : `${takeStart(text, width - 1)}…`
}

function takeStart(text: string, width: number): string {
  let taken = ''
  let used = 0
  for (const character of text) {
    used += displayWidth(character)
    if (used > width) break
    taken += character
  }
  return taken
}

function takeEnd(text: string, width: number): string {
  const taken: string[] = []
  let used = 0
  for (const character of [...text].reverse()) {
    used += displayWidth(character)
    if (used > width) break
    taken.unshift(character)
  }
  return taken.join('')
}

/** Lines of at most `width` columns, broken at blanks where there are any. Text without colour codes. */
export function wrap(text: string, width: number): readonly string[] {
  if (!Number.isFinite(width) || displayWidth(text) <= width) return text.split('\n')
  const lines: string[] = []
  for (const paragraph of text.split('\n')) {
    let line = ''
    for (const word of paragraph.split(' ')) {
      const longer = line === '' ? word : `${line} ${word}`
      if (displayWidth(longer) <= width) {
        line = longer
        continue
      }
      if (line !== '') lines.push(line)
      line = word
      while (displayWidth(line) > width) {
        const part = takeStart(line, width)
        if (part === '') break // one character is wider than the column
        lines.push(part)
        line = line.slice(part.length)
      }
    }
    lines.push(line)
  }
  return lines
}

/** `1 task`, `2 tasks`, `0 tasks`. */
export function count(amount: number, one: string, many = `${one}s`): string {
  return `${amount.toLocaleString('en-GB')} ${amount === 1 ? one : many}`
}

/** `a`, `a and b`, `a, b and c`. */
export function listWords(words: readonly string[], joint = 'and'): string {
  if (words.length < 2) return words.join('')
  return `${words.slice(0, -1).join(', ')} ${joint} ${words.at(-1)}`
}

/**
 * Text of unknown origin (what a job printed) without the control characters that would move the cursor, rename the
 * window or hide lines. Colours stay.
 */
export function safeForTerminal(text: string): string {
  return text.replace(
    // eslint-disable-next-line no-control-regex
    /(\u001b\[[0-9;]*m)|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b\[[0-?]*[ -/]*[@-~]|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g,
    (_whole, colour: string | undefined) => colour ?? '',
  )
}
