/** What the server says of a job, in its order and its words. */

import type { Job } from './model.js'
import { clock, date, isDone, type Server } from './server.js'

/** Name with its dots, value. Dates are milliseconds until they are printed. */
export interface Attribute {
  readonly name: string
  readonly value: string | number | Date
}

export function stateOf(job: Job, server: Server): string {
  if (server.flavour === 'torque') {
    if (job.elements.length > 0) {
      if (job.elements.every(({ state }) => state === 'done')) return 'C'
      return job.elements.some(({ startedMs }) => startedMs !== undefined)
        ? 'R'
        : (job.elements[0]?.state ?? 'Q')
    }
    return job.state === 'done' ? 'C' : job.state
  }
  if (job.elements.length > 0) {
    if (server.isOver(job)) return 'F'
    if (job.elements.some(({ startedMs, state }) => startedMs !== undefined || state === 'done')) return 'B'
    return job.elements[0]?.state ?? 'Q'
  }
  if (job.state !== 'done') return job.state
  return job.parent !== undefined && !server.isOver(job.parent) ? 'X' : 'F'
}

const variablesOf = (job: Job, server: Server): string =>
  Object.entries({
    ...(server.flavour === 'torque' && job.index !== undefined && { PBS_ARRAYID: String(job.index) }),
    ...job.variables,
    ...job.exported,
  })
    .map(([name, value]) => `${name}=${value.replaceAll('\\', '\\\\').replaceAll(',', '\\,')}`)
    .join(',')

type Entry = readonly [name: string, value: string | number | Date | undefined]
const at = (ms: number | undefined): Date | undefined => (ms === undefined ? undefined : new Date(ms))

export function attributes(job: Job, server: Server): readonly Attribute[] {
  const entries = server.flavour === 'openpbs' ? openpbs(job, server) : torque(job, server)
  return entries.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }]))
}

function usedOf(job: Job, flavour: 'openpbs' | 'torque'): readonly Entry[] {
  const { used } = job
  if (used === undefined || job.elements.length > 0) return []
  const time = clock(used.walltimeSeconds)
  const cpu = clock(used.cpuSeconds)
  return flavour === 'openpbs'
    ? [
        ['resources_used.cpupercent', 0],
        ['resources_used.cput', cpu],
        ['resources_used.mem', `${used.memoryKb}kb`],
        ['resources_used.ncpus', job.cpus],
        ['resources_used.vmem', `${used.virtualKb}kb`],
        ['resources_used.walltime', time],
      ]
    : [
        ['resources_used.cput', cpu],
        ['resources_used.vmem', `${used.virtualKb}kb`],
        ['resources_used.walltime', time],
        ['resources_used.mem', `${used.memoryKb}kb`],
        ['resources_used.energy_used', 0],
      ]
}

/** 1 as soon as one element has failed. */
function exitOfArray({ elements }: Job): number | undefined {
  if (elements.some(({ exit }) => (exit ?? 0) !== 0 && exit !== 271)) return 1
  return elements.some(({ state }) => state === 'done') ? 0 : undefined
}

function openpbs(job: Job, server: Server): readonly Entry[] {
  const { site } = server
  const state = stateOf(job, server)
  const isArray = job.elements.length > 0
  // An element that was deleted before it ran is told of as its array is; without history each one that has ended.
  const bare = job.parent !== undefined && (job.unstarted || (!server.hasHistory && isDone(job)))
  const isElement = job.parent !== undefined && !bare
  const ran = !bare && job.startedMs !== undefined && job.runCount > 0
  const ended = state === 'F' || state === 'X'
  const exit = isArray
    ? exitOfArray(job)
    : bare && job.parent !== undefined
      ? exitOfArray(job.parent)
      : job.exit
  const path = (text: string): string => (isArray || bare ? text.replace(/\.\d+$|$/, '.^array_index^') : text)
  const failed = isArray && job.elements.some((each) => (each.exit ?? 0) !== 0)
  const comment = bare
    ? 'Subjob finished'
    : isArray && ended
      ? `${job.comment ?? ''}${failed ? ' and failed' : ' and finished'}`
      : job.comment
  return [
    ['Job_Name', job.name],
    ['Job_Owner', `${job.owner}@${site.host}`],
    ...(bare ? [] : usedOf(job, 'openpbs')),
    ['job_state', state],
    ['queue', job.queue],
    ['server', server.server],
    ['Account_Name', job.account],
    ['Checkpoint', isElement ? undefined : 'u'],
    ['ctime', at(job.createdMs)],
    [
      'depend',
      job.depend.length === 0
        ? undefined
        : job.depend.map(({ type, id }) => `${type}:${id}@${server.server}`).join(','),
    ],
    ['Error_Path', `${site.host}:${path(job.stderr)}`],
    ['exec_host', ran && !isArray ? `${server.node}/${job.slot ?? 0}` : undefined],
    ['exec_vnode', ran && !isArray ? `(${server.node}:ncpus=${job.cpus})` : undefined],
    ['Execution_Time', job.state === 'W' ? at(job.beginMs) : undefined],
    ['Hold_Types', isElement ? undefined : isArray ? (job.elements[0]?.holds ?? 'n') : job.holds],
    ['Join_Path', job.join],
    ['Keep_Files', job.keep],
    ['Mail_Points', job.mail],
    ['mtime', at(job.changedMs)],
    ['Output_Path', `${site.host}:${path(job.stdout)}`],
    ['Priority', job.priority],
    ['qtime', at(job.createdMs)],
    ['Rerunable', job.rerunable ? 'True' : 'False'],
    ...[...job.resources].map(([name, value]): Entry => [
      `Resource_List.${name}`,
      /^\d+$/.test(value) ? Number(value) : value,
    ]),
    ['stime', at(bare ? job.parent?.startedMs : job.startedMs)],
    ['obittime', ended && (ran || isArray) ? at(job.endedMs) : undefined],
    ['session_id', ran && !isArray ? job.session : undefined],
    ['jobdir', ran && !isArray ? job.directory : undefined],
    [
      'substate',
      isArray
        ? state === 'B'
          ? 70
          : state === 'F'
            ? failed
              ? 93
              : 92
            : job.substate
        : bare
          ? 70
          : job.substate,
    ],
    ['Variable_List', variablesOf(job, server)],
    ['comment', comment],
    ['etime', at(job.eligibleMs)],
    ['run_count', ran && !isArray ? job.runCount : undefined],
    ['Stageout_status', exit === undefined || (!ended && !isArray) ? undefined : 1],
    ['Exit_status', exit],
    ['Submit_arguments', job.submitArguments === '' || isElement ? undefined : job.submitArguments],
    ...(isArray ? arrayEntries(job) : []),
    ['array_id', isElement && job.parent !== undefined ? server.idOf(job.parent) : undefined],
    ['array_index', isElement ? job.index : undefined],
    ['history_timestamp', ended && job.endedMs !== undefined ? Math.floor(job.endedMs / 1000) : undefined],
    ['project', job.project],
    ['Submit_Host', site.host],
    ['max_run_subjobs', isArray ? job.throttle : undefined],
  ]
}

function arrayEntries(job: Job): readonly Entry[] {
  const count = (state: string): number => job.elements.filter((each) => each.state === state).length
  const waiting = job.elements.filter(({ state }) => state === 'Q' || state === 'H')
  const last = job.elements.at(-1)?.index ?? 0
  const first = waiting[0]?.index
  return [
    ['array', 'True'],
    [
      'array_state_count',
      `Queued:${count('Q')} Running:${count('R')} Exiting:${count('E')} Expired:${count('done')}`,
    ],
    ['array_indices_submitted', job.indices],
    [
      'array_indices_remaining',
      first === undefined ? '-' : first === last ? String(first) : `${first}-${last}`,
    ],
  ]
}

function torque(job: Job, server: Server): readonly Entry[] {
  const { site } = server
  const state = stateOf(job, server)
  const isArray = job.elements.length > 0
  const ran = job.runCount > 0 && !isArray
  const left = (job.walltimeSeconds ?? 0) - Math.round((Date.now() - (job.startedMs ?? 0)) / 1000)
  return [
    ['Job_Name', job.name],
    ['Job_Owner', `${job.owner}@${site.host}`],
    ...usedOf(job, 'torque'),
    ['job_state', state],
    ['queue', job.queue],
    ['server', server.server],
    ['Account_Name', job.account],
    ['Checkpoint', 'u'],
    ['ctime', at(job.createdMs)],
    [
      'depend',
      job.depend.length === 0 ? undefined : job.depend.map(({ type, id }) => `${type}:${id}`).join(','),
    ],
    ['Error_Path', `${site.host}:${job.stderr}`],
    ['exec_host', ran ? `${server.node}/${job.slot ?? 0}` : undefined],
    ['Execution_Time', job.state === 'W' ? at(job.beginMs) : undefined],
    // Of an element none was recorded once it may run, and an empty one while it waits for its turn.
    [
      'Hold_Types',
      job.holds === 'throttle' ? '' : job.parent !== undefined && job.holds === 'n' ? undefined : job.holds,
    ],
    ['Join_Path', job.join],
    ['Keep_Files', job.keep],
    ['Mail_Points', job.mail],
    ['mtime', at(job.changedMs)],
    ['Output_Path', `${site.host}:${job.stdout}`],
    ['Priority', job.priority],
    ['qtime', at(job.createdMs)],
    ['Rerunable', job.rerunable ? 'True' : 'False'],
    ...[...job.resources].map(([name, value]): Entry => [`Resource_List.${name}`, value]),
    ['session_id', ran ? job.session : undefined],
    ['Variable_List', variablesOf(job, server)],
    ['euser', job.owner],
    ['egroup', job.owner],
    ['queue_type', 'E'],
    ['comment', job.comment],
    ['etime', at(job.eligibleMs ?? (job.holds === 'u' ? undefined : job.createdMs))],
    ['exit_status', job.exit],
    ['submit_args', job.submitArguments === '' ? undefined : job.submitArguments],
    ['job_array_id', job.index],
    [
      'job_array_request',
      isArray ? `${job.indices}${job.throttle === undefined ? '' : `%${job.throttle}`}` : undefined,
    ],
    ['start_time', at(ran ? job.startedMs : undefined)],
    ['Walltime.Remaining', state === 'R' && ran ? left : undefined],
    ['start_count', ran ? job.runCount : undefined],
    ['fault_tolerant', 'False'],
    ['comp_time', ran ? at(job.endedMs) : undefined],
    ['job_radix', 0],
    [
      'total_runtime',
      ran && job.endedMs !== undefined ? ((job.endedMs - (job.startedMs ?? 0)) / 1000).toFixed(6) : undefined,
    ],
    ['submit_host', site.host],
    ['init_work_dir', job.submitDirectory],
    ['request_version', 1],
  ]
}

const WIDTH = 79

/** `name = value` lines; long ones go on after a tab: at a comma if there is one, else in the middle of a word. */
export function textLines(found: readonly Attribute[], wrapped: boolean): string {
  return found
    .map(({ name, value }) => {
      const shown = value instanceof Date ? date(value.getTime()) : String(value)
      const whole = `    ${name} = ${shown}`
      if (!wrapped || whole.length <= WIDTH) return `${whole}\n`
      let text = `    ${name} = `
      let column = text.length
      for (let part of shown.match(/[^,]*,|[^,]+$/g) ?? []) {
        if (column + part.length > WIDTH && column > 8 && name === 'Variable_List' && !text.endsWith(' = ')) {
          text += '\n\t'
          column = 8
        }
        while (column + part.length > WIDTH) {
          text += `${part.slice(0, WIDTH - column)}\n\t`
          part = part.slice(WIDTH - column)
          column = 8
        }
        text += part
        column += part.length
      }
      return `${text}\n`
    })
    .join('')
}
