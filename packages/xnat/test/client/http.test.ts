import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import { expect } from 'chai'
import {
  AccessDeniedError,
  ConflictError,
  InputError,
  NotFoundError,
  StoreProtocolError,
  StoreUnavailableError,
} from '@orbweaver/core'
import { XnatClient, XnatCredentials, type XnatClientOptions } from '@orbweaver/xnat'
import { isLogin, startStub, type Answer, type Stub } from '../support/stub.js'

const SECRET = 'hunter2-and-more'
const TABLE = '{"ResultSet":{"Result":[{"ID":"P1"}],"totalRecords":"1"}}'

function gate(): { readonly opened: Promise<void>; open(): void } {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open: () => open() }
}

describe('talking to XNAT', () => {
  const open: { stub: Stub; client: XnatClient }[] = []
  afterEach(async () => {
    for (const { stub, client } of open.splice(0)) {
      await client.close()
      await stub.stop()
    }
  })

  async function talk(
    answer: Answer,
    options: Partial<XnatClientOptions> = {},
  ): Promise<{ stub: Stub; client: XnatClient }> {
    const stub = await startStub(answer)
    const client = new XnatClient({
      url: stub.url,
      credentials: new XnatCredentials('ana', SECRET),
      retry: { tries: 3, firstDelayMs: 1, maxDelayMs: 2 },
      ...options,
    })
    open.push({ stub, client })
    return { stub, client }
  }

  async function failure(work: Promise<unknown>): Promise<Error> {
    try {
      await work
    } catch (error) {
      return error as Error
    }
    expect.fail('it did not fail')
  }

  const json: Answer = (request, reply) => {
    if (isLogin(request)) return
    reply.setHeader('content-type', 'application/json')
    reply.end(TABLE)
  }

  describe('login', () => {
    it('happens once for many requests at the same time, and ends with a logout', async () => {
      const { stub, client } = await talk(json)
      await Promise.all(Array.from({ length: 20 }, () => client.projects()))
      await client.close()
      const logins = stub.seen.filter(isLogin)
      expect(logins.map(({ method }) => method)).to.deep.equal(['GET', 'DELETE'])
      expect(stub.seen.filter((one) => !isLogin(one)).map(({ headers }) => headers.cookie)).to.deep.equal(
        Array.from({ length: 20 }, () => 'JSESSIONID=SESSION-1'),
      )
      // Only the login carries the password.
      expect(stub.seen.filter(({ headers }) => headers.authorization !== undefined)).to.have.length(1)
    })

    it('is renewed once when the session has ended, for all who were turned away', async () => {
      let ended = false
      const { stub, client } = await talk((request, reply) => {
        if (isLogin(request)) return
        if (ended && request.headers.cookie === 'JSESSIONID=SESSION-1') {
          reply.writeHead(401).end()
          return
        }
        return json(request, reply)
      })
      await client.projects()
      ended = true
      await Promise.all(Array.from({ length: 10 }, () => client.projects()))
      expect(stub.seen.filter(isLogin)).to.have.length(2)
    })

    it('that helps nothing is not repeated', async () => {
      const { stub, client } = await talk((request, reply) => {
        if (!isLogin(request)) reply.writeHead(401).end('<html><h3>no</h3></html>')
      })
      expect(await failure(client.projects())).to.be.instanceOf(AccessDeniedError)
      expect(stub.seen.filter(isLogin)).to.have.length(2)
      expect(stub.seen.filter((one) => !isLogin(one))).to.have.length(2)
    })

    it('that was refused is not tried again at once: XNAT locks accounts', async () => {
      const { stub, client } = await talk((request, reply) => {
        if (isLogin(request)) reply.writeHead(401).end()
      })
      for (let time = 0; time < 5; time += 1) {
        expect(await failure(client.projects())).to.be.instanceOf(AccessDeniedError)
      }
      expect(stub.seen).to.have.length(1)
    })

    it('pages are recognised, with 200 and with a redirect', async () => {
      for (const asPage of [true, false]) {
        let pages = 1
        const { stub, client } = await talk((request, reply) => {
          if (isLogin(request)) return
          pages -= 1
          if (pages < 0) return json(request, reply)
          reply.setHeader('content-type', 'text/html')
          if (asPage) reply.end('<!DOCTYPE html><title>Login</title><form id="login_form"></form>')
          else reply.writeHead(302, { location: '/app/template/Login.vm' }).end()
        })
        expect(await client.projects()).to.have.length(1)
        expect(stub.seen.filter(isLogin)).to.have.length(2)
      }
    })

    it('with a colon in the password goes by the form, which is the only way that works', async () => {
      const { stub, client } = await talk(
        (request, reply) => {
          if (request.url === '/data/services/auth') reply.end('FORM-SESSION')
          else return json(request, reply)
        },
        { credentials: new XnatCredentials('ana', 'a:b&c') },
      )
      await client.projects()
      expect(stub.seen[0]).to.include({ method: 'PUT', body: 'username=ana&password=a%3Ab%26c' })
      expect(stub.seen[1]?.headers.cookie).to.equal('JSESSIONID=FORM-SESSION')
    })

    it('keeps the cookies of a load balancer', async () => {
      const { stub, client } = await talk((request, reply) => {
        reply.appendHeader('set-cookie', 'ROUTE=node-3; Path=/')
        return json(request, reply)
      })
      await client.projects()
      expect(stub.seen[1]?.headers.cookie).to.equal('ROUTE=node-3; JSESSIONID=SESSION-1')
    })
  })

  describe('trouble', () => {
    it('of the server and of the line is waited out, where repeating is safe', async () => {
      const troubles: ((reply: Parameters<Answer>[1]) => void)[] = [
        (reply) => reply.writeHead(503).end(),
        (reply) => reply.destroy(),
      ]
      const { client } = await talk((request, reply) => {
        if (isLogin(request)) return
        const trouble = troubles.shift()
        if (trouble === undefined) return json(request, reply)
        trouble(reply)
      })
      expect(await client.projects()).to.have.length(1)
    })

    it('is told as such when it stays, and may be tried again', async () => {
      const { stub, client } = await talk((request, reply) => {
        if (!isLogin(request)) reply.writeHead(502).end('<html><title>Bad Gateway</title></html>')
      })
      const error = await failure(client.projects())
      expect(error).to.be.instanceOf(StoreUnavailableError)
      expect(error.message).to.include('Bad Gateway')
      expect(stub.seen.filter((one) => !isLogin(one))).to.have.length(3)
    })

    it('does not send a creation twice', async () => {
      const { stub, client } = await talk((request, reply) => {
        if (!isLogin(request)) reply.destroy()
      })
      const error = await failure(client.createAssessor({ experiment: 'E1' }, '<x/>'))
      expect(error).to.be.instanceOf(StoreUnavailableError)
      expect(stub.seen.filter(({ method }) => method === 'POST')).to.have.length(1)
    })

    it('a body is opened anew for each try', async () => {
      let tries = 0
      const { stub, client } = await talk((request, reply) => {
        if (isLogin(request)) return
        tries += 1
        reply.writeHead(tries < 3 ? 500 : 200).end()
      })
      const body = { bytes: 5, open: () => Readable.from([Buffer.from('hello')], { objectMode: false }) }
      await client.uploadFile({ node: { project: 'P' }, resource: 'R' }, 'a.txt', body, { overwrite: true })
      expect(stub.seen.filter(({ method }) => method === 'PUT').map((one) => one.body)).to.deep.equal([
        'hello',
        'hello',
        'hello',
      ])
    })

    it('a table that breaks off is asked for again', async () => {
      let tries = 0
      const { client } = await talk((request, reply) => {
        if (isLogin(request)) return
        tries += 1
        if (tries > 1) return json(request, reply)
        reply.writeHead(200, { 'content-type': 'application/json', 'content-length': String(TABLE.length) })
        reply.write(TABLE.slice(0, 20), () => reply.destroy())
      })
      expect(await client.projects()).to.have.length(1)
    })

    it('an archive that says nothing is given up', async () => {
      const { client } = await talk(
        async (request) => {
          if (!isLogin(request)) await new Promise(() => undefined)
        },
        { idleTimeoutMs: 30, retry: { tries: 1 } },
      )
      expect(await failure(client.projects())).to.be.instanceOf(StoreUnavailableError)
    })

    it('an abort rejects with its reason, at once', async () => {
      const controller = new AbortController()
      const reason = new Error('enough')
      const { client } = await talk(async (request) => {
        if (isLogin(request)) return
        controller.abort(reason)
        await new Promise(() => undefined)
      })
      expect(await failure(client.projects({ signal: controller.signal }))).to.equal(reason)
    })
  })

  describe('answers', () => {
    for (const [status, kind] of [
      [400, InputError],
      [403, AccessDeniedError],
      [404, NotFoundError],
      [409, ConflictError],
      [413, InputError],
      [417, InputError],
      [422, InputError],
      [301, StoreProtocolError],
    ] as const) {
      it(`${status} is ${kind.name}, with what the server said`, async () => {
        const { client } = await talk((request, reply) => {
          if (isLogin(request)) return
          reply.writeHead(status, { 'content-type': 'text/html' })
          reply.end(
            '<html><head><title>Status page</title></head><body><h3>Some &amp; words</h3><p>x</p></body></html>',
          )
        })
        const error = await failure(client.projects())
        expect(error).to.be.instanceOf(kind)
        if (status !== 413 && status !== 301) expect(error.message).to.include('Some & words')
      })
    }

    it('that are another page than a login are told as such', async () => {
      const { client } = await talk((request, reply) => {
        if (isLogin(request)) return
        reply.setHeader('content-type', 'text/html')
        reply.end('<html><title>Maintenance</title></html>')
      })
      const error = await failure(client.projects())
      expect(error).to.be.instanceOf(StoreProtocolError)
      expect(error.message).to.include('Maintenance')
    })

    it('of an upload that name duplicates are read, whatever type they claim', async () => {
      const { client } = await talk((request, reply) => {
        if (isLogin(request)) return
        reply.setHeader('content-type', 'text/html')
        reply.end('{"duplicates":["a.txt","b/c.txt"]}')
      })
      const address = { node: { project: 'P' }, resource: 'R' }
      expect(await client.uploadFile(address, 'a.txt', 'x')).to.deep.equal(['a.txt', 'b/c.txt'])
    })
  })

  it('shows a secret in no error, however deep one looks', async () => {
    for (const answer of [
      (_request: unknown, reply: Parameters<Answer>[1]) => reply.destroy(),
      (_request: unknown, reply: Parameters<Answer>[1]) => reply.writeHead(401).end(),
      (_request: unknown, reply: Parameters<Answer>[1]) => reply.writeHead(500).end('oops'),
    ]) {
      const { client } = await talk((request, reply) => void answer(request, reply))
      const error = await failure(client.projects())
      const shown = inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error)
      expect(shown).to.not.include(SECRET)
      expect(shown).to.not.include(Buffer.from(`ana:${SECRET}`).toString('base64'))
    }
  })

  it('sends no more requests at once than it may', async () => {
    let most = 0
    let now = 0
    const three = gate()
    const { client } = await talk(
      async (request, reply) => {
        if (isLogin(request)) return
        now += 1
        most = Math.max(most, now)
        if (now === 3) three.open()
        await three.opened
        // Room for one too many to show itself.
        for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve))
        now -= 1
        return json(request, reply)
      },
      { requestLimit: 3 },
    )
    await Promise.all(Array.from({ length: 30 }, () => client.projects()))
    expect(most).to.equal(3)
  })

  it('uploads into one resource one after the other, into others at once', async () => {
    const under = new Map<string, number>()
    const both = gate()
    let most = 0
    const { client } = await talk(async (request, reply) => {
      if (isLogin(request)) return
      const resource = /resources\/(\w+)/.exec(request.url)?.[1] ?? ''
      under.set(resource, (under.get(resource) ?? 0) + 1)
      most = Math.max(most, under.get(resource) ?? 0)
      if (under.get('R0') === 1 && under.get('R1') === 1) both.open()
      await both.opened
      for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve))
      under.set(resource, (under.get(resource) ?? 0) - 1)
      reply.end()
    })
    await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        client.uploadFile({ node: { project: 'P' }, resource: `R${index % 2}` }, `${index}.txt`, 'x'),
      ),
    )
    expect(most).to.equal(1)
  })

  it('keeps a context path, and encodes names once', async () => {
    const stub = await startStub(json)
    const client = new XnatClient({
      url: `${stub.url}/xnat/`,
      credentials: new XnatCredentials('ana', SECRET),
    })
    open.push({ stub, client })
    await client
      .openFile({ node: { project: 'P' }, resource: 'R 1' }, 'a b/100%?#.txt')
      .then((body) => body.resume())
    expect(stub.seen.at(-1)?.url).to.equal(
      '/xnat/data/projects/P/resources/R%201/files/a%20b/100%25%3F%23.txt',
    )
  })

  it('refuses what could never work, before anything is sent', async () => {
    const { stub, client } = await talk(json)
    const address = { node: { project: 'P' }, resource: 'R' }
    for (const attempt of [
      () => client.uploadFile({ ...address, resource: '12' }, 'a', 'x'),
      () => client.uploadFile({ ...address, resource: "o'brien" }, 'a', 'x'),
      () => client.uploadFile(address, '../a', 'x'),
      () => client.putSubject({ project: 'P', subject: 'a b' }),
      () => client.item({ project: 'P/../Q' }),
    ]) {
      expect(await failure((async () => await attempt())())).to.be.instanceOf(InputError)
    }
    expect(stub.seen).to.deep.equal([])
    for (const url of ['ftp://x', 'https://ana:pw@x', 'nonsense'])
      expect(() => new XnatClient({ url })).to.throw(InputError)
    expect(() => new XnatClient({ url: 'https://x', userAgent: 'Mozilla/5.0' })).to.throw(InputError)
  })
})
