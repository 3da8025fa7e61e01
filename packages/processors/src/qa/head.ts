/** Quality of one anatomical image of a head: intensities, noise in the air, entropy. */

import { badData } from '../job/failure.js'
import { headMasks, percentOf, type HeadMasks } from '../imaging/mask.js'
import type { NiftiImage } from '../imaging/nifti.js'
import { inside, mean, quantile, robustDeviation, sorted, standardDeviation } from '../imaging/statistics.js'
import type { Metric } from '../report/stats.js'

/**
 * In air the magnitude of complex Gaussian noise of deviation s follows Rayleigh's law, whose own deviation is
 * s * sqrt(2 - pi / 2) = 0.655 s (one receive channel).
 */
export const RAYLEIGH = Math.sqrt(2 - Math.PI / 2)

export interface HeadQuality {
  readonly data: Float64Array
  readonly masks: HeadMasks
  readonly metrics: readonly Metric[]
  readonly warnings: readonly string[]
  /** All voxels in ascending order. */
  readonly ascending: Float64Array
  /** 1st percentile of the whole image and 99th of the foreground: a good window for pictures. */
  readonly window: readonly [number, number]
}

export function measureHead(image: NiftiImage): HeadQuality {
  if (image.volumes !== 1) {
    throw badData(image.file, `one volume is wanted, and it has ${image.volumes}; is this a series in time?`)
  }
  if (image.shape.some((size) => size < 2)) {
    throw badData(image.file, `a volume is wanted, and this has ${image.shape.join(' x ')} voxels.`)
  }
  const data = image.volume(0)
  const all = sorted(data)
  const lowest = all[0] as number
  const highest = all[all.length - 1] as number
  if (lowest === highest)
    throw badData(image.file, `all voxels have the same value (${lowest}); there is no image in it.`)

  const masks = headMasks(data, image.shape, all)
  const foreground = sorted(inside(data, masks.foreground))
  const air = sorted(inside(data, masks.air))
  const signal = { mean: mean(foreground), median: quantile(foreground, 0.5) }
  const airShare = percentOf(masks.air)
  const noise = air.length >= 100 ? standardDeviation(air) : 0
  const airMedian = quantile(air, 0.5)
  const robustNoise = air.length >= 100 ? robustDeviation(air, airMedian) : 0
  const ratio = (above: number, below: number): number | null => (below > 0 ? above / below : null)

  const warnings: string[] = []
  if (noise === 0) {
    warnings.push(
      air.length < 100
        ? 'There is no air round the head: the image is cropped. Ratios to noise cannot be computed.'
        : 'The air round the head has one value: it was masked. Ratios to noise cannot be computed.',
    )
  } else if (robustNoise === 0) {
    warnings.push(
      'More than half of the air has one value: it was masked or clipped. SNR speaks of the rest.',
    )
  }
  const energy = (values: Float64Array): number => mean(values.map((value) => value * value))

  const metrics: Metric[] = [
    {
      name: 'snr',
      value: ratio(signal.mean, noise),
      label: 'SNR',
      digits: 1,
      definition:
        'Mean of the foreground divided by the standard deviation of the air. Foreground: at or above Otsu’s threshold. Air: below it and joined to the edge of the image.',
    },
    {
      name: 'snr_rayleigh',
      value: ratio(signal.mean * RAYLEIGH, noise),
      label: 'SNR, Rayleigh-corrected',
      digits: 1,
      definition:
        'snr times sqrt(2 - pi/2) = 0.655: noise in the air of a magnitude image is Rayleigh-distributed.',
    },
    {
      name: 'snr_robust',
      value: ratio(signal.median, robustNoise),
      label: 'SNR, robust',
      digits: 1,
      definition:
        'Median of the foreground divided by 1.4826 times the median absolute deviation of the air.',
    },
    {
      name: 'fber',
      value: ratio(energy(foreground), energy(air)),
      label: 'Energy ratio (FBER)',
      digits: 0,
      definition: 'Mean square of the foreground divided by the mean square of the air.',
    },
    {
      name: 'efc',
      value: entropyFocus(data),
      label: 'Entropy focus (EFC)',
      digits: 3,
      definition:
        'Shannon entropy of voxel magnitudes over their root sum of squares, divided by its greatest possible value (Atkinson 1997). 0: all energy in one voxel; 1: all voxels alike. Blur and ghosts raise it.',
    },
    {
      name: 'foreground_cv',
      value: ratio(standardDeviation(foreground), signal.mean),
      label: 'Spread in the foreground',
      digits: 3,
      definition: 'Standard deviation divided by mean of the foreground.',
    },
    {
      name: 'foreground_mean',
      value: signal.mean,
      label: 'Foreground mean',
      digits: 1,
      definition: 'Mean of the foreground.',
    },
    { name: 'foreground_median', value: signal.median, definition: 'Median of the foreground.' },
    {
      name: 'foreground_percent',
      value: percentOf(masks.foreground),
      unit: '%',
      label: 'Foreground',
      digits: 1,
      definition: 'Share of all voxels at or above the threshold.',
    },
    {
      name: 'air_percent',
      value: airShare,
      unit: '%',
      label: 'Air',
      digits: 1,
      definition: 'Share of all voxels that are air.',
    },
    {
      name: 'air_mean',
      value: air.length > 0 ? mean(air) : null,
      label: 'Air mean',
      digits: 2,
      definition: 'Mean of the air.',
    },
    {
      name: 'air_sd',
      value: air.length > 1 ? standardDeviation(air) : null,
      label: 'Air SD',
      digits: 2,
      definition: 'Standard deviation of the air (n - 1).',
    },
    {
      name: 'otsu_threshold',
      value: masks.threshold,
      label: 'Otsu threshold',
      digits: 1,
      definition: 'Over 256 bins from the minimum to the 99.9th percentile.',
    },
    { name: 'intensity_min', value: lowest, definition: 'Lowest voxel.' },
    {
      name: 'intensity_p02',
      value: quantile(all, 0.02),
      label: '2nd percentile',
      digits: 1,
      definition: '2nd percentile of all voxels.',
    },
    {
      name: 'intensity_median',
      value: quantile(all, 0.5),
      label: 'Median',
      digits: 1,
      definition: 'Median of all voxels.',
    },
    {
      name: 'intensity_mean',
      value: mean(data),
      label: 'Mean',
      digits: 1,
      definition: 'Mean of all voxels.',
    },
    {
      name: 'intensity_sd',
      value: standardDeviation(data),
      label: 'Standard deviation',
      digits: 1,
      definition: 'Standard deviation of all voxels (n - 1).',
    },
    {
      name: 'intensity_p98',
      value: quantile(all, 0.98),
      label: '98th percentile',
      digits: 1,
      definition: '98th percentile of all voxels.',
    },
    { name: 'intensity_max', value: highest, definition: 'Highest voxel.' },
    {
      name: 'intensity_range',
      value: `${Number(lowest.toPrecision(4))} to ${Number(highest.toPrecision(4))}`,
      label: 'Range',
      definition: 'Lowest and highest voxel.',
    },
  ]
  return {
    data,
    ascending: all,
    masks,
    metrics,
    warnings,
    window: [quantile(all, 0.01), quantile(foreground, 0.99)],
  }
}

/** Entropy focus criterion, normalised to at most 1. */
export function entropyFocus(data: Float64Array): number {
  let squares = 0
  for (const value of data) squares += value * value
  const total = Math.sqrt(squares)
  if (total === 0) return 0
  let entropy = 0
  for (const value of data) {
    const share = Math.abs(value) / total
    if (share > 0) entropy -= share * Math.log(share)
  }
  const even = 1 / Math.sqrt(data.length)
  return entropy / (-data.length * even * Math.log(even))
}
