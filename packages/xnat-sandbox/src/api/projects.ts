/** `/data/projects` and what hangs on a project alone: access, users, groups. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, forbidden, text, type Reply } from '../http/reply.js'
import type { Accessibility, ItemRecord, ProjectRole } from '../state/records.js'
import type { Address } from './address.js'
import { fieldReader } from './fields.js'
import { find, findProject } from './find.js'
import { itemReply } from './item-reply.js'
import { applyInput, readInput } from './input.js'
import { shortcutsOf } from './shortcuts.js'
import { columnFor, columnNames, filtersOf, rowsOf } from './columns.js'
import { removeItem } from './remove.js'
import type { Site } from './site.js'
import { sortedAndPaged, tableReply } from './table.js'

const DEFAULT_COLUMNS = ['ID', 'secondary_ID', 'name', 'description', 'pi_firstname', 'pi_lastname'] as const
const ACCESS: readonly string[] = ['private', 'protected', 'public']
const ROLES: Readonly<Record<string, ProjectRole>> = {
  owners: 'owner',
  owner: 'owner',
  members: 'member',
  member: 'member',
  collaborators: 'collaborator',
  collaborator: 'collaborator',
}
const GROUP_NAMES: Readonly<Record<ProjectRole, string>> = {
  owner: 'Owners',
  member: 'Members',
  collaborator: 'Collaborators',
}

export async function projectsHandler(site: Site, exchange: Exchange): Promise<Reply> {
  if (exchange.method === 'GET') return listProjects(site, exchange)
  if (exchange.method !== 'POST') throw new HttpError(405)
  const input = await readInput(site, exchange, 'project', 'xnat:projectData')
  const id = input.named.id ?? input.document?.attributes?.secondary_ID
  if (id === undefined) throw new HttpError(417, 'A project needs an ID.')
  if (site.archive.projects.has(id)) throw new HttpError(409, `A project ${id} exists already.`)
  putProject(site, exchange, id, input)
  await site.archive.flush()
  return text(`/data/projects/${id}`)
}

function listProjects(site: Site, exchange: Exchange): Reply {
  const { archive, types } = site
  const { query } = exchange
  if (query.has('fields')) return fieldsReply(exchange, 'project')
  const visible = [...archive.projects.values()].filter((project) => {
    const role = site.roleIn(exchange, project.id)
    if (query.flag('owner')) return role === 'owner'
    if (query.flag('member')) return role === 'member'
    if (query.flag('collaborator')) return role === 'collaborator'
    if (query.get('restrict') === 'edit') return site.may(exchange, 'edit', project.id)
    if (query.get('restrict') === 'delete') return site.may(exchange, 'delete', project.id)
    if (query.get('dataAccessibility') === 'writable') return site.may(exchange, 'edit', project.id)
    return site.maySeeProject(exchange, project.id)
  })
  // With these the server answers from another table.
  if (
    [
      'accessible',
      'owner',
      'member',
      'collaborator',
      'recent',
      'favorite',
      'users',
      'admin',
      'activeSince',
    ].some((name) => query.has(name))
  ) {
    return tableReply(exchange, userProjects(site, exchange, visible))
  }
  const root = types.require('xnat:projectData')
  // The ID always comes, and so does the address.
  const asked = new Set([...columnNames(exchange, DEFAULT_COLUMNS), 'ID'])
  const columns = [...asked].flatMap((name) => columnFor(site, 'project', root, name) ?? [])
  const uri = fieldReader(site, 'URI')
  const rows: string[][] = []
  for (const project of visible) {
    for (const row of rowsOf(
      site,
      {
        kind: 'project',
        root,
        columns,
        filters: filtersOf(site, 'project', root, query.entries),
        project: undefined,
      },
      [project],
    )) {
      rows.push([...row, uri(project, undefined)])
    }
  }
  return tableReply(
    exchange,
    sortedAndPaged(exchange, { columns: [...columns.map(({ key }) => key), 'URI'], rows }),
  )
}

function userProjects(
  site: Site,
  exchange: Exchange,
  projects: readonly ItemRecord[],
): { columns: string[]; rows: string[][]; title: string } {
  const columns = [
    'id',
    'name',
    'description',
    'secondary_id',
    'pi',
    'project_invs',
    'project_access',
    'insert_date',
    'insert_user',
    'user_role_1',
    'last_accessed_1',
  ]
  const read = (path: string): ((project: ItemRecord) => string) => {
    const reader = fieldReader(site, path)
    return (project) => reader(project, undefined)
  }
  const [name, description, secondary, pi, inserted, user] = [
    'name',
    'description',
    'secondary_ID',
    'PI/lastname',
    'meta/insert_date',
    'meta/insert_user',
  ].map(read)
  const rows = projects.map((project) => {
    const role = site.roleIn(exchange, project.id)
    return [
      project.id,
      name?.(project) ?? '',
      description?.(project) ?? '',
      secondary?.(project) ?? '',
      pi?.(project) ?? '',
      '',
      project.access ?? 'private',
      inserted?.(project) ?? '',
      user?.(project) ?? '',
      role === undefined ? '' : GROUP_NAMES[role],
      '',
    ]
  })
  return { columns, rows, title: 'Projects' }
}

/** `key,xpath` of the short names that a list and a write know. */
export function fieldsReply(exchange: Exchange, kind: 'project' | 'subject' | 'experiment' | 'scan'): Reply {
  return tableReply(exchange, {
    columns: ['key', 'xpath'],
    rows: shortcutsOf(kind).map(([key, path]) => [key, path]),
  })
}

export async function projectHandler(site: Site, exchange: Exchange, address: Address): Promise<Reply> {
  const id = address.project ?? ''
  const [extra, ...more] = address.rest
  if (extra !== undefined && EXTRAS.has(extra))
    return projectExtra(site, exchange, findProject(site, exchange, id), extra, more)
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return itemReply(site, exchange, find(site, exchange, address).project)
    case 'PUT': {
      putProject(site, exchange, id, await readInput(site, exchange, 'project', 'xnat:projectData'))
      await site.archive.flush()
      return empty()
    }
    case 'DELETE': {
      if (extra !== undefined) throw new HttpError(400)
      const project = findProject(site, exchange, id)
      if (!site.may(exchange, 'delete', id)) throw forbidden()
      await removeItem(site, project, exchange.query.flag('removeFiles'))
      return empty()
    }
    default:
      throw new HttpError(405)
  }
}

function putProject(
  site: Site,
  exchange: Exchange,
  id: string,
  input: Awaited<ReturnType<typeof readInput>>,
): void {
  const { archive } = site
  const existing = archive.projects.get(id)
  if (existing !== undefined && !site.may(exchange, 'delete', id)) throw forbidden()
  if (!/^[\w-]+$/.test(id) || (input.named.id !== undefined && input.named.id !== id))
    throw new HttpError(417, 'Invalid project ID.')
  const type = site.types.require('xnat:projectData')
  const access = input.query.get('accessibility')
  if (access !== undefined && !ACCESS.includes(access))
    throw new HttpError(400, `Unknown accessibility: ${access}`)
  const data = existing === undefined ? { name: type.name } : structuredClone(existing.data)
  applyInput(site, data, type, input)
  const attributes = (data.attributes ??= {})
  attributes.secondary_ID ??= id
  const children = (data.children ??= [])
  if (!children.some(({ name }) => name === 'name')) children.unshift({ name: 'name', text: id })
  const title = children.find(({ name }) => name === 'name')?.text
  for (const other of archive.projects.values()) {
    if (other.id === id) continue
    const taken = [
      other.id,
      other.data.attributes?.secondary_ID,
      other.data.children?.find(({ name }) => name === 'name')?.text,
    ]
    const clash = [id, attributes.secondary_ID, title].find((word) => taken.includes(word))
    if (clash !== undefined) throw new HttpError(409, `Conflict: ${clash} is used by project ${other.id}.`)
  }
  const actor = site.actor(exchange)
  if (existing === undefined) {
    archive.create(
      {
        kind: 'project',
        id,
        label: id,
        type: type.name,
        project: id,
        data,
        access: (access as Accessibility | undefined) ?? 'protected',
      },
      actor,
    )
    archive.record({ o: 'role', p: id, u: exchange.user, r: 'owner' })
  } else {
    archive.update(existing, actor, (item) => {
      item.data = data
      if (access !== undefined) item.access = access as Accessibility
    })
  }
}

const EXTRAS: ReadonlySet<string> = new Set([
  'accessibility',
  'users',
  'groups',
  'prearchive_code',
  'quarantine_code',
  'current_arc',
  'scan_types',
  'config',
  'pipelines',
  'pars',
])

async function projectExtra(
  site: Site,
  exchange: Exchange,
  project: ItemRecord,
  extra: string,
  more: readonly string[],
): Promise<Reply> {
  exchange.route = `projects/{P}/${extra}`
  const { archive } = site
  const owner = site.may(exchange, 'delete', project.id)
  const [word, name] = more
  const changing = exchange.method === 'PUT' || exchange.method === 'DELETE' || exchange.method === 'POST'
  if (changing && !owner) throw forbidden()
  switch (extra) {
    case 'accessibility':
      if (exchange.method === 'PUT' && word !== undefined) {
        if (!ACCESS.includes(word)) throw new HttpError(400, `Unknown accessibility: ${word}`)
        archive.update(project, site.actor(exchange), (item) => {
          item.access = word as Accessibility
        })
        await archive.flush()
        return empty()
      }
      return text(project.access ?? 'private')
    case 'users':
      if (changing && word !== undefined && name !== undefined)
        return changeMember(site, exchange, project.id, word, name)
      return tableReply(exchange, members(site, project.id))
    case 'groups':
      return tableReply(exchange, {
        columns: ['ID', 'displayname', 'tag', 'users'],
        rows: Object.entries(GROUP_NAMES).map(([role, display]) => [
          `${project.id}_${role}`,
          display,
          project.id,
          String([...(archive.roles.get(project.id)?.values() ?? [])].filter((own) => own === role).length),
        ]),
      })
    case 'scan_types': {
      const types = new Set<string>()
      for (const session of archive.experimentsIn(project.id)) {
        for (const scan of archive.scansOf(session.id)) types.add(scan.data.attributes?.type ?? '')
      }
      return tableReply(exchange, { columns: ['scan_type'], rows: [...types].sort().map((type) => [type]) })
    }
    case 'prearchive_code':
    case 'quarantine_code':
      if (exchange.method === 'PUT' && word !== undefined) {
        archive.record({ o: 'setting', n: `${project.id}/${extra}`, v: word })
        await archive.flush()
        return empty()
      }
      return text(archive.settings.get(`${project.id}/${extra}`) ?? (extra === 'prearchive_code' ? '4' : '0'))
    case 'current_arc':
      return text('arc001')
    case 'pars':
    case 'pipelines':
      return tableReply(exchange, { columns: [], rows: [] })
    default:
      exchange.note = 'the sandbox has no configuration service'
      throw new HttpError(501, 'The sandbox has no configuration service.')
  }
}

function members(site: Site, project: string): { columns: string[]; rows: string[][] } {
  const rows = [...(site.archive.roles.get(project) ?? [])].flatMap(([name, role]) => {
    const user = site.archive.users.get(name)
    return user === undefined
      ? []
      : [[`${project}_${role}`, GROUP_NAMES[role], name, user.firstName, user.lastName, user.email]]
  })
  return { columns: ['GROUP_ID', 'displayname', 'login', 'firstname', 'lastname', 'email'], rows }
}

async function changeMember(
  site: Site,
  exchange: Exchange,
  project: string,
  group: string,
  user: string,
): Promise<Reply> {
  const word = group.startsWith(`${project}_`) ? group.slice(project.length + 1) : group
  const role = ROLES[word.toLowerCase()]
  if (role === undefined) throw new HttpError(404, `Unknown group: ${group}`)
  if (!site.archive.users.has(user)) throw new HttpError(404, `Unknown user: ${user}`)
  site.archive.record(
    exchange.method === 'DELETE'
      ? { o: 'role', p: project, u: user }
      : { o: 'role', p: project, u: user, r: role },
  )
  await site.archive.flush()
  return tableReply(exchange, members(site, project))
}
