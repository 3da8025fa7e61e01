/** Resources and files as XNAT lists them. */

import type { Checksum } from '@orbweaver/core'
import type { XnatRow } from './result-set.js'

/** A resource as XNAT lists it. */
export interface XnatResource {
  readonly label: string
  /** XNAT's own number. */
  readonly id: string
  /** Kept by the server; absent when it has not counted. */
  readonly fileCount?: number
  readonly bytes?: number
  readonly format: string
  readonly content: string
  /** `resources`, `scans`, `assessors` or `reconstructions`. */
  readonly category: string
  /** Of which scan or assessor. */
  readonly ownerId: string
}

/** A file as XNAT lists it. */
export interface XnatFile {
  /** Below the resource, with folders. */
  readonly path: string
  readonly bytes: number
  /** Absent where the site keeps no checksums. */
  readonly checksum?: Checksum
  readonly format: string
  readonly content: string
  readonly tags: string
  /** As the server wrote it, decoded. */
  readonly uri: string
  /** Label of the resource, where the server says it. */
  readonly resource?: string
}

export function toResource(row: XnatRow): XnatResource {
  const fileCount = numberIn(row.file_count)
  const bytes = numberIn(row.file_size)
  return {
    label: row.label ?? '',
    id: row.xnat_abstractresource_id ?? '',
    ...(fileCount !== undefined && { fileCount }),
    ...(bytes !== undefined && { bytes }),
    format: row.format ?? '',
    content: row.content ?? '',
    category: row.category ?? '',
    ownerId: row.cat_id ?? '',
  }
}

export function toFile(row: XnatRow): XnatFile {
  const uri = plainPath(row.uri ?? '', row.name ?? '')
  // `Name` loses folders; the path is what follows `/files/` after the resource. A folder may be called `files` as well.
  const path = /\/resources\/[^/]+\/files\/(.+)$/s.exec(uri)?.[1] ?? row.name ?? ''
  const digest = (row.digest ?? '').toLowerCase()
  return {
    path,
    bytes: numberIn(row.size) ?? 0,
    ...(/^[0-9a-f]{32}$/.test(digest) && { checksum: { algorithm: 'md5', hex: digest } as const }),
    format: row.file_format ?? '',
    content: row.file_content ?? '',
    tags: row.file_tags ?? '',
    uri,
    resource: row.collection ?? '',
  }
}

/** URIs in listings are encoded or not, by version: `Name` is not, and tells which. */
function plainPath(uri: string, name: string): string {
  if (uri.endsWith(`/${name}`)) return uri
  try {
    return decodeURIComponent(uri)
  } catch (error) {
    if (error instanceof URIError) return uri
    throw error
  }
}

export function numberIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
}
