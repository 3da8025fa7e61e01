import { expect } from 'chai'
import fc from 'fast-check'
import {
  fitLine,
  histogram,
  mean,
  median,
  otsuThreshold,
  quantile,
  robustDeviation,
  robustZ,
  sorted,
  standardDeviation,
  withoutLine,
  withoutRobustLine,
} from '#src/imaging/statistics.js'
import { normal, seeded } from '../support.js'

describe('statistics', () => {
  it('have the closed forms of 1 … n', () => {
    const values = Array.from({ length: 101 }, (_, i) => i + 1)
    expect(mean(values)).to.equal(51)
    expect(standardDeviation(values)).to.be.closeTo(Math.sqrt((101 * 102) / 12), 1e-12)
    expect(standardDeviation(values, 0)).to.be.closeTo(Math.sqrt((101 ** 2 - 1) / 12), 1e-12)
    expect(median(values)).to.equal(51)
    expect(quantile(sorted(values), 0.25)).to.equal(26)
    expect(robustDeviation(values)).to.be.closeTo(1.4826 * 25, 1e-12)
  })

  it('interpolate quantiles between order statistics', () => {
    expect(quantile([1, 2, 3, 4], 0.5)).to.equal(2.5)
    expect(quantile([1, 2, 3, 4], 1 / 3)).to.be.closeTo(2, 1e-12)
    expect(quantile([7], 0.9)).to.equal(7)
    expect(quantile([], 0.5)).to.be.NaN
  })

  it('give a constant series no outliers', () => {
    expect(Array.from(robustZ([5, 5, 5, 5]))).to.deep.equal([0, 0, 0, 0])
  })

  it('find any line again', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -100, max: 100, noNaN: true }),
        fc.double({ min: -100, max: 100, noNaN: true }),
        (slope, start) => {
          const values = Array.from({ length: 20 }, (_, t) => start + slope * t)
          const line = fitLine(values)
          expect(line.slope).to.be.closeTo(slope, 1e-9)
          expect(line.start).to.be.closeTo(start, 1e-8)
          for (const rest of withoutLine(values)) expect(rest).to.be.closeTo(0, 1e-8)
        },
      ),
    )
  })

  it('take away a line that an outlier does not pull at', () => {
    const random = seeded(1)
    const values = Float64Array.from({ length: 60 }, (_, t) => 100 + 0.5 * t + 0.1 * normal(random))
    values[3] = 300
    const rest = withoutRobustLine(values)
    expect(rest[3]).to.be.closeTo(300 - 101.5, 0.5)
    expect(
      Math.max(
        ...Array.from(rest)
          .filter((_, t) => t !== 3)
          .map(Math.abs),
      ),
    ).to.be.below(0.5)
  })
})

describe('Otsu’s threshold', () => {
  it('separates two groups between them', () => {
    const random = seeded(2)
    const values = Array.from({ length: 4000 }, (_, i) => (i % 4 === 0 ? 200 : 50) + 10 * normal(random))
    const threshold = otsuThreshold(histogram(values, 256, Math.min(...values), Math.max(...values)))
    expect(threshold).to.be.within(75, 175)
  })

  it('equals the best of all splits, tried one by one', () => {
    const random = seeded(3)
    const values = Array.from({ length: 300 }, () => Math.floor(random() ** 2 * 64))
    const bins = histogram(values, 64, 0, 64)
    const scores = Array.from({ length: 63 }, (_, edge) => {
      const low = values.filter((value) => value < edge + 1)
      const high = values.filter((value) => value >= edge + 1)
      return low.length === 0 || high.length === 0
        ? 0
        : low.length * high.length * (mean(low) - mean(high)) ** 2
    })
    expect(otsuThreshold(bins)).to.equal(scores.indexOf(Math.max(...scores)) + 1)
  })

  it('counts what lies outside the range in the end bins', () => {
    expect(Array.from(histogram([-5, 0, 1, 9.99, 10, 50], 2, 0, 10).counts)).to.deep.equal([3, 3])
  })
})
