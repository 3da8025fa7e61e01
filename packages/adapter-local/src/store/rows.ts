/** Rows of the database as plain data of the domain. */

import type { FileEntry } from '@orbweaver/core'

export function toFileEntry(row: {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}): FileEntry {
  return { path: row.path, bytes: row.bytes, checksum: { algorithm: 'sha256', hex: row.sha256 } }
}
