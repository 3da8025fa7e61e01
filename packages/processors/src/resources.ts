/** Files that travel with this package. */

import { fileURLToPath } from 'node:url'

/** A bundled job script, or a file beside it. */
export function scriptPath(name: string, extension = 'mjs'): string {
  return fileURLToPath(new URL(`./scripts/${name}.${extension}`, import.meta.url))
}

/**
 * The sample archive: `bids/` is a BIDS dataset, `dicom/` a folder of DICOM files; `LICENSES.md` says where every image
 * comes from. To be read, never written.
 */
export function sampleDirectory(): string {
  return fileURLToPath(new URL('../sample', import.meta.url))
}
