import { formatMemory, parseDuration } from '@orbweaver/core'
import type { Faults, Outage, Sandbox, SandboxUser, SeedSource } from '@orbweaver/xnat-sandbox'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bind } from '../program.js'
import { EXIT, UsageError, shortPath } from '../exit.js'
import type { Session } from '../session.js'
import { quoteForShell } from '../terminal/shell.js'
import { count, safeForTerminal } from '../terminal/text.js'
import { PASSWORDS, writePasswords } from '../xnat-passwords.js'
import { withSample } from '../sample.js'

interface SandboxCommandOptions {
  readonly directory: string
  readonly host: string
  readonly port: number
  readonly seed?: string
  readonly user?: readonly SandboxUser[]
  readonly log?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly contextPath?: string
  readonly procTypes: boolean
  readonly maxSessions?: number
  readonly latency?: number
  readonly jitter?: number
  readonly errorRate?: number
  readonly dropRate?: number
  readonly truncateRate?: number
  readonly lieRate?: number
  readonly outage?: readonly Outage[]
}

const SAMPLE = 'sample'

export function registerSandbox(program: Command, bind: Bind): void {
  const command = program
    .command('sandbox')
    .summary('an XNAT server to try things on')
    .description(
      'Start a server that speaks the part of the XNAT API that pipelines use, with users, persistence and, when wanted, ' +
        'trouble. It listens on this machine only, keeps everything in one folder, and runs until Ctrl-C.',
    )
    .option('--directory <folder>', 'where it keeps its data; made when it is not there', './xnat-sandbox')
    .addOption(
      new Option('--port <number>', 'listen here; 0: any that is free').argParser(portNumber).default(8180),
    )
    .option('--host <address>', 'listen on this address', '127.0.0.1')
    .option('--seed <archive>', `fill it: a folder archive, or "${SAMPLE}" for the sample images`)
    .addOption(
      new Option(
        '--user <name[=role@project,...]>',
        'a user, with roles owner, member or collaborator; may be repeated',
      ).argParser(collect(userOf)),
    )
    .option('--log <file>', 'write one line a request there')
    .option('--tls-cert <file>', 'speak HTTPS: certificate (PEM)')
    .option('--tls-key <file>', 'and its key')
    .option('--context-path <path>', 'live below this path, as /xnat')
    .option(
      '--no-proc-types',
      'be a site without the processing types proc:genProcData and proc:subjGenProcData',
    )
    .addOption(new Option('--max-sessions <number>', 'logins of one user at a time').argParser(wholeNumber))
    .addOption(
      new Option('--latency <time>', 'every reply is this much later, as 20ms').argParser(milliseconds),
    )
    .addOption(new Option('--jitter <time>', 'up to this much more').argParser(milliseconds))
    .addOption(
      new Option('--error-rate <share>', 'requests that fail with 500, 502, 503 or 504, as 5%').argParser(
        share,
      ),
    )
    .addOption(new Option('--drop-rate <share>', 'connections that break').argParser(share))
    .addOption(new Option('--truncate-rate <share>', 'replies that stop half-way').argParser(share))
    .addOption(
      new Option('--lie-rate <share>', 'uploads that are answered with 200 and not stored').argParser(share),
    )
    .addOption(
      new Option('--outage <start+duration>', 'away for a while, as 30s+60s; may be repeated').argParser(
        collect(outageOf),
      ),
    )
  bind<SandboxCommandOptions>(command, async (session, options) => {
    const { logLine, startSandbox } = await import('@orbweaver/xnat-sandbox')
    const tls = await tlsOf(session, options)
    const directory = session.path(options.directory)
    const { contextPath, maxSessions, log } = options
    const sandbox = await startSandbox({
      directory,
      host: options.host,
      port: options.port,
      genProcData: options.procTypes,
      users: options.user ?? [],
      faults: faultsOf(options),
      ...(tls !== undefined && { tls }),
      ...(contextPath !== undefined && { contextPath }),
      ...(maxSessions !== undefined && { maxSessions }),
      ...(log !== undefined && { logFile: session.path(log) }),
      // Remarks say why a client was surprised; they are worth a line, other requests are not.
      onRequest: (request) => {
        if (session.verbose || request.note !== undefined) session.note(safeForTerminal(logLine(request)))
      },
    })
    try {
      await writePasswords(sandbox)
      if (options.seed !== undefined) await seed(session, sandbox, options.seed)
      await introduce(session, sandbox)
      if (!session.signal.aborted) await once(session.signal, 'abort')
    } finally {
      await sandbox.close()
    }
    return EXIT.good
  })
}

async function introduce(session: Session, sandbox: Sandbox): Promise<void> {
  const users = Object.values(sandbox.users)
  const passwords = join(sandbox.directory, PASSWORDS)
  if (session.json) {
    await session.answer('sandbox', {
      url: sandbox.url,
      users: users.map(({ name, admin }) => ({ name, admin })),
      passwords,
    })
    return
  }
  const { paint } = session.terminal
  const shown = quoteForShell(shortPath(passwords, session.directory))
  await session.print(`${paint.bold('XNAT sandbox')} at ${sandbox.url}`)
  await session.print(
    `Users: ${users.map(({ name, admin }) => (admin ? `${name} (administrator)` : name)).join(', ')}`,
  )
  await session.print(`Passwords: ${shown} (only you can read it)`)
  await session.print()
  await session.print('In the site file of a pipeline:')
  await session.print(`  store: { use: xnat, url: "${sandbox.url}" }`)
  await session.print('and in the shell it runs in:')
  await session.print(`  export XNAT_HOST=${quoteForShell(sandbox.url)} XNAT_USER=admin`)
  await session.print(`  export XNAT_PASS="$(sed -n 's/^admin //p' ${shown})"`)
  await session.print()
  await session.print('Press Ctrl-C to end it; the data stay.')
}

async function seed(session: Session, sandbox: Sandbox, word: string): Promise<void> {
  const { FolderStore } = await import('@orbweaver/adapter-local')
  const fill = async (source: SeedSource, name: string): Promise<void> => {
    const before = Date.now()
    const { sessions, files, bytes } = await sandbox.seed(source, { signal: session.signal })
    session.note(
      `Filled from ${name}: ${count(sessions, 'session')}, ${count(files, 'new file')} (${formatMemory(bytes)}) in ${((Date.now() - before) / 1000).toFixed(1)} s.`,
    )
  }
  if (word !== SAMPLE) {
    const store = await FolderStore.open({ path: session.path(word) })
    await fill(store, shortPath(session.path(word), session.directory)).finally(() => store.close())
    return
  }
  await withSample(session, (store) => fill(store, 'the sample images'))
}

async function tlsOf(
  session: Session,
  { tlsCert, tlsKey }: SandboxCommandOptions,
): Promise<{ cert: Buffer; key: Buffer } | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new UsageError('HTTPS needs a certificate and its key.', 'Give both --tls-cert and --tls-key.')
  }
  return { cert: await readFile(session.path(tlsCert)), key: await readFile(session.path(tlsKey)) }
}

function faultsOf(options: SandboxCommandOptions): Faults {
  const { latency, jitter, errorRate, dropRate, truncateRate, lieRate, outage } = options
  return {
    ...(latency !== undefined && { latencyMs: latency }),
    ...(jitter !== undefined && { jitterMs: jitter }),
    ...(errorRate !== undefined && { errorRate }),
    ...(dropRate !== undefined && { dropRate }),
    ...(truncateRate !== undefined && { truncateRate }),
    ...(lieRate !== undefined && { lieRate }),
    ...(outage !== undefined && { outages: outage }),
  }
}

// -- words of the command line

function collect<T>(
  read: (word: string) => T,
): (word: string, before: readonly T[] | undefined) => readonly T[] {
  return (word, before = []) => [...before, read(word)]
}

function portNumber(word: string): number {
  const port = wholeNumber(word)
  if (port > 65_535) throw new InvalidArgumentError('Ports end at 65535.')
  return port
}

function wholeNumber(word: string): number {
  if (!/^\d+$/.test(word)) throw new InvalidArgumentError('A whole number is needed.')
  return Number(word)
}

/** `20ms`, or what other options take: `2s`, `1m30s`. */
function milliseconds(word: string): number {
  const short = /^(\d+(?:\.\d+)?)\s*ms$/.exec(word)
  if (short !== null) return Number(short[1])
  try {
    return parseDuration(word) * 1000
  } catch {
    throw new InvalidArgumentError('A time is needed, as 20ms or 2s.')
  }
}

/** `5%` or `0.05`. */
function share(word: string): number {
  const value = word.endsWith('%') ? Number(word.slice(0, -1)) / 100 : Number(word)
  if (word.trim() === '' || !(value >= 0 && value <= 1))
    throw new InvalidArgumentError('A share is needed, as 5% or 0.05.')
  return value
}

function outageOf(word: string): Outage {
  const [start = '', duration = '', ...more] = word.split('+')
  if (more.length > 0 || duration === '')
    throw new InvalidArgumentError('Start and duration are needed, as 30s+60s.')
  return { startMs: milliseconds(start), durationMs: milliseconds(duration) }
}

const ROLES = ['owner', 'member', 'collaborator'] as const

/** `bob`, `bob=member@P1,collaborator@P2`. */
function userOf(word: string): SandboxUser {
  const [name = '', roles] = word.split('=', 2)
  if (!/^[\w.-]+$/.test(name))
    throw new InvalidArgumentError('A user name is letters, digits, "_", "." and "-".')
  if (roles === undefined) return { name }
  const projects = roles.split(',').map((entry) => {
    const [role, project = ''] = entry.split('@')
    const known = ROLES.find((one) => one === role)
    if (known === undefined || project === '')
      throw new InvalidArgumentError('Roles are written role@project, as member@P1.')
    return [project, known] as const
  })
  return { name, projects: Object.fromEntries(projects) }
}
