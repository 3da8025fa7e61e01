/** Lines of `orbweaver doctor`: what was asked, read into findings. */

import type { Diagnosis } from '@orbweaver/core'
import type { ProbeContext, ProbeReplies, Reply } from '@orbweaver/core/command-line'
import { failureOf, plain } from './complaints.js'
import type { SlurmConfig } from './config.js'
import { chosenKinds, readAssociations, readConfig, readNodeKinds, readQos } from './limits.js'

/** Clocks further apart make times in reports odd; nothing is decided by comparing them. */
const CLOCK_SLACK_MS = 30_000
/** Releases before this lack fields we ask for first; older forms of the questions are used then. */
const OLDEST_TESTED = [22, 5] as const

type Line = Omit<Diagnosis, 'check'>
type Found = Reply | { readonly failure: string } | undefined

export function readDoctor(
  replies: ProbeReplies,
  context: ProbeContext,
  config: SlurmConfig,
): readonly Diagnosis[] {
  const lines: Diagnosis[] = []
  const add = (check: string, line: Line): void => {
    lines.push({ check: `slurm: ${check}`, ...line })
  }
  add('commands', commands(replies.get('version')))
  const configuration = outOf(replies.get('config'))
  if ('problem' in configuration) {
    add('controller', {
      status: 'problem',
      found: configuration.problem,
      hint: 'Is slurmctld running, and does this machine have its slurm.conf and munge key? `scontrol ping` tells. Jobs that were accepted go on.',
    })
    return lines
  }
  const settings = readConfig(configuration.text)
  add('controller', {
    status: 'ok',
    found: `cluster ${settings.get('ClusterName') ?? '?'}, Slurm ${settings.get('SLURM_VERSION') ?? '?'}, as ${context.user}`,
  })
  add('clock', clock(configuration.text, context.nowMs))
  add('partition', partition(outOf(replies.get('nodes')), config))
  add('accounting', accounting(replies.get('accounting'), settings, config))
  const associations = outOf(replies.get('associations'))
  if (!('problem' in associations) && /slurmdbd/.test(settings.get('AccountingStorageType') ?? ''))
    add('account', account(associations.text, replies.get('qos'), settings, config, context.user))
  add('memory', memory(settings, config))
  const minJobAge = Number.parseInt(settings.get('MinJobAge') ?? '', 10)
  if (minJobAge < 60)
    add('queue memory', {
      status: 'warning',
      found: `jobs leave the queue ${minJobAge} s after their end (MinJobAge)`,
      hint: 'Ends are then known from the accounting and from the jobs themselves.',
    })
  return lines
}

function outOf(reply: Found): { readonly text: string } | { readonly problem: string } {
  if (reply === undefined) return { problem: 'not asked' }
  if ('failure' in reply) return { problem: reply.failure }
  const failure = failureOf(reply)
  return failure === undefined ? { text: reply.stdout } : { problem: failure.message }
}

function commands(reply: Found): Line {
  const version = outOf(reply)
  if ('problem' in version) {
    return {
      status: 'problem',
      found: version.problem,
      hint: 'Run Orbweaver where sbatch works, name the folder of the programs with `cluster.bin`, or reach a login node with `cluster.transport`.',
    }
  }
  const match = /(\d+)\.(\d+)(?:\.\d+)?/.exec(version.text)
  const old =
    match !== null && (Number(match[1]) - OLDEST_TESTED[0] || Number(match[2]) - OLDEST_TESTED[1]) < 0
  if (old)
    return {
      status: 'warning',
      found: plain(version.text),
      hint: 'Older than the releases this was tried on (22.05).',
    }
  return { status: 'ok', found: plain(version.text) }
}

/** First line of `scontrol show config` with epoch times: `Configuration data as of 1795581976`. */
function clock(text: string, nowMs: number): Line {
  const seconds = /^Configuration data as of (\d{9,11})$/m.exec(text)?.[1]
  if (seconds === undefined) return { status: 'ok', found: 'the time of the controller is not told' }
  const apart = Math.round(nowMs / 1000) - Number(seconds)
  if (Math.abs(apart) * 1000 <= CLOCK_SLACK_MS)
    return { status: 'ok', found: `${Math.abs(apart)} s apart from the controller's` }
  return {
    status: 'warning',
    found: `this machine is ${Math.abs(apart)} s ${apart > 0 ? 'ahead of' : 'behind'} the controller`,
    hint: 'Nothing is decided by it, but times in reports are off by as much. Let both keep time by NTP.',
  }
}

function partition(nodes: ReturnType<typeof outOf>, config: SlurmConfig): Line {
  if ('problem' in nodes) return { status: 'problem', found: nodes.problem, hint: '`sinfo` does not answer.' }
  const kinds = readNodeKinds(nodes.text)
  const names = [...new Set(kinds.map((kind) => kind.partition))].join(', ')
  const wanted = config.partition ?? config.queue
  const missing = wanted?.split(',').filter((name) => !kinds.some((kind) => kind.partition === name)) ?? []
  if (missing.length > 0)
    return {
      status: 'problem',
      found: `there is no partition ${missing.join(', ')} for this account`,
      hint: `Set \`cluster.partition\` to one of: ${names}.`,
    }
  const chosen = chosenKinds(kinds, config)
  if (chosen.length === 0)
    return {
      status: 'problem',
      found: 'the cluster has no default partition',
      hint: `Set \`cluster.partition\` to one of: ${names}.`,
    }
  const usable = chosen.filter(({ up, state }) => up && !/down|drain|fail|maint|unk/i.test(state))
  const count = usable.reduce((sum, kind) => sum + kind.nodes, 0)
  const found = `${[...new Set(chosen.map((kind) => kind.partition))].join(', ')}: ${count} usable nodes`
  if (count === 0)
    return {
      status: 'warning',
      found,
      hint: 'Jobs wait until the partition and a node are up again; `sinfo -R` says why.',
    }
  return { status: 'ok', found }
}

function accounting(reply: Found, settings: ReadonlyMap<string, string>, config: SlurmConfig): Line {
  if (config.accounting === 'off') return { status: 'ok', found: 'not asked (accounting: off)' }
  if (/none$/.test(settings.get('AccountingStorageType') ?? 'none')) {
    return {
      status: 'warning',
      found: 'the site keeps no accounting',
      hint: 'Ends are known from the queue and the jobs themselves; memory and cpu time only from the jobs.',
    }
  }
  const asked = outOf(reply)
  if ('problem' in asked)
    return {
      status: 'warning',
      found: asked.problem,
      hint: 'Work goes on; ends are known from the queue and the jobs themselves until sacct answers.',
    }
  return { status: 'ok', found: 'sacct answers' }
}

function account(
  text: string,
  qosReply: Found,
  settings: ReadonlyMap<string, string>,
  config: SlurmConfig,
  user: string,
): Line {
  const associations = readAssociations(text)
  const accounts = [...new Set(associations.map((one) => one.account))]
  const enforced = /associations|all|limits/.test(settings.get('AccountingStorageEnforce') ?? '')
  const status = enforced ? 'problem' : 'warning'
  if (associations.length === 0)
    return {
      status,
      found: `${user} has no account in Slurm's accounting`,
      hint: 'Ask the administrators to add one (sacctmgr add user).',
    }
  if (config.account !== undefined && !accounts.includes(config.account))
    return {
      status,
      found: `${user} is not in account ${config.account}`,
      hint: `Set \`cluster.account\` to one of: ${accounts.join(', ')}.`,
    }
  if (config.qos !== undefined) {
    const asked = outOf(qosReply)
    const known = 'problem' in asked ? [] : readQos(asked.text).map(({ name }) => name)
    const allowed = associations.flatMap(({ qos }) => qos)
    if (known.length > 0 && (!known.includes(config.qos) || !allowed.includes(config.qos)))
      return {
        status,
        found: `${user} may not use QOS ${config.qos}`,
        hint: `Set \`cluster.qos\` to one of: ${[...new Set(allowed)].join(', ')}.`,
      }
  }
  return { status: 'ok', found: config.account ?? `default of ${accounts.join(', ')}` }
}

/** Who ends a job over its memory: the kernel, the accounting plug-in, or nobody. */
function memory(settings: ReadonlyMap<string, string>, config: SlurmConfig): Line {
  const byKernel = /cgroup/.test(settings.get('TaskPlugin') ?? '')
  const bySampler = /OverMemoryKill/i.test(settings.get('JobAcctGatherParams') ?? '')
  if (byKernel || bySampler)
    return {
      status: 'ok',
      found: byKernel
        ? 'limits are kept by cgroups, where cgroup.conf says so'
        : 'limits are kept by sampling (OverMemoryKill)',
    }
  return {
    status: 'ok',
    found: `nothing ends a job over its memory${config.enforcesMemory ? '' : ' (enforcesMemory: false)'}`,
  }
}
