/** The programs of PBS: what they expect and print. Two dialects with one name; nothing of one is tried on the other. */

import { defineDialect, type Dialect, type DialectCommand } from '@orbweaver/core/command-line'
import { readAction } from './complaints.js'
import type { Flavour, PbsConfig } from './config.js'
import type { Site } from './ends.js'
import { listStep, tableStep } from './find.js'
import { elementOf, indexOf, isPbsId, questionWords } from './ids.js'
import { SEPARATOR } from './records.js'
import { readFindings, readLimits } from './site.js'
import { readStatuses } from './status.js'
import { readQsub, refusalOf, submissions } from './submit.js'

/** Ids in one command: far below limits of arguments, and a short time of the server. */
const CHUNK = { count: 200, bytes: 30_000 } as const

/** Words of qstat, best first; the next is tried where a release or a server refuses one. */
const FORMS: Readonly<Record<Flavour, readonly (readonly string[])[]>> = {
  openpbs: [
    ['-x', '-t', '-f', '-F', 'dsv', '-D', SEPARATOR],
    // Without history.
    ['-t', '-f', '-F', 'dsv', '-D', SEPARATOR],
    // Before 13: text only.
    ['-x', '-t', '-f'],
    ['-t', '-f'],
  ],
  torque: [
    ['-x', '-t'],
    ['-f', '-t'],
  ],
}

export const programOf = (config: PbsConfig, name: string): string =>
  config.bin === undefined ? name : `${config.bin.replace(/\/+$/, '')}/${name}`

/** Times are printed in the zone of the client. */
export const environmentOf = (config: PbsConfig): Readonly<Record<string, string>> => ({
  TZ: 'UTC',
  ...(config.server !== undefined && { PBS_DEFAULT: config.server, PBS_SERVER: config.server }),
})

export function pbsDialect(config: PbsConfig, site: Site): Dialect {
  const { flavour, ended } = site
  const run = (name: string, ...words: readonly string[]): DialectCommand => ({
    argv: [programOf(config, name), ...words],
  })
  const forms = FORMS[flavour]
  const server = { name: 'server', optional: false, command: () => run('qstat', '-B', '-f') }
  const nodes = {
    name: 'nodes',
    optional: true,
    command: () => run('pbsnodes', flavour === 'torque' ? '-a' : '-av'),
  }
  const queues = { name: 'queues', optional: true, command: () => run('qstat', '-Q', '-f') }
  return defineDialect({
    name: 'pbs',
    title: flavour === 'torque' ? 'Torque' : 'PBS',
    capabilities: {
      history: ended,
      findsFinished: ended,
      arrays: config.arrays,
      // OpenPBS holds arrays only as a whole, and which job becomes an element of one is not known beforehand.
      hold: flavour === 'torque' || !config.arrays,
      enforcesWalltime: true,
      enforcesMemory: config.enforcesMemory,
      gpus: true,
      // Sampled every few minutes: of short jobs little or nothing is seen.
      peakMemory: false,
    },
    environment: environmentOf(config),
    isId: isPbsId,
    elementId: elementOf,
    indexOf,
    group: (specs, context) => submissions(specs, context, config, flavour, programOf(config, 'qsub')),
    readSubmit: readQsub,
    refusal: (spec, limits) => refusalOf(spec, limits, config),
    querySteps: [
      {
        name: 'qstat',
        source: 'queue',
        optional: false,
        chunk: CHUNK,
        forms: forms.length,
        command: ({ ids, form }) => run('qstat', ...(forms[form] ?? []), ...questionWords(ids)),
        read: (reply, { ids, nowMs }) => readStatuses(reply, ids, site, nowMs),
      },
    ],
    merge: (earlier) => earlier,
    settleMs: 0,
    findSteps: [flavour === 'openpbs' ? tableStep(run, site) : listStep(run)],
    control: (action, ids) => {
      if (action === 'cancel') return run('qdel', ...ids)
      return run(action === 'hold' ? 'qhold' : 'qrls', '-h', 'u', ...ids)
    },
    controlChunk: CHUNK,
    readControl: readAction,
    limitProbes: [server, queues, nodes],
    readLimits: (replies) => readLimits(replies, config),
    doctorProbes: [server, queues],
    readDoctor: (replies, { user }) => readFindings(replies, config, flavour, user),
  })
}
