/** Certificates of hosts are judged as OpenSSH's own client judges them, against a real server that shows them. */

import { execFile, execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { AccessDeniedError } from '@orbweaver/core'
import { expect } from 'chai'
import { sshLabProblem, startSshLab, type RealSshLab } from '../../lab/ssh/ssh-lab.js'
import { skip } from '../../support/skip.js'

type KeyKind = 'ed25519' | 'ecdsa' | 'rsa'

interface Case {
  readonly title: string
  /** Options of `ssh-keygen -s`; the default is a certificate for 127.0.0.1. */
  readonly options?: readonly string[]
  readonly signer?: string
  /** Of the server's keys, the one that has a certificate. */
  readonly host?: KeyKind
  readonly known: (names: Names) => readonly string[]
  readonly setting?: string
  /** Through the jump host. */
  readonly behind?: true
  readonly trusted: boolean
}

interface Names {
  /** `[127.0.0.1]:PORT`. */
  readonly name: string
  /** Public key of an authority, as `type base64`. */
  readonly authority: (name: string) => string
  /** Of the server. */
  readonly key: (kind: KeyKind) => string
}

const FOR_HOST = ['-h', '-n', '127.0.0.1'] as const
const only = ({ authority }: Names): readonly string[] => [`@cert-authority * ${authority('ed25519')}`]

const CASES: readonly Case[] = [
  { title: 'a certificate of a known authority', known: only, trusted: true },
  {
    title: 'the authority has an ECDSA key',
    signer: 'ecdsa',
    known: ({ authority }) => [`@cert-authority * ${authority('ecdsa')}`],
    trusted: true,
  },
  {
    title: 'the authority has an RSA key',
    signer: 'rsa',
    known: ({ authority }) => [`@cert-authority * ${authority('rsa')}`],
    trusted: true,
  },
  {
    title: 'the authority has signed with SHA-1',
    signer: 'rsa',
    options: ['-t', 'ssh-rsa', ...FOR_HOST],
    known: ({ authority }) => [`@cert-authority * ${authority('rsa')}`],
    trusted: false,
  },
  { title: 'the least wanted of the keys has the certificate', host: 'rsa', known: only, trusted: true },
  { title: 'an ECDSA key has the certificate', host: 'ecdsa', known: only, trusted: true },
  {
    title: 'an ECDSA key has the certificate, and the RSA key of somebody else is known',
    host: 'ecdsa',
    known: (names) => [...only(names), `${names.name} ${names.authority('rsa')}`],
    trusted: true,
  },
  { title: 'it is for another name', options: ['-h', '-n', 'elsewhere'], known: only, trusted: false },
  {
    title: 'the host is one of its names',
    options: ['-h', '-n', 'elsewhere,127.0.0.1'],
    known: only,
    trusted: true,
  },
  {
    title: 'it names the host with its port, which is no name of a certificate',
    options: ['-h', '-n', '[127.0.0.1]:22'],
    known: only,
    trusted: false,
  },
  { title: 'it is for no name, which is any', options: ['-h'], known: only, trusted: true },
  { title: 'a name with a star stands for itself', options: ['-h', '-n', '*'], known: only, trusted: false },
  {
    title: 'it has expired',
    options: [...FOR_HOST, '-V', '20200101:20200201'],
    known: only,
    trusted: false,
  },
  {
    title: 'it is not valid yet',
    options: [...FOR_HOST, '-V', '20900101:20900201'],
    known: only,
    trusted: false,
  },
  {
    title: 'it is valid for ever',
    options: [...FOR_HOST, '-V', 'always:forever'],
    known: only,
    trusted: true,
  },
  { title: 'it is for a user', options: ['-n', '127.0.0.1'], known: only, trusted: false },
  {
    title: 'it has a condition that nobody knows',
    options: [...FOR_HOST, '-O', 'critical:odd@example.org=1'],
    known: only,
    trusted: false,
  },
  { title: 'another authority has signed it', signer: 'other', known: only, trusted: false },
  {
    title: 'the authority is known for other hosts',
    known: ({ authority }) => [`@cert-authority *.example.org ${authority('ed25519')}`],
    trusted: false,
  },
  {
    title: 'the authority is known for all hosts but this one',
    known: ({ authority }) => [`@cert-authority *,!127.0.0.1,![127.0.0.1]:* ${authority('ed25519')}`],
    trusted: false,
  },
  {
    title: 'the authority is known without a port',
    known: ({ authority }) => [`@cert-authority 127.0.0.1 ${authority('ed25519')}`],
    trusted: true,
  },
  {
    title: 'the key of the authority stands there as that of a host',
    known: ({ name, authority }) => [`${name} ${authority('ed25519')}`],
    trusted: false,
  },
  {
    title: 'the authority is revoked',
    known: (names) => [...only(names), `@revoked * ${names.authority('ed25519')}`],
    trusted: false,
  },
  {
    title: 'the authority is revoked, and the key itself is known',
    known: ({ name, authority, key }) => [
      `@cert-authority * ${authority('ed25519')}`,
      `@revoked * ${authority('ed25519')}`,
      `${name} ${key('ed25519')}`,
    ],
    trusted: false,
  },
  {
    title: 'the key in it is revoked',
    known: (names) => [...only(names), `@revoked * ${names.key('ed25519')}`],
    trusted: false,
  },
  {
    title: 'it has expired, and the key itself is known',
    options: [...FOR_HOST, '-V', '20200101:20200201'],
    known: (names) => [...only(names), `${names.name} ${names.key('ed25519')}`],
    trusted: true,
  },
  {
    title: 'the host has an alias, and the certificate is for that',
    options: ['-h', '-n', 'cluster'],
    known: ({ authority }) => [`@cert-authority cluster ${authority('ed25519')}`],
    setting: 'HostKeyAlias cluster',
    trusted: true,
  },
  {
    title: 'the host has an alias, and the certificate is for its address',
    known: ({ authority }) => [`@cert-authority cluster ${authority('ed25519')}`],
    setting: 'HostKeyAlias cluster',
    trusted: false,
  },
  { title: 'through a jump host', known: only, behind: true, trusted: true },
]

describe('certificates of hosts, over OpenSSH', function () {
  let lab: RealSshLab
  let plain: string

  before(async function () {
    const problem = sshLabProblem()
    if (problem !== undefined) skip(this, problem)
    lab = await startSshLab()
    plain = fs.readFileSync(at('login', 'sshd_config'), 'utf8')
    for (const [name, kind] of [
      ['ed25519', 'ed25519'],
      ['ecdsa', 'ecdsa'],
      ['rsa', 'rsa'],
      ['other', 'ed25519'],
    ] as const)
      execFileSync('ssh-keygen', ['-q', '-t', kind, '-N', '', '-C', name, '-f', at(`authority-${name}`)])
  })
  after(async () => {
    await lab?.stop()
  })

  for (const one of CASES) {
    it(`${one.title}: ${one.trusted ? 'trusted' : 'refused'}, as ssh does`, async () => {
      await show(one)
      const config = configure(one)
      const ours = await outcome(config)
      expect(ours.trusted, 'what ssh decides').to.equal(await askSsh(config))
      expect(ours.trusted, ours.message).to.equal(one.trusted)
    })
  }

  it('says why a certificate does not count', async () => {
    const expired = {
      title: '',
      options: [...FOR_HOST, '-V', '20200101:20200201'],
      known: only,
      trusted: false,
    }
    await show(expired)
    const { message } = await outcome(configure(expired))
    expect(message).to.match(
      /SHA256:\S+, is not known; its certificate authority is \(.*does not count: it has expired/,
    )
  })

  it('a server that offers nothing but its certificate is refused: ssh2 cannot prove its key', async () => {
    await show(
      { title: '', known: only, trusted: true },
      'HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com\n',
    )
    const config = configure({ title: '', known: only, trusted: true })
    expect(await askSsh(config)).to.equal(true)
    const transport = lab.connect('login', { configFile: config })
    const message = await transport.runner.run({ argv: ['true'] }).then(
      () => 'trusted',
      (error: unknown) => (error as Error).message,
    )
    expect(message).to.match(/no matching host key/)
  })

  function at(...names: readonly string[]): string {
    return path.join(lab.directory, ...names)
  }

  function publicKey(file: string): string {
    return fs.readFileSync(`${file}.pub`, 'utf8').split(' ').slice(0, 2).join(' ')
  }

  /** Starts the server anew with a certificate. */
  async function show(
    { options = FOR_HOST, signer = 'ed25519', host = 'ed25519' }: Case,
    more = '',
  ): Promise<void> {
    const key = at('login', `host_${host}`)
    const words = ['-q', '-s', at(`authority-${signer}`), '-I', 'login', ...options, `${key}.pub`]
    execFileSync('ssh-keygen', words, { stdio: 'ignore' })
    fs.writeFileSync(at('login', 'sshd_config'), `HostCertificate ${key}-cert.pub\n${more}${plain}`)
    await lab.kill('login')
    await lab.start('login')
  }

  function configure({ known, setting = '', behind }: Case): string {
    const file = at('certificates')
    const name = `[127.0.0.1]:${lab.port}`
    const lines = known({
      name,
      authority: (which) => publicKey(at(`authority-${which}`)),
      key: (kind) => publicKey(at('login', `host_${kind}`)),
    })
    const jump = `[127.0.0.1]:${lab.jumpPort} ${publicKey(at('jump', 'host_ed25519'))}`
    fs.writeFileSync(`${file}.known`, [...lines, jump, ''].join('\n'))
    const shared = [
      'HostName 127.0.0.1',
      `User ${lab.account}`,
      `IdentityFile ${at('user_key')}`,
      'IdentitiesOnly yes',
      `UserKnownHostsFile ${file}.known`,
      'GlobalKnownHostsFile none',
      'StrictHostKeyChecking yes',
      'UpdateHostKeys no',
    ]
    const own = [`Port ${lab.port}`, setting, behind === undefined ? '' : 'ProxyJump jump']
    const text = ['Host jump', `Port ${lab.jumpPort}`, 'Host login', ...own, 'Host *', ...shared, '']
    fs.writeFileSync(file, text.join('\n'))
    return file
  }

  async function askSsh(configFile: string): Promise<boolean> {
    const argv = ['-F', configFile, '-o', 'BatchMode=yes', 'login', 'true']
    const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      execFile('ssh', argv, (error, _stdout, said) => resolve({ code: error?.code ?? 0, stderr: said }))
    })
    if (code === 0) return true
    expect(stderr).to.match(/Host key verification failed|REVOKED/i)
    return false
  }

  async function outcome(
    configFile: string,
  ): Promise<{ readonly trusted: boolean; readonly message: string }> {
    const transport = lab.connect('login', { configFile })
    try {
      const { exitCode } = await transport.runner.run({ argv: ['true'] })
      return { trusted: exitCode === 0, message: 'trusted' }
    } catch (error) {
      if (!(error instanceof AccessDeniedError)) throw error
      expect(error.message).to.match(/host key of .* SHA256:/)
      return { trusted: false, message: error.message }
    } finally {
      await transport.close()
    }
  }
})
