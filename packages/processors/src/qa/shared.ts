/** What the three QA jobs have in common. */

import path from 'node:path'
import { stemOf, type JobSource, type JobTask } from '../job/task.js'
import type { NiftiImage } from '../imaging/nifti.js'
import { orientationOf } from '../imaging/orientation.js'
import { readableRef, type Metric } from '../report/stats.js'
import type { PageHead } from '../report/page.js'

export function geometryMetrics(image: NiftiImage): Metric[] {
  const [nx, ny, nz] = image.shape
  const millimetres = image.voxelMm.map((size) => Number(size.toPrecision(7)))
  const size = image.volumes > 1 ? `${nx} × ${ny} × ${nz} × ${image.volumes}` : `${nx} × ${ny} × ${nz}`
  const defined = (what: string): string => `${what} From the header.`
  return [
    { name: 'dim_i', value: nx, definition: defined('Voxels along the first axis.') },
    { name: 'dim_j', value: ny, definition: defined('Voxels along the second axis.') },
    { name: 'dim_k', value: nz, definition: defined('Voxels along the third axis.') },
    { name: 'volumes', value: image.volumes, definition: defined('Length of the fourth axis.') },
    { name: 'dimensions', value: size, label: 'Dimensions', definition: defined('All of them.') },
    ...['i', 'j', 'k'].map((axis, n) => ({
      name: `voxel_${axis}_mm`,
      value: millimetres[n] ?? null,
      unit: 'mm',
      definition: defined(`Voxel size along ${axis}.`),
    })),
    {
      name: 'voxel_size',
      value: millimetres.map((size_) => String(Number(size_.toPrecision(4)))).join(' × '),
      unit: 'mm',
      label: 'Voxel size',
      definition: defined('All three.'),
    },
    {
      name: 'orientation',
      value: orientationOf(image.affine).letters,
      label: `Orientation (${image.affineFrom})`,
      definition: 'Where the three voxel axes point: Right/Left, Anterior/Posterior, Superior/Inferior.',
    },
    {
      name: 'orientation_from',
      value: image.affineFrom,
      definition: 'sform before qform before voxel size alone.',
    },
    {
      name: 'datatype',
      value: image.datatype,
      label: 'Stored as',
      definition: defined('Type of a voxel in the file.'),
    },
    { name: 'scale_slope', value: image.slope, definition: defined('Applied to every stored value.') },
    { name: 'scale_intercept', value: image.intercept, definition: defined('Added to every stored value.') },
  ]
}

export function pageHead(
  title: string,
  task: JobTask,
  source: JobSource,
  image: string,
  alarms: readonly string[],
): PageHead {
  const type = source.type === undefined ? '' : `   ${source.type}`
  return {
    title,
    subject: `${readableRef(source.ref)}${type}`,
    details: [`${path.posix.basename(image)}   ${task.label}`],
    made: `${task.processor.name} ${task.processor.version}`,
    alarms:
      alarms.length > 4 ? [...alarms.slice(0, 3), `… and ${alarms.length - 3} more; see stats.json`] : alarms,
  }
}

/** For file names of results. */
export const baseName = (image: string): string => path.posix.basename(stemOf(image))

/** `volume 0 (slices 1, 2); volume 4 (slice 7)` of pairs of slice and volume. */
export function listedSlices(pairs: readonly (readonly [slice: number, volume: number])[], most = 4): string {
  const byVolume = new Map<number, number[]>()
  for (const [slice, volume] of pairs) byVolume.set(volume, [...(byVolume.get(volume) ?? []), slice])
  const parts = [...byVolume]
    .sort(([a], [b]) => a - b)
    .map(([volume, slices]) => `volume ${volume} (slice${slices.length > 1 ? 's' : ''} ${listed(slices, 6)})`)
  return parts.length > most
    ? `${parts.slice(0, most).join('; ')}; … (${pairs.length} in all)`
    : parts.join('; ')
}

/** `1, 4, 9` of indices from 0; people count volumes and slices from 0 here, as the plots and FSL do. */
export function listed(indices: readonly number[], most = 8): string {
  const shown = indices.slice(0, most).join(', ')
  return indices.length > most ? `${shown}, … (${indices.length} in all)` : shown
}
