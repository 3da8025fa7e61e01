import type { ItemRecord } from '../state/records.js'
import type { Site } from './site.js'

/** Remove an item with all that hangs on it; its files only where asked, as the server does. */
export async function removeItem(site: Site, item: ItemRecord, removeFiles: boolean): Promise<void> {
  const folders = site.archive.remove(item)
  if (item.kind === 'project')
    for (const user of site.archive.roles.get(item.id)?.keys() ?? [])
      site.archive.record({ o: 'role', p: item.id, u: user })
  await site.archive.flush()
  if (removeFiles) for (const folder of folders) await site.blobs.removeFolder(folder)
}
