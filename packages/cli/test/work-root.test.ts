import {
  AccessDeniedError,
  ConfigError,
  TransportUnavailableError,
  type LoadedSite,
  type Transport,
} from '@orbweaver/core'
import { InMemoryFiles } from '@orbweaver/core/testing'
import { expect } from 'chai'
import { checkWorkRoot } from '#src/work-root.js'

const { signal } = new AbortController()
const site = (descriptor: unknown = {}): LoadedSite =>
  ({
    file: '/site/orbweaver.yaml',
    workRoot: '/scratch/lab/',
    transport: { use: 'ssh', config: { host: 'login.example.edu' }, descriptor },
  }) as unknown as LoadedSite

/** What making a folder there ends with. */
function transportThat(error: Error): Transport {
  const files = new InMemoryFiles()
  files.mkdir = () => Promise.reject(error)
  return { files } as unknown as Transport
}

describe('the work root of another machine', () => {
  const denied = new AccessDeniedError('Cannot make the folder "/scratch/lab": permission denied (EACCES).', {
    details: { path: '/scratch/lab', code: 'EACCES' },
  })

  it('is made, and nothing is left in it', async () => {
    const files = new InMemoryFiles()
    await checkWorkRoot({ site: site(), transport: { files } as unknown as Transport }, signal)
    expect(await files.list('/scratch/lab')).to.deep.equal([])
  })

  it('that cannot be made ends the run: what, where, and what to do', async () => {
    const error = await checkWorkRoot({ site: site(), transport: transportThat(denied) }, signal).then(
      () => expect.fail('it did not fail'),
      (reason: unknown) => reason,
    )
    expect(error).to.be.instanceOf(ConfigError)
    const [problem] = (error as ConfigError).problems
    expect(problem).to.include({ file: '/site/orbweaver.yaml', path: 'workRoot' })
    expect(problem?.message)
      .to.contain('/scratch/lab/ cannot be used on login.example.edu')
      .and.contain('EACCES')
    expect(problem?.hint).to.contain('name a folder')
  })

  for (const [what, error] of [
    ['a host that is away', new TransportUnavailableError('login.example.edu cannot be reached')],
    ['a login that is refused', new AccessDeniedError('nobody is let in', { details: { host: 'login' } })],
  ] as const) {
    it(`is not to blame for ${what}: the run goes on to that`, async () => {
      await checkWorkRoot({ site: site(), transport: transportThat(error) }, signal)
    })
  }

  it('of this machine has been looked at before', async () => {
    const here = { ...site(), transport: { ...site().transport, descriptor: undefined } }
    await checkWorkRoot({ site: here, transport: transportThat(denied) }, signal)
  })
})
