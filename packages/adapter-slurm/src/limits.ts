/** What the site allows, from `scontrol show config`, `sinfo` and `sacctmgr`. */

import type { BackendLimits } from '@orbweaver/core'
import { answer, type ProbeReplies, type Reading, type Reply } from '@orbweaver/core/command-line'
import { failureOf, plain } from './complaints.js'
import type { SlurmConfig } from './config.js'
import { readClock } from './values.js'

/** `Key = value` lines. */
export function readConfig(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^(\S+)\s+=\s?(.*)$/.exec(line.trim())
    if (match?.[1] !== undefined) found.set(match[1], (match[2] ?? '').trim())
  }
  return found
}

/** Nodes of one kind in one partition, as `sinfo -h -e -o '%P|%a|%l|%c|%m|%G|%D|%T'` prints them. */
export interface NodeKind {
  readonly partition: string
  readonly isDefault: boolean
  readonly up: boolean
  /** Undefined: no limit. */
  readonly walltimeSeconds: number | undefined
  readonly cpus: number
  readonly memoryBytes: number
  readonly gpus: number
  readonly nodes: number
  readonly state: string
}

export const NODE_FORMAT = '%P|%a|%l|%c|%m|%G|%D|%T'

export function readNodeKinds(text: string): readonly NodeKind[] {
  return text.split('\n').flatMap((line) => {
    const parts = line.trim().split('|')
    if (parts.length !== 8) return []
    const [name = '', avail, limit = '', cpus, memory, gres = '', nodes, state = ''] = parts
    const count = Number.parseInt(cpus ?? '', 10)
    const megabytes = Number.parseInt(memory ?? '', 10)
    if (name === '' || !Number.isFinite(count) || !Number.isFinite(megabytes)) return []
    return [
      {
        partition: name.replace(/\*$/, ''),
        isDefault: name.endsWith('*'),
        up: avail === 'up',
        walltimeSeconds: readClock(limit),
        cpus: count,
        memoryBytes: megabytes * 1024 ** 2,
        gpus: gpusOf(gres),
        nodes: Number.parseInt(nodes ?? '', 10) || 0,
        state,
      },
    ]
  })
}

/** `gpu:a100:4(S:0-1),gpu:2` → 6. */
function gpusOf(gres: string): number {
  let total = 0
  for (const match of gres.matchAll(/(?:^|,)gpu(?::[^:,()]+)?:(\d+)/g)) total += Number(match[1])
  return total
}

/** The nodes that jobs of this site can go to. */
export function chosenKinds(kinds: readonly NodeKind[], config: SlurmConfig): readonly NodeKind[] {
  const wanted = (config.partition ?? config.queue)?.split(',')
  return kinds.filter(({ partition, isDefault }) =>
    wanted === undefined ? isDefault : wanted.includes(partition),
  )
}

/** `sacctmgr -nP show assoc …`: of the user's associations, those of the account that is used. */
export interface Association {
  readonly account: string
  readonly partition: string
  readonly qos: readonly string[]
  readonly maxSubmit?: number
  readonly maxWallSeconds?: number
}
export const ASSOCIATION_FORMAT = 'account,user,partition,qos,maxsubmit,maxwall'

export function readAssociations(text: string): readonly Association[] {
  return text.split('\n').flatMap((line) => {
    const parts = line.replace(/\r$/, '').split('|')
    if (parts.length !== 6) return []
    const [account = '', , partition = '', qos = '', submit = '', wall = ''] = parts
    const maxWallSeconds = readClock(wall)
    return [
      {
        account,
        partition,
        qos: qos.split(',').filter(Boolean),
        ...(/^\d+$/.test(submit) && { maxSubmit: Number(submit) }),
        ...(maxWallSeconds !== undefined && { maxWallSeconds }),
      },
    ]
  })
}

export interface Qos {
  readonly name: string
  readonly maxWallSeconds?: number
  readonly maxSubmit?: number
}
export const QOS_FORMAT = 'name,maxwall,maxsubmitpu,maxsubmitpa,grpsubmit'

export function readQos(text: string): readonly Qos[] {
  return text.split('\n').flatMap((line) => {
    const parts = line.replace(/\r$/, '').split('|')
    if (parts.length !== 5) return []
    const [name = '', wall, ...counts] = parts
    const numbers = counts.filter((count) => /^\d+$/.test(count)).map(Number)
    const maxWallSeconds = readClock(wall)
    return [
      {
        name,
        ...(maxWallSeconds !== undefined && { maxWallSeconds }),
        ...(numbers.length > 0 && { maxSubmit: Math.min(...numbers) }),
      },
    ]
  })
}

const text = (reply: Reply | { readonly failure: string } | undefined): string =>
  reply === undefined || 'failure' in reply || reply.exitCode !== 0 ? '' : reply.stdout

/** Probes: `config` and `nodes` must answer; `associations` and `qos` are there where there is accounting. */
export function readLimits(replies: ProbeReplies, config: SlurmConfig): Reading<BackendLimits> {
  for (const name of ['config', 'nodes']) {
    const reply = replies.get(name)
    if (reply === undefined || 'failure' in reply)
      return { kind: 'unavailable', message: reply?.failure ?? `${name} was not asked` }
    const failure = failureOf(reply)
    if (failure !== undefined) return failure
  }
  const settings = readConfig(text(replies.get('config')))
  const kinds = readNodeKinds(text(replies.get('nodes')))
  const arraySize = Number(settings.get('MaxArraySize'))
  if (settings.get('ClusterName') === undefined || !Number.isFinite(arraySize))
    return {
      kind: 'unreadable',
      message: `scontrol show config: ${plain(text(replies.get('config'))).slice(0, 200)}`,
    }

  const found: Partial<Record<keyof Omit<BackendLimits, 'source'>, number>> = {}
  const source: Record<string, string> = {}
  /** The smallest of several rules holds, and is named. */
  const set = (key: keyof typeof found, value: number | undefined, from: string): void => {
    if (value === undefined || !Number.isFinite(value) || value <= 0) return
    if (value >= (found[key] ?? Infinity)) return
    found[key] = value
    source[key] = from
  }
  const chosen = chosenKinds(kinds, config)
  const names = [...new Set(chosen.map(({ partition }) => partition))].join(', ')
  const where = `partition ${names}`
  const most = (of: (kind: NodeKind) => number | undefined): number | undefined => {
    const values = chosen.map(of)
    return values.length === 0 || values.some((value) => value === undefined)
      ? undefined
      : Math.max(...values.map((value) => value ?? 0))
  }
  set(
    'maxWalltimeSeconds',
    most(({ walltimeSeconds }) => walltimeSeconds),
    `${where} (MaxTime)`,
  )
  set(
    'maxCpus',
    most(({ cpus }) => cpus),
    `largest node of ${where}`,
  )
  set(
    'maxMemoryBytes',
    most(({ memoryBytes }) => memoryBytes),
    `largest node of ${where}`,
  )
  set(
    'maxGpus',
    most(({ gpus }) => gpus),
    `largest node of ${where}`,
  )
  const perNode = Number(settings.get('MaxMemPerNode'))
  set(
    'maxMemoryBytes',
    Number.isFinite(perNode) ? perNode * 1024 ** 2 : undefined,
    'MaxMemPerNode of slurm.conf',
  )
  // Indices go from 0 to MaxArraySize - 1.
  set('maxArraySize', arraySize, 'MaxArraySize of slurm.conf')
  set('maxJobs', Number(settings.get('MaxJobCount')), 'MaxJobCount of slurm.conf')

  const associations = readAssociations(text(replies.get('associations')))
  const mine = associations.filter(
    ({ account }) => config.account === undefined || account === config.account,
  )
  // Several could apply: the widest of them holds.
  const widest = (of: (one: Association) => number | undefined): number | undefined => {
    const values = mine.map(of)
    return values.length === 0 || values.includes(undefined)
      ? undefined
      : Math.max(...values.map((value) => value ?? 0))
  }
  const whose = `association of account ${config.account ?? '(default)'}`
  set(
    'maxJobs',
    widest(({ maxSubmit }) => maxSubmit),
    `MaxSubmitJobs of the ${whose}`,
  )
  set(
    'maxWalltimeSeconds',
    widest(({ maxWallSeconds }) => maxWallSeconds),
    `MaxWall of the ${whose}`,
  )
  const qos = readQos(text(replies.get('qos'))).find(({ name }) => name === config.qos)
  set('maxJobs', qos?.maxSubmit, `MaxSubmitJobs of QOS ${qos?.name ?? ''}`)
  set('maxWalltimeSeconds', qos?.maxWallSeconds, `MaxWall of QOS ${qos?.name ?? ''}`)
  return answer({ ...found, source })
}
