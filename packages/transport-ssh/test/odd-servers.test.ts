import { createServer, type AddressInfo } from 'node:net'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { AccessDeniedError, TransportUnavailableError } from '@orbweaver/core'
import { startLab, type SshLab } from './support/lab.js'
import { temporaryKey, type Oddities } from './support/server.js'

const BIG = Buffer.alloc(6 * 1024 ** 2, 'every block is unlike the others? no, but long. ')

describe('odd servers', () => {
  let lab: SshLab | undefined
  const start = async (
    oddities: Oddities = {},
    config: Parameters<typeof startLab>[1] = {},
  ): Promise<SshLab> => (lab = await startLab(oddities, config))
  afterEach(async () => {
    await lab?.dispose()
    lab = undefined
  })

  const rejection = async (promise: Promise<unknown>): Promise<Error> =>
    await promise.then(
      () => {
        throw new Error('it did not fail')
      },
      (error: unknown) => error as Error,
    )
  const sh = async (script: string): Promise<string> => {
    const { stdout } = await (lab as SshLab).transport.runner.run({ argv: ['/bin/sh', '-c', script] })
    return stdout
  }

  it('are told apart from the programs they run, however much they greet', async () => {
    await start({ noise: 'Welcome\nno newline at the end', banner: 'Keep out\n' })
    expect(await sh('echo only this')).to.equal('only this\n')
  })

  it('may tell the end of a program before its output', async () => {
    await start({ exitFirst: true })
    expect(await sh('echo late; exit 0')).to.equal('late\n')
  })

  it('may be slow to start a program', async () => {
    await start({ slowMs: 300 })
    expect(await sh('echo at last')).to.equal('at last\n')
  })

  it('may give programs no group of their own: they are ended all the same', async () => {
    const { transport, folder } = await start({ noGroups: true })
    const file = join(folder, 'pid')
    const argv = ['/bin/sh', '-c', 'echo $$ >"$1"; sleep 300 & wait', 'sh', file]
    await rejection(transport.runner.run({ argv, timeoutMs: 1000 }))
    const pid = (await readFile(file, 'utf8')).trim()
    expect(await sh(`kill -0 ${pid} 2>/dev/null || echo gone`)).to.equal('gone\n')
  })

  it('are asked for no more channels than they allow, and many programs run over one login', async () => {
    const { server } = await start({ maxSessions: 3 })
    const said = await Promise.all(Array.from({ length: 20 }, (_, index) => sh(`echo ${index}`)))
    expect(said.join('')).to.equal(Array.from({ length: 20 }, (_, index) => `${index}\n`).join(''))
    expect(server.logins).to.equal(1)
  })

  for (const direction of ['to', 'from'] as const) {
    it(`may drop the connection in the middle of a transfer ${direction} them: it goes on where it was`, async () => {
      const { server, transport, folder, localFolder } = await start()
      const [far, near] = [join(folder, 'big'), join(localFolder, 'big')]
      if (direction === 'to') {
        const sha256 = createHash('sha256').update(BIG).digest('hex')
        server.cutAfterBytes(3 * 1024 ** 2)
        await transport.files.write(
          far,
          Readable.from([BIG.subarray(0, 4e6), BIG.subarray(4e6)], { objectMode: false }),
          {
            path: 'big',
            bytes: BIG.length,
            checksum: { algorithm: 'sha256', hex: sha256 },
          },
        )
        expect((await readFile(far)).equals(BIG)).to.equal(true)
        server.cutAfterBytes(5 * 1024 ** 2)
        await writeFile(near, BIG)
        await transport.files.put(near, join(folder, 'again'))
        expect((await readFile(join(folder, 'again'))).equals(BIG)).to.equal(true)
        expect(server.logins).to.equal(3)
      } else {
        await writeFile(far, BIG)
        const stream = await transport.files.open(far)
        const rest = buffer(stream)
        server.cut()
        expect((await rest).equals(BIG)).to.equal(true)
        expect(server.logins).to.be.above(1)
      }
    })
  }

  it('may drop the connection at any time: files are read and written all the same', async () => {
    const { server, transport, folder } = await start()
    await transport.files.mkdir(folder) // a first login that breaks is told at once
    for (let round = 0; round < 6; round += 1) {
      const path = join(folder, 'state.json')
      const call = transport.files.writeAtomic(path, `round ${round}`)
      setTimeout(() => server.cut(), round * 12)
      await call
      expect(await transport.files.read(path)).to.equal(`round ${round}`)
      await transport.files.mkdir(join(folder, `made ${round}`))
    }
    const listed = await transport.files.list(folder)
    expect(listed.filter(({ kind }) => kind === 'folder')).to.have.length(6)
  })

  it('may drop the connection under a command: its end is unknown, and it is not run again', async () => {
    const { server, transport, folder } = await start()
    const mark = join(folder, 'mark')
    const argv = ['/bin/sh', '-c', 'echo ran >>"$1"; sleep 300', 'sh', mark]
    const run = transport.runner.run({ argv, timeoutMs: 2000 })
    const ended = rejection(run)
    while ((await readFile(mark, 'utf8').catch(() => '')) === '')
      await new Promise((resolve) => setTimeout(resolve, 5))
    server.cut()
    expect(await ended).to.be.instanceOf(TransportUnavailableError)
    expect(await sh('echo alive')).to.equal('alive\n')
    expect(await readFile(mark, 'utf8')).to.equal('ran\n')
  })

  it('may be away for a while: calls wait for them, within limits', async () => {
    const { server, transport, folder } = await start({}, { reconnectSeconds: 20 })
    await transport.files.mkdir(join(folder, 'a'))
    server.refuse(true)
    server.cut()
    setTimeout(() => server.refuse(false), 700)
    expect(await transport.files.exists(join(folder, 'a'))).to.equal(true)
  })

  it('may be away from the start: the first call says so at once', async () => {
    const { server, connect } = await start()
    server.refuse(true)
    expect(await rejection(connect().files.exists('/'))).to.be.instanceOf(TransportUnavailableError)
  })

  it('may refuse a key: it is offered once, and not again at once', async () => {
    const { server, home, connect } = await start()
    await writeFile(join(home, 'wrong'), temporaryKey().private, { mode: 0o600 })
    const transport = connect({ identityFile: '~/wrong' })
    const first = await rejection(transport.files.exists('/'))
    expect(first).to.be.instanceOf(AccessDeniedError)
    expect(first.message).to.contain('wrong')
    server.refuse(true)
    expect(await rejection(transport.files.exists('/'))).to.equal(first)
  })

  it('may ask questions: a person answers them, and without one they are refused', async () => {
    const keyboard = [{ prompt: 'Second factor: ', echo: false, answer: '123456' }]
    const { connect } = await start({ keyboard })
    const asked: string[] = []
    const ask = (question: string): Promise<string> => {
      asked.push(question)
      return Promise.resolve('123456')
    }
    expect(await connect({}, { ask }).files.exists('/')).to.equal(true)
    expect(asked.join()).to.contain('Second factor')
    expect(await rejection(connect().files.exists('/'))).to.be.instanceOf(AccessDeniedError)
  })

  it('may ask several things, and wait longer for a person than for a login', async () => {
    const keyboard = [
      { prompt: 'Token: ', echo: true, answer: '123' },
      { prompt: 'PIN: ', echo: false, answer: '456' },
    ]
    const { connect } = await start({ keyboard })
    const shown: (readonly [string, boolean])[] = []
    const answers = ['123', '456']
    const ask = async (question: string, { echo }: { readonly echo: boolean }): Promise<string> => {
      shown.push([question, echo])
      // Twice as long as a login may take.
      await new Promise((resolve) => setTimeout(resolve, 1600))
      return answers[shown.length - 1] ?? ''
    }
    expect(await connect({ connectTimeoutSeconds: 0.8 }, { ask }).files.exists('/')).to.equal(true)
    expect(shown.map(([question, echo]) => [question.replace(/.*\) /s, ''), echo])).to.deep.equal([
      ['Token: ', true],
      ['PIN: ', false],
    ])
    const wrong = await rejection(connect({}, { ask: async () => 'no' }).files.exists('/'))
    expect(wrong).to.be.instanceOf(AccessDeniedError)
  })

  it('may take a connection and say nothing: the login is given up in its time, also where a person could be asked', async () => {
    const silent = createServer((socket) => void socket.resume())
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = silent.address() as AddressInfo
      const { connect } = await start()
      const ask = async (): Promise<string> => ''
      const error = await rejection(connect({ port, connectTimeoutSeconds: 0.3 }, { ask }).files.exists('/'))
      expect(error).to.be.instanceOf(TransportUnavailableError)
      expect(error.message).to.contain('no login within 0.3 s')
    } finally {
      await new Promise((resolve) => silent.close(resolve))
    }
  })

  it('are never trusted unasked', async () => {
    const { server, home, connect } = await start()
    const file = join(home, '.ssh', 'known_hosts')
    const line = await readFile(file, 'utf8')
    const other = temporaryKey().public
    for (const [text, word] of [
      ['', 'not known'],
      [`[127.0.0.1]:${server.port} ${other.type} ${other.getPublicSSH().toString('base64')}\n`, 'changed'],
      [`${line}@revoked * ${line.split(' ').slice(1).join(' ')}`, 'revoked'],
      [`@cert-authority * ${line.split(' ').slice(1).join(' ')}`, 'not known'],
    ] as const) {
      await writeFile(file, text)
      const error = await rejection(connect().files.exists('/'))
      expect(error).to.be.instanceOf(AccessDeniedError)
      expect(error.message).to.contain(word).and.contain('SHA256:')
      expect(error).to.have.property('hint').that.is.a('string')
    }
    expect(server.logins, 'nobody logged in').to.equal(0)
  })

  it('send many small files together', async () => {
    const { transport, folder } = await start()
    const target = join(folder, 'inputs', 't1')
    const names = Array.from({ length: 300 }, (_, index) => `series ${index % 7}/img-${index} $(x).dcm`)
    const batch = transport.files.batch?.(target)
    if (batch === undefined) throw new Error('no batch')
    const entry = (path: string) => ({ path, bytes: Buffer.byteLength(path) })
    await Promise.all(names.map((path) => batch.write(path, Readable.from([Buffer.from(path)]), entry(path))))
    expect(await transport.files.exists(target)).to.equal(false)
    await batch.finish()
    await batch.abandon()
    const listed = await transport.files.list(join(folder, 'inputs'))
    expect(listed.filter(({ kind }) => kind === 'file')).to.have.length(300)
    const more = transport.files.batch?.(target)
    await more?.write('series 0/new', Readable.from([Buffer.from('new')]), { path: 'new', bytes: 3 })
    await more?.finish()
    expect((await transport.files.list(target)).filter(({ kind }) => kind === 'file')).to.have.length(301)
  })

  it('may drop the connection in the middle of a batch: whoever sends it is told, and nobody else', async () => {
    const { server, transport, folder } = await start()
    const send = async (target: string): Promise<void> => {
      const batch = transport.files.batch?.(target)
      if (batch === undefined) throw new Error('no batch')
      try {
        for (let index = 0; index < 12; index += 1) {
          const entry = { path: `file-${index}`, bytes: 500_000 }
          await batch.write(entry.path, Readable.from([BIG.subarray(0, entry.bytes)]), entry)
        }
        await batch.finish()
      } finally {
        await batch.abandon()
      }
    }
    server.cutAfterBytes(2 * 1024 ** 2)
    expect(await rejection(send(join(folder, 'cut')))).to.be.instanceOf(TransportUnavailableError)
    await send(join(folder, 'whole'))
    expect(await readdir(folder))
      .to.include('whole')
      .and.not.include('cut')
  })
})
