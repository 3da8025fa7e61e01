/** The demo's archive and processors, unchanged, as jobs of PBS. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { startFakePbs, type FakePbs } from '../../../packages/adapter-pbs/dist-test/fake/start.js'
import { mustRun, type CliOptions } from '../support/cli.js'
import { removeFolders, scratchFolder } from '../support/folders.js'
import { call, FLAVOURS } from './support/stage.js'

for (const flavour of FLAVOURS) {
  describe(`orbweaver demo --profile pbs, on ${flavour}`, function () {
    this.timeout(180_000)
    let fake: FakePbs
    let where: CliOptions
    let site: string

    before(async () => {
      fake = await startFakePbs({ flavour, folder: scratchFolder(`demo-${flavour}`) })
      const folder = scratchFolder('demo-pbs')
      site = path.join(folder, 'orbweaver-demo', 'orbweaver.yaml')
      // As on a machine of the cluster, where nothing needs to be said of the programs.
      where = { cwd: folder, environment: { HOME: folder, ...fake.environment } }
    })
    after(async () => {
      await fake.stop()
      removeFolders()
    })

    it('makes the same results by jobs of PBS', async () => {
      const { stdout } = await mustRun(['demo', '--profile', 'pbs'], where)
      expect(stdout).to.match(/Yes: \d+ files of \d+ tasks read back, every byte\./)
      expect(stdout).not.to.match(/\bfailed\s+[1-9]/)
      const words = flavour === 'openpbs' ? ['-x', '-T'] : []
      const jobs = (await call(fake, undefined, ['qselect', ...words])).stdout.trim().split('\n')
      expect(jobs).to.have.length.of.at.least(4)
    })

    it('keeps what the user wrote into its site file, and finds nothing to do', async () => {
      const text = fs.readFileSync(site, 'utf8')
      const edited = text.replace('cluster: { use: pbs }', 'cluster: { use: pbs, queue: workq } # mine')
      expect(edited).not.to.equal(text)
      fs.writeFileSync(site, edited)
      const { stdout, stderr } = await mustRun(['demo', '--profile', 'pbs'], where)
      expect(stdout + stderr).to.match(/nothing to do/i)
      expect(fs.readFileSync(site, 'utf8')).to.equal(edited)
    })
  })
}
