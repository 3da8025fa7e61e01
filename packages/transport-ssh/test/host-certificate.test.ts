import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AccessDeniedError } from '@orbweaver/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { localEnvironment, resolveWay } from '#src/config/resolve.js'
import { sshConfigSchema } from '#src/config/schema.js'
import { askForCertificate } from '#src/keys/ask-certificate.js'
import { certificateProblem, readCertificate } from '#src/keys/host-certificate.js'
import { HostKeys } from '#src/keys/host-key.js'
import { judgeCertificate, parseKnownHosts } from '#src/keys/known-hosts.js'
import { HOST_KEY, OF_USER, SIGNED } from './support/certificates.js'

const NOW = Date.UTC(2026, 0, 1) / 1000
const bytes = (base64: string): Buffer => Buffer.from(base64, 'base64')
const problem = (data: Buffer, name = 'login.example.org', now = NOW): string | undefined =>
  certificateProblem(readCertificate(data), name, now)

describe('host certificates', () => {
  for (const [kind, { authority, certificate }] of Object.entries(SIGNED)) {
    it(`signed with ${kind} are read as ssh-keygen wrote them, and count for their names and their time`, () => {
      const read = readCertificate(bytes(certificate))
      expect(read.key.equals(bytes(HOST_KEY))).to.equal(true)
      expect(read.authority.equals(bytes(authority))).to.equal(true)
      expect(read).to.deep.include({ id: `login-${kind}`, principals: ['login.example.org', 'login'] })
      expect(problem(bytes(certificate))).to.equal(undefined)
      expect(problem(bytes(certificate), 'login')).to.equal(undefined)
      expect(problem(bytes(certificate), 'other.example.org')).to.match(
        /^it is for "login.example.org", "login", not/,
      )
      expect(problem(bytes(certificate), 'login', Date.UTC(2019, 11, 31) / 1000)).to.match(
        /^it is valid from 2020/,
      )
      expect(problem(bytes(certificate), 'login', Date.UTC(2050, 0, 1) / 1000)).to.match(
        /^it has expired on 2050/,
      )
    })

    it(`signed with ${kind} say nothing any more when any byte of them is changed, cut off or added`, () => {
      const whole = bytes(certificate)
      for (let index = 0; index < whole.length; index += 1) {
        const changed = Buffer.from(whole)
        changed[index] = (changed[index] ?? 0) ^ (1 << (index % 8))
        expect(
          () => expect(problem(changed), `byte ${index}`).to.equal(undefined),
          `byte ${index}`,
        ).to.throw()
      }
      fc.assert(
        fc.property(
          fc.nat(whole.length - 1),
          fc.uint8Array({ minLength: 1, maxLength: 40 }),
          (length, more) => {
            expect(() => readCertificate(whole.subarray(0, length))).to.throw()
            expect(() => readCertificate(Buffer.concat([whole, more]))).to.throw()
          },
        ),
        { numRuns: 200 },
      )
    })
  }

  it('are not those of users, nor anything else', () => {
    expect(problem(bytes(OF_USER))).to.equal('it is not for a host')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (data) => {
        expect(() => readCertificate(Buffer.from(data))).to.throw()
      }),
    )
    expect(() => readCertificate(bytes(HOST_KEY))).to.throw()
  })

  it('count for who trusts their authority for the host, and for nobody else', () => {
    const { authority, certificate } = SIGNED.ed25519
    const read = readCertificate(bytes(certificate))
    const verdict = (...lines: readonly string[]): string =>
      judgeCertificate(
        parseKnownHosts([{ path: 'known', text: lines.join('\n') }]),
        { host: 'Login.Example.org', port: 2222, alias: undefined },
        read,
        NOW,
      ).verdict
    const line = `ssh-ed25519 ${authority}`
    expect(verdict()).to.equal('unknown')
    expect(verdict(`@cert-authority *.example.org ${line}`)).to.equal('certified')
    expect(verdict(`@cert-authority [login.example.org]:2222 ${line}`)).to.equal('certified')
    expect(verdict(`@cert-authority [login.example.org]:22 ${line}`)).to.equal('unknown')
    expect(verdict(`login.example.org ${line}`)).to.equal('unknown')
    expect(verdict(`@cert-authority * ${line}`, `@revoked * ${line}`)).to.equal('revoked')
    expect(verdict(`@cert-authority * ${line}`, `@revoked * ssh-ed25519 ${HOST_KEY}`)).to.equal('revoked')
    expect(verdict(`@cert-authority * ssh-ed25519 ${HOST_KEY}`)).to.equal('unknown')
  })
})

describe('a host with a certificate', () => {
  const folders: string[] = []
  after(() => {
    for (const folder of folders) rmSync(folder, { recursive: true })
  })
  const keysOf = (host: string): HostKeys => {
    const folder = mkdtempSync(join(tmpdir(), 'orbweaver-known-'))
    folders.push(folder)
    const file = join(folder, 'known_hosts')
    writeFileSync(file, `@cert-authority *.example.org ssh-ed25519 ${SIGNED.ed25519.authority}\n`)
    const config = sshConfigSchema.parse({ host, configFile: 'none' })
    const [resolved] = resolveWay(config, localEnvironment(undefined, folder))
    if (resolved === undefined) throw new Error('no host')
    return new HostKeys({ ...resolved, knownHostsFiles: [file] }, [])
  }

  it('is trusted for the very key in it', () => {
    const keys = keysOf('login.example.org')
    expect(keys.wantsCertificate).to.equal(true)
    keys.consider(bytes(SIGNED.ed25519.certificate))
    expect(keys.check(bytes(HOST_KEY))).to.equal(undefined)
    expect(keys.seen?.by).to.match(/certificate "login-ed25519" of the authority in .*known_hosts:1/)
  })

  it('is refused when the connection proves another key, without a certificate, and under another name', () => {
    const stolen = keysOf('login.example.org')
    stolen.consider(bytes(SIGNED.ed25519.certificate))
    expect(stolen.check(bytes(SIGNED.ed25519.authority))).to.be.instanceOf(AccessDeniedError)
    expect(keysOf('login.example.org').check(bytes(HOST_KEY))).to.be.instanceOf(AccessDeniedError)
    const other = keysOf('other.example.org')
    other.consider(bytes(SIGNED.ed25519.certificate))
    expect(other.check(bytes(HOST_KEY))?.message).to.contain('does not count: it is for "login.example.org"')
    const broken = keysOf('login.example.org')
    broken.consider(Buffer.from('no certificate'))
    expect(broken.check(bytes(HOST_KEY))).to.be.instanceOf(AccessDeniedError)
    expect(keysOf('elsewhere.org').wantsCertificate).to.equal(false)
  })
})

describe('asking a server for its certificate', () => {
  const ask = async (serve: (socket: Socket) => void, timeoutMs = 30_000): Promise<Buffer | undefined> => {
    const server = createServer(serve)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    try {
      return await askForCertificate(socket, timeoutMs, new AbortController().signal)
    } finally {
      await new Promise((resolve) => server.close(resolve))
      expect(socket.destroyed).to.equal(true)
    }
  }
  const say = (text: string | Buffer) => (socket: Socket) => {
    socket.resume().on('error', () => undefined) // the client went away
    socket.write(text)
  }
  const end = (text: string | Buffer) => (socket: Socket) => {
    socket.resume().on('error', () => undefined) // the client went away
    socket.end(text)
  }

  it('gets none from what goes away, is no SSH, or speaks it wrongly', async () => {
    expect(await ask((socket) => socket.destroy())).to.equal(undefined)
    expect(await ask(end(''))).to.equal(undefined)
    expect(await ask(end('HTTP/1.1 400 Bad Request\r\n\r\n'))).to.equal(undefined)
    expect(await ask(say('no end of line'.repeat(40_000)))).to.equal(undefined)
    expect(await ask(say('a line\n'.repeat(2_000)))).to.equal(undefined)
    expect(await ask(say(Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(64, 0xff)])))).to.equal(
      undefined,
    )
    expect(await ask(end(Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(64, 0)])))).to.equal(
      undefined,
    )
  })

  it('does not wait for ever, and stops at once when it is told to', async () => {
    expect(await ask(say('SSH-2.0-silent\r\n'), 50)).to.equal(undefined)
    const stop = new AbortController()
    const server = createServer((socket) => {
      socket.resume().on('error', () => undefined) // the client went away
      socket.once('data', () => stop.abort(new Error('enough')))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const ended = await askForCertificate(socket, 60_000, stop.signal).then(
      () => 'nothing',
      (error: unknown) => (error as Error).message,
    )
    expect(ended).to.equal('enough')
    await new Promise((resolve) => server.close(resolve))
  })
})
