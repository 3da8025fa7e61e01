/**
 * Texts from image headers as labels, reversibly.
 *
 * Every character that a label cannot hold becomes its UTF-8 bytes as `%XX` (upper-case hexadecimal), and so do `%`
 * itself, a leading `-` or `.`, and blanks at the ends. All other characters stay. Two different texts therefore never
 * give the same label, and {@link originalText} gives the text back.
 */

import { labelProblem } from '@orbweaver/core'

/** @returns the label, or undefined when the text is empty or too long to be one even so */
export function labelFromText(text: string): string | undefined {
  if (text === '') return undefined
  const points = [...text]
  const label = points
    .map((point, index) => {
      const atEnd = index === 0 || index === points.length - 1
      const plain =
        point !== '%' &&
        // Looked at between letters: what is wrong only at the start or the end is decided on its own.
        labelProblem(`a${point}a`) === undefined &&
        !(index === 0 && (point === '-' || point === '.')) &&
        !(atEnd && point.trim() === '')
      return plain ? point : escaped(point)
    })
    .join('')
  return labelProblem(label) === undefined ? label : undefined
}

/** The text a label was made from. A label that was not made by {@link labelFromText} comes back as it is, or decoded. */
export function originalText(label: string): string {
  return label.replace(/(?:%[0-9A-F]{2})+/g, (run) =>
    Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'),
  )
}

function escaped(point: string): string {
  return [...Buffer.from(point, 'utf8')]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('')
}
