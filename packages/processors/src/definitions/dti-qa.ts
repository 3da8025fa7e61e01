import { defineProcessor } from '@orbweaver/core'
import { z } from 'zod'
import { scriptPath } from '../resources.js'
import { DIFFUSION } from './scan-types.js'

/** Signal of every diffusion series, and its tensor where the directions allow one. */
export const dtiQa = defineProcessor({
  name: 'dti-qa',
  version: '1.0.0',
  level: 'scan',
  description:
    'Quality of a diffusion series: signal a volume, outlier slices, tensor, FA and MD maps; one page.',
  inputs: {
    image: { scan: { type: DIFFUSION }, resource: 'NIFTI', orFrom: { type: 'dcm2niix' } },
    bval: { resource: ['BVAL', 'BVALS'], optional: true },
    bvec: { resource: ['BVEC', 'BVECS'], optional: true },
  },
  params: z.object({
    /** Volumes up to this b-value (s/mm²) count as unweighted. */
    b0Max: z.number().nonnegative().default(50),
    /** Robust z beyond which a slice of one volume is an outlier. */
    sliceOutlierZ: z.number().positive().default(5),
  }),
  requirements: { cpus: 1, memory: '4 GiB', walltime: '1h' },
  script: { path: scriptPath('dti-qa') },
  canRun: ({ scan }) =>
    scan !== undefined && /(^|[_ -])(adc|fa|colfa|tracew?|tensor|sbref)$/i.test(scan.type)
      ? `"${scan.type}" is a map made from a diffusion series, or its reference`
      : true,
  outputs: {
    PDF: { path: 'report.pdf', required: true },
    STATS: { path: ['stats.json', 'stats.tsv', 'volumes.tsv'], required: true },
    MAPS: { path: ['fa.nii.gz', 'md.nii.gz', 'mask.nii.gz', 'mean-b0.nii.gz'], required: true },
    SNAPSHOTS: { path: 'mosaic.png', required: true },
  },
})
