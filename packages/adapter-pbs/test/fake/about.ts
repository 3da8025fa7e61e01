/** `qstat -B` and `qstat -Q`: the server and its queues. */

import { textLines, type Attribute } from './attributes.js'
import { document, nest } from './documents.js'
import type { Output } from './model.js'
import { clock, type Server } from './server.js'

function counts(server: Server, queue?: string): string {
  const states = [...server.units()]
    .filter((job) => queue === undefined || job.queue === queue)
    .map(({ state }) => state)
  const count = (state: string): number => states.filter((each) => each === state).length
  return `Transit:0 Queued:${count('Q')} Held:${count('H')} Waiting:${count('W')} Running:${count('R')} Exiting:${count('E')} ${server.flavour === 'openpbs' ? 'Begun:0 ' : `Complete:${count('done')} `}`
}
const text = (name: string, value: string | number | undefined): readonly Attribute[] =>
  value === undefined ? [] : [{ name, value }]

export function aboutServer(server: Server, full: boolean, format: string): Output {
  const { site } = server
  const isTorque = server.flavour === 'torque'
  const total = [...server.units()].length
  if (!full)
    return {
      exit: 0,
      stdout: isTorque
        ? `Server             Max   Tot   Que   Run   Hld   Wat   Trn   Ext   Com Status    \n----------------   ---   ---   ---   ---   ---   ---   ---   ---   --- ----------\n${server.server.slice(0, 16).padEnd(16)}     0 ${String(total).padStart(5)}     0     0     0     0     0     0     0 Active    \n`
        : `Server             Max   Tot   Que   Run   Hld   Wat   Trn   Ext Status\n---------------- ----- ----- ----- ----- ----- ----- ----- ----- -----------\n${server.server.padEnd(16)}     0 ${String(total).padStart(5)}     0     0     0     0     0     0 Active    \n`,
    }
  const list: readonly Attribute[] = isTorque
    ? [
        ...text('server_state', 'Active'),
        ...text('scheduling', 'True'),
        ...text('total_jobs', total),
        ...text('state_count', counts(server)),
        ...text('acl_hosts', site.host),
        ...text('default_queue', site.queues[0]?.name),
        ...text('scheduler_iteration', 5),
        ...text('pbs_version', '6.1.3'),
        ...text('kill_delay', 3),
        ...text('keep_completed', server.hasHistory ? site.keepCompletedSeconds : 0),
        ...text('max_job_array_size', site.maxArraySize),
        ...text('submit_hosts', server.node),
        ...text('next_job_number', server.jobs.size),
        ...text('moab_array_compatible', 'True'),
      ]
    : [
        ...text('server_state', 'Active'),
        ...text('server_host', site.host),
        ...text('scheduling', 'True'),
        ...text('total_jobs', total),
        ...text('state_count', counts(server)),
        ...text('default_queue', site.queues[0]?.name),
        ...text('query_other_jobs', 'True'),
        ...text('resources_default.ncpus', 1),
        ...text('default_chunk.ncpus', 1),
        ...text('scheduler_iteration', 10),
        ...text('node_fail_requeue', 310),
        ...text('max_array_size', site.maxArraySize),
        ...text('pbs_version', '23.06.06'),
        ...text('job_history_enable', server.hasHistory ? 'True' : undefined),
        ...text('job_history_duration', server.hasHistory ? '24:00:00' : undefined),
        ...text('max_job_sequence_id', 9999999),
      ]
  if (format === 'json')
    return { exit: 0, stdout: document(server, { Server: { [server.server]: nest(list) } }) }
  return { exit: 0, stdout: `Server: ${server.server}\n${textLines(list, true)}\n` }
}

export function aboutQueues(server: Server, full: boolean, format: string, names: readonly string[]): Output {
  const wanted = server.site.queues.filter(({ name }) => names.length === 0 || names.includes(name))
  const lists = wanted.map((queue) => ({
    name: queue.name,
    list: [
      ...text('queue_type', 'Execution'),
      ...text('total_jobs', [...server.units()].filter((job) => job.queue === queue.name).length),
      ...text('state_count', counts(server, queue.name)),
      ...text('resources_max.ncpus', queue.maxCpus),
      ...text(
        'resources_max.walltime',
        queue.maxWalltimeSeconds === undefined ? undefined : clock(queue.maxWalltimeSeconds),
      ),
      ...text('enabled', queue.enabled === false ? 'False' : 'True'),
      ...text('started', queue.started === false ? 'False' : 'True'),
    ],
  }))
  if (!full) {
    const head =
      'Queue              Max   Tot Ena Str   Que   Run   Hld   Wat   Trn   Ext Type\n---------------- ----- ----- --- --- ----- ----- ----- ----- ----- ----- ----\n'
    const line = (queue: (typeof wanted)[number]): string =>
      `${queue.name.padEnd(16)}     0     0 ${queue.enabled === false ? ' no' : 'yes'} ${queue.started === false ? ' no' : 'yes'}     0     0     0     0     0     0 Exe*\n`
    return { exit: 0, stdout: head + wanted.map(line).join('') }
  }
  if (format === 'json')
    return {
      exit: 0,
      stdout: document(server, {
        Queue: Object.fromEntries(lists.map(({ name, list }) => [name, nest(list)])),
      }),
    }
  return {
    exit: 0,
    stdout: lists.map(({ name, list }) => `Queue: ${name}\n${textLines(list, true)}\n`).join(''),
  }
}
