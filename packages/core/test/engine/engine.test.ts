import { expect } from 'chai'
import {
  AccessDeniedError,
  BackendProtocolError,
  BackendUnavailableError,
  LeaseHeldError,
  parseMemory,
  type JobSpec,
  type TaskRecord,
} from '@orbweaver/core'
import { InMemoryJournal, seedMany, seedScan } from '@orbweaver/core/testing'
import { Bench, processor, type BenchOptions } from './bench.js'

const t1 = processor('t1')

describe('engine', () => {
  let bench: Bench
  const make = (options: Partial<BenchOptions> = {}): Bench =>
    (bench = new Bench({ processors: [t1], ...options }))
  afterEach(() => {
    bench.dispose()
  })

  async function recordOf(index = 0): Promise<TaskRecord> {
    const labels = Object.keys(await bench.states())
    for await (const task of bench.engine().tasks({ labels: [labels[index] ?? ''] })) {
      const record = await bench.engine().record(task.ref)
      if (record !== undefined) return record
    }
    throw new Error('no such task')
  }

  it('runs every task once, stores verified results, and then finds nothing to do', async () => {
    make()
    const summary = await bench.engine().run({}, { onEvent: bench.onEvent })
    expect(summary).to.include({ submitted: 3, completed: 3, failedTasks: 0, open: 0, away: false })
    expect(await bench.stateCounts()).to.deep.equal({ complete: 3 })
    const record = await recordOf()
    expect(record.outputs?.map(({ resource }) => resource)).to.include.members(['OUT', 'LOG'])
    expect(record.job).to.include({ backend: 'memory' })
    const again = await bench.engine().run({})
    expect(again).to.include({ submitted: 0, completed: 0 })
    expect(bench.executions()).to.deep.equal([1, 1, 1])
  })

  it('gives the job its inputs, its description and nothing else', async () => {
    make({ seed: [seedMany('P', 1)], settings: { keepComplete: true } })
    await bench.engine().run({})
    const job = bench.backend.jobs()[0]
    const task = JSON.parse(await bench.files.read(`${job?.spec.directory}/task.json`)) as {
      inputs: { t1: { path: string; sources: { ref: string }[] } }
    }
    expect(await bench.files.read(task.inputs.t1.path)).to.equal('image of scan 1\n')
    expect(task.inputs.t1.sources[0]?.ref).to.equal('P/S0001/S0001_MR1/scans/1:NIFTI')
    expect(job?.spec.name).to.match(/^ow-[0-9a-f]{16}-1$/)
  })

  it('chains: a result of one processor is the input of another in the same run', async () => {
    const second = processor('second', {
      inputs: { first: { assessor: { type: 't1' }, resource: 'OUT' } },
      command: () => ['tool'],
    })
    make({ processors: [t1, second] })
    const summary = await bench.engine().run({})
    expect(summary).to.include({ completed: 6 })
    expect((await bench.engine().run({})).submitted).to.equal(0)
  })

  it('project level comes last, over everything', async () => {
    const group = processor('group', {
      level: 'project',
      inputs: { all: { assessor: { type: 't1' }, resource: 'OUT', all: true } },
      command: () => ['tool'],
    })
    make({ processors: [group, t1] })
    await bench.engine().run({})
    const counts = await bench.stateCounts()
    expect(counts['complete']).to.equal(4)
  })

  it('a failing tool is a failed task with its cause and evidence, and is not tried again by itself', async () => {
    make({ seed: [seedMany('P', 1)], script: () => ({ exitCode: 3 }) })
    const summary = await bench.engine().run({})
    expect(summary).to.include({ failedTasks: 1, failedAttempts: 1, submitted: 1 })
    const record = await recordOf()
    expect(record.state).to.equal('failed')
    expect(record.cause).to.include({ kind: 'tool', exitCode: 3 })
    expect(record.cause?.evidence.map(({ source }) => source)).to.include('exit-record')
    expect((await bench.engine().run({})).submitted).to.equal(0)
    expect(bench.notifier.notifications).to.deep.include({
      kind: 'task-failed',
      label: record.label,
      cause: 'tool',
      final: true,
    })
  })

  it('retry makes a failed task ready again, and the next run does it', async () => {
    let fail = true
    make({ seed: [seedMany('P', 1)], script: () => ({ exitCode: fail ? 1 : 0 }) })
    await bench.engine().run({})
    fail = false
    expect(await bench.engine().retry({ states: ['failed'] })).to.have.length(1)
    await bench.engine().run({})
    expect(await recordOf()).to.include({ state: 'complete', attempt: 2 })
    expect((await recordOf()).cause).to.equal(undefined)
  })

  it('asks for more memory after a memory failure', async () => {
    const asked: number[] = []
    make({
      seed: [seedMany('P', 1)],
      script: (spec: JobSpec) => {
        asked.push(spec.requirements.memoryBytes)
        return spec.requirements.memoryBytes < parseMemory('4 GiB')
          ? { outcome: 'out-of-memory', signal: 'SIGKILL' }
          : {}
      },
    })
    await bench.engine().run({})
    expect(asked.map((bytes) => bytes / 1024 ** 3)).to.deep.equal([2, 3, 4.5])
    expect(await recordOf()).to.include({ state: 'complete', attempt: 3 })
  })

  it('gives up on memory when the policy says so', async () => {
    make({ seed: [seedMany('P', 1)], script: () => ({ outcome: 'out-of-memory' }) })
    const summary = await bench.engine().run({})
    expect(summary).to.include({ failedTasks: 1, failedAttempts: 3 })
    expect((await recordOf()).cause?.kind).to.equal('memory')
  })

  it('exit code 75 means: again later', async () => {
    let runs = 0
    make({ seed: [seedMany('P', 1)], script: () => ({ exitCode: ++runs < 3 ? 75 : 0 }) })
    const before = bench.clock.now()
    await bench.engine().run({})
    expect(await recordOf()).to.include({ state: 'complete', attempt: 3 })
    expect(bench.clock.now() - before).to.be.at.least((600 + 1200) * 1000)
  })

  it('tells no output from a missing output', async () => {
    make({ seed: [seedMany('P', 1)], produce: () => ({}) })
    await bench.engine().run({})
    expect((await recordOf()).cause?.kind).to.equal('no-output')
    bench.dispose()
    make({ seed: [seedMany('P', 1)], produce: () => ({ 'other.log': 'x' }) })
    await bench.engine().run({})
    const { cause } = await recordOf()
    expect(cause?.kind).to.equal('missing-output')
    expect(cause?.summary).to.contain('OUT').and.contain('*.txt')
  })

  it('a refused job is a failed task that names the refusal', async () => {
    make({ seed: [seedMany('P', 1)], script: () => ({ refuse: 'no such account' }) })
    await bench.engine().run({})
    const { cause } = await recordOf()
    expect(cause?.kind).to.equal('rejected')
    expect(cause?.summary).to.contain('no such account')
  })

  it('a scheduler that says "not now" is asked again later', async () => {
    let times = 0
    make({ seed: [seedMany('P', 1)], script: () => (++times < 3 ? { later: 'limit of jobs reached' } : {}) })
    await bench.engine().run({})
    expect(await recordOf()).to.include({ state: 'complete', attempt: 1 })
  })

  it('never has more jobs in the scheduler than the limit', async () => {
    let most = 0
    make({
      seed: [seedMany('P', 9)],
      settings: { limits: { jobs: 2, transfers: 4 } },
      script: () => ({ runsForMs: 30_000 }),
    })
    const count = (): void => {
      const live = bench.backend.jobs().filter(({ phase }) => phase !== 'finished').length
      most = Math.max(most, live)
    }
    await bench.engine().run({}, { onEvent: count })
    expect(most).to.be.within(1, 2)
    expect(await bench.stateCounts()).to.deep.equal({ complete: 9 })
  })

  it('a lost answer to submit makes no second job', async () => {
    make()
    bench.backend.loseNextAnswer(1)
    await bench.engine().run({})
    expect(await bench.stateCounts()).to.deep.equal({ complete: 3 })
    expect(bench.executions()).to.deep.equal([1, 1, 1])
  })

  it('a job that is gone without a witness is lost, and tried again', async () => {
    let jobs = 0
    make({ seed: [seedMany('P', 1)], script: () => ({ runsForMs: jobs++ === 0 ? 1e12 : 1000 }) })
    const running = bench.engine().run(
      {},
      {
        onEvent: (event) => {
          if (event.kind === 'task' && event.to === 'queued' && event.attempt === 1) {
            const [job] = bench.backend.jobs()
            if (job !== undefined) bench.backend.forget(job.id)
          }
        },
      },
    )
    const summary = await running
    expect(summary).to.include({ failedAttempts: 1, completed: 1 })
    expect(bench.events.some((event) => event.kind === 'task' && event.to === 'complete')).to.equal(false)
    expect(await recordOf()).to.include({ state: 'complete', attempt: 2 })
  })

  it('waits when the archive is away, and nothing fails for it', async () => {
    make()
    bench.store.outage(true)
    let told = 0
    const summary = await bench.engine().run(
      {},
      {
        onEvent: (event) => {
          if (event.kind === 'away' && ++told === 3) bench.store.outage(false)
        },
      },
    )
    expect(told).to.be.at.least(3)
    expect(summary).to.include({ completed: 3, failedAttempts: 0 })
  })

  it('waits when the scheduler is away in the middle, and nothing is submitted twice', async () => {
    make({ script: () => ({ runsForMs: 60_000 }) })
    let away = false
    const summary = await bench.engine().run(
      {},
      {
        onEvent: (event) => {
          if (event.kind === 'task' && event.to === 'queued' && !away) {
            away = true
            bench.backend.outage(true)
          }
          if (event.kind === 'away') bench.backend.outage(false)
        },
      },
    )
    expect(summary).to.include({ completed: 3, failedAttempts: 0 })
    expect(bench.executions()).to.deep.equal([1, 1, 1])
  })

  it('waits when the answers of the scheduler cannot be read, and nothing fails for it', async () => {
    make({ script: () => ({ runsForMs: 60_000 }) })
    let unread = 0
    const summary = await bench.engine().run(
      {},
      {
        onEvent: (event) => {
          if (event.kind === 'task' && event.to === 'queued' && unread === 0) {
            unread = 1
            bench.backend.failNext('query', new BackendProtocolError('rubbish'))
          } else if (event.kind === 'away' && unread < 5) {
            unread += 1
            bench.backend.failNext('query', new BackendProtocolError('rubbish'))
          }
        },
      },
    )
    expect(unread).to.equal(5)
    expect(summary).to.include({ completed: 3, failedAttempts: 0 })
    expect(bench.executions()).to.deep.equal([1, 1, 1])
  })

  it('follows the other jobs while it cannot be told whether some were submitted', async () => {
    make({ script: () => ({ runsForMs: 60_000 }), settings: { limits: { jobs: 2, transfers: 4 } } })
    // The answer to the first submit is lost, and the accounting that would know is down for an hour.
    bench.backend.loseNextAnswer()
    const find = bench.backend.find.bind(bench.backend)
    const upMs = bench.clock.now() + 3_600_000
    let asked = 0
    bench.backend.find = (names, options) => {
      asked += 1
      if (bench.clock.now() < upMs) return Promise.reject(new BackendUnavailableError('accounting is down'))
      return find(names, options)
    }
    let firstCompleteMs: number | undefined
    const summary = await bench.engine().run(
      {},
      {
        onEvent: (event) => {
          if (event.kind === 'task' && event.to === 'complete') firstCompleteMs ??= bench.clock.now()
        },
      },
    )
    expect(summary).to.include({ completed: 3, failedAttempts: 0 })
    expect(bench.executions()).to.deep.equal([1, 1, 1])
    expect(asked).to.be.within(10, 90)
    expect(firstCompleteMs).to.be.greaterThan(0)
  })

  it('keeps the larger of the two peaks: the scheduler samples, the job measures itself', async () => {
    for (const [sampled, own] of [
      [1000, 2000],
      [2000, 1000],
    ] as const) {
      make({ seed: [seedMany('P', 1)] })
      const query = bench.backend.query.bind(bench.backend)
      bench.backend.query = async (ids, options) =>
        new Map(
          [...(await query(ids, options))].map(([id, status]) => [
            id,
            { ...status, restarts: 2, usage: { ...status.usage, peakMemoryBytes: sampled } },
          ]),
        )
      const readMany = bench.files.readMany.bind(bench.files)
      bench.files.readMany = async (paths, options) =>
        new Map(
          [...(await readMany(paths, options))].map(([path, text]) => [
            path,
            path.endsWith('exit.json')
              ? JSON.stringify({ ...(JSON.parse(text) as object), peakMemoryBytes: own })
              : text,
          ]),
        )
      await bench.engine().run({}, {})
      const record = await recordOf()
      expect(record.job).to.include({ restarts: 2, peakMemoryBytes: 2000 })
      bench.dispose()
    }
    make()
  })

  it('does not take another job for its own that was given the same id', async () => {
    make({ seed: [seedMany('P', 1)], script: () => ({ runsForMs: 60_000 }) })
    const query = bench.backend.query.bind(bench.backend)
    const [stranger, mine] = ['ow-00000000000000ff-1', /^ow-[0-9a-f]{16}-1$/]
    let asked = 0
    bench.backend.query = async (ids, options) =>
      new Map(
        [...(await query(ids, options))].map(([id, status]) => {
          expect(status.name).to.match(mine)
          // The scheduler lost its state for a while, and somebody else's job has the number now.
          if (++asked > 3) return [id, status]
          return [id, { ...status, name: stranger, phase: 'finished', outcome: 'failed', exitCode: 3 }]
        }),
      )
    const summary = await bench.engine().run({}, {})
    expect(asked).to.be.greaterThan(3)
    expect(summary).to.include({ completed: 1, failedAttempts: 0 })
    expect(bench.executions()).to.deep.equal([1])
  })

  it('believes the record of a job that the scheduler says is running for ever', async () => {
    make({ seed: [seedMany('P', 1)], script: () => ({ runsForMs: 60_000 }) })
    const query = bench.backend.query.bind(bench.backend)
    bench.backend.query = async (ids, options) =>
      new Map(
        [...(await query(ids, options))].map(([id, { id: own, restarts, native, evidence }]) => [
          id,
          { id: own, restarts, native, evidence, phase: 'running' as const },
        ]),
      )
    const startMs = bench.clock.now()
    const summary = await bench.engine().run({}, {})
    expect(summary).to.include({ completed: 1, failedAttempts: 0 })
    expect(bench.clock.now() - startMs).to.be.within(360_000, 1_000_000)
  })

  it('once: leaves with code for "away" when the archive is not there', async () => {
    make()
    bench.store.outage(true)
    expect(await bench.engine().run({}, { until: 'once' })).to.include({ away: true, completed: 0 })
  })

  it('once: submits and leaves; the next pass brings the results home', async () => {
    make({ script: () => ({ runsForMs: 60_000 }) })
    expect(await bench.engine().run({}, { until: 'once' })).to.include({
      submitted: 3,
      open: 3,
      completed: 0,
    })
    expect(await bench.stateCounts()).to.deep.equal({ queued: 3 })
    await bench.clock.advance(120_000)
    expect(await bench.engine().run({}, { until: 'once' })).to.include({
      submitted: 0,
      open: 0,
      completed: 3,
    })
  })

  it('the steps can be done one by one: build, launch, update, upload', async () => {
    make({ script: () => ({ runsForMs: 60_000 }) })
    const steps = { build: false, launch: false, update: false, upload: false }
    const pass = (step: object) => bench.engine().run({}, { until: 'once', steps: { ...steps, ...step } })
    await pass({ build: true })
    expect(await bench.stateCounts()).to.deep.equal({ ready: 3 })
    await pass({ launch: true })
    expect(await bench.stateCounts()).to.deep.equal({ queued: 3 })
    await bench.clock.advance(120_000)
    await pass({ update: true })
    expect(await bench.stateCounts()).to.deep.equal({ queued: 3 })
    expect(bench.journal.openAttempts().map(({ stage }) => stage)).to.deep.equal([
      'collecting',
      'collecting',
      'collecting',
    ])
    await pass({ upload: true })
    expect(await bench.stateCounts()).to.deep.equal({ complete: 3 })
  })

  it('a damaged upload is sent again, and the job is not run again', async () => {
    make({ seed: [seedMany('P', 1)] })
    bench.store.corruptNextUpload()
    const summary = await bench.engine().run({})
    expect(summary).to.include({ submitted: 1, completed: 1 })
    const verified: boolean[] = []
    await bench.engine().verify({}, { deep: true, onResult: ({ ok }) => verified.push(ok) })
    expect(verified).to.deep.equal([true])
  })

  it('an upload that never succeeds is a failure of kind upload, with the results kept', async () => {
    make({ seed: [seedMany('P', 1)] })
    bench.store.corruptNextUpload(1000)
    await bench.engine().run({})
    const record = await recordOf()
    expect(record.cause?.kind).to.equal('upload')
    expect(await bench.files.exists(`${record.job?.workspace}/outputs/report.txt`)).to.equal(true)
  })

  it('verify finds what was changed in the archive afterwards', async () => {
    make({ seed: [seedMany('P', 1)] })
    await bench.engine().run({})
    const record = await recordOf()
    bench.store.tamper(
      { node: { ...record.target, assessor: record.label }, resource: 'OUT' },
      'report.txt',
      'evil\n',
    )
    const problems: string[] = []
    await bench.engine().verify({}, { deep: true, onResult: (result) => problems.push(...result.problems) })
    expect(problems.join()).to.contain('OUT/report.txt')
  })

  it('cancel ends the job and marks the task', async () => {
    make({ script: () => ({ runsForMs: 1e9 }) })
    await bench.engine().run({}, { until: 'once' })
    expect(await bench.engine().cancel({ subjects: ['S0001'] })).to.have.length(1)
    await bench.engine().run({}, { until: 'once' })
    expect(await bench.stateCounts()).to.deep.equal({ cancelled: 1, running: 2 })
    await bench.engine().run({}, { until: 'once' })
    expect(bench.backend.jobs()).to.have.length(3)
  })

  it('cancel of a task without a job marks it at once', async () => {
    make()
    await bench
      .engine()
      .run({}, { until: 'once', steps: { build: true, launch: false, update: false, upload: false } })
    expect(await bench.engine().cancel({})).to.have.length(3)
    expect((await bench.engine().run({})).submitted).to.equal(0)
    expect(await bench.stateCounts()).to.deep.equal({ cancelled: 3 })
  })

  it('pause holds new submissions until resume', async () => {
    make()
    await bench.engine().pause({ processors: ['t1'] }, 'disk is being changed')
    expect((await bench.engine().run({})).submitted).to.equal(0)
    expect(await bench.engine().resume({ processors: ['t1'] })).to.equal(1)
    expect((await bench.engine().run({})).submitted).to.equal(3)
  })

  it('a person asks for a rerun: old results are replaced', async () => {
    let text = 'first\n'
    make({ seed: [seedMany('P', 1)], produce: () => ({ 'report.txt': text }) })
    await bench.engine().run({})
    const first = await recordOf()
    text = 'second\n'
    bench.store.setQuality({ ...first.target, assessor: first.label }, 'Rerun')
    await bench.engine().run({})
    expect(await recordOf()).to.include({ state: 'complete', attempt: 2 })
    expect(
      bench.store.text({ node: { ...first.target, assessor: first.label }, resource: 'OUT' }, 'report.txt'),
    ).to.equal('second\n')
    expect((await bench.engine().run({})).submitted).to.equal(0)
  })

  it('goes on from the archive when the journal was deleted with jobs running', async () => {
    make({ script: () => ({ runsForMs: 60_000 }) })
    await bench.engine().run({}, { until: 'once' })
    bench.journal = new InMemoryJournal()
    const summary = await bench.engine().run({})
    expect(summary).to.include({ submitted: 0, completed: 3 })
    expect(bench.executions()).to.deep.equal([1, 1, 1])
  })

  /** As an archive that takes its time: its tree shows every result still on its way. */
  function showStale(): void {
    const { store } = bench
    const snapshot = store.snapshot.bind(store)
    store.snapshot = async (project, options) => {
      const { subjects, ...rest } = await snapshot(project, options)
      return {
        ...rest,
        subjects: (async function* () {
          for await (const subject of subjects) {
            yield {
              ...subject,
              sessions: subject.sessions.map((session) => ({
                ...session,
                assessors: session.assessors.map((node) => ({ ...node, state: 'uploading' as const })),
              })),
            }
          }
        })(),
      }
    }
  }

  it('does not take up again what was completed since the archive was looked at', async () => {
    make()
    await bench.engine().run({})
    showStale()
    const summary = await bench.engine().run({}, { full: true })
    expect(summary).to.include({ submitted: 0, completed: 0, failedTasks: 0, open: 0 })
    for await (const task of bench.engine().tasks({}))
      expect((await bench.engine().record(task.ref))?.state).to.equal('complete')
  })

  it('does not take up again what was completed while its record was read', async () => {
    make()
    await bench.engine().run({})
    showStale()
    const { store, journal, clock } = bench
    const readAssessor = store.readAssessor.bind(store)
    store.readAssessor = async (ref, options) => {
      const { record, ...detail } = await readAssessor(ref, options)
      const row = journal.getAttempt(ref.assessor ?? '', 1)
      if (row !== undefined) journal.putAttempt({ ...row, closedAtMs: clock.now() })
      return { ...detail, ...(record !== undefined && { record: { ...record, state: 'uploading' } }) }
    }
    expect(await bench.engine().run({}, { full: true })).to.include({ failedTasks: 0, open: 0 })
    store.readAssessor = readAssessor
    for await (const task of bench.engine().tasks({}))
      expect((await bench.engine().record(task.ref))?.state).to.equal('complete')
  })

  it('leaves jobs of another work root alone', async () => {
    make({ script: () => ({ runsForMs: 60_000 }) })
    await bench.engine().run({}, { until: 'once' })
    bench.journal = new InMemoryJournal()
    Object.assign(bench.settings, { workRoot: '/elsewhere' })
    const summary = await bench.engine().run({}, { until: 'once' })
    expect(summary).to.include({ submitted: 0, open: 0 })
  })

  it('a job that another scheduler has is never asked for here', async () => {
    make({ seed: [seedMany('P', 1)], script: () => ({ runsForMs: 60_000 }) })
    await bench.engine().run({}, { until: 'once' })
    const [row] = bench.journal.openAttempts()
    if (row !== undefined) bench.journal.putAttempt({ ...row, backend: 'slurm' })
    const summary = await bench.engine().run({})
    expect(summary).to.include({ submitted: 0, completed: 0, failedAttempts: 0, open: 1 })
    expect(summary.problems.join()).to.contain('slurm')
  })

  it('results whose processor is not configured any more wait, and the run ends', async () => {
    make({ seed: [seedMany('P', 1)], script: () => ({ runsForMs: 60_000 }) })
    await bench.engine().run({}, { until: 'once' })
    const [project] = bench.settings.projects
    Object.assign(bench.settings, { projects: [{ ...project, processors: [processor('other')] }] })
    const summary = await bench.engine().run({ processors: ['t1'] })
    expect(summary.problems.join()).to.contain('t1_v1')
    Object.assign(bench.settings, { projects: [project] })
    expect(await bench.engine().run({})).to.include({ submitted: 0, completed: 1 })
  })

  it('a second engine on the same projects is refused', async () => {
    make()
    const first = bench.engine().run({})
    let refused: unknown
    await bench
      .engine()
      .run({})
      .catch((error: unknown) => (refused = error))
    expect(refused).to.be.instanceOf(LeaseHeldError)
    await first
  })

  it('an assessor that a person deletes takes its job with it', async () => {
    make({ seed: [seedMany('P', 1)], script: () => ({ runsForMs: 300_000 }) })
    await bench.engine().run({}, { until: 'once' })
    const record = await recordOf()
    await bench.store.deleteAssessor({ ...record.target, assessor: record.label })
    await bench.clock.advance(400_000)
    await bench.engine().run({})
    expect(await bench.stateCounts()).to.deep.equal({ complete: 1 })
  })

  it('an abort stops at once, and a later run finishes without a second job', async () => {
    make({ script: () => ({ runsForMs: 60_000 }) })
    const stop = new AbortController()
    let aborted: unknown
    await bench
      .engine()
      .run(
        {},
        {
          signal: stop.signal,
          onEvent: (event) => {
            if (event.kind === 'task' && event.to === 'queued') stop.abort()
          },
        },
      )
      .catch((error: unknown) => (aborted = error))
    expect((aborted as Error).name).to.equal('AbortError')
    const summary = await bench.engine().run({})
    expect(summary.away).to.equal(false)
    expect(await bench.stateCounts()).to.deep.equal({ complete: 3 })
    expect(bench.executions()).to.deep.equal([1, 1, 1])
  })

  it('new sessions are found through the change feed, and nothing else is looked at', async () => {
    make({ seed: [seedMany('P', 4)] })
    await bench.engine().run({})
    bench.store.seed({
      label: 'P',
      subjects: [{ label: 'S0099', sessions: [{ label: 'E', scans: [seedScan('1', 'T1w')] }] }],
    })
    bench.events.length = 0
    expect(await bench.engine().run({}, { onEvent: bench.onEvent })).to.include({
      submitted: 1,
      completed: 1,
    })
    // The first look after a run sees what the run itself wrote, once; the next sees nothing at all.
    bench.events.length = 0
    await bench.engine().run({})
    await bench.engine().run({}, { onEvent: bench.onEvent })
    expect(bench.events.find((event) => event.kind === 'pass')).to.deep.include({ full: false, subjects: 0 })
  })

  it('looks at what new results make possible now and then, not after each: an archive may read all to show one subject', async () => {
    make({ seed: [seedMany('P', 60)] })
    const { store, clock } = bench
    let looks = 0
    const snapshot = store.snapshot.bind(store)
    store.snapshot = async (project, options = {}) => {
      if (options.subjects !== undefined) {
        looks += 1
        await clock.sleep(60_000)
      }
      return snapshot(project, options)
    }
    const upload = store.upload.bind(store)
    store.upload = async (...call) => {
      await clock.sleep(100_000)
      return upload(...call)
    }
    expect(await bench.engine().run({})).to.include({ completed: 60, failedTasks: 0 })
    // 15 times 4 uploads come to an end, over half an hour.
    expect(looks).to.be.within(1, 5)
  })

  it('a project that is closed to us does not stop the others', async () => {
    make({ seed: [seedMany('P', 1), { ...seedMany('Q', 1), hidden: true }], projects: ['Q', 'P'] })
    const summary = await bench.engine().run({})
    expect(summary.completed).to.equal(1)
    expect(summary.problems.join()).to.contain('project Q')
  })

  it('one task that hurts does not stop the others', async () => {
    make()
    bench.store.failNext('createAssessor', new AccessDeniedError('no'))
    const summary = await bench.engine().run({})
    expect(summary.completed).to.be.at.least(2)
  })

  it('an archive that refuses every write ends the run, with what went wrong, and the next run tries again', async () => {
    make()
    for (let i = 0; i < 3; i += 1)
      bench.store.failNext('createAssessor', new AccessDeniedError('the archive is read-only'))
    const summary = await bench.engine().run({})
    expect(summary).to.include({ completed: 0, submitted: 0 })
    expect(summary.problems).to.have.length(3)
    expect(summary.problems.join()).to.contain('read-only')
    expect((await bench.engine().run({})).completed).to.equal(3)
  })

  it('results that the archive refuses are kept, and stored by the next run', async () => {
    make({ seed: [seedMany('P', 1)] })
    bench.store.failNext('upload', new AccessDeniedError('no'))
    const summary = await bench.engine().run({})
    expect(summary).to.include({ completed: 0, failedTasks: 1 })
    expect((await recordOf()).cause?.kind).to.equal('upload')
    await bench.engine().retry({})
    expect(await bench.engine().run({})).to.include({ submitted: 0, completed: 1 })
    expect(bench.executions()).to.deep.equal([1])
  })

  it('a run of selected tasks neither waits for the others nor forgets them', async () => {
    const other = processor('other')
    make({
      seed: [seedMany('P', 1)],
      processors: [t1, other],
      script: (spec) => ({ exitCode: spec.groupKey?.startsWith('other') === true ? 75 : 0 }),
    })
    await bench.engine().run({ processors: ['other'] }, { until: 'once' })
    await bench.clock.advance(1000)
    await bench.engine().run({ processors: ['other'] }, { until: 'once' })
    const started = bench.clock.now()
    expect(await bench.engine().run({ processors: ['t1'] })).to.include({ completed: 1 })
    expect(bench.clock.now() - started).to.be.below(600_000)
    expect(bench.journal.backlogCount('P')).to.equal(1)
  })

  it('a failed staging is tried again, then a cause of kind staging', async () => {
    make({
      seed: [seedMany('P', 1, [seedScan('1', 'T1w', { resources: { NIFTI: { 'a.txt': 'x' } } })])],
      processors: [
        processor('t1', { inputs: { t1: { scan: { type: 'T1w' }, resource: 'NIFTI', files: '*.nii' } } }),
      ],
    })
    await bench.engine().run({})
    const { cause } = await recordOf()
    expect(cause?.kind).to.equal('staging')
    expect(cause?.summary).to.contain('*.nii')
  })

  it('logs come from the workspace while it is there, then from the archive', async () => {
    make({ seed: [seedMany('P', 1)], script: () => ({ runsForMs: 60_000 }) })
    await bench.engine().run({}, { until: 'once' })
    const [job] = bench.backend.jobs()
    await bench.files.writeAtomic(`${job?.spec.stdoutPath}`, 'half way\n')
    const label = (await recordOf()).label
    const read = async (): Promise<string> => {
      let text = ''
      await bench.engine().logs(label, { onChunk: (chunk) => (text += `${chunk.stream}: ${chunk.text}`) })
      return text
    }
    expect(await read()).to.equal('stdout: half way\n')
    await bench.engine().run({})
    expect(await bench.files.exists(`${job?.spec.directory}`)).to.equal(false)
    expect(await read()).to.equal('stdout: half way\n')
  })

  it('try runs one target in its own area and leaves the archive as it is', async () => {
    make({ seed: [seedMany('P', 2)] })
    const before = await bench.states()
    const results = await bench.engine().try(t1, { projects: ['P'], subjects: ['S0001'] })
    expect(results).to.have.length(1)
    expect(results[0]).to.include({ state: 'complete' })
    expect(results[0]?.outputs.map(({ resource }) => resource)).to.deep.equal(['OUT'])
    expect(await bench.states()).to.deep.equal(before)
  })
})
