import { expect } from 'chai'
import { claim, type Chapter } from '../claims.js'
import type { BackendContext } from './context.js'

export const cancel: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B4 cancel',
  claims: [
    claim('B4.1', 'a running job that is cancelled ends as cancelled', async (lab) => {
      const { id } = await lab.submit({ waitFor: await lab.path('never') })
      await lab.running(id)
      await lab.backend.cancel([id])
      expect((await lab.finished(id)).outcome).to.equal('cancelled')
    }),

    claim(
      'B4.2',
      "a cancel ends the whole tree: children, and children's children that ignore SIGTERM",
      async (lab) => {
        const family = await lab.path('family')
        const { id } = await lab.submit({ grandchildren: family, waitFor: await lab.path('never') })
        const pids = (await lab.lines(family, 3)).map(Number)
        await lab.backend.cancel([id])
        expect((await lab.finished(id)).outcome).to.equal('cancelled')
        await lab.gone(pids)
      },
    ),

    claim(
      'B4.3',
      'a queued job that is cancelled ends as cancelled and never runs',
      async (lab) => {
        const makeRoom = await lab.occupy()
        const mark = await lab.path('mark')
        const { id } = await lab.submit({ mark })
        await lab.backend.cancel([id])
        expect((await lab.finished(id)).outcome).to.equal('cancelled')
        const next = await lab.submit({})
        await makeRoom()
        await lab.finished(next.id)
        expect(await (await lab.files()).exists(mark), 'a cancelled job ran').to.equal(false)
      },
      (lab) => lab.canOccupy(),
    ),

    claim('B4.4', 'a cancel of a finished job is no error and does not change how it ended', async (lab) => {
      const { id } = await lab.submit({ exit: 3 })
      const before = await lab.finished(id)
      await lab.backend.cancel([id])
      const after = await lab.status(id)
      // Without history it may be forgotten by now; what is told must be the same.
      if (after !== undefined) expect(after).to.include({ outcome: before.outcome, exitCode: 3 })
    }),

    claim('B4.5', 'a cancel of an unknown job is no error, alone and among others', async (lab) => {
      await lab.backend.cancel([lab.unknownId])
      const { id } = await lab.submit({ waitFor: await lab.path('never') })
      await lab.backend.cancel([lab.unknownId, id])
      expect((await lab.finished(id)).outcome).to.equal('cancelled')
    }),

    claim('B4.6', 'one call cancels many, and leaves the others alone', async (lab) => {
      const gate = await lab.path('gate')
      const specs = await Promise.all(Array.from({ length: 6 }, () => lab.spec({ waitFor: gate })))
      const ids = await lab.submitAll(specs)
      await lab.backend.cancel(ids.slice(0, 4))
      const gone = await lab.allFinished(ids.slice(0, 4))
      for (const { outcome } of gone.values()) expect(outcome).to.equal('cancelled')
      await lab.release(gate)
      const stayed = await lab.allFinished(ids.slice(4))
      for (const { outcome } of stayed.values()) expect(outcome).to.equal('succeeded')
    }),

    claim('B4.7', 'a cancel said twice is the same as said once', async (lab) => {
      const { id } = await lab.submit({ waitFor: await lab.path('never') })
      await lab.running(id)
      await Promise.all([lab.backend.cancel([id]), lab.backend.cancel([id])])
      await lab.backend.cancel([id, id])
      expect((await lab.finished(id)).outcome).to.equal('cancelled')
    }),
  ],
}
