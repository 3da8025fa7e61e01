/**
 * The second process of the locking check: `node lock-probe.js DATABASE`. Prints `busy` when the database is locked by
 * another process, as it must be while the first one writes; else adds one to the number in it and prints the new one.
 */

import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import Database from 'better-sqlite3'
import { isBusy } from './store-errors.js'

export function probe(path: string): string {
  const sqlite = new Database(path, { timeout: 0, fileMustExist: true })
  try {
    sqlite.exec('BEGIN IMMEDIATE')
    sqlite.exec('UPDATE probe SET n = n + 1')
    const row = sqlite.prepare<[], { n: number }>('SELECT n FROM probe').get()
    sqlite.exec('COMMIT')
    return String(row?.n)
  } catch (error) {
    if (isBusy(error)) return 'busy'
    throw error
  } finally {
    sqlite.close()
  }
}

const [, script, database] = process.argv
if (
  script !== undefined &&
  database !== undefined &&
  import.meta.url === pathToFileURL(resolve(script)).href
) {
  process.stdout.write(`${probe(database)}\n`)
}
