/** One conversation with one XNAT: a login kept, requests limited, dropped ones repeated where that is safe. */

import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AccessDeniedError,
  PipelineError,
  StoreProtocolError,
  StoreUnavailableError,
  printable,
  type CallOptions,
} from '@orbweaver/core'
import pLimit from 'p-limit'
import { abortable } from './abort.js'
import type { XnatCredentials } from './credentials.js'
import { Wire, readText } from './exchange.js'
import { htmlError, isHtml, replyError, type ReplyFacts } from './replies.js'
import type { XnatHttpOptions, XnatReply, XnatRequest, XnatStreamReply } from './request.js'

const LOGIN_PAUSE_MS = 60_000
const LONGEST_LOGIN_PAUSE_MS = 3_600_000
/** Of an error page, or of a reply read whole. */
const MAX_ERROR_CHARS = 64 * 1024
const MAX_TEXT_CHARS = 512 * 1024 * 1024

/** @internal Scripts use {@link XnatClient}. */
export class XnatHttp {
  readonly #options: XnatHttpOptions
  readonly #wire: Wire
  readonly #limit: ReturnType<typeof pLimit>
  #credentials: Promise<XnatCredentials> | undefined
  #user: string | undefined
  #session: Promise<string> | undefined
  #refused:
    { readonly error: AccessDeniedError; readonly untilMs: number; readonly pauseMs: number } | undefined
  #closed = false

  constructor(options: XnatHttpOptions) {
    this.#options = options
    this.#wire = new Wire(options)
    this.#limit = pLimit(options.requestLimit ?? 8)
  }

  /** Without a slash at the end. */
  get url(): string {
    return this.#wire.url
  }

  /** How many requests were sent so far, logins included. */
  get requests(): number {
    return this.#wire.requests
  }

  /** The name that is logged in, once it is known. */
  get user(): string | undefined {
    return this.#user
  }

  /** Send, and read the answer whole. */
  async text(request: XnatRequest): Promise<XnatReply> {
    return await this.#repeating(request, async () => {
      const reply = await this.#loggedIn(request)
      try {
        const text = await readText(reply.body, MAX_TEXT_CHARS)
        return { status: reply.status, headers: reply.headers, text }
      } catch (error) {
        throw this.#wire.failure(error, request)
      }
    })
  }

  /** Send, and give the answer's body as it comes. Errors of the body are the reader's: see {@link bodyError}. */
  async stream(request: XnatRequest): Promise<XnatStreamReply> {
    return await this.#repeating(request, () => this.#loggedIn(request))
  }

  /** What a failed body means. */
  bodyError(error: unknown, request: XnatRequest): unknown {
    return this.#wire.failure(error, request)
  }

  /** Log in now, or prove that the login still holds. @returns the user's name */
  async login(options: CallOptions = {}): Promise<string> {
    await abortable(this.#cookie(options.signal), options.signal)
    return this.#user ?? ''
  }

  /** Log out and let go of connections. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const session = this.#session
    this.#session = undefined
    if (session !== undefined) {
      try {
        const cookie = await session
        const signal = AbortSignal.timeout(5000)
        const reply = await this.#wire.exchange(
          { method: 'DELETE', path: '/data/JSESSION', signal },
          { cookie },
        )
        reply.body.resume()
      } catch (error) {
        // The session ends by itself after some minutes; there is nothing to be told and nothing to be done.
        if (!(error instanceof Error)) throw error
      }
    }
    this.#wire.close()
  }

  // ---------------------------------------------------------------- tries

  async #repeating<T>(request: XnatRequest, send: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new TypeError('The client has been closed.')
    const { tries = 5, firstDelayMs = 500, maxDelayMs = 15_000 } = this.#options.retry ?? {}
    const repeat = request.repeat ?? (request.method === 'POST' ? 'once' : 'safe')
    for (let attempt = 1; ; attempt += 1) {
      request.signal?.throwIfAborted()
      try {
        return await this.#limit(send)
      } catch (error) {
        if (request.signal?.aborted === true) throw request.signal.reason
        const again = error instanceof StoreUnavailableError && (repeat === 'safe' || neverArrived(error))
        if (!again || attempt >= tries || this.#closed) throw error
        const most = Math.min(firstDelayMs * 2 ** (attempt - 1), maxDelayMs)
        const asked = error.details.retryAfterMs
        const delayMs = typeof asked === 'number' ? Math.min(asked, 60_000) : most * (0.5 + Math.random() / 2)
        await pause(delayMs, request.signal)
      }
    }
  }

  async #loggedIn(request: XnatRequest): Promise<XnatStreamReply> {
    for (let logins = 0; ; logins += 1) {
      const session = this.#cookie(request.signal)
      const reply = await this.#wire.exchange(request, { cookie: await abortable(session, request.signal) })
      const good =
        (reply.status >= 200 && reply.status < 300) || request.also?.includes(reply.status) === true
      const type = reply.headers['content-type'] ?? ''
      // XNAT's answer to an upload says text/html and is JSON; anything else of that type is looked at before it is believed.
      const page = good && /^text\/html/i.test(type) && request.method === 'GET'
      if (good && !page) return reply
      const body = await readText(reply.body, MAX_ERROR_CHARS, true).catch((error: unknown) => {
        // A bad status says enough without its page.
        if (good) throw this.#wire.failure(error, request)
        return ''
      })
      const facts: ReplyFacts = { ...shown(request), status: reply.status, contentType: type, body }
      const away = reply.headers.location ?? ''
      const loggedOut =
        reply.status === 401 ||
        (reply.status >= 300 && reply.status < 400 && /login/i.test(away)) ||
        (page && isHtml(type, body) && /login/i.test(body))
      if (loggedOut && logins === 0) {
        this.#forget(session)
        continue
      }
      if (page && isHtml(type, body)) throw htmlError(facts)
      if (page) return { ...reply, body: Readable.from([Buffer.from(body)], { objectMode: false }) }
      throw withRetryAfter(replyError(facts, { user: this.#user }), reply.headers['retry-after'])
    }
  }

  // ---------------------------------------------------------------- login

  #forget(session: Promise<string>): void {
    // Whoever else was turned away has logged in again already: one login serves all.
    if (this.#session === session) this.#session = undefined
  }

  #cookie(signal: AbortSignal | undefined): Promise<string> {
    signal?.throwIfAborted()
    if (this.#refused !== undefined && Date.now() < this.#refused.untilMs) throw this.#refused.error
    const session = (this.#session ??= this.#logIn())
    session.catch(() => this.#forget(session))
    return session
  }

  async #logIn(): Promise<string> {
    const { credentials } = this.#options
    this.#credentials ??= typeof credentials === 'function' ? credentials() : Promise.resolve(credentials)
    let who: XnatCredentials
    try {
      who = await this.#credentials
    } catch (error) {
      this.#credentials = undefined
      throw error
    }
    this.#user = who.name
    const request: XnatRequest = who.needsForm()
      ? {
          method: 'PUT',
          path: '/data/services/auth',
          body: who.form(),
          contentType: 'application/x-www-form-urlencoded',
        }
      : { method: 'GET', path: '/data/JSESSION' }
    const reply = await this.#wire.exchange(
      request,
      who.needsForm() ? {} : { authorization: who.authorization() },
    )
    const body = await readText(reply.body, MAX_ERROR_CHARS, true).catch((error: unknown) => {
      throw this.#wire.failure(error, request)
    })
    const facts = {
      ...shown(request),
      status: reply.status,
      contentType: reply.headers['content-type'] ?? '',
      body,
    }
    if (reply.status === 401 || reply.status === 403) throw this.#refusal(facts, who)
    if (reply.status !== 200) throw replyError(facts, { user: who.name })
    if (isHtml(facts.contentType, body)) throw htmlError(facts)
    const cookie = sessionIn(reply.cookies) ?? body.trim()
    if (!/^[\w.!~-]{8,200}$/.test(cookie)) {
      throw new StoreProtocolError('XNAT answered the login with something that is no session.', {
        details: { path: request.path },
        hint: 'Check the URL of the archive.',
      })
    }
    this.#refused = undefined
    return cookie
  }

  /** XNAT locks an account after some failed logins: those who ask again at once get the same answer without a new try. */
  #refusal(facts: ReplyFacts, who: XnatCredentials): AccessDeniedError {
    const error = new AccessDeniedError(
      `XNAT at ${new URL(this.url).host} refused the login of user ${printable(who.name)} (status ${facts.status}; credentials from ${who.origin}).`,
      {
        details: { status: facts.status, user: who.name },
        hint: 'Check user and password, or issue a new alias token; after many sessions at once XNAT refuses new ones for some minutes.',
      },
    )
    const pauseMs = Math.min((this.#refused?.pauseMs ?? LOGIN_PAUSE_MS / 2) * 2, LONGEST_LOGIN_PAUSE_MS)
    this.#refused = { error, untilMs: Date.now() + pauseMs, pauseMs }
    return error
  }
}

function shown({ method, path }: XnatRequest): { readonly method: string; readonly path: string } {
  return { method, path }
}

function sessionIn(cookies: readonly string[]): string | undefined {
  for (const cookie of cookies) {
    const found = /^JSESSIONID="?([^;"]+)/.exec(cookie)?.[1]
    if (found !== undefined) return found
  }
  return undefined
}

function neverArrived(error: StoreUnavailableError): boolean {
  return ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'].includes(
    String(error.details.code),
  )
}

function withRetryAfter(error: PipelineError, header: string | undefined): PipelineError {
  const seconds = Number(header)
  if (!(error instanceof StoreUnavailableError) || header === undefined || !(seconds >= 0)) return error
  return new StoreUnavailableError(error.message, {
    details: { ...error.details, retryAfterMs: seconds * 1000 },
    ...(error.hint !== undefined && { hint: error.hint }),
  })
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    throw signal?.aborted === true ? signal.reason : error
  }
}
