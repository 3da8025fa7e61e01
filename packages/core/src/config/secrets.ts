/** Secrets have no place in a configuration file: it is copied, mailed and committed. */

import type { DataPath, DataProblem } from '../domain/problems.js'

// Also with something before it (`xnatPassword`, `DB_PASSWD`), but not after: `passwordFile` and `tokenVariable` name a place.
const SECRET_KEY = /(?:password|passwd|passphrase|secret|token|api[-_]?key|private[-_]?key|credentials?)$/i
// The short words only alone, or after a word that makes them one: `low_pass` is a filter, `fullPass` a setting of ours.
const SHORT_SECRET_KEY =
  /^(?:(?:.*[-_.])?(?:user|login|admin|root|xnat|db|database|smtp|mail|ldap|proxy|https?|ftp)[-_.]?)?(?:pass|pwd)$/i
const URL_WITH_PASSWORD = /^[a-z][a-z\d+.-]*:\/\/[^/\s@]*:[^/\s@]+@/i
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----/

const WAY_OUT =
  'keep it in an environment variable or in ~/.netrc; the manual of the store or transport says which'

export interface SecretScan {
  /** Never show the secret itself. */
  readonly problems: readonly DataProblem[]
  /** The data without the secrets: what is checked and shown from here on. */
  readonly data: unknown
}

/** Finds values that look like secrets, by key (`password`, `token`, …) or by form (`https://user:pass@host`, a private key). */
export function takeOutSecrets(data: unknown): SecretScan {
  const problems: DataProblem[] = []
  const clean = (value: unknown, path: DataPath): unknown => {
    if (Array.isArray(value)) return value.map((item, index) => clean(item, [...path, index]))
    if (typeof value === 'object' && value !== null) {
      const result: Record<string, unknown> = {}
      for (const [key, inner] of Object.entries(value)) {
        const isText = typeof inner === 'string' || typeof inner === 'number'
        if (isText && inner !== '' && isSecretKey(key)) {
          problems.push({
            path: [...path, key],
            at: 'key',
            message: 'this looks like a secret, and secrets do not belong in this file',
            hint: WAY_OUT,
          })
          continue
        }
        const kept = clean(inner, [...path, key])
        if (kept !== undefined) result[key] = kept
      }
      return result
    }
    if (typeof value !== 'string') return value
    if (URL_WITH_PASSWORD.test(value)) {
      problems.push({
        path,
        message: 'this address holds a password, and secrets do not belong in this file',
        hint: `drop the part before the @; ${WAY_OUT}`,
      })
      return value.replace(/\/\/[^/\s@]*:[^/\s@]+@/, '//')
    }
    if (PRIVATE_KEY.test(value)) {
      problems.push({ path, message: 'this is a private key; name the file that holds it instead' })
      return undefined
    }
    return value
  }
  const cleaned = clean(data, [])
  return { problems, data: cleaned }
}

function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key) || SHORT_SECRET_KEY.test(key)
}
