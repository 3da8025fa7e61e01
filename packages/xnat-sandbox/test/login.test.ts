import { expect } from 'chai'
import { bench, Client, type Bench } from './helpers.js'

describe('logging in', () => {
  let now = Date.UTC(2024, 0, 1)
  let lab: Bench
  before(async () => {
    lab = await bench({
      now: () => now,
      maxSessions: 3,
      maxFailedLogins: 3,
      users: [{ name: 'bob' }, { name: 'eve' }],
    })
  })
  after(() => lab.dispose())

  it('makes a session that lasts while it is used', async () => {
    const { admin } = lab
    const id = await admin.get('/data/JSESSION')
    expect(id.text).to.match(/^[0-9A-F]{32}$/)
    now += 14 * 60_000
    expect((await admin.get('/data/auth')).text).to.equal("User 'admin' is logged in")
    now += 14 * 60_000
    expect((await admin.get('/data/JSESSION')).text).to.equal(id.text)
    now += 16 * 60_000
    expect((await admin.get('/data/auth')).status).to.equal(401)
  })

  it('tells when a session will end', async () => {
    const answer = await lab.as('bob').get('/data/projects')
    expect(answer.headers.getSetCookie().join()).to.include(`SESSION_EXPIRATION_TIME="${now},900000"`)
  })

  it('refuses the next login of a user who has too many, and lets others in', async () => {
    const eve = [lab.as('eve'), lab.as('eve'), lab.as('eve')]
    for (const client of eve) expect((await client.get('/data/JSESSION')).status).to.equal(200)
    expect((await lab.as('eve').get('/data/JSESSION')).status).to.equal(401)
    expect((await lab.as('bob').get('/data/JSESSION')).status).to.equal(200)
    expect((await eve[0]?.send('DELETE', '/data/JSESSION'))?.status).to.equal(200)
    expect((await lab.as('eve').get('/data/JSESSION')).status).to.equal(200)
    now += 16 * 60_000
    expect((await lab.as('eve').get('/data/JSESSION')).status).to.equal(200)
  })

  it('answers strangers with 401, browsers with the login page', async () => {
    const stranger = new Client(lab.sandbox.url, 'nobody', 'x')
    const answer = await stranger.get('/data/projects')
    expect(answer.status).to.equal(401)
    expect(answer.headers.get('www-authenticate')).to.equal('Basic realm="XNAT"')
    const page = await fetch(`${lab.sandbox.url}/data/projects`, {
      redirect: 'manual',
      headers: { 'User-Agent': 'Mozilla/5.0' },
    })
    expect([page.status, page.headers.get('location')]).to.deep.equal([
      302,
      `${lab.sandbox.url}/app/template/Login.vm`,
    ])
  })

  it('locks an account after wrong passwords', async () => {
    const { password } = lab.sandbox.users.bob ?? { password: '' }
    for (let attempt = 0; attempt < 3; attempt += 1) {
      expect((await new Client(lab.sandbox.url, 'bob', 'wrong').get('/data/auth')).status).to.equal(401)
    }
    expect((await new Client(lab.sandbox.url, 'bob', password).get('/data/auth')).status).to.equal(401)
    now += 61 * 60_000
    expect((await new Client(lab.sandbox.url, 'bob', password).get('/data/auth')).status).to.equal(200)
  })

  it('logs in by a form', async () => {
    const { password } = lab.sandbox.users.bob ?? { password: '' }
    const login = (body: string): Promise<Response> =>
      fetch(`${lab.sandbox.url}/data/services/auth`, {
        method: 'PUT',
        body,
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      })
    expect((await login(`username=bob&password=${password}`)).status).to.equal(200)
    expect((await login('username=bob&password=no')).status).to.equal(401)
    expect((await login('username=bob')).status).to.equal(400)
    expect((await login(`username=bob&password=${password}&provider=ldap`)).status).to.equal(400)
  })

  it('gives alias tokens that work as name and password until they expire', async () => {
    const admin = lab.as('admin')
    const token = JSON.parse((await admin.get('/data/services/tokens/issue')).text) as {
      alias: string
      secret: string
      estimatedExpirationTime: number
    }
    expect(token.secret).to.match(/^[A-Za-z0-9]{64}$/)
    expect(token.estimatedExpirationTime).to.equal(now + 2 * 86_400_000)
    const robot = new Client(lab.sandbox.url, token.alias, token.secret)
    expect((await robot.get('/data/auth')).text).to.equal("User 'admin' is logged in")
    const validate = async (secret: string): Promise<unknown> =>
      JSON.parse((await admin.get(`/data/services/tokens/validate/${token.alias}/${secret}`)).text)
    expect(await validate(token.secret)).to.deep.equal({ valid: 'admin' })
    expect(await validate('x')).to.deep.equal({ valid: null })
    expect((await lab.as('bob').get(`/data/services/tokens/invalidate/${token.alias}`)).status).to.equal(403)
    now += 3 * 86_400_000
    expect((await new Client(lab.sandbox.url, token.alias, token.secret).get('/data/auth')).status).to.equal(
      401,
    )
  })

  it('keeps secrets out of the log', async () => {
    const { password } = lab.sandbox.users.admin ?? { password: '' }
    const admin = lab.as('admin')
    await admin.get(`/data/auth?password=${password}`)
    await admin.get(`/data/services/tokens/validate/abc/${password}`)
    expect(lab.sandbox.log.at(-1)?.status).to.equal(404)
    expect(JSON.stringify(lab.sandbox.log)).not.to.include(password)
  })

  it('asks only what looks like a browser for the token against forged requests', async () => {
    const client = lab.as('admin')
    const [, csrf] = (await client.get('/data/JSESSION?CSRF=true')).text.split('XNAT_CSRF=')
    const headers = { 'User-Agent': 'Mozilla/5.0' }
    expect((await client.send('PUT', '/data/projects/C1', { headers })).status).to.equal(500)
    expect((await client.send('PUT', `/data/projects/C1?XNAT_CSRF=${csrf}`, { headers })).status).to.equal(
      200,
    )
    expect((await client.send('PUT', '/data/projects/C2')).status).to.equal(200)
  })

  it('tells anybody its version, and nobody else its settings', async () => {
    const open = await fetch(`${lab.sandbox.url}/xapi/siteConfig/buildInfo`)
    expect(open.status).to.equal(200)
    expect(await open.json()).to.include({ version: '1.8.10' })
    const admin = lab.as('admin')
    expect((await admin.get('/data/version')).status).to.equal(404)
    expect((await lab.as('eve').get('/xapi/siteConfig')).status).to.equal(403)
    expect((await admin.get('/xapi/siteConfig')).status).to.equal(200)
  })
})
