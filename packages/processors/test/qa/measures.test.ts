import { expect } from 'chai'
import { parseNifti } from '#src/imaging/nifti.js'
import { measureDiffusion } from '#src/qa/diffusion.js'
import { entropyFocus, measureHead, RAYLEIGH } from '#src/qa/head.js'
import { measureSeries } from '#src/qa/timeseries.js'
import type { Metric } from '#src/report/stats.js'
import { makeNifti, normal, seeded } from '../support.js'

const valueOf = (metrics: readonly Metric[], name: string): unknown =>
  metrics.find((metric) => metric.name === name)?.value

describe('quality of a head', () => {
  const size = 32
  const noise = 4
  const random = seeded(7)
  const values = Float64Array.from({ length: size ** 3 }, (_, v) => {
    const at = [v % size, Math.floor(v / size) % size, Math.floor(v / size ** 2)].map(
      (i) => i - (size - 1) / 2,
    )
    const signal = Math.hypot(...at) < 12 ? 200 : 0
    return Math.hypot(signal + noise * normal(random), noise * normal(random))
  })

  it('finds signal to noise as it was made', () => {
    const { metrics } = measureHead(
      parseNifti(makeNifti({ shape: [size, size, size], code: 64, values }), 'a.nii'),
    )
    expect(valueOf(metrics, 'snr_rayleigh')).to.be.closeTo(200 / noise, 1.5)
    expect(valueOf(metrics, 'snr')).to.be.closeTo(200 / (noise * RAYLEIGH), 2.5)
    expect(valueOf(metrics, 'foreground_mean')).to.be.closeTo(200, 0.5)
  })

  it('says that a masked or cropped image has no noise to measure', () => {
    const masked = measureHead(
      parseNifti(
        makeNifti({ shape: [size, size, size], code: 64, values: values.map((v) => (v > 100 ? v : 0)) }),
        'a.nii',
      ),
    )
    expect(valueOf(masked.metrics, 'snr')).to.equal(null)
    expect(masked.warnings[0]).to.match(/masked/)
  })

  it('refuses what is no head', () => {
    const image = (shape: number[], fill: (v: number) => number): ReturnType<typeof parseNifti> =>
      parseNifti(
        makeNifti({
          shape,
          values: Float64Array.from({ length: shape.reduce((a, b) => a * b) }, (_, v) => fill(v)),
        }),
        'a.nii',
      )
    expect(() => measureHead(image([4, 4, 4, 3], (v) => v))).to.throw(/one volume is wanted, and it has 3/)
    expect(() => measureHead(image([4, 4, 1], (v) => v))).to.throw(/a volume is wanted/)
    expect(() => measureHead(image([4, 4, 4], () => 7))).to.throw(/same value \(7\)/)
  })

  it('entropy focus is 1 for equal voxels and 0 for a single one', () => {
    expect(entropyFocus(new Float64Array(1000).fill(3))).to.be.closeTo(1, 1e-12)
    expect(entropyFocus(Float64Array.from({ length: 1000 }, (_, v) => (v === 5 ? 9 : 0)))).to.equal(0)
    expect(entropyFocus(new Float64Array(10))).to.equal(0)
  })
})

describe('quality of a series in time', () => {
  const shape = [6, 6, 5] as const
  const voxels = 180
  const T = 50
  const options = { outlierZ: 3.5, sliceOutlierZ: 5, skipVolumes: 0 }
  const series = (value: (v: number, t: number) => number, volumes = T): ReturnType<typeof parseNifti> =>
    parseNifti(
      makeNifti({
        shape: [...shape, volumes],
        code: 64,
        values: Float64Array.from({ length: voxels * volumes }, (_, n) =>
          value(n % voxels, Math.floor(n / voxels)),
        ),
      }),
      'bold.nii',
    )

  it('measures tSNR about the drift, and the drift itself', () => {
    const random = seeded(8)
    const found = measureSeries(
      series((_, t) => 1000 + 2 * t + 10 * normal(random)),
      options,
    )
    expect(valueOf(found.metrics, 'tsnr_median')).to.be.closeTo(104.9, 5)
    expect(valueOf(found.metrics, 'drift_percent')).to.be.closeTo((100 * 2 * (T - 1)) / 1049, 0.1)
    // Two independent deviates differ by sqrt 2 times their deviation.
    expect(valueOf(found.metrics, 'change_median_percent')).to.be.closeTo(
      (100 * 10 * Math.SQRT2) / 1049,
      0.06,
    )
    expect(found.outlierFrames).to.deep.equal([])
    expect(found.outlierSlices).to.deep.equal([])
  })

  it('finds the volume and the slice that were spoiled, and nothing else', () => {
    const random = seeded(9)
    const image = series((v, t) => {
      const slice = Math.floor(v / 36)
      const lost = t === 20 && slice === 3 ? 300 : 0
      return 1000 + (t === 30 ? 60 : 0) - lost + 10 * normal(random)
    })
    const found = measureSeries(image, options)
    expect(found.outlierSlices).to.deep.include([3, 20])
    expect(found.outlierSlices.filter(([, t]) => t !== 30 && t !== 20)).to.deep.equal([])
    expect(found.outlierFrames).to.include(30)
    expect(found.outlierFrames.filter((t) => ![20, 21, 30, 31].includes(t))).to.deep.equal([])
  })

  it('gives no tSNR to a voxel that does not change, and 0 deviation to a perfect line', () => {
    const found = measureSeries(
      series((v, t) => (v === 0 ? 500 : 1000 + 3 * t)),
      options,
    )
    expect(found.tsnr[0]).to.equal(0)
    expect(Math.max(...found.deviation)).to.equal(0)
  })

  it('leaves out leading volumes and keeps their numbers', () => {
    const random = seeded(10)
    const found = measureSeries(
      series((_, t) => (t < 3 ? 5000 : 1000) + 10 * normal(random)),
      { ...options, skipVolumes: 3 },
    )
    expect(found.frames[0]).to.equal(3)
    expect(valueOf(found.metrics, 'grand_mean')).to.be.closeTo(1000, 1)
  })

  it('refuses a single volume, too few, and an empty image', () => {
    const single = makeNifti({ shape: [...shape], values: new Float64Array(voxels).fill(1) })
    expect(() => measureSeries(parseNifti(single, 'bold.nii'), options)).to.throw(/^bold\.nii: .*one volume/)
    expect(() =>
      measureSeries(
        series(() => 1, 4),
        options,
      ),
    ).to.throw(/at least 5/)
    expect(() =>
      measureSeries(
        series(() => 0),
        options,
      ),
    ).to.throw(/no voxel has a positive signal/)
  })
})

describe('quality of a diffusion series', () => {
  const shape = [6, 6, 4] as const
  const voxels = 144
  const directions = Array.from({ length: 20 }, (_, n) => {
    const z = 1 - (2 * n + 1) / 20
    const angle = n * 2.4
    return [Math.sqrt(1 - z * z) * Math.cos(angle), Math.sqrt(1 - z * z) * Math.sin(angle), z] as const
  })
  const gradients = {
    bValues: [0, ...directions.map(() => 1000)],
    directions: [[0, 0, 0] as const, ...directions],
  }
  const options = { b0Max: 50, sliceOutlierZ: 5 }
  const random = seeded(11)
  const values = Float64Array.from({ length: voxels * 21 }, (_, n) => {
    const t = Math.floor(n / voxels)
    const slice = Math.floor((n % voxels) / 36)
    const signal = t === 0 ? 1000 : 1000 * Math.exp(-1000 * 0.8e-3)
    return signal * (t === 7 && slice === 2 ? 0.4 : 1) + 5 * normal(random)
  })
  const image = parseNifti(makeNifti({ shape: [...shape, 21], code: 64, values }), 'dwi.nii')

  it('finds the slice that dropped out, and the diffusivity', () => {
    const found = measureDiffusion(image, gradients, options)
    expect(found.outlierSlices).to.deep.equal([[2, 7]])
    expect(valueOf(found.metrics, 'md_median')).to.be.closeTo(0.8, 0.02)
    expect(valueOf(found.metrics, 'shells')).to.equal('1000')
    expect(valueOf(found.metrics, 'b0_volumes')).to.equal(1)
  })

  it('measures signals without a tensor where the directions do not allow one, and says so', () => {
    const few = { bValues: [0, 1000, 1000], directions: gradients.directions.slice(0, 3) }
    const small = parseNifti(
      makeNifti({ shape: [...shape, 3], code: 64, values: values.slice(0, 3 * voxels) }),
      'dwi.nii',
    )
    const found = measureDiffusion(small, few, options)
    expect(found.tensor).to.equal(undefined)
    expect(valueOf(found.metrics, 'fa_mean')).to.equal(null)
    expect(valueOf(found.metrics, 'outlier_slices')).to.equal(null)
    expect(found.warnings.join(' ')).to.match(/No tensor was fitted: 2 weighted volumes/)
  })

  it('refuses a series without diffusion weighting', () => {
    const none = { ...gradients, bValues: gradients.bValues.map(() => 0) }
    expect(() => measureDiffusion(image, none, options)).to.throw(/no volume has a b-value above 50/)
  })
})
