import { startSandbox, type Sandbox as Server } from '@orbweaver/xnat-sandbox'
import { expect } from 'chai'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { runMain } from '#src/main.js'
import { EXIT } from '#src/exit.js'
import { Sandbox, at, type CliResult } from './helpers/cli.js'
import { memoryTerminal } from './helpers/memory-terminal.js'

const SECRET = 'planted-secret-3f9c'
const PLACE = ['--project', 'P1', '--subject', 'S1', '--session', 'E1']
const SCAN = [...PLACE, '--scan', '4']

describe('orbweaver xnat', function () {
  this.timeout(30_000)
  let folder: Sandbox
  let server: Server
  beforeEach(async () => {
    folder = new Sandbox()
    const users = [{ name: 'ann', password: SECRET, projects: { P1: 'owner' as const } }]
    server = await startSandbox({ directory: folder.path('server'), users })
    const login = `${server.url}/data`
    const { password = '' } = server.users.admin ?? {}
    const authorization = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`
    const put = async (path: string): Promise<void> => {
      const { ok } = await fetch(login + path, { method: 'PUT', headers: { authorization } })
      expect(ok, path).to.equal(true)
    }
    await put('/projects/P1')
    await put('/projects/P1/users/Owners/ann')
    await put('/projects/P1/subjects/S1')
    await put('/projects/P1/subjects/S1/experiments/E1?xsiType=xnat:mrSessionData')
    await put('/projects/P1/subjects/S1/experiments/E1/scans/4?xsiType=xnat:mrScanData&type=T1w')
    mkdirSync(folder.path('in', 'deep'), { recursive: true })
    writeFileSync(folder.path('in', 'a.txt'), 'a')
    writeFileSync(folder.path('in', 'deep', 'b.txt'), 'bb')
  })
  afterEach(async () => {
    await server.close()
    folder.remove()
  })

  async function xnat(
    argv: readonly string[],
    change: Record<string, string> = {},
    tty = false,
  ): Promise<CliResult> {
    const { terminal, out, err } = memoryTerminal({ tty })
    const environment = {
      HOME: folder.directory, XNAT_HOST: server.url, XNAT_USER: 'ann', XNAT_PASS: SECRET, ...change,
    } // prettier-ignore
    const { signal } = new AbortController()
    const { directory } = folder
    const code = await runMain({
      argv: ['xnat', ...argv],
      terminal: () => terminal,
      environment,
      directory,
      signal,
    })
    expect(out() + err()).not.to.include(SECRET)
    return { code, signal: null, stdout: out(), stderr: err() }
  }
  async function json(
    argv: readonly string[],
  ): Promise<{ readonly code: number | null; readonly value: unknown }> {
    const { code, stdout, stderr } = await xnat([...argv, '--json'])
    expect(stdout, stderr).not.to.equal('')
    return { code, value: JSON.parse(stdout) }
  }
  const put = (): Promise<CliResult> => xnat(['put', 'in', ...SCAN, '--resource', 'TXT'])

  it('lists every level, as a table, as CSV and as JSON', async () => {
    expect((await put()).code).to.equal(EXIT.good)
    expect((await xnat(['list', 'projects', '--csv'])).stdout).to.match(/^id,name,description\nP1,/)
    expect((await xnat(['list', 'subjects', '--project', 'P1'])).stdout).to.match(/LABEL[\s\S]*S1/)
    expect((await xnat(['list', 'sessions', '--project', 'P1', '--csv'])).stdout).to.match(/E1,S1,/)
    expect((await xnat(['list', 'scans', ...PLACE, '--type', 't1*', '--csv'])).stdout).to.match(/\n4,T1w,/)
    expect(
      (await xnat(['list', 'scans', ...PLACE, '--type', 'T2*', '--csv'])).stdout.split('\n'),
    ).to.have.length(2)
    expect((await xnat(['list', 'resources', ...SCAN, '--csv'])).stdout).to.match(/\nTXT,/)
    const { value } = await json(['list', 'files', ...SCAN, '--resource', 'TXT'])
    expect(at(value, 'schema')).to.equal('orbweaver/xnat-list/1')
    expect([at(value, 'items.0.path'), at(value, 'items.1.path')].sort()).to.deep.equal([
      'a.txt',
      'deep/b.txt',
    ])
    expect(at(value, 'items.0.md5')).to.match(/^[0-9a-f]{32}$/)
  })

  it('sends and fetches one resource, and overwrites only when told', async () => {
    await put()
    const again = await put()
    expect([again.code, /CONFLICT/.test(again.stderr)]).to.deep.equal([EXIT.failed, true])
    writeFileSync(folder.path('in', 'a.txt'), 'changed')
    expect((await xnat(['put', 'in/a.txt', ...SCAN, '--resource', 'TXT', '--overwrite'])).code).to.equal(
      EXIT.good,
    )
    expect((await xnat(['get', ...SCAN, '--resource', 'TXT', '--out', 'out'])).code).to.equal(EXIT.good)
    expect(readFileSync(folder.path('out', 'a.txt'), 'utf8')).to.equal('changed')
    expect(readFileSync(folder.path('out', 'deep', 'b.txt'), 'utf8')).to.equal('bb')
    expect((await xnat(['get', ...SCAN, '--resource', 'NONE', '--out', 'out'])).code).to.equal(EXIT.failed)
  })

  it('shows on a terminal how far a transfer is, and nowhere else', async () => {
    const place = [...SCAN, '--resource', 'TXT']
    for (const argv of [
      ['put', 'in', ...place],
      ['get', ...place, '--out', 'out'],
      ['sync', 'down', 'down', ...SCAN],
      ['sync', 'up', 'down', ...SCAN],
    ]) {
      const again = argv[0] === 'put' ? ['--overwrite'] : []
      const watched = await xnat([...argv, ...again], {}, true)
      expect(watched.code, watched.stderr).to.equal(EXIT.good)
      expect(watched.stderr, argv[0]).to.match(/looking/)
      // The cursor is there again, and nothing is left below it.
      expect(watched.stderr.endsWith('\u001b[J\u001b[?25h'), argv[0]).to.equal(true)
      expect((await xnat([...argv, ...again])).stderr, argv[0]).to.equal('')
      expect((await xnat([...argv, ...again, '--json'], {}, true)).stderr, argv[0]).to.equal('')
    }
  })

  it('says in JSON what moved', async () => {
    const place = [...SCAN, '--resource', 'TXT']
    expect(at((await json(['put', 'in', ...place])).value, 'bytes')).to.equal(3)
    expect(at((await json(['get', ...place, '--out', 'out'])).value, 'bytes')).to.equal(3)
    const { value } = await json(['sync', 'down', 'down', ...SCAN])
    expect([at(value, 'movedBytes'), at(value, 'failed')]).to.deep.equal([3, []])
  })

  it('syncs both ways, reports conflicts, and says when to try again', async () => {
    await put()
    const down = await json(['sync', 'down', 'copy', ...PLACE])
    expect([down.code, at(down.value, 'moved.length')]).to.deep.equal([EXIT.good, 2])
    const file = folder.path('copy', 'scans', '4', 'resources', 'TXT', 'a.txt')
    writeFileSync(file, 'mine')
    const look = await json(['sync', 'up', 'copy', ...PLACE, '-n'])
    expect([at(look.value, 'dryRun'), at(look.value, 'moved.length')]).to.deep.equal([true, 1])
    writeFileSync(folder.path('in', 'a.txt'), 'theirs')
    await xnat(['put', 'in/a.txt', ...SCAN, '--resource', 'TXT', '--overwrite'])
    const conflict = await xnat(['sync', 'up', 'copy', ...PLACE])
    expect([conflict.code, /conflict scans\/4/.test(conflict.stdout)], conflict.stdout).to.deep.equal([
      EXIT.failed,
      true,
    ])
    expect((await xnat(['sync', 'up', 'copy', ...PLACE, '--on-conflict', 'local'])).code).to.equal(EXIT.good)
    await xnat(['get', ...SCAN, '--resource', 'TXT', '--out', 'out'])
    expect(readFileSync(folder.path('out', 'a.txt'), 'utf8')).to.equal('mine')
    server.setFaults({ lieRate: 1 })
    writeFileSync(file, 'mine again')
    const lied = await json(['sync', 'up', 'copy', ...PLACE])
    expect([lied.code, at(lied.value, 'failed.0.code')]).to.deep.equal([EXIT.temporary, 'INTEGRITY'])
  })

  it('changes fields of what is there, and makes nothing', async () => {
    expect((await xnat(['set', 'quality=questionable', ...SCAN])).code).to.equal(EXIT.good)
    expect((await xnat(['list', 'scans', ...PLACE, '--csv'])).stdout).to.match(/\n4,T1w,questionable,/)
    const missing = await xnat(['set', 'quality=usable', ...PLACE, '--scan', '99'])
    expect([missing.code, /NOT_FOUND/.test(missing.stderr)]).to.deep.equal([EXIT.failed, true])
    expect((await xnat(['list', 'scans', ...PLACE, '--csv'])).stdout).not.to.match(/\n99,/)
  })

  it('issues a token into a file that only its owner reads, which works as a login', async () => {
    const { code, stdout, stderr } = await xnat(['tokens', 'issue', '--out', 'token.sh'])
    expect(code, stderr).to.equal(EXIT.good)
    expect(statSync(folder.path('token.sh')).mode & 0o077).to.equal(0)
    const lines = readFileSync(folder.path('token.sh'), 'utf8')
    const value = (name: string): string =>
      new RegExp(`^export ${name}='?([^'\\n]*)`, 'm').exec(lines)?.[1] ?? ''
    const [user, pass] = [value('XNAT_USER'), value('XNAT_PASS')]
    expect(pass.length).to.be.greaterThan(8)
    expect(stdout + stderr).not.to.include(pass)
    const login = { XNAT_USER: user, XNAT_PASS: pass }
    expect((await xnat(['list', 'projects', '--csv'], login)).stdout).to.match(/P1/)
    expect((await xnat(['tokens', 'list'])).stdout).to.include(user)
    expect((await xnat(['tokens', 'end', user])).code).to.equal(EXIT.good)
    expect((await xnat(['list', 'projects'], login)).code).to.equal(EXIT.failed)
  })

  it('takes the login from ~/.netrc, and not from one that others can read', async () => {
    const netrc = folder.path('.netrc')
    writeFileSync(netrc, `machine 127.0.0.1 login ann password ${SECRET}\n`, { mode: 0o600 })
    const none = { XNAT_USER: '', XNAT_PASS: '' }
    expect((await xnat(['list', 'projects'], none)).code).to.equal(EXIT.good)
    const { chmodSync } = await import('node:fs')
    chmodSync(netrc, 0o644)
    const { code, stderr } = await xnat(['list', 'projects'], none)
    expect([code, /ACCESS_DENIED/.test(stderr)]).to.deep.equal([EXIT.failed, true])
  })

  it('finds the sandbox to be as expected, asks before it writes, and leaves nothing', async () => {
    const asked = await xnat(['check-server', '--project', 'P1'])
    expect([asked.code, asked.stdout]).to.deep.equal([EXIT.usage, ''])
    const { code, value } = await json(['check-server', '--project', 'P1', '--yes'])
    const checks = at(value, 'checks') as { same: boolean; name: string; server: string }[]
    expect(checks.filter(({ same }) => !same)).to.deep.equal([])
    expect([code, checks.length]).to.deep.equal([EXIT.good, 11])
    expect(
      (await xnat(['list', 'subjects', '--project', 'P1', '--csv'])).stdout.trim().split('\n'),
    ).to.have.length(2)
  })

  it('says where a server differs', async () => {
    server.setFaults({ lieRate: 1 })
    const { code, stdout } = await xnat(['check-server', '--project', 'P1', '--yes'])
    expect([code, /differs sending a file twice/.test(stdout)], stdout).to.deep.equal([EXIT.failed, true])
  })

  const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
    [['list', 'scans', '--project', 'P1'], /--session/],
    [['list', 'files', ...PLACE], /--resource/],
    [['list', 'projects', '--csv', '--json'], /two forms/],
    [['get', ...PLACE, '--out', 'out'], /--resource/],
    [['put', 'in', ...PLACE], /--resource/],
    [['sync', 'down', 'copy'], /--project/],
    [['sync', 'down', 'copy', '--project', 'P1', '--session', 'E1'], /--subject/],
    [['set', 'quality', ...SCAN], /field=value/],
    [['tokens', 'issue'], /--out/],
    [['list', 'projects', '--url', 'https://ann:pw@xnat.example.edu'], /holds a login/],
    [['list', 'projects', '--url', 'xnat'], /no URL/],
  ]
  for (const [argv, message] of WRONG) {
    it(`refuses ${argv.join(' ')}`, async () => {
      const { code, stderr, stdout } = await xnat(argv)
      expect([code, message.test((stderr + stdout).replace(/\s+/g, ' '))], stderr + stdout).to.deep.equal([
        EXIT.usage,
        true,
      ])
    })
  }
})
