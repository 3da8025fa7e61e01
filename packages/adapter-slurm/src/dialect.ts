/** Slurm's programs: what they expect and print. */

import {
  answer,
  defineDialect,
  type Dialect,
  type DialectCommand,
  type Probe,
} from '@orbweaver/core/command-line'
import { failureOf, plain, readComplaint } from './complaints.js'
import type { SlurmConfig } from './config.js'
import { readDoctor } from './doctor.js'
import { elementId, foldIds, indexOf, isJobId } from './ids.js'
import { ASSOCIATION_FORMAT, NODE_FORMAT, QOS_FORMAT, readLimits } from './limits.js'
import { merge } from './merge.js'
import {
  ACCOUNT_CHUNK,
  ACCOUNT_FORMS,
  accountNameWords,
  accountWords,
  readAccount,
  readAccountNames,
} from './sacct.js'
import { QUERY_ENVIRONMENT, QUEUE_FORMS, queueWords, readQueue, readQueueNames } from './squeue.js'
import { group, readSubmit, refusal } from './submit.js'

/** The accounting hears of an end a moment after the queue; what it adds is worth a short wait. */
const SETTLE_MS = 8000
/** Ids in one scancel or scontrol. */
const CONTROL_CHUNK = { count: 500, bytes: 60_000 } as const

export function slurmDialect(config: SlurmConfig): Dialect {
  const program = (name: string): string =>
    config.bin === undefined ? name : `${config.bin.replace(/\/+$/, '')}/${name}`
  const cluster = config.cluster === undefined ? [] : [`--clusters=${config.cluster}`]
  const ask = (name: string, words: readonly string[]): DialectCommand => ({
    argv: [program(name), ...cluster, ...words],
    environment: QUERY_ENVIRONMENT,
  })
  const probe = (name: string, optional: boolean, command: Probe['command']): Probe => ({
    name,
    optional,
    command,
  })
  const configProbe = probe('config', false, () => ask('scontrol', ['show', 'config']))
  const nodesProbe = probe('nodes', false, () =>
    ask('sinfo', ['--noheader', '--all', '--exact', `--format=${NODE_FORMAT}`]),
  )
  const withAccounting = config.accounting === 'off' ? [] : [true]
  const accountProbes = withAccounting.flatMap(() => [
    probe('associations', true, ({ user }) =>
      ask0('sacctmgr', ['-nP', 'show', 'assoc', 'where', `user=${user}`, `format=${ASSOCIATION_FORMAT}`]),
    ),
    probe('qos', true, () => ask0('sacctmgr', ['-nP', 'show', 'qos', `format=${QOS_FORMAT}`])),
  ])
  /** sacctmgr knows no --clusters. */
  function ask0(name: string, words: readonly string[]): DialectCommand {
    return { argv: [program(name), ...words], environment: QUERY_ENVIRONMENT }
  }
  const knowsEnds = config.accounting !== 'off'

  return defineDialect({
    name: 'slurm',
    title: 'Slurm',
    capabilities: {
      history: knowsEnds,
      findsFinished: knowsEnds,
      arrays: config.arrays,
      hold: true,
      enforcesWalltime: true,
      enforcesMemory: config.enforcesMemory,
      gpus: true,
      // It is told where it was sampled; of short jobs the sampler has seen little or nothing.
      peakMemory: false,
    },
    environment: config.conf === undefined ? {} : { SLURM_CONF: config.conf },

    isId: isJobId,
    elementId,
    indexOf,
    group: (specs, context) => group(specs, context, config, program),
    readSubmit,
    refusal: (spec, limits) => refusal(spec, limits, config),

    querySteps: [
      {
        name: 'squeue',
        source: 'queue',
        optional: false,
        forms: QUEUE_FORMS,
        command: ({ user, form }) => ask('squeue', queueWords(user, form)),
        read: (reply, { form, nowMs }) => readQueue(reply, form, nowMs),
      },
      ...withAccounting.map((): Dialect['querySteps'][number] => ({
        name: 'sacct',
        source: 'accounting',
        optional: true,
        chunk: ACCOUNT_CHUNK,
        forms: ACCOUNT_FORMS,
        wants: ({ phase }) => phase === 'finished',
        command: ({ ids, sinceMs, nowMs, form }) => ask('sacct', accountWords(ids, sinceMs, nowMs, form)),
        read: (reply, { form, nowMs }) => readAccount(reply, form, nowMs),
      })),
    ],
    merge,
    settleMs: SETTLE_MS,

    findSteps: [
      {
        name: 'squeue',
        source: 'queue',
        optional: false,
        forms: QUEUE_FORMS,
        command: ({ user, form }) => ask('squeue', queueWords(user, form)),
        read: (reply, { form }) => readQueueNames(reply, form),
      },
      ...withAccounting.map((): Dialect['findSteps'][number] => ({
        name: 'sacct',
        source: 'accounting',
        optional: true,
        chunk: ACCOUNT_CHUNK,
        command: ({ names, user, sinceMs, nowMs }) =>
          ask('sacct', accountNameWords(names, user, sinceMs, nowMs)),
        read: readAccountNames,
      })),
    ],

    control: (action, ids) => {
      const words = foldIds(ids)
      return action === 'cancel'
        ? ask('scancel', words)
        : { argv: [program('scontrol'), ...cluster, action, words.join(',')], environment: QUERY_ENVIRONMENT }
    },
    controlChunk: CONTROL_CHUNK,
    readControl: (reply) => {
      const { exitCode, signal, stderr } = reply
      if (exitCode === undefined) return { kind: 'unavailable', message: `ended by ${signal ?? 'a signal'}` }
      // One line a job: each is read by itself.
      for (const line of stderr.split('\n')) {
        const complaint = readComplaint(line)
        if (complaint?.kind === 'unreachable' || complaint?.kind === 'authentication')
          return { kind: 'unavailable', message: complaint.text }
      }
      const complaints = stderr.split('\n').map(readComplaint)
      const denied = complaints.find((complaint) => complaint?.kind === 'permission')
      if (denied !== undefined) return { kind: 'denied', message: denied.text }
      const harmless = complaints.some(
        (complaint) => complaint?.kind === 'not-found' || complaint?.kind === 'already-finished',
      )
      if (exitCode === 0 || harmless) return answer(undefined)
      return failureOf(reply) ?? { kind: 'unreadable', message: `exit code ${exitCode}: ${plain(stderr)}` }
    },

    limitProbes: [configProbe, nodesProbe, ...accountProbes],
    readLimits: (replies) => readLimits(replies, config),

    doctorProbes: [
      probe('version', true, () => ask0('sbatch', ['--version'])),
      configProbe,
      nodesProbe,
      ...accountProbes,
      ...withAccounting.map(() =>
        probe('accounting', true, () =>
          ask('sacct', [
            '--noheader',
            '--parsable',
            '--allocations',
            '--starttime=now-1minutes',
            '--format=JobID',
          ]),
        ),
      ),
    ],
    readDoctor: (replies, context) => readDoctor(replies, context, config),
  })
}
