/** A transport to a server in this process, with folders of its own. */

import { chmod, mkdir, mkdtemp, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Transport } from '@orbweaver/core'
import type { TransportLab } from '@orbweaver/conformance'
import { createSshTransport, type SshConfigInput, type SshTransportOptions } from '@orbweaver/transport-ssh'
import { startServer, temporaryKey, type Oddities, type TestServer } from './server.js'

export interface SshLab extends TransportLab {
  readonly server: TestServer
  readonly home: string
  /** Another transport to the same server. */
  readonly connect: (config?: Partial<SshConfigInput>, options?: SshTransportOptions) => Transport
}

export async function startLab(
  oddities: Oddities = {},
  config: Partial<SshConfigInput> = {},
): Promise<SshLab> {
  const root = await realpath(await mkdtemp(join(tmpdir(), 'orbweaver-ssh-')))
  const [home, folder, localFolder] = ['home', 'far', 'near'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ]
  for (const path of [join(home, '.ssh'), folder, localFolder]) await mkdir(path, { recursive: true })
  const key = temporaryKey()
  const server = await startServer({ allowed: key.public }, oddities)
  await writeFile(join(home, '.ssh', 'id_test'), key.private, { mode: 0o600 })
  await writeFile(join(home, '.ssh', 'known_hosts'), server.knownHostsLine)
  await chmod(join(home, '.ssh'), 0o700)
  const transports: Transport[] = []
  const connect: SshLab['connect'] = (more = {}, options = {}) => {
    const transport = createSshTransport(
      {
        host: '127.0.0.1',
        port: server.port,
        user: 'tester',
        configFile: 'none',
        identityFile: '~/.ssh/id_test',
        loginsPerMinute: 600,
        ...config,
        ...more,
      },
      { home, killGraceMs: 200, ...options },
    )
    transports.push(transport)
    return transport
  }
  return {
    server,
    home,
    connect,
    transport: connect(),
    folder,
    localFolder,
    link: (target, path) => symlink(target, path),
    mode: async (path) => (await stat(path)).mode & 0o7777,
    async dispose() {
      for (const transport of transports) await transport.close()
      await server.close()
      await rm(root, { recursive: true, force: true })
    },
  }
}
