/** A small site in a scratch folder: a folder archive filled by `orbweaver import`, the local cluster, one processor. */

import { FolderStore } from '@orbweaver/adapter-local'
import fs from 'node:fs'
import path from 'node:path'
import { mustRun } from './cli.js'
import { scratchFolder, write } from './folders.js'

export interface Site {
  /** Holds the site file; the working directory of commands. */
  readonly folder: string
  readonly archive: string
  readonly workRoot: string
  /** One line for each execution of a job, written by the job itself. Outside archive and work root. */
  readonly counter: string
}

export interface SiteOptions {
  readonly name: string
  readonly sessions: number
  /** How long each job takes. */
  readonly jobSeconds?: number
  /** Jobs at once. */
  readonly jobs?: number
}

export const SITE_FILE = `site: x
store: { use: folder, path: ./archive }
cluster: { use: local }
workRoot: ./work
projects: [{ id: P, processors: [./p.yaml] }]
`

/** A processor that counts its own executions where nobody cleans up. */
export function countingProcessor(counter: string, jobSeconds: number): string {
  return `name: count
version: 1.0.0
level: session
inputs:
  note: { scan: { type: NOTE }, resource: TXT }
requirements: { cpus: 1, memory: 64 MB, walltime: 5m }
environment: { COUNTER: ${JSON.stringify(counter)}, SECONDS_TO_TAKE: "${jobSeconds}" }
script: ./count.sh
outputs:
  DATA: { path: result.txt, required: true }
`
}

/**
 * Its workspace, which names task and attempt, as one short line: the kernel keeps such appends of several processes
 * apart.
 */
const COUNT_SCRIPT = `#!/bin/sh
set -eu
echo "\${ORBWEAVER_TASK%/task.json}" >>"$COUNTER"
sleep "$SECONDS_TO_TAKE"
cat "$ORBWEAVER_INPUT_NOTE" >"$ORBWEAVER_OUTPUTS/result.txt"
`

/** The plain tree that `import` reads: PROJECT/SUBJECT/SESSION/SCAN/RESOURCE/files. */
export function plainTree(folder: string, sessions: number, project = 'P'): string {
  for (let index = 1; index <= sessions; index += 1) {
    const number = String(index).padStart(3, '0')
    const scan = path.join(folder, project, `S${number}`, `S${number}_E1`, '1-NOTE', 'TXT')
    write(path.join(scan, 'note.txt'), `note ${number}\n`)
  }
  return folder
}

export async function createSite(options: SiteOptions): Promise<Site> {
  const folder = scratchFolder(options.name)
  const counter = write(path.join(folder, 'executions.txt'), '')
  const limits = `limits: { jobs: ${options.jobs ?? 2} }\n`
  write(path.join(folder, 'orbweaver.yaml'), SITE_FILE + limits)
  write(path.join(folder, 'p.yaml'), countingProcessor(counter, options.jobSeconds ?? 0))
  write(path.join(folder, 'count.sh'), COUNT_SCRIPT)
  const source = plainTree(path.join(folder, 'source'), options.sessions)
  await (await FolderStore.open({ path: path.join(folder, 'archive'), create: true })).close()
  await mustRun(['import', source, '--as', 'tree'], { cwd: folder })
  return { folder, archive: path.join(folder, 'archive'), workRoot: path.join(folder, 'work'), counter }
}

/** Workspace of each execution, in order: `…/LABEL/ATTEMPT`. */
export function executions(site: Site): string[] {
  return fs
    .readFileSync(site.counter, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
}
