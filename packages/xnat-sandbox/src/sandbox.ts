/** A running sandbox. */

import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { ConflictError, InputError } from '@orbweaver/core'
import { FaultPlan, type Faults } from './http/faults.js'
import { RequestLog, type Counts, type LoggedRequest } from './http/log.js'
import { SandboxServer } from './http/server.js'
import { Sessions } from './http/sessions.js'
import { TypeRegistry } from './model/registry.js'
import { Site, type SiteSettings } from './api/site.js'
import { randomSecret } from './api/services.js'
import { Archive } from './state/archive.js'
import { Blobs } from './state/blobs.js'
import type { ProjectRole } from './state/records.js'
import { heal } from './state/heal.js'
import { seedSite, type SeedOptions, type SeedProgress, type SeedSource } from './seed.js'

export interface SandboxUser {
  readonly name: string
  /** Default: made at random when the user is new, and kept. */
  readonly password?: string
  /** May do everything everywhere. */
  readonly admin?: boolean
  /** Roles by project. Projects need not be there yet. */
  readonly projects?: Readonly<Record<string, ProjectRole>>
  readonly email?: string
}

export interface SandboxOptions {
  /** Everything lives here: made when it is not there, and opened again next time. One sandbox at a time. */
  readonly directory: string
  /** 0, the default: any that is free. */
  readonly port?: number
  /** Default: `127.0.0.1`, reached from this machine only. */
  readonly host?: string
  /** Beside `admin`, who is always there. */
  readonly users?: readonly SandboxUser[]
  /** Whether the processing type `proc:genProcData` is installed. Default: yes. */
  readonly genProcData?: boolean
  /** Whether `proc:subjGenProcData`, for results on subjects, is installed. Default: as `genProcData`. */
  readonly subjGenProcData?: boolean
  readonly faults?: Faults
  /** PEM texts: then the sandbox speaks HTTPS. */
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer }
  /** As `/xnat`, for servers that do not live at the root. */
  readonly contextPath?: string
  /** First part of generated IDs. Default: `XNAT`. */
  readonly siteId?: string
  /** What `buildInfo` says. Default: `1.8.10`. */
  readonly version?: string
  /** Default: true, as on most sites. */
  readonly requireLogin?: boolean
  /** Default: 15 minutes. */
  readonly sessionTimeoutMs?: number
  /** At one time for one user; the next login is refused. Default: 1000. */
  readonly maxSessions?: number
  /** Life of alias tokens. Default: 2 days. */
  readonly tokenLifeMs?: number
  /** Wrong passwords in a row before an account is locked for an hour. Default: 20. */
  readonly maxFailedLogins?: number
  /** Filled from here before the first request; what is there already stays. More by {@link Sandbox.seed}. */
  readonly seed?: SeedSource
  /** Epoch milliseconds; for tests that own the time. Default: the clock. */
  readonly now?: () => number
  /** One line a request is appended here. */
  readonly logFile?: string
  readonly onRequest?: (request: LoggedRequest) => void
}

export interface Sandbox {
  /** Without a final slash, with the context path. */
  readonly url: string
  readonly port: number
  /** Everybody who can log in, with passwords. */
  readonly users: Readonly<
    Record<string, { readonly name: string; readonly password: string; readonly admin: boolean }>
  >
  readonly directory: string
  /** Replaces all faults; `{}` ends them. Outages count from now. */
  setFaults(faults: Faults): void
  /** The last requests, oldest first. */
  readonly log: readonly LoggedRequest[]
  counts(): Counts
  /** Copy an archive into the sandbox; what is there already stays. The data belong to `admin`. */
  seed(source: SeedSource, options?: SeedOptions): Promise<SeedProgress>
  /** Ends every connection and writes what is left. */
  close(): Promise<void>
}

const VERSION = '1.8.10'

/** @throws ConflictError another process has the directory; InputError an option does not fit */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { directory, host = '127.0.0.1', now = Date.now, contextPath = '', siteId = 'XNAT' } = options
  if (contextPath !== '' && !/^(\/[\w.-]+)+$/.test(contextPath))
    throw new InputError(`contextPath ${contextPath}: a path such as /xnat`)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const unlock = await lock(directory)
  const closers: (() => Promise<void>)[] = [unlock]
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const archive = await Archive.open(join(directory, 'journal.jsonl'))
    closers.push(() => archive.close())
    const blobs = await Blobs.open(directory)
    await heal(archive, blobs)
    saveUsers(archive, options.users ?? [])
    await archive.flush()
    const types = new TypeRegistry(options.genProcData ?? true, options.subjGenProcData)
    const sessions = new Sessions(archive, {
      timeoutMs: options.sessionTimeoutMs ?? 15 * 60_000,
      maxPerUser: options.maxSessions ?? 1000,
      maxFailedLogins: options.maxFailedLogins ?? 20,
      lockMs: 3_600_000,
    })
    const faults = new FaultPlan()
    const settings: SiteSettings = {
      siteId: siteId.replace(/[\s"']/g, '').replaceAll('-', '_'),
      version: options.version ?? VERSION,
      url: '',
      contextPath,
      requireLogin: options.requireLogin ?? true,
      tokenLifeMs: options.tokenLifeMs ?? 2 * 86_400_000,
      startedMs: now(),
    }
    const site = new Site(archive, blobs, types, sessions, faults, settings)
    const seed = (source: SeedSource, wanted: SeedOptions = {}): Promise<SeedProgress> =>
      seedSite(site, source, { user: 'admin', nowMs: now() }, wanted)
    if (options.seed !== undefined) await seed(options.seed)
    const log = new RequestLog(options.logFile, options.onRequest)
    closers.push(() => log.close())
    const server = new SandboxServer({ site, log, now, tls: options.tls })
    const port = await server.listen(host, options.port ?? 0)
    closers.push(() => server.close())
    settings.url = `${options.tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}${contextPath}`
    faults.set(options.faults ?? {}, now())
    return {
      url: settings.url,
      port,
      directory,
      get users() {
        return Object.fromEntries(
          [...archive.users.values()].map(({ name, password, admin }) => [name, { name, password, admin }]),
        )
      },
      setFaults: (wanted) => faults.set(wanted, now()),
      get log() {
        return log.recent
      },
      counts: () => log.counts(),
      seed,
      close: closeAll,
    }
  } catch (error) {
    await closeAll()
    throw error
  }
}

/** New users and changes of known ones; `admin` always. Passwords are made once, and kept in the directory. */
function saveUsers(archive: Archive, wanted: readonly SandboxUser[]): void {
  const all =
    wanted.some(({ name }) => name === 'admin') || archive.users.has('admin')
      ? wanted
      : [{ name: 'admin', admin: true }, ...wanted]
  for (const { name, password, admin, email, projects = {} } of all) {
    if (!/^[\w.-]+$/.test(name))
      throw new InputError(`User name ${name}: letters, digits, "_", "." and "-" only`)
    const before = archive.users.get(name)
    archive.record({
      o: 'user',
      r: {
        name,
        password: password ?? before?.password ?? randomSecret(20),
        admin: admin ?? before?.admin ?? name === 'admin',
        enabled: true,
        firstName: before?.firstName ?? name,
        lastName: before?.lastName ?? name,
        email: email ?? before?.email ?? `${name}@localhost`,
      },
    })
    for (const [project, role] of Object.entries(projects))
      archive.record({ o: 'role', p: project, u: name, r: role })
  }
}

/** One process at a time: a file that names it, and that a dead one leaves behind. */
async function lock(directory: string): Promise<() => Promise<void>> {
  const file = join(directory, 'sandbox.lock')
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), id: randomUUID() })
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      const handle = await open(file, 'wx', 0o600)
      await handle.writeFile(mine).finally(() => handle.close())
      return async () => {
        if ((await readFile(file, 'utf8').catch(() => '')) === mine) await rm(file, { force: true })
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = await readFile(file, 'utf8').catch(() => '')
    if (isAlive(holder)) {
      throw new ConflictError(`Another sandbox works in ${directory}.`, {
        hint: 'End it first, or give another directory.',
      })
    }
    await rm(file, { force: true })
  }
  throw new ConflictError(`Another sandbox works in ${directory}.`)
}

function isAlive(text: string): boolean {
  let holder: { readonly pid?: unknown; readonly host?: unknown }
  try {
    holder = JSON.parse(text) as typeof holder
  } catch {
    return false // cut short by a crash
  }
  if (holder.host !== hostname()) return true
  if (typeof holder.pid !== 'number') return false
  try {
    process.kill(holder.pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
