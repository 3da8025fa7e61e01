/** What goes wrong on real sites, on the fake Slurm: each as one story. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  BackendUnavailableError,
  DEFAULT_REQUIREMENTS,
  jobId,
  type ClusterBackend,
  type JobId,
  type JobSpec,
  type JobStatus,
} from '@orbweaver/core'
import { createFakeLab, type FakeLab } from './fake-lab.js'
import { spec as specOf } from './specs.js'

describe('the fake Slurm, scenarios', () => {
  let lab: FakeLab
  let serial = 0
  afterEach(() => lab.dispose())

  /** A job with a folder of its own; `$1` of the script is that folder. */
  const spec = (script: string, more: Partial<JobSpec> = {}): JobSpec => {
    const directory = join(lab.folder, `job-${++serial}`)
    mkdirSync(directory)
    return specOf(`ow-story-${process.pid}-${serial}`, {
      command: ['/bin/sh', '-c', script, 'job', directory],
      directory,
      stdoutPath: join(directory, 'stdout.txt'),
      stderrPath: join(directory, 'stderr.txt'),
      requirements: { ...DEFAULT_REQUIREMENTS, cpus: 1, memoryBytes: 64 * 1024 ** 2, walltimeSeconds: 3600 },
      ...more,
    })
  }
  const accepted = async (backend: ClusterBackend, ...specs: readonly JobSpec[]): Promise<readonly JobId[]> =>
    (await backend.submit(specs)).map((outcome) =>
      outcome.kind === 'accepted' ? outcome.id : expect.fail(JSON.stringify(outcome)),
    )
  const until = async (
    backend: ClusterBackend,
    id: JobId,
    holds: (status: JobStatus | undefined) => boolean,
  ): Promise<JobStatus | undefined> => {
    for (let round = 0; round < 400; round++) {
      const status = (await backend.query([id])).get(id)
      if (holds(status)) return status
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    return expect.fail(`it stays otherwise: ${JSON.stringify((await backend.query([id])).get(id))}`)
  }
  const finished = (status: JobStatus | undefined): boolean => status?.phase === 'finished'
  const byHand = (program: string, args: readonly string[], uid?: number): string =>
    execFileSync(join(lab.fake.bin, program), args, {
      encoding: 'utf8',
      env: { ...process.env, ...(uid !== undefined && { FAKE_SLURM_UID: String(uid) }) },
    })
  const runsOf = ({ directory }: JobSpec): number =>
    existsSync(join(directory, 'mark'))
      ? readFileSync(join(directory, 'mark'), 'utf8').split('\n').length - 1
      : 0
  const failureOf = async (call: Promise<unknown>): Promise<unknown> =>
    await call.then(
      () => undefined,
      (error: unknown) => error,
    )
  const MARK = 'echo run >> "$1/mark"'

  for (const arrays of [true, false]) {
    it(`the engine dies between sbatch and the id, ${arrays ? 'an array' : 'single jobs'}: found by name, run once`, async () => {
      lab = await createFakeLab()
      const specs = [1, 2, 3].map(() => spec(MARK, { groupKey: 'one' }))
      lab.fake.setFault('hang-after-accept', true)
      const dead = new AbortController()
      const killed = lab.open({ arrays }).submit(arrays ? specs : specs.slice(0, 1), { signal: dead.signal })
      for (let round = 0; round < 400 && lab.fake.hasFault('hang-after-accept'); round++)
        await new Promise((resolve) => setTimeout(resolve, 10))
      dead.abort(new Error('killed'))
      expect(await failureOf(killed)).to.be.instanceOf(Error)
      const next = lab.open({ arrays })
      const found = await next.find(specs.map(({ name }) => name))
      expect(found.size).to.equal(arrays ? 3 : 1)
      for (const id of found.values())
        expect((await until(next, id, finished))?.outcome).to.equal('succeeded')
      expect(specs.map(runsOf)).to.deep.equal(arrays ? [1, 1, 1] : [1, 0, 0])
    })
  }

  it('an answer of sbatch is lost: the error says to look, and the job runs once', async () => {
    lab = await createFakeLab()
    const backend = lab.open()
    const one = spec(MARK)
    lab.fake.setFault('lose-answer', true)
    expect(await failureOf(backend.submit([one]))).to.be.instanceOf(BackendUnavailableError)
    const id = (await backend.find([one.name])).get(one.name)
    if (id === undefined) expect.fail('not found')
    expect((await until(backend, id, finished))?.outcome).to.equal('succeeded')
    expect(runsOf(one)).to.equal(1)
  })

  for (const fault of ['controller-down', 'controller-busy', 'munge-down'] as const) {
    it(`${fault}: submit and poll are errors, nothing is concluded, and all goes on afterwards`, async () => {
      lab = await createFakeLab()
      const backend = lab.open()
      const [one, two] = [spec('while [ ! -e "$1/go" ]; do sleep 0.05; done; exit 3'), spec(MARK)]
      const [id] = await accepted(backend, one)
      if (id === undefined) expect.fail('no id')
      await until(backend, id, (status) => status?.phase === 'running')
      lab.fake.setFault(fault, true)
      expect(await failureOf(backend.query([id]))).to.be.instanceOf(BackendUnavailableError)
      expect(await failureOf(backend.submit([two]))).to.be.instanceOf(BackendUnavailableError)
      writeFileSync(join(one.directory, 'go'), '')
      lab.fake.setFault(fault, false)
      expect((await backend.find([two.name])).size, 'was not accepted').to.equal(0)
      expect(await until(backend, id, finished)).to.include({
        outcome: 'failed',
        exitCode: 3,
        exitCodeExact: true,
      })
    })
  }

  it('the accounting is away: the queue alone tells ends; what left it is unknown until the accounting is back', async () => {
    lab = await createFakeLab({ minJobAgeMs: 400 })
    const backend = lab.open()
    const [id] = await accepted(backend, spec('exit 5'))
    if (id === undefined) expect.fail('no id')
    lab.fake.setFault('accounting-down', true)
    const gone = await until(backend, id, (status) => status?.phase === 'unknown')
    expect(gone?.evidence.map(({ text }) => text).join()).to.contain('sacct')
    expect(backend.health?.().notes.join()).to.contain('sacct')
    lab.fake.setFault('accounting-down', false)
    expect(await until(backend, id, finished)).to.include({ outcome: 'failed', exitCode: 5 })
    expect(backend.health?.().notes).to.deep.equal([])
  })

  it('the site keeps no accounting: ends are told by the queue, exactly', async () => {
    lab = await createFakeLab()
    lab.fake.setFault('accounting-off', true)
    const backend = lab.open()
    const [id] = await accepted(backend, spec('exit 137'))
    if (id === undefined) expect.fail('no id')
    expect(await until(backend, id, finished)).to.include({
      outcome: 'failed',
      exitCode: 137,
      exitCodeExact: true,
    })
    expect(backend.health?.().notes.join()).to.contain('accounting storage is disabled')
  })

  it('the site keeps no accounting: a job that left the queue is absent, and nothing is made up', async () => {
    lab = await createFakeLab({ minJobAgeMs: 1 })
    lab.fake.setFault('accounting-off', true)
    const backend = lab.open()
    const [id] = await accepted(backend, spec('exit 6'))
    if (id === undefined) expect.fail('no id')
    await until(backend, id, (one) => one === undefined)
  })

  it('runs of a requeued job are counted by the accounting when the queue has forgotten it', async () => {
    lab = await createFakeLab({ minJobAgeMs: 1, requeueDelayMs: 50 })
    const backend = lab.open()
    const one = spec('[ -e "$1/again" ] && exit 8; : > "$1/again"; while :; do sleep 0.05; done')
    const [id] = await accepted(backend, one)
    if (id === undefined) expect.fail('no id')
    for (let round = 0; round < 400 && !existsSync(join(one.directory, 'again')); round++)
      await new Promise((resolve) => setTimeout(resolve, 20))
    byHand('scontrol', ['requeue', id], 0)
    expect(await until(backend, id, finished)).to.include({ outcome: 'failed', exitCode: 8, restarts: 1 })
  })

  it('a job leaves the queue between two polls: the accounting tells of it', async () => {
    lab = await createFakeLab({ minJobAgeMs: 1 })
    const backend = lab.open()
    const ids = await accepted(backend, spec('exit 0'), spec('exit 4'))
    const [good, bad] = await Promise.all(ids.map((id) => until(backend, id, finished)))
    expect(good).to.include({ outcome: 'succeeded', exitCode: 0 })
    expect(bad).to.include({ outcome: 'failed', exitCode: 4, exitCodeExact: false })
    expect(byHand('squeue', ['--noheader', '--states=all'])).to.equal('')
  })

  it('the accounting lags: an end that the queue has forgotten is absent first, and told later', async () => {
    lab = await createFakeLab({ minJobAgeMs: 1, accountingLagMs: 500 })
    const backend = lab.open()
    const [id] = await accepted(backend, spec('exit 7'))
    if (id === undefined) expect.fail('no id')
    expect(await until(backend, id, finished)).to.include({ outcome: 'failed', exitCode: 7 })
  })

  it('causes: a cancel by another hand, a requeue, a node that fails, a signal, a partition that is down', async () => {
    lab = await createFakeLab({ memoryKill: 'plugin' })
    const backend = lab.open()
    const wait = 'while [ ! -e "$1/go" ]; do sleep 0.05; done'
    const [cancelled, requeued, lost, killed] = await accepted(
      backend,
      spec(wait),
      spec(wait),
      spec(wait),
      spec('kill -KILL $$'),
    )
    if (cancelled === undefined || requeued === undefined || lost === undefined || killed === undefined)
      expect.fail('four ids')
    for (const id of [cancelled, requeued, lost]) await until(backend, id, (one) => one?.phase === 'running')
    byHand('scancel', [cancelled], 0)
    const by = await until(backend, cancelled, finished)
    expect(by?.outcome).to.equal('cancelled')
    expect(by?.evidence.map(({ text }) => text).join('\n')).to.contain('uid 0')
    byHand('scontrol', ['requeue', requeued], 0)
    expect(await until(backend, requeued, (one) => one?.restarts === 1)).to.include({ phase: 'queued' })
    byHand('scontrol', ['requeuehold', lost], 0)
    expect(await until(backend, lost, (one) => one?.phase === 'held')).to.include({
      heldBy: 'requeue',
      restarts: 1,
    })
    expect(await until(backend, killed, finished)).to.include({ outcome: 'failed', signal: 'SIGKILL' })
    await until(backend, requeued, (one) => one?.phase === 'running')
    byHand('scontrol', ['update', 'NodeName=node1', 'State=DOWN'], 0)
    expect((await until(backend, requeued, finished))?.outcome).to.equal('node-fail')
    const [idle] = await accepted(backend, spec('true'))
    expect(await until(backend, idle ?? jobId(''), (one) => one?.phase === 'queued')).to.include({
      waitingOn: 'partition-down',
    })
    byHand('scontrol', ['update', 'NodeName=node1', 'State=RESUME'], 0)
    await until(backend, idle ?? jobId(''), finished)
    byHand('scontrol', ['update', 'PartitionName=main', 'State=DOWN'], 0)
    const [closed] = await accepted(backend, spec('true'))
    expect((await backend.query([closed ?? jobId('')])).get(closed ?? jobId(''))).to.include({
      phase: 'queued',
      waitingOn: 'partition-down',
    })
  })

  it('limits: what can never run is refused by name; a full account means later, and what fits is taken', async () => {
    lab = await createFakeLab({
      accounts: [{ name: 'proj1', maxSubmit: 3, maxWallMinutes: 600 }],
      enforceAssociations: true,
    })
    const backend = lab.open()
    const plain = spec('true')
    const big = { ...plain, requirements: { ...plain.requirements, walltimeSeconds: 700 * 60 } }
    const [refused] = await backend.submit([big])
    expect(refused?.kind === 'refused' ? refused.error.details : refused).to.deep.include({
      rule: 'MaxWall of the association of account (default)',
    })
    const wait = 'while [ ! -e "$1/go" ]; do sleep 0.05; done'
    const outcomes = await backend.submit(Array.from({ length: 5 }, () => spec(wait, { groupKey: 'one' })))
    expect(outcomes.map(({ kind }) => kind).sort()).to.deep.equal([
      'accepted',
      'accepted',
      'accepted',
      'later',
      'later',
    ])
    expect(backend.capabilities.arrays).to.equal(true)
  })

  it('a dependency that cannot come true will never run, and says so', async () => {
    lab = await createFakeLab()
    const backend = lab.open()
    const [bad] = await accepted(backend, spec('exit 1'))
    await until(backend, bad ?? jobId(''), finished)
    const [never] = await accepted(backend, spec('true', { nativeOptions: [`--dependency=afterok:${bad}`] }))
    expect(await until(backend, never ?? jobId(''), (one) => one?.waitingOn === 'dependency')).to.include({
      phase: 'queued',
      willNeverRun: true,
    })
  })

  it('a warning comes before the end of the walltime', async () => {
    lab = await createFakeLab()
    const backend = lab.open()
    const one = spec('trap "echo warned > \\"$1/mark\\"; exit 9" USR1; while :; do sleep 0.05; done', {
      warnSeconds: 30,
    })
    const short = { ...one, requirements: { ...one.requirements, walltimeSeconds: 60 } }
    const [id] = await accepted(backend, short)
    expect(await until(backend, id ?? jobId(''), finished)).to.include({ outcome: 'failed', exitCode: 9 })
    expect(readFileSync(join(one.directory, 'mark'), 'utf8')).to.equal('warned\n')
  })
})
