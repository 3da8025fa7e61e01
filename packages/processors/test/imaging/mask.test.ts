import { expect } from 'chai'
import { atLeast, clipLevel, count, headMasks, outside, sliceMeans } from '#src/imaging/mask.js'
import { normal, seeded } from '../support.js'

/** A ball of 100 in the middle of noise, with a hole of 0 in its middle. */
function phantom(size: number): { data: Float64Array; ball: Uint8Array; hole: Uint8Array } {
  const random = seeded(4)
  const data = new Float64Array(size ** 3)
  const ball = new Uint8Array(size ** 3)
  const hole = new Uint8Array(size ** 3)
  const middle = (size - 1) / 2
  for (let k = 0, v = 0; k < size; k++) {
    for (let j = 0; j < size; j++) {
      for (let i = 0; i < size; i++, v++) {
        const radius = Math.hypot(i - middle, j - middle, k - middle)
        hole[v] = radius < 3 ? 1 : 0
        ball[v] = radius < size / 3 && radius >= 3 ? 1 : 0
        data[v] = ball[v] ? 100 + normal(random) : 2 * Math.abs(normal(random))
      }
    }
  }
  return { data, ball, hole }
}

describe('masks', () => {
  const size = 24
  const { data, ball, hole } = phantom(size)
  const shape = [size, size, size] as const

  it('find the head and the air round it; a hole within is neither', () => {
    const masks = headMasks(data, shape)
    expect(Array.from(masks.foreground)).to.deep.equal(Array.from(ball))
    expect(Array.from(masks.air)).to.deep.equal(Array.from(ball, (voxel, v) => (voxel || hole[v] ? 0 : 1)))
  })

  it('reach nothing where the mask is everything', () => {
    expect(count(outside(new Uint8Array(27).fill(1), [3, 3, 3]))).to.equal(0)
    expect(count(outside(new Uint8Array(27), [3, 3, 3]))).to.equal(27)
  })

  it('put the clip level at half the median of what lies above it', () => {
    const level = clipLevel(data)
    expect(level).to.be.closeTo(50, 1)
    expect(clipLevel(new Float64Array(10).fill(80))).to.equal(40)
    expect(clipLevel(new Float64Array(10))).to.equal(0)
    expect(clipLevel([-3, -2])).to.equal(0)
  })

  it('average each slice over its own mask, and leave out slices with too little of it', () => {
    const means = sliceMeans([1, 2, 3, 4, 5, 6, 7, 8], Uint8Array.of(1, 1, 0, 0, 1, 0, 0, 0), [2, 2, 2], 2)
    expect(means[0]).to.equal(1.5)
    expect(means[1]).to.be.NaN
    expect(Array.from(atLeast([1, 2, 3], 2))).to.deep.equal([0, 1, 1])
  })
})
