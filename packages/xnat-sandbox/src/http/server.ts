/** The HTTP server: who asks, trouble on demand, the log, and replies on the wire. */

import { once, setMaxListeners } from 'node:events'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { isOpen } from '../api/xapi.js'
import { unauthorized } from '../api/services.js'
import type { Site } from '../api/site.js'
import { Exchange } from './exchange.js'
import type { RequestLog } from './log.js'
import { withoutSecrets } from './log.js'
import { HttpError, errorReply, type Reply } from './reply.js'
import { route } from './router.js'
import { basicCredentials, cookie } from './sessions.js'

export interface ServerOptions {
  readonly site: Site
  readonly log: RequestLog
  readonly now: () => number
  readonly tls: { readonly key: string | Buffer; readonly cert: string | Buffer } | undefined
}

export class SandboxServer {
  readonly #server: Server
  readonly #closing = new AbortController()
  readonly #running = new Set<Promise<void>>()

  constructor(readonly options: ServerOptions) {
    // Every request in flight listens to it.
    setMaxListeners(0, this.#closing.signal)
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      const work = this.#serve(request, response).finally(() => this.#running.delete(work))
      this.#running.add(work)
    }
    this.#server =
      options.tls === undefined ? createHttpServer(listener) : createHttpsServer(options.tls, listener)
    // Uploads take as long as they take.
    this.#server.requestTimeout = 0
    this.#server.keepAliveTimeout = 20_000
  }

  async listen(host: string, port: number): Promise<number> {
    this.#server.listen(port, host)
    await once(this.#server, 'listening')
    return (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    this.#closing.abort()
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
    await Promise.allSettled([...this.#running])
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { site, log, now } = this.options
    const atMs = now()
    const startedMs = performance.now()
    const target = request.url ?? '/'
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    request.on('error', () => gone.abort())
    const method = request.method ?? 'GET'
    const fate = site.faults.draw(method, target, atMs)
    let exchange: Exchange | undefined
    let status = 0
    try {
      if (fate.delayMs > 0) await delay(fate.delayMs, this.#closing.signal)
      if (fate.outage || fate.drop === 'before') {
        request.socket.destroy()
        return
      }
      let reply: Reply
      try {
        exchange = this.#exchange(request, target, atMs, AbortSignal.any([gone.signal, this.#closing.signal]))
        if (fate.error !== undefined) throw new HttpError(fate.error, 'Trouble, as asked.', 'tomcat')
        const early = this.#login(exchange)
        reply = early ?? (await route(site, exchange))
      } catch (error) {
        if (gone.signal.aborted) return
        reply = this.#failed(error, exchange)
      }
      if (fate.drop === 'after') {
        discard(reply)
        request.socket.destroy()
        return
      }
      await this.#write(request, response, exchange, reply, fate.truncate)
      status = reply.status
    } catch (error) {
      // The client is gone, or was cut off on purpose: there is nobody left to tell.
      request.socket.destroy()
      if (exchange !== undefined) exchange.note ??= error instanceof Error ? error.message : String(error)
    } finally {
      log.add({
        atMs,
        method,
        path: withoutSecrets(target),
        status,
        ms: performance.now() - startedMs,
        user: exchange?.user ?? '',
        route: exchange?.route ?? 'unknown',
        ...(exchange?.note === undefined ? {} : { note: exchange.note }),
      })
    }
  }

  #exchange(request: IncomingMessage, target: string, nowMs: number, signal: AbortSignal): Exchange {
    const { contextPath } = this.options.site.settings
    // Tomcat refuses these before anything else sees them.
    if (/[{}|\\^"<>\s]/.test(target) || /[[\]]/.test(target.split('?', 1)[0] ?? '')) {
      throw new HttpError(400, 'Invalid character found in the request target.', 'tomcat')
    }
    const question = target.indexOf('?')
    const path = question < 0 ? target : target.slice(0, question)
    if (/%2f|%5c/i.test(path)) throw new HttpError(400, 'Encoded slash in the path.', 'tomcat')
    if (contextPath !== '' && path !== contextPath && !path.startsWith(`${contextPath}/`)) {
      throw new HttpError(404, 'Nothing lies outside of the context path.', 'tomcat')
    }
    return new Exchange(
      request,
      path.slice(contextPath.length),
      question < 0 ? '' : target.slice(question + 1),
      nowMs,
      signal,
    )
  }

  /** @returns a reply, where the request ends here: a redirect to the login page */
  #login(exchange: Exchange): Reply | undefined {
    const { site } = this.options
    const { sessions, settings } = site
    const secure = settings.url.startsWith('https:')
    const given = cookie(exchange.header('cookie'), 'JSESSIONID')
    const session = given === undefined ? undefined : sessions.touch(given, exchange.nowMs)
    const basic = basicCredentials(exchange.header('authorization'))
    if (session !== undefined) {
      exchange.sessionId = session.id
      exchange.user = session.user
    } else if (basic === 'malformed') throw unauthorized(site, 'Bad credentials')
    else if (basic !== undefined) {
      const user = sessions.check(basic[0], basic[1], exchange.nowMs)
      if (user === undefined) throw unauthorized(site, 'Bad credentials')
      const started = sessions.start(user, exchange.nowMs)
      if (started === undefined) {
        exchange.note = `more than ${sessions.rules.maxPerUser} sessions at a time`
        throw unauthorized(site, 'Maximum sessions exceeded')
      }
      exchange.user = user
      exchange.startSession(started.id, settings.contextPath, secure)
    }
    exchange.extraHeaders.push([
      'Set-Cookie',
      `SESSION_EXPIRATION_TIME="${exchange.nowMs},${sessions.rules.timeoutMs}"; Path=${settings.contextPath === '' ? '/' : settings.contextPath}`,
    ])
    exchange.admin = site.archive.users.get(exchange.user)?.admin === true
    if (exchange.user === '') {
      if (this.#isOpen(exchange)) return undefined
      if (settings.requireLogin) {
        if (!exchange.browser) throw unauthorized(site)
        return { status: 302, headers: { Location: `${settings.url}/app/template/Login.vm` } }
      }
      exchange.user = 'guest'
    } else if (
      exchange.browser &&
      !['GET', 'HEAD'].includes(exchange.method) &&
      exchange.sessionId !== undefined
    ) {
      // Only what looks like a browser is asked for the token of its session.
      const expected = sessions.touch(exchange.sessionId, exchange.nowMs)?.csrf
      if (exchange.query.get('XNAT_CSRF') !== expected) throw new HttpError(500, 'INVALID CSRF')
    }
    return undefined
  }

  #isOpen(exchange: Exchange): boolean {
    const [prefix, ...rest] = exchange.segments
    if (prefix === undefined || prefix === 'app') return true
    if (prefix === 'xapi') return isOpen(rest)
    return (prefix === 'data' || prefix === 'REST') && rest[0] === 'services' && rest[1] === 'auth'
  }

  #failed(error: unknown, exchange: Exchange | undefined): Reply {
    if (error instanceof HttpError) return errorReply(error)
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    if (exchange !== undefined) exchange.note = message.split('\n').slice(0, 3).join(' ')
    return errorReply(new HttpError(500, 'Internal Server Error'))
  }

  async #write(
    request: IncomingMessage,
    response: ServerResponse,
    exchange: Exchange | undefined,
    reply: Reply,
    truncate: boolean,
  ): Promise<void> {
    const { body, headers = {}, status } = reply
    response.statusCode = status
    for (const [name, value] of Object.entries(headers))
      response.setHeader(name, typeof value === 'string' ? value : [...value])
    for (const [name, value] of exchange?.extraHeaders ?? []) response.appendHeader(name, value)
    // What was not read of a request must not be taken for the next one.
    if (!request.complete) response.setHeader('Connection', 'close')
    if (request.method === 'HEAD' || status === 204 || status === 304) {
      discard(reply)
      response.end()
      return
    }
    if (body instanceof Readable) {
      if (truncate) {
        await cutShort(body, response, Number(headers['Content-Length'] ?? 0))
        return
      }
      await pipeline(body, response)
      return
    }
    const bytes = Buffer.from(body ?? '')
    response.setHeader('Content-Length', String(bytes.length))
    if (truncate && bytes.length > 1) {
      response.write(bytes.subarray(0, Math.floor(bytes.length / 2)), () => response.destroy())
      await once(response, 'close')
      return
    }
    response.end(bytes)
    if (!response.writableFinished) await Promise.race([once(response, 'finish'), once(response, 'close')])
  }
}

function discard({ body }: Reply): void {
  if (body instanceof Readable) body.destroy()
}

/** Half of a stream of known length, else its first piece. */
async function cutShort(body: Readable, response: ServerResponse, length: number): Promise<void> {
  let left = Math.floor(length / 2)
  for await (const piece of body as AsyncIterable<Buffer>) {
    const part = length === 0 ? piece.subarray(0, Math.ceil(piece.length / 2)) : piece.subarray(0, left)
    left -= part.length
    if (part.length > 0) await new Promise<void>((done) => response.write(part, () => done()))
    if (length === 0 || left <= 0) break
  }
  body.destroy()
  response.destroy()
}

async function delay(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
