import {
  NotFoundError,
  PipelineError,
  checkByJob,
  formatMemory,
  interpreterFor,
  isAbort,
  openJournal,
  onNetworkFileSystem,
  systemClock,
  type Diagnosis,
  type Processor,
} from '@orbweaver/core'
import type { Command } from 'commander'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { access, constants, mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Services } from '../container.js'
import type { Bind } from '../program.js'
import { writeRows } from '../doctor-writer.js'
import { EXIT, didYouMean } from '../exit.js'
import { distinctProcessors } from '../ready.js'
import type { Session } from '../session.js'
import { count } from '../terminal/text.js'
import { paintDiagnosis } from '../terminal/words.js'

/** Less than this and real work soon stops. */
const LOW_SPACE = 5 * 1024 ** 3
/** Clocks that differ by more make times in logs and on files useless. */
const CLOCK_SKEW_MS = 5_000
const ROWS = 100

export function registerDoctor(program: Command, bind: Bind): void {
  const command = program
    .command('doctor')
    .summary('is everything there that is needed?')
    .description(
      'Look at everything that has to work: archive, cluster, folders, database locking, clocks, and the programs that ' +
        'processors need. Exit code 1 when something is a problem.',
    )
    .option('--job', 'also submit one tiny job: does a node see the work root, is its clock right?')
  bind(command, async (session) => {
    const services = await session.open()
    const results: Diagnosis[] = []
    for (const check of CHECKS)
      results.push(...(await guarded(check.name, () => check.run(session, services))))
    if (command.opts<{ readonly job?: boolean }>().job === true)
      results.push(...(await guarded('job', () => checkOnNode(session, services))))
    const problems = results.filter(({ status }) => status === 'problem').length
    const warnings = results.filter(({ status }) => status === 'warning').length
    if (session.json) {
      await session.answer('doctor', { ok: problems === 0, problems, warnings, checks: results })
      return problems > 0 ? EXIT.failed : EXIT.good
    }
    const { paint } = session.terminal
    await session.table(
      [
        {
          head: '',
          value: ({ status }) => status,
          paint: (cell, { status }) => paintDiagnosis(paint, status)(cell),
        },
        { head: 'CHECK', value: ({ check }) => check, narrow: 'wrap', least: 16 },
        {
          head: 'FOUND',
          value: ({ found, hint, status }) =>
            hint === undefined || status === 'ok' ? found : `${found}\n→ ${hint}`,
          narrow: 'wrap',
          least: 30,
        },
      ],
      results,
    )
    const words = [
      problems > 0 ? count(problems, 'problem') : '',
      warnings > 0 ? count(warnings, 'warning') : '',
    ].filter((word) => word !== '')
    await session.print()
    await session.print(words.length === 0 ? 'All is well.' : `${words.join(', ')}.`)
    return problems > 0 ? EXIT.failed : EXIT.good
  })
}

interface Check {
  readonly name: string
  run(session: Session, services: Services): Promise<readonly Diagnosis[]>
}

const CHECKS: readonly Check[] = [
  { name: 'node', run: async () => [checkNode()] },
  { name: 'site file', run: checkSite },
  { name: 'archive', run: async (session, { store }) => store.diagnose({ signal: session.signal }) },
  { name: 'projects', run: checkProjects },
  {
    name: 'transport',
    run: async (session, { transport, site }) =>
      (await transport.diagnose?.({ signal: session.signal, workRoot: site.workRoot })) ?? [],
  },
  { name: 'cluster', run: async (session, { backend }) => backend.diagnose({ signal: session.signal }) },
  { name: 'work root', run: checkWorkRoot },
  { name: 'state folder', run: checkState },
  { name: 'programs', run: checkPrograms },
]

/** A check that cannot be made is a problem like any other; the rest are still made. */
async function guarded(
  name: string,
  run: () => Promise<readonly Diagnosis[]>,
): Promise<readonly Diagnosis[]> {
  try {
    return await run()
  } catch (error) {
    if (isAbort(error)) throw error
    const hint = error instanceof PipelineError ? error.hint : undefined
    return [
      {
        check: name,
        status: 'problem',
        found: error instanceof Error ? error.message : String(error),
        ...(hint !== undefined && { hint }),
      },
    ]
  }
}

async function checkOnNode(
  session: Session,
  { backend, transport, site }: Services,
): Promise<readonly Diagnosis[]> {
  const { files } = transport
  return await checkByJob({
    backend,
    files,
    clock: systemClock,
    workRoot: site.workRoot,
    signal: session.signal,
  })
}

function checkNode(): Diagnosis {
  return { check: 'node', status: 'ok', found: `Node.js ${process.versions.node} (${process.execPath})` }
}

async function checkSite(session: Session): Promise<readonly Diagnosis[]> {
  const site = await session.site()
  const { projects } = site.settings
  const found = `${site.file}: ${count(projects.length, 'project')}${site.profile === undefined ? '' : `, profile ${site.profile}`}`
  return projects.length === 0
    ? [{ check: 'site file', status: 'problem', found, hint: 'Add a project under `projects:`.' }]
    : [{ check: 'site file', status: 'ok', found }]
}

async function checkProjects(session: Session, { store, engine }: Services): Promise<readonly Diagnosis[]> {
  const there = await store.projects({ signal: session.signal })
  const missing = engine.settings.projects.filter(({ id }) => !there.includes(id))
  if (missing.length === 0) return [{ check: 'projects', status: 'ok', found: 'all are in the archive' }]
  return missing.map(({ id }) => ({
    check: `project ${id}`,
    status: 'problem',
    found: 'not in the archive, or hidden from this user',
    hint: `${didYouMean(id, there, 'projects in the archive') ?? ''} To bring images in: orbweaver import DIR --project ${id}`.trim(),
  }))
}

async function checkWorkRoot(session: Session, { transport, site }: Services): Promise<readonly Diagnosis[]> {
  const { files } = transport
  const { signal } = session
  const { workRoot } = site
  const probe = `${workRoot}/.orbweaver-doctor-${randomUUID()}`
  await files.mkdir(workRoot, { signal })
  const before = Date.now()
  await files.writeAtomic(probe, 'orbweaver doctor\n', { signal })
  const results: Diagnosis[] = []
  try {
    const local = files.localPath?.(probe)
    if (local !== undefined) {
      const { mtimeMs } = await stat(local)
      const skew = mtimeMs < before ? before - mtimeMs : Math.max(0, mtimeMs - Date.now())
      results.push(
        skew > CLOCK_SKEW_MS
          ? {
              check: 'clock',
              status: 'warning',
              found: `the file server's clock differs by ${Math.round(skew / 1000)} s`,
              hint: 'Let both machines take their time from the same server (NTP).',
            }
          : { check: 'clock', status: 'ok', found: 'agrees with the file system' },
      )
    }
  } finally {
    await files.remove(probe, { signal })
  }
  const free = await files.freeSpace(workRoot, { signal })
  results.unshift({
    check: 'work root',
    status: free < LOW_SPACE ? 'warning' : 'ok',
    found: `${workRoot}: writable, ${formatMemory(free)} free`,
    ...(free < LOW_SPACE && { hint: 'Free some space, or set `workRoot` to a larger file system.' }),
  })
  const local = files.localPath?.(workRoot)
  if (local !== undefined) {
    const { mode } = await stat(local)
    if ((mode & 0o077) !== 0) {
      results.push({
        check: 'work root: mode',
        status: 'warning',
        found: `others may look into ${workRoot} (mode ${(mode & 0o777).toString(8)})`,
        hint: `chmod 700 ${workRoot}`,
      })
    }
  }
  return results
}

/** Locks that do not lock are worse than none: prove them with two processes. */
async function checkState(session: Session, { site }: Services): Promise<readonly Diagnosis[]> {
  const { stateDirectory } = site
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 })
  const file = join(stateDirectory, `doctor-${randomUUID()}.db`)
  const network = onNetworkFileSystem(stateDirectory) ? 'network file system' : 'local file system'
  try {
    openJournal(file).close()
    const other = promisify(execFile)(
      process.execPath,
      [fileURLToPath(new URL('../doctor-writer.js', import.meta.url)), file, 'second', String(ROWS)],
      { signal: session.signal, timeout: 60_000 },
    )
    writeRows(file, 'first', ROWS)
    await other
    const journal = openJournal(file)
    const rows = journal.openAttempts().length
    journal.close()
    return [
      rows === 2 * ROWS
        ? {
            check: 'state folder',
            status: 'ok',
            found: `${stateDirectory}: locking works between processes (${network})`,
          }
        : {
            check: 'state folder',
            status: 'problem',
            found: `${stateDirectory}: of ${2 * ROWS} rows written by two processes ${rows} are there (${network})`,
            hint: 'Set `stateDirectory` to a folder on a local disk.',
          },
    ]
  } catch (error) {
    if (isAbort(error)) throw error
    return [
      {
        check: 'state folder',
        status: 'problem',
        found: `${stateDirectory}: two processes cannot write one database there (${network}): ${error instanceof Error ? error.message.trim() : String(error)}`,
        hint: 'Set `stateDirectory` to a folder on a local disk.',
      },
    ]
  } finally {
    for (const suffix of ['', '-wal', '-shm', '-journal']) await rm(file + suffix, { force: true })
  }
}

async function checkPrograms(session: Session, services: Services): Promise<readonly Diagnosis[]> {
  const { settings } = services.engine
  const results: Diagnosis[] = []
  for (const processor of distinctProcessors(settings.projects))
    results.push(await checkProcessor(session, services, processor))
  return results
}

async function checkProcessor(
  session: Session,
  services: Services,
  processor: Processor,
): Promise<Diagnosis> {
  const check = `processor ${processor.name}`
  if (processor.script !== undefined) {
    try {
      await access(processor.script.path, constants.R_OK)
    } catch {
      return {
        check,
        status: 'problem',
        found: `its script cannot be read: ${processor.script.path}`,
        hint: 'Check the path in the processor file.',
      }
    }
  }
  const runtimes = ['apptainer', 'singularity', 'podman', 'docker']
  const runtime = processor.container?.runtime ?? services.engine.settings.containerRuntime
  const wanted =
    processor.container === undefined
      ? [...interpretersOf(processor), ...processor.programs].map((program) => [program])
      : [runtime === undefined ? runtimes : [runtime]]
  const found: string[] = []
  const missing: string[] = []
  for (const choices of wanted) {
    const path = await firstThere(session, services, choices)
    if (path === undefined) missing.push(choices.join(' or '))
    else found.push(path)
  }
  if (missing.length === 0) {
    return { check, status: 'ok', found: found.length === 0 ? 'needs no programs' : found.join(', ') }
  }
  // The login node of a cluster may lack what compute nodes have; this machine may not.
  const here = services.backend.name === 'local'
  return {
    check,
    status: here ? 'problem' : 'warning',
    found: `not found: ${missing.join(', ')}`,
    hint: here
      ? 'Install it, or put its folder on PATH before starting orbweaver; or leave the processor out.'
      : 'Not on the machine where commands run; jobs find it only if the compute nodes have it.',
  }
}

function interpretersOf({ script }: Processor): readonly string[] {
  if (script === undefined) return []
  return (script.interpreter ?? interpreterFor(script.path) ?? []).slice(0, 1)
}

async function firstThere(
  session: Session,
  { transport }: Services,
  programs: readonly string[],
): Promise<string | undefined> {
  for (const program of programs) {
    // The program's name is an argument of a fixed script, never part of its text.
    const argv = ['sh', '-c', 'command -v -- "$1"', 'sh', program]
    try {
      const { exitCode, stdout } = await transport.runner.run(
        { argv, timeoutMs: 20_000 },
        { signal: session.signal },
      )
      if (exitCode === 0 && stdout.trim() !== '') return stdout.trim()
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
    }
  }
  return undefined
}
