/** What ssh2 does when a connection has just gone, one case each, with a client that is none. */

import { EventEmitter } from 'node:events'
import { expect } from 'chai'
import type { Client, SFTPWrapper } from 'ssh2'
import { TransportUnavailableError } from '@orbweaver/core'
import { SftpRefused, SshConnection } from '#src/connection/connection.js'

type Answer<T> = (error: Error | undefined, value?: T) => void

class FakeClient extends EventEmitter {
  sftp: (done: Answer<SFTPWrapper>) => void = () => undefined
  exec: (command: string, done: Answer<EventEmitter>) => void = () => undefined
  end(): void {
    this.emit('close')
  }
}

/** An SFTP session that keeps every request to itself. */
class SilentSession extends EventEmitter {
  asked = 0
  stat(): void {
    this.asked += 1
  }
}

describe('a kept connection', () => {
  let connection: SshConnection
  let clients: FakeClient[]
  /** @param shapes - what the first, second, … client does */
  const start = (...shapes: readonly Partial<FakeClient>[]): void => {
    clients = []
    connection = new SshConnection(
      async () => {
        const client = Object.assign(new FakeClient(), shapes[Math.min(clients.length, shapes.length - 1)])
        clients.push(client)
        return { client: client as unknown as Client, end: () => undefined }
      },
      { name: 'tester@nowhere', maxSessions: 4, reconnectMs: 5000, logins: { burst: 100, everyMs: 1 } },
    )
  }
  afterEach(() => connection.close())

  const failure = async (promise: Promise<unknown>): Promise<Error> =>
    promise.then(
      () => expect.fail('it did not fail'),
      (error: unknown) => error as Error,
    )
  const notConnected = (): never => {
    throw new Error('Not connected')
  }
  const lost = <T>(done: Answer<T>, index: number): void => {
    clients[index]?.emit('close')
    done(new Error('No response from server'))
  }
  const good: Partial<FakeClient> = {
    sftp: (done) => done(undefined, new SilentSession() as unknown as SFTPWrapper),
    exec: (_command, done) => done(undefined, new EventEmitter()),
  }

  it('that ends while SFTP is asked for is made again, and no place for a channel is lost', async () => {
    for (const first of [
      { sftp: notConnected },
      { sftp: (done: Answer<SFTPWrapper>) => lost(done, 0) },
      { sftp: (done: Answer<SFTPWrapper>) => done(Object.assign(new Error('open failed'), { reason: 4 })) },
    ]) {
      let asked = 0
      const shape: Partial<FakeClient> = {
        sftp: (done) => (asked++ === 0 ? first.sftp(done) : good.sftp?.(done)),
      }
      start(shape)
      expect(await connection.sftp()).to.have.property('session')
      expect(connection.slots.used).to.equal(1)
      clients.at(-1)?.emit('close')
      expect(connection.slots.used, 'after its end').to.equal(0)
    }
  })

  it('is not taken for a server without SFTP when it ends; one that refuses is', async () => {
    start({ sftp: (done) => done(new Error('Unable to start subsystem: sftp')) })
    expect(await failure(connection.sftp())).to.be.instanceOf(SftpRefused)
    expect(connection.slots.used).to.equal(0)
    start({ sftp: (done) => lost(done, clients.length - 1) })
    expect(await failure(connection.sftp())).to.be.instanceOf(TransportUnavailableError)
    expect(connection.slots.used).to.equal(0)
  })

  it('has one SFTP session, however many ask at once', async () => {
    start(good)
    const all = await Promise.all([connection.sftp(), connection.sftp(), connection.sftp()])
    expect(new Set(all.map(({ session }) => session)).size).to.equal(1)
    expect(connection.slots.used).to.equal(1)
  })

  for (const event of ['end', 'close'] as const) {
    it(`answers what is asked of a session after its ${event}`, async () => {
      start(good)
      const { session } = await connection.sftp()
      session.emit(event)
      const error = await new Promise<Error | null | undefined>((resolve) => session.stat('/', resolve))
      expect(error).to.have.property('message', 'No response from server')
      expect(session).to.have.property('asked', 0)
      expect((await connection.sftp()).session).to.not.equal(session)
    })
  }

  it('opens a channel over the next connection when this one ends', async () => {
    for (const exec of [notConnected, (_command: string, done: Answer<EventEmitter>) => lost(done, 0)]) {
      let asked = 0
      start({
        exec: (command, done) => (asked++ === 0 ? exec(command, done) : good.exec?.(command, done)),
      })
      const { release } = await connection.exec('true')
      release()
      expect(connection.slots.used).to.equal(0)
    }
  })

  it('that cannot open a channel for long says so in a way that work waits for', async () => {
    start({ exec: (_command, done) => lost(done, clients.length - 1) })
    expect(await failure(connection.exec('true'))).to.be.instanceOf(TransportUnavailableError)
    expect(connection.slots.used).to.equal(0)
  })

  it('asks the next server for as many channels as the first, whatever that allowed', async () => {
    const refusal = Object.assign(new Error('open failed'), { reason: 4 })
    let refuse = 2
    start({
      exec: (command, done) => (refuse-- > 0 ? done(refusal) : good.exec?.(command, done)),
    })
    const { release } = await connection.exec('true')
    release()
    expect(connection.slots.limit).to.equal(2)
    clients.at(-1)?.emit('close')
    await connection.link()
    expect(connection.slots.limit).to.equal(4)
  })
})
