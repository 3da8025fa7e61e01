import { expect } from 'chai'
import fc from 'fast-check'
import {
  JOB_OUTCOMES,
  JOB_PHASES,
  jobId,
  judge,
  type ExitRecord,
  type JobStatus,
  type Verdict,
  type Witnesses,
} from '@orbweaver/core'

const NOW = 1_000_000
const status = (more: Partial<JobStatus>): JobStatus => ({
  id: jobId('7'),
  phase: 'finished',
  restarts: 0,
  native: { state: 'X' },
  evidence: [{ source: 'accounting', text: 'a line of accounting', atMs: NOW }],
  ...more,
})
const exit = (more: Partial<ExitRecord> = {}): ExitRecord => ({
  schema: 1,
  name: 'ow-1',
  host: 'node1',
  exitCode: 0,
  startedAt: 10,
  endedAt: 20,
  ...more,
})
const look = (more: Partial<Witnesses>): Verdict =>
  judge({
    status: undefined,
    exit: undefined,
    start: undefined,
    missingForMs: undefined,
    graceMs: 90_000,
    cancelAsked: false,
    nowMs: NOW,
    ...more,
  })
const word = (verdict: Verdict): string => (verdict.kind === 'failed' ? verdict.cause.kind : verdict.kind)

describe('judge', () => {
  const cases: readonly (readonly [string, Partial<Witnesses>, string])[] = [
    ['scheduler: succeeded', { status: status({ outcome: 'succeeded' }) }, 'succeeded'],
    [
      'scheduler: succeeded, record: code 0',
      { status: status({ outcome: 'succeeded' }), exit: exit() },
      'succeeded',
    ],
    // The script hides nothing: its record is believed.
    [
      'scheduler: succeeded, record: code 3',
      { status: status({ outcome: 'succeeded' }), exit: exit({ exitCode: 3 }) },
      'tool',
    ],
    [
      'scheduler: failed with 1, record: code 3',
      { status: status({ outcome: 'failed', exitCode: 1 }), exit: exit({ exitCode: 3 }) },
      'tool',
    ],
    ['scheduler: failed, no record', { status: status({ outcome: 'failed', exitCode: 2 }) }, 'tool'],
    ['scheduler: failed by a signal', { status: status({ outcome: 'failed', signal: 'SIGSEGV' }) }, 'killed'],
    [
      'scheduler: timeout, record: code 0',
      { status: status({ outcome: 'timeout' }), exit: exit() },
      'walltime',
    ],
    ['scheduler: deadline', { status: status({ outcome: 'deadline' }) }, 'walltime'],
    [
      'scheduler: out of memory, record: SIGKILL',
      { status: status({ outcome: 'out-of-memory' }), exit: exit({ exitCode: 137, signal: 'SIGKILL' }) },
      'memory',
    ],
    ['scheduler: node failed', { status: status({ outcome: 'node-fail' }) }, 'node'],
    ['scheduler: preempted', { status: status({ outcome: 'preempted' }) }, 'preempted'],
    ['scheduler: launch failed', { status: status({ outcome: 'launch-failed' }) }, 'node'],
    ['scheduler: dependency failed', { status: status({ outcome: 'dependency-failed' }) }, 'rejected'],
    ['scheduler: cancelled', { status: status({ outcome: 'cancelled' }) }, 'cancelled'],
    [
      'scheduler: finished somehow, record: code 0',
      { status: status({ outcome: 'unknown' }), exit: exit() },
      'succeeded',
    ],
    ['scheduler: finished somehow, no record', { status: status({ outcome: 'unknown' }) }, 'lost'],
    ['own timer ended it', { exit: exit({ exitCode: 143, timedOut: true }) }, 'walltime'],
    ['nobody knows it, record: code 0', { exit: exit(), missingForMs: 0 }, 'succeeded'],
    ['nobody knows it, record: code 9', { exit: exit({ exitCode: 9 }), missingForMs: 0 }, 'tool'],
    [
      'nobody knows it, record: SIGKILL',
      { exit: exit({ exitCode: 137, signal: 'SIGKILL' }), missingForMs: 0 },
      'killed',
    ],
    ['nobody knows it, no record, within the grace time', { missingForMs: 89_999 }, 'unclear'],
    ['nobody knows it, no record, after the grace time', { missingForMs: 90_000 }, 'lost'],
    ['an unknown word, no record', { status: status({ phase: 'unknown' }) }, 'unclear'],
    ['an unknown word, record: code 0', { status: status({ phase: 'unknown' }), exit: exit() }, 'succeeded'],
    ['queued', { status: status({ phase: 'queued' }) }, 'queued'],
    ['held', { status: status({ phase: 'held', heldBy: 'admin' }) }, 'queued'],
    ['starting', { status: status({ phase: 'starting' }) }, 'running'],
    ['running', { status: status({ phase: 'running' }) }, 'running'],
    ['suspended', { status: status({ phase: 'suspended' }) }, 'running'],
    ['finishing', { status: status({ phase: 'finishing' }) }, 'running'],
    // NOW is 1 000 s.
    [
      'running, but its record told of the end 299 s ago',
      { status: status({ phase: 'running' }), exit: exit({ endedAt: 701 }) },
      'running',
    ],
    [
      'running, but its record told of the end more than 5 minutes ago: code 0',
      { status: status({ phase: 'running' }), exit: exit({ endedAt: 699 }) },
      'succeeded',
    ],
    [
      'finishing, but its record told of the end more than 5 minutes ago: code 9',
      { status: status({ phase: 'finishing' }), exit: exit({ exitCode: 9, endedAt: 699 }) },
      'tool',
    ],
    [
      'cancel asked, never seen to end by the scheduler, ended by SIGTERM long ago',
      {
        cancelAsked: true,
        status: status({ phase: 'finishing' }),
        exit: exit({ exitCode: 143, signal: 'SIGTERM' }),
      },
      'cancelled',
    ],
    [
      'cancel asked, ended by SIGTERM',
      { cancelAsked: true, status: status({ outcome: 'failed', signal: 'SIGTERM' }) },
      'cancelled',
    ],
    [
      'cancel asked, but it ended well before',
      { cancelAsked: true, status: status({ outcome: 'succeeded' }), exit: exit() },
      'succeeded',
    ],
  ]
  for (const [name, witnesses, wanted] of cases) {
    it(`${name}: ${wanted}`, () => {
      expect(word(look(witnesses))).to.equal(wanted)
    })
  }

  it('never calls a job succeeded without a witness that says so', () => {
    const anyStatus = fc.record({
      phase: fc.constantFrom(...JOB_PHASES),
      outcome: fc.constantFrom(...JOB_OUTCOMES.filter((outcome) => outcome !== 'succeeded')),
    })
    fc.assert(
      fc.property(
        fc.option(anyStatus, { nil: undefined }),
        fc.option(fc.integer({ min: 1, max: 255 }), { nil: undefined }),
        fc.nat(200_000),
        fc.boolean(),
        (told, code, missingForMs, cancelAsked) => {
          const verdict = look({
            status: told === undefined ? undefined : status(told),
            exit: code === undefined ? undefined : exit({ exitCode: code }),
            missingForMs,
            cancelAsked,
          })
          expect(verdict.kind).not.to.equal('succeeded')
        },
      ),
    )
  })

  it('every failure carries what the witnesses said', () => {
    const verdict = look({ status: status({ outcome: 'failed', exitCode: 1 }), exit: exit({ exitCode: 3 }) })
    expect(verdict.kind === 'failed' && verdict.cause.evidence.map(({ source }) => source)).to.deep.equal([
      'accounting',
      'exit-record',
    ])
    expect(verdict.kind === 'failed' && verdict.cause.exitCode).to.equal(3)
  })
})
