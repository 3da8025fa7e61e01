/** Job: quality of a diffusion series. */

import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { noInput } from '../job/failure.js'
import { runJob, warn } from '../job/run.js'
import { companionOf, filesWith, imageOf, numberParam, sourceOf, stemOf } from '../job/task.js'
import { parseGradients } from '../imaging/gradients.js'
import { encodeNifti, readNifti } from '../imaging/nifti.js'
import { rasView } from '../imaging/orientation.js'
import { diverging, encodePng, gray, heat, mosaic } from '../imaging/raster.js'
import { inside, quantile, sorted } from '../imaging/statistics.js'
import { measureDiffusion } from '../qa/diffusion.js'
import { geometryMetrics, listedSlices, pageHead } from '../qa/shared.js'
import { caption, CONTENT_WIDTH, heading, INK, onePage, PAGE, picture, table } from '../report/page.js'
import { cellPlot, colourBar, plot } from '../report/plot.js'
import { statsFiles, tableRows, tsv } from '../report/stats.js'

await runJob(async (task) => {
  const source = sourceOf(task, 'image')
  const vectors = filesWith(source, '.bvec').map((file) => file.slice(0, -'.bvec'.length))
  const name = imageOf(source, (images) => images.filter((image) => vectors.includes(stemOf(image))))
  const gradientFile = async (extension: string, input: string): Promise<{ file: string; text: string }> => {
    const file = companionOf(task, source, name, extension, input)
    if (file === undefined) {
      throw noInput(
        `${name}: there is no ${extension} file beside it, nor in an input "${input}"; a diffusion series needs one.`,
      )
    }
    return { file: path.basename(file), text: await readFile(file, 'utf8') }
  }
  const b0Max = numberParam(task, 'b0Max', 50)
  const sliceOutlierZ = numberParam(task, 'sliceOutlierZ', 5)
  const [bval, bvec] = [await gradientFile('.bval', 'bval'), await gradientFile('.bvec', 'bvec')]
  const image = await readNifti(path.join(source.dir, name), name)
  const gradients = parseGradients(bval, bvec, image.volumes, b0Max)
  const found = measureDiffusion(image, gradients, { b0Max, sliceOutlierZ })
  const warnings: string[] = []
  for (const warning of found.warnings) warn(warnings, warning)

  const geometry = geometryMetrics(image)
  const flaggedVolumes = [...new Set(found.outlierSlices.map(([, t]) => t))].sort((a, b) => a - b)
  const alarms = [
    ...(flaggedVolumes.length > 0 ? [`Outlier slices: ${listedSlices(found.outlierSlices)}`] : []),
    ...warnings,
  ]

  const view = rasView(image.shape, image.voxelMm, image.affine)
  const rows = [{ plane: 'axial' as const, count: Math.min(view.shape[2], 9) }]
  const upTo = (data: Float64Array, q: number): readonly [number, number] => [
    0,
    quantile(sorted(inside(data, found.mask)), q),
  ]
  const hidden = found.tensor?.fa.map((value, v) => (found.mask[v] ? value : 0))
  const pictures = [
    ...(found.meanB0 === undefined
      ? []
      : [
          {
            title: 'Unweighted signal, mean',
            data: found.meanB0,
            window: upTo(found.meanB0, 0.99),
            colours: gray,
          },
        ]),
    {
      title: 'Weighted signal, mean',
      data: found.meanWeighted,
      window: upTo(found.meanWeighted, 0.99),
      colours: gray,
    },
    ...(found.tensor === undefined || hidden === undefined
      ? []
      : [
          { title: 'Fractional anisotropy', data: hidden, window: [0, 1] as const, colours: gray },
          {
            title: 'Mean diffusivity (µm²/ms)',
            data: found.tensor.md.map((value) => value * 1e3),
            window: [0, 3] as const,
            colours: heat,
          },
        ]),
  ].map((one) => ({ ...one, raster: mosaic(one.data, view, { ...one, rows, focus: found.mask, tile: 160 }) }))
  const anisotropy = pictures.find(({ title }) => title === 'Fractional anisotropy') ?? pictures[0]

  const report = await onePage(
    pageHead('Diffusion image quality', task, source, name, alarms),
    (doc, top) => {
      const { margin } = PAGE
      let y = top
      for (const one of pictures) {
        const start = heading(doc, one.title, margin, y, CONTENT_WIDTH)
        const end = picture(doc, one.raster, {
          x: margin,
          y: start,
          width: CONTENT_WIDTH - 44,
          height: pictures.length > 2 ? 68 : 110,
        })
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
      const plots = found.tensor === undefined ? 2 : 3
      const height = Math.min(190, (bottom - y) / plots)
      plot(
        doc,
        { x: margin, y, width: left, height: height - 6 },
        {
          title: 'Mean signal in the mask, volume by volume',
          xLabel: 'volume',
          yLabel: 'signal',
          series: [{ y: found.volumeMean, colour: INK.accent, dots: found.volumeMean.length < 12 }],
          flagged: flaggedVolumes,
          include: [0],
        },
      )
      cellPlot(
        doc,
        { x: margin, y: y + height, width: left, height: height - 6 },
        {
          title: 'Slices: robust z of the mean within the shell (grey: too few volumes or voxels)',
          xLabel: 'volume',
          yLabel: 'slice',
          rows: found.sliceZ.length,
          columns: image.volumes,
          value: (row, column) => found.sliceZ[row]?.[column] ?? NaN,
          window: [-sliceOutlierZ, sliceOutlierZ],
          colours: diverging,
          barLabel: '',
          flagged: found.outlierSlices,
        },
      )
      plot(
        doc,
        found.tensor === undefined
          ? { x: right, y: bottom - 150, width: side, height: 150 }
          : { x: margin, y: y + 2 * height, width: left, height: height - 6 },
        {
          title: 'Signal against b-value',
          xLabel: 'b (s/mm²)',
          yLabel: 'signal',
          series: [{ x: gradients.bValues, y: found.volumeMean, colour: INK.second, dots: true }],
          include: [0],
        },
      )
      const next = table(
        doc,
        tableRows(found.metrics),
        right,
        heading(doc, 'Diffusion', right, y, side),
        side,
      )
      table(doc, tableRows(geometry), right, heading(doc, 'Image', right, next + 10, side), side)
    },
  )

  const series = tsv(
    ['volume', 'b_value', 'direction_x', 'direction_y', 'direction_z', 'mean_signal', 'outlier_slices'],
    gradients.bValues.map((b, t) => [
      t,
      b,
      ...(gradients.directions[t] ?? [0, 0, 0]),
      found.volumeMean[t] ?? null,
      found.outlierSlices.filter(([, volume]) => volume === t).length,
    ]),
  )
  return [
    ...statsFiles({
      task,
      source,
      image: name,
      metrics: [...geometry, ...found.metrics],
      warnings,
      more: { outlierSlices: found.outlierSlices.map(([slice, volume]) => ({ slice, volume })) },
    }),
    { path: 'volumes.tsv', content: series },
    ...(found.tensor === undefined
      ? []
      : [
          { path: 'fa.nii.gz', content: encodeNifti(image, found.tensor.fa, 'fractional anisotropy') },
          { path: 'md.nii.gz', content: encodeNifti(image, found.tensor.md, 'mean diffusivity, mm2/s') },
        ]),
    { path: 'mask.nii.gz', content: encodeNifti(image, found.mask, 'mask') },
    ...(found.meanB0 === undefined
      ? []
      : [{ path: 'mean-b0.nii.gz', content: encodeNifti(image, found.meanB0, 'mean unweighted signal') }]),
    ...(anisotropy === undefined ? [] : [{ path: 'mosaic.png', content: encodePng(anisotropy.raster) }]),
    { path: 'report.pdf', content: report },
  ]
})
