/** Which way an image lies, and how to look at it as if it lay right, anterior, superior. */

import type { Affine } from './nifti.js'
import type { Shape } from './mask.js'

/** For each voxel axis: the world axis nearest to it (0 x, 1 y, 2 z) and whether they point the same way. */
export interface Orientation {
  readonly axes: readonly [AxisRole, AxisRole, AxisRole]
  /** As `RAS`: where each voxel axis points to. */
  readonly letters: string
}
export interface AxisRole {
  readonly world: number
  readonly forward: boolean
}

const LETTERS = ['LR', 'PA', 'IS'] as const

/** The closest of the 48 ways: the assignment with the greatest sum of cosines. */
export function orientationOf(affine: Affine): Orientation {
  const column = (axis: number): number[] => {
    const raw = affine.map((row) => row[axis] ?? 0)
    const length = Math.hypot(...raw) || 1
    return raw.map((value) => value / length)
  }
  const columns = [column(0), column(1), column(2)]
  const cosine = (axis: number, world: number): number => columns[axis]?.[world] ?? 0
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ] as const
  const score = (order: readonly number[]): number =>
    order.reduce((sum, world, axis) => sum + Math.abs(cosine(axis, world)), 0)
  const best = orders.reduce((a, b) => (score(b) > score(a) + 1e-9 ? b : a))
  const axes = best.map((world, axis) => ({ world, forward: cosine(axis, world) >= 0 }))
  const letters = axes.map(({ world, forward }) => LETTERS[world]?.[forward ? 1 : 0] ?? '?').join('')
  return { axes: axes as unknown as Orientation['axes'], letters }
}

/** An image seen along the body's axes: x to the right, y to the front, z up. No copy, no interpolation. */
export interface RasView {
  readonly shape: Shape
  readonly voxelMm: readonly [number, number, number]
  /** The voxel of the underlying array. */
  index(x: number, y: number, z: number): number
}

export function rasView(shape: Shape, voxelMm: readonly [number, number, number], affine: Affine): RasView {
  const { axes } = orientationOf(affine)
  const stride = [1, shape[0], shape[0] * shape[1]] as const
  const size: [number, number, number] = [1, 1, 1]
  const spacing: [number, number, number] = [1, 1, 1]
  const step: [number, number, number] = [0, 0, 0]
  let start = 0
  axes.forEach(({ world, forward }, axis) => {
    const along = shape[axis] as number
    size[world] = along
    spacing[world] = voxelMm[axis] as number
    step[world] = (stride[axis] as number) * (forward ? 1 : -1)
    if (!forward) start += (along - 1) * (stride[axis] as number)
  })
  return {
    shape: size,
    voxelMm: spacing,
    index: (x, y, z) => start + x * step[0] + y * step[1] + z * step[2],
  }
}
