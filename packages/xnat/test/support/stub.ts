/** A tiny HTTP server that answers as a test says: for what a sandbox would never do. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export type Answer = (request: Seen, reply: ServerResponse) => void | Promise<void>

export interface Stub {
  readonly url: string
  readonly seen: readonly Seen[]
  stop(): Promise<void>
}

/** Logins (`/data/JSESSION`) are answered `SESSION-n`, unless `answer` has answered already. */
export async function startStub(answer: Answer): Promise<Stub> {
  const seen: Seen[] = []
  let logins = 0
  const server: Server = createServer((request, reply) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const one: Seen = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString('utf8'),
      }
      seen.push(one)
      void (async () => {
        await answer(one, reply)
        if (reply.writableEnded || reply.headersSent || reply.destroyed) return
        if (one.method !== 'DELETE') logins += 1
        reply.appendHeader('set-cookie', `JSESSIONID=SESSION-${logins}; HttpOnly`)
        reply.end(`SESSION-${logins}`)
      })()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export const isLogin = ({ url }: Seen): boolean => url.includes('/data/JSESSION')
