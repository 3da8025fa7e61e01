import { FolderStore } from '@orbweaver/adapter-local'
import { expect } from 'chai'
import { readFileSync, statSync } from 'node:fs'
import { EXIT } from '#src/exit.js'
import { Sandbox } from '../helpers/cli.js'

describe('orbweaver sandbox', () => {
  let folder: Sandbox
  beforeEach(() => (folder = new Sandbox()))
  afterEach(() => folder.remove())

  const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
    [['--error-rate', '120%'], /5% or 0\.05/],
    [['--latency', 'soon'], /20ms or 2s/],
    [['--outage', '30s'], /30s\+60s/],
    [['--port', '70000'], /65535/],
    [['--user', 'bob=king@P1'], /role@project/],
    [['--user', 'a b'], /user name/],
    [['--tls-cert', 'cert.pem'], /--tls-key/],
  ]
  for (const [argv, message] of WRONG) {
    it(`refuses ${argv.join(' ')}`, async () => {
      const { code, stderr } = await folder.run(['sandbox', ...argv])
      expect([code, message.test(stderr.replace(/\s+/g, ' '))], stderr).to.deep.equal([EXIT.usage, true])
    })
  }

  it('fills itself, tells where it is and where the passwords are, and ends on an interrupt', async function () {
    this.timeout(60_000)
    const store = await FolderStore.open({ path: folder.path('archive'), create: true })
    await store.addProject('P1')
    await store.close()
    const start = (): ReturnType<Sandbox['spawn']> =>
      folder.spawn(['sandbox', '--port', '0', '--user', 'bob=member@P1', '--seed', 'archive'], {
        onStderr: (text, pid) => void (text.includes('Filled from') && process.kill(pid, 'SIGINT')),
      })
    const { code, stdout, stderr } = await start()
    expect(code, stderr).to.equal(EXIT.interrupted)
    expect(stdout).to.match(
      /XNAT sandbox at http:\/\/127\.0\.0\.1:\d+\nUsers: admin \(administrator\), bob\n/,
    )
    const passwords = folder.path('xnat-sandbox', 'passwords.txt')
    const text = readFileSync(passwords, 'utf8')
    expect(text).to.match(/^admin \w{20}\nbob \w{20}\n$/)
    expect(statSync(passwords).mode & 0o077).to.equal(0)
    for (const line of text.trim().split('\n')) expect(stdout + stderr).not.to.include(line.split(' ')[1])
    await start()
    expect(readFileSync(passwords, 'utf8')).to.equal(text)
  })
})
