/** Job ids of PBS: `123.server`, an array `123[].server`, its element `123[4].server`. The first of a server is 0. */

import { jobId, type JobId } from '@orbweaver/core'

const FORM = /^(\d{1,12})(?:\[(\d{0,9})\])?(?:\.([A-Za-z0-9][\w.-]{0,254}))?$/

interface Parts {
  readonly sequence: string
  /** Undefined: no array. Empty: the array itself. */
  readonly index: string | undefined
  readonly server: string
}

export function partsOf(id: string): Parts | undefined {
  const match = FORM.exec(id)
  return match?.[1] === undefined
    ? undefined
    : { sequence: match[1], index: match[2], server: match[3] ?? '' }
}

export const isPbsId = (id: string): boolean => FORM.test(id)

export const elementOf = (array: JobId, index: number): JobId => jobId(array.replace(/\[\d*\]/, `[${index}]`))

/** The array of an element; of another job, itself. */
export const arrayOf = (id: JobId): JobId => jobId(id.replace(/\[\d+\]/, '[]'))

/** Which element of its array this is; undefined: none. */
export function indexOf(id: JobId): number | undefined {
  const index = partsOf(id)?.index
  return index === undefined || index === '' ? undefined : Number(index)
}

/** Equal for two spellings of one id: servers are told with and without their domain. */
export function keyOf(id: string): string {
  const parts = partsOf(id)
  if (parts === undefined) return id
  const index = parts.index === undefined ? '' : `[${parts.index}]`
  return `${parts.sequence}${index}.${parts.server.split('.')[0]?.toLowerCase()}`
}

/** One word for an array of which several elements are asked for: `qstat -t` lists all of them. */
export function questionWords(ids: readonly JobId[]): readonly string[] {
  const asked = new Map<string, string[]>()
  for (const id of ids) {
    const whole = arrayOf(id)
    asked.set(whole, [...(asked.get(whole) ?? []), id])
  }
  return [...asked].map(([whole, elements]) => (elements.length === 1 ? (elements[0] ?? whole) : whole))
}
