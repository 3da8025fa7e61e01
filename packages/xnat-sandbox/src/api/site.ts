/** What all handlers work with: the archive, its types, and who may do what. */

import type { Exchange } from '../http/exchange.js'
import type { FaultPlan } from '../http/faults.js'
import type { Sessions } from '../http/sessions.js'
import type { TypeRegistry } from '../model/registry.js'
import type { Actor, Archive } from '../state/archive.js'
import type { Blobs } from '../state/blobs.js'
import { KeyedLock } from '../state/locks.js'
import type { ItemRecord, ProjectRole } from '../state/records.js'

export interface SiteSettings {
  /** First part of generated IDs. */
  readonly siteId: string
  /** What `buildInfo` says. */
  readonly version: string
  /** Without a final slash; set when the server listens. */
  url: string
  /** Path under which everything lies, as `/xnat`; empty at the root. */
  readonly contextPath: string
  readonly requireLogin: boolean
  readonly tokenLifeMs: number
  readonly startedMs: number
}

export type Right = 'read' | 'edit' | 'delete'

const RIGHTS: Readonly<Record<ProjectRole, readonly Right[]>> = {
  owner: ['read', 'edit', 'delete'],
  member: ['read', 'edit'],
  collaborator: ['read'],
}

export class Site {
  /** For what must not happen twice at once to one resource. */
  readonly locks = new KeyedLock()

  constructor(
    readonly archive: Archive,
    readonly blobs: Blobs,
    readonly types: TypeRegistry,
    readonly sessions: Sessions,
    readonly faults: FaultPlan,
    readonly settings: SiteSettings,
  ) {}

  actor(exchange: Exchange): Actor {
    return { user: exchange.user, nowMs: exchange.nowMs }
  }

  roleIn(exchange: Exchange, project: string): ProjectRole | undefined {
    return this.archive.roles.get(project)?.get(exchange.user)
  }

  /** On the data of a project. */
  may(exchange: Exchange, right: Right, project: string): boolean {
    const item = this.archive.projects.get(project)
    if (item === undefined) return false
    if (exchange.admin) return true
    const role = this.roleIn(exchange, project)
    if (role !== undefined && RIGHTS[role].includes(right)) return true
    return right === 'read' && item.access === 'public'
  }

  /** The project itself, without its data. */
  maySeeProject(exchange: Exchange, project: string): boolean {
    return this.may(exchange, 'read', project) || this.archive.projects.get(project)?.access === 'protected'
  }

  /** An item is read through any project that it is in, and changed through its primary one. */
  mayItem(exchange: Exchange, right: Right, item: ItemRecord): boolean {
    if (item.kind === 'project')
      return right === 'read' ? this.maySeeProject(exchange, item.id) : this.may(exchange, right, item.id)
    if (this.may(exchange, right, item.project)) return true
    return (
      right === 'read' && item.shares?.some(({ project }) => this.may(exchange, 'read', project)) === true
    )
  }

  subjectOf(item: ItemRecord): ItemRecord | undefined {
    if (item.kind === 'subject') return item
    const holder = item.session === undefined ? item : this.archive.experiments.get(item.session)
    return holder?.subject === undefined ? undefined : this.archive.subjects.get(holder.subject)
  }

  sessionOf(item: ItemRecord): ItemRecord | undefined {
    return item.session === undefined ? undefined : this.archive.experiments.get(item.session)
  }
}

/** `yyyy-MM-dd HH:mm:ss.SSS` in UTC, zeros at the end cut to one digit at least. */
export function timestamp(ms: number): string {
  const whole = new Date(ms).toISOString().replace('T', ' ').replace('Z', '')
  return whole.replace(/(\.\d)(\d*?)0+$/, '$1$2')
}
