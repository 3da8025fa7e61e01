/** The adapters of this package, as the command line loads them: `use: local` for jobs, `use: folder` for the archive. */

import type { AdapterDescriptor } from '@orbweaver/core'
import { localAdapter } from './backend/adapter.js'
import { folderAdapter } from './store/adapter.js'

export const adapters: readonly AdapterDescriptor[] = [localAdapter, folderAdapter]
