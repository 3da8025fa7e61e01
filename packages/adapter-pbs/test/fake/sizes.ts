/** What a job asks for, and how the server then shows it. */

import type { Refused } from './refused.js'

export function seconds(text: string): number | undefined {
  if (!/^\d+(:\d+){0,2}(\.\d+)?$/.test(text)) return undefined
  return text.split(':').reduce((sum, part) => sum * 60 + Number(part), 0)
}
export function kilobytes(text: string): number | undefined {
  const found = /^(\d+)(b|kb|mb|gb|tb|w)?$/i.exec(text)
  if (found === null) return undefined
  const unit = (found[2] ?? 'b').toLowerCase()
  const factor = { b: 1 / 1024, w: 8 / 1024, kb: 1, mb: 1024, gb: 1024 ** 2, tb: 1024 ** 3 }[unit] ?? 1
  return Math.ceil(Number(found[1]) * factor)
}

export interface Size {
  readonly cpus: number
  readonly gpus: number
  readonly memoryKb: number | undefined
  /** Resource_List, in the server's order. */
  readonly shown: Map<string, string>
}

export function openpbsSize(
  asked: ReadonlyMap<string, string>,
  no: (exit: number, text: string) => Refused,
): Size {
  const select =
    asked.get('select') ??
    [
      '1',
      ...['ncpus', 'mem', 'ngpus'].flatMap((key) =>
        asked.has(key) ? [`${key}=${asked.get(key) ?? ''}`] : [],
      ),
    ].join(':')
  if (asked.has('select') && ['ncpus', 'mem', 'ngpus'].some((key) => asked.has(key)))
    throw no(184, '"-lresource=" cannot be used with "select" or "place", resource is: ncpus')
  let cpus = 0
  let gpus = 0
  let memory = 0
  let chunks = 0
  const whole = select
    .split('+')
    .map((chunk) => (/(^|:)ncpus=/.test(chunk) ? chunk : `${chunk}:ncpus=1`))
    .join('+')
  for (const chunk of whole.split('+')) {
    const [first = '1', ...rest] = chunk.split(':')
    const count = /^\d+$/.test(first) ? Number(first) : 1
    const values = new Map(
      (/^\d+$/.test(first) ? rest : [first, ...rest]).map((part) => part.split('=') as [string, string]),
    )
    for (const [key, value] of values) {
      if (!['ncpus', 'ngpus', 'mem', 'vmem', 'mpiprocs', 'ompthreads', 'host', 'vnode', 'arch'].includes(key))
        throw no(187, `Unknown resource: ${key}`)
      if (value === undefined || (key === 'mem' && kilobytes(value) === undefined))
        throw no(166, `Illegal attribute or resource value Resource_List.select`)
    }
    chunks += count
    cpus += count * Number(values.get('ncpus') ?? 1)
    gpus += count * Number(values.get('ngpus') ?? 0)
    memory += count * (kilobytes(values.get('mem') ?? '0') ?? 0)
  }
  const shown = new Map<string, string>()
  if (memory > 0) shown.set('mem', short(memory))
  shown.set('ncpus', String(cpus))
  if (gpus > 0) shown.set('ngpus', String(gpus))
  shown.set('nodect', String(chunks))
  shown.set('place', asked.get('place') ?? (asked.has('select') ? 'free' : 'pack'))
  shown.set('select', whole)
  const walltime = asked.get('walltime')
  if (walltime !== undefined) shown.set('walltime', walltime.includes(':') ? walltime : hms(Number(walltime)))
  return { cpus, gpus, memoryKb: memory === 0 ? undefined : memory, shown }
}

/** The largest unit that leaves no rest, as the server does. */
function short(kb: number): string {
  const units = ['kb', 'mb', 'gb', 'tb']
  let value = kb
  let unit = 0
  while (value % 1024 === 0 && unit < 3) {
    value /= 1024
    unit += 1
  }
  return `${value}${units[unit] ?? 'kb'}`
}
const hms = (total: number): string =>
  [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60]
    .map((part) => String(part).padStart(2, '0'))
    .join(':')

export function torqueSize(asked: ReadonlyMap<string, string>, defaultWalltime: string): Size {
  const nodes = asked.get('nodes') ?? (asked.has('ncpus') ? `1:ppn=${asked.get('ncpus') ?? '1'}` : '1')
  let cpus = 0
  let gpus = 0
  let count = 0
  for (const chunk of nodes.split('+')) {
    const [first = '1', ...rest] = chunk.split(':')
    const times = /^\d+$/.test(first) ? Number(first) : 1
    count += times
    cpus += times * Number(rest.find((part) => part.startsWith('ppn='))?.slice(4) ?? 1)
    gpus += times * Number(rest.find((part) => part.startsWith('gpus='))?.slice(5) ?? 0)
  }
  const perJob = kilobytes(asked.get('mem') ?? '')
  const perProcess = kilobytes(asked.get('pmem') ?? '')
  const shown = new Map<string, string>()
  for (const key of ['mem', 'pmem', 'vmem', 'pvmem']) {
    const value = asked.get(key)
    if (value !== undefined) shown.set(key, value)
  }
  const walltime = asked.get('walltime') ?? defaultWalltime
  shown.set('walltime', walltime.includes(':') ? walltime : hms(Number(walltime)))
  shown.set('nodes', nodes)
  shown.set('nodect', String(count))
  return { cpus, gpus, memoryKb: perJob ?? (perProcess === undefined ? undefined : perProcess * cpus), shown }
}
