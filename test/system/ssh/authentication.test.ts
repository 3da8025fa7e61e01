/** Ways to log in to a real OpenSSH server, and what `doctor` finds there. */

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { SshConfigInput, SshTransportOptions } from '@orbweaver/transport-ssh'
import { AccessDeniedError, type Diagnosis } from '@orbweaver/core'
import { expect } from 'chai'
import { sshLabProblem, startSshLab, type RealSshLab } from '../../lab/ssh/ssh-lab.js'
import { skip } from '../../support/skip.js'
import { ORBWEAVER, runCli } from '../support/cli.js'
import { removeFolders, scratchFolder, write } from '../support/folders.js'

const PASSPHRASE = 'correct horse, battery & staple'

describe('logging in to OpenSSH', function () {
  this.timeout(60_000)
  let ssh: RealSshLab
  let folder: string
  const children: ChildProcess[] = []

  before(async function () {
    const problem = sshLabProblem()
    if (problem !== undefined) skip(this, problem)
    ssh = await startSshLab()
    folder = scratchFolder('logins')
  })
  after(async () => {
    for (const child of children) child.kill()
    await ssh?.stop()
    removeFolders()
  })

  /** A new key that may log in. @returns its file */
  const newKey = (name: string, passphrase = ''): string => {
    const file = path.join(folder, name)
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', name, '-f', file])
    fs.appendFileSync(path.join(ssh.directory, 'authorized_keys'), fs.readFileSync(`${file}.pub`))
    return file
  }
  /** Lines of the configuration in place of those that name the lab's own key. */
  const configuration = (name: string, lines: readonly string[]): string => {
    const text = fs.readFileSync(ssh.configFile, 'utf8').replaceAll(/^ {2}Identit.*\n/gm, '')
    return write(path.join(folder, name), `${text}${lines.map((line) => `  ${line}\n`).join('')}`)
  }
  const outcome = async (
    config: Partial<SshConfigInput>,
    options: SshTransportOptions = {},
  ): Promise<unknown> => {
    const transport = ssh.connect('login', config, options)
    try {
      const { stdout } = await transport.runner.run({ argv: ['id', '-un'] })
      return stdout.trim()
    } catch (error) {
      return error
    } finally {
      await transport.close()
    }
  }
  const site = (name: string, transport: Readonly<Record<string, unknown>>): string => {
    const place = path.join(folder, name)
    const file = {
      site: name,
      store: { use: 'folder', path: './archive' },
      // Its programs are missed there, which takes no time.
      cluster: { use: 'pbs', transport: { use: 'ssh', host: 'login', ...transport } },
      workRoot: ssh.folder(),
      stateDirectory: './state',
      projects: [{ id: 'P', processors: ['nifti-qa'] }],
    }
    write(path.join(place, 'orbweaver.yaml'), JSON.stringify(file))
    return place
  }

  it('a key with a passphrase from a variable; a wrong or a missing one is told, and never shown', async () => {
    const identityFile = newKey('locked', PASSPHRASE)
    expect(await outcome({ identityFile }, { passphrase: PASSPHRASE })).to.equal(ssh.account)
    for (const [options, words] of [
      [{ passphrase: 'mistyped' }, /the passphrase in the variable does not fit/],
      [{}, /passphrase, which nobody can be asked for/],
    ] as const) {
      const error = await outcome({ identityFile }, options)
      expect(error).to.be.instanceOf(AccessDeniedError)
      expect((error as Error).message)
        .to.match(words)
        .and.not.contain('mistyped')
    }
    const cwd = site('variable', { configFile: ssh.configFile, identityFile, passphraseVariable: 'LOCKED' })
    const good = await runCli(['doctor'], { cwd, environment: { LOCKED: PASSPHRASE } })
    expect(good.stdout, good.stderr).to.match(/ok +ssh: login/)
    const without = await runCli(['doctor'], { cwd })
    expect(without.code).to.equal(2)
    expect(without.stderr).to.match(/LOCKED is not set/)
    for (const { stdout, stderr } of [good, without]) expect(stdout + stderr).not.to.contain(PASSPHRASE)
  })

  it('a key with a passphrase that is asked for on a terminal, and not shown there', async function () {
    if (!fs.existsSync('/usr/bin/script')) skip(this, 'there is no program `script` to make a terminal with')
    const identityFile = newKey('asked', PASSPHRASE)
    const cwd = site('terminal', { configFile: ssh.configFile, identityFile })
    const terminal = spawn('script', ['-qec', `'${process.execPath}' '${ORBWEAVER}' doctor`, '/dev/null'], {
      cwd,
      env: { ...process.env, NO_COLOR: '1' },
    })
    children.push(terminal)
    let seen = ''
    let asked = 0
    terminal.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString()
      const questions = seen.split('Passphrase of').length - 1
      if (questions <= asked) return
      asked = questions
      // The first answer is wrong: it is asked again.
      terminal.stdin.write(asked === 1 ? 'mistyped\r' : `${PASSPHRASE}\r`)
    })
    await once(terminal, 'close')
    expect(seen).to.match(/ok +ssh: login/)
    expect(asked).to.equal(2)
    expect(seen).not.to.contain('mistyped').and.not.to.contain(PASSPHRASE)
  })

  it('a key of a real agent, alone and among more than the server would take', async () => {
    const agentSocket = path.join(folder, 'agent')
    children.push(spawn('ssh-agent', ['-D', '-a', agentSocket], { stdio: 'ignore' }))
    while (!fs.existsSync(agentSocket)) await pause(10)
    const add = (file: string): void => {
      const env = { ...process.env, SSH_AUTH_SOCK: agentSocket }
      execFileSync('ssh-add', ['-q', file], { env, stdio: 'ignore' })
      fs.rmSync(file)
    }
    const plain = configuration('plain', ['IdentityFile none'])
    expect(await outcome({ configFile: plain }, { agentSocket })).to.be.instanceOf(AccessDeniedError)
    for (let index = 1; index <= 7; index += 1) {
      const file = path.join(folder, `other-${index}`)
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', `other ${index}`, '-f', file])
      add(file)
    }
    const key = newKey('in-the-agent')
    add(key)
    const named = configuration('named', [`IdentityFile ${key}`, 'IdentitiesOnly yes'])
    expect(await outcome({ configFile: named }, { agentSocket }), 'named').to.equal(ssh.account)
    expect(await outcome({ configFile: named, agent: false }, { agentSocket })).to.be.instanceOf(
      AccessDeniedError,
    )
    execFileSync('ssh-add', ['-q', '-D'], {
      env: { ...process.env, SSH_AUTH_SOCK: agentSocket },
      stdio: 'ignore',
    })
    add(newKey('alone'))
    expect(await outcome({ configFile: plain }, { agentSocket }), 'alone').to.equal(ssh.account)
  })

  describe('doctor', () => {
    const diagnose = async (config: Partial<SshConfigInput>): Promise<ReadonlyMap<string, Diagnosis>> => {
      const found = await ssh.connect('login', config).diagnose?.({ workRoot: '/tmp/none/yet' })
      return new Map(found?.map((line) => [line.check, line]))
    }
    /** A folder with programs that say this. */
    const programs = (name: string, scripts: Readonly<Record<string, string>>): string => {
      const place = path.join(ssh.folder(), name)
      fs.mkdirSync(place)
      for (const [program, script] of Object.entries(scripts))
        write(path.join(place, program), `#!/bin/sh\n${script}\n`, 0o755)
      fs.chmodSync(path.dirname(place), 0o755)
      fs.chmodSync(place, 0o755)
      return place
    }

    it('finds nothing to complain of', async () => {
      const found = await diagnose({})
      expect([...found.values()].filter(({ status }) => status !== 'ok')).to.deep.equal([])
      expect([...found.keys()]).to.include.members([
        'ssh: host login',
        'ssh: host key of login',
        'ssh: login',
        'ssh: clock',
        'ssh: sftp',
        'ssh: programs',
        'ssh: quota',
      ])
      expect(found.get('ssh: host login')?.found).to.contain(`${ssh.configFile}:`)
    })

    it('tells of a host key that is not the known one, with both fingerprints and the way out', async () => {
      const type = fs
        .readFileSync(path.join(ssh.directory, 'login', 'host_ed25519.pub'), 'utf8')
        .split(' ')[0]
      const other = fs
        .readFileSync(path.join(ssh.directory, 'jump', 'host_ed25519.pub'), 'utf8')
        .split(' ')[1]
      const knownHostsFile = write(
        path.join(folder, 'wrong_hosts'),
        `[127.0.0.1]:${ssh.port} ${type} ${other}\n`,
      )
      const found = (await diagnose({ knownHostsFile })).get('ssh: login')
      expect(found?.status).to.equal('problem')
      expect(found?.found.match(/SHA256:\S+/g)).to.have.length(2)
      expect(found?.hint).to.contain('ssh-keygen -R').and.contain(knownHostsFile)
    })

    it('tells of clocks that differ', async () => {
      const late = programs('late', { date: 'echo $(($(/usr/bin/date +%s) - 90))' })
      const found = (await diagnose({ path: [late] })).get('ssh: clock')
      expect(found).to.include({ status: 'warning' })
      expect(Number(/differs by (\d+) s/.exec(found?.found ?? '')?.[1])).to.be.within(85, 95)
    })

    it('shows a quota as it is told, and warns of one that is used up', async () => {
      const table = (used: string): string =>
        `cat <<'END'\nDisk quotas for user ada (uid 7):\n Filesystem space quota limit grace files quota limit grace\n /dev/sda1 ${used} 100G 120G 12k 0 0\nEND`
      const good = (await diagnose({ path: [programs('good', { quota: table('20G') })] })).get('ssh: quota')
      expect(good).to.include({ status: 'ok' })
      expect(good?.found).to.contain('/dev/sda1 20G 100G')
      const full = (await diagnose({ path: [programs('full', { quota: table('110G*') })] })).get('ssh: quota')
      expect(full).to.include({ status: 'warning' })
      expect(full?.hint).to.contain('beyond its limit')
      const none = (await diagnose({ path: [programs('none', { quota: 'true' })] })).get('ssh: quota')
      expect(none?.found).to.equal('none is set for this account')
    })
  })
})
