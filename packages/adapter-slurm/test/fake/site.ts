/** `sinfo` and `sacctmgr`: what the site is made of. */

import type { Cluster } from './cluster.js'
import type { FakeNode, FakePartition } from './model.js'
import type { Output, Request } from './programs.js'
import { clock, readLine, type OptionTable } from './words.js'

const SINFO: OptionTable = {
  all: ['a', false],
  clusters: ['M', true],
  exact: ['e', false],
  format: ['o', true],
  noheader: ['h', false],
  version: ['V', false],
}

interface Group {
  readonly partition: FakePartition
  readonly nodes: readonly FakeNode[]
  readonly state: string
}

const SHORT: Readonly<Record<string, string>> = { mixed: 'mix', allocated: 'alloc', drained: 'drain' }

export function sinfo(request: Request, cluster: Cluster): Output {
  const { options } = readLine('sinfo', request.args, SINFO)
  const groups = cluster.site.partitions.flatMap((partition) => groupsOf(partition, cluster))
  const fields: Readonly<Record<string, readonly [header: string, of: (group: Group) => string]>> = {
    P: ['PARTITION', ({ partition: { name } }) => `${name}${name === cluster.defaultPartition ? '*' : ''}`],
    a: ['AVAIL', ({ partition }) => (cluster.isUp(partition) ? 'up' : 'down')],
    l: [
      'TIMELIMIT',
      ({ partition: { maxMinutes } }) => (maxMinutes === undefined ? 'infinite' : clock(maxMinutes * 60)),
    ],
    c: ['CPUS', ({ nodes }) => String(nodes[0]?.cpus ?? 0)],
    m: ['MEMORY', ({ nodes }) => String(nodes[0]?.memoryMb ?? 0)],
    G: ['GRES', ({ nodes }) => (nodes[0]?.gpus === undefined ? '(null)' : `gpu:${nodes[0].gpus}`)],
    D: ['NODES', ({ nodes }) => String(nodes.length)],
    T: ['STATE', ({ state }) => state],
    t: ['STATE', ({ state }) => SHORT[state] ?? state],
    N: ['NODELIST', ({ nodes }) => nodes.map(({ name }) => name).join(',')],
    C: [
      'CPUS(A/I/O/T)',
      ({ nodes }) => {
        const total = nodes.reduce((sum, { cpus }) => sum + cpus, 0)
        const used = nodes.reduce((sum, node) => sum + cluster.usedOf(node).cpus, 0)
        return `${used}/${total - used}/0/${total}`
      },
    ],
  }
  const format = options.get('format') ?? '%9P %.5a %.10l %.6D %.6t %N'
  const fill = (of: (letter: string) => string): string =>
    format.replace(/%(\.?)(\d*)([A-Za-z])/g, (_all, right: string, digits: string, letter: string) => {
      const text = of(letter)
      if (digits === '') return text
      return right === '' ? text.padEnd(Number(digits)) : text.padStart(Number(digits))
    })
  const lines = groups.map((group) => fill((letter) => fields[letter]?.[1](group) ?? ''))
  const header = options.has('noheader') ? [] : [fill((letter) => fields[letter]?.[0] ?? '')]
  return { exitCode: 0, stdout: [...header, ...lines].map((line) => `${line}\n`).join(''), stderr: '' }
}

/** Nodes of one kind and state. */
function groupsOf(partition: FakePartition, cluster: Cluster): readonly Group[] {
  const groups = new Map<string, Group>()
  for (const node of cluster.nodesOf(partition)) {
    const used = cluster.usedOf(node).cpus
    const down = cluster.downNodes.get(node.name)
    const free = used === 0 ? 'idle' : used < node.cpus ? 'mixed' : 'allocated'
    const state = down === undefined ? free : down === 'DOWN' ? 'down' : 'drained'
    const key = [node.cpus, node.memoryMb, node.gpus, state].join()
    groups.set(key, { partition, state, nodes: [...(groups.get(key)?.nodes ?? []), node] })
  }
  return [...groups.values()]
}

/** Only `-nP show assoc|qos [where user=…] format=…`. */
export function sacctmgr(request: Request, cluster: Cluster): Output {
  const { site } = cluster
  const words = request.args.filter((word) => !word.startsWith('-'))
  const columns =
    words
      .find((word) => word.startsWith('format='))
      ?.slice('format='.length)
      .split(',') ?? []
  const user = words.find((word) => word.startsWith('user='))?.slice('user='.length)
  const minutes = (value: number | undefined): string => (value === undefined ? '' : clock(value * 60, true))
  const number = (value: number | undefined): string => (value === undefined ? '' : String(value))
  const rows: readonly Readonly<Record<string, string>>[] = words.includes('qos')
    ? site.qos.map((one) => ({
        name: one.name,
        maxwall: minutes(one.maxWallMinutes),
        maxsubmitpu: number(one.maxSubmit),
      }))
    : site.accounts.map((one) => ({
        cluster: site.clusterName,
        account: one.name,
        user: user ?? request.user,
        partition: '',
        qos: site.qos.map(({ name }) => name).join(','),
        maxsubmit: number(one.maxSubmit),
        maxwall: minutes(one.maxWallMinutes),
      }))
  const lines = rows.map((row) => `${columns.map((column) => row[column] ?? '').join('|')}\n`)
  return { exitCode: 0, stdout: lines.join(''), stderr: '' }
}
