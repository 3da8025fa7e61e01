/** What importers hand to the folder archive: one resource a time, with the local files that belong in it. */

import type { CallOptions } from '@orbweaver/core'

export interface IngestFile {
  /** Where it goes in the resource: relative, with `/` between parts. */
  readonly path: string
  /** Where it is now: an absolute path on this machine. Only read. */
  readonly source: string
  /** Always copied, also with `link`: the source goes away after the import (a merged sidecar). Default: false. */
  readonly copy?: boolean
}

/** One resource of one node. Nodes that are missing are made; several items may name the same resource. */
export interface IngestItem {
  readonly project: string
  readonly subject: string
  /** Absent: a resource of the subject. */
  readonly session?: string
  /** Needs `session`. Absent: a resource of the session. */
  readonly scan?: IngestScan
  readonly resource: string
  readonly files: readonly IngestFile[]
  /** Of the session: `MR`, `PET`, … */
  readonly modality?: string
  /** Of the session: `YYYY-MM-DD`. */
  readonly date?: string
}

export interface IngestScan {
  readonly label: string
  readonly type: string
  /** Default for a new scan: `usable`. Left out for a scan that is there: its quality stays. */
  readonly quality?: string
  readonly description?: string
}

export interface IngestProgress {
  /** Resources looked at so far. */
  readonly resources: number
  /** Files copied or linked so far, and their size. */
  readonly files: number
  readonly bytes: number
  /** The item just done. */
  readonly item: IngestItem
}

export interface IngestOptions extends CallOptions {
  /**
   * Do not copy: a hard link where source and archive share a file system, else a symbolic link to the real path. The
   * file must stay as it is; a later change is noticed by `check` and refused on download. Default: false.
   */
  readonly link?: boolean
  /** Remove files of a resource that the import does not name. Default: false, nothing is lost. */
  readonly prune?: boolean
  readonly onProgress?: (progress: IngestProgress) => void
}

/** Resources by what became of them, and what was moved. */
export interface IngestSummary {
  readonly created: number
  readonly unchanged: number
  readonly changed: number
  /** Files copied or linked in this run. */
  readonly files: number
  readonly bytes: number
  /** Of `files`: those that are links. */
  readonly linked: number
}
