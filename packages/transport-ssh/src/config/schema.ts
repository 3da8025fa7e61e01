/** Options of the transport in the site file. */

import { z } from 'zod'

const seconds = (text: string): z.ZodNumber => z.number().positive().describe(text)

export const sshConfigSchema = z.strictObject({
  host: z
    .string()
    .min(1)
    .describe(
      'The login node: a name or address, or a `Host` of ~/.ssh/config. `user@host` and `host:port` are taken as well.',
    ),
  user: z
    .string()
    .min(1)
    .optional()
    .describe('Account there. Default: what ~/.ssh/config says, or this account’s name.'),
  port: z.int().min(1).max(65535).optional().describe('Default: what ~/.ssh/config says, or 22.'),
  configFile: z
    .string()
    .min(1)
    .optional()
    .describe('Read this in place of ~/.ssh/config and /etc/ssh/ssh_config; `none`: read no such file.'),
  identityFile: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .optional()
    .describe(
      'Private key to log in with, or several. Default: what ~/.ssh/config says, the agent, the usual files in ~/.ssh.',
    ),
  knownHostsFile: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .optional()
    .describe(
      'Where host keys are looked up. Default: what ~/.ssh/config says, ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts.',
    ),
  hostKey: z
    .union([z.string().startsWith('SHA256:'), z.array(z.string().startsWith('SHA256:')).min(1)])
    .optional()
    .describe(
      'Fingerprint of the host key, as `SHA256:…`, or several: trusted beside what the files of known hosts say.',
    ),
  proxyJump: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Hosts to go through, `[user@]host[:port]` with commas between; `none`: go there directly, whatever ~/.ssh/config says.',
    ),
  agent: z.boolean().default(true).describe('Use the SSH agent of this session, if there is one.'),
  passphraseVariable: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
    .optional()
    .describe('Environment variable that holds the passphrase of the key. Default: asked on the terminal.'),
  maxSessions: z
    .int()
    .min(2)
    .max(64)
    .default(8)
    .describe('Channels open at once; the server may allow fewer, which is noticed.'),
  connectTimeoutSeconds: seconds('To connect and log in, each host of the way.').default(30),
  keepAliveSeconds: seconds(
    'Between signs of life on a silent connection; three without an answer end it.',
  ).default(20),
  reconnectSeconds: seconds('How long a call waits for a connection that was lost.').default(30),
  loginsPerMinute: z
    .number()
    .positive()
    .max(600)
    .default(12)
    .describe('More logins than this wait: sites ban addresses for it.'),
  path: z
    .array(z.string().startsWith('/'))
    .default([])
    .describe('Folders in front of PATH for all commands there.'),
  keepEnvironment: z
    .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/))
    .default(['SLURM_CONF', 'PBS_CONF_FILE', 'PBS_DEFAULT', 'PBS_SERVER'])
    .describe('Variables of the account that commands keep; all others but PATH and HOME are taken away.'),
  sftp: z
    .boolean()
    .default(true)
    .describe('Move large files by SFTP. `false`: through commands, as where a server refuses SFTP.'),
})

export type SshConfig = z.output<typeof sshConfigSchema>
export type SshConfigInput = z.input<typeof sshConfigSchema>
