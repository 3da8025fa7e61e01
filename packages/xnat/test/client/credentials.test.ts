import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { expect } from 'chai'
import { AccessDeniedError } from '@orbweaver/core'
import { XnatCredentials, findCredentials, urlFromEnvironment } from '@orbweaver/xnat'
import { netrcEntry } from '#src/client/credentials.js'

const URL = 'https://xnat.example.edu/xnat'

async function failure(work: Promise<unknown>): Promise<Error> {
  try {
    await work
  } catch (error) {
    return error as Error
  }
  expect.fail('it did not fail')
}

describe('credentials', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'orbweaver-netrc-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  async function netrc(text: string, mode = 0o600): Promise<string> {
    const path = join(folder, 'netrc')
    await writeFile(path, text)
    await chmod(path, mode)
    return path
  }

  it('come from the environment first', async () => {
    const path = await netrc('machine xnat.example.edu login other password no\n')
    const environment = { XNAT_USER: 'ana', XNAT_PASS: 'secret' }
    expect((await findCredentials(URL, { environment, netrc: path })).name).to.equal('ana')
  })

  it('are not sent to another server than XNAT_HOST names', async () => {
    const path = await netrc('machine xnat.example.edu login other password no\n')
    const environment = { XNAT_HOST: 'https://elsewhere.example.edu', XNAT_USER: 'ana', XNAT_PASS: 'secret' }
    expect((await findCredentials(URL, { environment, netrc: path })).name).to.equal('other')
    const same = { ...environment, XNAT_HOST: 'xnat.example.edu' }
    expect((await findCredentials(URL, { environment: same, netrc: path })).name).to.equal('ana')
  })

  it('come from the netrc file else, by host name', async () => {
    const path = await netrc(
      'machine a login x password y\nmachine xnat.example.edu\n login ana\n password "se cret"\n',
    )
    const found = await findCredentials(URL, { environment: {}, netrc: path })
    expect(found.name).to.equal('ana')
    expect(found.authorization()).to.equal(`Basic ${Buffer.from('ana:se cret').toString('base64')}`)
  })

  it('are refused from a file that others can read, and the message says what to do', async () => {
    const path = await netrc('machine xnat.example.edu login ana password p\n', 0o644)
    const error = await failure(findCredentials(URL, { environment: {}, netrc: path }))
    expect(error).to.be.instanceOf(AccessDeniedError)
    expect((error as AccessDeniedError).hint).to.equal(`Run: chmod 600 ${path}`)
  })

  it('that are nowhere are told with both places', async () => {
    const error = await failure(findCredentials(URL, { environment: {}, netrc: join(folder, 'none') }))
    expect(error).to.be.instanceOf(AccessDeniedError)
    expect(error.message).to.include('XNAT_USER').and.include('none')
  })

  it('never show their secret', () => {
    const credentials = new XnatCredentials('ana', 'hunter2')
    const printed = [
      String(credentials),
      inspect(credentials),
      JSON.stringify({ credentials }),
      `${inspect({ a: [credentials] }, { depth: 9, showHidden: true })}`,
    ]
    for (const text of printed) expect(text).to.include('ana').and.not.include('hunter2')
  })

  for (const [what, text, expected] of [
    ['default', 'default login d password p', ['d', 'p']],
    [
      'the machine before the default',
      'default login d password p\nmachine h login m password q',
      ['m', 'q'],
    ],
    [
      'a macro is passed over',
      'macdef init\nmachine h login bad password bad\n\nmachine h login m password q',
      ['m', 'q'],
    ],
    ['comments', '# machine h login no password no\nmachine h login m password q', ['m', 'q']],
    ['an account between', 'machine h login m account a password q', ['m', 'q']],
    ['an entry without password', 'machine h login m\nmachine h login n password q', ['n', 'q']],
  ] as const) {
    it(`netrc: ${what}`, () => {
      const found = netrcEntry(text, 'h')
      expect([found?.login, found?.password]).to.deep.equal(expected)
    })
  }

  it('the address may come from the environment, https unless it says otherwise', () => {
    expect(urlFromEnvironment({ XNAT_HOST: 'xnat.example.edu' })).to.equal('https://xnat.example.edu')
    expect(urlFromEnvironment({ XNAT_HOST: 'http://localhost:8080/x' })).to.equal('http://localhost:8080/x')
    expect(urlFromEnvironment({})).to.equal(undefined)
  })
})
