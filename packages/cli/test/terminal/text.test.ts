import { expect } from 'chai'
import fc from 'fast-check'
import {
  count,
  displayWidth,
  listWords,
  pad,
  safeForTerminal,
  shortenEnd,
  shortenMiddle,
  wrap,
} from '#src/terminal/text.js'

describe('text on a terminal', () => {
  it('shortens labels in the middle and keeps both ends', () => {
    expect(shortenMiddle('PROJ-x-S01-x-E01-x-dti-qa_v1-x-0a1b2c3d', 20)).to.equal('PROJ-x-S0…x-0a1b2c3d')
    expect(shortenMiddle('short', 20)).to.equal('short')
    expect(shortenMiddle('abc', 1)).to.equal('…')
    expect(shortenMiddle('abc', 0)).to.equal('')
  })

  it('cuts the end of sentences', () => {
    expect(shortenEnd('a long sentence', 7)).to.equal('a long…')
    expect(shortenEnd('fits', 4)).to.equal('fits')
  })

  it('counts wide characters as two columns', () => {
    expect(displayWidth('脳画像')).to.equal(6)
    expect(shortenMiddle('脳画像データ', 7)).to.equal('脳…ータ')
    expect(pad('脳', 4)).to.equal('脳  ')
    expect(pad('7', 3, 'right')).to.equal('  7')
  })

  it('never makes anything wider than asked, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, width) => {
        expect(displayWidth(shortenMiddle(text, width))).to.be.at.most(width)
        expect(displayWidth(shortenEnd(text, width))).to.be.at.most(width)
      }),
    )
  })

  it('wraps at blanks and loses no word', () => {
    expect(wrap('the quick brown fox', 9)).to.deep.equal(['the quick', 'brown fox'])
    expect(wrap('abcdefghij kl', 4)).to.deep.equal(['abcd', 'efgh', 'ij', 'kl'])
    expect(wrap('as it is', Infinity)).to.deep.equal(['as it is'])
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1 }), (words) => {
        expect(wrap(words.join(' '), 12).join(' ')).to.equal(words.join(' '))
      }),
    )
  })

  it('says numbers and lists as people do', () => {
    expect(count(1, 'task')).to.equal('1 task')
    expect(count(1200, 'task')).to.equal('1,200 tasks')
    expect(count(2, 'copy', 'copies')).to.equal('2 copies')
    expect(listWords(['a'])).to.equal('a')
    expect(listWords(['a', 'b', 'c'])).to.equal('a, b and c')
  })

  it('lets colours of a job through, and nothing that moves the cursor or names the window', () => {
    expect(safeForTerminal('\u001b[31mred\u001b[0m\n')).to.equal('\u001b[31mred\u001b[0m\n')
    expect(safeForTerminal('a\u001b[2Jb\u001b]0;title\u0007c\u0008d\u001b[1;1He')).to.equal('abcde')
    expect(safeForTerminal('\u009b31mx')).to.equal('31mx')
  })
})
