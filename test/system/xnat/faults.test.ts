/** An XNAT in trouble: every task ends complete, byte by byte as it was made, and none ran twice. */

import { FolderStore } from '@orbweaver/adapter-local'
import { XnatClient, XnatCredentials } from '@orbweaver/xnat'
import { startSandbox } from '@orbweaver/xnat-sandbox'
import { expect } from 'chai'
import type { ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mustRun, startCli, type CliResult } from '../support/cli.js'
import { removeFolders, scratchFolder, write } from '../support/folders.js'
import { endJobs } from '../support/processes.js'
import { randomFrom, seedOfThisRun } from '../support/random.js'
import { countingProcessor, plainTree } from '../support/site.js'

/** `ORBWEAVER_XNAT_TASKS=200` for a long run. */
const TASKS = Number(process.env['ORBWEAVER_XNAT_TASKS'] ?? 40)
const KILLS = 10
/** Of `orbweaver run`: as cron would. */
const MAX_RUNS = 60
const PASSWORD = 'only-for-this-test'

interface XnatSite {
  readonly folder: string
  readonly counter: string
  readonly archive: string
}

/** A site of sessions with one note each, and a job that copies it; the archive is a folder to seed an XNAT from. */
async function prepare(name: string): Promise<XnatSite> {
  const folder = scratchFolder(name)
  const counter = write(path.join(folder, 'executions.txt'), '')
  const common =
    'cluster: { use: local }\nworkRoot: ./work\nlimits: { jobs: 4 }\nprojects: [{ id: P, processors: [./p.yaml] }]\n'
  write(path.join(folder, 'p.yaml'), countingProcessor(counter, 0))
  write(
    path.join(folder, 'count.sh'),
    '#!/bin/sh\nset -eu\necho "${ORBWEAVER_TASK%/task.json}" >>"$COUNTER"\ncat "$ORBWEAVER_INPUT_NOTE" >"$ORBWEAVER_OUTPUTS/result.txt"\n',
  )
  write(path.join(folder, 'seed.yaml'), `site: seed\nstore: { use: folder, path: ./archive }\n${common}`)
  write(path.join(folder, 'common.yaml'), common)
  const archive = path.join(folder, 'archive')
  await (await FolderStore.open({ path: archive, create: true })).close()
  await mustRun(
    ['--site', 'seed.yaml', 'import', plainTree(path.join(folder, 'source'), TASKS), '--as', 'tree'],
    {
      cwd: folder,
    },
  )
  return { folder, counter, archive }
}

function serveFrom({ folder }: XnatSite, url: string): void {
  const common = fs.readFileSync(path.join(folder, 'common.yaml'), 'utf8')
  write(
    path.join(folder, 'orbweaver.yaml'),
    `site: trouble\nstore: { use: xnat, url: ${url} }\ntiming: { poll: 1s, grace: 20s, outage: 2s }\n${common}`,
  )
}

/** Runs as cron would, until one ends well. Failing for good is a failure of the test; "try again later" is not. */
async function runUntilDone(
  site: XnatSite,
  environment: Readonly<Record<string, string>>,
  running: Set<ChildProcess>,
): Promise<number> {
  let last: CliResult | undefined
  for (let runs = 1; runs <= MAX_RUNS; runs += 1) {
    const run = startCli(['run'], { cwd: site.folder, environment })
    running.add(run.process)
    last = await run.ended
    running.delete(run.process)
    if (last.code === 0) return runs
    expect(last.code, `${last.stdout}\n${last.stderr}`).to.equal(75)
    await sleep(200)
  }
  throw new Error(`not done after ${MAX_RUNS} runs: ${last?.stdout ?? ''}\n${last?.stderr ?? ''}`)
}

/** Reads every result back, and the jobs' own book. */
async function verify(site: XnatSite, client: XnatClient): Promise<void> {
  const sessions = await client.experiments({ project: 'P' }, { columns: ['label', 'subject_label'] })
  expect(sessions, 'sessions').to.have.length(TASKS)
  for (const { label: session = '', subject_label: subject = '' } of sessions) {
    const node = { project: 'P', subject, session }
    const assessors = await client.assessors(node, { columns: ['label'] })
    expect(assessors, `assessors of ${session}`).to.have.length(1)
    const assessor = assessors[0]?.label ?? ''
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
  expect(new Set(lines).size, 'tasks that ran').to.equal(TASKS)
  expect(lines, 'executions').to.have.length(TASKS)
}

describe('an XNAT in trouble', function () {
  this.timeout(600_000)
  const running = new Set<ChildProcess>()
  const folders: string[] = []
  after(() => {
    for (const child of running) child.kill('SIGKILL')
    for (const folder of folders) endJobs(folder)
    removeFolders()
  })

  it(`completes ${TASKS} tasks across errors, drops, cut-off replies and two outages`, async () => {
    const site = await prepare('xnat-faults')
    folders.push(site.folder)
    const sandbox = await startSandbox({
      directory: path.join(site.folder, 'server'),
      users: [{ name: 'cron', password: PASSWORD, projects: { P: 'owner' } }],
    })
    const client = new XnatClient({ url: sandbox.url, credentials: new XnatCredentials('cron', PASSWORD) })
    try {
      const store = await FolderStore.open({ path: site.archive })
      await sandbox.seed(store)
      await store.close()
      serveFrom(site, sandbox.url)
      const seed = seedOfThisRun()
      sandbox.setFaults({
        seed,
        errorRate: 0.05,
        dropRate: 0.05,
        truncateRate: 0.05,
        outages: [
          { startMs: 4000, durationMs: 5000 },
          { startMs: 14_000, durationMs: 5000 },
        ],
      })
      const runs = await runUntilDone(site, { XNAT_USER: 'cron', XNAT_PASS: PASSWORD }, running)
      sandbox.setFaults({})
      console.log(`      seed ${seed}; ${runs} runs, ${sandbox.log.length} requests in the log`)
      await verify(site, client)
    } finally {
      await client.close()
      await sandbox.close()
    }
  })

  it(`completes ${TASKS} tasks with a server that is killed ${KILLS} times while files are sent`, async () => {
    const site = await prepare('xnat-kills')
    folders.push(site.folder)
    const directory = path.join(site.folder, 'server')
    const log = path.join(site.folder, 'requests.log')
    const start = async (
      port: string,
      ...more: readonly string[]
    ): Promise<{ child: ChildProcess; url: string }> => {
      const { process: child, ended } = startCli(
        ['sandbox', '--port', port, '--directory', directory, '--log', log, ...more],
        { cwd: site.folder },
      )
      running.add(child)
      let said = ''
      const url = await new Promise<string>((resolve, reject) => {
        child.stdout?.on('data', (text: string) => {
          said += text
          const found = /sandbox at (http:\S+)/.exec(said)?.[1]
          if (found !== undefined) resolve(found)
        })
        void ended.then(({ stderr }) => reject(new Error(`the server ended: ${stderr}`)))
      })
      return { child, url }
    }
    const uploads = (): number =>
      fs.existsSync(log) ? (fs.readFileSync(log, 'utf8').match(/PUT \S*\/files\//g) ?? []).length : 0
    const random = randomFrom(seedOfThisRun())

    let server = await start('0', '--seed', site.archive)
    const { url } = server
    serveFrom(site, url)
    const passwords = fs.readFileSync(path.join(directory, 'passwords.txt'), 'utf8')
    const password = /^admin (\S+)$/m.exec(passwords)?.[1] ?? ''
    const client = new XnatClient({ url, credentials: new XnatCredentials('admin', password) })
    let done = false
    let kills = 0
    const killing = (async () => {
      while (kills < KILLS && !done) {
        const before = uploads()
        while (uploads() === before && !done) await sleep(20)
        await sleep(random() * 150)
        if (done) break
        server.child.kill('SIGKILL')
        running.delete(server.child)
        kills += 1
        server = await start(new URL(url).port)
      }
    })()
    try {
      const runs = await runUntilDone(site, { XNAT_USER: 'admin', XNAT_PASS: password }, running)
      done = true
      await killing
      console.log(`      ${kills} kills, ${runs} runs`)
      expect(kills).to.be.greaterThan(2)
      await verify(site, client)
    } finally {
      done = true
      await killing
      await client.close()
      server.child.kill('SIGINT')
    }
  })
})
