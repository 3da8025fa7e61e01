/** How much one node has, from `pbsnodes -av` (OpenPBS) and `pbsnodes -a` (Torque): what is larger can never run in one piece. */

import { readBytes } from './values.js'

export interface NodeSizes {
  readonly cpus: number | undefined
  readonly gpus: number | undefined
  readonly memoryBytes: number | undefined
}

type Fields = ReadonlyMap<string, string>

/** The most of each that any one host has; several vnodes of OpenPBS may be parts of one host. */
export function largestNode(text: string): NodeSizes {
  const hosts = new Map<string, { cpus: number; gpus: number; memoryBytes: number }>()
  for (const [name, fields] of nodes(text)) {
    const host = fields.get('resources_available.host') ?? name
    const sum = hosts.get(host) ?? { cpus: 0, gpus: 0, memoryBytes: 0 }
    sum.cpus += count(fields.get('resources_available.ncpus') ?? fields.get('np'))
    sum.gpus += count(fields.get('resources_available.ngpus') ?? fields.get('gpus'))
    sum.memoryBytes += readBytes(fields.get('resources_available.mem')) ?? 0
    hosts.set(host, sum)
  }
  const most = (key: keyof NodeSizes): number | undefined => {
    const found = Math.max(0, ...[...hosts.values()].map((sizes) => sizes[key]))
    return found > 0 ? found : undefined
  }
  return { cpus: most('cpus'), gpus: most('gpus'), memoryBytes: most('memoryBytes') }
}

const count = (text: string | undefined): number => (/^\d{1,9}$/.test(text ?? '') ? Number(text) : 0)

/** A name at the start of a line, then its fields, indented. */
function nodes(text: string): ReadonlyMap<string, Fields> {
  const found = new Map<string, Map<string, string>>()
  let open = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const field = /^\s+([A-Za-z][\w.-]*) = (.*)$/.exec(line)
    if (field?.[1] !== undefined) open.set(field[1], field[2]?.trim() ?? '')
    else {
      // Fields after a line that is no name belong to nothing.
      open = new Map()
      if (/^[A-Za-z0-9][\w.-]*(?:\[\d+\])?\s*$/.test(line)) found.set(line.trim(), open)
    }
  }
  return found
}
