import { expect } from 'chai'
import fc from 'fast-check'
import type { Recording } from '@orbweaver/conformance'
import { readFileSync } from 'node:fs'
import { jobId, type JobId, type JobStatus } from '@orbweaver/core'
import type { Flavour } from '@orbweaver/adapter-pbs'
import { readRecords } from '#src/records.js'
import { readStatuses } from '#src/status.js'
import { readQsub } from '#src/submit.js'
import { siteOf } from './recordings.js'
import { spec } from './specs.js'

const RUNS = { numRuns: 600 }
const sourceOf = (release: string, flavour: Flavour) =>
  (
    JSON.parse(
      readFileSync(new URL(`../test/fixtures/${release}/qstat.json`, import.meta.url), 'utf8'),
    ) as Recording[]
  )
    .filter(({ stdout }) => stdout !== '')
    .map((recording) => ({ ...recording, flavour }))
const openpbs = sourceOf('openpbs-23.06', 'openpbs')
type Source = (typeof openpbs)[number]

/** As the same server writes it for `-F dsv -D`. */
const separated = (one: Source): Source => ({
  ...one,
  id: `${one.id} as dsv`,
  stdout: readRecords(one.stdout)
    .map(({ id, fields }) => [`Job Id: ${id}`, ...[...fields].map((field) => field.join('='))].join('\u001e'))
    .join('\n')
    .concat('\n'),
})
const recordings = [...openpbs, ...openpbs.map(separated), ...sourceOf('torque-7.0', 'torque')]

const idsOf = (text: string): readonly JobId[] => readRecords(text).map(({ id }) => jobId(id))

function statusesOf({ flavour, exit, stderr }: Source, stdout: string, asked: readonly JobId[]) {
  const reading = readStatuses({ exitCode: exit, stdout, stderr }, asked, siteOf(flavour), 0)
  return reading.kind === 'answer' ? reading.value : new Map<JobId, JobStatus>()
}

/** No success that the whole reply did not have. */
function addsNoSuccess(source: Source, stdout: string): void {
  const asked = idsOf(source.stdout)
  const truth = statusesOf(source, source.stdout, asked)
  for (const [id, status] of statusesOf(source, stdout, asked))
    if (status.outcome === 'succeeded')
      expect(truth.get(id)?.outcome, `${source.id}: ${id}`).to.equal('succeeded')
}

const source = fc.constantFrom(...recordings)
const place = fc.double({ min: 0, max: 1, noNaN: true })
const at = (where: number, length: number): number => Math.floor(where * length)

describe('adapter-pbs: replies that are damaged', () => {
  it('are whole to begin with, in each way of writing', () => {
    for (const one of openpbs) {
      const asked = idsOf(one.stdout)
      const dsv = separated(one)
      expect(statusesOf(dsv, dsv.stdout, asked), one.id).to.deep.equal(statusesOf(one, one.stdout, asked))
    }
  })

  it('cut at any byte', () => {
    fc.assert(
      fc.property(source, place, (one, where) => {
        addsNoSuccess(one, one.stdout.slice(0, at(where, one.stdout.length)))
      }),
      RUNS,
    )
  })

  it('with lines missing, twice, or in another place', () => {
    fc.assert(
      fc.property(source, place, place, fc.constantFrom('drop', 'twice', 'move'), (one, from, to, what) => {
        const lines = one.stdout.split('\n')
        const index = at(from, lines.length)
        const [line = ''] = what === 'twice' ? lines.slice(index, index + 1) : lines.splice(index, 1)
        // A field in the record of another job is no damage that anyone could see.
        if (what !== 'drop' && !/^ {4}(?:exit_status|Exit_status)/.test(line))
          lines.splice(at(to, lines.length), 0, line)
        addsNoSuccess(one, lines.join('\n'))
      }),
      RUNS,
    )
  })

  it('with fields of a job in any order', () => {
    fc.assert(
      fc.property(source, fc.infiniteStream(place), (one, places) => {
        const shuffle = (lines: readonly string[]): readonly string[] =>
          lines
            .map((line) => ({ line, key: places.next().value as number }))
            .sort((a, b) => a.key - b.key)
            .map(({ line }) => line)
        const blocks = one.stdout.split(/\n\n/).map((block) => {
          const [head = '', ...fields] = block.replaceAll('\n\t', '').split('\n')
          return [head, ...shuffle(fields)].join('\n')
        })
        addsNoSuccess(one, blocks.join('\n\n'))
      }),
      { numRuns: 200 },
    )
  })

  it('with unknown letters of state', () => {
    fc.assert(
      fc.property(source, fc.constantFrom('Z', '?', 'é', 'FF', 'f', 'M', '0'), (one, letter) => {
        const stdout = one.stdout
          .replace(/job_state( ?= ?)[A-Z]/g, (_, equals: string) => `job_state${equals}${letter}`)
          .replace(/<job_state>.</g, () => `<job_state>${letter}<`)
        for (const { phase } of statusesOf(one, stdout, idsOf(one.stdout)).values())
          expect(phase).to.equal('unknown')
      }),
      { numRuns: 200 },
    )
  })

  it('are read the same with banners, CRLF and blanks at the end', () => {
    const banner = fc.constantFrom(
      '',
      '*** Welcome to the cluster, 3 nodes down ***\n',
      'Última sesión: ayer\n\n',
    )
    fc.assert(
      fc.property(source, banner, fc.boolean(), (one, text, crlf) => {
        const asked = idsOf(one.stdout)
        const changed = `${text}${crlf ? one.stdout.replaceAll('\n', '\r\n') : one.stdout}`
        expect(statusesOf(one, changed, asked)).to.deep.equal(statusesOf(one, one.stdout, asked))
      }),
      { numRuns: 200 },
    )
  })

  it('of anything at all', () => {
    const piece = fc.constantFrom(
      'Job Id: 1.a\n',
      '    job_state = F\n',
      '    Exit_status = 0\n',
      '\u001e',
      'job_state=F',
      '<Job>',
      '</Job>',
      '<Job_Id>1.a</Job_Id>',
      '\t',
      '\u0000',
    )
    const text = fc.array(fc.oneof(piece, fc.string({ unit: 'binary' })), { maxLength: 20 })
    fc.assert(
      fc.property(
        text,
        text,
        fc.constantFrom('openpbs', 'torque'),
        fc.nat(255),
        (out, err, flavour, exitCode) => {
          const reply = { exitCode, stdout: out.join(''), stderr: err.join('') }
          const asked = [jobId('2.a'), jobId('3[].a'), jobId('3[1].a')]
          const reading = readStatuses(reply, asked, siteOf(flavour), 0)
          if (reading.kind === 'answer') expect(reading.value.size).to.equal(0)
          expect(readQsub(reply, { array: false, members: [spec('a')] })).to.have.property('kind')
        },
      ),
      RUNS,
    )
  })

  it('of qsub never give an id that is no line of its own', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (lines) => {
        const stdout = lines.join('\n')
        const reading = readQsub({ exitCode: 0, stdout, stderr: '' }, { array: false, members: [spec('a')] })
        if (reading.kind === 'accepted')
          expect(stdout.split(/\r?\n/).map((line) => line.trim())).to.include(reading.ids[0])
      }),
      RUNS,
    )
  })
})
