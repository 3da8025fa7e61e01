/** One request and its answer on the wire: the only place that knows axios. */

import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Readable } from 'node:stream'
import axios, { AxiosHeaders, type AxiosInstance, type AxiosResponse } from 'axios'
import { InputError, StoreProtocolError, StoreUnavailableError, printable } from '@orbweaver/core'
import { onAbort } from './abort.js'
import { transportError } from './replies.js'
import type { XnatHttpOptions, XnatRequest, XnatStreamReply } from './request.js'

const BROWSER_AGENT = /MSIE|Mozilla|AppleWebKit|Opera|Chrome|Safari|Gecko/i

/** How the request says who asks. */
export interface Login {
  readonly cookie?: string
  readonly authorization?: string
}

/** Of any status. */
export interface Answer extends XnatStreamReply {
  /** As set by the server. */
  readonly cookies: readonly string[]
}

export class Wire {
  /** Without a slash at the end. */
  readonly url: string
  readonly #options: XnatHttpOptions
  readonly #axios: AxiosInstance
  readonly #agents: readonly [HttpAgent, HttpsAgent]
  /** Sticky cookies of load balancers; XNAT's own session is kept apart. */
  readonly #cookies = new Map<string, string>()
  #requests = 0

  constructor(options: XnatHttpOptions) {
    this.url = baseUrl(options.url)
    this.#options = options
    if (options.userAgent !== undefined && BROWSER_AGENT.test(options.userAgent)) {
      throw new InputError('A user agent that looks like a browser gets web pages from XNAT: use another.')
    }
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
      // No limits. `Infinity` is one to axios 1.18: it then leads each piece of a body through a counting stream, and each
      // piece of an answer through a generator, which halves the speed of large files.
      maxBodyLength: -1,
      maxContentLength: -1,
      timeout: 0,
      validateStatus: () => true,
      transformRequest: (data: unknown) => data,
      httpAgent: this.#agents[0],
      httpsAgent: this.#agents[1],
    })
  }

  /** How many requests were sent so far. */
  get requests(): number {
    return this.#requests
  }

  /** Let go of connections. */
  close(): void {
    for (const agent of this.#agents) agent.destroy()
  }

  /** Send once. The caller reads the body to its end, or destroys it. @throws what {@link failure} makes of trouble */
  async exchange(request: XnatRequest, login: Login): Promise<Answer> {
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
      else if (body instanceof Uint8Array) data = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
      else if (body !== undefined) {
        data = await body.open(moved)
        data.once('error', (error) => (sourceError ??= error))
      }
      headers.set('content-type', contentType ?? (data === undefined ? false : 'application/octet-stream'))
      const bytes = Buffer.isBuffer(data)
        ? data.length
        : typeof body === 'object' && 'open' in body
          ? body.bytes
          : 0
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
      throw sourceError ?? idle ?? this.failure(error, request)
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

  /** What trouble with an exchange means. */
  failure(error: unknown, request: XnatRequest): unknown {
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

function headersOf(response: AxiosResponse): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(response.headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
  )
}

/** @param short - longer bodies are cut, not refused */
export async function readText(body: Readable, most: number, short = false): Promise<string> {
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
