import { expect } from 'chai'
import fc from 'fast-check'
import {
  MAX_LABEL_LENGTH,
  checkFilePath,
  checkLabel,
  filePathProblem,
  labelProblem,
  printable,
  wildcard,
} from '#src/domain/labels.js'
import { InputError } from '#src/errors.js'

describe('labels', () => {
  const good = [
    'P1',
    'OASIS_0042_MR1',
    'Scan (1) [a]',
    "O'Brien",
    'a.b,c+d=e@f#g&h!i~j%k',
    'Ärzte',
    '脳',
    'a-b',
    '301-MR2',
  ]
  for (const label of good) {
    it(`allows ${label}`, () => {
      expect(labelProblem(label)).to.equal(undefined)
      expect(checkLabel(label, 'The label')).to.equal(label)
    })
  }
  const bad: readonly [string, string][] = [
    ['nothing', ''],
    ['a separator', 'a/b'],
    ['a parent', '../x'],
    ['a backslash', 'a\\b'],
    ['a semicolon', 'a;b'],
    ['a substitution', '$(id)'],
    ['backticks', '`id`'],
    ['a pipe', 'a|b'],
    ['a redirection', 'a>b'],
    ['a wildcard', 'a*'],
    ['a quotation mark', 'a"b'],
    ['a leading dash', '-rf'],
    ['a leading dot', '.hidden'],
    ['a newline', 'a\nb'],
    ['a NUL', 'a\0b'],
    ['a line separator', 'a\u2028b'],
    ['a direction mark', 'a\u202eb'],
    ['a zero-width blank', 'a\u200bb'],
    ['half a character', 'a\ud800b'],
    ['a blank at the end', 'a '],
    ['a blank at the start', ' a'],
    ['300 characters', 'a'.repeat(300)],
    ['too many bytes in few characters', '脳'.repeat(MAX_LABEL_LENGTH / 3 + 1)],
  ]
  for (const [what, label] of bad) {
    it(`refuses ${what}`, () => {
      expect(labelProblem(label)).to.be.a('string')
      expect(() => checkLabel(label, 'The label')).to.throw(InputError)
    })
  }
  it('shows a refused label in one printable line', () => {
    try {
      checkLabel('a\u202e\nb', 'The label')
      expect.fail('it was accepted')
    } catch (error) {
      expect((error as Error).message).to.match(/^[\u0020-\u007e]+$/)
    }
  })
  it('never lets a label become two path parts or shell text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        if (labelProblem(text) !== undefined) return
        expect(text).not.to.match(/[/\\$`;"|<>*?\n\r\0]/)
        expect(['.', '..', '']).not.to.include(text)
        expect(filePathProblem(text)).to.equal(undefined)
      }),
    )
  })
})

describe('file paths', () => {
  const bad = [
    '',
    '/etc/passwd',
    '../a',
    'a/../b',
    'a/./b',
    'a//b',
    'a/',
    'a\\b',
    'a\nb',
    'a\0',
    'x'.repeat(1001),
    'x'.repeat(256),
  ]
  for (const path of bad) {
    it(`refuses ${printable(path)}`, () => {
      expect(filePathProblem(path)).to.be.a('string')
      expect(() => checkFilePath(path)).to.throw(InputError)
    })
  }
  it('allows what files are called', () => {
    for (const path of ['a', 'sub/dir/a b.nii.gz', '.bidsignore', 'a..b', '-x', 'ä/脳']) {
      expect(checkFilePath(path)).to.equal(path)
    }
  })
})

describe('printable', () => {
  it('is one short line whatever comes in', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const shown = printable(text)
        expect(shown).not.to.match(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/) // eslint-disable-line no-control-regex
        expect(shown.startsWith('"') && shown.endsWith('"')).to.equal(true)
      }),
    )
  })
})

describe('wildcard', () => {
  const cases: readonly [string, string, boolean][] = [
    ['*', 'anything', true],
    ['**', '', true],
    ['T1w', 't1W', true],
    ['T1w', 'T1w ', false],
    ['T1*', 'T1', true],
    ['*BOLD*', 'ep2d_bold_rest', true],
    ['T?', 'T1', true],
    ['T?', 'T', false],
    ['T?', 'T12', false],
    ['DTI (64 dirs)', 'dti (64 DIRS)', true],
    ['[ab]', 'a', false],
    ['a.c', 'abc', false],
    ['a+', 'aa', false],
    ['^a$', 'a', false],
    ['MPRAGE*iso', 'MPRAGE 1mm\niso', true],
    ['?', '🧠', true],
    ['*x', 'xyx', true],
    ['a*b*c', 'a1b2b3c', true],
    ['a*b*c', 'a1c2b', false],
    ['', '', true],
    ['', 'a', false],
  ]
  for (const [pattern, text, expected] of cases) {
    it(`${JSON.stringify(pattern)} ${expected ? 'fits' : 'does not fit'} ${JSON.stringify(text)}`, () => {
      expect(wildcard(pattern)(text)).to.equal(expected)
    })
  }
  it('does the same as a regular expression', () => {
    const letter = fc.constantFrom('a', 'b', 'A', '.', '*', '?')
    fc.assert(
      fc.property(
        fc.string({ unit: letter, maxLength: 8 }),
        fc.string({ unit: letter, maxLength: 10 }),
        (pattern, text) => {
          const source = pattern.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')
          expect(wildcard(pattern)(text)).to.equal(new RegExp(`^${source}$`, 'is').test(text))
        },
      ),
      { numRuns: 1000 },
    )
  })
  it('answers at once whatever the pattern', () => {
    // As a regular expression this takes longer than anybody waits; mocha's limit is the assertion.
    expect(wildcard('*a*a*a*a*a*a*a*a*b')('a'.repeat(200))).to.equal(false)
  })
})
