/** Two engines on one work root: one works, the other leaves with 75 or waits; never two jobs for one task. */

import { expect } from 'chai'
import { runCli } from './support/cli.js'
import { removeFolders } from './support/folders.js'
import { endJobs } from './support/processes.js'
import { createSite, executions } from './support/site.js'
import type { Site } from './support/site.js'

const TASKS = 6

describe('two runs at once', function () {
  this.timeout(120_000)
  let site: Site

  beforeEach(async () => {
    site = await createSite({ name: 'two-runs', sessions: TASKS, jobSeconds: 1, jobs: 4 })
  })
  afterEach(() => {
    endJobs(site.folder)
    removeFolders()
  })

  const twice = (args: readonly string[]) =>
    Promise.all([runCli(args, { cwd: site.folder }), runCli(args, { cwd: site.folder })])

  it('one works, the other leaves with exit code 75 and says who works', async () => {
    const results = await twice(['run'])
    expect(results.map(({ code }) => code)).to.have.members([0, 75])
    const refused = results.find(({ code }) => code === 75)
    expect(refused?.stderr)
      .to.match(/LEASE_HELD/)
      .and.to.match(/\b\d+\b/)
    expect(refused?.stderr).to.contain('--wait')
    expect(new Set(executions(site)).size).to.equal(TASKS)
    expect(executions(site)).to.have.length(TASKS)
  })

  it('with --wait the other waits, then finds nothing left', async () => {
    const results = await twice(['run', '--wait'])
    expect(results.map(({ code }) => code)).to.deep.equal([0, 0])
    expect(executions(site)).to.have.length(TASKS)
  })

  it('four at once still make one job for each task', async () => {
    const results = await Promise.all([...Array(4).keys()].map(() => runCli(['run'], { cwd: site.folder })))
    expect(results.map(({ code }) => code).filter((code) => code !== 0 && code !== 75)).to.deep.equal([])
    expect(results.map(({ code }) => code)).to.include(0)
    expect(executions(site)).to.have.length(TASKS)
  })
})
