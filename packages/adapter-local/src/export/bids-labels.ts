/** Archive labels as BIDS labels: letters and digits only, never two alike, recorded so that the way back is known. */

import { createHash } from 'node:crypto'

/**
 * BIDS labels for all archive labels of one level (the subjects of a project, the sessions of a subject).
 *
 * A label keeps its letters and digits; a leading `sub-` or `ses-` goes. Where several labels would become one (letter
 * case apart, for the sake of file systems that do not tell it), all but one that needed no change get six hexadecimal
 * digits of their SHA-256. The result depends on the set of labels alone, not on their order.
 */
export function bidsLabels(labels: Iterable<string>, prefix: 'sub-' | 'ses-'): ReadonlyMap<string, string> {
  const groups = new Map<string, { readonly label: string; readonly reduced: string }[]>()
  for (const label of new Set(labels)) {
    const bare = label.startsWith(prefix) ? label.slice(prefix.length) : label
    const reduced = alphanumeric(bare)
    const key = reduced.toLowerCase()
    groups.set(key, [...(groups.get(key) ?? []), { label, reduced }])
  }
  const result = new Map<string, string>()
  for (const [key, group] of groups) {
    const unchanged = group.filter(({ label, reduced }) => label === reduced)
    const keeper = group.length === 1 ? group[0] : unchanged.length === 1 ? unchanged[0] : undefined
    for (const member of group) {
      const { label, reduced } = member
      if (member === keeper && key !== '') {
        result.set(label, reduced)
        continue
      }
      // Longer until it is nobody else's: a label may look like another one's with its digits.
      let length = 6
      let made = `${reduced}${digits(label, length)}`
      while (groups.has(made.toLowerCase()) && length < 64) {
        length += 1
        made = `${reduced}${digits(label, length)}`
      }
      result.set(label, made)
    }
  }
  return result
}

/** ASCII letters and digits of a text; letters with marks lose the marks. */
export function alphanumeric(text: string): string {
  return text.normalize('NFKD').replace(/[^A-Za-z0-9]/g, '')
}

function digits(label: string, length: number): string {
  return createHash('sha256').update(label).digest('hex').slice(0, length)
}
