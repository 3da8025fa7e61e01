import { expect } from 'chai'
import { JobRejectedError } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import { shown, type BackendContext } from './context.js'

const MIB = 1024 ** 2

export const outcomes: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B3 outcomes and causes',
  claims: [
    claim('B3.1', 'exit code 0 is success, and nothing else is', async (lab) => {
      const { id } = await lab.submit({ exit: 0 })
      expect(await lab.finished(id)).to.include({ outcome: 'succeeded', exitCode: 0 })
    }),

    claim('B3.2', 'every other exit code is a failure with that code', async (lab) => {
      const codes = [1, 3, 75, 126, 255]
      const specs = await Promise.all(codes.map((exit) => lab.spec({ exit })))
      const ids = await lab.submitAll(specs)
      const found = await lab.allFinished(ids)
      for (const [index, id] of ids.entries()) {
        const status = found.get(id)
        expect(status?.outcome, `exit ${codes[index]}`).to.equal('failed')
        if (status?.exitCodeExact !== false) expect(status?.exitCode).to.equal(codes[index])
        else expect(status.exitCode).to.not.equal(0)
      }
    }),

    claim('B3.3', 'a job ended by a signal has failed, and the signal is told', async (lab) => {
      for (const [killSelf, number] of [['SIGKILL', 9] as const, ['SIGTERM', 15] as const]) {
        const { id } = await lab.submit({ killSelf })
        const status = await lab.finished(id)
        expect(status.outcome, shown(status)).to.equal('failed')
        expect(status.signal === killSelf || status.exitCode === 128 + number, shown(status)).to.equal(true)
      }
    }),

    claim(
      'B3.4',
      'a job over its walltime is ended with all its processes, and the outcome is timeout',
      async (lab) => {
        const family = await lab.path('family')
        const spec = await lab.spec({ grandchildren: family })
        const [id] = await lab.submitAll([
          {
            ...spec,
            requirements: { ...spec.requirements, walltimeSeconds: lab.shortestWalltimeSeconds },
          },
        ])
        if (id === undefined) expect.fail('no id')
        const status = await lab.finished(id)
        expect(status.outcome, shown(status)).to.equal('timeout')
        const text = (await (await lab.files()).readMany([family])).get(family) ?? ''
        await lab.gone(text.split('\n').filter(Boolean).map(Number))
      },
      (lab) => lab.capabilities.enforcesWalltime || 'the walltime is not enforced',
    ),

    claim(
      'B3.5',
      'a job over its memory is ended, and the outcome is out-of-memory',
      async (lab) => {
        const { limitMb, allocateMb } = lab.memory
        const spec = await lab.spec({ allocateMb, waitFor: await lab.path('never') })
        const [id] = await lab.submitAll([
          { ...spec, requirements: { ...spec.requirements, memoryBytes: limitMb * MIB } },
        ])
        if (id === undefined) expect.fail('no id')
        const status = await lab.finished(id)
        expect(status.outcome, shown(status)).to.equal('out-of-memory')
      },
      (lab) => lab.capabilities.enforcesMemory || 'the memory limit is not enforced',
    ),

    claim(
      'B3.6',
      'the peak memory of an ended job is told',
      async (lab) => {
        const gate = await lab.path('gate')
        const { limitMb } = lab.memory
        const spec = await lab.spec({ allocateMb: limitMb / 2, waitFor: gate })
        const [id] = await lab.submitAll([
          { ...spec, requirements: { ...spec.requirements, memoryBytes: limitMb * MIB } },
        ])
        if (id === undefined) expect.fail('no id')
        await lab.running(id)
        await lab.release(gate)
        const { usage, outcome } = await lab.finished(id)
        expect(outcome).to.equal('succeeded')
        expect(usage?.peakMemoryBytes).to.be.within((limitMb / 2) * MIB, limitMb * MIB)
      },
      (lab) => lab.capabilities.peakMemory || 'the peak memory is not told',
    ),

    claim('B3.7', 'a program that does not exist never succeeds', async (lab) => {
      const spec = await lab.spec({})
      const command = ['/nonexistent/orbweaver-no-such-program', '--flag']
      const [outcome] = await lab.backend.submit([{ ...spec, command }])
      if (outcome?.kind === 'refused') return
      if (outcome?.kind !== 'accepted') expect.fail(`the outcome was ${JSON.stringify(outcome)}`)
      const status = await lab.finished(outcome.id)
      expect(status.outcome, shown(status)).to.be.oneOf(['failed', 'launch-failed'])
      expect(status.exitCode).to.not.equal(0)
    }),

    claim(
      'B3.8',
      'a job that the site can never run is refused by name, and the rest of its batch is accepted',
      async (lab) => {
        const { maxCpus = 0 } = await lab.backend.limits()
        const tooBig = await lab.spec({})
        const [before, refused, after] = await lab.backend.submit([
          await lab.spec({}),
          { ...tooBig, requirements: { ...tooBig.requirements, cpus: maxCpus + 1 } },
          await lab.spec({}),
        ])
        expect(before?.kind).to.equal('accepted')
        expect(after?.kind).to.equal('accepted')
        if (refused?.kind === 'refused') {
          expect(refused.error).to.be.instanceOf(JobRejectedError)
          expect((await lab.backend.find([tooBig.name])).size, 'a refused job exists').to.equal(0)
        } else if (refused?.kind === 'accepted') {
          // Some schedulers say it only once the job is in the queue.
          expect((await lab.known(refused.id)).willNeverRun).to.equal(true)
        } else expect.fail(`a job of ${maxCpus + 1} cpus: ${JSON.stringify(refused)}`)
      },
      async (lab) => (await lab.backend.limits()).maxCpus !== undefined || 'the site tells no limit of cpus',
    ),
  ],
}
