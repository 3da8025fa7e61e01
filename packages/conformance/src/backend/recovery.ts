import { expect } from 'chai'
import { BackendUnavailableError } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import type { BackendContext } from './context.js'

export const recovery: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B9 recovery by name',
  claims: [
    claim('B9.1', 'find gives the id of a live job by its name, and no others', async (lab) => {
      const gate = await lab.path('gate')
      const one = await lab.submit({ waitFor: gate })
      const two = await lab.submit({ waitFor: gate })
      await lab.submit({ waitFor: gate })
      const found = await lab.backend.find([two.spec.name, 'ow-conf-never-submitted', one.spec.name])
      expect(Object.fromEntries(found)).to.deep.equal({
        [one.spec.name]: one.id,
        [two.spec.name]: two.id,
      })
      await lab.release(gate)
    }),

    claim('B9.2', 'a name that only begins like another is another', async (lab) => {
      const gate = await lab.path('gate')
      const { spec } = await lab.submit({ waitFor: gate })
      expect((await lab.backend.find([spec.name.slice(0, -1), `${spec.name}0`])).size).to.equal(0)
      await lab.release(gate)
    }),

    claim(
      'B9.3',
      'after a lost answer find knows the job, which runs once',
      async (lab) => {
        const mark = await lab.path('mark')
        const spec = await lab.spec({ mark })
        await lab.loseNextAnswer()
        expect(await rejection(lab.backend.submit([spec]))).to.be.instanceOf(BackendUnavailableError)
        const id = (await lab.backend.find([spec.name])).get(spec.name)
        if (id === undefined) expect.fail('find does not know the job that was accepted')
        expect((await lab.finished(id)).outcome).to.equal('succeeded')
        expect(await lab.lines(mark, 1), 'runs').to.have.length(1)
      },
      (lab) => lab.canLoseAnswers,
    ),

    claim(
      'B9.4',
      'find knows jobs that have ended',
      async (lab) => {
        const { id, spec } = await lab.submit({})
        await lab.finished(id)
        expect((await lab.backend.find([spec.name])).get(spec.name)).to.equal(id)
      },
      (lab) => lab.capabilities.findsFinished || 'find sees live jobs only',
    ),

    claim(
      'B9.5',
      'of two jobs of one name find gives the newer one, where a second is accepted at all',
      async (lab) => {
        const first = await lab.submit({})
        await lab.finished(first.id)
        const [second] = await lab.backend.submit([first.spec])
        if (second?.kind === 'refused') return
        if (second?.kind !== 'accepted') expect.fail(JSON.stringify(second))
        expect((await lab.backend.find([first.spec.name])).get(first.spec.name)).to.equal(second.id)
        await lab.finished(second.id)
      },
      (lab) => lab.capabilities.findsFinished || 'find sees live jobs only',
    ),

    claim('B9.6', 'find names hundreds in one call', async (lab) => {
      const { id, spec } = await lab.submit({ waitFor: await lab.path('never') })
      const strangers = Array.from({ length: 500 }, (_, index) => `ow-conf-stranger-${index}`)
      const found = await lab.backend.find([...strangers, spec.name])
      expect([...found]).to.deep.equal([[spec.name, id]])
      await lab.backend.cancel([id])
      await lab.finished(id)
    }),
  ],
}
