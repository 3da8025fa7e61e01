import { expect } from 'chai'
import fc from 'fast-check'
import { CAUSE_KINDS, TASK_STATES } from '@orbweaver/core'
import { formatNote, formatSummary, parseSummary, reasonIn, type Summary } from '#src/store/summary.js'

const word = fc.string({ unit: 'grapheme', maxLength: 20 })
const summaries: fc.Arbitrary<Summary> = fc.record(
  {
    nonce: fc.stringMatching(/^[0-9a-f]{12}$/),
    state: fc.constantFrom(...TASK_STATES),
    attempt: fc.nat(),
    procType: word,
    procVersion: word,
    statusWord: word,
    cause: fc.constantFrom(...CAUSE_KINDS),
    retryAtMs: fc.nat(),
    scans: fc.array(
      word.filter((text) => text !== ''),
      { maxLength: 4 },
    ),
    quality: word.filter((text) => text !== ''),
  },
  { requiredKeys: ['nonce', 'state', 'attempt', 'procType', 'procVersion', 'statusWord'] },
)

describe('the line about a task in a field of XNAT', () => {
  it('is read back as it was written, in a note or alone', () => {
    fc.assert(
      fc.property(summaries, fc.string({ unit: 'binary', maxLength: 2000 }), (summary, reason) => {
        expect(parseSummary(formatSummary(summary))).to.deep.equal(summary)
        const note = formatNote(reason, summary)
        expect(parseSummary(note)).to.deep.equal(summary)
        expect(note.length).to.be.at.most(1500)
        // One line, so that no form of XNAT's listings can change it.
        expect(note).to.not.match(/[\r\n\t]/)
      }),
    )
  })

  it('survives the entities that XNAT makes of quotes and brackets', () => {
    fc.assert(
      fc.property(summaries, (summary) => {
        expect(formatSummary(summary)).to.not.match(/[&<>"']/)
      }),
    )
  })

  it('is not made out of what people write', () => {
    for (const text of [
      '',
      'a note',
      'orbweaver:1',
      'orbweaver:1 n=1 s=dreaming a=1',
      'orbweaver:1 s=ready a=x n=1',
    ])
      expect(parseSummary(text), text).to.equal(undefined)
  })

  it('leaves the words of the note to be read', () => {
    const summary: Summary = {
      nonce: '0',
      state: 'ready',
      attempt: 0,
      procType: 'a_v1',
      procVersion: '1.0.0',
      statusWord: 'X',
    }
    expect(reasonIn(formatNote('all inputs are there', summary))).to.equal('all inputs are there')
    expect(reasonIn('written by hand')).to.equal('written by hand')
  })
})
