/** Host keys are judged as OpenSSH's own client judges them, and no name or label becomes more than data over there. */

import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { Readable } from 'node:stream'
import { AccessDeniedError, filePathProblem, type Transport } from '@orbweaver/core'
import type { SshConfigInput } from '@orbweaver/transport-ssh'
import { expect } from 'chai'
import { sshLabProblem, startSshLab, type RealSshLab } from '../../lab/ssh/ssh-lab.js'
import { skip } from '../../support/skip.js'

type KeyKind = 'ed25519' | 'ecdsa' | 'rsa'

interface KeyCase {
  readonly title: string
  /** Lines of the file of known hosts. */
  readonly known: (keys: Keys) => readonly string[]
  /** Let `ssh-keygen -H` hash the names of the file. */
  readonly hashed?: boolean
  /** A line for the host's part of the configuration. */
  readonly setting?: string
  readonly trusted: boolean
}

interface Keys {
  /** `[127.0.0.1]:PORT`. */
  readonly name: string
  readonly otherPort: string
  /** Of the server, as `type base64`. */
  readonly host: (kind: KeyKind) => string
  /** Of somebody else. */
  readonly other: (kind: KeyKind) => string
}

const CASES: readonly KeyCase[] = [
  {
    title: 'the key is known',
    known: ({ name, host }) => [`${name} ${host('ed25519')}`],
    trusted: true,
  },
  { title: 'no key is known', known: () => [], trusted: false },
  {
    title: 'another key of the same type is known',
    known: ({ name, other }) => [`${name} ${other('ed25519')}`],
    trusted: false,
  },
  {
    title: 'the key is known and revoked',
    known: ({ name, host }) => [`${name} ${host('ed25519')}`, `@revoked * ${host('ed25519')}`],
    trusted: false,
  },
  {
    title: 'the key is known by a hashed name',
    known: ({ name, host }) => [`${name} ${host('ed25519')}`],
    hashed: true,
    trusted: true,
  },
  {
    title: 'another key is known by a hashed name',
    known: ({ name, other }) => [`${name} ${other('ed25519')}`],
    hashed: true,
    trusted: false,
  },
  {
    title: 'the key is known without a port',
    known: ({ host }) => [`127.0.0.1 ${host('ed25519')}`],
    trusted: true,
  },
  {
    title: 'the key is known for another port',
    known: ({ otherPort, host }) => [`${otherPort} ${host('ed25519')}`],
    trusted: false,
  },
  {
    title: 'only the key of the least wanted type is known',
    known: ({ name, host }) => [`${name} ${host('rsa')}`],
    trusted: true,
  },
  {
    title: 'one type has another key, a second type the right one',
    known: ({ name, host, other }) => [`${name} ${other('ed25519')}`, `${name} ${host('rsa')}`],
    trusted: false,
  },
  {
    title: 'the key is one of two of its type',
    known: ({ name, host, other }) => [`${name} ${other('ecdsa')}`, `${name} ${host('ecdsa')}`],
    trusted: true,
  },
  {
    title: 'the key is known by the alias',
    known: ({ host }) => [`cluster ${host('ed25519')}`],
    setting: 'HostKeyAlias cluster',
    trusted: true,
  },
  {
    title: 'the key is known by the address, and there is an alias',
    known: ({ name, host }) => [`${name} ${host('ed25519')}`],
    setting: 'HostKeyAlias cluster',
    trusted: false,
  },
  {
    title: 'the line is for all hosts but this one',
    known: ({ name, host }) => [`*,!${name},!127.0.0.1 ${host('ed25519')}`],
    trusted: false,
  },
  {
    title: 'the key stands there as that of an authority',
    known: ({ name, host }) => [`@cert-authority ${name} ${host('ed25519')}`],
    trusted: false,
  },
  {
    title: 'the line is broken off',
    known: ({ name, host }) => [`${name} ${host('ed25519').slice(0, -20)}`],
    trusted: false,
  },
]

/** What has more meaning than itself to some shell, program or file system. */
const HOSTILE: readonly string[] = [
  ...[' ', '  two  blanks  ', '\t', '\n', 'a\nb', '\r\n', 'end\n', '\nbegin', '\n\n', 'a\x0bb\x0cc'],
  ...["'", '"', "it's", '"quoted"', `'"'"'`, '\\', '\\\\', 'a\\', '\\n', "\\'"],
  ...['$HOME', '${HOME}', '$(id)', '`id`', '$((1+1))', '$$', '$?', '$@', "$'\\n'", '!!'],
  ...[';id', '|id', '&id', 'a&&id', 'a||id', '>gone', '<gone', '2>&1', '(id)', '{a,b}'],
  ...['-rf', '--', '--help', '-', '-n', '-e id', '*', '?', '[a-z]', '~'],
  ...['~root', '#', 'a #b', '%s%n', '%00', 'A=b', '=', 'x=$(id)', '\x1b[31mred', '\x01\x7f'],
  ...[
    'é',
    'e\u0301',
    '日本',
    '🧠',
    '\u202eabc',
    '\ufeffa',
    '$\u00a0x',
    "';id;'",
    '\n$(id)\n',
    'x'.repeat(250),
  ],
]

describe('security of the transport over OpenSSH', function () {
  let lab: RealSshLab
  let keys: Keys

  before(async function () {
    const problem = sshLabProblem()
    if (problem !== undefined) skip(this, problem)
    lab = await startSshLab()
    keys = makeKeys(lab)
  })
  after(async () => {
    await lab?.stop()
  })

  describe('host keys', () => {
    for (const [index, one] of CASES.entries()) {
      it(`${one.title}: ${one.trusted ? 'trusted' : 'refused'}, as ssh does`, async () => {
        const configFile = configure(`case-${index}`, one)
        const ours = await outcome({ configFile })
        expect(ours, 'what ssh decides').to.equal(await askSsh(configFile))
        expect(ours).to.equal(one.trusted)
      })
    }

    it('a fingerprint of the site file is trusted, unless the key is revoked', async () => {
      const unknown = configure('pinned', { known: () => [] })
      const prints = fs
        .readdirSync(path.join(lab.directory, 'login'))
        .filter((name) => /^host_[a-z0-9]+\.pub$/.test(name))
        .map((name) => fingerprint(path.join(lab.directory, 'login', name)))
      expect(await outcome({ configFile: unknown, hostKey: prints })).to.equal(true)
      const other = fingerprint(`${keyPair('unrelated', 'ed25519')}.pub`)
      expect(await outcome({ configFile: unknown, hostKey: other })).to.equal(false)
      const revoked = configure('pinned-revoked', {
        known: ({ host }) => (['ed25519', 'ecdsa', 'rsa'] as const).map((kind) => `@revoked * ${host(kind)}`),
      })
      expect(await outcome({ configFile: revoked, hostKey: prints })).to.equal(false)
    })

    it('StrictHostKeyChecking no does not make an unknown key a trusted one, and none is written down', async () => {
      const configFile = configure('lax', { known: () => [] }, 'no')
      expect(await outcome({ configFile })).to.equal(false)
      expect(fs.readFileSync(`${configFile}.known`, 'utf8')).to.equal('')
    })
  })

  describe('hostile names and labels', () => {
    let transport: Transport
    let folder: string

    before(() => {
      transport = lab.connect('login')
      folder = lab.folder()
    })

    it(`${HOSTILE.length} of them arrive as they are: as words, in variables, on standard input`, async () => {
      const script = 'cat; printf "\\0%s" "$LABEL" "$0" "$@"'
      await Promise.all(
        HOSTILE.map(async (text) => {
          const { stdout, stderr, exitCode } = await transport.runner.run({
            argv: ['sh', '-c', script, text, text, 'a', text],
            environment: { LABEL: text },
            stdin: text,
          })
          expect({ stdout: stdout.split('\0'), stderr, exitCode }).to.deep.equal({
            stdout: [text, text, text, text, 'a', text],
            stderr: '',
            exitCode: 0,
          })
        }),
      )
      const { stdout } = await transport.runner.run({ argv: ['printf', '%s\\0', ...HOSTILE] })
      expect(stdout.split('\0').slice(0, -1)).to.deep.equal([...HOSTILE])
    })

    it('they are names of folders to work in and of programs to start', async () => {
      await Promise.all(
        HOSTILE.map(async (text) => {
          const place = `${folder}/places/${text}`
          await transport.files.mkdir(place)
          await transport.files.writeAtomic(`${place}/${text}`, '#!/bin/sh\nprintf "%s\\0" "$0" "$PWD"\n', {
            mode: 0o700,
          })
          const { stdout } = await transport.runner.run({ argv: [`${place}/${text}`], directory: place })
          expect(stdout).to.equal(`${place}/${text}\0${place}\0`)
        }),
      )
      expect(fs.readdirSync(`${folder}/places`).sort()).to.deep.equal([...HOSTILE].sort())
    })

    it('they are names of files, one at a time and in batches, and go away alone', async () => {
      const { files } = transport
      const places = HOSTILE.map((text) => `${folder}/files/${text}`)
      await files.mkdir(`${folder}/files`)
      const entryOf = (name: string, text: string) => ({ path: name, bytes: Buffer.byteLength(text) })
      await Promise.all(
        HOSTILE.map((text, index) => {
          const place = places[index] ?? ''
          return index % 2 === 0
            ? files.writeAtomic(place, text)
            : files.write(place, Readable.from([Buffer.from(text)]), entryOf(text, text))
        }),
      )
      const batch = files.batch?.(`${folder}/batch`)
      // Files of an archive: no such name has a control character or a backslash.
      const allowed = HOSTILE.filter((text) => filePathProblem(text) === undefined)
      expect(allowed).to.have.length.above(45)
      for (const text of allowed)
        await batch?.write(text, Readable.from([Buffer.from(text)]), entryOf(text, text))
      await batch?.finish()
      for (const [name, names] of [
        ['files', HOSTILE],
        ['batch', allowed],
      ] as const) {
        expect(fs.readdirSync(`${folder}/${name}`).sort()).to.deep.equal([...names].sort())
        for (const text of names) expect(fs.readFileSync(`${folder}/${name}/${text}`, 'utf8')).to.equal(text)
      }
      expect([...(await files.readMany(places)).values()]).to.have.members([...HOSTILE])
      expect((await files.list(`${folder}/files`)).map((entry) => entry.path)).to.have.members([...HOSTILE])
      expect(await files.checksums(`${folder}/files`, HOSTILE)).to.deep.equal(
        new Map(HOSTILE.map((text) => [text, createHash('sha256').update(text).digest('hex')])),
      )
      for (const [index, place] of places.entries()) {
        const moved = `${folder}/moved/${HOSTILE[index] ?? ''}`
        if (index === 0) await files.mkdir(`${folder}/moved`)
        await files.rename(place, moved)
        expect(await files.exists(moved), moved).to.equal(true)
        await files.remove(moved)
        expect(fs.readdirSync(`${folder}/moved`)).to.deep.equal([])
      }
    })
  })

  /** A configuration of its own with a file of known hosts beside it. */
  function configure(
    name: string,
    { known, hashed = false, setting = '' }: Pick<KeyCase, 'known' | 'hashed' | 'setting'>,
    strict = 'yes',
  ): string {
    const file = path.join(lab.directory, name)
    fs.writeFileSync(
      `${file}.known`,
      known(keys)
        .map((line) => `${line}\n`)
        .join(''),
    )
    if (hashed) execFileSync('ssh-keygen', ['-H', '-f', `${file}.known`], { stdio: 'ignore' })
    const lines = [
      'Host login',
      'HostName 127.0.0.1',
      `Port ${lab.port}`,
      `User ${lab.account}`,
      `IdentityFile ${path.join(lab.directory, 'user_key')}`,
      'IdentitiesOnly yes',
      `UserKnownHostsFile ${file}.known`,
      'GlobalKnownHostsFile none',
      `StrictHostKeyChecking ${strict}`,
      'UpdateHostKeys no',
      setting,
    ]
    fs.writeFileSync(file, `${lines.join('\n')}\n`)
    return file
  }

  /** Whether OpenSSH's client logs in. Fails when it gives up for any other reason than the host's key. */
  async function askSsh(configFile: string): Promise<boolean> {
    const argv = ['-F', configFile, '-o', 'BatchMode=yes', 'login', 'true']
    const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      execFile('ssh', argv, (error, _stdout, said) => resolve({ code: error?.code ?? 0, stderr: said }))
    })
    if (code === 0) return true
    expect(stderr).to.match(/Host key verification failed|REVOKED/i)
    return false
  }

  async function outcome(config: Partial<SshConfigInput>): Promise<boolean> {
    const transport = lab.connect('login', config)
    try {
      const { exitCode } = await transport.runner.run({ argv: ['true'] })
      return exitCode === 0
    } catch (error) {
      if (!(error instanceof AccessDeniedError)) throw error
      expect(error.message).to.match(/host key of .* SHA256:/)
      return false
    } finally {
      await transport.close()
    }
  }

  /** @returns the private key's file */
  function keyPair(name: string, kind: KeyKind): string {
    const file = path.join(lab.directory, `${name}-${kind}`)
    execFileSync('ssh-keygen', ['-q', '-t', kind, '-N', '', '-C', name, '-f', file])
    return file
  }

  function makeKeys({ port, directory }: RealSshLab): Keys {
    const others = new Map(
      (['ed25519', 'ecdsa'] as const).map((kind) => [kind, publicKey(keyPair('other', kind))]),
    )
    return {
      name: `[127.0.0.1]:${port}`,
      otherPort: `[127.0.0.1]:${port - 1}`,
      host: (kind) => publicKey(path.join(directory, 'login', `host_${kind}`)),
      other: (kind) => others.get(kind as 'ed25519') ?? '',
    }
  }
})

function publicKey(file: string): string {
  return fs.readFileSync(`${file}.pub`, 'utf8').split(' ').slice(0, 2).join(' ')
}

function fingerprint(file: string): string {
  return execFileSync('ssh-keygen', ['-l', '-f', file], { encoding: 'utf8' }).split(' ')[1] ?? ''
}
