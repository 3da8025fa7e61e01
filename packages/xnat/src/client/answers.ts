/** The short answers of XNAT: ids, lists of duplicates, tokens. */

import { StoreProtocolError, printable } from '@orbweaver/core'
import { isHtml, messageIn } from './replies.js'

export interface AliasToken {
  /** To be used as user name. */
  readonly alias: string
  /** To be used as password. Keep it as one. */
  readonly secret: string
  readonly expiresAtMs?: number
}

/** An id alone on a line; web pages are refused. */
export function idIn(text: string): string {
  if (isHtml('', text)) {
    throw new StoreProtocolError(`XNAT answered with a page in place of an id: ${messageIn(text)}`)
  }
  return text.trim()
}

export function duplicatesIn(text: string): readonly string[] {
  const trimmed = text.trim()
  if (trimmed === '') return []
  if (trimmed.startsWith('{')) {
    const { duplicates } = parseJson(trimmed, 'an upload')
    if (Array.isArray(duplicates)) return duplicates.map(String)
  }
  // An answer of another kind (a workflow id) is no list of duplicates.
  if (isHtml('', trimmed)) {
    throw new StoreProtocolError(`XNAT answered an upload with a page: ${messageIn(trimmed)}`)
  }
  return []
}

/** An object. @param what - completes "the answer to …" */
export function parseJson(text: string, what: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>
  } catch (error) {
    throw new StoreProtocolError(`The answer of XNAT to ${what} is no JSON: ${printable(messageIn(text))}.`, {
      cause: error,
    })
  }
  throw new StoreProtocolError(`The answer of XNAT to ${what} is no object.`)
}

/** A token just issued, with its secret. */
export function tokenIn(text: string, what: string): AliasToken {
  const { alias, secret, estimatedExpirationTime } = parseJson(text, what)
  if (typeof alias !== 'string' || typeof secret !== 'string') {
    throw new StoreProtocolError('XNAT issued a token without alias or secret.')
  }
  return {
    alias,
    secret,
    ...(typeof estimatedExpirationTime === 'number' && { expiresAtMs: estimatedExpirationTime }),
  }
}

/** Tokens as they are listed: the secrets, which XNAT lists too, are left behind. */
export function tokensIn(text: string): readonly Omit<AliasToken, 'secret'>[] {
  const list: unknown = JSON.parse(text)
  if (!Array.isArray(list)) throw new StoreProtocolError('XNAT shows tokens in a form that cannot be read.')
  return list.flatMap((token: Readonly<Record<string, unknown>>) =>
    typeof token.alias === 'string'
      ? [
          {
            alias: token.alias,
            ...(typeof token.estimatedExpirationTime === 'number' && {
              expiresAtMs: token.estimatedExpirationTime,
            }),
          },
        ]
      : [],
  )
}
