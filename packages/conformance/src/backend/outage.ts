import { expect } from 'chai'
import { BackendUnavailableError } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import type { BackendContext } from './context.js'

export const outage: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B8 outage',
  claims: [
    claim(
      'B8.1',
      'while the scheduler is away every question is an error, never an answer',
      async (lab) => {
        const gate = await lab.path('gate')
        const { id, spec } = await lab.submit({ waitFor: gate })
        await lab.running(id)
        await lab.outage(true)
        try {
          for (const call of [
            () => lab.backend.query([id]),
            () => lab.backend.find([spec.name]),
            () => lab.backend.cancel([id]),
          ]) {
            const error = await rejection(call())
            expect(error).to.be.instanceOf(BackendUnavailableError)
            expect(error).to.have.property('retryable', true)
          }
        } finally {
          await lab.outage(false)
        }
        // The call may have got through before it failed; in no case is the job anything but running or cancelled.
        await lab.release(gate)
        expect((await lab.finished(id)).outcome).to.be.oneOf(['succeeded', 'cancelled'])
      },
      (lab) => lab.canTakeAway,
    ),

    claim(
      'B8.2',
      'a submit while the scheduler is away is an error, and find tells afterwards whether the job exists',
      async (lab) => {
        const mark = await lab.path('mark')
        const spec = await lab.spec({ mark })
        await lab.outage(true)
        try {
          expect(await rejection(lab.backend.submit([spec]))).to.be.instanceOf(BackendUnavailableError)
        } finally {
          await lab.outage(false)
        }
        const found = (await lab.backend.find([spec.name])).get(spec.name)
        const id = found ?? (await lab.submitAll([spec]))[0]
        if (id === undefined) expect.fail('no id')
        expect((await lab.finished(id)).outcome).to.equal('succeeded')
        expect(await lab.lines(mark, 1), 'runs').to.have.length(1)
      },
      (lab) => lab.canTakeAway,
    ),

    claim(
      'B8.3',
      'jobs go on while the scheduler is away, and are told of afterwards as if nothing had been',
      async (lab) => {
        const gate = await lab.path('gate')
        const { id } = await lab.submit({ waitFor: gate, exit: 9 })
        await lab.running(id)
        await lab.outage(true)
        await lab.release(gate)
        await lab.outage(false)
        expect(await lab.finished(id)).to.include({ outcome: 'failed', exitCode: 9 })
      },
      (lab) => lab.canTakeAway,
    ),

    claim(
      'B8.4',
      'diagnose reports the outage as a problem, with something to do about it',
      async (lab) => {
        await lab.outage(true)
        try {
          const problems = (await lab.backend.diagnose()).filter(({ status }) => status === 'problem')
          expect(problems).to.have.length.above(0)
          for (const { hint } of problems) expect(hint).to.be.a('string').and.not.equal('')
        } finally {
          await lab.outage(false)
        }
      },
      (lab) => lab.canTakeAway,
    ),
  ],
}
