/** Checks for `orbweaver doctor`: how the far side is reached, and what is there. */

import { PipelineError, isAbort, type CallOptions, type CommandRunner, type Diagnosis } from '@orbweaver/core'
import type { ResolvedHost } from './config/resolve.js'
import type { SshConfig } from './config/schema.js'
import type { SshConnection } from './connection/connection.js'
import { nameOf } from './connection/dial.js'
import type { HostKeys } from './keys/host-key.js'

export interface DiagnoseParts {
  readonly connection: SshConnection
  readonly runner: CommandRunner
  readonly way: readonly ResolvedHost[]
  readonly hostKeys: ReadonlyMap<string, HostKeys>
  readonly config: SshConfig
}

/** Clocks that differ by more make times in logs and on files useless. */
const CLOCK_SKEW_MS = 5_000

export async function diagnose(
  parts: DiagnoseParts,
  options: CallOptions & { readonly workRoot?: string } = {},
): Promise<readonly Diagnosis[]> {
  const { connection, way, hostKeys } = parts
  const results = way.flatMap((host, index) => describeHost(host, index === way.length - 1))
  try {
    const startedMs = Date.now()
    await connection.link(options.signal)
    const login = `logged in as ${connection.name} in ${Date.now() - startedMs} ms`
    for (const host of way) {
      const seen = hostKeys.get(nameOf(host))?.seen
      if (seen !== undefined) {
        results.push({
          check: `ssh: host key of ${host.alias}`,
          status: 'ok',
          found: `${seen.type} ${seen.fingerprint} (${seen.by})`,
        })
      }
    }
    results.push({ check: 'ssh: login', status: 'ok', found: login })
  } catch (error) {
    if (isAbort(error) || options.signal?.aborted === true) throw error
    results.push(failed('ssh: login', error))
    return results
  }
  for (const check of [checkClock, checkSftp, checkTools, checkQuota]) {
    try {
      results.push(...(await check(parts, options)))
    } catch (error) {
      if (isAbort(error) || options.signal?.aborted === true) throw error
      results.push(failed(`ssh: ${check.name.replace('check', '').toLowerCase()}`, error))
    }
  }
  return results
}

function failed(check: string, error: unknown): Diagnosis {
  const hint = error instanceof PipelineError ? error.hint : undefined
  return {
    check,
    status: 'problem',
    found: error instanceof Error ? error.message : String(error),
    ...(hint !== undefined && { hint }),
  }
}

function describeHost(host: ResolvedHost, isTarget: boolean): readonly Diagnosis[] {
  const from = (name: string): string => {
    const origin = host.origins.get(name)
    return origin === undefined || origin === 'default' ? '' : ` (${origin})`
  }
  const keys = host.identityFiles.length === 0 ? 'none' : host.identityFiles.join(', ')
  const found = [
    `${host.user}${from('user')} at ${host.host}${from('host')}, port ${host.port}${from('port')}`,
    `keys ${keys}${from('keys')}${host.agent === undefined ? '' : ', agent'}`,
    `known hosts ${host.knownHostsFiles.join(', ')}${from('known hosts')}`,
  ].join('; ')
  return [
    { check: `ssh: ${isTarget ? 'host' : 'jump host'} ${host.alias}`, status: 'ok', found },
    ...host.notes.map((note): Diagnosis => ({
      check: `ssh: configuration of ${host.alias}`,
      status: 'warning',
      found: note,
    })),
  ]
}

async function checkClock({ runner }: DiagnoseParts, { signal }: CallOptions): Promise<readonly Diagnosis[]> {
  const options = signal === undefined ? {} : { signal }
  const beforeMs = Date.now()
  const { stdout } = await runner.run({ argv: ['date', '+%s'], timeoutMs: 20_000 }, options)
  const afterMs = Date.now()
  const thereMs = 1000 * Number(stdout.trim())
  const skewMs = thereMs + 1000 < beforeMs ? beforeMs - thereMs : Math.max(0, thereMs - afterMs)
  return [
    skewMs > CLOCK_SKEW_MS
      ? {
          check: 'ssh: clock',
          status: 'warning',
          found: `the clock there differs by ${Math.round(skewMs / 1000)} s`,
          hint: 'Let both machines take their time from the same server (NTP).',
        }
      : { check: 'ssh: clock', status: 'ok', found: 'agrees with this machine' },
  ]
}

async function checkSftp(
  { connection, config }: DiagnoseParts,
  { signal }: CallOptions,
): Promise<readonly Diagnosis[]> {
  if (!config.sftp) return [{ check: 'ssh: sftp', status: 'ok', found: 'not used (`sftp: false`)' }]
  try {
    await connection.sftp(signal)
    return [{ check: 'ssh: sftp', status: 'ok', found: 'there' }]
  } catch (error) {
    if (error instanceof PipelineError || isAbort(error)) throw error
    return [
      {
        check: 'ssh: sftp',
        status: 'warning',
        found: 'refused; large files go through commands, more slowly',
        hint: 'See `Subsystem sftp` in its sshd_config.',
      },
    ]
  }
}

/** What the small programs for files need. */
const TOOLS = ['cat', 'find', 'head', 'mkdir', 'mv', 'rm', 'sha256sum', 'stat', 'tail', 'tar', 'xargs']

async function checkTools({ runner }: DiagnoseParts, { signal }: CallOptions): Promise<readonly Diagnosis[]> {
  const script =
    'for ow_tool in "$@"; do command -v -- "$ow_tool" >/dev/null || printf "%s\\n" "$ow_tool"; done; printf "%s\\n" "$PATH" >&2'
  const { stdout, stderr } = await runner.run(
    { argv: ['/bin/sh', '-c', script, 'sh', ...TOOLS], timeoutMs: 20_000 },
    signal === undefined ? {} : { signal },
  )
  const missing = stdout.split('\n').filter((word) => word !== '')
  return [
    missing.length === 0
      ? { check: 'ssh: programs', status: 'ok', found: `all there; PATH is ${stderr.trim()}` }
      : {
          check: 'ssh: programs',
          status: 'problem',
          found: `missing: ${missing.join(', ')}; PATH is ${stderr.trim()}`,
          hint: 'Install them, or add their folder to `path` of the transport.',
        },
  ]
}

/** What `quota` or Lustre tells of this account, where they are there. Only shown: their forms are many. */
async function checkQuota(
  { runner }: DiagnoseParts,
  { signal, workRoot }: CallOptions & { readonly workRoot?: string },
): Promise<readonly Diagnosis[]> {
  if (workRoot === undefined) return []
  const script = `
folder=$1
while [ ! -d "$folder" ]; do folder=$(dirname -- "$folder"); done
if [ "$(stat -f -c %T -- "$folder" 2>/dev/null)" = lustre ] && command -v lfs >/dev/null; then lfs quota -q -h -u "$(id -un)" "$folder"; exit; fi
command -v quota >/dev/null || exit 92
quota -s 2>/dev/null
`
  const { exitCode, stdout } = await runner.run(
    { argv: ['/bin/sh', '-c', script, 'sh', workRoot], timeoutMs: 20_000 },
    signal === undefined ? {} : { signal },
  )
  if (exitCode === 92)
    return [{ check: 'ssh: quota', status: 'ok', found: 'not known: there is no program `quota`' }]
  const said = stdout.trim().replace(/\s*\n\s*/g, ' / ')
  if (said === '') return [{ check: 'ssh: quota', status: 'ok', found: 'none is set for this account' }]
  // Both programs mark with a star what is beyond a limit.
  if (!/\d[kKMGTP]?\*/.test(said)) return [{ check: 'ssh: quota', status: 'ok', found: said }]
  return [
    {
      check: 'ssh: quota',
      status: 'warning',
      found: said,
      hint: 'What is marked with * is beyond its limit: jobs and transfers will fail when the grace time is over.',
    },
  ]
}
