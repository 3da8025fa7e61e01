/** After a crash: a file that was replaced on disk just before its record was written. */

import { stat } from 'node:fs/promises'
import type { Archive } from './archive.js'
import type { Blobs } from './blobs.js'

/** Records that do not fit what is on disk are brought up to date, or dropped where nothing is. */
export async function heal(archive: Archive, blobs: Blobs): Promise<void> {
  for (const resource of archive.resources.values()) {
    const { folder } = resource.record
    for (const file of [...resource.files.values()]) {
      const found = await stat(blobs.path(folder, file.path)).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
        throw error
      })
      if (found !== undefined && found.size === file.bytes && found.mtimeMs === file.mtimeMs) continue
      const measured = found === undefined ? undefined : await blobs.measure(folder, file.path)
      if (measured === undefined) archive.removeFile(resource, file.path)
      else archive.putFile(resource, { ...file, ...measured })
    }
  }
  await archive.flush()
}
