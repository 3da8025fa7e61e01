/** The catalog of a resource as XML, as it lies beside the files on a real server. */

import { NAMESPACES } from '../model/types.js'
import { escapeXml } from '../model/xml.js'
import type { Resource } from '../state/archive.js'
import type { Site } from './site.js'

export function catalogXml(site: Site, { record, files }: Resource): string {
  const namespaces = ['arc', 'cat', 'pipe', 'prov', 'wrk', 'xdat', 'xnat'].map(
    (prefix) => ` xmlns:${prefix}="${NAMESPACES[prefix]?.uri ?? ''}"`,
  )
  const owner = site.archive.items.get(record.owner)
  const entries = [...files.values()].map((file) => {
    const attributes: Record<string, string> = {
      ID: file.path,
      URI: file.path,
      createdBy: file.createdBy,
      createdTime: new Date(file.createdMs).toISOString().replace('Z', ''),
      digest: file.digest,
      name: file.path.split('/').at(-1) ?? '',
    }
    if (file.format !== undefined) attributes.format = file.format
    if (file.content !== undefined) attributes.content = file.content
    if (file.description !== undefined) attributes.description = file.description
    const text = Object.entries(attributes).map(([name, value]) => ` ${name}="${escapeXml(value)}"`)
    const tags = (file.tags ?? []).map((tag) => `<cat:tag>${escapeXml(tag)}</cat:tag>`).join('')
    return tags === ''
      ? `\t<cat:entry${text.join('')}/>`
      : `\t<cat:entry${text.join('')}><cat:tags>${tags}</cat:tags></cat:entry>`
  })
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<cat:Catalog ID="${escapeXml(record.label)}"${namespaces.join('')} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">`,
    `<cat:metaFields>\n\t<cat:metaField name="PROJECT">${escapeXml(owner?.project ?? '')}</cat:metaField>\n</cat:metaFields>`,
    ...(entries.length === 0 ? [] : ['<cat:entries>', ...entries, '</cat:entries>']),
    '</cat:Catalog>',
    '',
  ].join('\n')
}
