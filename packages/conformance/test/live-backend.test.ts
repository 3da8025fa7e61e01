import { expect } from 'chai'
import { clusterBackendSuite, remembering, unreliable } from '@orbweaver/conformance'
import type { ClusterBackend, CommandResult, JobId } from '@orbweaver/core'
import { runClaims } from './doubles/failed-claims.js'
import { memoryBackendHarness } from './doubles/memory-backend.js'
import { override } from './doubles/override.js'

describe('a scheduler that others use as well', () => {
  it('is away, and loses an answer, only for who is told so', async () => {
    const ran: string[] = []
    const run = async ({ argv }: { readonly argv: readonly string[] }): Promise<CommandResult> => {
      ran.push(argv.join(' '))
      return { exitCode: 0, stdout: 'ok', stderr: '' }
    }
    const scheduler = unreliable(
      { run },
      {
        isProgram: ([program]) => program !== 'id',
        isSubmit: ([program]) => program === 'submit',
        away: ([program]) => ({ exitCode: 1, stdout: '', stderr: `${program}: away` }),
      },
    )
    const answer = async (...argv: readonly string[]): Promise<string> => {
      const { stdout, stderr } = await scheduler.runner.run({ argv })
      return stdout + stderr
    }
    expect(await answer('submit')).to.equal('ok')
    scheduler.setAway(true)
    expect(await answer('submit')).to.equal('submit: away')
    expect(await answer('id')).to.equal('ok')
    scheduler.setAway(false)
    scheduler.loseNextAnswer()
    expect(await answer('ask')).to.equal('ok')
    expect(await answer('submit')).to.equal('submit: away')
    expect(await answer('submit')).to.equal('ok')
    // What reached the scheduler: the lost one too.
    expect(ran).to.deep.equal(['submit', 'id', 'ask', 'submit', 'submit'])
  })

  it('is told to end nothing but what it has accepted from here', async () => {
    const ids: JobId[] = []
    const backend = {
      name: 'x',
      submit: async () => [
        { kind: 'accepted', id: '1' },
        { kind: 'later', reason: 'full' },
        { kind: 'accepted', id: '3' },
      ],
    } as unknown as ClusterBackend
    const remembered = remembering(backend, ids)
    expect(await remembered.submit([])).to.have.length(3)
    expect(remembered.name).to.equal('x')
    expect(ids).to.deep.equal(['1', '3'])
  })
})

describe('a backend that forgets what has ended', () => {
  it('is asked for nothing that it cannot know, and keeps the other claims', async () => {
    const forgetful = memoryBackendHarness({
      capabilities: { history: false },
      wrap: (backend) =>
        override<ClusterBackend>(backend, {
          query: async (ids, options) =>
            new Map([...(await backend.query(ids, options))].filter(([, { phase }]) => phase !== 'finished')),
        }),
    })
    const { passed, failed, pending } = await runClaims((options) => clusterBackendSuite(forgetful, options))
    expect(failed).to.deep.equal([])
    expect(pending).to.include.members(['B3.1', 'B3.2'])
    expect(passed).to.include.members(['B1.1', 'B1.6', 'B9.1'])
  })
})
