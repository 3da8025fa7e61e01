/** Plots drawn as vectors. */

import type { ColourMap } from '../imaging/raster.js'
import { cells } from '../imaging/raster.js'
import { encodePng } from '../imaging/raster.js'
import { INK, line, type Box, type Doc } from './page.js'

export interface Series {
  readonly y: ArrayLike<number>
  /** Default: the index. */
  readonly x?: ArrayLike<number>
  readonly colour: string
  readonly label?: string
  /** Dots in place of a line. */
  readonly dots?: boolean
  /** Fill down to the axis. */
  readonly filled?: boolean
}

export interface PlotOptions {
  readonly title: string
  readonly xLabel: string
  readonly yLabel: string
  readonly series: readonly Series[]
  /** Points of the first series to mark in the alarm colour. */
  readonly flagged?: readonly number[]
  /** Horizontal lines. */
  readonly levels?: readonly { readonly y: number; readonly label: string; readonly colour?: string }[]
  /** Vertical lines. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[]
  /** Widen the range to hold these. */
  readonly include?: readonly number[]
}

const LEFT = 44
const BOTTOM = 24
const TOP = 15
const RIGHT = 6

export function plot(doc: Doc, box: Box, options: PlotOptions): void {
  const inner = frame(doc, box, options.title)
  const xs = options.series.flatMap((one) => finite(one.x ?? indices(one.y.length)))
  const ys = [
    ...options.series.flatMap((one) => finite(one.y)),
    ...(options.include ?? []),
    ...(options.levels ?? []).map((level) => level.y),
  ]
  const [xLow, xHigh] = rangeOf(xs, options.series.some((one) => one.dots) ? 0.03 : 0)
  const [yLow, yHigh] = rangeOf(ys, 0.06)
  const px = (x: number): number => inner.x + ((x - xLow) / (xHigh - xLow)) * inner.width
  const py = (y: number): number => inner.y + inner.height - ((y - yLow) / (yHigh - yLow)) * inner.height

  axes(doc, inner, { low: xLow, high: xHigh, at: px }, { low: yLow, high: yHigh, at: py }, options)
  for (const level of options.levels ?? []) {
    doc.moveTo(inner.x, py(level.y)).lineTo(inner.x + inner.width, py(level.y))
    doc
      .lineWidth(0.7)
      .dash(3, { space: 2 })
      .stroke(level.colour ?? INK.muted)
      .undash()
    line(doc, level.label, {
      x: inner.x,
      y: py(level.y) - 8,
      width: inner.width - 3,
      size: 6.5,
      colour: level.colour ?? INK.muted,
      align: 'right',
    })
  }
  doc.save().rect(inner.x, inner.y, inner.width, inner.height).clip()
  for (const one of options.series) drawSeries(doc, one, px, py, inner)
  doc.restore()
  const first = options.series[0]
  for (const index of options.flagged ?? []) {
    const y = first?.y[index]
    if (first === undefined || y === undefined || !Number.isFinite(y)) continue
    doc
      .circle(px(first.x?.[index] ?? index), py(y), 2.4)
      .lineWidth(1)
      .fillAndStroke('#ffffff', INK.alarm)
  }
  for (const mark of options.marks ?? []) {
    doc.moveTo(px(mark.x), inner.y).lineTo(px(mark.x), inner.y + inner.height)
    doc.lineWidth(0.8).dash(3, { space: 2 }).stroke(INK.alarm).undash()
    line(doc, mark.label, { x: px(mark.x) + 3, y: inner.y + 3, width: 120, size: 6.5, colour: INK.alarm })
  }
  legend(doc, box, inner, options.series)
}

/** Rows of cells from bottom to top, with a colour bar; flagged cells are framed. */
export function cellPlot(
  doc: Doc,
  box: Box,
  options: {
    readonly title: string
    readonly xLabel: string
    readonly yLabel: string
    readonly rows: number
    readonly columns: number
    readonly value: (row: number, column: number) => number
    readonly window: readonly [number, number]
    readonly colours: ColourMap
    readonly barLabel: string
    readonly flagged: readonly (readonly [row: number, column: number])[]
  },
): void {
  const bar = 34
  const inner = frame(doc, { ...box, width: box.width - bar }, options.title)
  const { rows, columns } = options
  const raster = cells(
    rows,
    columns,
    (row, column) => options.value(rows - 1 - row, column),
    options.window,
    options.colours,
  )
  doc.image(encodePng(raster), inner.x, inner.y, { width: inner.width, height: inner.height })
  const px = (column: number): number => inner.x + ((column + 0.5) / columns) * inner.width
  const py = (row: number): number => inner.y + inner.height - ((row + 0.5) / rows) * inner.height
  axes(
    doc,
    inner,
    { low: 0, high: columns - 1, at: px },
    { low: 0, high: rows - 1, at: py },
    { ...options, whole: true, noGrid: true },
  )
  const [width, height] = [inner.width / columns, inner.height / rows]
  for (const [row, column] of options.flagged) {
    doc.rect(px(column) - width / 2 - 0.6, py(row) - height / 2 - 0.6, width + 1.2, height + 1.2)
    doc.lineWidth(0.9).stroke('#000000')
  }
  colourBar(doc, { x: inner.x + inner.width + 8, y: inner.y, width: 7, height: inner.height }, options)
}

/** A vertical colour bar with its ends named. */
export function colourBar(
  doc: Doc,
  box: Box,
  options: {
    readonly window: readonly [number, number]
    readonly colours: ColourMap
    readonly barLabel: string
  },
): void {
  const steps = 48
  for (let step = 0; step < steps; step++) {
    const [red, green, blue] = options.colours((step + 0.5) / steps).map(Math.round)
    doc
      .rect(box.x, box.y + box.height * (1 - (step + 1) / steps), box.width, box.height / steps + 0.3)
      .fill([red ?? 0, green ?? 0, blue ?? 0])
  }
  const side = { x: box.x + box.width + 2, width: 30, size: 6.5, colour: INK.muted } as const
  line(doc, short(options.window[1]), { ...side, y: box.y - 1 })
  line(doc, short(options.window[0]), { ...side, y: box.y + box.height - 6 })
  if (options.barLabel !== '') line(doc, options.barLabel, { ...side, y: box.y + box.height / 2 - 3 })
}

function frame(doc: Doc, box: Box, title: string): Box {
  line(doc, title, { x: box.x, y: box.y, width: box.width, size: 8.5, bold: true })
  return {
    x: box.x + LEFT,
    y: box.y + TOP,
    width: box.width - LEFT - RIGHT,
    height: box.height - TOP - BOTTOM,
  }
}

interface Axis {
  readonly low: number
  readonly high: number
  readonly at: (value: number) => number
}

function axes(
  doc: Doc,
  inner: Box,
  x: Axis,
  y: Axis,
  labels: {
    readonly xLabel: string
    readonly yLabel: string
    readonly whole?: boolean
    readonly noGrid?: boolean
  },
): void {
  const bottom = inner.y + inner.height
  for (const tick of ticks(y.low, y.high, Math.max(2, Math.floor(inner.height / 18)), labels.whole)) {
    if (labels.noGrid !== true) {
      doc
        .moveTo(inner.x, y.at(tick))
        .lineTo(inner.x + inner.width, y.at(tick))
        .lineWidth(0.4)
        .stroke(INK.line)
    }
    line(doc, short(tick), {
      x: inner.x - 34,
      y: y.at(tick) - 3,
      width: 30,
      size: 6.5,
      colour: INK.muted,
      align: 'right',
    })
  }
  for (const tick of ticks(x.low, x.high, Math.max(2, Math.floor(inner.width / 45)), labels.whole)) {
    doc
      .moveTo(x.at(tick), bottom)
      .lineTo(x.at(tick), bottom + 2.5)
      .lineWidth(0.5)
      .stroke(INK.muted)
    line(doc, short(tick), {
      x: x.at(tick) - 20,
      y: bottom + 4.5,
      width: 40,
      size: 6.5,
      colour: INK.muted,
      align: 'center',
    })
  }
  doc
    .moveTo(inner.x, inner.y)
    .lineTo(inner.x, bottom)
    .lineTo(inner.x + inner.width, bottom)
  doc.lineWidth(0.6).stroke(INK.muted)
  line(doc, labels.xLabel, {
    x: inner.x,
    y: bottom + 13.5,
    width: inner.width,
    size: 7,
    colour: INK.muted,
    align: 'center',
  })
  doc.save().rotate(-90, { origin: [inner.x - LEFT + 2, inner.y + inner.height / 2] })
  line(doc, labels.yLabel, {
    x: inner.x - LEFT + 2 - inner.height / 2 - 8,
    y: inner.y + inner.height / 2 - 1,
    width: inner.height + 16,
    size: 7,
    colour: INK.muted,
    align: 'center',
  })
  doc.restore()
}

function drawSeries(
  doc: Doc,
  one: Series,
  px: (x: number) => number,
  py: (y: number) => number,
  inner: Box,
): void {
  const points: [number, number][] = []
  for (let i = 0; i < one.y.length; i++) {
    const y = one.y[i] as number
    if (Number.isFinite(y)) points.push([px(one.x?.[i] ?? i), py(y)])
  }
  const [start] = points
  if (start === undefined) return
  if (one.dots === true) {
    for (const [x, y] of points) doc.circle(x, y, 1.5).fill(one.colour)
    return
  }
  const trace = (): void => {
    doc.moveTo(...start)
    for (const point of points.slice(1)) doc.lineTo(...point)
  }
  if (one.filled === true) {
    const bottom = inner.y + inner.height
    trace()
    doc
      .lineTo((points.at(-1) ?? start)[0], bottom)
      .lineTo(start[0], bottom)
      .closePath()
    doc.fillOpacity(0.16).fill(one.colour).fillOpacity(1)
  }
  trace()
  doc.lineWidth(1).lineJoin('round').stroke(one.colour)
}

function legend(doc: Doc, box: Box, inner: Box, series: readonly Series[]): void {
  let right = inner.x + inner.width
  for (const one of [...series].reverse()) {
    if (one.label === undefined) continue
    doc.font('Helvetica').fontSize(7)
    const width = doc.widthOfString(one.label)
    line(doc, one.label, { x: right - width, y: box.y + 2, width: width + 1, size: 7, colour: INK.muted })
    doc.rect(right - width - 11, box.y + 4.5, 8, 2).fill(one.colour)
    right -= width + 20
  }
}

/** Round numbers between two ends, about `about` of them. */
export function ticks(low: number, high: number, about: number, whole = false): number[] {
  const raw = (high - low) / Math.max(1, about)
  if (!(raw > 0)) return [low]
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = ([1, 2, 5, 10].find((nice) => nice * power >= raw * 0.999) ?? 10) * power
  const used = whole ? Math.max(1, Math.round(step)) : step
  const found: number[] = []
  for (let n = Math.ceil(low / used - 1e-9); n * used <= high + used * 1e-9; n++) found.push(n * used + 0)
  return found
}

/** At most four digits, without trailing zeros. */
export function short(value: number): string {
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1).replace('e+', 'e')
  return String(Number(value.toPrecision(4)))
}

function rangeOf(values: readonly number[], margin: number): [number, number] {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity)
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity)
  if (!(high > low))
    return Number.isFinite(low)
      ? [low - (Math.abs(low) || 1) * 0.05, low + (Math.abs(low) || 1) * 0.05]
      : [0, 1]
  return [low - (high - low) * margin, high + (high - low) * margin]
}

const finite = (values: ArrayLike<number>): number[] => Array.from(values).filter(Number.isFinite)
const indices = (length: number): number[] => Array.from({ length }, (_, index) => index)
