/** A site on an XNAT that is in trouble: run as cron would until all is done, then read every byte back. */

import { FolderStore } from '@orbweaver/adapter-local'
import type { XnatClient } from '@orbweaver/xnat'
import { expect } from 'chai'
import type { ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mustRun, startCli } from '../support/cli.js'
import { scratchFolder, write } from '../support/folders.js'
import { countingProcessor, plainTree } from '../support/site.js'

/** `ORBWEAVER_XNAT_TASKS=20` for a quick look. */
export const TASKS = Number(process.env['ORBWEAVER_XNAT_TASKS'] ?? 200)

export interface XnatSite {
  readonly folder: string
  readonly counter: string
  /** A folder archive to seed an XNAT from. */
  readonly archive: string
}

/** A site of sessions with one note each, and a job that copies it. */
export async function prepareSite(name: string, sessions = TASKS): Promise<XnatSite> {
  const folder = scratchFolder(name)
  const counter = write(path.join(folder, 'executions.txt'), '')
  const common =
    'cluster: { use: local }\nworkRoot: ./work\nlimits: { jobs: 8, transfers: 8 }\nprojects: [{ id: P, processors: [./p.yaml] }]\n'
  write(path.join(folder, 'p.yaml'), countingProcessor(counter, 0))
  write(
    path.join(folder, 'count.sh'),
    '#!/bin/sh\nset -eu\necho "${ORBWEAVER_TASK%/task.json}" >>"$COUNTER"\ncat "$ORBWEAVER_INPUT_NOTE" >"$ORBWEAVER_OUTPUTS/result.txt"\n',
  )
  write(path.join(folder, 'seed.yaml'), `site: seed\nstore: { use: folder, path: ./archive }\n${common}`)
  write(path.join(folder, 'common.yaml'), common)
  const archive = path.join(folder, 'archive')
  await (await FolderStore.open({ path: archive, create: true })).close()
  const source = plainTree(path.join(folder, 'source'), sessions)
  await mustRun(['--site', 'seed.yaml', 'import', source, '--as', 'tree'], { cwd: folder })
  return { folder, counter, archive }
}

export function serveFrom({ folder }: XnatSite, url: string): void {
  const common = fs.readFileSync(path.join(folder, 'common.yaml'), 'utf8')
  write(
    path.join(folder, 'orbweaver.yaml'),
    `site: trouble\nstore: { use: xnat, url: ${url} }\ntiming: { poll: 1s, grace: 20s, outage: 2s }\n${common}`,
  )
}

/**
 * Runs as cron would, until one ends well. Failing for good is a failure of the test; "try again later" is not, however
 * often: the time limit of the test ends it.
 *
 * @returns all that the runs have printed
 */
export async function runUntilDone(
  site: XnatSite,
  environment: Readonly<Record<string, string>>,
  running: Set<ChildProcess>,
  args: readonly string[] = [],
): Promise<readonly string[]> {
  const printed: string[] = []
  for (;;) {
    const run = startCli(['run', ...args], { cwd: site.folder, environment })
    running.add(run.process)
    const { code, stdout, stderr } = await run.ended
    running.delete(run.process)
    printed.push(`${stdout}\n${stderr}`)
    if (code === 0) return printed
    expect(code, `${stdout}\n${stderr}`).to.equal(75)
    await sleep(200)
  }
}

/** Reads every result back, and the jobs' own book. */
export async function verifyResults(site: XnatSite, client: XnatClient, tasks = TASKS): Promise<void> {
  const sessions = await client.experiments({ project: 'P' }, { columns: ['label', 'subject_label'] })
  expect(sessions, 'sessions').to.have.length(tasks)
  for (const { label: session = '', subject_label: subject = '' } of sessions) {
    const node = { project: 'P', subject, session }
    const assessors = await client.assessors(node, { columns: ['label', 'proc:genProcData/procstatus'] })
    expect(assessors, `assessors of ${session}`).to.have.length(1)
    const assessor = assessors[0]?.label ?? ''
    expect(Object.values(assessors[0] ?? {}), `state of ${session}`).to.include('COMPLETE')
    const address = { node: { ...node, assessor }, resource: 'DATA' }
    expect((await client.files(address)).map((file) => file.path)).to.deep.equal(['result.txt'])
    const pieces: Buffer[] = []
    for await (const piece of await client.openFile(address, 'result.txt')) pieces.push(piece as Buffer)
    expect(Buffer.concat(pieces).toString(), session).to.equal(`note ${subject.slice(1)}\n`)
  }
  const lines = fs
    .readFileSync(site.counter, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
  expect(new Set(lines).size, 'tasks that ran').to.equal(tasks)
  expect(lines, 'executions').to.have.length(tasks)
}
