import { expect } from 'chai'
import { JOB_OUTCOMES, JOB_PHASES, NotSupportedError } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import type { BackendContext } from './context.js'

/** Clocks of the submitting machine and of the node differ a little, and schedulers round to seconds. */
const CLOCK_SLACK_MS = 5000

export const states: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B2 states and phases',
  claims: [
    claim('B2.1', 'a running job has the phase running and no outcome', async (lab) => {
      const gate = await lab.path('gate')
      const { id } = await lab.submit({ waitFor: gate })
      const status = await lab.running(id)
      expect(status.id).to.equal(id)
      expect(status).to.not.have.property('outcome')
      expect(status).to.not.have.property('endedAtMs')
      await lab.release(gate)
      await lab.finished(id)
    }),

    claim(
      'B2.2',
      'phases and outcomes are words of the model, and an outcome comes only with the end',
      async (lab) => {
        const { id } = await lab.submit({ exit: 1 })
        await lab.until('the job has ended', async () => {
          const status = await lab.status(id)
          // It may have been forgotten by now.
          if (status === undefined) return !lab.capabilities.history
          expect(status.phase).to.be.oneOf([...JOB_PHASES])
          if (status.phase === 'finished') expect(status.outcome).to.be.oneOf([...JOB_OUTCOMES])
          else expect(status).to.not.have.property('outcome')
          return status.phase === 'finished'
        })
      },
    ),

    claim('B2.3', 'times that are told are in order: submitted, started, ended', async (lab) => {
      const { id } = await lab.submit({})
      const { submittedAtMs, startedAtMs, endedAtMs } = await lab.finished(id)
      const times = [submittedAtMs, startedAtMs, endedAtMs].filter((time) => time !== undefined)
      for (const [index, time] of times.entries()) {
        expect(time, 'epoch milliseconds').to.be.above(1_000_000_000_000)
        const before = times[index - 1]
        if (before !== undefined) expect(time).to.be.at.least(before - CLOCK_SLACK_MS)
      }
    }),

    claim('B2.4', "the scheduler's own word is kept beside ours, and an end has evidence", async (lab) => {
      const gate = await lab.path('gate')
      const { id } = await lab.submit({ waitFor: gate })
      expect((await lab.running(id)).native.state)
        .to.be.a('string')
        .and.not.equal('')
      await lab.release(gate)
      const { native, evidence } = await lab.finished(id)
      expect(native.state).to.be.a('string').and.not.equal('')
      expect(evidence).to.have.length.above(0)
      for (const { source, text } of evidence) {
        expect(source).to.not.equal('')
        expect(text).to.not.equal('')
      }
    }),

    claim(
      'B2.5',
      'a job without room waits in the queue, and starts when there is room',
      async (lab) => {
        const makeRoom = await lab.occupy()
        const mark = await lab.path('mark')
        const { id } = await lab.submit({ mark })
        expect((await lab.known(id)).phase).to.equal('queued')
        expect(await (await lab.files()).exists(mark), 'ran without room').to.equal(false)
        await makeRoom()
        expect((await lab.finished(id)).outcome).to.equal('succeeded')
      },
      (lab) => lab.canOccupy(),
    ),

    claim(
      'B2.6',
      'a held job does not start until it is released',
      async (lab) => {
        const makeRoom = await lab.occupy()
        const mark = await lab.path('mark')
        const { id } = await lab.submit({ mark })
        const other = await lab.submit({})
        await lab.backend.hold([id])
        await lab.until('the job is held', async () => (await lab.known(id)).phase === 'held')
        await makeRoom()
        await lab.finished(other.id)
        expect((await lab.known(id)).phase).to.equal('held')
        expect(await (await lab.files()).exists(mark), 'a held job ran').to.equal(false)
        await lab.backend.release([id])
        expect((await lab.finished(id)).outcome).to.equal('succeeded')
      },
      (lab) => (lab.capabilities.hold ? lab.canOccupy() : 'jobs cannot be held'),
    ),

    claim(
      'B2.7',
      'without the capability, hold and release are refused as not supported',
      async (lab) => {
        const gate = await lab.path('gate')
        const { id } = await lab.submit({ waitFor: gate })
        expect(await rejection(lab.backend.hold([id]))).to.be.instanceOf(NotSupportedError)
        expect(await rejection(lab.backend.release([id]))).to.be.instanceOf(NotSupportedError)
        await lab.release(gate)
        expect((await lab.finished(id)).outcome).to.equal('succeeded')
      },
      (lab) => !lab.capabilities.hold || 'jobs can be held',
    ),
  ],
}
