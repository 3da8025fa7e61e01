/** Options of the folder archive in a site file. */

import { STATUS_VOCABULARIES } from '@orbweaver/core'
import { z } from 'zod'

export const folderConfig = z.strictObject({
  path: z.string().min(1).describe('Folder of the archive; relative to the site file.'),
  words: z
    .enum(STATUS_VOCABULARIES)
    .default('dax')
    .describe('Which status words people see: those of DAX, or those of the notebook.'),
})
export type FolderConfig = z.output<typeof folderConfig>
