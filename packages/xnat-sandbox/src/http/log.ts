/** What was asked of the server: the last requests, counts, and one line each in a file where wanted. */

import { createWriteStream, type WriteStream } from 'node:fs'

export interface LoggedRequest {
  /** Epoch milliseconds, when it came. */
  readonly atMs: number
  readonly method: string
  /** With the query; secrets in it are blotted out. */
  readonly path: string
  /** 0: the connection was broken before a reply. */
  readonly status: number
  /** Until the reply was sent. */
  readonly ms: number
  readonly user: string
  /** As `GET projects/{P}/experiments`. */
  readonly route: string
  readonly note?: string
}

export interface Counts {
  readonly requests: number
  readonly byMethod: Readonly<Record<string, number>>
  readonly byRoute: Readonly<Record<string, number>>
  readonly byStatus: Readonly<Record<string, number>>
}

const KEEP = 20_000

export class RequestLog {
  readonly #recent: LoggedRequest[] = []
  readonly #byMethod = new Map<string, number>()
  readonly #byRoute = new Map<string, number>()
  readonly #byStatus = new Map<string, number>()
  #requests = 0
  readonly #file: WriteStream | undefined
  #fileProblem: Error | undefined

  constructor(
    file: string | undefined,
    readonly onRequest: ((request: LoggedRequest) => void) | undefined,
  ) {
    if (file === undefined) return
    this.#file = createWriteStream(file, { flags: 'a', mode: 0o600 })
    this.#file.on('error', (error) => {
      this.#fileProblem = error
    })
  }

  add(request: LoggedRequest): void {
    this.#requests += 1
    count(this.#byMethod, request.method)
    count(this.#byRoute, `${request.method} ${request.route}`)
    count(this.#byStatus, String(request.status))
    this.#recent.push(request)
    if (this.#recent.length >= KEEP * 2) this.#recent.splice(0, this.#recent.length - KEEP)
    this.onRequest?.(request)
    if (this.#file !== undefined && this.#fileProblem === undefined) this.#file.write(`${logLine(request)}\n`)
  }

  get recent(): readonly LoggedRequest[] {
    return this.#recent
  }

  counts(): Counts {
    return {
      requests: this.#requests,
      byMethod: Object.fromEntries(this.#byMethod),
      byRoute: Object.fromEntries([...this.#byRoute].sort(([, a], [, b]) => b - a)),
      byStatus: Object.fromEntries(this.#byStatus),
    }
  }

  async close(): Promise<void> {
    const file = this.#file
    if (file === undefined || this.#fileProblem !== undefined) return
    await new Promise<void>((done) => file.end(done))
  }
}

export function logLine({ atMs, method, path, status, ms, user, note }: LoggedRequest): string {
  const line = `${new Date(atMs).toISOString()} ${user === '' ? '-' : user} ${method} ${path} ${status === 0 ? 'broken' : status} ${Math.round(ms)}ms`
  // Whoever asks chooses the path and their name: no control character reaches the terminal or starts a line of its own.
  // eslint-disable-next-line no-control-regex -- these are the characters meant
  return (note === undefined ? line : `${line} (${note})`).replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}

/** Passwords and secrets that clients put into URLs. */
export function withoutSecrets(path: string): string {
  return path
    .replace(/([?&](?:j_)?(?:password|secret|XNAT_CSRF)=)[^&]*/gi, '$1***')
    .replace(/(\/services\/tokens\/(?:validate|invalidate)\/[^/?]*\/)[^/?]+/i, '$1***')
}

function count(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1)
}
