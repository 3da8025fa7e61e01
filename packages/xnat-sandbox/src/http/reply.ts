/** What a request is answered with, and the error pages that clients of XNAT know. */

import type { Readable } from 'node:stream'
import { escapeXml } from '../model/xml.js'

export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Buffer | Readable
}

/** Which part of the server speaks: their error pages differ, and clients take them apart. */
export type Voice = 'restlet' | 'tomcat' | 'xapi'

/** Thrown by handlers: becomes an error page. */
export class HttpError extends Error {
  constructor(
    readonly status: number,
    message = '',
    readonly voice: Voice = 'restlet',
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message)
  }
}

export const notFound = (what: string): HttpError => new HttpError(404, `Unable to find ${what}.`)
export const forbidden = (message = 'You do not have permission to do that.'): HttpError =>
  new HttpError(403, message)

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  409: 'Conflict',
  417: 'Expectation Failed',
  422: 'Unprocessable Entity',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

export function errorReply(error: HttpError): Reply {
  const reason = REASONS[error.status] ?? 'Error'
  const message = error.message === '' ? reason : error.message
  if (error.voice === 'xapi') {
    return {
      status: error.status,
      headers: { 'Content-Type': 'text/plain;charset=UTF-8', ...error.headers },
      body: error.message,
    }
  }
  const body =
    error.voice === 'tomcat'
      ? `<!doctype html><html lang="en"><head><title>HTTP Status ${error.status} – ${reason}</title></head><body>` +
        `<h1>HTTP Status ${error.status} – ${reason}</h1><hr class="line" /><p><b>Type</b> Status Report</p>` +
        `<p><b>Message</b> ${escapeXml(message)}</p><hr class="line" /></body></html>`
      : // The unclosed <br> is part of it: clients that read pages as XML fall back to the text because of it.
        `<html>\n<head>\n   <title>Status page</title>\n</head>\n<body>\n<h3>${escapeXml(message)}</h3>` +
        `<p>You can get technical details <a href="https://www.rfc-editor.org/rfc/rfc9110#status.${error.status}">here</a>.<br>\n` +
        `Please continue your visit at our <a href="/">home page</a>.\n</p>\n</body>\n</html>\n`
  return {
    status: error.status,
    headers: { 'Content-Type': 'text/html;charset=UTF-8', ...error.headers },
    body,
  }
}

export const text = (body: string, status = 200, headers: Readonly<Record<string, string>> = {}): Reply => ({
  status,
  headers: { 'Content-Type': 'text/plain;charset=ISO-8859-1', ...headers },
  body,
})

export const json = (value: unknown, status = 200): Reply => ({
  status,
  headers: { 'Content-Type': 'application/json;charset=UTF-8' },
  body: JSON.stringify(value),
})

export const xml = (body: string): Reply => ({
  status: 200,
  headers: { 'Content-Type': 'text/xml;charset=UTF-8' },
  body,
})

export const html = (body: string, status = 200): Reply => ({
  status,
  headers: { 'Content-Type': 'text/html;charset=UTF-8' },
  body,
})

export const empty = (status = 200): Reply => ({ status, headers: { 'Content-Length': '0' } })
