/** Looks for planted credentials wherever a run may have left them. */

import fs from 'node:fs'
import path from 'node:path'

/** Each secret as it is, and as it travels: a password in a header of its own is easily overlooked. */
export function shapesOf(secrets: Readonly<Record<string, string>>, user: string): Map<string, string> {
  const shapes = new Map<string, string>()
  for (const [name, secret] of Object.entries(secrets)) {
    shapes.set(secret, name)
    shapes.set(encodeURIComponent(secret), `${name}, encoded for a URL`)
    shapes.set(Buffer.from(secret).toString('hex'), `${name}, in hex`)
    shapes.set(Buffer.from(`${user}:${secret}`).toString('base64'), `${name}, as a Basic header`)
    shapes.set(JSON.stringify(secret).slice(1, -1), `${name}, in JSON`)
  }
  return shapes
}

/** @returns `FILE: WHAT` for each find, in names, links and bytes */
export function secretsBelow(
  folder: string,
  shapes: ReadonlyMap<string, string>,
  skip: (file: string) => boolean = () => false,
): string[] {
  const found: string[] = []
  const visit = (at: string): void => {
    for (const entry of fs.readdirSync(at, { withFileTypes: true })) {
      const file = path.join(at, entry.name)
      if (skip(file)) continue
      found.push(...secretsIn(entry.name, shapes).map((what) => `${file}: ${what} in its name`))
      if (entry.isDirectory()) visit(file)
      else if (entry.isFile()) {
        const content = fs.readFileSync(file, 'latin1')
        found.push(...secretsIn(content, shapes).map((what) => `${file}: ${what}`))
      }
    }
  }
  visit(folder)
  return found
}

export function secretsIn(text: string, shapes: ReadonlyMap<string, string>): string[] {
  return [...shapes].flatMap(([shape, what]) => (text.includes(shape) ? [what] : []))
}
