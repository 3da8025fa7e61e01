/** `/xapi/...`: the part of the newer API that clients ask for. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, json, text, type Reply } from '../http/reply.js'
import { schemaNames, schemaText } from '../model/xsd.js'
import type { UserRecord } from '../state/records.js'
import { customFieldsHandler } from './custom-fields.js'
import { randomSecret, refreshHandler } from './services.js'
import type { Site } from './site.js'

/** What anybody may read without logging in. */
const OPEN_SETTINGS = new Set(['buildInfo', 'siteHome', 'siteId', 'siteLogoPath', 'siteUrl'])

export function isOpen(segments: readonly string[]): boolean {
  return segments[0] === 'siteConfig' && segments.length === 2 && OPEN_SETTINGS.has(segments[1] ?? '')
}

export async function xapiHandler(
  site: Site,
  exchange: Exchange,
  segments: readonly string[],
): Promise<Reply> {
  const [area = '', ...rest] = segments
  exchange.route = `xapi/${area}`
  switch (area) {
    case 'siteConfig':
      return siteConfig(site, exchange, rest)
    case 'schemas':
      return schemas(site, rest)
    case 'users':
      return users(site, exchange, rest)
    case 'plugins':
      return json(plugins(site))
    case 'access':
      return access(site, exchange, rest)
    case 'archive':
      return archiveCalls(site, exchange, rest)
    case 'custom-fields':
      return customFieldsHandler(site, exchange, rest)
    case 'version':
      return text(site.settings.version)
    default:
      exchange.note = `the sandbox has no /xapi/${area}`
      throw new HttpError(404, '', 'xapi')
  }
}

export function buildInfo({ settings }: Site): Readonly<Record<string, string>> {
  return {
    version: settings.version,
    buildNumber: 'sandbox',
    buildDate: 'Mon Jan 01 00:00:00 UTC 2024',
    sha: '0000000000',
    isDirty: 'false',
    commit: '0',
    tag: settings.version,
    shaFull: '0000000000000000000000000000000000000000',
    branch: 'sandbox',
    timestamp: '1704067200000',
    application: 'Orbweaver XNAT sandbox',
  }
}

function siteConfig(site: Site, exchange: Exchange, [name, names]: readonly string[]): Reply {
  const { settings } = site
  const values = {
    siteId: settings.siteId,
    siteUrl: settings.url,
    siteHome: '/screens/QuickSearch.vm',
    siteLogoPath: '/images/logo.png',
    siteDescription:
      'A server that speaks the part of the XNAT API that pipelines use. For trying and testing.',
    adminEmail: 'admin@localhost',
    requireLogin: settings.requireLogin,
    sessionTimeout: `${Math.round(site.sessions.rules.timeoutMs / 60_000)} minutes`,
    aliasTokenTimeout: `${Math.round(settings.tokenLifeMs / 86_400_000)} days`,
    concurrentMaxSessions: site.sessions.rules.maxPerUser,
    maxFailedLogins: site.sessions.rules.maxFailedLogins,
    zipExtensions: ['zip', 'jar', 'rar', 'ear', 'gar', 'mrb'],
    checksums: true,
    uiAllowNonAdminProjectCreation: true,
    archivePath: site.blobs.archiveFolder,
  }
  const valueOf = (key: string): unknown => Object.entries(values).find(([own]) => own === key)?.[1]
  if (name === 'buildInfo') return json(buildInfo(site))
  if (name === 'uptime') return json(uptime(exchange.nowMs - settings.startedMs))
  if (name === 'siteId') return text(values.siteId)
  if (name === 'siteUrl') return text(values.siteUrl)
  if (name === 'siteHome') return text(values.siteHome)
  if (name === 'siteLogoPath') return text(values.siteLogoPath)
  if (!exchange.admin) throw new HttpError(403, '', 'xapi')
  if (name === undefined) return json(values)
  if (name === 'values')
    return json(Object.fromEntries((names ?? '').split(',').map((key) => [key, valueOf(key) ?? null])))
  const value = valueOf(name)
  if (value === undefined) throw new HttpError(404, '', 'xapi')
  return json(value)
}

function uptime(ms: number): Readonly<Record<string, string>> {
  const seconds = ms / 1000
  return {
    days: String(Math.floor(seconds / 86_400)),
    hours: String(Math.floor(seconds / 3600) % 24),
    minutes: String(Math.floor(seconds / 60) % 60),
    seconds: (seconds % 60).toFixed(3),
  }
}

function schemas(site: Site, parts: readonly string[]): Reply {
  if (parts.length === 0) return json(schemaNames(site.types))
  return schemaReply(site, parts.join('/'))
}

export function schemaReply(site: Site, name: string): Reply {
  const schema = schemaText(site.types, name.replace(/\.xsd$/, ''))
  if (schema === undefined) throw new HttpError(404, '', 'xapi')
  return { status: 200, headers: { 'Content-Type': 'application/xml;charset=UTF-8' }, body: schema }
}

function plugins({ types }: Site): Readonly<Record<string, unknown>> {
  const models = types.all.filter(({ plugin }) => plugin)
  if (models.length === 0) return {}
  return {
    genProcDataXnatPlugin: {
      id: 'genProcDataXnatPlugin',
      name: 'XNAT plugin for processing results',
      version: '1.4.2',
      beanName: 'genProcDataXnatPlugin',
      dataModels: models.map(({ name, singular, plural }) => ({
        type: name,
        secured: true,
        singular,
        plural,
      })),
    },
  }
}

function access(site: Site, exchange: Exchange, [kind, type]: readonly string[]): Reply {
  if (kind === 'displays') {
    return json(
      type === undefined
        ? []
        : site.types.all
            .filter(({ abstract, element }) => !abstract && element !== undefined)
            .map(({ name, singular, plural }) => ({ elementName: name, singular, plural })),
    )
  }
  if (kind !== 'projects') throw new HttpError(404, '', 'xapi')
  const { archive } = site
  return json(
    [...archive.projects.values()]
      .filter(({ id }) => site.maySeeProject(exchange, id))
      .map(({ id, data, access: accessibility }) => ({
        ID: id,
        secondary_ID: data.attributes?.secondary_ID ?? id,
        name: data.children?.find(({ name }) => name === 'name')?.text ?? id,
        description: data.children?.find(({ name }) => name === 'description')?.text ?? '',
        project_access: accessibility ?? 'private',
      })),
  )
}

// -- accounts

function profile(user: UserRecord): Readonly<Record<string, unknown>> {
  return {
    id: user.name === 'admin' ? 1 : 2,
    username: user.name,
    firstName: user.firstName,
    lastName: user.lastName,
    email: user.email,
    enabled: user.enabled,
    verified: true,
    secured: true,
    lastModified: 0,
  }
}

async function users(site: Site, exchange: Exchange, [name, sub, third]: readonly string[]): Promise<Reply> {
  const { archive, sessions } = site
  const admin = (): void => {
    if (!exchange.admin) throw new HttpError(403, '', 'xapi')
  }
  const { method } = exchange
  if (name === undefined) {
    if (method === 'POST') {
      admin()
      return saveUser(site, exchange, undefined)
    }
    return json([...archive.users.keys()].sort())
  }
  if (name === 'username') return text(exchange.user)
  if (name === 'current') return json(profile(known(site, exchange.user)))
  if (name === 'profiles') {
    admin()
    return json([...archive.users.values()].map(profile))
  }
  if (name === 'active') {
    if (sub !== undefined && method === 'DELETE') {
      if (sub !== exchange.user) admin()
      sessions.endAllOf(sub)
      return json([])
    }
    admin()
    const names = new Set(sessions.active(exchange.nowMs).map(({ user }) => user))
    return json(
      Object.fromEntries(
        [...names].map((user) => [
          user,
          { username: user, count: sessions.countOf(user, exchange.nowMs), sessions: [] },
        ]),
      ),
    )
  }
  if (name !== exchange.user) admin()
  if (method === 'PUT' && sub === undefined) return saveUser(site, exchange, name)
  const user = known(site, name)
  switch (sub) {
    case undefined:
    case 'profile':
      if (method === 'DELETE') {
        admin()
        archive.record({ o: 'user-', n: name })
        sessions.endAllOf(name)
        await archive.flush()
        return empty()
      }
      return json(profile(user))
    case 'roles':
      if (method === 'PUT' && third === 'Administrator') {
        admin()
        archive.record({ o: 'user', r: { ...user, admin: true } })
        await archive.flush()
      }
      return json(known(site, name).admin ? ['Administrator'] : [])
    case 'groups':
      return json(
        [...archive.roles].flatMap(([project, roles]) =>
          roles.has(name) ? [`${project}_${roles.get(name) ?? ''}`] : [],
        ),
      )
    case 'projects':
      return json([...archive.roles].flatMap(([project, roles]) => (roles.has(name) ? [project] : [])))
    default:
      exchange.note = 'the sandbox has no such part of an account'
      throw new HttpError(404, '', 'xapi')
  }
}

function known(site: Site, name: string): UserRecord {
  const user = site.archive.users.get(name)
  if (user === undefined) throw new HttpError(404, '', 'xapi')
  return user
}

async function saveUser(site: Site, exchange: Exchange, name: string | undefined): Promise<Reply> {
  let body: unknown
  try {
    body = JSON.parse(await exchange.bodyText())
  } catch {
    throw new HttpError(400, 'The body is no JSON.', 'xapi')
  }
  const given = typeof body === 'object' && body !== null ? (body as Readonly<Record<string, unknown>>) : {}
  const word = (key: string): string | undefined => (typeof given[key] === 'string' ? given[key] : undefined)
  const user = name ?? word('username')
  if (user === undefined || !/^[\w.-]+$/.test(user))
    throw new HttpError(400, 'A user name is needed.', 'xapi')
  const before = site.archive.users.get(user)
  if (name === undefined && before !== undefined) throw new HttpError(409, '', 'xapi')
  const record: UserRecord = {
    name: user,
    password: word('password') ?? before?.password ?? randomSecret(24),
    admin: before?.admin ?? false,
    enabled: typeof given.enabled === 'boolean' ? given.enabled : (before?.enabled ?? true),
    firstName: word('firstName') ?? before?.firstName ?? user,
    lastName: word('lastName') ?? before?.lastName ?? user,
    email: word('email') ?? before?.email ?? `${user}@localhost`,
  }
  site.archive.record({ o: 'user', r: record })
  await site.archive.flush()
  return json(profile(record), name === undefined ? 201 : 200)
}

async function archiveCalls(
  site: Site,
  exchange: Exchange,
  [first, second, third]: readonly string[],
): Promise<Reply> {
  if (first === 'catalogs' && second === 'refresh') {
    let paths: readonly string[]
    try {
      paths = JSON.parse(await exchange.bodyText()) as string[]
    } catch {
      throw new HttpError(400, 'A list of resources is needed.', 'xapi')
    }
    return refreshHandler(site, exchange, paths, third?.split(',') ?? [])
  }
  exchange.note = 'the sandbox has no bulk download: use format=zip'
  throw new HttpError(501, 'The sandbox has no bulk download.', 'xapi')
}
