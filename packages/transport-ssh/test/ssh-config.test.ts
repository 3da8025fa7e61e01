import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtemp, mkdir, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { ConfigError, InputError, NotSupportedError } from '@orbweaver/core'
import { parseDestination, resolveWay, type ResolvedHost } from '#src/config/resolve.js'
import { sshConfigSchema, type SshConfigInput } from '#src/config/schema.js'
import { skipTest } from '@orbweaver/core/testing'

describe('OpenSSH configuration', () => {
  let home = ''
  beforeEach(async () => {
    home = await realpath(await mkdtemp(join(tmpdir(), 'orbweaver-ssh-home-')))
    await mkdir(join(home, '.ssh', 'config.d'), { recursive: true })
  })
  afterEach(() => rm(home, { recursive: true }))

  const write = (text: string, name = 'config'): Promise<void> => writeFile(join(home, '.ssh', name), text)
  const way = (config: SshConfigInput): readonly ResolvedHost[] =>
    resolveWay(sshConfigSchema.parse({ configFile: '~/.ssh/config', ...config }), {
      home,
      localUser: 'me',
      agentSocket: '/run/agent',
      directory: '/site',
    })
  const target = (host: string, more: Partial<SshConfigInput> = {}): ResolvedHost => {
    const found = way({ host, ...more }).at(-1)
    if (found === undefined) throw new Error('no way')
    return found
  }

  it('is not needed', async () => {
    await write('')
    const host = target('login.example.edu')
    expect(host).to.deep.include({
      host: 'login.example.edu',
      port: 22,
      user: 'me',
      agent: '/run/agent',
      identitiesOnly: false,
      identitiesNamed: false,
    })
    expect(host.identityFiles).to.include(join(home, '.ssh', 'id_ed25519'))
    expect(host.knownHostsFiles).to.deep.equal([
      join(home, '.ssh', 'known_hosts'),
      join(home, '.ssh', 'known_hosts2'),
      '/etc/ssh/ssh_known_hosts',
      '/etc/ssh/ssh_known_hosts2',
    ])
  })

  it('gives the first value that applies, and says where it stands', async () => {
    await write(
      'User early\nHost login\n  HostName login.example.edu\n  Port 2200\n  User late\nHost *\n  Port 1\n  IdentityFile ~/a\n  IdentityFile %d/b-%r\n',
    )
    const host = target('login')
    expect(host).to.deep.include({ host: 'login.example.edu', port: 2200, user: 'early' })
    expect(host.identityFiles).to.deep.equal([join(home, 'a'), join(home, 'b-early')])
    expect(host.origins.get('host')).to.equal(`${join(home, '.ssh', 'config')}:3`)
    expect(host.origins.get('user')).to.equal(`${join(home, '.ssh', 'config')}:1`)
  })

  it('stands back behind the site file', async () => {
    await write('Host login\n  Port 2200\n  User someone\n  IdentityFile ~/a\n  ProxyJump gate\n')
    const host = target('ada@login:2022', { identityFile: './key', proxyJump: 'none' })
    expect(host).to.deep.include({
      user: 'ada',
      port: 2022,
      identityFiles: ['/site/key'],
      identitiesOnly: true,
    })
    expect(host.origins.get('port')).to.equal('site file')
  })

  it('goes through the hosts between, each with its own configuration', async () => {
    await write(
      'Host inner\n  ProxyJump one,ada@two:2022\nHost one\n  HostName one.example.edu\n  ProxyJump outer\nHost two\n  User other\n  ProxyJump nowhere\n',
    )
    const hosts = way({ host: 'inner' })
    expect(hosts.map(({ user, host, port }) => `${user}@${host}:${port}`)).to.deep.equal([
      'me@outer:22',
      'me@one.example.edu:22',
      'ada@two:2022',
      'me@inner:22',
    ])
  })

  it('notices a way in a circle', async () => {
    await write('Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n')
    expect(() => way({ host: 'a' })).to.throw(InputError)
  })

  it('refuses a ProxyCommand, names its line, and does not run it', async () => {
    await write(`Host login\n  ProxyCommand touch ${join(home, 'mark')}\n`)
    expect(() => way({ host: 'login' }))
      .to.throw(NotSupportedError)
      .with.property('message')
      .that.contains('config:2')
  })

  it('never runs what Match exec names, and says so', async () => {
    await write(`Match exec "touch ${join(home, 'mark')}"\n  Port 1\nMatch host login user me\n  Port 2\n`)
    const host = target('login')
    expect(host.port).to.equal(2)
    expect(host.notes.join()).to.contain('Match exec')
  })

  it('does not trust unknown hosts because OpenSSH was told to', async () => {
    await write('StrictHostKeyChecking no\n')
    expect(target('login').notes.join()).to.contain('StrictHostKeyChecking no')
  })

  it('names the line of a mistake', async () => {
    await write('Host login\n  IdentityFile "open\n')
    expect(() => way({ host: 'login' }))
      .to.throw(ConfigError)
      .with.property('message')
      .that.contains('config:2')
  })

  it('misses a file that was named', () => {
    expect(() => way({ host: 'login', configFile: '/nonexistent' })).to.throw(ConfigError)
  })

  it('takes no option for a host', () => {
    for (const text of ['-oProxyCommand=x', 'a b', '', 'user@', 'a\0b'])
      expect(() => parseDestination(text), text).to.throw(InputError)
    expect(parseDestination('ssh://ada@[::1]:2022/')).to.deep.equal({ host: '::1', user: 'ada', port: 2022 })
  })

  it('resolves as the ssh of this machine does', async function () {
    if (spawnSync('ssh', ['-V']).error !== undefined) skipTest(this, 'there is no ssh')
    await write(
      [
        'Include config.d/*.conf',
        'Host *.example.edu !no.example.edu',
        '  User = ada',
        '  Port 2201',
        'Host "quoted" plain',
        '  HostName %h.cluster.example.edu',
        '  IdentityFile "~/.ssh/key of %r"',
        'Match originalhost plain user bob',
        '  Port 77',
        'Match all',
        '  ServerAliveInterval 7 # with a comment',
        '  UserKnownHostsFile ~/.ssh/kh1 ~/.ssh/kh2',
      ].join('\n'),
    )
    await write('Host inc*\n  Port 99\n  IdentitiesOnly yes\n', 'config.d/a.conf')
    await write('Host included\n  Port 98\n  HostKeyAlias somebody\n', 'config.d/b.conf')
    for (const [alias, user] of [
      ['a.example.edu', undefined],
      ['no.example.edu', undefined],
      ['quoted', undefined],
      ['plain', 'bob'],
      ['included', undefined],
      ['A.EXAMPLE.edu', 'eve'],
    ] as const) {
      // `ssh -F` reads includes below the real home; so they are named in full.
      const text = `Include ${join(home, '.ssh', 'config.d')}/*.conf\n`
      const file = join(home, '.ssh', 'whole')
      const body = await import('node:fs/promises').then((fs) =>
        fs.readFile(join(home, '.ssh', 'config'), 'utf8'),
      )
      await writeFile(file, body.replace('Include config.d/*.conf\n', text))
      const args = ['-G', '-F', file, ...(user === undefined ? [] : ['-l', user]), alias]
      const said = new Map(
        execFileSync('ssh', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
          .split('\n')
          .map((line) => [line.split(' ', 1)[0] ?? '', line.slice(line.indexOf(' ') + 1)] as const),
      )
      const host = target(alias, { configFile: file, ...(user !== undefined && { user }) })
      expect(host.host.toLowerCase(), alias).to.equal(said.get('hostname'))
      expect(String(host.port), alias).to.equal(said.get('port'))
      if (host.origins.get('user') !== 'default') expect(host.user, alias).to.equal(said.get('user'))
      expect(host.identitiesOnly ? 'yes' : 'no', alias).to.equal(said.get('identitiesonly'))
      expect(host.hostKeyAlias, alias).to.equal(said.get('hostkeyalias'))
      expect(String(host.keepAliveMs / 1000), alias).to.equal(said.get('serveraliveinterval'))
    }
  })
})
