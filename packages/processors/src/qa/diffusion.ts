/** Quality of a diffusion series: signal a volume, slices that dropped out, the tensor. */

import { badData } from '../job/failure.js'
import { shellsOf, type Gradients } from '../imaging/gradients.js'
import { atLeast, clipLevel, count, percentOf, sliceMeans } from '../imaging/mask.js'
import type { NiftiImage } from '../imaging/nifti.js'
import { inside, mean, median, quantile, robustZ, sorted, standardDeviation } from '../imaging/statistics.js'
import { fitTensor, tensorProblem, type TensorMaps } from '../imaging/tensor.js'
import type { Metric } from '../report/stats.js'

export interface DiffusionOptions {
  /** Volumes up to this b-value (s/mm²) count as unweighted. */
  readonly b0Max: number
  /** Robust z beyond which a slice of one volume is an outlier. */
  readonly sliceOutlierZ: number
}

export interface DiffusionQuality {
  readonly mask: Uint8Array
  /** Mean of the unweighted volumes, if any. */
  readonly meanB0: Float64Array | undefined
  /** Mean of the weighted volumes. */
  readonly meanWeighted: Float64Array
  readonly shells: ReturnType<typeof shellsOf>
  /** Mean in the mask, one a volume. */
  readonly volumeMean: Float64Array
  /** [slice][volume] robust z within the volume's shell; NaN where it cannot be told. */
  readonly sliceZ: readonly Float64Array[]
  readonly outlierSlices: readonly (readonly [slice: number, volume: number])[]
  /** Absent when the directions do not allow one; `warnings` says why. */
  readonly tensor: TensorMaps | undefined
  readonly metrics: readonly Metric[]
  readonly warnings: readonly string[]
}

const LEAST_IN_SLICE = 10
/** The spread of fewer volumes is too uncertain to call one of them an outlier. */
const LEAST_IN_SHELL = 10

export function measureDiffusion(
  image: NiftiImage,
  gradients: Gradients,
  { b0Max, sliceOutlierZ }: DiffusionOptions,
): DiffusionQuality {
  const volumes = image.volumes
  if (volumes < 2)
    throw badData(image.file, 'a diffusion series is wanted, and it has one volume (3D image).')
  const isB0 = gradients.bValues.map((b) => b <= b0Max)
  const warnings: string[] = []

  const b0s = isB0.flatMap((yes, t) => (yes ? [t] : []))
  const weighted = isB0.flatMap((yes, t) => (yes ? [] : [t]))
  if (weighted.length === 0)
    throw badData(image.file, `no volume has a b-value above ${b0Max}; this is no diffusion series.`)
  if (b0s.length === 0) warnings.push(`No volume has b <= ${b0Max} s/mm².`)
  const meanB0 = b0s.length > 0 ? averageOf(image, b0s) : undefined
  const meanWeighted = averageOf(image, weighted)
  // Unweighted images alone will not do: fluid is so bright in them that tissue would count as empty beside it.
  const meanAll = averageOf(image, [...isB0.keys()])
  const level = clipLevel(meanAll)
  const mask = atLeast(meanAll, level)
  const voxels = count(mask)
  if (level === 0 || voxels === 0)
    throw badData(image.file, 'no voxel has a positive signal; there is no image in it.')

  const volumeMean = new Float64Array(volumes)
  const sliceMean = Array.from({ length: image.shape[2] }, () => new Float64Array(volumes))
  const buffer = new Float64Array(image.voxels)
  for (let t = 0; t < volumes; t++) {
    const data = image.volume(t, buffer)
    volumeMean[t] = mean(inside(data, mask))
    sliceMeans(data, mask, image.shape, LEAST_IN_SLICE).forEach((value, k) => {
      ;(sliceMean[k] as Float64Array)[t] = value
    })
  }

  const shells = shellsOf(gradients.bValues, b0Max)
  const sliceZ = sliceMean.map((series) => {
    const z = new Float64Array(volumes).fill(NaN)
    for (const shell of shells) {
      if (shell.volumes.length < LEAST_IN_SHELL || Number.isNaN(series[0])) continue
      robustZ(shell.volumes.map((t) => series[t] as number)).forEach(
        (value, n) => (z[shell.volumes[n] as number] = value),
      )
    }
    return z
  })
  const outlierSlices = sliceZ.flatMap((series, slice) =>
    Array.from(series, (z, t) => [slice, t, z] as const)
      .filter(([, , z]) => Math.abs(z) > sliceOutlierZ)
      .map(([k, t]) => [k, t] as const),
  )
  const comparable = shells.some((shell) => shell.volumes.length >= LEAST_IN_SHELL)
  if (!comparable) {
    warnings.push(
      `No shell has ${LEAST_IN_SHELL} volumes: slices cannot be compared, outliers are not looked for.`,
    )
  }

  const problem = tensorProblem(gradients, b0Max)
  if (problem !== undefined) warnings.push(`No tensor was fitted: ${problem}.`)
  const tensor =
    problem === undefined ? fitTensor(gradients, mask, (t) => image.volume(t, buffer)) : undefined
  const fa = tensor && sorted(inside(tensor.fa, mask))
  const md = tensor && sorted(inside(tensor.md, mask))
  const b0Signal = b0s.length > 0 ? mean(b0s.map((t) => volumeMean[t] as number)) : null

  const metrics: Metric[] = [
    {
      name: 'fa_mean',
      value: fa ? mean(fa) : null,
      label: 'FA, mean in mask',
      digits: 3,
      definition:
        'Fractional anisotropy of the tensor (weighted least squares on log signals; negative eigenvalues set to 0), mean in the mask.',
    },
    {
      name: 'fa_median',
      value: fa ? quantile(fa, 0.5) : null,
      label: 'FA, median',
      digits: 3,
      definition: 'Median of the same.',
    },
    {
      name: 'fa_p95',
      value: fa ? quantile(fa, 0.95) : null,
      label: 'FA, 95th percentile',
      digits: 3,
      definition: '95th percentile of the same.',
    },
    {
      name: 'md_mean',
      value: md ? mean(md) * 1e3 : null,
      unit: 'µm²/ms',
      label: 'MD, mean in mask',
      digits: 3,
      definition: 'Mean diffusivity of the tensor, mean in the mask; 1 µm²/ms = 0.001 mm²/s.',
    },
    {
      name: 'md_median',
      value: md ? quantile(md, 0.5) * 1e3 : null,
      unit: 'µm²/ms',
      label: 'MD, median',
      digits: 3,
      definition: 'Median of the same.',
    },
    {
      name: 'residual_median_percent',
      value: tensor ? 100 * median(inside(tensor.residual, mask)) : null,
      unit: '%',
      label: 'Residual, median',
      digits: 2,
      definition:
        'Root mean square of measured minus predicted signal over all volumes, in percent of the fitted unweighted signal; median in the mask.',
    },
    {
      name: 'negative_eigenvalues_percent',
      value: tensor ? (100 * tensor.negative) / voxels : null,
      unit: '%',
      label: 'Negative eigenvalues',
      digits: 2,
      definition: 'Share of mask voxels whose tensor has an eigenvalue below 0: more noise than diffusion.',
    },
    {
      name: 'outlier_slices',
      value: comparable ? outlierSlices.length : null,
      label: `Outlier slices (z > ${sliceOutlierZ})`,
      alarm: outlierSlices.length > 0,
      definition: `Slices of single volumes whose mean in the mask lies more than ${sliceOutlierZ} robust standard deviations (1.4826 MAD) off the median of that slice in its shell. Shells of fewer than ${LEAST_IN_SHELL} volumes and slices of fewer than ${LEAST_IN_SLICE} mask voxels are not looked at.`,
    },
    {
      name: 'snr_b0',
      value: b0s.length > 1 ? snrOverB0s(image, b0s, mask) : null,
      label: 'SNR of unweighted volumes',
      digits: 1,
      definition:
        'Median in the mask of mean divided by standard deviation (n - 1) over the unweighted volumes; needs two.',
    },
    {
      name: 'b0_signal',
      value: b0Signal,
      label: 'Signal at b = 0',
      digits: 1,
      definition: 'Mean in the mask over the unweighted volumes.',
    },
    {
      name: 'weighted_signal',
      value: mean(weighted.map((t) => volumeMean[t] as number)),
      label: 'Signal, weighted',
      digits: 1,
      definition: 'Mean in the mask over the weighted volumes.',
    },
    {
      name: 'b0_volumes',
      value: b0s.length,
      label: 'Unweighted volumes',
      definition: `Volumes with b <= ${b0Max} s/mm².`,
    },
    {
      name: 'weighted_volumes',
      value: weighted.length,
      label: 'Weighted volumes',
      definition: `Volumes with b > ${b0Max} s/mm².`,
    },
    {
      name: 'shells',
      value: shells
        .filter(({ volumes: [t = 0] }) => isB0[t] === false)
        .map(({ b }) => String(b))
        .join(', '),
      definition: 'Mean b-values of groups of volumes within 5 % of each other, s/mm².',
    },
    {
      name: 'b_max',
      value: Math.max(...gradients.bValues),
      unit: 's/mm²',
      label: 'Greatest b-value',
      digits: 0,
      definition: 'From the b-values.',
    },
    {
      name: 'mask_percent',
      value: percentOf(mask),
      unit: '%',
      label: 'Mask',
      digits: 1,
      definition:
        'Share of voxels whose mean over all volumes is at least the clip level: half the median of the voxels above it.',
    },
    { name: 'mask_voxels', value: voxels, definition: 'Voxels in the mask.' },
    { name: 'clip_level', value: level, definition: 'Threshold of the mask.' },
  ]
  return { mask, meanB0, meanWeighted, shells, volumeMean, sliceZ, outlierSlices, tensor, metrics, warnings }
}

function averageOf(image: NiftiImage, volumes: readonly number[]): Float64Array {
  const sum = new Float64Array(image.voxels)
  const buffer = new Float64Array(image.voxels)
  for (const t of volumes)
    image.volume(t, buffer).forEach((value, v) => (sum[v] = (sum[v] as number) + value))
  return sum.map((value) => value / volumes.length)
}

function snrOverB0s(image: NiftiImage, b0s: readonly number[], mask: Uint8Array): number {
  const series = b0s.map((t) => inside(image.volume(t), mask))
  const ratios = (series[0] as Float64Array).map((_, v) => {
    const values = series.map((one) => one[v] as number)
    const deviation = standardDeviation(values)
    return deviation > 0 ? mean(values) / deviation : NaN
  })
  return median(ratios.filter((value) => !Number.isNaN(value)))
}
