import { expect } from 'chai'
import fc from 'fast-check'
import type { ArchiveRef, TaskRecord } from '@orbweaver/core'
import { formatDaxInputs, readDaxInputs, scansOf } from '#src/store/dax-inputs.js'

const at: ArchiveRef = { project: 'P', subject: 'S', session: 'E' }

function record(inputs: TaskRecord['inputs']): TaskRecord {
  return {
    schema: 1,
    label: 'L',
    procType: 'p_v1',
    procVersion: '1.0.0',
    target: at,
    inputs,
    params: {},
    state: 'ready',
    reason: '',
    attempt: 0,
    failures: {},
    createdAtMs: 0,
    updatedAtMs: 0,
  }
}

describe('inputs in the form of DAX', () => {
  it('are read as DAX wrote them, entities and all', () => {
    const text =
      '{&quot;t1&quot;: &quot;/projects/P/subjects/S/experiments/E/scans/301&quot;, &quot;fs&quot;: ' +
      '[&quot;/projects/P/subjects/S/experiments/E/assessors/P-x-S-x-E-x-fs_v7-x-0a1b&quot;], &quot;none&quot;: null}'
    expect(readDaxInputs(text)).to.deep.equal({
      t1: [{ ...at, scan: '301' }],
      fs: [{ ...at, assessor: 'P-x-S-x-E-x-fs_v7-x-0a1b' }],
    })
  })

  it('come back as they were written', () => {
    const label = fc.stringMatching(/^[A-Za-z0-9][\w-]{0,8}$/)
    const node = fc.oneof(
      label.map((scan): ArchiveRef => ({ ...at, scan })),
      label.map((assessor): ArchiveRef => ({ ...at, assessor })),
      label.map((assessor): ArchiveRef => ({ project: 'P', subject: 'S', session: 'E2', assessor })),
      fc.constant<ArchiveRef>({ project: 'P', subject: 'S' }),
    )
    const inputs = fc.dictionary(
      fc.stringMatching(/^[a-z]\w{0,8}$/),
      fc.array(node, { minLength: 1, maxLength: 3 }),
    )
    fc.assert(
      fc.property(inputs, (wanted) => {
        const bindings = Object.entries(wanted).map(([name, nodes]) => ({
          name,
          sources: nodes.map((one) => ({ node: one, resource: 'NIFTI' })),
        }))
        expect(readDaxInputs(formatDaxInputs(record(bindings)) ?? '')).to.deep.equal({ ...wanted })
      }),
    )
  })

  for (const text of ['', '  ', 'None', '{"t1": "/projects/P/subj', '[1, 2]', 'null', '"x"', '7'])
    it(`say nothing when they are ${JSON.stringify(text)}`, () =>
      expect(readDaxInputs(text)).to.deep.equal({}))

  it('of a form nobody knows are equal to nothing', () => {
    const [ref] = readDaxInputs('{"a": "../../etc/passwd"}').a ?? []
    expect(ref).to.deep.equal({ project: '', assessor: '../../etc/passwd' })
  })

  it('are left out when the field cannot hold them', () => {
    const sources = Array.from({ length: 200 }, (_, index) => ({
      node: { ...at, scan: `scan-with-a-long-label-${index}` },
      resource: 'NIFTI',
    }))
    expect(formatDaxInputs(record([{ name: 'all', sources }]))).to.equal(undefined)
  })

  it('tell the scans of the session; before there were inputs the label does', () => {
    const of = { session: 'E', procType: 'p_v1', label: 'P-x-S-x-E-x-7-x-p_v1' }
    expect(
      scansOf({ a: [{ ...at, scan: '1' }], b: [{ ...at, session: 'E2', scan: '2' }] }, of),
    ).to.deep.equal(['1'])
    expect(scansOf({}, of)).to.deep.equal(['7'])
    expect(scansOf({ a: [{ ...at, assessor: 'x' }] }, of)).to.equal(undefined)
    expect(scansOf({}, { ...of, label: 'P-x-S-x-E-x-p_v1-x-0a1b2c3d' })).to.equal(undefined)
    expect(scansOf({}, { ...of, label: 'P-x-S-x-E-x-p_v1' })).to.equal(undefined)
  })
})
