/** Job ids: `123`, an element `123_4` of an array, a component `123+1`. */

import { jobId, type JobId } from '@orbweaver/core'
import { expandRange } from './values.js'

/** Above these two Slurm has no ids (NO_VAL, INFINITE); programs would read something else into them. */
const HIGHEST = 4_294_967_293
/** Largest array of any site: MaxArraySize is at most 4 000 001. */
const MOST_ELEMENTS = 4_000_001

/** Whether Slurm can have a job of this id. Others are never asked for: `squeue` refuses a whole list for one of them. */
export function isJobId(id: string): boolean {
  const match = /^(\d{1,10})(?:_(\d{1,7})|\+\d{1,5})?$/.exec(id)
  return match !== null && Number(match[1]) > 0 && Number(match[1]) <= HIGHEST
}

export const elementId = (array: JobId, index: number): JobId => jobId(`${array}_${index}`)
export const indexOf = (id: JobId): number | undefined => {
  const index = /_(\d+)$/.exec(id)?.[1]
  return index === undefined ? undefined : Number(index)
}
/** The array of an element; of another job, itself. */
export const arrayOf = (id: string): JobId => jobId(id.replace(/_.*$/, ''))

/** `20_[0-2,7%4]` stands for many tasks: each of them. No id at all: undefined. */
export function expandId(text: string): readonly JobId[] | undefined {
  if (isJobId(text)) return [jobId(text)]
  const match = /^(\d{1,10})_\[([^\]]*)\]$/.exec(text)
  const indices = match === null ? undefined : expandRange(match[2] ?? '', MOST_ELEMENTS)
  return indices?.map((index) => jobId(`${match?.[1]}_${Number(index)}`))
}

/** Elements of one array as one word, `20_[0-3,7]`: a command for an array is one request to the controller. */
export function foldIds(ids: readonly JobId[]): readonly string[] {
  const arrays = new Map<string, number[]>()
  const words: string[] = []
  for (const id of ids) {
    const match = /^(\d+)_(\d+)$/.exec(id)
    if (match?.[1] === undefined) words.push(id)
    else arrays.set(match[1], [...(arrays.get(match[1]) ?? []), Number(match[2])])
  }
  for (const [array, indices] of arrays) {
    const only = indices[0]
    words.push(indices.length === 1 ? `${array}_${only}` : `${array}_[${foldNumbers(indices)}]`)
  }
  return words
}

function foldNumbers(numbers: readonly number[]): string {
  const sorted = [...new Set(numbers)].sort((one, other) => one - other)
  const parts: { from: number; to: number }[] = []
  for (const number of sorted) {
    const last = parts.at(-1)
    if (last !== undefined && last.to + 1 === number) last.to = number
    else parts.push({ from: number, to: number })
  }
  return parts.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(',')
}
