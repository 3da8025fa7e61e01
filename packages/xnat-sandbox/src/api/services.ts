/** `/data/JSESSION`, `/data/auth` and `/data/services/...`: logging in and out, tokens, catalog refresh. */

import { randomBytes, randomUUID } from 'node:crypto'
import { Query, type Exchange } from '../http/exchange.js'
import { cookie } from '../http/sessions.js'
import { HttpError, empty, json, text, type Reply } from '../http/reply.js'
import type { TokenRecord } from '../state/records.js'
import { parseAddress } from './address.js'
import { find } from './find.js'
import { allResources, selectResources, type Placed } from './resources.js'
import type { Site } from './site.js'

export function sessionHandler(site: Site, exchange: Exchange): Reply {
  const id = cookie(exchange.header('cookie'), 'JSESSIONID') ?? ''
  const current = exchange.sessionId ?? id
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
    case 'POST': {
      const session = site.sessions.touch(current, exchange.nowMs)
      return text(
        exchange.query.flag('CSRF') && session !== undefined
          ? `${current}; XNAT_CSRF=${session.csrf}`
          : current,
      )
    }
    case 'DELETE':
      site.sessions.end(current)
      return empty()
    default:
      throw new HttpError(405)
  }
}

export async function loginHandler(site: Site, exchange: Exchange): Promise<Reply> {
  if (exchange.method !== 'PUT' && exchange.method !== 'POST') throw new HttpError(405)
  // Some clients leave the content type out.
  const form = exchange.contentType === '' ? new Query(await exchange.bodyText()) : await exchange.form()
  const query = exchange.query.with(form)
  const name = query.get('username') ?? query.get('j_username')
  const password = query.get('password') ?? query.get('j_password')
  const provider = query.get('provider') ?? query.get('login_method')
  if (name === undefined || password === undefined)
    throw new HttpError(400, 'Username and password are needed.')
  if (provider !== undefined && !['localdb', 'Database', ''].includes(provider))
    throw new HttpError(400, `Unknown provider: ${provider}`)
  const user = site.sessions.check(name, password, exchange.nowMs)
  if (user === undefined) throw unauthorized(site, 'Login attempt failed. Please try again.')
  const session = site.sessions.start(user, exchange.nowMs)
  if (session === undefined) throw unauthorized(site, 'Maximum sessions exceeded.')
  exchange.user = user
  exchange.startSession(session.id, site.settings.contextPath, site.settings.url.startsWith('https:'))
  return text(session.id)
}

export function unauthorized(
  site: Site,
  message = 'Full authentication is required to access this resource',
): HttpError {
  return new HttpError(401, message, 'tomcat', {
    'WWW-Authenticate': `Basic realm="${site.settings.siteId}"`,
  })
}

export function authHandler(exchange: Exchange): Reply {
  return text(`User '${exchange.user}' is logged in`)
}

// -- alias tokens

export async function tokensHandler(
  site: Site,
  exchange: Exchange,
  [operation, first, second]: readonly string[],
): Promise<Reply> {
  const { archive } = site
  exchange.route = `services/tokens/${operation ?? ''}`
  switch (operation) {
    case 'issue': {
      const user = first === 'user' && second !== undefined ? second : exchange.user
      if (user !== exchange.user && !exchange.admin)
        throw new HttpError(403, 'Only administrators issue tokens for others.')
      if (!archive.users.has(user)) throw new HttpError(404, `Unknown user: ${user}`)
      const token: TokenRecord = {
        id: archive.nextKey(),
        alias: randomUUID(),
        secret: randomSecret(),
        user,
        createdMs: exchange.nowMs,
        expiresMs: exchange.nowMs + site.settings.tokenLifeMs,
      }
      archive.record({ o: 'token', r: token })
      await archive.flush()
      return json(tokenJson(token))
    }
    case 'show':
      return json(
        [...archive.tokens.values()]
          .filter(({ user, expiresMs }) => user === exchange.user && expiresMs > exchange.nowMs)
          .map(tokenJson),
      )
    case 'validate': {
      if (first === undefined || second === undefined)
        throw new HttpError(401, 'Alias and secret are needed.')
      const token = ownToken(site, exchange, first, false)
      return json({ valid: token.secret === second && token.expiresMs > exchange.nowMs ? token.user : null })
    }
    case 'invalidate': {
      if (first === undefined) throw new HttpError(400, 'Which token?')
      archive.record({ o: 'token-', a: ownToken(site, exchange, first, true).alias })
      await archive.flush()
      return json({ result: 'OK' })
    }
    default:
      throw new HttpError(404, 'Unknown token operation.')
  }
}

function ownToken(site: Site, exchange: Exchange, alias: string, strict: boolean): TokenRecord {
  const token = site.archive.tokens.get(alias)
  if (token === undefined) throw new HttpError(404, 'Unknown token.')
  if (strict && token.user !== exchange.user && !exchange.admin) throw new HttpError(403)
  return token
}

function tokenJson({
  id,
  alias,
  secret,
  user,
  createdMs,
  expiresMs,
}: TokenRecord): Readonly<Record<string, unknown>> {
  return {
    alias,
    secret,
    singleUse: false,
    estimatedExpirationTime: expiresMs,
    xdatUserId: user,
    validIPAddresses: [],
    id,
    enabled: true,
    created: createdMs,
    timestamp: createdMs,
    disabled: 0,
  }
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

export function randomSecret(length = 64): string {
  let secret = ''
  while (secret.length < length) {
    for (const byte of randomBytes(length)) {
      // 248 is the greatest multiple of 62 in a byte: beyond it letters would not be equally likely.
      if (byte < 248 && secret.length < length) secret += LETTERS[byte % LETTERS.length] ?? ''
    }
  }
  return secret
}

// -- catalogs

/** `POST /data/services/refresh/catalog`, and the same by `/xapi`. */
export async function refreshHandler(
  site: Site,
  exchange: Exchange,
  paths: readonly string[],
  operations: readonly string[],
): Promise<Reply> {
  const all = operations.length === 0
  for (const path of paths) {
    const segments = path
      .split('/')
      .filter((part) => part !== '' && part !== 'archive' && part !== 'data')
      .map(decodeURIComponent)
    const address = parseAddress(segments)
    if (address === undefined) throw new HttpError(400, `Unknown resource: ${path}`)
    const found = find(site, exchange, address)
    const [owner] = found.owners
    if (owner === undefined) throw new HttpError(404, `Unknown resource: ${path}`)
    if (!site.mayItem(exchange, 'edit', owner)) throw new HttpError(403, 'You may not refresh this catalog.')
    const placed =
      address.resource === undefined ? allResources(site, owner) : selectResources(site, address, found)
    for (const one of placed) {
      await refreshCatalog(site, exchange, one, {
        append: all || operations.includes('append'),
        remove: all || operations.includes('delete'),
        checksum: all || operations.includes('checksum'),
        stats: all || operations.includes('populateStats'),
      })
    }
  }
  await site.archive.flush()
  return empty()
}

interface Refresh {
  readonly append: boolean
  readonly remove: boolean
  readonly checksum: boolean
  readonly stats: boolean
}

async function refreshCatalog(
  site: Site,
  exchange: Exchange,
  { resource }: Placed,
  { append, remove, checksum, stats }: Refresh,
): Promise<void> {
  const { archive, blobs } = site
  const { folder } = resource.record
  await site.locks.run(String(resource.record.key), async () => {
    const onDisk = new Set(await blobs.list(folder))
    if (append) {
      for (const path of onDisk) {
        if (resource.files.has(path)) continue
        const found = await blobs.measure(folder, path)
        if (found !== undefined)
          archive.putFile(resource, { path, ...found, createdMs: exchange.nowMs, createdBy: exchange.user })
      }
    }
    if (remove)
      for (const path of [...resource.files.keys()]) if (!onDisk.has(path)) archive.removeFile(resource, path)
    if (checksum) {
      for (const [path, file] of [...resource.files]) {
        const found = await blobs.measure(folder, path)
        if (found !== undefined && found.digest !== file.digest)
          archive.putFile(resource, { ...file, ...found })
      }
    }
    if (stats && resource.record.stale !== undefined) {
      archive.updateResource(resource, exchange.nowMs, (record) => {
        delete record.stale
      })
    }
  })
}
