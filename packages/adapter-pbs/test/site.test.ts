import { expect } from 'chai'
import { BackendUnavailableError, InputError, NotFoundError, jobId } from '@orbweaver/core'
import { InMemoryFiles } from '@orbweaver/core/testing'
import type { ProbeReplies, Reply } from '@orbweaver/core/command-line'
import { createPbsBackend, type Flavour, type PbsConfig } from '@orbweaver/adapter-pbs'
import { flavourOf, lookAtSite } from '#src/flavour.js'
import { largestNode } from '#src/nodes.js'
import type { Site } from '#src/ends.js'
import { readStatuses, shortName } from '#src/status.js'
import { readTable } from '#src/find.js'
import { readFindings, readLimits } from '#src/site.js'
import { config, dialect, replyOf } from './specs.js'

const OPENPBS_SERVER = `Server: pbs01
    server_state = Active
    scheduling = True
    default_queue = workq
    max_array_size = 1000
    max_queued = [u:PBS_GENERIC=100],[o:PBS_ALL=5000]
    state_count = Transit:0 Queued:0 Held:0 Waiting:0 Running:0 Exiting:0 Begun
\t:0
    pbs_version = 23.06.06
    job_history_enable = True

`
const OPENPBS_QUEUES = `Queue: workq
    queue_type = Execution
    enabled = True
    started = True

Queue: short
    resources_max.walltime = 00:02:00
    resources_max.mem = 4gb
    resources_max.ncpus = 8
    enabled = True
    started = False

`
/** Two vnodes of one host, and a small host. */
const OPENPBS_NODES = `big[0]
     Mom = big
     resources_available.host = big
     resources_available.mem = 8gb
     resources_available.ncpus = 16

big[1]
     Mom = big
     resources_available.host = big
     resources_available.mem = 8gb
     resources_available.ncpus = 16
     resources_available.ngpus = 2

small
     resources_available.host = small
     resources_available.mem = 12gb
     resources_available.ncpus = 24
`
const TORQUE_SERVER = `Server: pbs02.cluster.example
    default_queue = batch
    scheduling = True
    keep_completed = 300
    max_job_array_size = 500
    pbs_version = 7.0.0

`
const TORQUE_NODES = `pbs02
     state = free
     np = 64
     status = opsys=linux,physmem=24684084kb,ncpus=2,jobs=
     gpus = 4

`
const replies = (server: string, queues = '', nodes = ''): ProbeReplies =>
  new Map([
    ['server', replyOf({ stdout: server })],
    ['queues', replyOf({ stdout: queues })],
    ['nodes', replyOf({ stdout: nodes })],
  ])
const limitsOf = (of: ProbeReplies, more: Partial<PbsConfig> = {}) => {
  const reading = readLimits(of, config(more))
  if (reading.kind !== 'answer') throw new Error(reading.message)
  return reading.value
}

describe('adapter-pbs: limits', () => {
  const all = replies(OPENPBS_SERVER, OPENPBS_QUEUES, OPENPBS_NODES)

  it('are those of the server, of the queue of the jobs and of the largest node, the lowest of each', () => {
    const { source, ...values } = limitsOf(all)
    expect(values).to.deep.equal({
      maxArraySize: 1000,
      maxJobs: 100,
      maxCpus: 32,
      maxGpus: 2,
      maxMemoryBytes: 16 * 1024 ** 3,
    })
    expect(source['maxCpus']).to.equal('the largest node')
    expect(limitsOf(all, { queue: 'short' })).to.include({
      maxCpus: 8,
      maxWalltimeSeconds: 120,
      maxMemoryBytes: 4 * 1024 ** 3,
    })
    expect(limitsOf(all, { queue: 'short' }).source['maxWalltimeSeconds']).to.match(/queue short/)
  })

  it('of Torque', () => {
    const { source, ...values } = limitsOf(replies(TORQUE_SERVER, '', TORQUE_NODES))
    expect(values).to.deep.equal({ maxArraySize: 500, maxCpus: 64, maxGpus: 4 })
    expect(source).to.have.property('maxArraySize')
  })

  it('are what is left when queues or nodes are not told', () => {
    const part: ProbeReplies = new Map<string, Reply | { readonly failure: string }>([
      ['server', replyOf({ stdout: OPENPBS_SERVER })],
      ['queues', { failure: 'exit code 1' }],
      ['nodes', replyOf({ exitCode: 1, stderr: 'pbsnodes: Unauthorized Request' })],
    ])
    expect(limitsOf(part)).to.include({ maxArraySize: 1000 }).and.not.to.have.property('maxCpus')
  })

  it('of arrays are arrays of one where there are to be none', () => {
    const queue = 'Queue: workq\n    max_array_size = 0\n\n'
    const { maxArraySize, source } = limitsOf(replies(OPENPBS_SERVER, queue))
    expect(maxArraySize).to.equal(1)
    expect(source).to.have.property('maxArraySize', 'queue workq (max_array_size)')
  })

  it('are not known when the server does not answer', () => {
    const away = new Map([['server', { failure: 'timed out' }]])
    expect(readLimits(away, config()).kind).to.equal('unavailable')
    expect(readLimits(replies('hello'), config()).kind).to.equal('unreadable')
  })

  it('of nodes are nothing where nothing is told', () => {
    const nothing = { cpus: undefined, gpus: undefined, memoryBytes: undefined }
    for (const text of ['', 'Node: x\n', 'a b c\n   np = 5\n', '     np = 5\n'])
      expect(largestNode(text)).to.deep.equal(nothing)
  })
})

describe('adapter-pbs: doctor', () => {
  const findings = (of: ProbeReplies, flavour: Flavour, more: Partial<PbsConfig> = {}) =>
    readFindings(of, config(more), flavour, 'alice').map(({ check, status }) => `${check}: ${status}`)

  it('finds nothing wrong with a server that is as it should be', () => {
    const of = replies(OPENPBS_SERVER, OPENPBS_QUEUES)
    expect(findings(of, 'openpbs')).to.deep.equal([
      'pbs: server: ok',
      'pbs: ended jobs: ok',
      'pbs: queue: ok',
    ])
  })

  it('tells a queue that is not there, is shut, or is not named', () => {
    const of = replies(OPENPBS_SERVER, OPENPBS_QUEUES)
    expect(findings(of, 'openpbs', { queue: 'nosuch' })).to.include('pbs: queue: problem')
    expect(findings(of, 'openpbs', { queue: 'short' })).to.include('pbs: queue: problem')
    const none = replies(OPENPBS_SERVER.replace('default_queue', 'other'), OPENPBS_QUEUES)
    expect(findings(none, 'openpbs')).to.include('pbs: queue: problem')
  })

  it('warns of a server that forgets ended jobs, and of one that starts none', () => {
    const of = replies(
      OPENPBS_SERVER.replace('history_enable = True', 'history_enable = False'),
      OPENPBS_QUEUES,
    )
    expect(findings(of, 'openpbs')).to.include('pbs: ended jobs: warning')
    const torque = replies(
      TORQUE_SERVER.replace('300', '0').replace('scheduling = True', 'scheduling = False'),
    )
    expect(findings(torque, 'torque')).to.include.members([
      'pbs: ended jobs: warning',
      'pbs: scheduling: warning',
    ])
  })

  it('tells a server that does not answer', () => {
    const away = new Map([
      ['server', replyOf({ exitCode: 255, stderr: 'qstat: cannot connect to server x' })],
    ])
    expect(findings(away, 'openpbs')).to.deep.equal(['pbs: server: problem'])
  })
})

describe('adapter-pbs: which PBS', () => {
  const WRAPPER = 'Unknown option: version\nUsage:\n    qsub [-a start_time] [-P wckey]\n'
  /** A site whose programs say what is given here. */
  const transport = (said: Readonly<Record<string, Partial<Reply>>>) => ({
    runner: {
      run: async ({ argv }: { readonly argv: readonly string[] }) => {
        const reply = said[argv.slice(0, 2).join(' ')]
        if (reply === undefined) throw new NotFoundError(`no ${argv[0] ?? ''}`)
        return { ...replyOf(reply), truncated: false, durationMs: 0 }
      },
    },
    files: new InMemoryFiles(),
  })
  const look = (said: Readonly<Record<string, Partial<Reply>>>, more: Partial<PbsConfig> = {}) =>
    lookAtSite(config(more), transport(said))

  it('is told from qsub --version', () => {
    const of = (stdout: string, stderr: string) => flavourOf({ stdout, stderr })
    expect(of('pbs_version = 23.06.06\n', '')).to.equal('openpbs')
    expect(of('pbs_version = 2022.1.1.20220926\n', '')).to.equal('openpbs')
    expect(of('', 'Version: master\nCommit: \n')).to.equal('torque')
    expect(of('', 'Version: 6.1.3\nCommit: 33b39f3\n')).to.equal('torque')
    expect(of('', WRAPPER)).to.equal('slurm')
    expect(of('hello', '')).to.equal(undefined)
  })

  it('and whether the server keeps ended jobs, from the server', async () => {
    const openpbs = {
      'qsub --version': { stdout: 'pbs_version = 23.06.06\n' },
      'qstat -B': { stdout: OPENPBS_SERVER },
    }
    expect(await look(openpbs)).to.deep.include({ flavour: 'openpbs', ended: true, elements: true })
    const old = { ...openpbs, 'qstat -B': { stdout: OPENPBS_SERVER.replace('23.06.06', '18.1.4') } }
    expect(await look(old)).to.include({ elements: false })
    const forgets = {
      ...openpbs,
      'qstat -B': { stdout: OPENPBS_SERVER.replace('enable = True', 'enable = False') },
    }
    expect(await look(forgets)).to.include({ ended: false, elements: false })
    const torque = { 'qsub --version': { stderr: 'Version: 6.1.3\n' }, 'qstat -B': { stdout: TORQUE_SERVER } }
    expect(await look(torque)).to.deep.include({ flavour: 'torque', ended: true })
    // Said in the site file: qsub is not asked.
    expect(await look({ 'qstat -B': { stdout: TORQUE_SERVER } }, { flavour: 'torque' })).to.include({
      flavour: 'torque',
    })
  })

  const failureOf = async (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => undefined,
      (error: unknown) => error,
    )

  it("refuses Slurm's wrappers of the same names, and what is no PBS", async () => {
    const slurm = await failureOf(look({ 'qsub --version': { exitCode: 2, stderr: WRAPPER } }))
    expect(slurm).to.be.instanceOf(InputError).with.property('hint', 'use: slurm')
    const other = await failureOf(look({ 'qsub --version': { stderr: 'SGE 8.1.9' } }))
    expect(other)
      .to.have.property('message')
      .that.matches(/no PBS that we know/)
  })

  it('is not known while the server is away, or where there are no programs', async () => {
    const away = {
      'qstat -B': { exitCode: 255, stderr: 'Connection refused\nqstat: cannot connect to server x' },
    }
    expect(await failureOf(look(away, { flavour: 'openpbs' }))).to.be.instanceOf(BackendUnavailableError)
    const none = await failureOf(look({}))
    expect(none)
      .to.be.instanceOf(BackendUnavailableError)
      .with.property('message', 'there is no program qsub')
    const backend = createPbsBackend({
      transport: transport({}),
      clock: { now: () => 0, sleep: async () => undefined },
      workRoot: '/data',
    })
    expect(await backend.diagnose()).to.have.lengthOf(1)
    expect(backend.capabilities.history).to.equal(false)
    await backend.close()
  })
})

describe('adapter-pbs: commands', () => {
  it('run with the times of one zone, and on the server and in the folder of the site', () => {
    const there = dialect('openpbs', { server: 'pbs09', bin: '/opt/pbs/bin/' })
    expect(there.environment).to.deep.equal({ TZ: 'UTC', PBS_DEFAULT: 'pbs09', PBS_SERVER: 'pbs09' })
    expect(there.control('cancel', ['1.a'] as never).argv).to.deep.equal(['/opt/pbs/bin/qdel', '1.a'])
  })

  it('ask for many elements of an array with one word', () => {
    const ids = ['5[0].a', '5[1].a', '5[2].a', '5[7].a', '9.a'] as never
    const here = dialect('openpbs')
    const question = { ids, user: 'alice', nowMs: 0, sinceMs: 0, form: 0 }
    expect(here.querySteps[0]?.command(question).argv.slice(-2)).to.deep.equal(['5[].a', '9.a'])
    expect(here.control('cancel', ids).argv).to.deep.equal(['qdel', ...(ids as string[])])
    expect(dialect('torque').control('cancel', ids).argv).to.deep.equal(['qdel', ...(ids as string[])])
    expect(here.control('hold', ['9.a'] as never).argv).to.deep.equal(['qhold', '-h', 'u', '9.a'])
    expect(here.control('release', ['9.a'] as never).argv).to.deep.equal(['qrls', '-h', 'u', '9.a'])
  })

  it('that end or hold what has ended already are no failure', () => {
    const here = dialect('openpbs')
    const kind = (exitCode: number, stderr: string) =>
      here.readControl(replyOf({ exitCode, stderr }), 'cancel').kind
    expect(kind(0, '')).to.equal('answer')
    expect(kind(35, 'qdel: Job has finished 11.pbs01\n')).to.equal('answer')
    expect(kind(153, 'qdel: Unknown Job Id 99.pbs01\nqdel: Job has finished 11.pbs01\n')).to.equal('answer')
    expect(kind(153, 'qdel: nonexistent job id: 999999\n')).to.equal('answer')
    expect(
      kind(170, 'qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE 12.pbs02\n'),
    ).to.equal('answer')
    // qhold and qrls of Torque 7.0, of an id that they do not know.
    expect(kind(153, '')).to.equal('answer')
    expect(kind(159, 'qdel: Unauthorized Request  23.pbs01\n')).to.equal('denied')
    expect(kind(162, "Connection refused\nCouldn't connect to cluster: pbs01\n")).to.equal('unavailable')
    expect(kind(1, '')).to.equal('unreadable')
    expect(kind(156, 'qhold: Invalid request 6[1].pbs01\n')).to.equal('bad-request')
  })

  it('find names in one table, with whole ids', () => {
    const [mine, array, cut, gone] = ['ow-1', 'ow-arr-1', 'ow-2', 'ow-3']
    const row = (id: string, name: string) =>
      `${id.padEnd(30)} alice           workq           ${name}  --     1     1    --    --  F 00:00`
    const stdout = [
      '',
      'pbs01: ',
      'Job ID                         Username        Queue           Jobname         SessID   NDS',
      '------------------------------ --------------- --------------- --------------- -------- ----',
      row('3.pbs01', shortName(mine)),
      row('12.pbs01', shortName(mine)),
      row('5[].pbs01', shortName(array)),
      row('6.server-of-a-very-long-name-i*', shortName(cut)),
      row('7.pbs01', 'other'),
      '',
    ].join('\n')
    const reading = readTable(
      replyOf({ stdout }),
      [mine, array, cut, gone],
      'server-of-a-very-long-name-indeed',
    )
    expect(reading).to.deep.equal({
      kind: 'answer',
      value: [
        { name: mine, id: '12.pbs01' },
        { name: array, id: '5[].pbs01' },
        { name: cut, id: '6.server-of-a-very-long-name-indeed' },
      ],
    })
    expect(readTable(replyOf({}), [mine], 'x')).to.deep.equal({ kind: 'answer', value: [] })
    const torn = stdout.replace('12.pbs01', '??      ')
    expect(readTable(replyOf({ stdout: torn }), [mine], 'x').kind).to.equal('unreadable')
  })
})

describe('adapter-pbs: many unknown jobs on Torque', () => {
  // As Torque 7.0 (master of 2020) says it of nine unknown jobs and one that it knows.
  const job = '<Data><Job><Job_Id>7.trq01</Job_Id><job_state>R</job_state></Job></Data>'
  const unknown = (count: number): string =>
    Array.from(
      { length: count },
      (_, index) => `qstat: Unknown Job Id Error ${990_001 + index}.trq01\n`,
    ).join('')
  const connection = (name: string): string =>
    `Unable to communicate with trq01(10.98.0.1)\nCan not resolve name for server ${name}. (rc = -1 - )\nqstat: cannot connect to server ${name} (errno=15010) Access from host not allowed, or unknown host\n`
  const ids = [jobId('7.trq01'), jobId('990001.trq01')]
  const site = { flavour: 'torque', ended: true, elements: false, server: 'trq01.cluster.example' } as const
  const read = (stderr: string, of: Site = site) =>
    readStatuses(replyOf({ exitCode: 153, stdout: job, stderr }), ids, of, 0)

  it('are no server that is away, whatever names qstat makes up', () => {
    for (const name of ['k\u0001.', 't\ufffdQ\ufffd', 'a\nb', 'k']) {
      const reading = read(connection(name).repeat(2) + unknown(8) + unknown(8).slice(-42))
      expect(reading.kind, name).to.equal('answer')
      if (reading.kind === 'answer') expect([...reading.value.keys()]).to.deep.equal(['7.trq01'])
    }
  })

  it('hide no server that is away', () => {
    for (const name of ['trq01', 'TRQ01.cluster.example'])
      expect(read(unknown(8) + connection('k\u0001') + connection(name)).kind, name).to.equal('unavailable')
    // Fewer than there are connections: nothing made these up.
    expect(read(unknown(7) + connection('other')).kind).to.equal('unavailable')
    expect(read(unknown(8) + connection('k'), { ...site, flavour: 'openpbs' }).kind).to.equal('unavailable')
  })
})
