/** Exit_status of PBS: the same number means different things in the two flavours, so each has a table of its own. */

import type { JobOutcome } from '@orbweaver/core'
import type { Flavour } from './config.js'

type ExitTable = ReadonlyMap<number, { readonly outcome: JobOutcome; readonly reason: string }>

const row = (code: number, outcome: JobOutcome, reason: string) => [code, { outcome, reason }] as const

/** Source: Torque `src/include/pbs_job.h`, JOB_EXEC_*, git master of June 2020. */
export const TORQUE_EXITS: ExitTable = new Map([
  row(-1, 'launch-failed', 'could not start, before files were staged'),
  row(-2, 'launch-failed', 'could not start, after files were staged'),
  row(-3, 'launch-failed', 'could not start, to be tried again'),
  row(-4, 'node-fail', 'ended when the node daemon restarted'),
  row(-5, 'node-fail', 'ended when the node daemon restarted'),
  row(-6, 'node-fail', 'ended when the node daemon restarted'),
  row(-7, 'launch-failed', 'could not be restarted'),
  row(-8, 'launch-failed', 'its command could not be run'),
  row(-9, 'launch-failed', 'its output could not be opened'),
  row(-10, 'out-of-memory', 'memory limit'),
  row(-11, 'timeout', 'walltime limit'),
  row(-12, 'timeout', 'limit of CPU time'),
  row(-13, 'launch-failed', 'its cgroup could not be made'),
])

/** Source: OpenPBS `src/include/job.h`, JOB_EXEC_*, v14.1 to v23.06. Below -23: since v22.05, -22 and -23 since 18 and 20. */
export const OPENPBS_EXITS: ExitTable = new Map([
  row(-1, 'launch-failed', 'could not start, before files were staged'),
  row(-2, 'launch-failed', 'could not start, after files were staged'),
  row(-3, 'launch-failed', 'could not start, to be tried again'),
  row(-4, 'node-fail', 'ended when the node daemon restarted'),
  row(-5, 'node-fail', 'ended when the node daemon restarted'),
  row(-6, 'node-fail', 'ended when the node daemon restarted'),
  row(-7, 'launch-failed', 'could not be restarted'),
  row(-10, 'launch-failed', 'bad user or group on the node'),
  row(-11, 'preempted', 'to be run again'),
  row(-12, 'preempted', 'checkpointed'),
  row(-14, 'node-fail', 'another node of the job was lost'),
  row(-15, 'preempted', 'to be started again from a checkpoint'),
  ...[-13, -16, -17, -18, -19, -21, -22, -23].map((code) =>
    row(code, 'launch-failed', 'refused on the node by a hook or for lack of credentials'),
  ),
  row(-20, 'node-fail', 'the first node of the job was lost'),
  row(-24, 'failed', 'limit of CPU use (burst)'),
  row(-25, 'failed', 'limit of CPU use (sum)'),
  row(-26, 'out-of-memory', 'limit of virtual memory'),
  row(-27, 'out-of-memory', 'memory limit'),
  row(-28, 'timeout', 'limit of CPU time'),
  row(-29, 'timeout', 'walltime limit'),
  row(-30, 'launch-failed', 'its nodes could not be joined'),
])

/** Exit_status in words where it is no code of a program. */
export const exitMeaning = (flavour: Flavour, code: string): string | undefined =>
  (flavour === 'torque' ? TORQUE_EXITS : OPENPBS_EXITS).get(Number(code))?.reason
