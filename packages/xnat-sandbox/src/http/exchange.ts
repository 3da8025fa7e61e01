/** One request with what handlers ask of it. */

import type { IncomingMessage } from 'node:http'
import { HttpError } from './reply.js'

/** Bodies that are read into memory: documents and forms. Files are streamed and have no limit here. */
const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024

export class Query {
  readonly entries: readonly (readonly [string, string])[]

  constructor(text: string | readonly (readonly [string, string])[]) {
    this.entries = typeof text === 'string' ? [...new URLSearchParams(text)] : text
  }

  get(name: string): string | undefined {
    return this.entries.find(([key]) => key === name)?.[1]
  }

  all(name: string): readonly string[] {
    return this.entries.filter(([key]) => key === name).map(([, value]) => value)
  }

  has(name: string): boolean {
    return this.entries.some(([key]) => key === name)
  }

  /** True for anything but `false` and `0`; an absent parameter is not. */
  flag(name: string): boolean {
    const value = this.get(name)
    return value !== undefined && value !== 'false' && value !== '0'
  }

  with(more: Query): Query {
    return new Query([...this.entries, ...more.entries])
  }
}

export type Format = 'json' | 'xml' | 'csv' | 'html' | 'txt' | 'zip' | 'tar' | 'tar.gz' | 'other'

const FORMATS: Readonly<Record<string, Format>> = {
  json: 'json',
  'application/json': 'json',
  xml: 'xml',
  'text/xml': 'xml',
  'application/xml': 'xml',
  csv: 'csv',
  'text/csv': 'csv',
  html: 'html',
  'text/html': 'html',
  txt: 'txt',
  'text/plain': 'txt',
  zip: 'zip',
  'application/zip': 'zip',
  tar: 'tar',
  'application/x-tar': 'tar',
  'tar.gz': 'tar.gz',
  tgz: 'tar.gz',
  'application/x-gzip': 'tar.gz',
  'application/gtar': 'tar.gz',
}

export class Exchange {
  readonly method: string
  /** Decoded parts of the path, without the context path. */
  readonly segments: readonly string[]
  query: Query
  /** Name of who asks; `guest` where the site is open. */
  user = ''
  admin = false
  /** Where it was routed, for the log's counts: `projects/{P}/experiments`. */
  route = 'unknown'
  /** What to write to the log beside the status: why something is not here. */
  note: string | undefined
  /** The HTTP session of this request, old or just begun. */
  sessionId: string | undefined
  /** Cookies and the like, added to whatever is replied. */
  readonly extraHeaders: [string, string][] = []

  constructor(
    readonly request: IncomingMessage,
    readonly path: string,
    queryText: string,
    readonly nowMs: number,
    /** Aborted when the client goes away or the server closes. */
    readonly signal: AbortSignal,
  ) {
    this.method = request.method ?? 'GET'
    this.query = new Query(queryText)
    this.segments = path
      .split('/')
      .filter((part) => part !== '')
      .map((part) => decodePart(part))
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  get contentType(): string {
    return (this.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  }

  /** `format=` beats `Accept`; undefined: neither says anything that is served. */
  get format(): Format | undefined {
    const asked = this.query.get('format')
    if (asked !== undefined && asked !== '') return FORMATS[asked.toLowerCase()] ?? 'other'
    return undefined
  }

  /** The first media type of `Accept` that is in the list. */
  accepts(choices: readonly Format[]): Format | undefined {
    for (const entry of (this.header('accept') ?? '*/*').split(',')) {
      const type = entry.split(';')[0]?.trim().toLowerCase() ?? ''
      if (type === '*/*' || type === '') return choices[0]
      const format = FORMATS[type]
      if (format !== undefined && choices.includes(format)) return format
    }
    return undefined
  }

  get browser(): boolean {
    return /MSIE|Mozilla|AppleWebKit|Opera/.test(this.header('user-agent') ?? '')
  }

  startSession(id: string, contextPath: string, secure: boolean): void {
    this.sessionId = id
    this.extraHeaders.push([
      'Set-Cookie',
      `JSESSIONID=${id}; Path=${contextPath === '' ? '/' : contextPath}; ${secure ? 'Secure; ' : ''}HttpOnly`,
    ])
  }

  /** @throws HttpError 413 too long */
  async bodyText(): Promise<string> {
    const pieces: Buffer[] = []
    let length = 0
    for await (const piece of this.request as AsyncIterable<Buffer>) {
      length += piece.length
      if (length > MAX_DOCUMENT_BYTES) throw new HttpError(413, 'The document is too long.')
      pieces.push(piece)
    }
    return Buffer.concat(pieces).toString('utf8')
  }

  /** The fields of a url-encoded body; none of any other. */
  async form(): Promise<Query> {
    if (this.contentType !== 'application/x-www-form-urlencoded') return new Query('')
    return new Query(await this.bodyText())
  }
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new HttpError(400, 'Invalid percent-encoding in the path.', 'tomcat')
  }
}
