/** What may be named to one qdel of OpenPBS. */

import type { JobId } from '@orbweaver/core'
import { arrayOf, indexOf } from './ids.js'

/**
 * The server of OpenPBS 23.06.06 uses memory that it has freed, and often ends, when one command deletes a job that does not run
 * and behind it one that is unknown, or several elements of an array, one by one or as a range, of which some have not
 * started. Seen with history and without. What it takes well: jobs that run, jobs that wait, whole arrays, and one element.
 *
 * @param live - jobs that are there and have not ended
 * @param waits - jobs that wait; they do not become unknown by themselves
 * @param stays - arrays of which others than these go on: only of those are elements deleted one by one
 * @returns the words of one command each
 */
export function deletions(
  live: readonly JobId[],
  waits: (id: JobId) => boolean,
  stays: ReadonlySet<JobId>,
): readonly (readonly JobId[])[] {
  const elements = live.filter((id) => indexOf(id) !== undefined)
  const singles = live.filter((id) => indexOf(id) === undefined)
  const whole = new Set(elements.map(arrayOf).filter((array) => !stays.has(array)))
  return [
    singles.filter((id) => !waits(id)),
    singles.filter(waits),
    [...whole],
    ...elements.filter((id) => stays.has(arrayOf(id))).map((id) => [id]),
  ].filter((words) => words.length > 0)
}
