/** The demo's archive and processors, unchanged, on a real Slurm. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { slurmLabProblem, startSlurmLab, type SlurmLab } from '../../lab/slurm/slurm-lab.js'
import { skip } from '../../support/skip.js'
import { mustRun, type CliOptions } from '../support/cli.js'
import { removeFolders, scratchFolder } from '../support/folders.js'
import { programsOf } from './support/programs.js'

describe('orbweaver demo --profile slurm', function () {
  this.timeout(300_000)
  let lab: SlurmLab | undefined
  let where: CliOptions
  let site: string

  before(async function () {
    const problem = slurmLabProblem()
    if (problem !== undefined) skip(this, problem)
    lab = await startSlurmLab({ cpus: 8 })
    const { uid, gid } = lab.account
    const folder = scratchFolder('demo-slurm')
    fs.chownSync(folder, uid, gid)
    site = path.join(folder, 'orbweaver-demo', 'orbweaver.yaml')
    const HOME = path.join(lab.directory, 'home')
    where = {
      cwd: folder,
      uid,
      gid,
      environment: { HOME, PATH: `${programsOf(lab)}:${process.env['PATH']}` },
    }
  })
  after(async () => {
    await lab?.stop()
    removeFolders()
  })

  it('makes the same results by jobs of Slurm', async () => {
    const { stdout } = await mustRun(['demo', '--profile', 'slurm'], where)
    expect(stdout).to.match(/Yes: \d+ files of \d+ tasks read back, every byte\./)
    expect(stdout).not.to.match(/\bfailed\s+[1-9]/)
    const jobs = await lab?.run(['sacct', '-a', '-n', '-X', '-P', '-S', 'now-1hour', '-o', 'State'])
    const states = jobs?.trim().split('\n') ?? []
    expect(states).to.have.length.of.at.least(4)
    expect(new Set(states)).to.deep.equal(new Set(['COMPLETED']))
  })

  it('keeps what the user wrote into its site file, and finds nothing to do', async () => {
    const text = fs.readFileSync(site, 'utf8')
    const edited = text.replace('cluster: { use: slurm }', 'cluster: { use: slurm, partition: main } # mine')
    expect(edited).not.to.equal(text)
    fs.writeFileSync(site, edited)
    const { stdout, stderr } = await mustRun(['demo', '--profile', 'slurm'], where)
    expect(stdout + stderr).to.match(/nothing to do/i)
    expect(fs.readFileSync(site, 'utf8')).to.equal(edited)
  })
})
