/** What only a job can find out: does a node see the work root, does it write there as this user, is its clock right. */

import { randomBytes } from 'node:crypto'
import { DEFAULT_REQUIREMENTS } from '../domain/requirements.js'
import type { JobId, JobSpec, JobStatus } from '../domain/job.js'
import type { ClusterBackend, Diagnosis } from '../ports/cluster-backend.js'
import type { CallOptions } from '../ports/options.js'
import type { Clock } from '../ports/services.js'
import type { FileTransfer } from '../ports/transport.js'
import { pathsOf } from './workspace.js'

export interface CheckByJobOptions extends CallOptions {
  readonly backend: ClusterBackend
  readonly files: FileTransfer
  readonly clock: Clock
  /** As seen from the nodes. The job works in a folder of its own below it, which is removed. */
  readonly workRoot: string
  /** How long the job may wait and run. Default 10 min. It is cancelled after that. */
  readonly timeoutMs?: number
  /** Between two looks. Default 2 s. */
  readonly pollMs?: number
}

/** Arguments: the file to read, the file to write. Written whole or not at all. */
const SCRIPT = `set -e
{ date +%s; uname -n; cat "$1"; } >"$2.part"
mv "$2.part" "$2"`

/** Network file systems show a file of another machine up to a minute late. */
const VISIBLE_WITHIN_MS = 60_000
/** Clocks further apart make times in logs and reports useless. */
const CLOCK_SLACK_MS = 5000

/**
 * Submit one tiny job (1 cpu, 64 MiB, one minute) and look at what it left. Only with a person's consent: it takes a place in
 * the queue.
 */
export async function checkByJob(options: CheckByJobOptions): Promise<readonly Diagnosis[]> {
  const { backend, files, clock, signal } = options
  const call = signal === undefined ? {} : { signal }
  const token = randomBytes(8).toString('hex')
  const folder = `${options.workRoot.replace(/\/+$/, '')}/.orbweaver-check-${token}`
  const paths = pathsOf(folder)
  const [question, answer] = [`${folder}/question`, `${folder}/answer`]
  let job: JobId | undefined
  let ended = false
  try {
    await files.mkdir(`${folder}/log`, call)
    await files.writeAtomic(question, `${token}\n`, call)
    const beganMs = clock.now()
    const spec: JobSpec = {
      name: `ow-check-${token}`,
      command: ['/bin/sh', '-c', SCRIPT, 'check', question, answer],
      directory: folder,
      stdoutPath: paths.stdout,
      stderrPath: paths.stderr,
      requirements: { ...DEFAULT_REQUIREMENTS, memoryBytes: 64 * 1024 ** 2, walltimeSeconds: 60 },
    }
    const [outcome] = await backend.submit([spec], call)
    if (outcome?.kind !== 'accepted') {
      const found = outcome?.kind === 'refused' ? outcome.error.message : (outcome?.reason ?? 'no answer')
      const hint = outcome?.kind === 'refused' ? outcome.error.hint : undefined
      return [problem('job', found, hint ?? 'Try again later.')]
    }
    job = outcome.id
    const status = await untilEnded(job, options)
    if (status?.phase !== 'finished') {
      const where = [status?.native.state, status?.native.reason].filter(Boolean).join(', ')
      return [
        problem(
          'job',
          `job ${job} did not end in time (${where})`,
          'Look at the queue; the job was cancelled.',
        ),
      ]
    }
    ended = true
    const text = await untilVisible(answer, options)
    const [seconds = '', host = '', seen] = text?.split('\n') ?? []
    const ran: Diagnosis = {
      check: 'job',
      status: status.outcome === 'succeeded' ? 'ok' : 'problem',
      found: `job ${job}: ${status.outcome ?? 'unknown'}${status.nodes?.[0] === undefined ? '' : ` on ${status.nodes[0]}`}`,
      ...(status.outcome !== 'succeeded' && { hint: 'Its log and the scheduler tell more.' }),
    }
    if (seen !== token) {
      const hint =
        'The work root must be on a file system that all nodes have under the same path, writable for this user.'
      return [
        ran,
        problem(
          'work root on a node',
          `what the job wrote in ${options.workRoot} is not to be seen here`,
          hint,
        ),
      ]
    }
    return [
      ran,
      { check: 'work root on a node', status: 'ok', found: `${host} reads and writes ${options.workRoot}` },
      clockOf(host, Number(seconds) * 1000, beganMs, clock.now()),
    ]
  } finally {
    // Also after an abort: nothing of ours stays behind.
    if (job !== undefined && !ended) await backend.cancel([job])
    await files.remove(folder)
  }
}

const problem = (check: string, found: string, hint: string): Diagnosis => ({
  check,
  status: 'problem',
  found,
  hint,
})

async function untilEnded(job: JobId, options: CheckByJobOptions): Promise<JobStatus | undefined> {
  const { backend, clock, timeoutMs = 600_000, pollMs = 2000, signal } = options
  const call = signal === undefined ? {} : { signal }
  const endMs = clock.now() + timeoutMs
  for (;;) {
    const status = (await backend.query([job], call)).get(job)
    if (status?.phase === 'finished' || clock.now() >= endMs) return status
    await (backend.changes?.(pollMs, call) ?? clock.sleep(pollMs, call))
  }
}

async function untilVisible(path: string, options: CheckByJobOptions): Promise<string | undefined> {
  const { files, clock, pollMs = 2000, signal } = options
  const call = signal === undefined ? {} : { signal }
  const endMs = clock.now() + VISIBLE_WITHIN_MS
  for (;;) {
    // Listing the folder makes a network file system look again.
    await files.list(path.slice(0, path.lastIndexOf('/')), call)
    const text = (await files.readMany([path], call)).get(path)
    if (text !== undefined || clock.now() >= endMs) return text
    await clock.sleep(pollMs, call)
  }
}

/** The node looked at its clock at some time between these two of ours. */
function clockOf(host: string, nodeMs: number, beganMs: number, seenMs: number): Diagnosis {
  const check = 'clock of a node'
  if (!Number.isFinite(nodeMs))
    return { check, status: 'warning', found: `${host} told no time`, hint: 'Is `date` there?' }
  const apartMs = nodeMs < beganMs ? nodeMs - beganMs : Math.max(0, nodeMs - seenMs)
  const seconds = Math.round(Math.abs(apartMs) / 1000)
  if (Math.abs(apartMs) <= CLOCK_SLACK_MS) return { check, status: 'ok', found: `${host} agrees` }
  return {
    check,
    status: 'warning',
    found: `${host} is at least ${seconds} s ${apartMs > 0 ? 'ahead' : 'behind'}`,
    hint: 'Nothing is decided by it, but times in reports are off by as much. Let both keep time by NTP.',
  }
}
