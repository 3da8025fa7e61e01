/** One conversation with one XNAT: a login kept, requests limited, dropped ones repeated where that is safe. */

import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import axios, { AxiosHeaders, type AxiosInstance, type AxiosResponse } from 'axios'
import {
  AccessDeniedError,
  InputError,
  PipelineError,
  StoreProtocolError,
  StoreUnavailableError,
  printable,
  type CallOptions,
} from '@orbweaver/core'
import pLimit from 'p-limit'
import { onAbort } from './abort.js'
import type { XnatCredentials } from './credentials.js'
import { htmlError, isHtml, replyError, transportError, type ReplyFacts } from './replies.js'

/** How a request that failed for want of an answer is repeated. */
export interface RetryOptions {
  /** All in all. Default 5. */
  readonly tries?: number
  /** Before the second try; doubles from then on, with some chance in it. Default 500 ms. */
  readonly firstDelayMs?: number
  /** Default 15 000 ms. */
  readonly maxDelayMs?: number
}

/** One exchange, for counting and for logs. Never holds a secret or content. */
export interface RequestEvent {
  readonly method: string
  /** Below the server, without query. */
  readonly path: string
  /** Undefined: no answer. */
  readonly status: number | undefined
  /** Until the head of the answer was there. */
  readonly durationMs: number
}

export interface XnatHttpOptions {
  /** As `https://xnat.example.edu` or `https://example.edu/xnat`. */
  readonly url: string
  /** Or where to find them; asked once, at the first request. */
  readonly credentials: XnatCredentials | (() => Promise<XnatCredentials>)
  /** Certificates (PEM) to trust in place of the system's. */
  readonly ca?: string
  /** Requests under way at once. Default 8. */
  readonly requestLimit?: number
  readonly retry?: RetryOptions
  /** Longest time in which no byte moves. Default 300 000 ms; long because XNAT unpacks inside the request. */
  readonly idleTimeoutMs?: number
  /** Default `orbweaver`. Never a browser's: XNAT then answers with login pages. */
  readonly userAgent?: string
  readonly onRequest?: (event: RequestEvent) => void
}

/** A body that can be sent again: `open` is called once a try. */
export interface BodySource {
  /** Undefined: not known; only zip archives can be sent so. */
  readonly bytes: number | undefined
  /** @param moved - to be called when bytes have moved; the idle time begins anew */
  open(moved: () => void): Readable | Promise<Readable>
}

export interface XnatRequest extends CallOptions {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  /** Below the server, encoded: `/data/projects`. */
  readonly path: string
  /** In the order given; undefined ones are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly contentType?: string
  readonly body?: string | BodySource
  /**
   * Whether the same request may be sent again after a drop or a 5xx. `once`: only when it surely never arrived. Default:
   * `safe` for GET, PUT and DELETE, `once` for POST.
   */
  readonly repeat?: 'safe' | 'once'
  /** Good answers beside 2xx. */
  readonly also?: readonly number[]
}

/** A good answer. */
export interface XnatReply {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

export interface XnatStreamReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readable
}

const BROWSER_AGENT = /MSIE|Mozilla|AppleWebKit|Opera|Chrome|Safari|Gecko/i
const LOGIN_PAUSE_MS = 60_000
const LONGEST_LOGIN_PAUSE_MS = 3_600_000
/** Of an error page, or of a reply read whole. */
const MAX_ERROR_CHARS = 64 * 1024
const MAX_TEXT_CHARS = 512 * 1024 * 1024

/** @internal Scripts use {@link XnatClient}. */
export class XnatHttp {
  /** Without a slash at the end. */
  readonly url: string
  readonly #options: XnatHttpOptions
  readonly #axios: AxiosInstance
  readonly #agents: readonly [HttpAgent, HttpsAgent]
  readonly #limit: ReturnType<typeof pLimit>
  #credentials: Promise<XnatCredentials> | undefined
  #user: string | undefined
  #session: Promise<string> | undefined
  #refused:
    { readonly error: AccessDeniedError; readonly untilMs: number; readonly pauseMs: number } | undefined
  /** Sticky cookies of load balancers; XNAT's own session is kept apart. */
  readonly #cookies = new Map<string, string>()
  #requests = 0
  #closed = false

  constructor(options: XnatHttpOptions) {
    this.url = baseUrl(options.url)
    this.#options = options
    if (options.userAgent !== undefined && BROWSER_AGENT.test(options.userAgent)) {
      throw new InputError('A user agent that looks like a browser gets web pages from XNAT: use another.')
    }
    this.#limit = pLimit(options.requestLimit ?? 8)
    const agentOptions = { keepAlive: true, maxSockets: (options.requestLimit ?? 8) * 2 }
    this.#agents = [
      new HttpAgent(agentOptions),
      new HttpsAgent({ ...agentOptions, ...(options.ca !== undefined && { ca: options.ca }) }),
    ]
    this.#axios = axios.create({
      adapter: 'http',
      responseType: 'stream',
      // A redirect is an expired login or a wrong URL; following one would also hold a whole upload in memory.
      maxRedirects: 0,
      maxBodyLength: Infinity,
      maxContentLength: Infinity,
      timeout: 0,
      validateStatus: () => true,
      transformRequest: (data: unknown) => data,
      httpAgent: this.#agents[0],
      httpsAgent: this.#agents[1],
    })
  }

  /** How many requests were sent so far, logins included. */
  get requests(): number {
    return this.#requests
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
        throw this.#failure(error, request)
      }
    })
  }

  /** Send, and give the answer's body as it comes. Errors of the body are the reader's: see {@link bodyError}. */
  async stream(request: XnatRequest): Promise<XnatStreamReply> {
    return await this.#repeating(request, () => this.#loggedIn(request))
  }

  /** What a failed body means. */
  bodyError(error: unknown, request: XnatRequest): unknown {
    return this.#failure(error, request)
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
        const reply = await this.#exchange({ method: 'DELETE', path: '/data/JSESSION', signal }, { cookie })
        reply.body.resume()
      } catch (error) {
        // The session ends by itself after some minutes; there is nothing to be told and nothing to be done.
        if (!(error instanceof Error)) throw error
      }
    }
    for (const agent of this.#agents) agent.destroy()
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
      const reply = await this.#exchange(request, { cookie: await abortable(session, request.signal) })
      const good =
        (reply.status >= 200 && reply.status < 300) || request.also?.includes(reply.status) === true
      const type = reply.headers['content-type'] ?? ''
      // XNAT's answer to an upload says text/html and is JSON; anything else of that type is looked at before it is believed.
      const page = good && /^text\/html/i.test(type) && request.method === 'GET'
      if (good && !page) return reply
      const body = await readText(reply.body, MAX_ERROR_CHARS, true).catch((error: unknown) => {
        // A bad status says enough without its page.
        if (good) throw this.#failure(error, request)
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
      if (page) return { ...reply, body: await asStream(body) }
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
    const reply = await this.#exchange(request, who.needsForm() ? {} : { authorization: who.authorization() })
    const body = await readText(reply.body, MAX_ERROR_CHARS, true).catch((error: unknown) => {
      throw this.#failure(error, request)
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

  // ---------------------------------------------------------------- one exchange

  async #exchange(
    request: XnatRequest,
    login: { readonly cookie?: string; readonly authorization?: string },
  ): Promise<XnatStreamReply & { readonly cookies: readonly string[] }> {
    const { method, path, query, body, contentType, signal } = request
    const { idleTimeoutMs = 300_000, userAgent = 'orbweaver', onRequest } = this.#options
    const controller = new AbortController()
    const forget = onAbort(signal, () => controller.abort(signal?.reason))
    let idle: StoreUnavailableError | undefined
    const giveUp = (): void => {
      idle = new StoreUnavailableError(
        `XNAT at ${new URL(this.url).host} sent and took nothing for ${Math.round(idleTimeoutMs / 1000)} s. ${method} ${path}`,
        { details: { method, path, code: 'IDLE' } },
      )
      controller.abort(idle)
    }
    const timer = setTimeout(giveUp, idleTimeoutMs)
    timer.unref()
    const moved = (): void => {
      timer.refresh()
    }
    const done = (): void => {
      clearTimeout(timer)
      forget()
    }
    const cookies = [...this.#cookies].map(([name, value]) => `${name}=${value}`)
    if (login.cookie !== undefined) cookies.push(`JSESSIONID=${login.cookie}`)
    const headers = new AxiosHeaders({ 'user-agent': userAgent, accept: '*/*' })
    if (cookies.length > 0) headers.set('cookie', cookies.join('; '))
    if (login.authorization !== undefined) headers.set('authorization', login.authorization)
    let data: Readable | Buffer | undefined
    let sourceError: Error | undefined
    const startMs = performance.now()
    this.#requests += 1
    const tell = (status: number | undefined): void =>
      onRequest?.({ method, path, status, durationMs: performance.now() - startMs })
    try {
      if (typeof body === 'string') data = Buffer.from(body)
      else if (body !== undefined) {
        data = await body.open(moved)
        data.once('error', (error) => (sourceError ??= error))
      }
      headers.set('content-type', contentType ?? (data === undefined ? false : 'application/octet-stream'))
      const bytes = Buffer.isBuffer(data) ? data.length : typeof body === 'object' ? body.bytes : 0
      if (bytes !== undefined && method !== 'GET') headers.set('content-length', String(bytes))
      const response: AxiosResponse<Readable> = await this.#axios.request({
        method,
        url: `${this.url}${path}${queryText(query)}`,
        headers,
        data,
        signal: controller.signal,
      })
      tell(response.status)
      response.data.on('data', moved)
      response.data.pause()
      response.data.once('close', done)
      // Somebody else reads the body; an error that comes when nobody looks must not end the process.
      response.data.on('error', done)
      const setCookies = response.headers['set-cookie'] ?? []
      this.#keepCookies(setCookies)
      return {
        status: response.status,
        headers: headersOf(response),
        body: response.data,
        cookies: setCookies,
      }
    } catch (error) {
      tell(undefined)
      done()
      if (signal?.aborted === true) throw signal.reason
      throw sourceError ?? idle ?? this.#failure(error, request)
    } finally {
      if (data !== undefined && !Buffer.isBuffer(data) && !data.destroyed && !data.readableEnded)
        data.destroy()
    }
  }

  #keepCookies(lines: readonly string[]): void {
    for (const line of lines) {
      const [pair = '', ...attributes] = line.split(';')
      const [name = '', ...rest] = pair.split('=')
      const key = name.trim()
      if (key === '' || key === 'JSESSIONID' || key === 'SESSION_EXPIRATION_TIME') continue
      if (attributes.some((attribute) => /^\s*max-age\s*=\s*0\s*$/i.test(attribute)))
        this.#cookies.delete(key)
      else if (this.#cookies.size < 20) this.#cookies.set(key, rest.join('=').trim())
    }
  }

  #failure(error: unknown, request: XnatRequest): unknown {
    if (request.signal?.aborted === true) return request.signal.reason
    return transportError(error, request.method, request.path, new URL(this.url).host)
  }
}

function baseUrl(text: string): string {
  let url: URL
  try {
    url = new URL(text)
  } catch (error) {
    throw new InputError(`${printable(text)} is no URL of an archive.`, { cause: error })
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new InputError(`${printable(text)} is no http or https URL.`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new InputError('The URL of the archive holds a user name or password.', {
      hint: 'Take it out: credentials come from the environment or ~/.netrc.',
    })
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '').replace(/\/data$/, '')}`
}

function queryText(query: XnatRequest['query']): string {
  const parts = Object.entries(query ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`],
  )
  return parts.length === 0 ? '' : `?${parts.join('&')}`
}

function shown({ method, path }: XnatRequest): { readonly method: string; readonly path: string } {
  return { method, path }
}

function headersOf(response: AxiosResponse): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(response.headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
  )
}

function sessionIn(cookies: readonly string[]): string | undefined {
  for (const cookie of cookies) {
    const found = /^JSESSIONID="?([^;"]+)/.exec(cookie)?.[1]
    if (found !== undefined) return found
  }
  return undefined
}

/** @param short - longer bodies are cut, not refused */
async function readText(body: Readable, most: number, short = false): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length
    chunks.push(chunk)
    if (bytes <= most) continue
    body.destroy()
    if (short) break
    throw new StoreProtocolError(`An answer of XNAT is longer than ${most} bytes.`)
  }
  return Buffer.concat(chunks).toString('utf8')
}

async function asStream(text: string): Promise<Readable> {
  const { Readable: stream } = await import('node:stream')
  return stream.from([Buffer.from(text)], { objectMode: false })
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

/** The login is shared: one who gives up leaves it to the others. */
async function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work
  let forget = (): void => undefined
  try {
    return await Promise.race([
      work,
      new Promise<never>((_resolve, reject) => {
        forget = onAbort(signal, () => reject(signal.reason as Error))
      }),
    ])
  } finally {
    forget()
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    throw signal?.aborted === true ? signal.reason : error
  }
}
