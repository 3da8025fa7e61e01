import { expect } from 'chai'
import { claim, type Chapter } from '../claims.js'
import type { BackendContext } from './context.js'

export const restart: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B10 restart of the engine in between',
  claims: [
    claim(
      'B10.1',
      'a new instance sees the jobs of the old one, and how they end',
      async (lab) => {
        const gate = await lab.path('gate')
        const { id } = await lab.submit({ waitFor: gate, exit: 6 })
        const before = await lab.running(id)
        await lab.reopen()
        const after = await lab.running(id)
        expect(after.startedAtMs).to.equal(before.startedAtMs)
        await lab.release(gate)
        expect(await lab.finished(id)).to.include({ outcome: 'failed', exitCode: 6 })
      },
      (lab) => lab.canReopen,
    ),

    claim(
      'B10.2',
      'a job that ended while nobody was looking has its outcome, exit code and times',
      async (lab) => {
        const gate = await lab.path('gate')
        const mark = await lab.path('mark')
        const jobs = [await lab.submit({ waitFor: gate, mark }), await lab.submit({ waitFor: gate, exit: 8 })]
        for (const { id } of jobs) await lab.running(id)
        await lab.reopen()
        await lab.release(gate)
        await lab.reopen()
        const [good, bad] = await Promise.all(jobs.map(({ id }) => lab.finished(id)))
        expect(good).to.include({ outcome: 'succeeded', exitCode: 0 })
        expect(bad).to.include({ outcome: 'failed', exitCode: 8 })
        expect(good?.endedAtMs).to.be.at.least(good?.startedAtMs ?? 0)
        expect(await lab.lines(mark, 1), 'runs').to.have.length(1)
      },
      (lab) => lab.canReopen,
    ),

    claim(
      'B10.3',
      'a new instance finds jobs of the old one by name',
      async (lab) => {
        const { id, spec } = await lab.submit({ waitFor: await lab.path('never') })
        await lab.reopen()
        expect((await lab.backend.find([spec.name])).get(spec.name)).to.equal(id)
        await lab.backend.cancel([id])
        await lab.finished(id)
      },
      (lab) => lab.canReopen,
    ),

    claim(
      'B10.4',
      'a new instance cancels jobs of the old one, with their whole tree',
      async (lab) => {
        const family = await lab.path('family')
        const { id } = await lab.submit({ grandchildren: family, waitFor: await lab.path('never') })
        const pids = (await lab.lines(family, 3)).map(Number)
        await lab.reopen()
        await lab.backend.cancel([id])
        expect((await lab.finished(id)).outcome).to.equal('cancelled')
        await lab.gone(pids)
      },
      (lab) => lab.canReopen,
    ),

    claim(
      'B10.5',
      'jobs that wait in the queue are started after a restart as well',
      async (lab) => {
        const makeRoom = await lab.occupy()
        const { id } = await lab.submit({ exit: 2 })
        expect((await lab.known(id)).phase).to.equal('queued')
        await lab.reopen()
        await makeRoom()
        expect(await lab.finished(id)).to.include({ outcome: 'failed', exitCode: 2 })
      },
      async (lab) => (lab.canReopen === true ? lab.canOccupy() : lab.canReopen),
    ),

    claim(
      'B10.6',
      'a walltime holds across a restart',
      async (lab) => {
        const spec = await lab.spec({ waitFor: await lab.path('never') })
        const walltimeSeconds = lab.shortestWalltimeSeconds + 1
        const [id] = await lab.submitAll([
          { ...spec, requirements: { ...spec.requirements, walltimeSeconds } },
        ])
        if (id === undefined) expect.fail('no id')
        await lab.reopen()
        expect((await lab.finished(id)).outcome).to.equal('timeout')
      },
      (lab) => (lab.capabilities.enforcesWalltime ? lab.canReopen : 'the walltime is not enforced'),
    ),

    claim('B10.7', 'close lets go and ends no job', async (lab) => {
      const gate = await lab.path('gate')
      const mark = await lab.path('mark')
      const { id } = await lab.submit({ waitFor: gate, mark })
      await lab.running(id)
      await lab.backend.close()
      await lab.release(gate)
      if (lab.canReopen !== true) return
      await lab.reopen()
      expect((await lab.finished(id)).outcome).to.equal('succeeded')
      expect(await lab.lines(mark, 1)).to.have.length(1)
    }),
  ],
}
