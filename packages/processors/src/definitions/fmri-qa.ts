import { defineProcessor } from '@orbweaver/core'
import { z } from 'zod'
import { scriptPath } from '../resources.js'
import { FUNCTIONAL } from './scan-types.js'

/** Stability of every functional run in time. */
export const fmriQa = defineProcessor({
  name: 'fmri-qa',
  version: '1.0.0',
  level: 'scan',
  description:
    'Quality of a functional series: tSNR, drift, spikes, framewise change; maps, plots; one page.',
  inputs: {
    image: { scan: { type: FUNCTIONAL }, resource: 'NIFTI', orFrom: { type: 'dcm2niix' } },
    json: { resource: 'JSON', optional: true },
  },
  params: z.object({
    /** Robust z beyond which a volume is an outlier. */
    outlierZ: z.number().positive().default(3.5),
    /** The same for a slice of one volume. */
    sliceOutlierZ: z.number().positive().default(5),
    /** Leading volumes to leave out. */
    skipVolumes: z.int().nonnegative().default(0),
  }),
  requirements: { cpus: 1, memory: '4 GiB', walltime: '1h' },
  script: { path: scriptPath('fmri-qa') },
  canRun: ({ scan }) =>
    scan !== undefined && /sbref/i.test(scan.type) ? 'a single-band reference is no series in time' : true,
  outputs: {
    PDF: { path: 'report.pdf', required: true },
    STATS: { path: ['stats.json', 'stats.tsv', 'volumes.tsv'], required: true },
    MAPS: { path: ['tsnr.nii.gz', 'mean.nii.gz', 'std.nii.gz', 'mask.nii.gz'], required: true },
    SNAPSHOTS: { path: 'mosaic.png', required: true },
  },
})
