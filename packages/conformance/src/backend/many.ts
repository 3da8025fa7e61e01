import { expect } from 'chai'
import { jobId } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import type { BackendContext } from './context.js'

export const many: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B5 many jobs',
  claims: [
    claim(
      'B5.1',
      'a large batch is accepted whole, each job runs once, and one query tells of all',
      async (lab) => {
        const mark = await lab.path('marks')
        const specs = await Promise.all(
          Array.from({ length: lab.manyJobs }, (_, index) => lab.spec({ mark, exit: index % 3 })),
        )
        const ids = await lab.submitAll(specs)
        expect(new Set(ids).size, 'ids of their own').to.equal(specs.length)
        const found = await lab.allFinished(ids)
        expect(ids.map((id) => found.get(id)?.exitCode)).to.deep.equal(specs.map((_, index) => index % 3))
        const text = await (await lab.files()).read(mark)
        expect(text.split('\n').filter(Boolean), 'runs').to.have.length(specs.length)
      },
    ),

    claim(
      'B5.2',
      'an id that the scheduler does not know is absent from the reply; known ones are there',
      async (lab) => {
        const gate = await lab.path('gate')
        const { id } = await lab.submit({ waitFor: gate })
        const found = await lab.backend.query([lab.unknownId, id])
        expect([...found.keys()]).to.deep.equal([id])
        expect((await lab.backend.query([lab.unknownId])).size).to.equal(0)
        await lab.release(gate)
        await lab.finished(id)
      },
    ),

    claim('B5.3', 'a query of thousands of ids finds the few that are known', async (lab) => {
      const gate = await lab.path('gate')
      const { id } = await lab.submit({ waitFor: gate })
      const strangers = Array.from({ length: 3000 }, (_, index) => jobId(`${lab.unknownId}${index}`))
      const found = await lab.backend.query([...strangers.slice(0, 1500), id, ...strangers.slice(1500)])
      expect([...found.keys()]).to.deep.equal([id])
      await lab.release(gate)
      await lab.finished(id)
    }),

    claim('B5.4', 'jobs of one group have ids, states and ends of their own', async (lab) => {
      const gate = await lab.path('gate')
      const change = { groupKey: 'one-array' }
      const ids = await lab.submitAll([
        await lab.spec({ exit: 5 }, change),
        await lab.spec({ exit: 0 }, change),
        await lab.spec({ waitFor: gate }, change),
      ])
      expect(new Set(ids).size).to.equal(3)
      const [five, zero, waiting] = ids
      if (five === undefined || zero === undefined || waiting === undefined) expect.fail('three ids')
      const found = await lab.allFinished([five, zero])
      expect(found.get(five)).to.include({ outcome: 'failed', exitCode: 5 })
      expect(found.get(zero)).to.include({ outcome: 'succeeded', exitCode: 0 })
      expect((await lab.known(waiting)).phase).to.not.equal('finished')
      await lab.backend.cancel([waiting])
      expect((await lab.finished(waiting)).outcome).to.equal('cancelled')
    }),
  ],
}
