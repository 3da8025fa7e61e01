import fs from 'node:fs'
import path from 'node:path'

/** Who owns what the jobs of a claim have left. */
export function owners(folder: string): ReadonlySet<number> {
  const entries = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return new Set(entries.map((entry) => fs.lstatSync(path.join(folder, entry)).uid))
}
