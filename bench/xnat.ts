/**
 * Requests to an XNAT, and seconds, for what a site does every day: one project of 100 (and 1 000) sessions with 3 scans each,
 * 2 processors, an archive that answers each request 20 ms later. And one large file up and down, against curl.
 *
 *   node bench/dist/xnat.js                   all of it
 *   node bench/dist/xnat.js 100 1000          passes over projects of these sizes alone
 *   node bench/dist/xnat.js throughput        the large file alone
 *
 * The archive is the sandbox, in a process of its own. The figures for DAX 2.18 are quoted for a project of this shape: this
 * program does not run DAX, and the machine they were taken on was another one.
 */

import { XnatClient, XnatCredentials, XnatDataStore } from '@orbweaver/xnat'
import { startSandbox } from '@orbweaver/xnat-sandbox'
import { createFolderSink, createFolderSource, type EngineEvent, type RunSummary } from '@orbweaver/core'
import { fork, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openServices } from './site.js'
import { megabytes, printTable, seconds } from './table.js'

const LATENCY_MS = 20
const PROJECT = 'BENCH'
const PASSWORD = 'only-for-this-run'
const LARGE_BYTES = 1024 ** 3
/** Of the large file up and down. */
const ROUNDS = 5

/** Quoted, not measured here: what DAX 2.18 needs for 100 sessions, requests and seconds. */
const DAX: Readonly<Record<string, string>> = {
  'first build, 200 tasks made': '5 939, 134 s',
  'pass with nothing to do': '410, 10.5 s',
  '200 results uploaded': '10 600, 295 s',
}

const processor = (name: string, type: string): string => `name: ${name}
version: 1.0.0
level: session
inputs:
  image: { scan: { type: ${type} }, resource: NIFTI }
requirements: { cpus: 1, memory: 16 MB, walltime: 10m }
command: [sh, -c, 'cd "$1" && mkdir out && for i in 1 2 3; do printf %020000d $i >out/$i.dat; done && echo n,1 >stats.csv && printf %050000d 1 >report.pdf', x, "{outputs}", "{inputs.image}"]
outputs:
  OUT: { path: out/, required: true }
  STATS: { path: stats.csv, required: true }
  PDF: { path: report.pdf, required: true }
`

if (process.argv[2] === 'sandbox') await sandboxProcess(process.argv[3] ?? '')
else if (process.argv[2] === 'large') await largeProcess(process.argv.slice(3))
else if (process.argv[2] === 'throughput') await large()
else await main(process.argv.slice(2).map(Number))

async function sandboxProcess(directory: string): Promise<void> {
  const sandbox = await startSandbox({
    directory,
    users: [{ name: 'bench', password: PASSWORD, admin: true }],
  })
  // Whoever started it is gone: it ends too, and leaves nothing running.
  process.once('disconnect', () => void sandbox.close())
  process.on('message', (message: Asked) => {
    if (message.stop === true) process.disconnect()
    else if (message.counts !== true) {
      sandbox.setFaults(message.latencyMs === undefined ? {} : { latencyMs: message.latencyMs })
    }
    if (process.connected) process.send?.(sandbox.counts().byRoute)
  })
  process.send?.({ url: sandbox.url })
}

interface Asked {
  readonly latencyMs?: number
  readonly counts?: true
  readonly stop?: true
}

/** Requests by kind, as `PUT experiments/{E}/assessors/{A}`. */
type Kinds = Readonly<Record<string, number>>

interface Archive {
  readonly url: string
  /** Of all requests so far. */
  kinds(): Promise<Kinds>
  latency(ms: number | undefined): Promise<void>
  stop(): Promise<void>
}

async function startArchive(directory: string): Promise<Archive> {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), ['sandbox', directory])
  const [first] = (await once(child, 'message')) as [{ readonly url: string }]
  const ask = async (message: Asked): Promise<Kinds> => {
    child.send(message)
    const [answer] = (await once(child, 'message')) as [Kinds]
    return answer
  }
  return {
    url: first.url,
    kinds: () => ask({ counts: true }),
    async latency(ms) {
      await ask(ms === undefined ? {} : { latencyMs: ms })
    },
    async stop() {
      child.send({ stop: true })
      await once(child, 'exit')
    },
  }
}

function credentials(): XnatCredentials {
  return new XnatCredentials('bench', PASSWORD)
}

async function seed(url: string, sessions: number): Promise<void> {
  const client = new XnatClient({ url, credentials: credentials(), requestLimit: 8 })
  await client.send({ method: 'PUT', path: `/data/projects/${PROJECT}` })
  const numbers = [...Array(sessions).keys()]
  const worker = async (): Promise<void> => {
    for (let index = numbers.shift(); index !== undefined; index = numbers.shift()) {
      const subject = `S${String(index + 1).padStart(5, '0')}`
      const place = { project: PROJECT, subject, session: `${subject}_MR1` }
      const experiment = await client.putSession(place, 'xnat:mrSessionData', { date: '2026-01-01' })
      for (const [scan, type] of [
        ['1', 'T1w'],
        ['2', 'T2w'],
        ['3', 'BOLD'],
      ] as const) {
        await client.putScan({ experiment, scan }, 'xnat:mrScanData', { type, quality: 'usable' })
        await client.uploadFile(
          { node: { experiment, scan }, resource: 'NIFTI' },
          'image.nii',
          `image ${index}`,
        )
      }
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  await client.close()
}

async function main(sizes: readonly number[]): Promise<void> {
  console.log(
    `Node ${process.versions.node}, ${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown'}, ${LATENCY_MS} ms latency\n`,
  )
  const rows: string[][] = []
  for (const sessions of sizes.length === 0 ? [100, 1000] : sizes) {
    const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-bench-'))
    const archive = await startArchive(path.join(scratch, 'archive'))
    try {
      await seed(archive.url, sessions)
      await archive.latency(LATENCY_MS)
      for (const row of await measure(archive, scratch, sessions)) rows.push(row)
    } finally {
      await archive.stop()
      fs.rmSync(scratch, { recursive: true, force: true })
    }
  }
  printTable(['SESSIONS', 'WHAT', 'REQUESTS', 'TIME', 'CPU', 'DAX 2.18'], rows)
  if (sizes.length > 0) return
  console.log('')
  await large()
}

async function measure(archive: Archive, scratch: string, sessions: number): Promise<string[][]> {
  process.env.XNAT_USER = 'bench'
  process.env.XNAT_PASS = PASSWORD
  delete process.env.XNAT_HOST
  const file = writeXnatSite(scratch, archive.url)
  const rows: string[][] = []
  const failures: string[] = []
  const onEvent = (event: EngineEvent): void => {
    if (event.kind === 'task' && event.to === 'failed') failures.push(`${event.label}: ${event.reason}`)
  }
  const step = async (
    what: string,
    run: (services: Awaited<ReturnType<typeof openServices>>) => Promise<RunSummary>,
  ): Promise<void> => {
    const services = await openServices(file)
    const { client } = services.store as XnatDataStore
    const before = await archive.kinds()
    const startMs = performance.now()
    const startCpu = process.cpuUsage()
    const summary = await run(services)
    await services.close()
    const ms = performance.now() - startMs
    const { user, system } = process.cpuUsage(startCpu)
    const after = await archive.kinds()
    if (summary.failedTasks + summary.problems.length > 0) {
      throw new Error([`${summary.failedTasks} tasks failed`, ...failures, ...summary.problems].join('\n'))
    }
    rows.push([
      sessions.toLocaleString('en'),
      what,
      client.requests.toLocaleString('en'),
      seconds(ms),
      seconds((user + system) / 1000),
      sessions === 100 ? (DAX[what] ?? '') : '',
    ])
    console.error(rows.at(-1)?.join('  '))
    for (const [kind, count] of Object.entries(after)) {
      const more = count - (before[kind] ?? 0)
      if (more > 0) console.error(`    ${more.toLocaleString('en').padStart(8)}  ${kind}`)
    }
  }
  const tasks = (sessions * 2).toLocaleString('en')
  const steps = { build: false, launch: false, update: false, upload: false }
  await step(`first build, ${tasks} tasks made`, ({ engine }) =>
    engine.run({}, { until: 'once', steps: { ...steps, build: true } }),
  )
  await step(`pass with nothing to do`, ({ engine }) =>
    engine.run({}, { until: 'once', steps: { ...steps, build: true } }),
  )
  await step(`${tasks} jobs launched and followed`, async ({ engine }) => {
    for (;;) {
      const summary = await engine.run({}, { until: 'once', steps: { ...steps, launch: true, update: true } })
      // Only when all have ended is what follows the cost of uploads alone.
      if (ended(path.join(scratch, 'work', PROJECT)) === sessions * 2) return summary
      await sleep(1000)
    }
  })
  await step(`${tasks} results uploaded`, ({ engine }) =>
    engine.run({}, { onEvent, steps: { ...steps, update: true, upload: true } }),
  )
  await step(`pass with everything complete`, ({ engine }) => engine.run({}, { until: 'once' }))
  return rows
}

/** Jobs that have left their record. */
function ended(folder: string): number {
  return fs.readdirSync(folder).filter((label) => fs.existsSync(path.join(folder, label, '1', 'exit.json')))
    .length
}

function writeXnatSite(folder: string, url: string): string {
  fs.writeFileSync(path.join(folder, 'one.yaml'), processor('one', 'T1w'))
  fs.writeFileSync(path.join(folder, 'two.yaml'), processor('two', 'BOLD'))
  const file = path.join(folder, 'orbweaver.yaml')
  fs.writeFileSync(
    file,
    `site: bench
store: { use: xnat, url: "${url}" }
cluster: { use: local }
workRoot: ./work
limits: { jobs: 100000, transfers: 8 }
projects: [{ id: ${PROJECT}, processors: [./one.yaml, ./two.yaml] }]
`,
  )
  return file
}

// ---------------------------------------------------------------- one large file

async function large(): Promise<void> {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-bench-'))
  const archive = await startArchive(path.join(scratch, 'archive'))
  try {
    await seed(archive.url, 1)
    const source = path.join(scratch, 'source')
    fs.mkdirSync(source)
    const file = path.join(source, 'large.dat')
    const handle = fs.openSync(file, 'w')
    const piece = Buffer.alloc(1024 ** 2, 'a gibibyte of nothing much ')
    for (let written = 0; written < LARGE_BYTES; written += piece.length) fs.writeSync(handle, piece)
    fs.closeSync(handle)
    const target = `${archive.url}/data/projects/${PROJECT}/resources/CURL/files/large.dat`
    const down = path.join(scratch, 'down.dat')
    const runs = new Map<string, Run[]>()
    const add = (what: string, run: Run | undefined): void => {
      if (run !== undefined) runs.set(what, [...(runs.get(what) ?? []), run])
    }
    // In turn, so that what else the machine does meets all of them alike.
    for (let round = 1; round <= ROUNDS; round += 1) {
      add(
        'curl, up',
        timed(() => curl(['-T', file, `${target}?inbody=true&overwrite=true`])),
      )
      add('orbweaver, up, verified', ours('up', archive.url, scratch))
      add(
        'curl, down',
        timed(() => curl(['-o', down, target])),
      )
      add(
        'curl, down, then md5sum and sync',
        timed(() => curl(['-o', down, target]) && proven(down)),
      )
      add('orbweaver, down, verified, on disk', ours('down', archive.url, scratch))
      console.error(`round ${round} of ${ROUNDS}`)
    }
    const best = (what: string): number => Math.max(0, ...(runs.get(what) ?? []).map(({ rate }) => rate))
    const rows = [...runs].map(([what, all]) => {
      const curl = best(what.includes('up') ? 'curl, up' : 'curl, down')
      const peak = Math.max(...all.map(({ peakBytes }) => peakBytes))
      return [
        what,
        best(what).toFixed(0),
        median(all.map(({ rate }) => rate)).toFixed(0),
        curl === 0 ? '' : (best(what) / curl).toFixed(2),
        peak === 0 ? '' : megabytes(peak),
      ]
    })
    printTable(['1 GiB', `BEST OF ${ROUNDS}, MiB/s`, 'MEDIAN', 'OF CURL', 'PEAK MEMORY'], rows)
  } finally {
    await archive.stop()
    fs.rmSync(scratch, { recursive: true, force: true })
  }
}

interface Run {
  /** MiB a second. */
  readonly rate: number
  /** 0: not known. */
  readonly peakBytes: number
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

/** @returns undefined: the program is not there */
function timed(run: () => boolean): Run | undefined {
  const startMs = performance.now()
  return run() ? { rate: rateSince(startMs), peakBytes: 0 } : undefined
}

function rateSince(startMs: number): number {
  return LARGE_BYTES / 1024 ** 2 / ((performance.now() - startMs) / 1000)
}

/** What a careful script does after curl, and what our client does while bytes come in. */
function proven(file: string): boolean {
  return [
    ['md5sum', file],
    ['sync', file],
  ].every(([program = '', ...args]) => spawnSync(program, args, { stdio: 'ignore' }).status === 0)
}

/** The password comes in by standard input: process lists are for everybody. */
function curl(args: readonly string[]): boolean {
  const { error, status } = spawnSync(
    'curl',
    ['--silent', '--show-error', '--fail', '--config', '-', ...args],
    {
      input: `user = "bench:${PASSWORD}"\n`,
      stdio: ['pipe', 'ignore', 'inherit'],
    },
  )
  if (error !== undefined) return false
  if (status !== 0) throw new Error(`curl: exit code ${status}`)
  return true
}

/** In a process of its own, for its peak memory. */
function ours(direction: 'up' | 'down', url: string, scratch: string): Run {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [fileURLToPath(import.meta.url), 'large', direction, url, scratch],
    { encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Run
}

async function largeProcess([direction = '', url = '', scratch = '']: readonly string[]): Promise<void> {
  const store = new XnatDataStore({ url, credentials: credentials() })
  const ref = { node: { project: PROJECT }, resource: 'OURS' }
  const files = await createFolderSource(path.join(scratch, 'source'), [
    { path: 'large.dat', bytes: LARGE_BYTES },
  ])
  if (direction === 'up') {
    // What is there already would not be sent again.
    const client = new XnatClient({ url, credentials: credentials() })
    await client.deleteResource(ref)
    await client.close()
  }
  const listed = direction === 'down' ? await store.listFiles(ref) : []
  const startMs = performance.now()
  if (direction === 'up') await store.upload(ref, files)
  else await store.download(ref, listed, createFolderSink(path.join(scratch, 'down')))
  const rate = rateSince(startMs)
  await store.close()
  const run: Run = { rate, peakBytes: process.resourceUsage().maxRSS * 1024 }
  console.log(JSON.stringify(run))
}
