/** Quality of a functional series: temporal signal to noise, drift, spikes, framewise change. */

import { badData } from '../job/failure.js'
import { atLeast, clipLevel, count, percentOf, sliceMeans } from '../imaging/mask.js'
import type { NiftiImage } from '../imaging/nifti.js'
import {
  fitLine,
  inside,
  mean,
  quantile,
  robustZ,
  sorted,
  withoutLine,
  withoutRobustLine,
} from '../imaging/statistics.js'
import type { Metric } from '../report/stats.js'

export interface SeriesOptions {
  /** Volumes whose robust z exceeds this are outliers. */
  readonly outlierZ: number
  /** The same for slices. */
  readonly sliceOutlierZ: number
  /** Leading volumes to leave out: the magnetisation is not steady yet. */
  readonly skipVolumes: number
}

export interface SeriesQuality {
  readonly mean: Float64Array
  /** Standard deviation about the line fitted to each voxel. */
  readonly deviation: Float64Array
  /** mean / deviation; 0 where the deviation is 0, and outside the mask. */
  readonly tsnr: Float64Array
  readonly mask: Uint8Array
  /** Volume numbers (of the file) that were looked at. */
  readonly frames: readonly number[]
  /** Mean in the mask, one a frame. */
  readonly globalMean: Float64Array
  readonly globalZ: Float64Array
  /** Root mean square of the change since the frame before, in percent of the grand mean; NaN for the first. */
  readonly change: Float64Array
  readonly changeZ: Float64Array
  /** [slice][frame] robust z of the slice's mean, NaN for slices with too little of the mask. */
  readonly sliceZ: readonly Float64Array[]
  /** Indices into `frames`. */
  readonly outlierFrames: readonly number[]
  readonly outlierSlices: readonly (readonly [slice: number, frame: number])[]
  readonly metrics: readonly Metric[]
  readonly warnings: readonly string[]
}

/** Slices with fewer mask voxels than this have no mean worth looking at. */
const LEAST_IN_SLICE = 10

export function measureSeries(image: NiftiImage, options: SeriesOptions): SeriesQuality {
  const { outlierZ, sliceOutlierZ, skipVolumes } = options
  if (image.volumes < 2)
    throw badData(image.file, 'a series in time is wanted, and it has one volume (3D image).')
  const frames = Array.from({ length: image.volumes }, (_, t) => t).slice(skipVolumes)
  const T = frames.length
  if (T < 5) {
    throw badData(
      image.file,
      `at least 5 volumes are needed, and ${T} are left of ${image.volumes} (skipVolumes ${skipVolumes}).`,
    )
  }
  const { average, deviation } = voxelwise(image, frames)
  const level = clipLevel(average)
  const mask = atLeast(average, level)
  if (level === 0 || count(mask) === 0)
    throw badData(image.file, 'no voxel has a positive signal; there is no image in it.')

  const warnings: string[] = []
  const tsnr = average.map((value, v) =>
    mask[v] && (deviation[v] as number) > 0 ? value / (deviation[v] as number) : 0,
  )
  const insideTsnr = sorted(inside(tsnr, mask))
  const grandMean = mean(inside(average, mask))

  const globalMean = new Float64Array(T)
  const change = new Float64Array(T).fill(NaN)
  const slices = Array.from({ length: image.shape[2] }, () => new Float64Array(T))
  let before = new Float64Array(image.voxels)
  let now = new Float64Array(image.voxels)
  const voxels = count(mask)
  frames.forEach((frame, t) => {
    ;[before, now] = [now, before]
    image.volume(frame, now)
    let sum = 0
    let squares = 0
    for (let v = 0; v < mask.length; v++) {
      if (!mask[v]) continue
      sum += now[v] as number
      squares += ((now[v] as number) - (before[v] as number)) ** 2
    }
    globalMean[t] = sum / voxels
    if (t > 0) change[t] = (100 * Math.sqrt(squares / voxels)) / grandMean
    sliceMeans(now, mask, image.shape, LEAST_IN_SLICE).forEach(
      (value, k) => ((slices[k] as Float64Array)[t] = value),
    )
  })

  const line = fitLine(globalMean)
  const globalZ = robustZ(withoutRobustLine(globalMean))
  const changeZ = Float64Array.of(NaN, ...robustZ(change.subarray(1)))
  const sliceZ = slices.map((series) =>
    Number.isNaN(series[0]) ? series : robustZ(withoutRobustLine(series)),
  )

  const outlierFrames = frames
    .map((_, t) => t)
    .filter((t) => Math.abs(globalZ[t] as number) > outlierZ || (changeZ[t] as number) > outlierZ)
  const outlierSlices = sliceZ.flatMap((series, slice) =>
    Array.from(series, (z, t) => [slice, t, z] as const)
      .filter(([, , z]) => Math.abs(z) > sliceOutlierZ)
      .map(([k, t]) => [k, t] as const),
  )
  if (T < 20) warnings.push(`Only ${T} volumes: temporal statistics are rough.`)
  const changes = sorted(change.subarray(1))
  const largest = changes[changes.length - 1] as number

  const metrics: Metric[] = [
    {
      name: 'tsnr_median',
      value: quantile(insideTsnr, 0.5),
      label: 'tSNR, median in mask',
      digits: 1,
      definition:
        'Median in the mask of mean divided by standard deviation in time. The deviation is about a straight line fitted to each voxel, with n - 2 degrees of freedom.',
    },
    {
      name: 'tsnr_mean',
      value: mean(insideTsnr),
      label: 'tSNR, mean',
      digits: 1,
      definition: 'Mean in the mask of the same.',
    },
    {
      name: 'tsnr_p05',
      value: quantile(insideTsnr, 0.05),
      label: 'tSNR, 5th percentile',
      digits: 1,
      definition: '5th percentile in the mask of the same.',
    },
    {
      name: 'tsnr_p95',
      value: quantile(insideTsnr, 0.95),
      label: 'tSNR, 95th percentile',
      digits: 1,
      definition: '95th percentile in the mask of the same.',
    },
    {
      name: 'drift_percent',
      value: (100 * line.slope * (T - 1)) / mean(globalMean),
      unit: '%',
      label: 'Drift over the run',
      digits: 2,
      definition:
        'Slope of the line fitted to the mean in the mask, from the first to the last volume, in percent of its mean.',
    },
    {
      name: 'change_median_percent',
      value: quantile(changes, 0.5),
      unit: '%',
      label: 'Framewise change, median',
      digits: 2,
      definition:
        'Root mean square over the mask of the difference between a volume and the one before, in percent of the grand mean (DVARS of unfiltered data); median over volumes.',
    },
    {
      name: 'change_max_percent',
      value: largest,
      unit: '%',
      label: 'Framewise change, largest',
      digits: 2,
      definition: 'Largest of the same.',
    },
    {
      name: 'global_sd_percent',
      value: (100 * Math.sqrt(sumOfSquares(withoutLine(globalMean)) / (T - 2))) / mean(globalMean),
      unit: '%',
      label: 'Fluctuation of the mean',
      digits: 3,
      definition:
        'Standard deviation of the mean in the mask about its line (n - 2), in percent of its mean.',
    },
    {
      name: 'outlier_volumes',
      value: outlierFrames.length,
      label: `Outlier volumes (z > ${outlierZ})`,
      alarm: outlierFrames.length > 0,
      definition: `Volumes whose mean in the mask lies more than ${outlierZ} robust standard deviations (1.4826 MAD) off its line (fitted without outliers), or whose framewise change lies as far above its median.`,
    },
    {
      name: 'outlier_volumes_percent',
      value: (100 * outlierFrames.length) / T,
      unit: '%',
      definition: 'Share of the volumes.',
    },
    {
      name: 'outlier_slices',
      value: outlierSlices.length,
      label: `Outlier slices (z > ${sliceOutlierZ})`,
      alarm: outlierSlices.length > 0,
      definition: `Slices of single volumes whose mean in the mask lies more than ${sliceOutlierZ} robust standard deviations off the line of that slice (fitted without outliers). Slices with fewer than ${LEAST_IN_SLICE} mask voxels are not looked at.`,
    },
    {
      name: 'grand_mean',
      value: grandMean,
      label: 'Mean signal',
      digits: 1,
      definition: 'Mean over mask and time.',
    },
    {
      name: 'mask_percent',
      value: percentOf(mask),
      unit: '%',
      label: 'Mask',
      digits: 1,
      definition:
        'Share of voxels whose mean over time is at least the clip level: half the median of the voxels above it.',
    },
    { name: 'mask_voxels', value: voxels, definition: 'Voxels in the mask.' },
    { name: 'clip_level', value: level, definition: 'Threshold of the mask.' },
    { name: 'frames', value: T, definition: 'Volumes that were looked at: all but skipVolumes.' },
  ]
  return {
    mean: average,
    deviation,
    tsnr,
    mask,
    frames,
    globalMean,
    globalZ,
    change,
    changeZ,
    sliceZ,
    outlierFrames,
    outlierSlices,
    metrics,
    warnings,
  }
}

/** Mean, and standard deviation about the fitted line, of every voxel in one reading of the volumes. */
function voxelwise(
  image: NiftiImage,
  frames: readonly number[],
): { readonly average: Float64Array; readonly deviation: Float64Array } {
  const T = frames.length
  // Differences from the first volume keep the sums small, so that nothing is lost in subtracting them.
  const first = image.volume(frames[0] as number)
  const sum = new Float64Array(image.voxels)
  const squares = new Float64Array(image.voxels)
  const cross = new Float64Array(image.voxels)
  const buffer = new Float64Array(image.voxels)
  frames.forEach((frame, t) => {
    const data = image.volume(frame, buffer)
    const time = t - (T - 1) / 2
    for (let v = 0; v < data.length; v++) {
      const value = (data[v] as number) - (first[v] as number)
      sum[v] = (sum[v] as number) + value
      squares[v] = (squares[v] as number) + value * value
      cross[v] = (cross[v] as number) + time * value
    }
  })
  const timeSquares = (T * (T * T - 1)) / 12
  const average = first.map((value, v) => value + (sum[v] as number) / T)
  const deviation = squares.map((total, v) => {
    const about = total - (sum[v] as number) ** 2 / T - (cross[v] as number) ** 2 / timeSquares
    // What is left of a perfect line is rounding.
    return about > 1e-12 * total ? Math.sqrt(about / (T - 2)) : 0
  })
  return { average, deviation }
}

const sumOfSquares = (values: Float64Array): number => values.reduce((sum, value) => sum + value * value, 0)
