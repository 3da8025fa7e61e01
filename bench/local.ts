/**
 * What the engine costs per job: 500 jobs that do next to nothing, through the engine (stage, submit, follow, collect, upload,
 * verify), through the local backend alone, and through GNU parallel and `xargs -P`, on the same machine in the same run.
 *
 *   node bench/dist/local.js [JOBS]
 */

import { FolderStore } from '@orbweaver/adapter-local'
import { DEFAULT_REQUIREMENTS } from '@orbweaver/core'
import type { JobId, JobSpec } from '@orbweaver/core'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PROJECT, openServices, writeSite } from './site.js'
import { printTable, seconds } from './table.js'

/** The least a real task can do: one small input, one small output. */
const ONE = `name: one
version: 1.0.0
level: session
inputs:
  note: { scan: { type: NOTE }, resource: TXT }
requirements: { cpus: 1, memory: 16 MB, walltime: 10m }
command: [cp, "{inputs.note}", "{outputs}/result.txt"]
outputs:
  DATA: { path: result.txt, required: true }
`

const jobs = Number(process.argv[2] ?? 500)
const cores = os.availableParallelism()
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-bench-'))
const rows: string[][] = []
let base = 0

function report(name: string, ms: number | undefined): void {
  console.error(`${name}: ${ms === undefined ? 'not there' : seconds(ms)}`)
  if (ms === undefined) {
    rows.push([name, 'not there', '', ''])
    return
  }
  if (base === 0) base = ms
  rows.push([name, seconds(ms), `${(ms / jobs).toFixed(1)} ms`, `${(ms / base).toFixed(1)}`])
}

try {
  console.log(`Node ${process.versions.node}, ${jobs} jobs, ${cores} at once\n`)
  report('xargs -P, true', await timed(() => shell('xargs', ['-P', String(cores), '-n', '1', 'true'])))
  report('GNU parallel, true', await timed(() => shell('parallel', ['-j', String(cores), 'true', '{}'])))
  report('local backend alone, true', await backendAlone())
  report('engine: stage, run, upload, verify', await wholeEngine())
  printTable(['WHAT', 'TIME', 'A JOB', 'RATIO'], rows)
} finally {
  fs.rmSync(scratch, { recursive: true, force: true })
}

async function timed(work: () => boolean | Promise<boolean>): Promise<number | undefined> {
  const started = performance.now()
  return (await work()) ? performance.now() - started : undefined
}

/** One argument a job. @returns false: the program is not there */
function shell(program: string, args: readonly string[]): boolean {
  const input = `${[...Array(jobs).keys()].join('\n')}\n`
  const { error, status, stderr } = spawnSync(program, args, { input, encoding: 'utf8' })
  if (error !== undefined) return false
  if (status !== 0) throw new Error(`${program}: exit code ${status}\n${stderr}`)
  return true
}

async function backendAlone(): Promise<number | undefined> {
  const services = await openServices(
    writeSite({ folder: path.join(scratch, 'backend'), processors: { one: ONE } }),
  )
  const { backend } = services
  const specs = [...Array(jobs).keys()].map((index): JobSpec => {
    const directory = path.join(scratch, 'backend', 'jobs', String(index))
    fs.mkdirSync(directory, { recursive: true })
    return {
      name: `ow-bench-${index}`,
      command: ['true'],
      directory,
      stdoutPath: path.join(directory, 'stdout.txt'),
      stderrPath: path.join(directory, 'stderr.txt'),
      requirements: { ...DEFAULT_REQUIREMENTS, memoryBytes: 16 * 1024 ** 2, walltimeSeconds: 600 },
    }
  })
  try {
    return await timed(async () => {
      const outcomes = await backend.submit(specs)
      const ids = outcomes.map((outcome): JobId => {
        if (outcome.kind !== 'accepted') throw new Error(`refused: ${JSON.stringify(outcome)}`)
        return outcome.id
      })
      for (let open: readonly JobId[] = ids; open.length > 0;) {
        await (backend.changes?.(500) ?? sleep(50))
        const statuses = await backend.query(open)
        open = open.filter((id) => statuses.get(id)?.phase !== 'finished')
      }
      return true
    })
  } finally {
    await services.close()
  }
}

async function wholeEngine(): Promise<number | undefined> {
  const folder = path.join(scratch, 'engine')
  const file = writeSite({ folder, processors: { one: ONE }, limits: `limits: { jobs: ${jobs} }\n` })
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
  await store.close()
  const services = await openServices(file)
  try {
    return await timed(async () => {
      const summary = await services.engine.run({})
      if (summary.completed !== jobs) throw new Error(`${summary.completed} of ${jobs} tasks complete`)
      return true
    })
  } finally {
    await services.close()
  }
}
