/** Names → jobs, for recovery after a lost answer. */

import { jobId } from '@orbweaver/core'
import {
  answer,
  type DialectCommand,
  type FindStep,
  type FoundJob,
  type Reading,
  type Reply,
} from '@orbweaver/core/command-line'
import { brief, failure } from './complaints.js'
import type { Site } from './ends.js'
import { partsOf } from './ids.js'
import { readRecords } from './records.js'
import { shortName } from './status.js'

type Run = (name: string, ...words: readonly string[]) => DialectCommand

/** OpenPBS: one table of all jobs of the user, for any number of names. Wide, so that names of 15 characters are whole. */
export const tableStep = (run: Run, site: Site): FindStep => ({
  name: 'qstat -u',
  source: 'queue',
  optional: false,
  // The second form is for servers without history.
  forms: 2,
  command: ({ user, form }) => run('qstat', ...(form === 0 ? ['-x'] : []), '-w', '-u', user),
  read: (reply, { names }) => readTable(reply, names, site.server),
})

/**
 * Torque: elements of an array are jobs of their own, named `NAME-INDEX`, so `qselect -N NAME` does not see them; an array
 * taken for not submitted would run twice. All jobs are read, and of each its name.
 */
export const listStep = (run: Run): FindStep => ({
  name: 'qstat -x -t',
  source: 'queue',
  optional: false,
  command: () => run('qstat', '-x', '-t'),
  read: (reply, { names }) => readList(reply, names),
})

/**
 * Rows stand between a line of dashes and an empty line; id and name are their first and fourth words. An id that does not
 * fit is cut and marked with *: it ends with the name of the server.
 */
export function readTable(
  reply: Reply,
  names: readonly string[],
  server: string,
): Reading<readonly FoundJob[]> {
  const failed = failure(reply)
  if (failed !== undefined) return failed
  const wanted = new Map(names.map((name) => [shortName(name), name]))
  const found: FoundJob[] = []
  let inTable = false
  for (const line of reply.stdout.split(/\r?\n/)) {
    if (/^-{4,}(?: -+)+\s*$/.test(line)) inTable = true
    else if (line.trim() === '') inTable = false
    else if (inTable) {
      const [id = '', , , job = ''] = line.trim().split(/\s+/)
      const start = /^\d+(?:\[\])?(?=\.)/.exec(id)?.[0]
      // A row that is not understood may be the one that is looked for.
      if (start === undefined)
        return { kind: 'unreadable', message: `no job in a row of qstat: ${brief(line)}` }
      const name = wanted.get(job)
      if (name !== undefined) found.push({ name, id: jobId(id.endsWith('*') ? `${start}.${server}` : id) })
    }
  }
  return answer(newest(found))
}

export function readList(reply: Reply, names: readonly string[]): Reading<readonly FoundJob[]> {
  const failed = failure(reply)
  if (failed !== undefined) return failed
  const text = reply.stdout.trim()
  if (text !== '' && !text.endsWith('</Data>'))
    return { kind: 'unreadable', message: `qstat -x was cut: ${brief(text.slice(-200))}` }
  const wanted = new Map(names.map((name) => [shortName(name), name]))
  const found: FoundJob[] = []
  for (const { id, fields } of readRecords(text)) {
    const element = /\[\d+\]/.test(id)
    const job = fields.get('Job_Name') ?? ''
    const name = wanted.get(element ? job.replace(/-\d+$/, '') : job)
    if (name !== undefined) found.push({ name, id: jobId(element ? id.replace(/\[\d+\]/, '[]') : id) })
  }
  return answer(newest(found))
}

/** Of several jobs of one name the one with the highest number. */
function newest(jobs: readonly FoundJob[]): readonly FoundJob[] {
  const number = ({ id }: FoundJob): number => Number(partsOf(id)?.sequence ?? -1)
  const byName = new Map<string, FoundJob>()
  for (const job of jobs) {
    const other = byName.get(job.name)
    if (other === undefined || number(other) < number(job)) byName.set(job.name, job)
  }
  return [...byName.values()]
}
