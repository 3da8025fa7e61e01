import { expect } from 'chai'
import { InputError, ProjectLoop, ScanLoop, SessionLoop, SubjectLoop, Task } from '@orbweaver/core'
import { seedMany, seedScan } from '@orbweaver/core/testing'
import { Bench, processor } from './bench.js'

const t1 = processor('t1')
const perScan = processor('per-scan', { level: 'scan' })
const perSubject = processor('per-subject', {
  level: 'subject',
  inputs: { t1: { scan: { type: 'T1w' }, resource: 'NIFTI', all: true } },
})
const perProject = processor('per-project', {
  level: 'project',
  inputs: { t1: { scan: { type: 'T1w' }, resource: 'NIFTI', all: true } },
})

describe('tasks and loops, for loops of one’s own', () => {
  let bench: Bench
  afterEach(() => {
    bench.dispose()
  })
  const make = (scans = [seedScan('1', 'T1w'), seedScan('2', 'T1w')]): Bench =>
    (bench = new Bench({
      processors: [t1, perScan, perSubject, perProject],
      seed: [seedMany('P', 2, scans)],
    }))
  const session = { project: 'P', subject: 'S0001', session: 'S0001_MR1' }

  it('visits the targets of its level, and those only', async () => {
    const engine = make().engine()
    const places = async (loop: Pick<ScanLoop, 'tasks'>): Promise<string[]> => {
      const found: string[] = []
      for await (const { processor: name, target } of loop.tasks()) {
        found.push(
          [name, target.subject, target.session, target.scan].filter((part) => part !== undefined).join(' '),
        )
      }
      return found
    }
    expect(await places(new ScanLoop(engine, { subjects: ['S0001'] }))).to.deep.equal([
      'per-scan S0001 S0001_MR1 1',
      'per-scan S0001 S0001_MR1 2',
    ])
    expect(await places(new SessionLoop(engine))).to.deep.equal(['t1 S0001 S0001_MR1', 't1 S0002 S0002_MR1'])
    expect(await places(new SubjectLoop(engine))).to.deep.equal(['per-subject S0001', 'per-subject S0002'])
    expect(await places(new ProjectLoop(engine))).to.deep.equal(['per-project'])
  })

  it('refuses a processor of another level, and names the level', async () => {
    const loop = new SessionLoop(make().engine(), {}, ['per-scan'])
    let refused: unknown
    try {
      await loop.tasks().next()
    } catch (error) {
      refused = error
    }
    expect(refused).to.be.instanceOf(InputError)
    expect((refused as Error).message).to.contain('scan level')
  })

  it('a consumer may stop early', async () => {
    bench = new Bench({ processors: [perScan], seed: [seedMany('P', 200)] })
    const engine = bench.engine()
    for await (const task of new ScanLoop(engine).tasks()) {
      expect(task.processor).to.equal('per-scan')
      break
    }
    expect((await engine.planAll({})).decisions).not.to.have.length(0)
  })

  it('update of a loop does what its processors need', async () => {
    const engine = make([seedScan('1', 'T1w')]).engine()
    expect(await new SessionLoop(engine).update()).to.include({ submitted: 2, completed: 2 })
    expect(await bench.stateCounts()).to.deep.equal({ complete: 2 })
  })

  it('a task is created, started and finished by update', async () => {
    const engine = make([seedScan('1', 'T1w')]).engine()
    const [task] = await Task.of(engine, 't1', session)
    expect(task?.exists()).to.equal(false)
    expect(task?.hasInputs()).to.equal(true)
    expect(task?.status()).to.equal(undefined)
    expect(await task?.update()).to.be.oneOf(['queued', 'running', 'complete'])
    await bench.clock.advance(60_000)
    expect(await task?.update()).to.equal('complete')
    expect(task?.exists()).to.equal(true)
    expect(bench.backend.jobs()).to.have.length(1)
  })

  it('a task without inputs says why, and does not start', async () => {
    const engine = make([seedScan('1', 'T1w', { resources: {} })]).engine()
    const [task] = await Task.of(engine, 't1', session)
    expect(task?.hasInputs()).to.equal(false)
    expect(task?.reason).to.contain('has no NIFTI')
    expect(await task?.start()).to.equal(false)
    expect(await task?.update()).to.equal('waiting')
    const [none] = await Task.of(make([seedScan('1', 'BOLD')]).engine(), 't1', session)
    expect(none?.label).to.equal(undefined)
    expect(await none?.update()).to.equal(undefined)
  })

  it('a task can be started and cancelled', async () => {
    bench = new Bench({
      processors: [t1],
      seed: [seedMany('P', 1, [seedScan('1', 'T1w')])],
      script: () => ({ runsForMs: 1e9 }),
    })
    const [task] = await Task.of(bench.engine(), 't1', session)
    expect(await task?.start()).to.equal(true)
    expect(await task?.cancel()).to.equal(true)
    expect(await task?.update()).to.equal('cancelled')
    expect(await task?.cancel()).to.equal(false)
  })
})
