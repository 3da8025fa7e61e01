/** The tables of qstat: of all jobs, and of one user's. */

import { stateOf } from './attributes.js'
import type { Job } from './model.js'
import { clock, type Server } from './server.js'

export function table(jobs: readonly Job[], server: Server): string {
  if (jobs.length === 0) return ''
  const isTorque = server.flavour === 'torque'
  const head = isTorque
    ? 'Job ID                    Name             User            Time Use S Queue\n------------------------- ---------------- --------------- -------- - -----\n'
    : 'Job id            Name             User              Time Use S Queue\n----------------  ---------------- ----------------  -------- - -----\n'
  return (
    head +
    jobs
      .map((job) => {
        const time = job.used === undefined || job.elements.length > 0 ? '0' : clock(job.used.cpuSeconds)
        const id = server.idOf(job)
        return isTorque
          ? `${id.padEnd(26)} ${job.name.slice(-16).padEnd(16)} ${job.owner.slice(0, 15).padEnd(15)} ${time.padStart(8)} ${stateOf(job, server)} ${job.queue.padEnd(15)}\n`
          : `${(id.length > 17 ? `${id.slice(0, 16)}*` : id).padEnd(17)} ${(job.name.length > 16 ? `${job.name.slice(0, 15)}*` : job.name).padEnd(16)} ${job.owner.slice(0, 16).padEnd(16)}  ${time.padStart(8)} ${stateOf(job, server)} ${job.queue.padEnd(16)}\n`
      })
      .join('')
  )
}

/** The other table, of one user's jobs: names are cut, ids as well. */
export function ofUser(jobs: readonly Job[], wide: boolean, server: Server): string {
  if (jobs.length === 0) return ''
  const isTorque = server.flavour === 'torque'
  const widths = isTorque
    ? [23, 11, 8, 16, 6, 5, 6, 6, 9, 1, 9]
    : wide
      ? [30, 15, 15, 15, 8, 4, 4, 6, 5, 1, 5]
      : [15, 8, 8, 10, 6, 3, 3, 6, 5, 1, 5]
  const titles = [
    'Job ID',
    'Username',
    'Queue',
    'Jobname',
    'SessID',
    'NDS',
    'TSK',
    'Memory',
    'Time',
    'S',
    'Time',
  ]
  const row = (words: readonly string[]): string =>
    `${words
      .map((word, column) => {
        const width = widths[column] ?? 0
        const shown = !isTorque && word.length > width ? `${word.slice(0, width - 1)}*` : word.slice(0, width)
        return column < 4 ? shown.padEnd(width) : shown.padStart(width)
      })
      .join(' ')}\n`
  const lines = jobs.map((job) =>
    row([
      server.idOf(job),
      job.owner,
      job.queue,
      job.name,
      String(job.session ?? '--'),
      job.resources.get('nodect') ?? '--',
      String(job.cpus),
      '--',
      '--',
      stateOf(job, server),
      job.used === undefined ? '--' : clock(job.used.walltimeSeconds).slice(0, 5),
    ]),
  )
  return `\n${server.node}: \n${row(titles)}${row(widths.map((width) => '-'.repeat(width)))}${lines.join('')}`
}
