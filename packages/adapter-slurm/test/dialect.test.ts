import { expect } from 'chai'
import fc from 'fast-check'
import { jobId, type JobStatus } from '@orbweaver/core'
import type { Reply } from '@orbweaver/core/command-line'
import { slurmConfig, slurmDialect } from '@orbweaver/adapter-slurm'
import { foldIds, expandId, isJobId } from '#src/ids.js'
import { readReason, readState } from '#src/states.js'
import {
  readAskedMemory,
  readClock,
  readEpoch,
  readExit,
  readMemory,
  readNodes,
  readWaitStatus,
} from '#src/values.js'
import { config, reply } from './specs.js'

const NOW_MS = 1_795_581_900_000
const dialect = slurmDialect(config())
const [queueStep, accountStep] = dialect.querySteps
const question = { ids: [], user: 'alice', nowMs: NOW_MS, sinceMs: NOW_MS - 86_400_000, form: 0 }

function read(
  step: typeof queueStep,
  stdout: string,
  more: Partial<Reply> = {},
  form = 0,
): ReadonlyMap<string, JobStatus> {
  const reading = step?.read(reply({ stdout, ...more }), { ...question, form })
  if (reading?.kind !== 'answer') expect.fail(JSON.stringify(reading))
  return reading.value
}
const kindOf = (step: typeof queueStep, more: Partial<Reply>, form = 0): string | undefined =>
  step?.read(reply(more), { ...question, form }).kind

/** As a live 22.05.8 printed them for this very format. */
const QUEUE = [
  '106|CANCELLED|DependencyNeverSatisfied|0|0|1795581521|1795581524|1795581524|main||ow-106|',
  '103|COMPLETED|None|0|0|1795581521|1795581522|1795581523|main|node1|ow-103|',
  '101|FAILED|NonZeroExitCode|35072|0|1795581521|1795581522|1795581523|main|node1|ow-101|',
  '102_0|FAILED|NonZeroExitCode|65280|0|1795581521|1795581522|1795581523|main|node1|ow-arr|',
  '104|FAILED|JobLaunchFailure|9|0|1795581521|1795581522|1795581522|main|node1|a|b c|',
  '107|PENDING|DependencyNeverSatisfied|0|0|1795581521|N/A|N/A|main||ow-107|',
  '105|PENDING|JobHeldUser|0|0|1795581521|N/A|N/A|main||ow-105|',
  '108|PENDING|BeginTime|0|2|1795581521|1795581700|1795585300|main||ow-108|',
  '109|RUNNING|None|0|1|1795581521|1795581522|1795585122|main|node[1-2]|ow-109|',
  '',
].join('\n')
const ACCOUNT = [
  '101|FAILED|9:0|None|1795581521|1795581522|1795581523|1|00:00.002||16M|1|node1|main|wrap|',
  '101.batch|FAILED|9:0||1795581522|1795581522|1795581523|1|00:00.002|1000K||1|node1||batch|',
  '150|REQUEUED|0:0|None|1795581521|1795581522|1795581524|2|00:00.002||16M|1|node1|main|wrap|',
  '150.batch|CANCELLED|0:15||1795581522|1795581522|1795581524|2|00:00.002|1000K||1|node1||batch|',
  '150|COMPLETED|0:0|BeginTime|1795581524|1795581622|1795581630|8|00:05.000||16M|1|node1|main|wrap|',
  '150.batch|COMPLETED|0:0||1795581622|1795581622|1795581630|8|00:05.000|3280K||1|node1||batch|',
  '116|FAILED|0:9|None|1795581521|1795581522|1795581524|2|00:00.500||20M|1|node1|main|wrap|',
  '116.batch|CANCELLED by 0|0:9||1795581522|1795581522|1795581524|2|00:00.500|415868K||1|node1||batch|',
  '118|CANCELLED by 1002|0:0|None|1795581521|1795581522|1795581524|2|00:00.500||20M|1|node1|main|wrap|',
  '119|OUT_OF_MEMORY|0:125|None|1795581521|1795581522|1795581524|2|00:00.500||20M|1|node1|main|wrap|',
  '120|FAILED|1:0|None|1795581521|1795581522|1795581524|2|00:00.500||20M|1|node1|main|wrap|',
  '120.batch|OUT_OF_MEMORY|0:125||1795581522|1795581522|1795581524|2|00:00.500|19000K||1|node1||batch|',
  '145|FAILED|0:53|None|1795581521|1795581522|1795581522|0|00:00:00||20M|1|node1|main|wrap|',
  '',
].join('\n')

describe('queue', () => {
  const jobs = read(queueStep, QUEUE)
  const job = (id: string): JobStatus => jobs.get(id) ?? expect.fail(id)

  it('is asked once for all jobs of the account, with times as numbers', () => {
    const command = queueStep?.command(question)
    expect(command?.argv.slice(0, 6)).to.deep.equal([
      'squeue',
      '--noheader',
      '--all',
      '--array',
      '--states=all',
      '--user=alice',
    ])
    expect(command?.environment).to.include({ SLURM_TIME_FORMAT: '%s' })
  })

  it('tells exit codes above 127 exactly', () => {
    expect(job('101')).to.include({ outcome: 'failed', exitCode: 137, exitCodeExact: true })
    expect(job('102_0')).to.include({ exitCode: 255, exitCodeExact: true })
    expect(job('104')).to.include({ outcome: 'failed', signal: 'SIGKILL' }).and.not.have.property('exitCode')
  })

  it('tells times, places and names, and none that are only expected', () => {
    expect(job('103')).to.deep.include({
      name: 'ow-103',
      queue: 'main',
      nodes: ['node1'],
      submittedAtMs: 1_795_581_521_000,
      startedAtMs: 1_795_581_522_000,
      endedAtMs: 1_795_581_523_000,
    })
    expect(job('104').name).to.equal('a|b c')
    expect(job('108')).to.not.have.any.keys('startedAtMs', 'endedAtMs')
    expect(job('109'))
      .to.deep.include({ phase: 'running', nodes: ['node1', 'node2'] })
      .and.not.have.property('endedAtMs')
  })

  it('counts restarts, and tells what will never run, and who holds', () => {
    expect(job('108')).to.include({ phase: 'queued', waitingOn: 'begin-time', restarts: 2 })
    expect(job('107')).to.include({ phase: 'queued', waitingOn: 'dependency', willNeverRun: true })
    expect(job('105')).to.include({ phase: 'held', heldBy: 'user' })
    expect(job('106')).to.include({ outcome: 'dependency-failed' })
  })

  it('is read in the older form as well, without what that lacks', () => {
    const old = read(
      queueStep,
      '101|FAILED|NonZeroExitCode|1795581521|1795581522|1795581523|main|node1|ow-101|\n',
      {},
      1,
    )
    expect(old.get('101')).to.include({ outcome: 'failed' }).and.not.have.property('exitCode')
    expect(
      kindOf(queueStep, {
        stdout: '107||\n',
        stderr: 'squeue: error: Invalid job format specification: RestartCnt',
      }),
    ).to.equal('unsupported')
  })

  it('is no answer when it is cut, garbled or silent about its failure', () => {
    expect(kindOf(queueStep, { stdout: QUEUE.slice(0, -4) })).to.equal('unreadable')
    expect(kindOf(queueStep, { stdout: '103|COMPLETED|None|\n' })).to.equal('unreadable')
    expect(kindOf(queueStep, { exitCode: 1 })).to.equal('unreadable')
    expect(kindOf(queueStep, { exitCode: undefined, signal: 'SIGTERM' })).to.equal('unavailable')
    expect(
      kindOf(queueStep, {
        exitCode: 1,
        stderr: 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)',
      }),
    ).to.equal('unavailable')
    expect(
      kindOf(queueStep, { stderr: 'slurm_load_jobs error: Socket timed out on send/recv operation' }),
    ).to.equal('unavailable')
  })

  it('is an answer between banners and with the line ends of other systems', () => {
    const text = `Welcome to cluster 7\n2026\n${QUEUE.replaceAll('\n', '\r\n')}Have a nice day\n`
    expect(read(queueStep, text)).to.deep.equal(jobs)
  })

  it('does not call a success what contradicts itself', () => {
    for (const exit of ['256', '9', 'x', ''])
      expect(read(queueStep, `1|COMPLETED|None|${exit}|0|1|1|1|m|n|j|\n`).get('1')?.outcome).to.equal(
        'unknown',
      )
  })
})

describe('accounting', () => {
  const jobs = read(accountStep, ACCOUNT)
  const job = (id: string): JobStatus => jobs.get(id) ?? expect.fail(id)

  it('is asked with a start time, and for whole arrays', () => {
    const ids = ['7', '20_1', '20_5', '21_3'].map(jobId)
    const argv = accountStep?.command({ ...question, ids }).argv ?? []
    expect(argv).to.include.members(['--duplicates', '--starttime=now-1440minutes', '--jobs=7,20,21_3'])
  })

  it('does not take exit codes at face value', () => {
    expect(job('101')).to.include({ exitCode: 9, exitCodeExact: false })
  })

  it('counts earlier incarnations, and tells the last', () => {
    expect(job('150')).to.deep.include({
      restarts: 1,
      outcome: 'succeeded',
      usage: { peakMemoryBytes: 3280 * 1024, cpuSeconds: 5, elapsedSeconds: 8 },
    })
  })

  it('tells memory kills: by the kernel, by the plug-in, of a step', () => {
    for (const id of ['116', '119', '120']) {
      expect(job(id).outcome, id).to.equal('out-of-memory')
      expect(
        job(id)
          .evidence.map(({ text }) => text)
          .join('\n'),
      ).to.contain('memory: at most')
    }
  })

  it('tells who cancelled, and what never started', () => {
    expect(job('118')).to.include({ outcome: 'cancelled' }).and.not.have.property('exitCode')
    expect(job('118').evidence.some(({ text }) => text.includes('uid 1002'))).to.equal(true)
    expect(job('145').outcome).to.equal('launch-failed')
  })

  it('does without the reason on older releases, and without itself', () => {
    expect(
      kindOf(accountStep, { exitCode: 1, stderr: 'sacct: error: Invalid field requested: "Reason"' }),
    ).to.equal('unsupported')
    expect(accountStep?.command({ ...question, form: 1 }).argv.at(-1)).to.not.contain('Reason')
    expect(kindOf(accountStep, { exitCode: 1, stderr: 'SLURM accounting storage is disabled\n' })).to.equal(
      'absent',
    )
    expect(
      kindOf(accountStep, {
        exitCode: 1,
        stderr: 'sacct: error: Problem talking to the database: Connection refused',
      }),
    ).to.equal('unavailable')
  })

  it('adds to the queue, and does not overrule what the queue knows exactly', () => {
    const queue = read(queueStep, QUEUE).get('101')
    if (queue === undefined) expect.fail('101')
    const both = dialect.merge(queue, job('101'))
    expect(both).to.include({ outcome: 'failed', exitCode: 137, exitCodeExact: true })
    expect(both.usage).to.deep.include({ peakMemoryBytes: 1000 * 1024, elapsedSeconds: 1 })
    expect(both.evidence.map(({ source }) => source)).to.include.members(['queue', 'accounting'])
    const killed = read(
      queueStep,
      '116|FAILED|JobLaunchFailure|9|0|1795581521|1795581522|1795581524|main|node1|j|\n',
    ).get('116')
    if (killed === undefined) expect.fail('116')
    expect(dialect.merge(killed, job('116'))).to.include({ outcome: 'out-of-memory' })
    // An old row of an earlier incarnation says nothing about this one.
    const again = { ...killed, startedAtMs: 1_795_590_000_000 }
    expect(dialect.merge(again, job('116'))).to.include({ outcome: 'failed' })
  })
})

describe('words', () => {
  it('maps every state and flag, and keeps unknown words as unknown', () => {
    expect(readState('CANCELLED by 1002')).to.deep.equal({
      meaning: { phase: 'finished', outcome: 'cancelled' },
      cancelledBy: 1002,
    })
    expect(readState('SPECIAL_EXIT').meaning).to.deep.equal({ phase: 'held', heldBy: 'requeue' })
    expect(readState(['RUNNING', 'COMPLETING']).meaning).to.deep.equal({ phase: 'finishing' })
    expect(readState(['COMPLETED', 'UPDATE_DB']).meaning).to.deep.equal({
      phase: 'finished',
      outcome: 'succeeded',
    })
    for (const word of ['', '?', 'COMPLETED+', 'OUT_OF_ME+', 'completed', 'constructor', 'SUCCEEDED'])
      expect(readState(word).meaning, word).to.deep.equal({ phase: 'unknown' })
    expect(readState(['COMPLETED', 'WARP']).meaning, 'a flag nobody knows').to.deep.equal({
      phase: 'unknown',
    })
  })

  it('reads reasons that are cut, extended or new', () => {
    expect(readReason('DependencyNeverSatis')).to.include({ willNeverRun: true })
    expect(readReason('ReqNodeNotAvail, UnavailableNodes:n1')).to.deep.equal({ waitingOn: 'partition-down' })
    expect(readReason('job requeued in held state')).to.deep.equal({ heldBy: 'requeue' })
    expect(readReason('QOSMaxCpuPerUserLimit')).to.deep.equal({ waitingOn: 'limit' })
    expect(readReason('SomethingNew')).to.deep.equal({ waitingOn: 'other' })
    expect(readReason('(None)')).to.deep.equal({})
  })

  it('reads durations, memory, times and exit codes, and nothing into other texts', () => {
    expect(
      [
        '1-02:03:04',
        '02:03:04',
        '10:00',
        '58:10.420',
        '1-02',
        '00:00.003',
        'UNLIMITED',
        'INVALID',
        '',
        '90',
      ].map(readClock),
    ).to.deep.equal([93_784, 7384, 600, 3490.42, 93_600, 0.003, undefined, undefined, undefined, undefined])
    expect(['1612088K', '72.50M', '0', '', '?', '4Gc'].map(readMemory)).to.deep.equal([
      1_650_778_112,
      76_021_760,
      0,
      undefined,
      undefined,
      undefined,
    ])
    expect([
      readAskedMemory('4Gc', 2),
      readAskedMemory('4Gn', 2),
      readAskedMemory('4G', 2),
      readAskedMemory('0n', 2),
    ]).to.deep.equal([8 * 1024 ** 3, 4 * 1024 ** 3, 4 * 1024 ** 3, undefined])
    expect(
      ['1795581521', 'N/A', 'Unknown', '0', '4294967294', '2026-11-25T04:00:00', ''].map(readEpoch),
    ).to.deep.equal([1_795_581_521_000, undefined, undefined, undefined, undefined, undefined, undefined])
    expect(readExit('0:125')).to.deep.equal({ signalNumber: 125 })
    expect([
      readExit('-2:0'),
      readExit('999:0'),
      readWaitStatus('70000'),
      readWaitStatus('-1'),
    ]).to.deep.equal([undefined, undefined, undefined, undefined])
    expect(readWaitStatus('137:0')).to.deep.equal({ exitCode: 137 })
    expect(readNodes('node[01-03,7],gpu1')).to.deep.equal(['node01', 'node02', 'node03', 'node7', 'gpu1'])
    expect(readNodes('None assigned')).to.deep.equal([])
    expect(readNodes('n[1-9999999]')).to.deep.equal(['n[1-9999999]'])
  })

  it('folds ids for commands, and unfolds them from replies, to the same', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(3000), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 4_000_000_000 }),
        (indices, array) => {
          const ids = indices.map((index) => jobId(`${array}_${index}`))
          const words = foldIds(ids)
          expect(words).to.have.length(1)
          expect([...words.flatMap((word) => expandId(word) ?? [])].sort()).to.deep.equal([...ids].sort())
        },
      ),
    )
    expect(['5', '5_1', '29+1'].every(isJobId)).to.equal(true)
    expect(
      ['', '0', 'x', '5_', '-1', '5 6', '99999999999', '5_[1-2]', '21474800001499'].some(isJobId),
    ).to.equal(false)
  })
})

describe('garbled replies', () => {
  const WHOLE = [QUEUE, ACCOUNT].map((text) =>
    text
      .split('\n')
      .filter((line) => !/COMPLETED/.test(line))
      .join('\n'),
  )
  const noise = fc.oneof(
    fc.constantFrom(
      '\r\n',
      '|',
      '\n',
      '||||||||||||||',
      'Welcome 12\n',
      'COMPLETED',
      '|COMPLETED|',
      '\0',
      '\u001b[1m',
      '9'.repeat(40),
    ),
    fc.string({ maxLength: 12, unit: 'binary' }),
  )

  it('never throw, and never make a success of what was none', () => {
    fc.assert(
      fc.property(
        fc.nat(1),
        fc.nat(3000),
        fc.nat(3000),
        noise,
        fc.nat(1),
        fc.constantFrom(0, 1, undefined),
        fc.constantFrom('', 'error: odd', 'slurm_load_jobs error: x'),
        (which, from, to, text, form, exitCode, stderr) => {
          const whole = WHOLE[which] ?? ''
          const [low, high] = [Math.min(from, to) % whole.length, Math.max(from, to) % whole.length].sort(
            (a, b) => a - b,
          )
          // A state that is put in whole where another stood is no garbling but another reply.
          const stdout = whole.slice(0, low) + text + whole.slice(high)
          if (/\|COMPLETED\|/.test(stdout)) return
          const step = dialect.querySteps[which]
          const reading = step?.read({ exitCode, stdout, stderr }, { ...question, form })
          if (reading?.kind !== 'answer') return
          for (const status of reading.value.values()) expect(status.outcome).to.not.equal('succeeded')
        },
      ),
      { numRuns: 3000 },
    )
  })

  it('never give an id to a submit that was not accepted', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 60, unit: 'binary' }),
        fc.integer({ min: 1, max: 255 }),
        (stdout, exitCode) => {
          const reading = dialect.readSubmit(
            { exitCode, stdout: `${stdout}\n123\n`, stderr: stdout },
            { name: 'a', members: [], array: false, files: [], command: { argv: [] } },
          )
          expect(reading.kind).to.not.equal('accepted')
        },
      ),
    )
  })
})

describe('options', () => {
  it('have defaults, and say what is wrong', () => {
    expect(slurmConfig.parse({})).to.include({ requeue: false, arrays: true, exclusive: false, nodes: 1 })
    for (const bad of [
      { partion: 'x' },
      { nodes: 0 },
      { partition: '' },
      { partition: 'a\nb' },
      { mail: ['SOMETIMES'] },
      { warn: 'soon' },
      { environment: { 'A B': 'c' } },
      { sbatchOptions: ['--array=1-2'] },
      { sbatchOptions: ['-J', 'x'] },
      { sbatchOptions: ['--parsable'] },
      { partition: 'a', queue: 'b' },
    ])
      expect(slurmConfig.safeParse(bad).success, JSON.stringify(bad)).to.equal(false)
    expect(slurmConfig.parse({ warn: '5m', history: '7d', sbatchOptions: ['--tmp=20G'] })).to.include({
      warn: 300,
      history: 604_800,
    })
  })

  it('switch the accounting off whole', () => {
    const off = slurmDialect(config({ accounting: 'off' }))
    expect([off.querySteps.length, off.findSteps.length, off.capabilities.history]).to.deep.equal([
      1,
      1,
      false,
    ])
    expect(off.limitProbes.map(({ name }) => name)).to.deep.equal(['config', 'nodes'])
  })
})
