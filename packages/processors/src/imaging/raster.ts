/** Pictures: colours, slice mosaics, PNG. */

import { PNG } from 'pngjs'
import type { RasView } from './orientation.js'
import type { Numbers } from './statistics.js'

export interface Raster {
  readonly width: number
  readonly height: number
  /** RGB, three bytes a pixel. */
  readonly data: Uint8Array
}

export type Colour = readonly [number, number, number]
export type ColourMap = (level: number) => Colour

/** Colours at equal steps, blended between; levels outside 0 to 1 take the end's. */
function ramp(...stops: readonly Colour[]): ColourMap {
  return (level) => {
    const at = Math.min(1, Math.max(0, level)) * (stops.length - 1)
    const low = Math.min(stops.length - 2, Math.floor(at))
    const from = stops[low] as Colour
    const to = stops[low + 1] as Colour
    const blend = (channel: 0 | 1 | 2): number => from[channel] + (to[channel] - from[channel]) * (at - low)
    return [blend(0), blend(1), blend(2)]
  }
}

export const gray: ColourMap = ramp([0, 0, 0], [255, 255, 255])
/** Dark to bright with even steps of lightness: for maps whose height matters. */
export const heat: ColourMap = ramp(
  [0, 0, 0],
  [40, 14, 84],
  [121, 28, 109],
  [203, 63, 74],
  [246, 130, 32],
  [250, 205, 80],
  [255, 255, 235],
)
/** Blue, white, red round a middle of 0.5. */
export const diverging: ColourMap = ramp(
  [24, 78, 150],
  [126, 170, 214],
  [247, 247, 247],
  [226, 132, 102],
  [170, 22, 38],
)

export interface MosaicRow {
  readonly plane: 'axial' | 'coronal' | 'sagittal'
  /** Slices in the row. */
  readonly count: number
  /** Of a plane that goes on over several rows: slices in all, and how many came before this row. */
  readonly of?: number
  readonly after?: number
}

export interface MosaicOptions {
  readonly rows: readonly MosaicRow[]
  /** Values shown as the first and the last colour. */
  readonly window: readonly [number, number]
  readonly colours?: ColourMap
  /** Slices are taken from the extent of this mask, and pictures cut to it with a small margin. */
  readonly focus?: Uint8Array
  /** Pixels of the longest side of one picture. */
  readonly tile: number
}

/** In-plane axes (right, up) and the axis across, of RAS views. Sagittal pictures look to the left. */
const PLANES = {
  axial: { right: 0, up: 1, across: 2, mirror: false },
  coronal: { right: 0, up: 2, across: 1, mirror: false },
  sagittal: { right: 1, up: 2, across: 0, mirror: true },
} as const

const GAP = 2
const FRAME: Colour = [0, 0, 0]

/**
 * Slices side by side at one scale, each plane in a row of its own. The left of a picture is the left of the body.
 * Between voxels values are interpolated linearly in the plane.
 */
export function mosaic(data: Numbers, view: RasView, options: MosaicOptions): Raster {
  const { rows, window, colours = gray, focus, tile } = options
  const extent = extentOf(view, focus)
  const millimetres = (axis: number): number => {
    const [low, high] = extent[axis] as readonly [number, number]
    return (high - low + 1) * (view.voxelMm[axis] as number)
  }
  const planes = rows.map((row) => PLANES[row.plane])
  const scale =
    tile / Math.max(...planes.flatMap((plane) => [millimetres(plane.right), millimetres(plane.up)]))
  const pixels = (axis: number): number => Math.max(1, Math.round(millimetres(axis) * scale))
  const width = Math.max(...planes.map((p, r) => (rows[r]?.count ?? 0) * (pixels(p.right) + GAP) + GAP))
  const height = planes.reduce((sum, plane) => sum + pixels(plane.up) + GAP, GAP)
  const picture = blank(width, height, FRAME)
  const span = window[1] - window[0] || 1

  let top = GAP
  rows.forEach(({ count, of = count, after = 0 }, r) => {
    const plane = planes[r] as (typeof PLANES)[keyof typeof PLANES]
    const [w, h] = [pixels(plane.right), pixels(plane.up)]
    const [firstSlice, lastSlice] = extent[plane.across] as readonly [number, number]
    for (let n = 0; n < count; n++) {
      const slice = slicePosition(firstSlice, lastSlice, after + n, of)
      // Rows of narrower pictures are spread over the width.
      const left = GAP + Math.round(n * (w + GAP) + ((n + 0.5) * (width - GAP - count * (w + GAP))) / count)
      const sample = (u: number, v: number): number => {
        const at: [number, number, number] = [0, 0, 0]
        at[plane.right] = u
        at[plane.up] = v
        at[plane.across] = slice
        return data[view.index(...at)] as number
      }
      const columns = Array.from({ length: w }, (_, px) => {
        const within = plane.mirror ? w - 1 - px : px
        return between(extent[plane.right] as readonly [number, number], (within + 0.5) / w)
      })
      for (let py = 0; py < h; py++) {
        const row = between(extent[plane.up] as readonly [number, number], 1 - (py + 0.5) / h)
        for (let px = 0; px < w; px++) {
          const column = columns[px] as Between
          const low =
            sample(column.low, row.low) * (1 - column.share) + sample(column.high, row.low) * column.share
          const high =
            sample(column.low, row.high) * (1 - column.share) + sample(column.high, row.high) * column.share
          const value = low * (1 - row.share) + high * row.share
          paint(picture, left + px, top + py, colours((value - window[0]) / span))
        }
      }
    }
    top += h + GAP
  })
  return picture
}

/** Where the nth of `count` slices is taken: all of them where they fit, else evenly over the inner nine tenths. */
export function slicePosition(first: number, last: number, n: number, count: number): number {
  const slices = last - first + 1
  if (count >= slices) return Math.min(last, first + n)
  return Math.min(last, first + Math.floor(slices * (0.05 + (0.9 * (n + 0.5)) / count)))
}

interface Between {
  readonly low: number
  readonly high: number
  readonly share: number
}
function between([first, last]: readonly [number, number], fraction: number): Between {
  const at = Math.min(last, Math.max(first, first + fraction * (last - first + 1) - 0.5))
  const low = Math.floor(at)
  return { low, high: Math.min(last, low + 1), share: at - low }
}

/** First and last slice along x, y, z that the focus reaches, with a margin of 3 mm; the whole view without a focus. */
function extentOf(view: RasView, focus: Uint8Array | undefined): readonly (readonly [number, number])[] {
  const [nx, ny, nz] = view.shape
  const seen = view.shape.map((size) => new Uint8Array(size)) as [Uint8Array, Uint8Array, Uint8Array]
  for (let z = 0; z < nz && focus !== undefined; z++) {
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++) {
        if (focus[view.index(x, y, z)]) seen[0][x] = seen[1][y] = seen[2][z] = 1
      }
    }
  }
  return seen.map((slices, axis) => {
    const low = slices.indexOf(1)
    if (low < 0) return [0, slices.length - 1] as const
    const margin = Math.round(3 / (view.voxelMm[axis] as number))
    return [Math.max(0, low - margin), Math.min(slices.length - 1, slices.lastIndexOf(1) + margin)] as const
  })
}

/** A table of numbers as coloured cells, row 0 on top; NaN is left grey. */
export function cells(
  rows: number,
  columns: number,
  value: (row: number, column: number) => number,
  window: readonly [number, number],
  colours: ColourMap,
): Raster {
  // Viewers blur small pictures that they enlarge: cells of several pixels keep their edges.
  const size = Math.max(1, Math.min(12, Math.floor(1200 / Math.max(rows, columns))))
  const picture = blank(columns * size, rows * size, [203, 208, 214])
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const level = (value(row, column) - window[0]) / (window[1] - window[0])
      if (Number.isNaN(level)) continue
      const colour = colours(level)
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) paint(picture, column * size + x, row * size + y, colour)
      }
    }
  }
  return picture
}

export function blank(width: number, height: number, colour: Colour): Raster {
  const data = new Uint8Array(width * height * 3)
  for (let at = 0; at < data.length; at += 3) data.set(colour, at)
  return { width, height, data }
}

function paint(picture: Raster, x: number, y: number, [red, green, blue]: Colour): void {
  const at = (y * picture.width + x) * 3
  picture.data[at] = red
  picture.data[at + 1] = green
  picture.data[at + 2] = blue
}

export function encodePng(picture: Raster): Buffer {
  const { width, height, data } = picture
  const png = new PNG({ width, height, colorType: 2, inputColorType: 2, inputHasAlpha: false })
  png.data = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return PNG.sync.write(png, { colorType: 2, inputColorType: 2, inputHasAlpha: false })
}
