/** What XNAT answers, as errors of ours. */

import {
  AccessDeniedError,
  ConflictError,
  InputError,
  NoSpaceError,
  NotFoundError,
  PipelineError,
  StoreProtocolError,
  StoreUnavailableError,
  isAbort,
  systemErrorCode,
} from '@orbweaver/core'

/** An answer's head, and as much of its body as is needed for a message. */
export interface ReplyFacts {
  readonly method: string
  /** Path below the server, without query. */
  readonly path: string
  readonly status: number
  readonly contentType: string
  readonly body: string
}

/** A web page where data was asked for: a login page, or a page of a proxy. */
export function isHtml(contentType: string, body: string): boolean {
  const start = body.trimStart().slice(0, 15).toLowerCase()
  return start.startsWith('<!doctype html') || start.startsWith('<html') || /^text\/html/i.test(contentType)
}

/**
 * The sentence in an error page: the `<h3>` of a Restlet status page, the message of a Tomcat page, else the start of the
 * plain text. Never more than 300 characters, tags taken out.
 */
export function messageIn(body: string): string {
  const inside =
    /<h3[^>]*>([\s\S]*?)<\/h3>/i.exec(body)?.[1] ??
    /<p><b>(?:Message|message)<\/b>([\s\S]*?)<\/p>/.exec(body)?.[1] ??
    /<title[^>]*>([\s\S]*?)<\/title>/i.exec(body)?.[1] ??
    body
  const text = unescapeHtml(inside.replace(/<[^>]*>/g, ' '))
    .replace(/\s+/g, ' ')
    .trim()
  return text.length > 300 ? `${text.slice(0, 299)}…` : text
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/** The five entities of XML, and numbers. Field values set by a query parameter are stored with entities. */
export function unescapeHtml(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));/gi, (whole, decimal, hex, name) => {
    if (typeof name === 'string') return ENTITIES[name] ?? whole
    const code = typeof decimal === 'string' ? Number(decimal) : Number.parseInt(String(hex), 16)
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole
  })
}

/** The error for an answer that is not the one hoped for. */
export function replyError(
  facts: ReplyFacts,
  context: { readonly user?: string | undefined },
): PipelineError {
  const { method, path, status, body } = facts
  const said = messageIn(body)
  const what = `${method} ${path}`
  const came = said === '' ? `status ${status}` : `${said} (status ${status})`
  const details = { method, path, status, said }
  const user = context.user === undefined ? 'this user' : `user ${context.user}`
  if (status === 507 || (status >= 500 && /no space left|disk (is )?full|quota exceeded/i.test(said))) {
    return new NoSpaceError(`XNAT has no room: ${came}. ${what}`, { details })
  }
  switch (status) {
    case 401:
      return new AccessDeniedError(`XNAT refused the login of ${user}: ${came}. ${what}`, {
        details,
        hint: 'Check user and password or token; after many logins XNAT refuses new ones until old sessions end.',
      })
    case 403:
      return new AccessDeniedError(`XNAT does not let ${user} do this: ${came}. ${what}`, {
        details,
        hint: 'Ask an owner of the project for the right (writing needs `member`, deleting usually `owner`).',
      })
    case 404:
      return new NotFoundError(`XNAT has no such thing: ${came}. ${what}`, {
        details,
        hint: 'It does not exist, or this user may not see it; XNAT does not tell which.',
      })
    case 409:
      return new ConflictError(`XNAT found a conflict: ${came}. ${what}`, { details })
    case 413:
      return new InputError(
        `The upload is larger than the server or a proxy before it lets through. ${what}`,
        {
          details,
          hint: "Raise the proxy's limit (nginx: client_max_body_size).",
        },
      )
    case 408:
    case 429:
      return new StoreUnavailableError(`XNAT is busy: ${came}. ${what}`, { details })
    default:
      if (status >= 500) {
        return new StoreUnavailableError(`XNAT cannot answer: ${came}. ${what}`, {
          details,
          hint: "Try again; if it stays so, look into the server's logs.",
        })
      }
      if (status >= 300 && status < 400) {
        return new StoreProtocolError(`XNAT sends elsewhere: status ${status}. ${what}`, {
          details,
          hint: 'Check the URL of the archive: https instead of http, or a path before /data.',
        })
      }
      return new InputError(`XNAT does not take this: ${came}. ${what}`, { details })
  }
}

/** A web page came in place of data, with a good status. */
export function htmlError(facts: ReplyFacts): StoreProtocolError {
  return new StoreProtocolError(
    `A web page came in place of data: ${messageIn(facts.body)} (status ${facts.status}). ${facts.method} ${facts.path}`,
    {
      details: { method: facts.method, path: facts.path, status: facts.status },
      hint: 'Check the URL of the archive; a proxy or single sign-on before XNAT answers like that.',
    },
  )
}

/** Codes of Node and axios that mean: no answer, nothing learnt. */
const DROPPED =
  /^(ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENETDOWN|ERR_NETWORK|ERR_BAD_RESPONSE|ERR_STREAM_PREMATURE_CLOSE|HPE_.*|ERR_CANCELED|Z_BUF_ERROR)$/

/**
 * A failed exchange as an error of ours: connection trouble is {@link StoreUnavailableError}, a bad certificate is an
 * {@link AccessDeniedError}, everything else passes through. Secrets in axios errors (headers) are left behind.
 */
export function transportError(error: unknown, method: string, path: string, host: string): unknown {
  if (error instanceof PipelineError || isAbort(error)) return error
  const code = systemErrorCode(error) ?? ''
  const said = error instanceof Error ? error.message : String(error)
  const details = { method, path, host, code }
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS|ERR_SSL|EPROTO/.test(code)) {
    return new AccessDeniedError(`The certificate of ${host} is not trusted: ${said} (${code}).`, {
      details,
      hint: 'Name the file with the certificate authority of your site as `ca`; verification cannot be turned off.',
    })
  }
  if (DROPPED.test(code) || said === 'aborted' || said === 'socket hang up') {
    return new StoreUnavailableError(`XNAT at ${host} cannot be reached: ${said}. ${method} ${path}`, {
      details,
      hint: 'Work waits and goes on when the archive is back.',
    })
  }
  return error
}
