/** Real OpenSSH servers for tests: starts and stops them with the script beside this file, and clears everything away. */

import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Transport } from '@orbweaver/core'
import { createSshTransport, type SshConfigInput, type SshTransportOptions } from '@orbweaver/transport-ssh'

/** Seen from `dist-test/lab/ssh/`. */
const SCRIPT = path.resolve(
  path.dirname(fileURLToPath(import.meta.url)),
  '..',
  '..',
  '..',
  'test',
  'lab',
  'ssh',
  'ssh-lab',
)

export type SshServer = 'login' | 'jump'

export interface SshLabOptions {
  /** Throw-away account to log in with. Default: one is made. An account that exists is left in place. */
  readonly account?: string
  /** Default 4. */
  readonly maxSessions?: number
  /** Variables that sessions find, as `SLURM_CONF=/path`. */
  readonly environment?: string
  /** Program that serves files in place of OpenSSH's. */
  readonly sftpServer?: string
}

export interface RealSshLab {
  readonly directory: string
  readonly account: string
  readonly uid: number
  readonly gid: number
  readonly port: number
  readonly jumpPort: number
  /** For `ssh -F`: the hosts `login`, `jump`, and `behind`, which is login through jump. */
  readonly configFile: string
  /** A new folder that belongs to the account, mode 0700. */
  folder(): string
  /** A transport as the account, to `login` or through the jump host. Closed by `stop`. */
  connect(
    host?: 'login' | 'behind',
    config?: Partial<SshConfigInput>,
    options?: SshTransportOptions,
  ): Transport
  start(server: SshServer): Promise<void>
  /** Ends the listener and its sessions without a goodbye. */
  kill(server: SshServer): Promise<void>
  stop(): Promise<void>
}

/** Why no lab can run here; undefined: it can. */
export function sshLabProblem(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux'
  const { status, stderr } = spawnSync(SCRIPT, ['check'], { encoding: 'utf8' })
  if (status === 0) return undefined
  return `${stderr.trim().replace(/^ssh-lab: /, '')} (test/lab/ssh/ssh-lab install, as root, installs the programs)`
}

export async function startSshLab(options: SshLabOptions = {}): Promise<RealSshLab> {
  const directory = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), 'orbweaver-sshd-'))
  const words = [
    ...(options.account === undefined ? [] : ['--account', options.account]),
    ...(options.maxSessions === undefined ? [] : ['--max-sessions', String(options.maxSessions)]),
    ...(options.environment === undefined ? [] : ['--environment', options.environment]),
    ...(options.sftpServer === undefined ? [] : ['--sftp-server', options.sftpServer]),
  ]
  const clear = async (): Promise<void> => {
    running.delete(directory)
    await script('down', directory)
    fs.rmSync(directory, { recursive: true, force: true })
  }
  running.add(directory)
  try {
    await script('up', directory, ...words)
  } catch (error) {
    await clear()
    throw error
  }
  const settings = new Map(
    fs
      .readFileSync(path.join(directory, 'settings'), 'utf8')
      .split('\n')
      .map((line) => line.split('=', 2) as [string, string]),
  )
  const account = settings.get('account') ?? ''
  const [uid = 0, gid = 0] = ['-u', '-g'].map((flag) =>
    Number(spawnSync('id', [flag, account], { encoding: 'utf8' }).stdout),
  )
  const transports: Transport[] = []
  return {
    directory,
    account,
    uid,
    gid,
    port: Number(settings.get('login_port')),
    jumpPort: Number(settings.get('jump_port')),
    configFile: path.join(directory, 'ssh_config'),
    folder() {
      const folder = fs.mkdtempSync(path.join(directory, 'work-'))
      fs.chownSync(folder, uid, gid)
      return folder
    },
    connect(host = 'login', config = {}, more = {}) {
      const transport = createSshTransport(
        { host, configFile: path.join(directory, 'ssh_config'), loginsPerMinute: 600, ...config },
        { killGraceMs: 200, ...more },
      )
      transports.push(transport)
      return transport
    },
    start: (server) => script('start', directory, server),
    kill: (server) => script('kill', directory, server),
    async stop() {
      for (const transport of transports) await transport.close()
      await clear()
    },
  }
}

async function script(...words: readonly string[]): Promise<void> {
  const child = spawn(SCRIPT, words, { stdio: ['ignore', 'ignore', 'pipe'] })
  const said: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0)
    throw new Error(`ssh-lab ${words[0] ?? ''} failed: ${Buffer.concat(said).toString('utf8').trim()}`)
}

/** A test process that is ended before `stop` leaves no servers and no account behind. */
const running = new Set<string>()
process.on('exit', () => {
  for (const directory of running) {
    spawnSync(SCRIPT, ['down', directory], { stdio: 'ignore' })
    fs.rmSync(directory, { recursive: true, force: true })
  }
})
