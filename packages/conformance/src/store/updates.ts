import { expect } from 'chai'
import { ConflictError, NotFoundError } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import type { StoreContext } from './context.js'

export const updates: Chapter<StoreContext> = {
  port: 'store',
  title: 'S3 concurrent updates',
  claims: [
    claim('S3.1', 'an update gives a new revision, which serves the next update', async (lab) => {
      await lab.seedTree()
      const made = await lab.make()
      const queued = await lab.store.updateAssessor(
        lab.assessor,
        { record: lab.record({ state: 'queued' }) },
        made.revision,
      )
      expect(queued.revision).to.not.equal(made.revision)
      const running = await lab.store.updateAssessor(
        lab.assessor,
        { record: lab.record({ state: 'running' }) },
        queued.revision,
      )
      expect(running.state).to.equal('running')
      expect((await lab.store.readAssessor(lab.assessor)).node).to.deep.equal(running)
    }),

    claim('S3.2', 'an update from an old revision is a conflict and changes nothing', async (lab) => {
      await lab.seedTree()
      const made = await lab.make()
      await lab.store.updateAssessor(lab.assessor, { quality: 'Passed' }, made.revision)
      const update = lab.store.updateAssessor(
        lab.assessor,
        { record: lab.record({ state: 'failed' }), quality: 'Failed' },
        made.revision,
      )
      expect(await rejection(update)).to.be.instanceOf(ConflictError)
      const { node, record } = await lab.store.readAssessor(lab.assessor)
      expect(node).to.include({ quality: 'Passed', state: 'ready' })
      expect(record).to.deep.equal(lab.record())
    }),

    claim('S3.3', 'of eight updates of one revision at once exactly one wins', async (lab) => {
      await lab.seedTree()
      const { revision } = await lab.make()
      const second = await lab.second()
      const results = await Promise.allSettled(
        Array.from({ length: 8 }, (_, index) =>
          (index % 2 === 0 ? lab.store : second).updateAssessor(
            lab.assessor,
            { record: lab.record({ reason: `updater ${index}` }) },
            revision,
          ),
        ),
      )
      const winners = results.flatMap((result, index) => (result.status === 'fulfilled' ? [index] : []))
      expect(winners, 'winners').to.have.length(1)
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).to.be.instanceOf(ConflictError)
      }
      expect((await lab.store.readAssessor(lab.assessor)).record?.reason).to.equal(`updater ${winners[0]}`)
    }),

    claim('S3.4', 'an update of a deleted assessor is not found', async (lab) => {
      await lab.seedTree()
      const { revision } = await lab.make()
      await lab.store.deleteAssessor(lab.assessor)
      const update = lab.store.updateAssessor(lab.assessor, { quality: 'x' }, revision)
      expect(await rejection(update)).to.be.instanceOf(NotFoundError)
      expect(await lab.assessorsOf('S01_A')).to.deep.equal([])
    }),

    claim('S3.5', 'the revision of a deleted assessor does not serve its successor', async (lab) => {
      await lab.seedTree()
      const { revision } = await lab.make()
      await lab.store.deleteAssessor(lab.assessor)
      await lab.make()
      const update = lab.store.updateAssessor(lab.assessor, { quality: 'x' }, revision)
      expect(await rejection(update)).to.be.instanceOf(ConflictError)
    }),

    claim('S3.6', 'the revision in a snapshot serves an update', async (lab) => {
      await lab.seedTree()
      await lab.make()
      const [shown] = await lab.assessorsOf('S01_A')
      const node = await lab.store.updateAssessor(lab.assessor, { quality: 'Passed' }, shown?.revision ?? '')
      expect(node.quality).to.equal('Passed')
    }),

    claim('S3.7', 'sending files to an assessor does not make its revision old', async (lab) => {
      await lab.seedTree()
      const { revision } = await lab.make()
      await lab.send({ node: lab.assessor, resource: 'PDF' }, { 'report.pdf': 'pdf' })
      const node = await lab.store.updateAssessor(
        lab.assessor,
        { record: lab.record({ state: 'complete' }) },
        revision,
      )
      expect(node.state).to.equal('complete')
      expect(node.resources.map(({ label }) => label)).to.deep.equal(['PDF'])
    }),
  ],
}
