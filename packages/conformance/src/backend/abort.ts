import { expect } from 'chai'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import type { BackendContext } from './context.js'

export const abort: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B7 abort',
  claims: [
    claim('B7.1', "a call with an aborted signal rejects with the signal's reason", async (lab) => {
      const reason = new Error('not wanted any more')
      const signal = AbortSignal.abort(reason)
      const { id } = await lab.submit({})
      for (const call of [
        lab.backend.query([id], { signal }),
        lab.backend.find(['ow-conf-nobody'], { signal }),
        lab.backend.cancel([id], { signal }),
      ]) {
        expect(await rejection(call)).to.equal(reason)
      }
      expect((await lab.finished(id)).outcome, 'after the aborted calls').to.equal('succeeded')
    }),

    claim('B7.2', 'a submit with an aborted signal submits nothing', async (lab) => {
      const reason = new Error('not wanted any more')
      const mark = await lab.path('mark')
      const spec = await lab.spec({ mark })
      expect(await rejection(lab.backend.submit([spec], { signal: AbortSignal.abort(reason) }))).to.equal(
        reason,
      )
      expect((await lab.backend.find([spec.name])).size).to.equal(0)
      const [id] = await lab.submitAll([spec])
      if (id === undefined) expect.fail('no id')
      await lab.finished(id)
      expect(await lab.lines(mark, 1)).to.have.length(1)
    }),

    claim('B7.3', 'an abort during a call ends the wait, and later calls work', async (lab) => {
      const gate = await lab.path('gate')
      const { id } = await lab.submit({ waitFor: gate })
      const controller = new AbortController()
      const call = lab.backend.query([id], { signal: controller.signal })
      controller.abort(new Error('enough'))
      const ended = await call.then(
        () => 'answered',
        (error: unknown) => error,
      )
      expect(ended === 'answered' || ended === controller.signal.reason, String(ended)).to.equal(true)
      await lab.release(gate)
      expect((await lab.finished(id)).outcome).to.equal('succeeded')
    }),

    claim(
      'B7.4',
      'an abort ends the wait for changes',
      async (lab) => {
        const { id } = await lab.submit({ waitFor: await lab.path('never') })
        await lab.running(id)
        const controller = new AbortController()
        const waiting = lab.backend.changes?.(3_600_000, { signal: controller.signal })
        if (waiting === undefined) expect.fail('no changes')
        controller.abort(new Error('enough'))
        const ended = await waiting.then(
          () => 'resolved', // early is allowed
          (error: unknown) => error,
        )
        expect(ended === 'resolved' || ended === controller.signal.reason, String(ended)).to.equal(true)
        await lab.backend.cancel([id])
        expect((await lab.finished(id)).outcome).to.equal('cancelled')
      },
      (lab) => lab.backend.changes !== undefined || 'the backend does not tell of changes',
    ),
  ],
}
