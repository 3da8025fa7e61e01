import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  fingerprint,
  judgeHostKey,
  parseKnownHosts,
  preferredAlgorithms,
  type HostNames,
} from '#src/keys/known-hosts.js'
import { temporaryKey } from './support/server.js'
import { skipTest } from '@orbweaver/core/testing'

const HOST: HostNames = { host: 'login.example.edu', port: 22, alias: undefined }
const FAR: HostNames = { ...HOST, port: 2222 }

function keyOf(): { readonly blob: Buffer; readonly text: string } {
  const { public: key } = temporaryKey()
  const blob = key.getPublicSSH()
  return { blob, text: `${key.type} ${blob.toString('base64')}` }
}

const ours = keyOf()
const other = keyOf()

function verdict(text: string, key = ours.blob, names = HOST): string {
  return judgeHostKey(parseKnownHosts([{ path: 'known_hosts', text }]), names, key).verdict
}

const ecdsa = 'ecdsa-sha2-nistp256'
const ecdsaBlob = Buffer.concat([Buffer.from([0, 0, 0, ecdsa.length]), Buffer.from(ecdsa), Buffer.alloc(16)])
const ecdsaLine = `${ecdsa} ${ecdsaBlob.toString('base64')}`

describe('known hosts', () => {
  it('knows a key by its host, whatever stands around it', () => {
    expect(verdict(`# a comment\n\nlogin.example.edu ${ours.text} a comment\n`)).to.equal('known')
    expect(verdict(`first,LOGIN.example.edu ${ours.text}`)).to.equal('known')
    expect(verdict(`  *.example.edu ${ours.text}`)).to.equal('known')
    expect(verdict(`login.example.edu ${other.text}\nlogin.example.edu ${ours.text}`)).to.equal('known')
  })

  it('knows nobody from an empty file, another host, or a line that is broken', () => {
    for (const text of [
      '',
      `login.example.org ${ours.text}`,
      `*.example.edu,!login.example.edu ${ours.text}`,
      `login.example.edu ssh-rsa ${ours.text.split(' ')[1] ?? ''}`,
      'login.example.edu ssh-ed25519 AAAA',
      `@nonsense login.example.edu ${ours.text}`,
    ]) {
      expect(verdict(text), text).to.equal('unknown')
    }
  })

  it('sees a changed key, and a key of another type as unknown', () => {
    expect(verdict(`login.example.edu ${other.text}`)).to.equal('changed')
    const blob = Buffer.concat([Buffer.from([0, 0, 0, 7]), Buffer.from('ssh-rsa'), Buffer.alloc(8)])
    expect(verdict(`login.example.edu ssh-rsa ${blob.toString('base64')}`)).to.equal('unknown')
  })

  it('refuses a revoked key, though it is known as well', () => {
    expect(verdict(`login.example.edu ${ours.text}\n@revoked * ${ours.text}`)).to.equal('revoked')
    expect(verdict(`@revoked other.example.edu ${ours.text}`)).to.equal('unknown')
    expect(verdict(`@revoked * ${ours.text}`, ours.blob, FAR)).to.equal('revoked')
  })

  it('never takes the key of an authority for that of a host', () => {
    expect(verdict(`@cert-authority *.example.edu ${ours.text}`)).to.equal('unknown')
  })

  it('keeps ports apart; a key that is kept without a port counts for all, but is no sign of change', () => {
    expect(verdict(`[login.example.edu]:2222 ${ours.text}`, ours.blob, FAR)).to.equal('known')
    expect(verdict(`[login.example.edu]:2222 ${ours.text}`)).to.equal('unknown')
    expect(verdict(`[login.example.edu]:2222 ${other.text}`, ours.blob, FAR)).to.equal('changed')
    expect(verdict(`login.example.edu ${ours.text}`, ours.blob, FAR)).to.equal('known')
    expect(verdict(`login.example.edu ${other.text}`, ours.blob, FAR)).to.equal('unknown')
  })

  it('goes by the alias alone where there is one', () => {
    const names = { ...FAR, alias: 'Cluster' }
    expect(verdict(`cluster ${ours.text}`, ours.blob, names)).to.equal('known')
    expect(verdict(`[login.example.edu]:2222 ${ours.text}`, ours.blob, names)).to.equal('unknown')
  })

  it('asks for the types it knows first', () => {
    const known = parseKnownHosts([{ path: 'f', text: `login.example.edu ${ecdsaLine}` }])
    expect(preferredAlgorithms(known, HOST)[0]).to.equal('ecdsa-sha2-nistp256')
    expect(preferredAlgorithms([], HOST)[0]).to.equal('ssh-ed25519')
    expect(preferredAlgorithms(known, HOST)).to.have.members(preferredAlgorithms([], HOST))
  })

  it('reads what ssh-keygen hashes, and prints fingerprints as it does', async function () {
    if (spawnSync('ssh-keygen', ['-?']).error !== undefined) skipTest(this, 'there is no ssh-keygen')
    const folder = await mkdtemp(join(tmpdir(), 'orbweaver-keygen-'))
    try {
      const file = join(folder, 'known_hosts')
      await writeFile(file, `login.example.edu ${ours.text}\n[login.example.edu]:2222 ${other.text}\n`)
      const [line = ''] = execFileSync('ssh-keygen', ['-l', '-f', file], { encoding: 'utf8' }).split('\n')
      expect(line.split(' ')[1]).to.equal(fingerprint(ours.blob))
      execFileSync('ssh-keygen', ['-H', '-f', file], { stdio: 'ignore' })
      const text = await readFile(file, 'utf8')
      expect(text).to.match(/^\|1\|/)
      expect(verdict(text)).to.equal('known')
      expect(verdict(text, other.blob)).to.equal('changed')
      expect(verdict(text, other.blob, FAR)).to.equal('known')
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
