/** What the sandbox keeps, as plain data: each record is one line of the journal. */

import type { Element } from '../model/element.js'

export type ItemKind = 'project' | 'subject' | 'experiment' | 'scan' | 'reconstruction'

/** A project, subject, experiment (session, assessor, subject assessor), scan or reconstruction. */
export interface ItemRecord {
  readonly kind: ItemKind
  /** Number of the row, unique in the sandbox; scans show it as `xnat_imagescandata_id`. */
  readonly key: number
  id: string
  /** Projects have none; a scan's is its ID. */
  label: string
  type: string
  /** Primary project. For a project its own ID. */
  project: string
  /** ID of the subject, of experiments that have one. */
  subject?: string
  /** ID of the session, of scans, reconstructions and image assessors. */
  session?: string
  shares?: Share[]
  /** Fields but those above. */
  data: Element
  /** Epoch milliseconds. */
  readonly insertedMs: number
  readonly insertedBy: string
  modifiedMs: number
  modifiedBy: string
  status?: 'active' | 'quarantine' | 'locked' | 'obsolete'
  /** Projects: who may see it. */
  access?: Accessibility
}

export interface Share {
  readonly project: string
  readonly label: string
}

export type Accessibility = 'private' | 'protected' | 'public'

/** Where a resource hangs on its owner: `file` of scans, `in` and `out` of assessors and reconstructions. */
export type Slot = 'resources' | 'file' | 'in' | 'out'

export interface ResourceRecord {
  readonly key: number
  /** Key of the item it belongs to. */
  readonly owner: number
  readonly slot: Slot
  label: string
  format?: string
  content?: string
  description?: string
  tags: string[]
  /** Below the archive folder, with `/`; never changes, whatever labels become. */
  readonly folder: string
  readonly insertedMs: number
  readonly insertedBy: string
  modifiedMs: number
  /** Counters that are behind, because an upload asked not to have them brought up to date. */
  stale?: { readonly count: number; readonly bytes: number }
}

export interface FileRecord {
  /** Relative to the resource. */
  readonly path: string
  readonly bytes: number
  /** MD5, lower case. */
  readonly digest: string
  readonly format?: string
  readonly content?: string
  readonly description?: string
  readonly tags?: readonly string[]
  /** Of the file on disk, to notice a change that a crash left unrecorded. */
  readonly mtimeMs: number
  readonly createdMs: number
  readonly createdBy: string
}

export type ProjectRole = 'owner' | 'member' | 'collaborator'

export interface UserRecord {
  readonly name: string
  password: string
  admin: boolean
  enabled: boolean
  firstName: string
  lastName: string
  email: string
}

export interface TokenRecord {
  readonly id: number
  readonly alias: string
  readonly secret: string
  readonly user: string
  readonly createdMs: number
  readonly expiresMs: number
}

export interface WorkflowRecord {
  readonly key: number
  fields: Record<string, string>
  readonly user: string
}

export interface StoredSearchRecord {
  readonly id: string
  readonly user: string
  readonly xml: string
}

/** One line of the journal. */
export type Change =
  | { readonly o: 'item'; readonly r: ItemRecord }
  | { readonly o: 'item-'; readonly k: number }
  | { readonly o: 'resource'; readonly r: ResourceRecord }
  | { readonly o: 'resource-'; readonly k: number }
  | { readonly o: 'file'; readonly k: number; readonly r: FileRecord }
  | { readonly o: 'file-'; readonly k: number; readonly p: string }
  | { readonly o: 'user'; readonly r: UserRecord }
  | { readonly o: 'user-'; readonly n: string }
  | { readonly o: 'role'; readonly p: string; readonly u: string; readonly r?: ProjectRole }
  | { readonly o: 'token'; readonly r: TokenRecord }
  | { readonly o: 'token-'; readonly a: string }
  | { readonly o: 'workflow'; readonly r: WorkflowRecord }
  | { readonly o: 'search'; readonly r: StoredSearchRecord }
  | { readonly o: 'search-'; readonly i: string }
  | { readonly o: 'setting'; readonly n: string; readonly v: string }
  /** Numbers in use: `k` of rows, `s` of subject IDs, `e` of experiment IDs. They never go back. */
  | { readonly o: 'numbers'; readonly k: number; readonly s: number; readonly e: number }
