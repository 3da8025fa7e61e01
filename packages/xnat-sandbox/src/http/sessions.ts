/** Logins: HTTP sessions with their limit and life, Basic credentials, alias tokens, lock after failures. */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Archive } from '../state/archive.js'

export interface HttpSession {
  readonly id: string
  readonly user: string
  readonly csrf: string
  lastMs: number
}

export interface SessionRules {
  /** Idle time after which a session ends. */
  readonly timeoutMs: number
  /** At one time for one user; the next login is refused. */
  readonly maxPerUser: number
  readonly maxFailedLogins: number
  readonly lockMs: number
}

export class Sessions {
  readonly #sessions = new Map<string, HttpSession>()
  readonly #ofUser = new Map<string, Set<HttpSession>>()
  readonly #failures = new Map<string, { count: number; lockedUntilMs: number }>()

  constructor(
    readonly archive: Archive,
    readonly rules: SessionRules,
  ) {}

  /** A living session; being asked for keeps it alive. */
  touch(id: string, nowMs: number): HttpSession | undefined {
    const session = this.#sessions.get(id)
    if (session === undefined) return undefined
    if (
      nowMs - session.lastMs > this.rules.timeoutMs ||
      this.archive.users.get(session.user)?.enabled !== true
    ) {
      this.end(id)
      return undefined
    }
    session.lastMs = nowMs
    return session
  }

  /** @returns undefined: the user has too many already */
  start(user: string, nowMs: number): HttpSession | undefined {
    const own = this.#ofUser.get(user) ?? new Set()
    this.#ofUser.set(user, own)
    if (own.size >= this.rules.maxPerUser) {
      for (const session of own) if (nowMs - session.lastMs > this.rules.timeoutMs) this.end(session.id)
      if (own.size >= this.rules.maxPerUser) return undefined
    }
    const session: HttpSession = {
      id: randomBytes(16).toString('hex').toUpperCase(),
      user,
      csrf: randomBytes(16).toString('hex'),
      lastMs: nowMs,
    }
    this.#sessions.set(session.id, session)
    own.add(session)
    return session
  }

  end(id: string): void {
    const session = this.#sessions.get(id)
    if (session === undefined) return
    this.#sessions.delete(id)
    this.#ofUser.get(session.user)?.delete(session)
  }

  endAllOf(user: string): void {
    for (const session of [...(this.#ofUser.get(user) ?? [])]) this.end(session.id)
  }

  countOf(user: string, nowMs: number): number {
    return [...(this.#ofUser.get(user) ?? [])].filter(({ lastMs }) => nowMs - lastMs <= this.rules.timeoutMs)
      .length
  }

  active(nowMs: number): readonly HttpSession[] {
    return [...this.#sessions.values()].filter(({ lastMs }) => nowMs - lastMs <= this.rules.timeoutMs)
  }

  /** @returns the user's name; undefined: wrong, disabled or locked */
  check(name: string, password: string, nowMs: number): string | undefined {
    const token = this.archive.tokens.get(name)
    if (token !== undefined) {
      return token.expiresMs > nowMs &&
        same(token.secret, password) &&
        this.archive.users.get(token.user)?.enabled === true
        ? token.user
        : undefined
    }
    // `provider/name` picks a way to log in; there is one here.
    const plain = name.slice(name.lastIndexOf('/') + 1)
    const user = this.archive.users.get(plain)
    const failures = this.#failures.get(plain) ?? { count: 0, lockedUntilMs: 0 }
    if (failures.lockedUntilMs > nowMs) return undefined
    if (user?.enabled === true && same(user.password, password)) {
      this.#failures.delete(plain)
      return plain
    }
    if (user !== undefined) {
      failures.count += 1
      if (failures.count >= this.rules.maxFailedLogins) {
        failures.count = 0
        failures.lockedUntilMs = nowMs + this.rules.lockMs
      }
      this.#failures.set(plain, failures)
    }
    return undefined
  }
}

/** Two parts and no more: the server's filter splits at every colon. */
export function basicCredentials(
  header: string | undefined,
): readonly [string, string] | 'malformed' | undefined {
  const encoded = /^Basic\s+(.+)$/i.exec(header ?? '')?.[1]
  if (encoded === undefined) return undefined
  const parts = Buffer.from(encoded, 'base64').toString('utf8').split(':')
  const [name, password] = parts
  return parts.length === 2 && name !== undefined && password !== undefined ? [name, password] : 'malformed'
}

export function cookie(header: string | undefined, name: string): string | undefined {
  for (const part of (header ?? '').split(';')) {
    const [key, ...value] = part.trim().split('=')
    if (key === name) return value.join('=')
  }
  return undefined
}

function same(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}
