import { defineProcessor } from '@orbweaver/core'
import { scriptPath } from '../resources.js'
import { ANATOMICAL } from './scan-types.js'

/** Signal, noise and a look at every anatomical image, as NIfTI or as `dcm2niix` made it. */
export const niftiQa = defineProcessor({
  name: 'nifti-qa',
  version: '1.0.0',
  level: 'scan',
  description: 'Quality of an anatomical image: geometry, SNR, intensities, slices; one page.',
  inputs: { image: { scan: { type: ANATOMICAL }, resource: 'NIFTI', orFrom: { type: 'dcm2niix' } } },
  requirements: { cpus: 1, memory: '2 GiB', walltime: '30m' },
  script: { path: scriptPath('nifti-qa') },
  outputs: {
    PDF: { path: 'report.pdf', required: true },
    STATS: { path: ['stats.json', 'stats.tsv'], required: true },
    SNAPSHOTS: { path: 'mosaic.png', required: true },
  },
})
