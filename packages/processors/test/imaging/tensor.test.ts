import { expect } from 'chai'
import fc from 'fast-check'
import type { Gradients } from '#src/imaging/gradients.js'
import { parseGradients, shellsOf } from '#src/imaging/gradients.js'
import { eigenvalues, fitTensor, tensorProblem } from '#src/imaging/tensor.js'
import { normal, seeded } from '../support.js'

/** Directions spread over the sphere by the golden angle. */
function spread(count: number, b: number): Gradients {
  const directions = Array.from({ length: count }, (_, n) => {
    const z = 1 - (2 * n + 1) / count
    const angle = n * Math.PI * (3 - Math.sqrt(5))
    const radius = Math.sqrt(1 - z * z)
    return [radius * Math.cos(angle), radius * Math.sin(angle), z] as const
  })
  return { bValues: [0, ...directions.map(() => b)], directions: [[0, 0, 0], ...directions] }
}

/** A tensor with these eigenvalues, turned by three angles; and its signals. */
function signals(
  gradients: Gradients,
  evals: readonly number[],
  angles: readonly number[],
  s0: number,
): number[] {
  const turn = (axis: number, angle: number, v: readonly number[]): number[] => {
    const [i, j] = [(axis + 1) % 3, (axis + 2) % 3]
    const out = [...v]
    out[i] = (v[i] as number) * Math.cos(angle) - (v[j] as number) * Math.sin(angle)
    out[j] = (v[i] as number) * Math.sin(angle) + (v[j] as number) * Math.cos(angle)
    return out
  }
  return gradients.bValues.map((b, t) => {
    const own = angles.reduce<readonly number[]>(
      (v, angle, axis) => turn(axis, angle, v),
      gradients.directions[t] ?? [],
    )
    return s0 * Math.exp(-b * own.reduce((sum, part, n) => sum + (evals[n] as number) * part * part, 0))
  })
}

const fit = (gradients: Gradients, voxels: readonly (readonly number[])[]): ReturnType<typeof fitTensor> =>
  fitTensor(gradients, new Uint8Array(voxels.length).fill(1), (t) =>
    Float64Array.from(voxels, (voxel) => voxel[t] as number),
  )

describe('tensor', () => {
  it('finds FA and MD of any tensor again, whichever way it lies', () => {
    const diffusivity = fc.double({ min: 0.1e-3, max: 3e-3, noNaN: true })
    const angle = fc.double({ min: 0, max: 2 * Math.PI, noNaN: true })
    fc.assert(
      fc.property(diffusivity, diffusivity, diffusivity, fc.tuple(angle, angle, angle), (a, b, c, angles) => {
        const gradients = spread(30, 1000)
        const found = fit(gradients, [signals(gradients, [a, b, c], angles, 1000)])
        const md = (a + b + c) / 3
        const fa = Math.sqrt(
          (1.5 * ((a - md) ** 2 + (b - md) ** 2 + (c - md) ** 2)) / (a * a + b * b + c * c),
        )
        expect(found.md[0]).to.be.closeTo(md, 1e-8)
        expect(found.fa[0]).to.be.closeTo(fa, 2e-4) // signals are held as float32
        expect(found.residual[0]).to.be.below(1e-6)
        expect(found.negative).to.equal(0)
      }),
    )
  })

  it('has FA 0 for a ball and 1 for a line', () => {
    const gradients = spread(30, 1000)
    const found = fit(gradients, [
      signals(gradients, [1e-3, 1e-3, 1e-3], [0, 0, 0], 500),
      signals(gradients, [2e-3, 0, 0], [0.3, 0.4, 0.5], 500),
    ])
    expect(found.fa[0]).to.be.below(1e-4)
    expect(found.fa[1]).to.be.above(0.999)
  })

  it('bears signals of 0, and counts eigenvalues below 0', () => {
    const gradients = spread(20, 1000)
    const random = seeded(5)
    const noise = gradients.bValues.map(() => 100 + 30 * normal(random))
    const found = fit(gradients, [
      noise,
      gradients.bValues.map((b) => (b === 0 ? 100 : 0)),
      noise.map(() => 0),
    ])
    expect(found.negative).to.be.at.least(1)
    for (const value of [...found.fa, ...found.md]) expect(value).to.be.finite
    for (const value of found.fa) expect(value).to.be.within(0, 1)
  })

  it('weights: noise at strong weighting spoils MD less than in an ordinary fit', () => {
    const gradients = spread(60, 3000)
    const random = seeded(6)
    const clean = signals(gradients, [2.5e-3, 0.3e-3, 0.3e-3], [0.2, 0.7, 0.1], 1000)
    const voxels = Array.from({ length: 200 }, () =>
      clean.map((s) => Math.hypot(s + 10 * normal(random), 10 * normal(random))),
    )
    const found = fit(gradients, voxels)
    const error = found.md.reduce((sum, value) => sum + Math.abs(value - 3.1e-3 / 3), 0) / 200
    expect(error / (3.1e-3 / 3)).to.be.below(0.1)
  })

  it('says why no tensor can be fitted', () => {
    expect(tensorProblem(spread(5, 1000), 50)).to.match(/5 weighted volumes; at least 6/)
    const same = spread(12, 1000)
    const alike = { ...same, directions: same.directions.map(([x, y]) => [x, y, 0] as const) }
    expect(tensorProblem(alike, 50)).to.match(/too alike/)
    expect(
      tensorProblem(
        { bValues: Array<number>(7).fill(1000), directions: spread(7, 1000).directions.slice(1) },
        50,
      ),
    ).to.match(/same b-value/)
    expect(tensorProblem(spread(7, 1000), 50)).to.equal(undefined)
  })

  it('eigenvalues have the matrix’s trace and determinant', () => {
    const entry = fc.double({ min: -5, max: 5, noNaN: true })
    fc.assert(
      fc.property(fc.tuple(entry, entry, entry, entry, entry, entry), ([xx, yy, zz, xy, xz, yz]) => {
        const [a, b, c] = eigenvalues([xx, yy, zz, xy, xz, yz]) as unknown as [number, number, number]
        const determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
        expect(a).to.be.at.least(b - 1e-9)
        expect(b).to.be.at.least(c - 1e-9)
        expect(a + b + c).to.be.closeTo(xx + yy + zz, 1e-9)
        expect(a * b * c).to.be.closeTo(determinant, 1e-6)
      }),
    )
  })
})

describe('gradients', () => {
  const bval = { file: 'a.bval', text: '0 1000 1000\n' }
  const parse = (bvec: string, text = bval.text): Gradients =>
    parseGradients({ ...bval, text }, { file: 'a.bvec', text: bvec }, text.trim().split(/\s+/).length, 50)

  it('come in three rows or in three columns, with NaN where there is no weighting', () => {
    const rows = parse('nan 1 0 0\nnan 0 2 0\nnan 0 0 1\n', '0 1000 1000 1000')
    const columns = parse('NaN NaN NaN\n1 0 0\n0 2 0\n0 0 1\n', '0 1000 1000 1000')
    expect(rows).to.deep.equal(columns)
    expect(rows.directions).to.deep.equal([
      [0, 0, 0],
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ])
  })

  it('must fit the image and make sense', () => {
    expect(() => parse('0 1\n0 0\n0 0\n')).to.throw(/a\.bvec: it has 3 x 2 numbers; 3 x 3/)
    expect(() => parse('0 1 0\n0 0\n0 0 0\n')).to.throw(/differ in length/)
    expect(() => parse('0 1 x\n0 0 0\n0 0 0\n')).to.throw(/"x" is no number/)
    expect(() => parse('0 1 0\n0 0 0\n0 0 0\n')).to.throw(/volume 3 \(b = 1000\) has no direction/)
    expect(() => parse('0 1 0\n0 0 1\n0 0 0\n', '0 -5 1000')).to.throw(
      /a\.bval: the b-value of volume 2 is -5/,
    )
    expect(() => parseGradients(bval, { file: 'a.bvec', text: '' }, 4, 50)).to.throw(
      /3 b-values, and the image has 4/,
    )
  })

  it('fall into shells', () => {
    expect(shellsOf([0, 5, 1000, 1005, 2000, 995, 2010], 50)).to.deep.equal([
      { b: 3, volumes: [0, 1] },
      { b: 1000, volumes: [2, 3, 5] },
      { b: 2005, volumes: [4, 6] },
    ])
  })
})
