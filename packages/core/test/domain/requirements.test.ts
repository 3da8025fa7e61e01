import { expect } from 'chai'
import fc from 'fast-check'
import {
  DEFAULT_REQUIREMENTS,
  formatClock,
  formatDuration,
  formatMemory,
  parseDuration,
  parseMemory,
  parseRequirements,
} from '#src/domain/requirements.js'

const KIB = 1024
const MIB = 1024 ** 2
const GIB = 1024 ** 3

describe('parseMemory', () => {
  const good: readonly [string | number, number][] = [
    ['4096 MB', 4096 * MIB],
    ['8 GiB', 8 * GIB],
    ['8G', 8 * GIB],
    ['8gb', 8 * GIB],
    ['1.5T', 1.5 * 1024 * GIB],
    ['512k', 512 * KIB],
    ['10 b', 10],
    ['10 bytes', 10],
    ['0.3 b', 1],
    [2048, 2048 * MIB],
    ['2048', 2048 * MIB],
    ['  2 GB ', 2 * GIB],
  ]
  for (const [text, bytes] of good) {
    it(`reads ${JSON.stringify(text)}`, () => expect(parseMemory(text)).to.equal(bytes))
  }
  const bad = ['', 'lots', '8 XB', '-1', '0', '8 G G', '1e3', '1,5 GB', 'NaN', 'Infinity', '0x10', '8 GHz']
  for (const text of bad) {
    it(`refuses ${JSON.stringify(text)} and names the forms`, () => {
      expect(() => parseMemory(text)).to.throw(TypeError, /8 GiB/)
    })
  }
  it('refuses more than a number can hold', () => {
    expect(() => parseMemory('99999999999999 T')).to.throw(TypeError, /than any machine has/)
  })
  it('refuses numbers that are none', () => {
    for (const value of [NaN, Infinity, -5, 0]) expect(() => parseMemory(value)).to.throw(TypeError)
  })
})

describe('parseDuration', () => {
  const good: readonly [string | number, number][] = [
    ['2h', 7200],
    ['90 min', 5400],
    ['90m', 5400],
    ['1d 2h', 93_600],
    ['1d2h', 93_600],
    ['1.5h', 5400],
    ['45s', 45],
    ['2 weeks', 1_209_600],
    ['1:30:00', 5400],
    ['30:00', 1800],
    ['1-2', 93_600],
    ['1-02:03', 93_780],
    ['1-02:03:04', 93_784],
    ['90', 5400],
    [90, 5400],
    ['0.5 s', 1],
    ['3 HOURS', 10_800],
  ]
  for (const [text, seconds] of good) {
    it(`reads ${JSON.stringify(text)}`, () => expect(parseDuration(text)).to.equal(seconds))
  }
  const bad = [
    '',
    'soon',
    '2 fortnights',
    '5ms',
    '1:60',
    '1:00:60',
    '1-',
    '-1',
    '0',
    '0s',
    '2h 30',
    '1:2:3:4',
    '1h-',
    '00:00:00',
  ]
  for (const text of bad) {
    it(`refuses ${JSON.stringify(text)} and names the forms`, () => {
      expect(() => parseDuration(text)).to.throw(TypeError, /HH:MM:SS/)
    })
  }
})

describe('printed amounts', () => {
  it('formatDuration parses back to the same number of seconds', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 * 86_400 }), (seconds) => {
        expect(parseDuration(formatDuration(seconds))).to.equal(seconds)
      }),
    )
  })
  it('formatClock parses back to the same number of seconds', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 * 86_400 }), (seconds) => {
        expect(parseDuration(formatClock(seconds))).to.equal(seconds)
      }),
    )
  })
  it('formatMemory parses back to within 0.1 of its unit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 46 }), (bytes) => {
        const back = parseMemory(formatMemory(bytes))
        // Half of 0.1 of a unit, and the unit is at most the amount itself.
        expect(Math.abs(back - bytes) / bytes).to.be.at.most(0.051)
      }),
    )
  })
  it('prints one form', () => {
    expect([
      formatMemory(8 * GIB),
      formatMemory(1.5 * GIB),
      formatMemory(512 * MIB),
      formatMemory(0),
    ]).to.deep.equal(['8 GiB', '1.5 GiB', '512 MiB', '0 B'])
    expect([
      formatDuration(7200),
      formatDuration(93_600),
      formatDuration(45),
      formatDuration(0),
    ]).to.deep.equal(['2h', '1d 2h', '45s', '0s'])
    expect([formatClock(5400), formatClock(93_784)]).to.deep.equal(['01:30:00', '1-02:03:04'])
  })
})

describe('parseRequirements', () => {
  it('fills the gaps from the base', () => {
    expect(parseRequirements({})).to.deep.equal(DEFAULT_REQUIREMENTS)
    const base = { ...DEFAULT_REQUIREMENTS, cpus: 8, scratchBytes: GIB }
    expect(parseRequirements({ memory: '4096 MB', walltime: '24h' }, base)).to.deep.equal({
      ...base,
      memoryBytes: 4 * GIB,
      walltimeSeconds: 86_400,
    })
  })
  it('refuses counts that are none, naming the field', () => {
    expect(() => parseRequirements({ cpus: 0 })).to.throw(TypeError, /cpus/)
    expect(() => parseRequirements({ cpus: 1.5 })).to.throw(TypeError, /cpus/)
    expect(() => parseRequirements({ gpus: -1 })).to.throw(TypeError, /gpus/)
  })
})
