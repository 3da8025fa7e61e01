import { expect } from 'chai'
import fc from 'fast-check'
import { formatRef, formatResourceRef, levelOf, parentOf } from '#src/domain/archive.js'
import type { ArchiveRef } from '#src/domain/archive.js'

/** Labels that could be taken for the fixed words of the form are the interesting ones. */
const label = fc.constantFrom('P', 'S', 'E', '3', 'scans', 'assessors', 'L')
const ref: fc.Arbitrary<ArchiveRef> = fc.oneof(
  fc.record({ project: label }),
  fc.record({ project: label, subject: label }),
  fc.record({ project: label, subject: label, session: label }),
  fc.record({ project: label, subject: label, session: label, scan: label }),
  fc.record({ project: label, assessor: label }),
  fc.record({ project: label, subject: label, assessor: label }),
  fc.record({ project: label, subject: label, session: label, assessor: label }),
)

describe('archive references', () => {
  it('are printed as one line', () => {
    const session = { project: 'P', subject: 'S', session: 'E' }
    expect(formatRef({ project: 'P' })).to.equal('P')
    expect(formatRef(session)).to.equal('P/S/E')
    expect(formatRef({ ...session, scan: '3' })).to.equal('P/S/E/scans/3')
    expect(formatRef({ ...session, assessor: 'L' })).to.equal('P/S/E/assessors/L')
    expect(formatRef({ project: 'P', subject: 'S', assessor: 'L' })).to.equal('P/S/assessors/L')
    expect(formatResourceRef({ node: { ...session, scan: '3' }, resource: 'NIFTI' })).to.equal(
      'P/S/E/scans/3:NIFTI',
    )
  })

  it('never look alike when they differ', () => {
    fc.assert(
      fc.property(ref, ref, (a, b) => {
        const key = (each: ArchiveRef): string => JSON.stringify(Object.entries(each).sort())
        if (key(a) !== key(b)) expect(formatRef(a)).not.to.equal(formatRef(b))
      }),
      { numRuns: 5000 },
    )
  })

  it('know their level and their parent', () => {
    const session = { project: 'P', subject: 'S', session: 'E' }
    expect(levelOf({ ...session, scan: '3' })).to.equal('scan')
    expect(levelOf({ project: 'P', assessor: 'L' })).to.equal('assessor')
    expect(parentOf({ ...session, scan: '3' })).to.deep.equal(session)
    expect(parentOf({ ...session, assessor: 'L' })).to.deep.equal(session)
    expect(parentOf({ project: 'P', assessor: 'L' })).to.deep.equal({ project: 'P' })
    expect(parentOf({ project: 'P' })).to.equal(undefined)
  })

  it('reach the project in a few steps up', () => {
    fc.assert(
      fc.property(ref, (start) => {
        let at: ArchiveRef | undefined = start
        let steps = 0
        while (at !== undefined) {
          expect(at.project).to.equal(start.project)
          at = parentOf(at)
          steps += 1
        }
        expect(steps).to.be.at.most(4)
      }),
    )
  })
})
