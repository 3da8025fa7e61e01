/** What is asked of an XNAT and how, and what comes back. */

import type { Readable } from 'node:stream'
import type { CallOptions } from '@orbweaver/core'
import type { XnatCredentials } from './credentials.js'

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
  readonly body?: string | Uint8Array | BodySource
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
