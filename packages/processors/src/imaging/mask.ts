/** Which voxels hold signal. */

import { histogram, otsuThreshold, quantile, sorted, type Numbers } from './statistics.js'

export type Shape = readonly [number, number, number]

export function count(mask: Uint8Array): number {
  let voxels = 0
  for (let v = 0; v < mask.length; v++) voxels += mask[v] as number
  return voxels
}

export function atLeast(values: Numbers, threshold: number): Uint8Array {
  const mask = new Uint8Array(values.length)
  for (let v = 0; v < mask.length; v++) mask[v] = (values[v] as number) >= threshold ? 1 : 0
  return mask
}

/**
 * The level below which a voxel of a brain image is counted as empty: half the median of the voxels above it, found by
 * iteration from half of (sum of squares / sum) of the positive voxels. Unlike Otsu's it also serves images cropped to
 * the brain, which have no background. The idea is AFNI's `3dClipLevel`. The start is high on purpose: from below, an
 * image that is mostly air would end at the level of its noise.
 *
 * @returns 0 when no voxel is positive
 */
export function clipLevel(values: Numbers): number {
  const ascending = sorted(values)
  const positive = ascending.subarray(firstAtLeast(ascending, Number.MIN_VALUE))
  let sum = 0
  let squares = 0
  for (const value of positive) {
    sum += value
    squares += value * value
  }
  if (sum === 0) return 0
  let level = 0
  let next = squares / sum / 2
  for (let round = 0; round < 100 && next !== level; round++) {
    level = next
    next = quantile(positive.subarray(firstAtLeast(positive, level)), 0.5) / 2
  }
  return next
}

function firstAtLeast(ascending: Float64Array, level: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ascending[middle] as number) < level) low = middle + 1
    else high = middle
  }
  return low
}

export interface HeadMasks {
  /** Otsu's threshold over 256 bins from the minimum to the 99.9th percentile. */
  readonly threshold: number
  /** At or above the threshold. */
  readonly foreground: Uint8Array
  /** Below the threshold and joined to the edge of the image through such voxels: the air round the head. */
  readonly air: Uint8Array
}

export function headMasks(data: Float64Array, shape: Shape, ascending = sorted(data)): HeadMasks {
  const low = ascending[0] ?? 0
  const high = quantile(ascending, 0.999)
  const threshold = otsuThreshold(histogram(data, 256, low, high))
  const foreground = atLeast(data, threshold)
  return { threshold, foreground, air: outside(foreground, shape) }
}

/** Voxels off the mask that can be reached from the edge of the image through faces of voxels off the mask. */
export function outside(mask: Uint8Array, [nx, ny, nz]: Shape): Uint8Array {
  const reached = new Uint8Array(mask.length)
  const stack = new Int32Array(mask.length)
  let depth = 0
  const visit = (voxel: number): void => {
    if (mask[voxel] || reached[voxel]) return
    reached[voxel] = 1
    stack[depth++] = voxel
  }
  for (let k = 0, voxel = 0; k < nz; k++) {
    for (let j = 0; j < ny; j++) {
      for (let i = 0; i < nx; i++, voxel++) {
        if (i === 0 || j === 0 || k === 0 || i === nx - 1 || j === ny - 1 || k === nz - 1) visit(voxel)
      }
    }
  }
  const plane = nx * ny
  while (depth > 0) {
    const voxel = stack[--depth] as number
    const i = voxel % nx
    const j = Math.floor(voxel / nx) % ny
    const k = Math.floor(voxel / plane)
    if (i > 0) visit(voxel - 1)
    if (i < nx - 1) visit(voxel + 1)
    if (j > 0) visit(voxel - nx)
    if (j < ny - 1) visit(voxel + nx)
    if (k > 0) visit(voxel - plane)
    if (k < nz - 1) visit(voxel + plane)
  }
  return reached
}

/** Mean in the mask of each slice along k; NaN where a slice has fewer mask voxels than `least`. */
export function sliceMeans(
  data: Numbers,
  mask: Uint8Array,
  [nx, ny, nz]: Shape,
  least: number,
): Float64Array {
  const plane = nx * ny
  return Float64Array.from({ length: nz }, (_, k) => {
    let sum = 0
    let voxels = 0
    for (let v = k * plane; v < (k + 1) * plane; v++) {
      if (!mask[v]) continue
      sum += data[v] as number
      voxels++
    }
    return voxels >= least && voxels > 0 ? sum / voxels : NaN
  })
}

/** Share of all voxels, in percent. */
export const percentOf = (mask: Uint8Array): number => (100 * count(mask)) / mask.length
