/** Commands and files of another machine, over one connection. */

import type { Transport } from '@orbweaver/core'
import { localEnvironment, resolveWay, type ResolvedHost } from './config/resolve.js'
import { sshConfigSchema, type SshConfigInput } from './config/schema.js'
import type { Ask } from './connection/authentication.js'
import { SshConnection } from './connection/connection.js'
import { dial, nameOf } from './connection/dial.js'
import { diagnose } from './diagnose.js'
import { RemoteShell } from './files/remote-shell.js'
import { createSshFiles } from './files/ssh-files.js'
import type { HostKeys } from './keys/host-key.js'
import { createSshRunner } from './runner.js'

export interface SshTransportOptions {
  /** Relative paths of the options are below it. Default: the working folder. */
  readonly directory?: string
  /** Socket of the SSH agent, as in `SSH_AUTH_SOCK`. Default: none. */
  readonly agentSocket?: string
  /** Of the private key. Kept in memory, never printed. */
  readonly passphrase?: string
  /** Asks a person for passphrases and second factors. Default: nobody is asked, and what needs an answer fails. */
  readonly ask?: Ask
  /** Home folder with `.ssh` in it. Default: this account's. */
  readonly home?: string
  /** Between the polite signal and the last one when a program's time is over. Default 1 000. */
  readonly killGraceMs?: number
}

/**
 * A transport over SSH. Nothing is connected before the first call.
 *
 * @throws ConfigError, InputError, NotSupportedError the options, or OpenSSH's files, say something that cannot be followed
 */
export function createSshTransport(input: SshConfigInput, options: SshTransportOptions = {}): Transport {
  const config = sshConfigSchema.parse(input)
  const here = localEnvironment(options.agentSocket, options.directory ?? process.cwd())
  const environment = options.home === undefined ? here : { ...here, home: options.home }
  const way = (): readonly ResolvedHost[] => resolveWay(config, environment)
  const target = way().at(-1)
  if (target === undefined) throw new TypeError('the way has no host')
  const hostKeys = new Map<string, HostKeys>()
  const connection = new SshConnection(
    (signal) =>
      dial(
        {
          way,
          pinned: config.hostKey === undefined ? [] : [config.hostKey].flat(),
          secrets: { passphrase: options.passphrase, ask: options.ask },
          onHostKey: (host, keys) => hostKeys.set(nameOf(host), keys),
        },
        signal,
      ),
    {
      name: `${target.user}@${nameOf(target)}`,
      maxSessions: config.maxSessions,
      reconnectMs: 1000 * config.reconnectSeconds,
      logins: {
        burst: Math.max(3, Math.ceil(config.loginsPerMinute / 2)),
        everyMs: 60_000 / config.loginsPerMinute,
      },
    },
  )
  const killGraceMs = options.killGraceMs ?? 1000
  const runner = createSshRunner(connection, {
    path: config.path,
    keepEnvironment: config.keepEnvironment,
    killGraceMs,
  })
  return {
    name: 'ssh',
    runner,
    files: createSshFiles(new RemoteShell(connection, killGraceMs), { sftp: config.sftp }),
    diagnose: (callOptions) => diagnose({ connection, runner, way: way(), hostKeys, config }, callOptions),
    close: () => connection.close(),
  }
}
