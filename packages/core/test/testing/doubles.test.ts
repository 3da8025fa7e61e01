import { expect } from 'chai'
import {
  BackendUnavailableError,
  ConflictError,
  DEFAULT_REQUIREMENTS,
  IntegrityError,
  NoSpaceError,
  StoreUnavailableError,
  TransportUnavailableError,
  pathsOf,
  type JobId,
  type JobSpec,
  type SubmitOutcome,
  type TaskRecord,
} from '@orbweaver/core'
import {
  InMemoryBackend,
  InMemoryFiles,
  InMemoryStore,
  ManualClock,
  RecordingLogger,
  RecordingNotifier,
  jobScriptEffects,
  seedMany,
} from '@orbweaver/core/testing'

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
}

describe('ManualClock', () => {
  it('wakes sleepers in order, each at its own time', async () => {
    const clock = new ManualClock({ startMs: 0 })
    const woken: string[] = []
    const sleeper = async (name: string, ms: number): Promise<void> => {
      await clock.sleep(ms)
      woken.push(`${name} ${clock.now()}`)
    }
    void sleeper('late', 300)
    void sleeper('early', 100).then(() => sleeper('again', 50))
    void sleeper('never', 900)
    await clock.advance(400)
    expect(woken).to.deep.equal(['early 100', 'again 150', 'late 300'])
    expect(clock.now()).to.equal(400)
    expect(clock.sleeping).to.equal(1)
  })

  it('jumps by itself when it is automatic', async () => {
    const clock = new ManualClock({ startMs: 0, automatic: true })
    for (let hour = 0; hour < 24; hour++) await clock.sleep(3_600_000)
    expect(clock.now()).to.equal(86_400_000)
    await Promise.all([clock.sleep(10), clock.sleep(5).then(() => expect(clock.now()).to.equal(86_400_005))])
    expect(clock.now()).to.equal(86_400_010)
  })

  it('ends a sleep at an abort', async () => {
    const clock = new ManualClock()
    const controller = new AbortController()
    const sleeping = clock.sleep(1000, { signal: controller.signal })
    controller.abort(new Error('enough'))
    expect(await failure(sleeping)).to.equal(controller.signal.reason)
    expect(clock.sleeping).to.equal(0)
  })
})

describe('InMemoryBackend', () => {
  const spec = (name: string, change: Partial<JobSpec> = {}): JobSpec => ({
    name,
    command: ['true'],
    directory: `/work/${name}`,
    stdoutPath: `/work/${name}/out`,
    stderrPath: `/work/${name}/err`,
    requirements: DEFAULT_REQUIREMENTS,
    ...change,
  })
  const idOf = (outcome: SubmitOutcome | undefined): JobId => {
    if (outcome?.kind !== 'accepted') throw new Error(JSON.stringify(outcome))
    return outcome.id
  }

  it('plays scripts in the order of their times, however far the clock is moved at once', async () => {
    const clock = new ManualClock({ startMs: 1_000_000 })
    const backend = new InMemoryBackend({
      clock,
      cpus: 1,
      script: ({ name }) => ({ startsAfterMs: 1000, runsForMs: 5000, exitCode: name === 'bad' ? 2 : 0 }),
    })
    const outcomes = await backend.submit([spec('good'), spec('bad')])
    const [good, bad] = outcomes.map(idOf)
    if (good === undefined || bad === undefined) throw new Error('two ids')
    await clock.advance(3000)
    expect((await backend.query([good])).get(good)).to.include({ phase: 'running', startedAtMs: 1_001_000 })
    expect((await backend.query([bad])).get(bad)).to.include({ phase: 'queued' })
    await clock.advance(60_000)
    const ended = await backend.query([good, bad])
    expect(ended.get(good)).to.include({ outcome: 'succeeded', startedAtMs: 1_001_000, endedAtMs: 1_006_000 })
    expect(ended.get(bad)).to.include({
      outcome: 'failed',
      exitCode: 2,
      startedAtMs: 1_006_000,
      endedAtMs: 1_011_000,
    })
  })

  it('loses an answer, a job, and itself on demand', async () => {
    const backend = new InMemoryBackend({ script: () => ({ runsForMs: 1e9 }) })
    backend.loseNextAnswer(1)
    expect(await failure(backend.submit([spec('one'), spec('two')]))).to.be.instanceOf(
      BackendUnavailableError,
    )
    const found = await backend.find(['one', 'two'])
    expect([...found.keys()], 'the first of the batch was accepted').to.deep.equal(['one'])
    const id = found.get('one') as JobId
    backend.outage(true)
    expect(await failure(backend.query([id]))).to.be.instanceOf(BackendUnavailableError)
    backend.outage(false)
    expect((await backend.reopen().query([id])).get(id)?.phase).to.equal('running')
    backend.forget(id)
    expect((await backend.query([id])).size).to.equal(0)
    expect(backend.executions('one')).to.equal(1)
    backend.failNext('find', new Error('once'))
    expect(await failure(backend.find([]))).to.have.property('message', 'once')
    expect((await backend.find([])).size).to.equal(0)
  })

  it('takes a job back into the queue, as after a lost node', async () => {
    const backend = new InMemoryBackend({ script: () => ({ outcome: 'node-fail' }) })
    const id = idOf((await backend.submit([spec('one')]))[0])
    expect((await backend.query([id])).get(id)).to.include({ outcome: 'node-fail', restarts: 0 })
    backend.requeue(id)
    expect((await backend.query([id])).get(id)).to.include({ restarts: 1 })
    expect(backend.executions('one')).to.equal(2)
  })

  it('refuses, puts off, and lets a cancel take its time', async () => {
    const clock = new ManualClock()
    const backend = new InMemoryBackend({
      clock,
      limits: { maxJobs: 1, maxMemoryBytes: DEFAULT_REQUIREMENTS.memoryBytes },
      cancelTakesMs: 5000,
      script: () => ({ runsForMs: 1e9 }),
    })
    const big = {
      requirements: { ...DEFAULT_REQUIREMENTS, memoryBytes: 2 * DEFAULT_REQUIREMENTS.memoryBytes },
    }
    const outcomes = await backend.submit([spec('big', big), spec('one'), spec('two')])
    expect(outcomes.map(({ kind }) => kind)).to.deep.equal(['refused', 'accepted', 'later'])
    const id = idOf(outcomes[1])
    await backend.cancel([id])
    expect((await backend.query([id])).get(id)?.phase).to.equal('finishing')
    await clock.advance(5000)
    expect((await backend.query([id])).get(id)?.outcome).to.equal('cancelled')
  })

  it('tells of changes as soon as there are any', async () => {
    const clock = new ManualClock({ automatic: true })
    const backend = new InMemoryBackend({ clock, script: () => ({ runsForMs: 7000 }) })
    const id = idOf((await backend.submit([spec('one')]))[0])
    const before = clock.now()
    await backend.changes(60_000)
    expect(clock.now() - before).to.equal(7000)
    expect((await backend.query([id])).get(id)?.phase).to.equal('finished')
  })

  it('writes what job.sh would write', async () => {
    const files = new InMemoryFiles()
    const clock = new ManualClock({ startMs: 10_000 })
    const effects = jobScriptEffects(files, ({ name }) => ({ 'deep/result.txt': `of ${name}` }))
    const backend = new InMemoryBackend({
      clock,
      ...effects,
      script: () => ({ runsForMs: 4000, exitCode: 3 }),
    })
    await files.mkdir('/work/one')
    await backend.submit([spec('one')])
    const paths = pathsOf('/work/one')
    expect(JSON.parse(await files.read(paths.started))).to.include({ name: 'one', startedAt: 10 })
    expect(await files.exists(paths.exit)).to.equal(false)
    await clock.advance(4000)
    await backend.settle()
    expect(JSON.parse(await files.read(paths.exit))).to.include({ name: 'one', exitCode: 3, endedAt: 14 })
    expect(await files.read(`${paths.outputs}/deep/result.txt`)).to.equal('of one')
  })
})

describe('InMemoryStore', () => {
  const ref = { project: 'P', subject: 'S0001', session: 'S0001_MR1', assessor: 'result' }
  const record = {
    schema: 1,
    label: 'result',
    procType: 'p_v1',
    procVersion: '1.0.0',
    state: 'ready',
  } as unknown as TaskRecord
  const resource = { node: ref, resource: 'DATA' }
  const source = (text: string) => ({
    files: [{ path: 'a.txt', bytes: text.length }],
    open: async () => (await import('node:stream')).Readable.from([Buffer.from(text)]),
  })
  const make = async (): Promise<{ store: InMemoryStore; revision: string }> => {
    const store = new InMemoryStore({ projects: [seedMany('P', 2)] })
    const made = await store.createAssessor(ref, {
      procType: 'p_v1',
      procVersion: '1.0.0',
      scans: [],
      record,
    })
    return { store, revision: made.node.revision }
  }

  it('makes an update a conflict on demand', async () => {
    const { store, revision } = await make()
    store.conflictNext()
    expect(await failure(store.updateAssessor(ref, { quality: 'x' }, revision))).to.be.instanceOf(
      ConflictError,
    )
    const { node } = await store.readAssessor(ref)
    expect((await store.updateAssessor(ref, { quality: 'x' }, node.revision)).quality).to.equal('x')
  })

  it('damages an upload, a download and a stored file on demand', async () => {
    const { store } = await make()
    store.corruptNextUpload()
    expect(await failure(store.upload(resource, source('text')))).to.be.instanceOf(IntegrityError)
    await store.upload(resource, source('text'))
    expect(store.text(resource, 'a.txt')).to.equal('text')
    const listed = await store.listFiles(resource)
    const sink = {
      async write(_path: string, content: NodeJS.ReadableStream): Promise<void> {
        for await (const _chunk of content);
      },
    }
    store.corruptNextDownload()
    expect(await failure(store.download(resource, listed, sink))).to.be.instanceOf(IntegrityError)
    await store.download(resource, listed, sink)
    store.tamper(resource, 'a.txt')
    expect(await store.listFiles(resource)).to.not.deep.equal(listed)
  })

  it('goes away for good, for one call, or in the middle of an upload', async () => {
    const { store } = await make()
    store.breakNextUpload(2)
    expect(await failure(store.upload(resource, source('text')))).to.be.instanceOf(StoreUnavailableError)
    await store.upload(resource, source('text'))
    store.failNext('projects', new Error('once'))
    expect(await failure(store.projects())).to.have.property('message', 'once')
    expect(await store.projects()).to.deep.equal(['P'])
    store.outage(true)
    expect(await failure(store.projects())).to.be.instanceOf(StoreUnavailableError)
    expect(await store.second().projects(), 'another client is not away').to.deep.equal(['P'])
    expect(store.calls.projects).to.equal(3)
  })

  it('lets a person change things', async () => {
    const { store, revision } = await make()
    store.setQuality(ref, 'Passed')
    expect(await failure(store.updateAssessor(ref, { quality: 'x' }, revision))).to.be.instanceOf(
      ConflictError,
    )
    store.setScanQuality({ ...ref, scan: '1' }, 'unusable')
    store.addForeignAssessor({ ...ref, assessor: 'by hand' }, { procType: 'FS_v6', statusWord: 'COMPLETE' })
    store.removeNode({ project: 'P', subject: 'S0002' })
    const { subjects } = await store.snapshot('P')
    const all = []
    for await (const subject of subjects) all.push(subject)
    expect(all.map(({ label }) => label)).to.deep.equal(['S0001'])
    const session = all[0]?.sessions[0]
    expect(session?.scans[0]?.quality).to.equal('unusable')
    expect(session?.assessors.map(({ label, state, quality }) => [label, state, quality])).to.deep.equal([
      ['by hand', 'complete', ''],
      ['result', 'ready', 'Passed'],
    ])
  })
})

describe('InMemoryFiles', () => {
  it('is full when it is full, and away when it is away', async () => {
    const files = new InMemoryFiles({ spaceBytes: 10 })
    await files.writeAtomic('/a', '12345')
    expect(await files.freeSpace('/')).to.equal(5)
    expect(await failure(files.writeAtomic('/b', '123456'))).to.be.instanceOf(NoSpaceError)
    await files.writeAtomic('/a', '1234567890')
    expect(files.paths()).to.deep.equal(['/a'])
    files.away = true
    expect(await failure(files.read('/a'))).to.be.instanceOf(TransportUnavailableError)
  })
})

describe('recorders', () => {
  it('keep what they are told', async () => {
    const logger = new RecordingLogger()
    logger.log('warn', 'careful', { id: 1 })
    logger.log('info', 'fine')
    expect(logger.of('warn')).to.deep.equal([{ level: 'warn', message: 'careful', fields: { id: 1 } }])
    const notifier = new RecordingNotifier()
    await notifier.notify({ kind: 'task-complete', label: 'x' })
    notifier.failWith = new Error('no mail')
    expect(await failure(notifier.notify({ kind: 'task-complete', label: 'y' }))).to.equal(notifier.failWith)
    expect(notifier.of('task-complete').map(({ label }) => label)).to.deep.equal(['x'])
  })
})
