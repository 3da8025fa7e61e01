/** The folder archive as an adapter. */

import { resolve } from 'node:path'
import { DATA_STORE, defineAdapter } from '@orbweaver/core'
import { ContainerModule } from 'inversify'
import { folderConfig } from './config.js'
import { FolderStore } from './folder-store.js'

/** `use: folder`. The folder must hold an archive: a missing one is told by the first call, and by `doctor`. */
export const folderAdapter = defineAdapter({
  kind: 'data-store',
  name: 'folder',
  configSchema: folderConfig,
  module: ({ path, words }, { siteDirectory }) =>
    new ContainerModule(({ bind, onDeactivation }) => {
      bind(DATA_STORE)
        .toResolvedValue(() => new FolderStore({ path: resolve(siteDirectory, path), words }))
        .inSingletonScope()
      onDeactivation(DATA_STORE, (store) => store.close())
    }),
})
