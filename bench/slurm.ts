/**
 * What Slurm is asked for: 1 000 jobs that do nothing, through a loop of `sbatch`, one `sbatch --array` by hand, the backend, and
 * the whole engine, on one real Slurm in one run; then the cost of a look at 5 000 jobs in the queue.
 *
 *   node bench/dist/slurm.js [JOBS] [QUEUED]
 *
 * On the Slurm named by SLURM_CONF. Without it, as root and where Slurm is installed, one is started on loopback and ended.
 */

import { FolderStore } from '@orbweaver/adapter-local'
import { createSlurmBackend } from '@orbweaver/adapter-slurm'
import {
  createEngine,
  createLocalTransport,
  DEFAULT_REQUIREMENTS,
  openJournal,
  silentNotifier,
  systemClock,
  type ClusterBackend,
  type JobId,
  type JobSpec,
  type Transport,
} from '@orbweaver/core'
import { openSite } from '@orbweaver/cli'
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { PROJECT, writeSite } from './site.js'
import { printTable, seconds } from './table.js'

const NOTHING = `name: nothing
version: 1.0.0
level: session
inputs:
  note: { scan: { type: NOTE }, resource: TXT }
requirements: { cpus: 1, memory: 16 MB, walltime: 10m }
command: [cp, "{inputs.note}", "{outputs}/result.txt"]
outputs:
  DATA: { path: result.txt, required: true }
`

const jobs = Number(process.argv[2] ?? 1000)
const queued = Number(process.argv[3] ?? 5000)
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-bench-slurm-'))
const lab = fileURLToPath(new URL('../../test/lab/slurm/slurm-lab', import.meta.url))
const ownLab = process.env['SLURM_CONF'] === undefined ? path.join(scratch, 'lab') : undefined
const token = Date.now().toString(36)
const logger = { log: () => undefined }

// ---------------------------------------------------------------- 1 000 jobs, four ways

async function submitting(): Promise<void> {
  const rows: string[][] = []
  let loopMs: number | undefined
  const report = (name: string, way: Way): void => {
    loopMs ??= way.submitMs
    console.error(`${name}: submit ${seconds(way.submitMs)}, all ended ${seconds(way.allMs)}`)
    const times = loopMs / way.submitMs
    rows.push([
      name,
      seconds(way.submitMs),
      `${times.toFixed(times < 10 ? 1 : 0)} x`,
      String(way.submitCommands),
      way.otherCommands === undefined ? '' : String(way.otherCommands),
      seconds(way.allMs),
      way.cpuMs === undefined ? '' : seconds(way.cpuMs),
    ])
  }
  const plain = ['--output=/dev/null', '--time=10', '--mem=16', '--wrap=true']
  report(
    'loop of sbatch',
    await way(() => {
      for (let index = 0; index < jobs; index += 1) run('sbatch', ...plain)
      return { submitCommands: jobs }
    }),
  )
  report(
    'sbatch --array by hand',
    await way(() => {
      run('sbatch', `--array=0-${jobs - 1}`, ...plain)
      return { submitCommands: 1 }
    }),
  )
  for (const arrays of [true, false]) {
    const counted = new Counted()
    const backend = backendOf(counted.transport, arrays)
    report(
      `backend, ${arrays ? 'arrays' : 'no arrays'}`,
      await way(async () => {
        await submitAll(backend, specs(`${arrays}`, jobs))
        return { submitCommands: counted.total() }
      }),
    )
    await backend.close()
  }
  report('whole engine: stage, run, upload, verify', await wholeEngine())
  printTable(['WHAT', 'SUBMIT', 'FASTER', 'COMMANDS', 'ALL OTHER', 'ALL ENDED', 'CONTROLLER CPU'], rows)
}

interface Way {
  readonly submitMs: number
  readonly submitCommands: number
  readonly otherCommands?: number
  readonly allMs: number
  readonly cpuMs?: number
}

/** Submits, and waits until the queue is empty. */
async function way(
  submit: () => { readonly submitCommands: number } | Promise<{ readonly submitCommands: number }>,
): Promise<Way> {
  const cpuBefore = controllerCpuMs()
  const started = performance.now()
  const { submitCommands } = await submit()
  const submitMs = performance.now() - started
  await queueEmpty()
  return { submitMs, submitCommands, allMs: performance.now() - started, ...cpuSince(cpuBefore) }
}

async function queueEmpty(): Promise<void> {
  // One small question a second: its share of the controller's time is the same in every way.
  while (run('squeue', '-h', '-o', '%i', '-t', 'PD,R,CG').trim() !== '') await sleep(1000)
}

async function wholeEngine(): Promise<Way> {
  const folder = path.join(scratch, 'engine')
  const limits = `limits: { jobs: ${jobs} }\ntiming: { poll: 5s }\n`
  const file = writeSite({ folder, processors: { nothing: NOTHING }, limits })
  const note = path.join(scratch, 'note.txt')
  fs.writeFileSync(note, 'a note\n')
  const store = await FolderStore.open({ path: path.join(folder, 'archive'), create: true })
  await store.ingest(
    [...Array(jobs).keys()].map((index) => ({
      project: PROJECT,
      subject: `S${index}`,
      session: `S${index}_E1`,
      scan: { label: '1', type: 'NOTE' },
      resource: 'TXT',
      files: [{ path: 'note.txt', source: note }],
    })),
  )
  const site = await openSite(file, undefined)
  fs.mkdirSync(site.stateDirectory, { recursive: true })
  const counted = new Counted()
  const backend = backendOf(counted.transport, true, site.workRoot)
  const journal = openJournal(path.join(site.stateDirectory, 'journal.db'))
  const engine = createEngine({
    settings: site.settings,
    store,
    backend,
    transport: counted.transport,
    journal,
    clock: systemClock,
    logger,
    notifier: silentNotifier,
  })
  const cpuBefore = controllerCpuMs()
  const started = performance.now()
  try {
    const summary = await engine.run({})
    if (summary.completed !== jobs) throw new Error(`${summary.completed} of ${jobs} tasks complete`)
    const allMs = performance.now() - started
    return {
      submitMs: counted.ms('sbatch'),
      submitCommands: counted.count('sbatch'),
      otherCommands: counted.total() - counted.count('sbatch'),
      allMs,
      ...cpuSince(cpuBefore),
    }
  } finally {
    await engine.close()
    await Promise.all([store.close(), backend.close()])
    journal.close()
  }
}

// ---------------------------------------------------------------- many jobs in the queue

async function looking(): Promise<void> {
  const counted = new Counted()
  const backend = backendOf(counted.transport, true, path.join(scratch, 'queued'), { begin: 'now+1hour' })
  const rows: string[][] = []
  const step = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    counted.reset()
    const cpuBefore = controllerCpuMs()
    const started = performance.now()
    await work()
    const { cpuMs } = cpuSince(cpuBefore)
    rows.push([
      name,
      seconds(performance.now() - started),
      String(counted.total()),
      cpuMs === undefined ? '' : seconds(cpuMs),
    ])
  }
  let ids: readonly JobId[] = []
  await step(`submit ${queued} jobs that wait`, async () => {
    ids = await submitAll(backend, specs('queued', queued))
  })
  await step(`look at ${queued} waiting jobs`, async () => {
    const seen = await backend.query(ids)
    if (seen.size !== queued) throw new Error(`${seen.size} of ${queued} seen`)
  })
  await step('look again', () => backend.query(ids))
  await step(`find ${queued} jobs by name`, async () => {
    const found = await backend.find(specs('queued', queued).map(({ name }) => name))
    if (found.size !== queued) throw new Error(`${found.size} of ${queued} found`)
  })
  await step(`cancel ${queued} jobs`, () => backend.cancel(ids))
  await backend.close()
  console.log('')
  printTable(['WHAT', 'TIME', 'COMMANDS', 'CONTROLLER CPU'], rows)
}

// ---------------------------------------------------------------- tools

function backendOf(
  transport: Transport,
  arrays: boolean,
  workRoot = path.join(scratch, `backend-${arrays}`),
  more: object = {},
): ClusterBackend {
  fs.mkdirSync(workRoot, { recursive: true })
  const conf = process.env['SLURM_CONF']
  return createSlurmBackend({
    config: { arrays, ...(conf !== undefined && { conf }), ...more },
    transport,
    clock: systemClock,
    workRoot,
  })
}

function specs(kind: string, count: number): JobSpec[] {
  const directory = path.join(scratch, `jobs-${kind}`)
  fs.mkdirSync(directory, { recursive: true })
  return [...Array(count).keys()].map((index) => ({
    name: `ow-bench-${token}-${kind}-${index}`,
    command: ['true'],
    directory,
    stdoutPath: '/dev/null',
    stderrPath: '/dev/null',
    requirements: { ...DEFAULT_REQUIREMENTS, memoryBytes: 16 * 1024 ** 2, walltimeSeconds: 600 },
    groupKey: 'bench',
  }))
}

async function submitAll(backend: ClusterBackend, all: readonly JobSpec[]): Promise<readonly JobId[]> {
  return (await backend.submit(all)).map((outcome) => {
    if (outcome.kind !== 'accepted') throw new Error(`not accepted: ${JSON.stringify(outcome)}`)
    return outcome.id
  })
}

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', cwd: scratch, maxBuffer: 64 * 1024 ** 2 })
}

/** Commands by program, and how long they took. */
class Counted {
  readonly transport: Transport
  readonly #seen = new Map<string, { count: number; ms: number }>()

  constructor() {
    const transport = createLocalTransport()
    this.transport = {
      name: transport.name,
      files: transport.files,
      close: () => transport.close(),
      runner: {
        run: async (command, options) => {
          const started = performance.now()
          try {
            return await transport.runner.run(command, options)
          } finally {
            const name = path.basename(command.argv[0] ?? '')
            const before = this.#seen.get(name) ?? { count: 0, ms: 0 }
            this.#seen.set(name, {
              count: before.count + 1,
              ms: before.ms + performance.now() - started,
            })
          }
        },
      },
    }
  }

  count(program: string): number {
    return this.#seen.get(program)?.count ?? 0
  }

  ms(program: string): number {
    return this.#seen.get(program)?.ms ?? 0
  }

  /** Of the scheduler's programs. */
  total(): number {
    return [...this.#seen].reduce((sum, [name, { count }]) => sum + (name === 'id' ? 0 : count), 0)
  }

  reset(): void {
    this.#seen.clear()
  }
}

/** What the controller of our own lab has used so far; of another's we do not know. */
function controllerCpuMs(): number | undefined {
  if (ownLab === undefined) return undefined
  const pid = fs.readFileSync(path.join(ownLab, 'run', 'slurmctld.pid'), 'utf8').trim()
  // Fields 14 and 15 of proc(5) stat, in ticks of 10 ms; the name before them may hold spaces.
  const fields = fs
    .readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

function cpuSince(before: number | undefined): { readonly cpuMs?: number } {
  const now = controllerCpuMs()
  return before === undefined || now === undefined ? {} : { cpuMs: now - before }
}

// Told to stop: what is started here is ended all the same.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
process.once('exit', () => {
  if (ownLab !== undefined) spawnSync(lab, ['down', ownLab], { stdio: 'ignore' })
  fs.rmSync(scratch, { recursive: true, force: true, maxRetries: 5 })
})

// Last, because classes are not there before their line.
if (ownLab !== undefined) {
  execFileSync(lab, ['up', ownLab, '--port', '23817', '--cpus', '256', '--memory', '256000'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  process.env['SLURM_CONF'] = path.join(ownLab, 'etc', 'slurm.conf')
}
const version = run('sbatch', '--version').trim()
console.log(`Node ${process.versions.node}, ${version}, ${jobs} jobs, ${os.availableParallelism()} cores\n`)
await submitting()
await looking()
