/** Killed anywhere, started again: each task done exactly once, and nothing left behind. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { askJson, mustRun, startCli } from './support/cli.js'
import { removeFolders } from './support/folders.js'
import { endJobs, jobProcesses } from './support/processes.js'
import { randomFrom, seedOfThisRun } from './support/random.js'
import { createSite, executions } from './support/site.js'
import type { Site } from './support/site.js'

const TASKS = 40
const KILLS = 100
/** Longest life of a run before it is killed; the program's start takes half a second or more. */
const LONGEST_MS = 1500

describe('a run that is killed at any moment', function () {
  this.timeout(600_000)
  let site: Site

  before(async () => {
    // Two jobs at a time of three seconds each: about a minute of work, so that kills meet work in every stage.
    site = await createSite({ name: 'kill', sessions: TASKS, jobSeconds: 3, jobs: 2 })
  })
  after(() => {
    if (site !== undefined) endJobs(site.folder)
    removeFolders()
  })

  it(`completes ${TASKS} tasks exactly once across ${KILLS} kills`, async () => {
    const seed = seedOfThisRun()
    const random = randomFrom(seed)
    console.log(`      seed ${seed} (ORBWEAVER_TEST_SEED=${seed} repeats it)`)
    let killed = 0
    let atWork = 0
    for (let round = 0; killed < KILLS; round += 1) {
      const run = startCli(['run'], { cwd: site.folder })
      let spoke = false
      const speaks = new Promise<void>((resolve) => {
        run.process.stderr?.once('data', () => {
          spoke = true
          resolve()
        })
      })
      // Every other time the engine is let get to work first, so that it is not its start that is always hit.
      if (round % 2 === 1) await Promise.race([speaks, run.ended])
      const life = sleep(random() * LONGEST_MS).then(() => 'killed' as const)
      const first = await Promise.race([life, run.ended])
      if (first === 'killed') run.process.kill('SIGKILL')
      const { code, stderr } = await run.ended
      if (code === null) killed += 1
      else expect(code, `round ${round}: ${stderr}`).to.equal(0)
      if (code === null && spoke) atWork += 1
    }
    console.log(`      ${killed} kills, ${atWork} of them when work had been reported`)

    await mustRun(['run'], { cwd: site.folder })
    const counts = executions(site)
    expect(new Set(counts).size, 'tasks that ran').to.equal(TASKS)
    expect(counts, 'executions').to.have.length(TASKS)
  })

  it('has every task complete in the archive', async () => {
    const { tasks } = await askJson<{ tasks: readonly { label: string; state: string }[] }>(['status'], {
      cwd: site.folder,
    })
    expect(tasks).to.have.length(TASKS)
    expect(tasks.filter(({ state }) => state !== 'complete')).to.deep.equal([])
  })

  it('leaves no process of a job', () => {
    expect(jobProcesses(site.folder)).to.deep.equal([])
  })

  it('leaves no lock: another run starts at once and finds nothing to do', async () => {
    const { stdout, stderr } = await mustRun(['run'], { cwd: site.folder })
    expect(stdout + stderr).to.match(/nothing to do/i)
    expect(executions(site)).to.have.length(TASKS)
  })

  it('leaves an archive that verifies, byte for byte', async () => {
    await mustRun(['verify', '--deep'], { cwd: site.folder })
  })
})

describe('a journal that is lost while jobs run', function () {
  this.timeout(120_000)
  let site: Site

  before(async () => {
    site = await createSite({ name: 'journal', sessions: 4, jobSeconds: 4, jobs: 2 })
  })
  after(() => {
    if (site !== undefined) endJobs(site.folder)
    removeFolders()
  })

  it('costs no result: the jobs are found again, and each task runs once', async () => {
    const run = startCli(['run'], { cwd: site.folder })
    while (executions(site).length < 2) await Promise.race([sleep(100), run.ended])
    run.process.kill('SIGKILL')
    await run.ended
    const state = path.join(site.workRoot, '.orbweaver')
    const journal = fs.readdirSync(state).filter((name) => name.startsWith('journal.db'))
    expect(journal).not.to.deep.equal([])
    for (const name of journal) fs.rmSync(path.join(state, name))

    await mustRun(['run'], { cwd: site.folder })
    expect(new Set(executions(site)).size).to.equal(4)
    expect(executions(site)).to.have.length(4)
    await mustRun(['verify', '--deep'], { cwd: site.folder })
  })
})
