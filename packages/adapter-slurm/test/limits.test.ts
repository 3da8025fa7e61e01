import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import type { BackendLimits, Diagnosis } from '@orbweaver/core'
import type { ProbeReplies } from '@orbweaver/core/command-line'
import { slurmDialect, type SlurmConfig } from '@orbweaver/adapter-slurm'
import { readNodeKinds } from '#src/limits.js'
import { config, reply } from './specs.js'

const { recordings } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../test/fixtures/slurm-22.05.8/recordings.json'), 'utf8'),
) as { readonly recordings: readonly { readonly command: string; readonly stdout: string }[] }
const CONFIG = recordings.find(({ command }) => command === 'scontrol show config')?.stdout ?? ''

const NODES = [
  'main*|up|1-00:00:00|64|64000|(null)|3|mixed',
  'main*|up|1-00:00:00|128|256000|gpu:a100:4(S:0-1)|1|down*',
  'short|up|2:00|64|64000|(null)|1|idle',
  'closed|down|1:00:00|64|64000|(null)|1|mixed',
  'open|up|infinite|64|64000|(null)|1|idle',
].join('\n')
const DOWN = {
  exitCode: 1,
  stderr: 'slurm_load_partitions: Unable to contact slurm controller (connect failure)',
}

function replies(more: Readonly<Record<string, Parameters<typeof reply>[0]>> = {}): ProbeReplies {
  const all = {
    version: { stdout: 'slurm-wlm 22.05.8\n' },
    config: { stdout: CONFIG },
    nodes: { stdout: NODES },
    associations: { stdout: 'cci|alice||normal,high|500|2-00:00:00\nother|alice||normal||\n' },
    qos: { stdout: 'normal||||\nhigh|12:00:00|50||\n' },
    accounting: {},
    ...more,
  }
  return new Map(Object.entries(all).map(([name, one]) => [name, reply(one)]))
}
const context = { user: 'alice', nowMs: Date.UTC(2026, 10, 22) }
const limits = (settings: Partial<SlurmConfig> = {}, more = {}): BackendLimits => {
  const reading = slurmDialect(config(settings)).readLimits(replies(more), context)
  if (reading.kind !== 'answer') expect.fail(JSON.stringify(reading))
  return reading.value
}

describe('limits of the site', () => {
  it('are those of the default partition, each with its rule', () => {
    const found = limits()
    expect(found).to.deep.include({
      maxWalltimeSeconds: 86_400,
      maxCpus: 128,
      maxMemoryBytes: 256_000 * 1024 ** 2,
      maxGpus: 4,
      maxArraySize: 10_001,
      maxJobs: 20_000,
    })
    expect(found.source).to.include({
      maxWalltimeSeconds: 'partition main (MaxTime)',
      maxCpus: 'largest node of partition main',
      maxJobs: 'MaxJobCount of slurm.conf',
    })
  })

  it('are those of the partition and account that are used, the narrowest rule of all', () => {
    expect(limits({ partition: 'short' }).maxWalltimeSeconds).to.equal(120)
    expect(limits({ account: 'cci' })).to.deep.include({ maxJobs: 500, maxWalltimeSeconds: 86_400 })
    const high = limits({ account: 'cci', qos: 'high' })
    expect(high).to.include({ maxJobs: 50, maxWalltimeSeconds: 43_200 })
    expect(high.source['maxJobs']).to.equal('MaxSubmitJobs of QOS high')
  })

  it('are not known where nothing limits, or nobody tells', () => {
    expect(limits({ partition: 'open' })).to.not.have.any.keys('maxWalltimeSeconds', 'maxGpus')
    expect(limits({ partition: 'open,short' })).to.not.have.property('maxWalltimeSeconds')
    expect(limits({ partition: 'nosuch' })).to.not.have.any.keys('maxCpus', 'maxMemoryBytes')
    expect(
      limits(
        { account: 'cci' },
        {
          associations: {
            exitCode: 1,
            stderr: 'sacctmgr: error: Problem talking to the database: Connection refused',
          },
        },
      ).maxJobs,
    ).to.equal(20_000)
  })

  it('are no limits when the controller is away, or says what cannot be read', () => {
    const read = (more: object): string =>
      slurmDialect(config()).readLimits(replies(more as never), context).kind
    expect(read({ nodes: DOWN })).to.equal('unavailable')
    expect(read({ config: DOWN })).to.equal('unavailable')
    expect(read({ config: { stdout: 'Welcome!\n' } })).to.equal('unreadable')
  })

  it('read nodes as sinfo prints them', () => {
    expect(
      readNodeKinds('gpu|up|UNLIMITED|8+|16000+|gpu:2,gpu:t4:3(S:0),mps:100|2|idle\nCLUSTER: x\n'),
    ).to.deep.equal([
      {
        partition: 'gpu',
        isDefault: false,
        up: true,
        walltimeSeconds: undefined,
        cpus: 8,
        memoryBytes: 16_000 * 1024 ** 2,
        gpus: 5,
        nodes: 2,
        state: 'idle',
      },
    ])
  })
})

describe('doctor', () => {
  const found = (settings: Partial<SlurmConfig> = {}, more = {}): ReadonlyMap<string, Diagnosis> =>
    new Map(
      slurmDialect(config(settings))
        .readDoctor(replies(more), context)
        .map((line) => [line.check, line]),
    )
  const status = (check: string, settings: Partial<SlurmConfig> = {}, more = {}): string | undefined =>
    found(settings, more).get(`slurm: ${check}`)?.status

  it('finds nothing wrong where nothing is', () => {
    const lines = [...found({ account: 'cci', qos: 'high' }).values()]
    expect(lines.filter(({ status: word }) => word !== 'ok')).to.deep.equal([])
    expect(lines.map(({ check }) => check)).to.include.members([
      'slurm: commands',
      'slurm: controller',
      'slurm: partition',
      'slurm: accounting',
      'slurm: account',
    ])
  })

  it('says what is wrong, and the way out', () => {
    expect(status('commands', {}, { version: { exitCode: undefined, signal: 'SIGKILL' } })).to.equal(
      'problem',
    )
    expect(status('controller', {}, { config: DOWN })).to.equal('problem')
    expect(status('partition', { partition: 'nosuch' })).to.equal('problem')
    expect(status('partition', { partition: 'closed' })).to.equal('warning')
    expect(status('account', { account: 'nosuch' })).to.equal('warning')
    const enforced = CONFIG.replace(
      /AccountingStorageEnforce = none/,
      'AccountingStorageEnforce = associations,limits',
    )
    expect(status('account', { account: 'nosuch' }, { config: { stdout: enforced } })).to.equal('problem')
    expect(status('account', { account: 'cci', qos: 'nosuch' })).to.equal('warning')
    expect(
      status(
        'accounting',
        {},
        { accounting: { exitCode: 1, stderr: 'SLURM accounting storage is disabled' } },
      ),
    ).to.equal('warning')
    expect(
      status('clock', {}, { config: { stdout: CONFIG.replace(/as of .*/, 'as of 1795000000') } }),
    ).to.equal('warning')
    for (const line of found({ partition: 'nosuch', account: 'x' }).values())
      if (line.status !== 'ok') expect(line.hint, line.check).to.be.a('string').and.not.equal('')
  })
})
