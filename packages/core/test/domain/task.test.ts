import { expect } from 'chai'
import fc from 'fast-check'
import { labelProblem } from '#src/domain/labels.js'
import {
  ACTIVE_STATES,
  FINAL_STATES,
  TASK_STATES,
  attemptName,
  canBecome,
  procTypeOf,
  sameChecksum,
  sameContent,
  taskLabel,
} from '#src/domain/task.js'
import type { InputBinding, InputSource } from '#src/domain/task.js'

const target = { project: 'P', subject: 'S', session: 'E' }
const source = (scan: string, resource = 'NIFTI'): InputSource => ({ node: { ...target, scan }, resource })

describe('task labels', () => {
  it('are the same for ever: this one is in archives', () => {
    expect(taskLabel('fmri-qa_v1', target, [{ name: 'bold', sources: [source('3')] }])).to.equal(
      'P-x-S-x-E-x-fmri-qa_v1-x-8de9cd5c',
    )
    expect(taskLabel('group_v2', { project: 'P' }, [])).to.match(/^P-x-group_v2-x-[0-9a-f]{8}$/)
  })

  it('do not depend on the order of inputs or of their sources', () => {
    const bindings = fc.array(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c'),
        sources: fc.array(
          fc.constantFrom('1', '2', '3').map((scan) => source(scan)),
          { maxLength: 3 },
        ),
      }),
      { maxLength: 4 },
    )
    fc.assert(
      fc.property(bindings, (inputs) => {
        const turned = inputs.map((input) => ({ ...input, sources: [...input.sources].reverse() })).reverse()
        expect(taskLabel('p_v1', target, turned)).to.equal(taskLabel('p_v1', target, inputs))
      }),
    )
  })

  it('differ when anything that matters differs', () => {
    const one = (input: InputBinding, procType = 'p_v1'): string => taskLabel(procType, target, [input])
    const labels = [
      one({ name: 'a', sources: [source('1')] }),
      one({ name: 'b', sources: [source('1')] }),
      one({ name: 'a', sources: [source('2')] }),
      one({ name: 'a', sources: [source('1', 'DICOM')] }),
      one({ name: 'a', sources: [{ ...source('1'), files: ['*.nii'] }] }),
      one({ name: 'a', sources: [source('1'), source('2')] }),
      one({ name: 'a', sources: [] }),
      one({ name: 'a', sources: [source('1')] }, 'p_v2'),
    ]
    expect(new Set(labels).size).to.equal(labels.length)
  })

  it('do not change with what is only for people', () => {
    const plain = taskLabel('p_v1', target, [{ name: 'a', sources: [source('1')] }])
    expect(taskLabel('p_v1', target, [{ name: 'a', sources: [{ ...source('1'), type: 'T1w' }] }])).to.equal(
      plain,
    )
    const converted: InputSource = {
      node: { ...target, assessor: 'L' },
      resource: 'NIFTI',
      standsFor: { node: { ...target, scan: '1' }, resource: 'NIFTI' },
    }
    expect(taskLabel('p_v1', target, [{ name: 'a', sources: [converted] }])).to.equal(plain)
  })

  it('are labels themselves', () => {
    expect(labelProblem(taskLabel('p_v1', target, []))).to.equal(undefined)
  })
})

describe('attempt names', () => {
  it('fit a scheduler, tell nothing about a person and differ by attempt', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 99_999 }), (label, attempt) => {
        const name = attemptName(label, attempt)
        expect(name).to.match(/^ow-[0-9a-f]{16}-\d+$/)
        expect(name.length).to.be.at.most(60)
        expect(attemptName(label, attempt + 1)).not.to.equal(name)
      }),
    )
  })
})

describe('task states', () => {
  it('may always stay, and never leave the known words', () => {
    for (const state of TASK_STATES) expect(canBecome(state, state)).to.equal(true)
  })
  it('complete is reached from uploading alone: only what was verified is complete', () => {
    expect(TASK_STATES.filter((from) => from !== 'complete' && canBecome(from, 'complete'))).to.deep.equal([
      'uploading',
    ])
  })
  it('every state but the first can be reached from waiting', () => {
    const reached = new Set<string>(['waiting'])
    for (let grown = true; grown;) {
      grown = false
      for (const from of TASK_STATES.filter((state) => reached.has(state))) {
        for (const to of TASK_STATES) {
          if (!canBecome(from, to) || reached.has(to)) continue
          reached.add(to)
          grown = true
        }
      }
    }
    expect([...reached].sort()).to.deep.equal([...TASK_STATES].sort())
  })
  it('every active state can end, and every final one can be taken up again', () => {
    for (const state of ACTIVE_STATES)
      expect(canBecome(state, 'failed') && canBecome(state, 'cancelled')).to.equal(true)
    for (const state of FINAL_STATES) expect(canBecome(state, 'ready')).to.equal(true)
  })
})

describe('small things of tasks', () => {
  it('procType is name and major version', () => {
    expect(procTypeOf('bold-qc', '1.2.3')).to.equal('bold-qc_v1')
    expect(procTypeOf('x', '10.0.0-rc.1')).to.equal('x_v10')
  })
  it('checksums are compared only where they can be', () => {
    const sha = { algorithm: 'sha256', hex: 'AB' } as const
    expect(sameChecksum(sha, { algorithm: 'sha256', hex: 'ab' })).to.equal(true)
    expect(sameChecksum(sha, { algorithm: 'sha256', hex: 'cd' })).to.equal(false)
    expect(sameChecksum(sha, { algorithm: 'md5', hex: 'ab' })).to.equal(undefined)
    expect(sameChecksum(sha, undefined)).to.equal(undefined)
    expect(sameContent({ path: 'a', bytes: 1 }, { path: 'b', bytes: 1, checksum: sha })).to.equal(true)
    expect(sameContent({ path: 'a', bytes: 2 }, { path: 'a', bytes: 1 })).to.equal(false)
    expect(
      sameContent(
        { path: 'a', bytes: 1, checksum: sha },
        { path: 'a', bytes: 1, checksum: { ...sha, hex: 'cd' } },
      ),
    ).to.equal(false)
  })
})
