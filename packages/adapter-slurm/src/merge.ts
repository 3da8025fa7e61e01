/** One job, two witnesses: the queue knows its end exactly and at once, the accounting what it used. */

import type { JobStatus } from '@orbweaver/core'

/** Causes that the accounting sees and the queue does not: to the queue they are failures like others. */
const SEEN_BY_ACCOUNTING: ReadonlySet<JobStatus['outcome']> = new Set(['out-of-memory', 'launch-failed'])

/** @param queue - as `squeue` told it, a moment ago. @param account - as `sacct` tells it, possibly late */
export function merge(queue: JobStatus, account: JobStatus): JobStatus {
  const restarts = Math.max(queue.restarts, account.restarts)
  const sameEnd = queue.phase === 'finished' && account.phase === 'finished' && !otherRun(queue, account)
  // The accounting lags: what it says of a job that the queue knows to be elsewhere is old.
  if (!sameEnd) return { ...queue, restarts }
  const better = queue.outcome === 'failed' && SEEN_BY_ACCOUNTING.has(account.outcome)
  const usage = { ...queue.usage, ...account.usage }
  return {
    ...account,
    ...queue,
    restarts,
    ...(better && account.outcome !== undefined && { outcome: account.outcome }),
    ...(Object.keys(usage).length > 0 && { usage }),
    evidence: [...queue.evidence, ...account.evidence],
  }
}

/** An earlier incarnation: it ended before the queue's began. */
function otherRun(queue: JobStatus, account: JobStatus): boolean {
  if (queue.startedAtMs === undefined || account.endedAtMs === undefined) return false
  return account.endedAtMs < queue.startedAtMs
}
