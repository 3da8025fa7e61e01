/** The demo's archive and processors, unchanged, as jobs of PBS: on both fakes, and on a real one where there is one. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { startFakePbs } from '../../../packages/adapter-pbs/dist-test/fake/start.js'
import { livePbsProblem } from '../../../packages/adapter-pbs/dist-test/live-site.js'
import { skip } from '../../support/skip.js'
import { mustRun, type CliOptions } from '../support/cli.js'
import { removeFolders, scratchFolder } from '../support/folders.js'
import { call } from './support/call.js'
import { realPbs } from './support/real.js'
import { FLAVOURS } from './support/stage.js'

for (const server of [...FLAVOURS, 'real'] as const) {
  describe(`orbweaver demo --profile pbs, on ${server}`, function () {
    this.timeout(280_000)
    let pbs: Awaited<ReturnType<typeof open>>
    let where: CliOptions
    let site: string

    before(async function () {
      const problem = server === 'real' ? livePbsProblem(true) : undefined
      if (problem !== undefined) skip(this, problem)
      pbs = await open()
      const { account, environment } = pbs
      const folder = scratchFolder('demo-pbs')
      if (account !== undefined) fs.chownSync(folder, account.uid, account.gid)
      site = path.join(folder, 'orbweaver-demo', 'orbweaver.yaml')
      // As on a machine of the cluster, where nothing needs to be said of the programs.
      const user = account !== undefined && { uid: account.uid, gid: account.gid }
      where = { cwd: folder, environment: { HOME: folder, ...environment }, ...user }
    })
    after(async () => {
      await pbs?.stop()
      removeFolders()
    })

    const open = async () => {
      if (server === 'real') return { ...(await realPbs()), stop: async () => undefined }
      const fake = await startFakePbs({ flavour: server, folder: scratchFolder(`demo-${server}`) })
      return { ...fake, account: undefined }
    }
    const jobs = async (): Promise<readonly string[]> => {
      const words = pbs.flavour === 'openpbs' ? ['-x', '-T'] : []
      const { stdout } = await call(pbs, undefined, ['qselect', ...words])
      return stdout.split('\n').filter((line) => line !== '')
    }

    it('makes the same results by jobs of PBS', async () => {
      const before = new Set(await jobs())
      const { stdout } = await mustRun(['demo', '--profile', 'pbs'], where)
      expect(stdout).to.match(/Yes: \d+ files of \d+ tasks read back, every byte\./)
      expect(stdout).not.to.match(/\bfailed\s+[1-9]/)
      // A server without history knows none of them any more.
      if (server === 'real') return
      expect((await jobs()).filter((id) => !before.has(id))).to.have.length.of.at.least(4)
    })

    it('keeps what the user wrote into its site file, and finds nothing to do', async () => {
      const { stdout: told } = await call(pbs, undefined, ['qstat', '-B', '-f'])
      const queue = /^\s*default_queue = (\S+)/m.exec(told)?.[1] ?? 'workq'
      const text = fs.readFileSync(site, 'utf8')
      const edited = text.replace('cluster: { use: pbs }', `cluster: { use: pbs, queue: ${queue} } # mine`)
      expect(edited).not.to.equal(text)
      fs.writeFileSync(site, edited)
      const { stdout, stderr } = await mustRun(['demo', '--profile', 'pbs'], where)
      expect(stdout + stderr).to.match(/nothing to do/i)
      expect(fs.readFileSync(site, 'utf8')).to.equal(edited)
    })
  })
}
