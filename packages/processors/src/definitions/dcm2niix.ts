import { defineProcessor } from '@orbweaver/core'
import { scriptPath } from '../resources.js'

/** DICOM to NIfTI with sidecars, by dcm2niix as WebAssembly: a node needs nothing but `node`. */
export const dcm2niix = defineProcessor({
  name: 'dcm2niix',
  version: '1.0.0',
  level: 'scan',
  description: 'DICOM to NIfTI with JSON sidecar, b-values and b-vectors.',
  inputs: { dicom: { scan: { type: '*' }, resource: 'DICOM' } },
  requirements: { cpus: 1, memory: '4 GiB', walltime: '1h' },
  script: { path: scriptPath('dcm2niix'), files: [scriptPath('dcm2niix', 'wasm')] },
  canRun: ({ scan }) =>
    scan === undefined || scan.resources.some(({ label }) => label === 'DICOM')
      ? true
      : `scan ${scan.label} has no DICOM resource`,
  outputs: {
    NIFTI: { path: ['*.nii.gz', '*.json', '*.bval', '*.bvec'], required: true },
    STATS: { path: 'stats/*', required: true },
  },
})
