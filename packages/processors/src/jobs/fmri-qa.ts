/** Job: quality of a functional series. */

import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { badData } from '../job/failure.js'
import { runJob, warn } from '../job/run.js'
import { companionOf, imageOf, numberParam, sourceOf } from '../job/task.js'
import { encodeNifti, readNifti } from '../imaging/nifti.js'
import { rasView } from '../imaging/orientation.js'
import { diverging, encodePng, gray, heat, mosaic } from '../imaging/raster.js'
import { inside, quantile, sorted } from '../imaging/statistics.js'
import { geometryMetrics, listed, listedSlices, pageHead } from '../qa/shared.js'
import { measureSeries } from '../qa/timeseries.js'
import { caption, CONTENT_WIDTH, heading, INK, onePage, PAGE, picture, table } from '../report/page.js'
import { cellPlot, colourBar, plot } from '../report/plot.js'
import { statsFiles, tableRows, tsv, type Metric } from '../report/stats.js'

await runJob(async (task) => {
  const source = sourceOf(task, 'image')
  const name = imageOf(source, (images) => images.filter((image) => !/sbref/i.test(image)))
  const image = await readNifti(path.join(source.dir, name), name)
  const outlierZ = numberParam(task, 'outlierZ', 3.5)
  const sliceOutlierZ = numberParam(task, 'sliceOutlierZ', 5)
  const skipVolumes = numberParam(task, 'skipVolumes', 0)
  const found = measureSeries(image, { outlierZ, sliceOutlierZ, skipVolumes })
  const warnings: string[] = []
  for (const warning of found.warnings) warn(warnings, warning)

  const sidecar = companionOf(task, source, name, '.json', 'json')
  const stated = sidecar === undefined ? undefined : await repetitionTime(sidecar)
  const seconds = stated ?? image.volumeSeconds
  if (seconds === undefined)
    warn(warnings, 'The repetition time is not known: neither the sidecar nor the header has it.')
  if (
    stated !== undefined &&
    image.volumeSeconds !== undefined &&
    Math.abs(stated - image.volumeSeconds) > 0.01 * stated
  ) {
    warn(
      warnings,
      `The sidecar says a repetition time of ${stated} s, the header ${image.volumeSeconds} s; the sidecar’s is used.`,
    )
  }

  const geometry: Metric[] = [
    ...geometryMetrics(image),
    {
      name: 'repetition_time_s',
      value: seconds ?? null,
      unit: 's',
      label: 'Repetition time',
      definition: 'RepetitionTime of the sidecar, else the header’s.',
    },
    {
      name: 'duration_s',
      value: seconds === undefined ? null : seconds * image.volumes,
      unit: 's',
      label: 'Duration',
      digits: 0,
      definition: 'Volumes times repetition time.',
    },
  ]
  const flagged = found.outlierFrames.map((t) => found.frames[t] as number)
  const alarms = [
    ...(flagged.length > 0 ? [`Outlier volumes: ${listed(flagged)}`] : []),
    ...(found.outlierSlices.length > 0
      ? [
          `Outlier slices: ${listedSlices(found.outlierSlices.map(([k, t]) => [k, found.frames[t] as number]))}`,
        ]
      : []),
    ...warnings,
  ]

  const view = rasView(image.shape, image.voxelMm, image.affine)
  const columns = 9
  const slices = Math.min(view.shape[2], columns)
  const rows = [{ plane: 'axial' as const, count: slices }]
  const meanWindow = [0, quantile(sorted(inside(found.mean, found.mask)), 0.995)] as const
  const tsnrWindow = [0, niceTop(quantile(sorted(inside(found.tsnr, found.mask)), 0.98))] as const
  const deviationWindow = [0, niceTop(quantile(sorted(inside(found.deviation, found.mask)), 0.98))] as const
  const pictures = [
    { title: 'Mean over time', data: found.mean, window: meanWindow, colours: gray },
    { title: 'Temporal signal to noise', data: found.tsnr, window: tsnrWindow, colours: heat },
    {
      title: 'Standard deviation in time (line removed)',
      data: found.deviation,
      window: deviationWindow,
      colours: heat,
    },
  ].map((one) => ({ ...one, raster: mosaic(one.data, view, { ...one, rows, focus: found.mask, tile: 160 }) }))

  const time = found.frames.map((frame) => (seconds === undefined ? frame : frame * seconds))
  const xLabel = seconds === undefined ? 'volume' : 'time (s)'
  const report = await onePage(
    pageHead('Functional image quality', task, source, name, alarms),
    (doc, top) => {
      const { margin } = PAGE
      let y = top
      for (const one of pictures) {
        const start = heading(doc, one.title, margin, y, CONTENT_WIDTH)
        const end = picture(doc, one.raster, { x: margin, y: start, width: CONTENT_WIDTH - 44, height: 88 })
        colourBar(
          doc,
          { x: end.right + 6, y: start, width: 7, height: end.bottom - start },
          { window: one.window, colours: one.colours, barLabel: '' },
        )
        y = end.bottom + 7
      }
      y =
        caption(
          doc,
          'Axial, from low to high. The left of a picture is the left of the body.',
          margin,
          y - 7,
          CONTENT_WIDTH,
        ) + 4
      const left = 322
      const right = margin + left + 18
      const side = CONTENT_WIDTH - left - 18
      const bottom = PAGE.height - 36
      const height = (bottom - y) / 3
      plot(
        doc,
        { x: margin, y, width: left, height: height - 6 },
        {
          title: 'Mean signal in the mask',
          xLabel,
          yLabel: 'signal',
          series: [{ x: time, y: found.globalMean, colour: INK.accent }],
          flagged: found.outlierFrames,
        },
      )
      plot(
        doc,
        { x: margin, y: y + height, width: left, height: height - 6 },
        {
          title: 'Framewise signal change',
          xLabel,
          yLabel: '% of mean',
          series: [{ x: time, y: found.change, colour: INK.second }],
          flagged: found.outlierFrames,
          include: [0],
        },
      )
      cellPlot(
        doc,
        { x: margin, y: y + 2 * height, width: left, height: height - 6 },
        {
          title: 'Slices: robust z of the mean, line removed (grey: too few voxels)',
          xLabel: 'volume',
          yLabel: 'slice',
          rows: found.sliceZ.length,
          columns: found.frames.length,
          value: (row, column) => found.sliceZ[row]?.[column] ?? NaN,
          window: [-sliceOutlierZ, sliceOutlierZ],
          colours: diverging,
          barLabel: '',
          flagged: found.outlierSlices,
        },
      )
      const tableTop = heading(doc, 'Stability', right, y, side)
      const next = table(doc, tableRows(found.metrics), right, tableTop, side)
      table(doc, tableRows(geometry), right, heading(doc, 'Image', right, next + 10, side), side)
    },
  )

  const series = tsv(
    ['volume', 'time_s', 'mean_signal', 'mean_signal_z', 'change_percent', 'change_z', 'outlier'],
    found.frames.map((frame, t) => [
      frame,
      seconds === undefined ? null : Number((frame * seconds).toFixed(6)),
      found.globalMean[t] ?? null,
      found.globalZ[t] ?? null,
      found.change[t] ?? null,
      found.changeZ[t] ?? null,
      found.outlierFrames.includes(t) ? 1 : 0,
    ]),
  )
  return [
    ...statsFiles({
      task,
      source,
      image: name,
      metrics: [...geometry, ...found.metrics],
      warnings,
      more: {
        outlierVolumes: flagged,
        outlierSlices: found.outlierSlices.map(([slice, t]) => ({ slice, volume: found.frames[t] })),
      },
    }),
    { path: 'volumes.tsv', content: series },
    { path: 'tsnr.nii.gz', content: encodeNifti(image, found.tsnr, 'temporal SNR, line removed') },
    { path: 'mean.nii.gz', content: encodeNifti(image, found.mean, 'mean over time') },
    {
      path: 'std.nii.gz',
      content: encodeNifti(image, found.deviation, 'standard deviation in time, line removed'),
    },
    { path: 'mask.nii.gz', content: encodeNifti(image, found.mask, 'mask') },
    { path: 'mosaic.png', content: encodePng((pictures[1] ?? pictures[0])!.raster) },
    { path: 'report.pdf', content: report },
  ]
})

async function repetitionTime(file: string): Promise<number | undefined> {
  let sidecar: unknown
  try {
    sidecar = JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw badData(path.basename(file), `it is no JSON: ${(error as Error).message}`, { cause: error })
  }
  const value = (sidecar as { RepetitionTime?: unknown } | null)?.RepetitionTime
  return typeof value === 'number' && value > 0 ? value : undefined
}

/** The next of 1, 2, 2.5, 5 times a power of ten. */
function niceTop(value: number): number {
  if (!(value > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value) ?? 10) * power
}
