/** The programs of PBS: what they expect and print. Two dialects with one name; nothing of one is tried on the other. */

import {
  defineDialect,
  answer,
  type Dialect,
  type DialectCommand,
  type FoundJob,
  type Reading,
  type Reply,
} from '@orbweaver/core/command-line'
import { jobId } from '@orbweaver/core'
import { failure, readAction } from './complaints.js'
import type { Flavour, PbsConfig } from './config.js'
import type { Site } from './ends.js'
import { elementOf, isPbsId, partsOf, questionWords, rangeWords } from './ids.js'
import { SEPARATOR } from './records.js'
import { readFindings, readLimits } from './site.js'
import { readStatuses, shortName } from './status.js'
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
  const queues = { name: 'queues', optional: true, command: () => run('qstat', '-Q', '-f') }
  return defineDialect({
    name: 'pbs',
    title: flavour === 'torque' ? 'Torque' : 'PBS',
    capabilities: {
      history: ended,
      findsFinished: ended,
      arrays: config.arrays,
      hold: true,
      enforcesWalltime: true,
      enforcesMemory: config.enforcesMemory,
      gpus: true,
      // Sampled every few minutes: of short jobs little or nothing is seen.
      peakMemory: false,
    },
    environment: environmentOf(config),
    isId: isPbsId,
    elementId: elementOf,
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
    findSteps: [
      {
        name: 'qselect',
        source: 'queue',
        optional: false,
        // It tells ids and no names: one name a command.
        chunk: { count: 1, bytes: 1000 },
        forms: flavour === 'openpbs' ? 2 : 1,
        command: ({ names, user, form }) =>
          run(
            'qselect',
            ...(flavour === 'openpbs' && form === 0 ? ['-x'] : []),
            '-u',
            user,
            '-N',
            shortName(names[0] ?? ''),
          ),
        read: (reply, { names }) => readSelected(reply, names[0] ?? ''),
      },
    ],
    control: (action, ids) => {
      const words = flavour === 'openpbs' ? rangeWords(ids) : ids
      if (action === 'cancel') return run('qdel', ...words)
      return run(action === 'hold' ? 'qhold' : 'qrls', '-h', 'u', ...words)
    },
    controlChunk: CHUNK,
    readControl: readAction,
    limitProbes: [server, queues],
    readLimits: (replies) => readLimits(replies, config),
    doctorProbes: [server, queues],
    readDoctor: (replies, { user }) => readFindings(replies, config, flavour, user),
  })
}

/** Of several jobs of one name the newest, which has the highest number. */
function readSelected(reply: Reply, name: string): Reading<readonly FoundJob[]> {
  const failed = failure(reply)
  if (failed !== undefined) return failed
  const lines = reply.stdout.split(/\r?\n/).map((line) => line.trim())
  const ids = lines.filter((line) => (partsOf(line)?.server ?? '') !== '')
  const number = (id: string): number => Number(partsOf(id)?.sequence ?? -1)
  const newest = ids.sort((one, other) => number(other) - number(one))[0]
  return answer(newest === undefined ? [] : [{ name, id: jobId(newest.replace(/\[\d+\]/, '[]')) }])
}
