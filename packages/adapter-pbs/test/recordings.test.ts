import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readRecords } from '#src/records.js'
import { readStatuses } from '#src/status.js'
import { recordedCases, type Recording } from '@orbweaver/conformance'
import { jobId } from '@orbweaver/core'
import { checkCase, siteOf, type Expectation } from './recordings.js'
import { skipTest } from '@orbweaver/core/testing'

interface OwnRecording extends Recording {
  readonly jobs: Readonly<Record<string, { readonly state: string; readonly exitCode?: number }>>
}
/** The recordings' words → ours. An array's own state is no element's, so arrays are not compared. */
const OURS: Readonly<Record<string, readonly string[]>> = {
  queued: ['queued'],
  blocked: ['queued'],
  held: ['held', 'queued'],
  running: ['running'],
  exiting: ['finishing'],
  succeeded: ['succeeded'],
  failed: ['failed'],
  timeout: ['timeout'],
  out_of_memory: ['out-of-memory'],
  cancelled: ['cancelled', 'dependency-failed'],
}

for (const [release, flavour] of [
  ['openpbs-23.06', 'openpbs'],
  ['torque-7.0', 'torque'],
] as const) {
  describe(`adapter-pbs: recorded replies of ${release}`, () => {
    const file = new URL(`../test/fixtures/${release}/qstat.json`, import.meta.url)
    for (const { id, command, exit, stdout, stderr, jobs } of JSON.parse(
      readFileSync(file, 'utf8'),
    ) as OwnRecording[]) {
      it(`${id}: ${command}`, () => {
        const asked = readRecords(stdout).map((record) => jobId(record.id))
        const reading = readStatuses({ exitCode: exit, stdout, stderr }, asked, siteOf(flavour), 0)
        if (reading.kind !== 'answer') throw new Error(reading.message)
        for (const [job, status] of reading.value) {
          const truth = jobs[job]
          if (truth === undefined) continue
          expect(OURS[truth.state], `${job} ${truth.state}`).to.include(status.outcome ?? status.phase)
          if (truth.exitCode !== undefined) expect(status.exitCode).to.equal(truth.exitCode)
        }
      })
    }
  })
}

describe('adapter-pbs: public recordings of many releases', () => {
  const fixtures = process.env['ORBWEAVER_FIXTURES']
  if (fixtures === undefined || fixtures === '') {
    it('are read from the folder in ORBWEAVER_FIXTURES', function () {
      skipTest(this, 'ORBWEAVER_FIXTURES is not set')
    })
    return
  }
  const ours = recordedCases<Expectation>(join(fixtures, 'scheduler-outputs'), [
    'openpbs',
    'pbspro',
    'torque',
  ])
  for (const one of ours) {
    it(`${one.id} (${one.version}): ${one.command.slice(0, 60)}`, () => {
      checkCase(one, one.expect, one.scheduler === 'torque' ? 'torque' : 'openpbs')
    })
  }
  it('are all tried', () => {
    expect(ours.length).to.equal(61)
  })
})
