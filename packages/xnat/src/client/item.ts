/** A single element of XNAT with its children, from `format=json`. */

import { StoreProtocolError } from '@orbweaver/core'

export interface XnatItem {
  /** As `xnat:mrSessionData`. */
  readonly xsiType: string
  /** Only what is filled; values as text. Nested single elements are slash paths, as `validation/status`. */
  readonly fields: Readonly<Record<string, string>>
  /** Repeated elements by their path, as `scans/scan`, `out/file`, `parameters/addParam`. */
  readonly children: Readonly<Record<string, readonly XnatItem[]>>
}

/** @param path - for messages */
export function toItem(json: string, path: string): XnatItem {
  let parsed: unknown
  try {
    parsed = JSON.parse(json)
  } catch (error) {
    throw new StoreProtocolError(`The item ${path} cannot be read.`, {
      details: { path, raw: json.slice(0, 300) },
      cause: error,
    })
  }
  const items = (parsed as { readonly items?: unknown }).items
  const first: unknown = Array.isArray(items) ? items[0] : undefined
  if (typeof first !== 'object' || first === null) {
    throw new StoreProtocolError(`The item ${path} has no content.`, {
      details: { path, raw: json.slice(0, 300) },
    })
  }
  return itemOf(first)
}

interface RawItem {
  readonly meta?: Readonly<Record<string, unknown>>
  readonly data_fields?: Readonly<Record<string, unknown>>
  readonly children?: readonly { readonly field?: string; readonly items?: readonly RawItem[] }[]
}

function itemOf({ meta, data_fields: fields, children }: RawItem): XnatItem {
  const found: Record<string, XnatItem[]> = {}
  for (const { field = '', items = [] } of children ?? []) {
    ;(found[field] ??= []).push(...items.map(itemOf))
  }
  const type = meta?.['xsi:type']
  return {
    xsiType: typeof type === 'string' ? type : '',
    fields: Object.fromEntries(
      Object.entries(fields ?? {}).map(([key, value]) => [
        key,
        typeof value === 'string' ? value : JSON.stringify(value),
      ]),
    ),
    children: found,
  }
}
