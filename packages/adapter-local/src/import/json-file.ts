/** Small JSON files of unknown origin. */

import { readFile, stat } from 'node:fs/promises'
import { systemErrorCode } from '@orbweaver/core'

export type JsonObject = Readonly<Record<string, unknown>>

/** Largest file that is read: sidecars are small texts; more is a mistake, or an attack on memory. */
const MAX_JSON_BYTES = 32 * 1024 * 1024

/** A JSON object from a file, or why there is none. */
export async function readJsonObject(path: string): Promise<JsonObject | string> {
  let text: string
  try {
    if ((await stat(path)).size > MAX_JSON_BYTES) return `it is larger than ${MAX_JSON_BYTES} bytes`
    text = (await readFile(path, 'utf8')).replace(/^\uFEFF/, '')
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    return `it cannot be read (${code})`
  }
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
    return 'it is JSON but not an object'
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    // The engine's own message quotes the text, which does not belong in a log: only the place is taken from it.
    const place = /position \d+/.exec(error.message)?.[0]
    return place === undefined ? 'it is not valid JSON' : `it is not valid JSON (at ${place})`
  }
}
