/** Everything the sandbox holds, in memory, with the indexes that requests need. Every change goes to the journal. */

import { Journal } from './journal.js'
import type {
  Change,
  FileRecord,
  ItemRecord,
  ProjectRole,
  ResourceRecord,
  Slot,
  StoredSearchRecord,
  TokenRecord,
  UserRecord,
  WorkflowRecord,
} from './records.js'

export interface Resource {
  readonly record: ResourceRecord
  /** The catalog: entries by path, in the order in which they came. */
  readonly files: Map<string, FileRecord>
  /** Goes up with every change of the catalog: two writers notice each other by it. */
  version: number
  /** Sum of the sizes. */
  bytes: number
}

type NewItem = Omit<ItemRecord, 'key' | 'insertedMs' | 'insertedBy' | 'modifiedMs' | 'modifiedBy'>

/** Who changes something, and when. */
export interface Actor {
  readonly user: string
  readonly nowMs: number
}

export class Archive {
  readonly items = new Map<number, ItemRecord>()
  readonly projects = new Map<string, ItemRecord>()
  readonly subjects = new Map<string, ItemRecord>()
  readonly experiments = new Map<string, ItemRecord>()
  readonly resources = new Map<number, Resource>()
  readonly users = new Map<string, UserRecord>()
  /** project → user → role */
  readonly roles = new Map<string, Map<string, ProjectRole>>()
  readonly tokens = new Map<string, TokenRecord>()
  readonly workflows = new Map<number, WorkflowRecord>()
  readonly searches = new Map<string, StoredSearchRecord>()
  readonly settings = new Map<string, string>()
  /** Goes up with every change of anything. */
  version = 0

  readonly #subjectsIn = new Map<string, Map<string, ItemRecord>>()
  readonly #experimentsIn = new Map<string, Map<string, ItemRecord>>()
  readonly #experimentsOf = new Map<string, Map<number, ItemRecord>>()
  readonly #assessorsOf = new Map<string, Map<number, ItemRecord>>()
  readonly #scansOf = new Map<string, Map<string, ItemRecord>>()
  readonly #reconstructionsOf = new Map<string, Map<string, ItemRecord>>()
  readonly #resourcesOf = new Map<number, Map<number, Resource>>()
  readonly #folders = new Map<string, number>()
  readonly #numbers = { k: 0, s: 0, e: 0 }
  #journal!: Journal

  static async open(file: string): Promise<Archive> {
    const archive = new Archive()
    archive.#journal = await Journal.open(
      file,
      (change) => archive.#apply(change),
      () => archive.#live(),
    )
    return archive
  }

  /** All changes so far are on disk. */
  async flush(): Promise<void> {
    await this.#journal.flush()
  }

  async close(): Promise<void> {
    await this.#journal.close()
  }

  // -- looking

  subjectIn(project: string, idOrLabel: string): ItemRecord | undefined {
    const byLabel = this.#subjectsIn.get(project)?.get(idOrLabel)
    if (byLabel !== undefined) return byLabel
    const byId = this.subjects.get(idOrLabel)
    return byId !== undefined && isIn(byId, project) ? byId : undefined
  }

  experimentIn(project: string, idOrLabel: string): ItemRecord | undefined {
    const byLabel = this.#experimentsIn.get(project)?.get(idOrLabel)
    if (byLabel !== undefined) return byLabel
    const byId = this.experiments.get(idOrLabel)
    return byId !== undefined && isIn(byId, project) ? byId : undefined
  }

  /** Own and shared ones. */
  subjectsIn(project: string): Iterable<ItemRecord> {
    return this.#subjectsIn.get(project)?.values() ?? []
  }

  /** Own and shared ones; assessors too. */
  experimentsIn(project: string): Iterable<ItemRecord> {
    return this.#experimentsIn.get(project)?.values() ?? []
  }

  /** Sessions and other subject assessors; no image assessors. */
  experimentsOf(subject: string): Iterable<ItemRecord> {
    return this.#experimentsOf.get(subject)?.values() ?? []
  }

  assessorsOf(session: string): Iterable<ItemRecord> {
    return this.#assessorsOf.get(session)?.values() ?? []
  }

  scansOf(session: string): Iterable<ItemRecord> {
    return this.#scansOf.get(session)?.values() ?? []
  }

  scan(session: string, id: string): ItemRecord | undefined {
    return this.#scansOf.get(session)?.get(id)
  }

  reconstructionsOf(session: string): Iterable<ItemRecord> {
    return this.#reconstructionsOf.get(session)?.values() ?? []
  }

  reconstruction(session: string, id: string): ItemRecord | undefined {
    return this.#reconstructionsOf.get(session)?.get(id)
  }

  resourcesOf(item: ItemRecord, slot?: Slot): readonly Resource[] {
    const all = [...(this.#resourcesOf.get(item.key)?.values() ?? [])]
    return slot === undefined ? all : all.filter(({ record }) => record.slot === slot)
  }

  /** The label that an item has in a project: that of the share, where it is shared there. */
  labelIn(item: ItemRecord, project: string | undefined): string {
    if (project === undefined || project === item.project) return item.label
    return item.shares?.find((share) => share.project === project)?.label ?? item.label
  }

  // -- changing

  nextId(siteId: string, kind: 'S' | 'E'): string {
    for (;;) {
      const number = kind === 'S' ? (this.#numbers.s += 1) : (this.#numbers.e += 1)
      const id = `${siteId}_${kind}${String(number).padStart(5, '0')}`
      if (!this.subjects.has(id) && !this.experiments.has(id)) return id
    }
  }

  create(item: NewItem, { user, nowMs }: Actor): ItemRecord {
    const record: ItemRecord = {
      ...item,
      key: this.#nextKey(),
      insertedMs: nowMs,
      insertedBy: user,
      modifiedMs: nowMs,
      modifiedBy: user,
    }
    this.#record({ o: 'item', r: record })
    return record
  }

  /** @param change - changes the record in place: labels, type and project may change, the key may not */
  update(item: ItemRecord, { user, nowMs }: Actor, change: (item: ItemRecord) => void): void {
    this.#unlink(item)
    try {
      change(item)
      item.modifiedMs = Math.max(nowMs, item.modifiedMs)
      item.modifiedBy = user
    } finally {
      this.#link(item)
    }
    this.#append({ o: 'item', r: item })
  }

  /** Something below it changed. */
  touch(item: ItemRecord, actor: Actor): void {
    this.update(item, actor, () => undefined)
  }

  /** With all that hangs on it. @returns the folders of the resources that went */
  remove(item: ItemRecord): readonly string[] {
    const folders: string[] = []
    const below =
      item.kind === 'project'
        ? [...this.subjectsIn(item.id), ...this.experimentsIn(item.id)].filter(
            ({ project }) => project === item.id,
          )
        : item.kind === 'subject'
          ? [...this.experimentsOf(item.id)]
          : item.kind === 'experiment'
            ? [...this.assessorsOf(item.id), ...this.scansOf(item.id), ...this.reconstructionsOf(item.id)]
            : []
    for (const inner of below) if (this.items.has(inner.key)) folders.push(...this.remove(inner))
    for (const resource of this.resourcesOf(item)) folders.push(this.removeResource(resource))
    this.#record({ o: 'item-', k: item.key })
    return folders
  }

  createResource(
    owner: ItemRecord,
    wanted: Pick<ResourceRecord, 'slot' | 'label' | 'tags'> &
      Partial<Pick<ResourceRecord, 'format' | 'content' | 'description'>>,
    folder: string,
    { user, nowMs }: Actor,
  ): Resource {
    const key = this.#nextKey()
    // Another resource may live there still: a session was renamed, and a new one got its old label.
    const free = this.#folders.has(folder) ? `${folder}~${key}` : folder
    const record: ResourceRecord = {
      ...wanted,
      key,
      owner: owner.key,
      folder: free,
      insertedMs: nowMs,
      insertedBy: user,
      modifiedMs: nowMs,
    }
    this.#record({ o: 'resource', r: record })
    return this.#resource(key)
  }

  updateResource(resource: Resource, nowMs: number, change: (record: ResourceRecord) => void): void {
    change(resource.record)
    resource.record.modifiedMs = nowMs
    resource.version += 1
    this.#append({ o: 'resource', r: resource.record })
  }

  removeResource(resource: Resource): string {
    this.#record({ o: 'resource-', k: resource.record.key })
    return resource.record.folder
  }

  putFile(resource: Resource, file: FileRecord): void {
    this.#record({ o: 'file', k: resource.record.key, r: file })
  }

  removeFile(resource: Resource, path: string): void {
    this.#record({ o: 'file-', k: resource.record.key, p: path })
  }

  /** Users, roles, tokens, workflows, searches and settings. */
  record(
    change: Exclude<
      Change,
      { readonly o: 'item' | 'item-' | 'resource' | 'resource-' | 'file' | 'file-' | 'numbers' }
    >,
  ): void {
    this.#record(change)
  }

  nextKey(): number {
    return this.#nextKey()
  }

  // -- inside

  #nextKey(): number {
    this.#numbers.k += 1
    return this.#numbers.k
  }

  #record(change: Change): void {
    this.#apply(change)
    this.#append(change)
  }

  #append(change: Change): void {
    this.version += 1
    this.#journal.append(change)
  }

  #resource(key: number): Resource {
    const resource = this.resources.get(key)
    if (resource === undefined) throw new Error(`no resource ${key}`)
    return resource
  }

  #apply(change: Change): void {
    switch (change.o) {
      case 'item': {
        const before = this.items.get(change.r.key)
        if (before !== undefined) this.#unlink(before)
        this.#link(change.r)
        break
      }
      case 'item-': {
        const item = this.items.get(change.k)
        if (item !== undefined) this.#unlink(item)
        break
      }
      case 'resource':
        this.#applyResource(change.r)
        break
      case 'resource-':
        this.#dropResource(change.k)
        break
      case 'file': {
        const resource = this.resources.get(change.k)
        if (resource === undefined) break
        resource.bytes += change.r.bytes - (resource.files.get(change.r.path)?.bytes ?? 0)
        resource.files.set(change.r.path, change.r)
        resource.version += 1
        break
      }
      case 'file-': {
        const resource = this.resources.get(change.k)
        if (resource === undefined) break
        resource.bytes -= resource.files.get(change.p)?.bytes ?? 0
        resource.files.delete(change.p)
        resource.version += 1
        break
      }
      case 'user':
        this.users.set(change.r.name, change.r)
        break
      case 'user-':
        this.users.delete(change.n)
        break
      case 'role':
        if (change.r === undefined) this.roles.get(change.p)?.delete(change.u)
        else inner(this.roles, change.p).set(change.u, change.r)
        break
      case 'token':
        this.tokens.set(change.r.alias, change.r)
        this.#numbers.k = Math.max(this.#numbers.k, change.r.id)
        break
      case 'token-':
        this.tokens.delete(change.a)
        break
      case 'workflow':
        this.workflows.set(change.r.key, change.r)
        this.#numbers.k = Math.max(this.#numbers.k, change.r.key)
        break
      case 'search':
        this.searches.set(change.r.id, change.r)
        break
      case 'search-':
        this.searches.delete(change.i)
        break
      case 'setting':
        this.settings.set(change.n, change.v)
        break
      case 'numbers':
        for (const name of ['k', 's', 'e'] as const)
          this.#numbers[name] = Math.max(this.#numbers[name], change[name])
        break
    }
  }

  #applyResource(record: ResourceRecord): void {
    this.#numbers.k = Math.max(this.#numbers.k, record.key)
    const known = this.resources.get(record.key)
    if (known !== undefined) {
      Object.assign(known.record, record)
      return
    }
    const resource: Resource = { record, files: new Map(), version: 0, bytes: 0 }
    this.resources.set(record.key, resource)
    inner(this.#resourcesOf, record.owner).set(record.key, resource)
    this.#folders.set(record.folder, record.key)
  }

  #dropResource(key: number): void {
    const resource = this.resources.get(key)
    if (resource === undefined) return
    this.resources.delete(key)
    this.#resourcesOf.get(resource.record.owner)?.delete(key)
    this.#folders.delete(resource.record.folder)
  }

  #link(item: ItemRecord): void {
    this.#numbers.k = Math.max(this.#numbers.k, item.key)
    const number = /_([SE])(\d+)$/.exec(item.id)
    if (number !== null && item.kind !== 'project') {
      const name = number[1] === 'S' ? 's' : 'e'
      if (name === (item.kind === 'subject' ? 's' : 'e'))
        this.#numbers[name] = Math.max(this.#numbers[name], Number(number[2]))
    }
    this.items.set(item.key, item)
    const places = [{ project: item.project, label: item.label }, ...(item.shares ?? [])]
    if (item.kind === 'project') this.projects.set(item.id, item)
    else if (item.kind === 'subject') {
      this.subjects.set(item.id, item)
      for (const { project, label } of places) inner(this.#subjectsIn, project).set(label, item)
    } else if (item.kind === 'experiment') {
      this.experiments.set(item.id, item)
      for (const { project, label } of places) inner(this.#experimentsIn, project).set(label, item)
      if (item.session !== undefined) inner(this.#assessorsOf, item.session).set(item.key, item)
      else if (item.subject !== undefined) inner(this.#experimentsOf, item.subject).set(item.key, item)
    } else if (item.session !== undefined) {
      inner(item.kind === 'scan' ? this.#scansOf : this.#reconstructionsOf, item.session).set(item.id, item)
    }
  }

  #unlink(item: ItemRecord): void {
    this.items.delete(item.key)
    const places = [{ project: item.project, label: item.label }, ...(item.shares ?? [])]
    if (item.kind === 'project') this.projects.delete(item.id)
    else if (item.kind === 'subject') {
      this.subjects.delete(item.id)
      for (const { project, label } of places) this.#subjectsIn.get(project)?.delete(label)
    } else if (item.kind === 'experiment') {
      this.experiments.delete(item.id)
      for (const { project, label } of places) this.#experimentsIn.get(project)?.delete(label)
      if (item.session !== undefined) this.#assessorsOf.get(item.session)?.delete(item.key)
      if (item.subject !== undefined) this.#experimentsOf.get(item.subject)?.delete(item.key)
    } else if (item.session !== undefined) {
      ;(item.kind === 'scan' ? this.#scansOf : this.#reconstructionsOf).get(item.session)?.delete(item.id)
    }
  }

  /** Everything as changes, fit to be applied to an empty archive in this order. */
  *#live(): Iterable<Change> {
    yield { o: 'numbers', ...this.#numbers }
    for (const [n, v] of this.settings) yield { o: 'setting', n, v }
    for (const r of this.users.values()) yield { o: 'user', r }
    for (const [p, users] of this.roles) for (const [u, r] of users) yield { o: 'role', p, u, r }
    for (const r of this.tokens.values()) yield { o: 'token', r }
    for (const r of this.searches.values()) yield { o: 'search', r }
    for (const r of this.items.values()) yield { o: 'item', r }
    for (const { record, files } of this.resources.values()) {
      yield { o: 'resource', r: record }
      for (const r of files.values()) yield { o: 'file', k: record.key, r }
    }
    for (const r of this.workflows.values()) yield { o: 'workflow', r }
  }
}

function isIn(item: ItemRecord, project: string): boolean {
  return item.project === project || item.shares?.some((share) => share.project === project) === true
}

function inner<K, I, V>(map: Map<K, Map<I, V>>, key: K): Map<I, V> {
  let found = map.get(key)
  if (found === undefined) {
    found = new Map()
    map.set(key, found)
  }
  return found
}
