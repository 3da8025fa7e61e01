/**
 * Ready processors that compute, and the sample archive to try them on.
 *
 * @packageDocumentation
 */

import type { ProcessorDefinition } from '@orbweaver/core'
import { dcm2niix } from './definitions/dcm2niix.js'
import { dtiQa } from './definitions/dti-qa.js'
import { fmriQa } from './definitions/fmri-qa.js'
import { FreesurferProcessor } from './definitions/freesurfer.js'
import { niftiQa } from './definitions/nifti-qa.js'

export { dcm2niix } from './definitions/dcm2niix.js'
export { dtiQa } from './definitions/dti-qa.js'
export { fmriQa } from './definitions/fmri-qa.js'
export { FreesurferProcessor, type FreesurferOptions } from './definitions/freesurfer.js'
export { niftiQa } from './definitions/nifti-qa.js'
export { sampleDirectory } from './resources.js'

/** By name, as a site file names them. */
export const readyProcessors: ReadonlyMap<string, ProcessorDefinition> = new Map(
  [dcm2niix, niftiQa, fmriQa, dtiQa, new FreesurferProcessor()].map((processor) => [
    processor.name,
    // Their parameters differ in type; the engine validates parameters against the schema of each.
    processor as unknown as ProcessorDefinition,
  ]),
)
