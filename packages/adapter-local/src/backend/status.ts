/** Rows of the queue and end records → the words of the port. Pure. */

import { constants } from 'node:os'
import { jobId, type Evidence, type JobOutcome, type JobStatus } from '@orbweaver/core'
import type { JobEnd, JobRow } from './job-db.js'
import type { EndRecord } from './supervisor.js'

const SIGNAL_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
)

/** How a job ended, from what its supervisor wrote. */
export function endOf(record: EndRecord, row: Pick<JobRow, 'cancel_asked' | 'memory' | 'walltime'>): JobEnd {
  const { code, reason, oomKills, left } = record
  // By every shell's convention; also when a program in between reports so how its child ended.
  const signal = code !== undefined && code > 128 ? SIGNAL_NAMES.get(code - 128) : undefined
  const [outcome, note] = judge()
  return {
    outcome,
    endedAtMs: record.atMs,
    exitCode: code,
    signal,
    peakMemoryBytes: record.peakMemoryBytes,
    cpuSeconds: record.cpuSeconds,
    note: left === '' ? note : `${note}; still in the kernel's hands: processes ${left}`,
  }

  function judge(): readonly [JobOutcome, string] {
    const how =
      code === undefined ? 'never started' : signal === undefined ? `exit code ${code}` : `ended by ${signal}`
    switch (reason) {
      case 'memory':
        return ['out-of-memory', `more than ${row.memory} bytes resident; ended`]
      case 'time':
        return ['timeout', `walltime of ${row.walltime} s used up; ended`]
      case 'lost':
        return ['unknown', 'the process that stood over it is gone and left no word; what it left was ended']
      case 'cancel':
        if (row.cancel_asked === 1) return ['cancelled', `cancelled; ${how}`]
        return ['failed', `its supervisor was sent SIGTERM from outside; ${how}`]
      default:
        if (oomKills > 0)
          return ['out-of-memory', `the kernel ended ${oomKills} of its processes for memory; ${how}`]
        return [code === 0 ? 'succeeded' : 'failed', how]
    }
  }
}

/** @param nowMs - when the row was read */
export function statusOf(row: JobRow, id: string, nowMs: number): JobStatus {
  const phase = row.state === 'running' && row.cancel_asked === 1 ? 'finishing' : row.state
  const reason = row.state === 'finished' ? row.note : row.cancel_asked === 1 ? 'cancel asked' : null
  const elapsed =
    row.started_at === null ? undefined : Math.max(0, ((row.ended_at ?? nowMs) - row.started_at) / 1000)
  const usage = {
    ...(row.peak !== null && { peakMemoryBytes: row.peak }),
    ...(row.cpu_seconds !== null && { cpuSeconds: row.cpu_seconds }),
    ...(elapsed !== undefined && { elapsedSeconds: elapsed }),
  }
  return {
    id: jobId(id),
    name: row.name,
    phase,
    restarts: 0,
    native: { state: row.state, ...(reason !== null && { reason }) },
    evidence: [evidenceOf(row, nowMs)],
    submittedAtMs: row.submitted_at,
    ...(row.host !== null && { nodes: [row.host] }),
    ...(row.started_at !== null && { startedAtMs: row.started_at }),
    ...(row.state === 'queued' && { waitingOn: 'resources' as const }),
    ...(row.state === 'held' && { heldBy: 'user' as const }),
    ...(row.state === 'finished' && {
      outcome: row.outcome ?? 'unknown',
      ...(row.exit_code !== null && { exitCode: row.exit_code, exitCodeExact: true }),
      ...(row.signal !== null && { signal: row.signal }),
      ...(row.ended_at !== null && { endedAtMs: row.ended_at }),
    }),
    ...(Object.keys(usage).length > 0 && { usage }),
  }
}

function evidenceOf(row: JobRow, nowMs: number): Evidence {
  const where =
    row.host === null ? '' : ` on ${row.host}${row.pid === null ? '' : ` under process ${row.pid}`}`
  if (row.state !== 'finished')
    return { source: 'queue', text: `local queue: ${row.state}${where}`, atMs: nowMs }
  return {
    source: 'accounting',
    text: `local queue: ${row.outcome}${where}: ${row.note}`,
    atMs: row.ended_at ?? nowMs,
  }
}
