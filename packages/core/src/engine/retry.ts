/** Which failure leads to what. Pure. */

import type { CauseKind, FailureCause } from '../domain/cause.js'
import type { Requirements } from '../domain/requirements.js'
import type { TaskRecord } from '../domain/task.js'

export interface RetryRule {
  /** How many times a task may fail for this cause and still be tried again. */
  readonly times: number
  /** Before the next try; doubled with each failure of this kind, up to a day. */
  readonly delaySeconds: number
  /** `memory` and `walltime`: by how much more is asked for. 1: the same again. */
  readonly factor: number
}

export interface RetryPolicy {
  readonly causes: Readonly<Record<CauseKind, RetryRule>>
  /** A tool that exits with one of these asks to be run again later (EX_TEMPFAIL of sysexits.h and the BIDS App draft). */
  readonly temporaryExitCodes: readonly number[]
  readonly temporary: RetryRule
  /** Never ask for more than this, whatever the factor. */
  readonly maxMemoryBytes?: number
  readonly maxWalltimeSeconds?: number
}

const rule = (times: number, delaySeconds = 0, factor = 1): RetryRule => ({ times, delaySeconds, factor })

export const DEFAULT_RETRY: RetryPolicy = {
  causes: {
    memory: rule(2, 0, 1.5),
    walltime: rule(2, 0, 1.5),
    node: rule(5, 60),
    preempted: rule(20, 60),
    lost: rule(2, 60),
    staging: rule(3, 300),
    upload: rule(5, 300),
    killed: rule(1, 60),
    tool: rule(0),
    'no-output': rule(0),
    'missing-output': rule(0),
    rejected: rule(0),
  },
  temporaryExitCodes: [75],
  temporary: rule(10, 600),
}

export type RetryDecision =
  | { readonly again: false; readonly reason: string }
  | {
      readonly again: true
      readonly reason: string
      readonly delaySeconds: number
      readonly countsAs: string
    }

const DAY = 86_400

/** @param failures - how often the task has failed before, by what it counted as; this failure not included */
export function decideRetry(
  cause: FailureCause,
  failures: Readonly<Record<string, number>>,
  policy: RetryPolicy,
): RetryDecision {
  const temporary =
    cause.kind === 'tool' &&
    cause.exitCode !== undefined &&
    policy.temporaryExitCodes.includes(cause.exitCode)
  const countsAs = temporary ? 'temporary' : cause.kind
  const { times, delaySeconds } = temporary ? policy.temporary : policy.causes[cause.kind]
  const before = failures[countsAs] ?? 0
  if (times === 0)
    return { again: false, reason: `a failure of kind ${countsAs} is not tried again by itself` }
  if (before >= times)
    return {
      again: false,
      reason: `it failed ${before + 1} times (${countsAs}); ${times} more tries were allowed`,
    }
  return {
    again: true,
    reason: `try ${before + 1} of ${times} after a failure of kind ${countsAs}`,
    delaySeconds: Math.min(delaySeconds * 2 ** before, DAY),
    countsAs,
  }
}

/** What the next attempt asks for, given the failures so far. */
export function grownRequirements(
  base: Requirements,
  record: Pick<TaskRecord, 'failures'>,
  policy: RetryPolicy,
): Requirements {
  const grow = (amount: number, kind: 'memory' | 'walltime', most: number | undefined): number => {
    const grown = Math.ceil(amount * policy.causes[kind].factor ** (record.failures[kind] ?? 0))
    return most === undefined ? grown : Math.max(amount, Math.min(grown, most))
  }
  return {
    ...base,
    memoryBytes: grow(base.memoryBytes, 'memory', policy.maxMemoryBytes),
    walltimeSeconds: grow(base.walltimeSeconds, 'walltime', policy.maxWalltimeSeconds),
  }
}
