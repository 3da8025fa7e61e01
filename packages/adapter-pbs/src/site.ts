/** What the site allows and how it is set up, from `qstat -Bf` and `qstat -Qf`. */

import type { BackendLimits, Diagnosis } from '@orbweaver/core'
import { answer, type ProbeReplies, type Reading } from '@orbweaver/core/command-line'
import { brief, failure } from './complaints.js'
import type { Flavour, PbsConfig } from './config.js'
import { largestNode } from './nodes.js'
import { readRecords, type PbsRecord } from './records.js'
import { readBytes, readSeconds } from './values.js'

type Fields = PbsRecord['fields']
type Found = { readonly records: readonly PbsRecord[] } | { readonly problem: string }

function told(replies: ProbeReplies, probe: 'server' | 'queues'): Found {
  const text = textOf(replies, probe)
  return 'problem' in text
    ? text
    : { records: readRecords(text.text, probe === 'server' ? 'server' : 'queue') }
}

function textOf(
  replies: ProbeReplies,
  probe: 'server' | 'queues' | 'nodes',
): { readonly text: string } | { readonly problem: string } {
  const reply = replies.get(probe)
  if (reply === undefined) return { problem: 'not asked' }
  if ('failure' in reply) return { problem: reply.failure }
  const failed = failure(reply)
  return failed === undefined ? { text: reply.stdout } : { problem: failed.message }
}

/** OpenPBS keeps ended jobs when `job_history_enable` is on, Torque for `keep_completed` seconds. */
export const keepsEnded = (server: Fields, flavour: Flavour): boolean =>
  flavour === 'openpbs'
    ? /^true$/i.test(server.get('job_history_enable') ?? '')
    : (readSeconds(server.get('keep_completed')) ?? 0) > 0

/** Of `[u:PBS_GENERIC=100],[o:PBS_ALL=5000]` the numbers that hold for any user. */
function generic(text: string | undefined): number | undefined {
  const numbers = [...(text ?? '').matchAll(/\[(?:u:PBS_GENERIC|o:PBS_ALL)=(\d+)\]/g)].map((match) =>
    Number(match[1]),
  )
  return numbers.length === 0 ? undefined : Math.min(...numbers)
}
const whole = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined

export function readLimits(replies: ProbeReplies, config: PbsConfig): Reading<BackendLimits> {
  const servers = told(replies, 'server')
  if ('problem' in servers) return { kind: 'unavailable', message: servers.problem }
  const server = servers.records[0]
  if (server === undefined) return { kind: 'unreadable', message: 'qstat -Bf told of no server' }
  const queues = told(replies, 'queues')
  const wanted = config.queue ?? server.fields.get('default_queue')
  const queue = 'records' in queues ? queues.records.find(({ id }) => id === wanted) : undefined
  const values: Partial<Record<keyof Omit<BackendLimits, 'source'>, number>> = {}
  const source: Record<string, string> = {}
  const lower = (key: keyof typeof values, value: number | undefined, from: string): void => {
    if (value === undefined || value <= 0 || value >= (values[key] ?? Infinity)) return
    values[key] = value
    source[key] = from
  }
  for (const [fields, where] of [
    [server.fields, 'the server'],
    [queue?.fields ?? new Map<string, string>(), `queue ${wanted ?? ''}`],
  ] as const) {
    const atMost = (name: string): string | undefined => fields.get(`resources_max.${name}`)
    lower('maxWalltimeSeconds', readSeconds(atMost('walltime')), `${where} (resources_max.walltime)`)
    lower('maxMemoryBytes', readBytes(atMost('mem')), `${where} (resources_max.mem)`)
    lower('maxCpus', whole(atMost('ncpus')), `${where} (resources_max.ncpus)`)
    lower('maxGpus', whole(atMost('ngpus')), `${where} (resources_max.ngpus)`)
    for (const name of ['max_array_size', 'max_job_array_size']) {
      const most = whole(fields.get(name))
      // 0: no arrays, which is arrays of one.
      lower('maxArraySize', most === undefined ? undefined : Math.max(1, most), `${where} (${name})`)
    }
    lower('maxJobs', generic(fields.get('max_queued')), `${where} (max_queued)`)
    for (const name of ['max_user_queuable', 'max_queuable'])
      lower('maxJobs', whole(fields.get(name)), `${where} (${name})`)
  }
  const nodes = textOf(replies, 'nodes')
  if ('text' in nodes) {
    const { cpus, gpus, memoryBytes } = largestNode(nodes.text)
    lower('maxCpus', cpus, 'the largest node')
    lower('maxGpus', gpus, 'the largest node')
    lower('maxMemoryBytes', memoryBytes, 'the largest node')
  }
  return answer({ ...values, source })
}

export function readFindings(
  replies: ProbeReplies,
  config: PbsConfig,
  flavour: Flavour,
  user: string,
): readonly Diagnosis[] {
  const found: Diagnosis[] = []
  const tell = (check: string, status: Diagnosis['status'], text: string, hint?: string): void => {
    found.push({ check: `pbs: ${check}`, status, found: text, ...(hint !== undefined && { hint }) })
  }
  const title = flavour === 'torque' ? 'Torque' : 'OpenPBS or PBS Professional'
  const servers = told(replies, 'server')
  const server = 'records' in servers ? servers.records[0] : undefined
  if (server === undefined) {
    tell(
      'server',
      'problem',
      'problem' in servers ? servers.problem : 'qstat -Bf told of no server',
      'Does `qstat -Bf` answer on this machine? Jobs that were accepted go on.',
    )
    return found
  }
  const { fields } = server
  tell('server', 'ok', `${server.id}, ${title} ${fields.get('pbs_version') ?? '?'}, as ${user}`)
  if (/^false$/i.test(fields.get('scheduling') ?? ''))
    tell(
      'scheduling',
      'warning',
      'switched off on the server: jobs wait',
      'Ask the administrators of the site.',
    )
  if (keepsEnded(fields, flavour)) tell('ended jobs', 'ok', 'the server keeps them for a while')
  else
    tell(
      'ended jobs',
      'warning',
      'the server forgets them at once',
      'Ends are then known from the jobs themselves. Administrators switch it on with ' +
        (flavour === 'torque' ? 'keep_completed.' : 'job_history_enable.'),
    )
  const queues = told(replies, 'queues')
  const wanted = config.queue ?? fields.get('default_queue')
  if ('problem' in queues) tell('queue', 'problem', brief(queues.problem), '`qstat -Qf` does not answer.')
  else if (wanted === undefined)
    tell('queue', 'problem', 'none is named, and the server has no default', 'Set `cluster.queue`.')
  else {
    const queue = queues.records.find(({ id }) => id === wanted)
    const shut = ['enabled', 'started'].filter((name) => !/^true$/i.test(queue?.fields.get(name) ?? ''))
    if (queue === undefined)
      tell(
        'queue',
        'problem',
        `there is no queue ${wanted}`,
        `Set \`cluster.queue\` to one of ${queues.records.map(({ id }) => id).join(', ')}.`,
      )
    else if (shut.length > 0)
      tell(
        'queue',
        'problem',
        `queue ${wanted} is not ${shut.join(' and not ')}`,
        'Choose another with `cluster.queue`.',
      )
    else tell('queue', 'ok', wanted)
  }
  return found
}
