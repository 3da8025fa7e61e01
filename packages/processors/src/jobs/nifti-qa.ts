/** Job: quality of an anatomical image. */

import path from 'node:path'
import { runJob, warn } from '../job/run.js'
import { imageOf, sourceOf } from '../job/task.js'
import { readNifti } from '../imaging/nifti.js'
import { rasView } from '../imaging/orientation.js'
import { encodePng, mosaic } from '../imaging/raster.js'
import { histogram, quantile, type Numbers } from '../imaging/statistics.js'
import { measureHead } from '../qa/head.js'
import { geometryMetrics, pageHead } from '../qa/shared.js'
import {
  caption,
  CONTENT_WIDTH,
  heading,
  INK,
  onePage,
  PAGE,
  picture,
  table,
  type TableRow,
} from '../report/page.js'
import { plot } from '../report/plot.js'
import { statsFiles, tableRows } from '../report/stats.js'

await runJob(async (task) => {
  const source = sourceOf(task, 'image')
  const name = imageOf(source)
  const image = await readNifti(path.join(source.dir, name), name)
  const { data, ascending, masks, metrics, warnings, window } = measureHead(image)
  const noted: string[] = []
  for (const warning of warnings) warn(noted, warning)

  const geometry = geometryMetrics(image)
  const view = rasView(image.shape, image.voxelMm, image.affine)
  const slices = mosaic(data, view, {
    rows: [
      { plane: 'axial', count: 6, of: 12 },
      { plane: 'axial', count: 6, of: 12, after: 6 },
      { plane: 'coronal', count: 6 },
      { plane: 'sagittal', count: 6 },
    ],
    window,
    focus: masks.foreground,
    tile: 220,
  })

  // Whole steps for whole numbers: bins of different numbers of them would look like a comb.
  const low = Math.min(0, window[0])
  const step = (quantile(ascending, 0.9995) - low) / 90
  const width = image.datatype.includes('int') && image.slope === 1 ? Math.max(1, Math.ceil(step)) : step
  const centres = Float64Array.from({ length: 90 }, (_, bin) => low + (bin + 0.5) * width)
  const below = masks.foreground.map((voxel) => 1 - voxel)
  // Most voxels are air: a logarithm, or the head could not be seen beside it.
  const share = (mask: Uint8Array): Numbers =>
    histogram(data, 90, low, low + 90 * width, mask).counts.map((voxels) =>
      voxels > 0 ? Math.log10((100 * voxels) / data.length) : NaN,
    )

  const report = await onePage(
    pageHead('Anatomical image quality', task, source, name, noted),
    (doc, top) => {
      const { margin } = PAGE
      const end = picture(doc, slices, { x: margin, y: top, width: CONTENT_WIDTH, height: 440 }).bottom
      const y = caption(
        doc,
        `Axial, coronal, sagittal. The left of a picture is the left of the body. Window ${window.map((v) => v.toFixed(0)).join(' to ')}.`,
        margin,
        end,
        CONTENT_WIDTH,
      )
      const half = (CONTENT_WIDTH - 24) / 2
      const right = margin + half + 24
      const row = y + 6
      const bottom = PAGE.height - 40
      const [intensities, signal] = [true, false].map((wanted) =>
        tableRows(metrics.filter(({ name: metric }) => metric.startsWith('intensity_') === wanted)),
      ) as [TableRow[], TableRow[]]
      const leftEnd = table(doc, signal, margin, heading(doc, 'Signal and noise', margin, row, half), half)
      const imageEnd = table(doc, tableRows(geometry), right, heading(doc, 'Image', right, row, half), half)
      const next = heading(doc, 'All voxels', right, imageEnd + 8, half)
      const rightEnd = table(doc, intensities, right, next, half)
      const start = Math.max(leftEnd, rightEnd) + 8
      plot(
        doc,
        { x: margin, y: start, width: CONTENT_WIDTH, height: bottom - start },
        {
          title: 'Distribution of intensities',
          xLabel: 'intensity',
          yLabel: 'share of voxels (log10 of %)',
          series: [
            { x: centres, y: share(below), colour: INK.second, label: 'below threshold', filled: true },
            { x: centres, y: share(masks.foreground), colour: INK.accent, label: 'foreground', filled: true },
          ],
          marks: [{ x: masks.threshold, label: 'Otsu' }],
        },
      )
    },
  )

  return [
    ...statsFiles({ task, source, image: name, metrics: [...geometry, ...metrics], warnings: noted }),
    { path: 'mosaic.png', content: encodePng(slices) },
    { path: 'report.pdf', content: report },
  ]
})
