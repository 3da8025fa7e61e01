import { expect } from 'chai'
import { takeOutSecrets } from '#src/config/secrets.js'

describe('secrets in configuration', () => {
  const secret = [
    'password',
    'Password',
    'xnatPassword',
    'DB_PASSWD',
    'token',
    'apiToken',
    'api_key',
    'apiKey',
    'api-key',
    'secret',
    'clientSecret',
    'passphrase',
    'pass',
    'xnat_pass',
    'userPass',
    'XNAT_PASS',
    'pwd',
    'privateKey',
    'credentials',
  ]
  for (const key of secret) {
    it(`are found behind ${key}, and not shown`, () => {
      const { problems, data } = takeOutSecrets({ store: { [key]: 'hunter2', url: 'x' } })
      expect(problems.map(({ path }) => path.join('.'))).to.deep.equal([`store.${key}`])
      expect(JSON.stringify(problems)).not.to.contain('hunter2')
      expect(problems[0]?.hint).to.match(/\.netrc/)
      expect(data).to.deep.equal({ store: { url: 'x' } })
    })
  }

  const harmless = [
    'passwordFile',
    'tokenVariable',
    'low_pass',
    'highpass',
    'bandpass',
    'bypass',
    'passed',
    'compass',
    'keys',
    'tokens',
    'passes',
    'identityFile',
    'first_pass',
  ]
  for (const key of harmless) {
    it(`are not seen behind ${key}`, () => {
      const data = { a: { [key]: '0.1' } }
      expect(takeOutSecrets(data)).to.deep.equal({ problems: [], data })
    })
  }

  it('are found in addresses', () => {
    const { problems, data } = takeOutSecrets({ store: { url: 'https://me:hunter2@x.edu/a' } })
    expect(problems.map(({ path }) => path.join('.'))).to.deep.equal(['store.url'])
    expect(JSON.stringify([problems, data])).not.to.contain('hunter2')
  })
  it('a user alone in an address is none', () => {
    expect(
      takeOutSecrets({ url: 'ssh://me@host', image: 'docker://ghcr.io/a/b:1.0' }).problems,
    ).to.deep.equal([])
  })
  it('are found as private keys', () => {
    const { problems, data } = takeOutSecrets({ a: '-----BEGIN OPENSSH PRIVATE KEY-----\nabc' })
    expect(problems).to.have.length(1)
    expect(data).to.deep.equal({})
  })
  it('that are declared, empty or absent are none', () => {
    const data = { token: '', password: null, secret: { type: 'string' } }
    expect(takeOutSecrets(data)).to.deep.equal({ problems: [], data })
  })
})
