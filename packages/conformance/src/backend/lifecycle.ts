import { expect } from 'chai'
import { claim, type Chapter } from '../claims.js'
import type { BackendContext } from './context.js'

const SECRET = 'ORBWEAVER_CONFORMANCE_SECRET'

export const lifecycle: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B1 lifecycle',
  claims: [
    claim('B1.1', 'an accepted job has an id of its own', async (lab) => {
      const ids = await lab.submitAll([await lab.spec({}), await lab.spec({}), await lab.spec({})])
      expect(new Set(ids)).to.have.property('size', 3)
      for (const id of ids) expect(id).to.be.a('string').with.property('length').above(0)
    }),

    claim('B1.2', 'a job runs in its directory, and its output goes where the spec says', async (lab) => {
      const { id, spec } = await lab.submit({
        print: 'to the one',
        printError: 'to the other',
        report: { arguments: [], variables: [] },
      })
      await lab.finished(id)
      const files = await lab.files()
      expect((await lab.lines(spec.stdoutPath, 2)).slice(0, 2)).to.deep.equal(['to the one', spec.directory])
      expect(await files.read(spec.stderrPath)).to.contain('to the other')
    }),

    claim('B1.3', 'a job that has not ended is known and is not called finished', async (lab) => {
      const gate = await lab.path('gate')
      const { id } = await lab.submit({ waitFor: gate })
      expect((await lab.known(id)).phase).to.not.equal('finished')
      await lab.running(id)
      expect((await lab.known(id)).phase).to.equal('running')
      await lab.release(gate)
      expect((await lab.finished(id)).outcome).to.equal('succeeded')
    }),

    claim(
      'B1.4',
      'a job that has ended is told the same way each time',
      async (lab) => {
        const { id } = await lab.submit({ exit: 4 })
        const first = await lab.finished(id)
        const again = await lab.known(id)
        expect(again).to.deep.include({ phase: 'finished', outcome: first.outcome, exitCode: first.exitCode })
        expect(again.endedAtMs).to.equal(first.endedAtMs)
      },
      (lab) => lab.capabilities.history || 'ended jobs cannot be asked for',
    ),

    claim('B1.5', 'a batch has one outcome per spec, in the order of the specs', async (lab) => {
      const specs = [await lab.spec({ exit: 1 }), await lab.spec({ exit: 2 }), await lab.spec({ exit: 3 })]
      const ids = await lab.submitAll(specs)
      const found = await lab.allFinished(ids)
      expect(ids.map((id) => found.get(id)?.exitCode)).to.deep.equal([1, 2, 3])
    }),

    claim('B1.6', 'nothing asked for is no error: empty submit, query, find and cancel', async (lab) => {
      expect(await lab.backend.submit([])).to.deep.equal([])
      expect((await lab.backend.query([])).size).to.equal(0)
      expect((await lab.backend.find([])).size).to.equal(0)
      await lab.backend.cancel([])
    }),

    claim('B1.7', "the submitter's environment does not reach the job; the spec's does", async (lab) => {
      process.env[SECRET] = 'must stay here'
      try {
        const { id, spec } = await lab.submit(
          { report: { arguments: [], variables: [SECRET, 'GIVEN'] } },
          { environment: { GIVEN: 'from the spec' } },
        )
        await lab.finished(id)
        expect((await lab.lines(spec.stdoutPath, 3)).slice(1, 3)).to.deep.equal(['', 'from the spec'])
      } finally {
        delete process.env[SECRET]
      }
    }),

    claim('B1.8', 'every limit that is told says where it comes from', async (lab) => {
      const { source, ...limits } = await lab.backend.limits()
      for (const [name, value] of Object.entries(limits)) {
        if (value === undefined) continue
        expect(value, name).to.be.a('number').above(0)
        expect(source, `source of ${name}`).to.have.property(name).that.is.a('string').and.not.equal('')
      }
    }),

    claim('B1.9', 'diagnose says what it found, and finds no problem where jobs run', async (lab) => {
      const checks = await lab.backend.diagnose()
      expect(checks).to.have.length.above(0)
      for (const { check, status, found } of checks) {
        expect(check).to.not.equal('')
        expect(found).to.not.equal('')
        expect(status, `${check}: ${found}`).to.be.oneOf(['ok', 'warning'])
      }
    }),
  ],
}
