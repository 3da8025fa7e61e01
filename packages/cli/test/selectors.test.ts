import { expect } from 'chai'
import { Command } from 'commander'
import { NoMatchError, UsageError } from '#src/exit.js'
import {
  addSelectors,
  checkSelection,
  demandSelection,
  describeSelection,
  parseCount,
  parseSince,
  toSelection,
  type SelectorOptions,
} from '#src/selectors.js'

function parse(...words: string[]): SelectorOptions {
  const command = new Command('x').exitOverride().configureOutput({ writeErr: () => undefined })
  addSelectors(command)
  return command.parse(words, { from: 'user' }).opts()
}

const KNOWN = {
  projects: ['OASIS', 'ADNI'],
  processors: [
    { name: 'dti-qa', procType: 'dti-qa_v1' },
    { name: 'fmri-qa', procType: 'fmri-qa_v2' },
  ],
}

describe('selectors', () => {
  it('become a selection; those that are absent select everything', () => {
    expect(toSelection(parse())).to.deep.equal({})
    expect(
      toSelection(
        parse(
          '--project',
          'A',
          '--project',
          'B*',
          '--subject',
          'S',
          '--session',
          'E',
          '--processor',
          'p',
          '--status',
          'Failed',
          '--failed',
        ),
      ),
    ).to.deep.equal({
      projects: ['A', 'B*'],
      subjects: ['S'],
      sessions: ['E'],
      processors: ['p'],
      states: ['failed'],
    })
  })

  it('refuse a state that does not exist, with the nearest', () => {
    expect(() => parse('--status', 'runing')).to.throw(/Did you mean running\?/)
    expect(() => parse('--status', 'xyz')).to.throw(/waiting, held, ready/)
    expect(() => parse('--project', '')).to.throw(/empty/)
  })

  it('read --since as a time ago or a date', () => {
    const hour = 3_600_000
    expect(Date.now() - parseSince('2h')).to.be.closeTo(2 * hour, 5_000)
    expect(parseSince('2024-02-29')).to.equal(new Date(2024, 1, 29).getTime())
    expect(parseSince('2024-02-29T12:00:00Z')).to.equal(Date.parse('2024-02-29T12:00:00Z'))
    for (const bad of ['2023-02-29', '2024-13-01', 'yesterday', '', '2999-01-01', '2024-01-01Tnoon']) {
      expect(() => parseSince(bad), bad).to.throw()
    }
  })

  it('find a project or processor that the site does not have', () => {
    checkSelection({ projects: ['OAS*', 'ADNI'], processors: ['dti-qa', 'fmri-qa_v2', '*qa'] }, KNOWN)
    expect(() => checkSelection({ projects: ['OASI'] }, KNOWN))
      .to.throw(NoMatchError, /no project OASI/)
      .with.property('hint', 'Did you mean OASIS?')
    expect(() => checkSelection({ processors: ['dtiqa'] }, KNOWN))
      .to.throw(NoMatchError)
      .with.property('hint', 'Did you mean dti-qa?')
    expect(() => checkSelection({ projects: ['Z*'] }, KNOWN))
      .to.throw(NoMatchError)
      .with.property('hint', 'Known projects: OASIS, ADNI.')
  })

  it('can be shown as they are typed', () => {
    expect(
      describeSelection({ projects: ['A'], sessions: ['S 1'], states: ['failed'], labels: ['L'] }),
    ).to.equal("--project A --session 'S 1' --status failed L")
  })

  it('are demanded where a command would work on everything', () => {
    expect(() => demandSelection({}, 'cancel')).to.throw(UsageError, /Say what to cancel/)
    demandSelection({ labels: ['L'] }, 'cancel')
  })

  it('count in whole numbers', () => {
    expect(parseCount('12')).to.equal(12)
    for (const bad of ['0', '-1', '1.5', 'x', '']) expect(() => parseCount(bad), bad).to.throw()
  })
})
