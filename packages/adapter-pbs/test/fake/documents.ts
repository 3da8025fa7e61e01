/** Jobs as JSON and as XML. */

import { attributes, type Attribute } from './attributes.js'
import type { Job } from './model.js'
import { date, type Server } from './server.js'

export const plain = (value: Attribute['value']): string =>
  value instanceof Date ? date(value.getTime()) : String(value)

/** Nested by the dots of the names; `\t` and `:\t` as its writer has them. */
export function nest(found: readonly Attribute[]): Record<string, unknown> {
  const all: Record<string, unknown> = {}
  for (const { name, value } of found) {
    const [first = '', second] = name.split('.')
    if (name === 'Variable_List') {
      const variables: Record<string, unknown> = {}
      for (const part of plain(value).match(/(?:\\.|[^,\\])+/g) ?? []) {
        const [key = '', ...rest] = part.split('=')
        const text = rest.join('=')
        // What looks like a number becomes one.
        variables[key] = text !== '' && Number.isFinite(Number(text)) ? Number(text) : text
      }
      all[name] = variables
    } else if (second === undefined) all[first] = value instanceof Date ? plain(value) : value
    else {
      const inner = (all[first] ?? {}) as Record<string, unknown>
      inner[second] = value instanceof Date ? plain(value) : value
      all[first] = inner
    }
  }
  return all
}

export const print = (document: unknown): string =>
  `${JSON.stringify(document, undefined, '\t').replace(/^(\t*"(?:[^"\\]|\\.)*":) /gm, '$1\t')}\n`

export function document(server: Server, rest: Record<string, unknown>): string {
  return print({
    timestamp: Math.floor(Date.now() / 1000),
    pbs_version: '23.06.06',
    pbs_server: server.server,
    ...rest,
  })
}

/** Recorded: of several ids named, its container is made for the first only. */
export function json(jobs: readonly Job[], isNamed: boolean, server: Server): string {
  const [first] = jobs
  const shown =
    isNamed &&
    first !== undefined &&
    jobs.every((job) => (job.parent ?? job) !== (first.parent ?? first) || job === first)
      ? [first]
      : jobs
  if (shown.length === 0) return document(server, {})
  return document(server, {
    Jobs: Object.fromEntries(shown.map((job) => [server.idOf(job), nest(attributes(job, server))])),
  })
}

export const escape = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll("'", '&apos;')
    .replaceAll('"', '&quot;')

export function xml(jobs: readonly Job[], server: Server): string {
  if (jobs.length === 0) return ''
  const one = (job: Job): string => {
    const open = new Map<string, string>()
    const add = (name: string, text: string): void => {
      open.set(name, `${open.get(name) ?? ''}${text}`)
    }
    for (const { name, value } of attributes(job, server)) {
      const [first = '', second] = name.split('.')
      const text = escape(value instanceof Date ? String(Math.floor(value.getTime() / 1000)) : String(value))
      add(first, second === undefined ? text : `<${second}>${text}</${second}>`)
    }
    return `<Job><Job_Id>${server.idOf(job)}</Job_Id>${[...open].map(([name, text]) => `<${name}>${text}</${name}>`).join('')}</Job>`
  }
  return `<?xml version="1.0"?>\n<Data>${jobs.map(one).join('')}</Data>\n`
}
