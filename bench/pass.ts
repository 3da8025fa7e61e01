/**
 * Time and peak memory of passes over archives of 1 000, 10 000 and 100 000 sessions with 5 scans and 4 processors.
 *
 *   node bench/dist/pass.js [SESSIONS...]
 *
 * Each figure is a process of its own, from its start to its end, as a cron job would run it.
 */

import { createSyntheticArchive } from '@orbweaver/adapter-local'
import type { SyntheticAssessor, SyntheticSession } from '@orbweaver/adapter-local'
import { procTypeOf, taskLabel } from '@orbweaver/core'
import type { InputBinding, TaskRecord } from '@orbweaver/core'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { PROCESSORS, PROJECT, openServices, processorText, writeSite } from './site.js'
import { megabytes, printTable, seconds } from './table.js'

const SIZES = [1000, 10_000, 100_000]
const NEW_SESSIONS = 100
const VERSION = '1.0.0'

interface Figure {
  readonly ms: number
  readonly maxRssBytes: number
  readonly note: string
}

/** What a child process does, by name. */
const FIGURES: Readonly<Record<string, (file: string) => Promise<string>>> = {
  /** Everything has yet to be done; nothing is. */
  async plan(file) {
    const services = await openServices(file)
    const counts = await services.engine.plan({})
    await services.close()
    return `${counts.sessions} sessions, ${counts.actions.submit + counts.actions.create} tasks to make`
  },
  /** Everything is done: the first pass looks at all of it, a later one at what changed. */
  async idle(file) {
    const services = await openServices(file)
    const summary = await services.engine.run({}, { until: 'once' })
    await services.close()
    return `${summary.counts.sessions} sessions looked at, ${summary.submitted} jobs`
  },
  async full(file) {
    const services = await openServices(file)
    const summary = await services.engine.run({}, { until: 'once', full: true })
    await services.close()
    return `${summary.counts.sessions} sessions looked at, ${summary.submitted} jobs`
  },
  /** Some sessions came: their tasks are made. */
  async new(file) {
    const services = await openServices(file)
    const steps = { build: true, launch: false, update: false, upload: false }
    const summary = await services.engine.run({}, { until: 'once', steps })
    await services.close()
    const { create, mark, submit } = summary.counts.actions
    return `${summary.counts.sessions} sessions looked at, ${create + mark + submit} tasks made`
  },
}

const [first = '', ...rest] = process.argv.slice(2)
if (Object.hasOwn(FIGURES, first)) await child(first, rest[0] ?? '')
else await parent(first === '' ? SIZES : [first, ...rest].map(Number))

async function child(figure: string, file: string): Promise<void> {
  const note = (await FIGURES[figure]?.(file)) ?? ''
  // `maxRSS` is in KiB on Linux and macOS.
  const result: Figure = {
    ms: process.uptime() * 1000,
    maxRssBytes: process.resourceUsage().maxRSS * 1024,
    note,
  }
  console.log(JSON.stringify(result))
}

function measure(figure: string, file: string): Figure {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [fileURLToPath(import.meta.url), figure, file],
    {
      encoding: 'utf8',
      maxBuffer: 64 * 1024 ** 2,
    },
  )
  if (status !== 0) throw new Error(`${figure}: exit code ${status}\n${stderr}`)
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Figure
}

async function parent(sizes: readonly number[]): Promise<void> {
  const cpu = os.cpus()[0]?.model ?? 'unknown'
  console.log(
    `Node ${process.versions.node}, ${os.cpus().length} x ${cpu}, 5 scans a session, 4 processors (5 tasks a session)\n`,
  )
  const rows: string[][] = []
  for (const sessions of sizes) {
    const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-bench-'))
    try {
      const processors = Object.fromEntries(
        PROCESSORS.map((processor) => [processor.name, processorText(processor)]),
      )
      const add = (name: string, { ms, maxRssBytes, note }: Figure): void => {
        rows.push([sessions.toLocaleString('en'), name, seconds(ms), megabytes(maxRssBytes), note])
      }
      const empty = writeSite({ folder: path.join(scratch, 'empty'), processors })
      await createSyntheticArchive({
        path: path.join(scratch, 'empty', 'archive'),
        project: PROJECT,
        sessions,
      })
      add('first plan', measure('plan', empty))
      fs.rmSync(path.join(scratch, 'empty'), { recursive: true })

      const done = writeSite({ folder: path.join(scratch, 'done'), processors })
      const archive = { path: path.join(scratch, 'done', 'archive'), project: PROJECT }
      await createSyntheticArchive({ ...archive, sessions, assessors: completeTasks })
      add('nothing to do, first pass', measure('idle', done))
      add('nothing to do, full pass', measure('full', done))
      add('nothing to do, later pass', measure('idle', done))
      await createSyntheticArchive({ ...archive, sessions: NEW_SESSIONS, first: sessions })
      add(`${NEW_SESSIONS} new sessions`, measure('new', done))
    } finally {
      fs.rmSync(scratch, { recursive: true, force: true })
    }
  }
  printTable(['SESSIONS', 'PASS', 'TIME', 'PEAK MEMORY', 'WHAT IT DID'], rows)
}

/** The results that the engine would have made, with the labels it would have computed. */
function completeTasks({ subject, session, scans }: SyntheticSession): SyntheticAssessor[] {
  const target = { project: PROJECT, subject, session }
  return PROCESSORS.flatMap(({ name, input, types }) =>
    scans
      .filter(({ type }) => (types as readonly string[]).includes(type))
      .map(({ label: scan, type }) => {
        const procType = procTypeOf(name, VERSION)
        const inputs: InputBinding[] = [
          { name: input, sources: [{ node: { ...target, scan }, resource: 'NIFTI', type }] },
        ]
        const label = taskLabel(procType, target, inputs)
        const record: TaskRecord = {
          schema: 1,
          label,
          procType,
          procVersion: VERSION,
          target,
          inputs,
          params: {},
          state: 'complete',
          reason: 'the archive holds every declared file, verified',
          attempt: 1,
          failures: {},
          createdAtMs: 1_600_000_000_000,
          updatedAtMs: 1_600_000_000_000,
        }
        return {
          label,
          init: { procType, procVersion: VERSION, scans: [scan], record },
          resources: [{ label: 'DATA', fileCount: 1, bytes: 1024 ** 2 }],
        }
      }),
  )
}
