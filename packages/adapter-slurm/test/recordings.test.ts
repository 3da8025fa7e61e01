import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { recordedCases, type Recording } from '@orbweaver/conformance'
import type { JobStatus } from '@orbweaver/core'
import { checkCase, statusesOf, errorClassOf, type Expectation } from './recordings.js'
import { skipTest } from '@orbweaver/core/testing'

const FIXTURES = join(import.meta.dirname, '../test/fixtures/slurm-22.05.8')
const fixture = (name: string): unknown => JSON.parse(readFileSync(join(FIXTURES, name), 'utf8'))

interface LabJob {
  readonly state: string
  readonly exitCode?: number
  readonly exitCodeUnknown?: boolean
  readonly signal?: number
  readonly reason?: string
  readonly by?: string
}
interface LabRecording extends Omit<Recording, 'stderr'> {
  readonly stderr?: string
  readonly expected?: {
    readonly jobs?: Readonly<Record<string, LabJob>>
    readonly absent?: boolean
    readonly submitted?: string
    readonly rejected?: boolean
  }
}

/** The lab's words → ours. `failed` covers what one witness alone cannot tell apart. */
const MEANINGS: Readonly<Record<string, readonly string[]>> = {
  queued: ['queued'],
  blocked: ['queued never'],
  held: ['held'],
  running: ['running', 'starting'],
  exiting: ['finishing'],
  succeeded: ['succeeded'],
  failed: ['failed', 'launch-failed', 'out-of-memory'],
  cancelled: ['cancelled'],
  timeout: ['timeout'],
  node_fail: ['node-fail'],
  preempted: ['preempted'],
}
const meaningOf = ({ phase, outcome, willNeverRun }: JobStatus): string =>
  phase === 'finished' ? (outcome ?? '') : `${phase}${willNeverRun === true ? ' never' : ''}`

describe('recordings of Slurm 22.05.8', () => {
  const { recordings } = fixture('recordings.json') as { readonly recordings: readonly LabRecording[] }

  for (const raw of recordings) {
    const recording: Recording = { ...raw, stderr: raw.stderr ?? '' }
    const { jobs, rejected, submitted } = raw.expected ?? {}
    if (submitted !== undefined && raw.id.startsWith('submit')) {
      it(`${raw.id}: ${raw.command}`, () => {
        checkCase(recording, { error: null, submit: { jobId: submitted, cluster: null, isArray: false } })
      })
    } else if (rejected === true) {
      it(`${raw.id}: ${raw.command}`, () => {
        expect(errorClassOf(recording)).to.be.oneOf(['REJECTED', 'BAD_REQUEST'])
      })
    } else if (jobs !== undefined && /^(squeue|sacct)/.test(raw.command)) {
      it(`${raw.id}: ${raw.command.slice(0, 60)}`, () => {
        const found = statusesOf(recording)
        expect([...found.keys()]).to.have.members(Object.keys(jobs))
        for (const [id, job] of Object.entries(jobs)) {
          const status = found.get(id)
          if (status === undefined) expect.fail(id)
          expect(meaningOf(status), id).to.be.oneOf([...(MEANINGS[job.state] ?? [job.state])])
          if (
            job.exitCode !== undefined &&
            job.state === 'failed' &&
            raw.command.startsWith('sacct') &&
            job.exitCodeUnknown !== true
          )
            expect(status.exitCode).to.equal(job.exitCode > 127 ? job.exitCode - 128 : job.exitCode)
          if (status.exitCode !== undefined && status.exitCode !== 0)
            expect(status.exitCodeExact).to.equal(false)
        }
      })
    } else if (raw.id.startsWith('daemon-unreachable') && raw.exit !== 0) {
      it(`${raw.id}: no evidence about anything`, () => {
        // Without its configuration file nothing is known to be away: the words are not Slurm's usual ones.
        expect(errorClassOf(recording)).to.be.oneOf(
          raw.command.includes('SLURM_CONF') ? ['UNPARSABLE'] : ['UNREACHABLE'],
        )
      })
    }
  }

  it('has more than a hundred replies with jobs', () => {
    expect(recordings.filter(({ expected }) => expected?.jobs !== undefined).length).to.be.above(100)
  })

  const { cases } = fixture('cases.json') as {
    readonly cases: readonly (Omit<LabRecording, 'stdout'> & {
      readonly stdout?: string
      readonly stdoutBase64?: string
      readonly expect: Expectation
    })[]
  }
  for (const one of cases) {
    it(`${one.id}: ${one.command}`, () => {
      const stdout = one.stdout ?? Buffer.from(one.stdoutBase64 ?? '', 'base64').toString('utf8')
      checkCase({ ...one, stdout, stderr: one.stderr ?? '' }, one.expect)
    })
  }
})

describe('public recordings of many releases', () => {
  const fixtures = process.env['ORBWEAVER_FIXTURES']
  if (fixtures === undefined || fixtures === '') {
    it('are read from the folder in ORBWEAVER_FIXTURES', function () {
      skipTest(this, 'ORBWEAVER_FIXTURES is not set')
    })
    return
  }
  const ours = recordedCases<Expectation>(join(fixtures, 'scheduler-outputs'), ['slurm'])
  for (const one of ours) {
    it(`${one.id} (${one.version}): ${one.command.slice(0, 60)}`, () => {
      checkCase(one, one.expect)
    })
  }
  it('are all tried', () => {
    expect(ours.length).to.be.above(60)
  })
})
