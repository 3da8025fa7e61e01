/** The demo: from nothing to results with real images, and a second time with nothing to do. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { mustRun } from './support/cli.js'
import { removeFolders, scratchFolder } from './support/folders.js'
import { endJobs, jobProcesses } from './support/processes.js'

describe('orbweaver demo', function () {
  this.timeout(300_000)
  let folder: string

  before(() => {
    folder = scratchFolder('demo')
  })
  after(() => {
    endJobs(folder)
    removeFolders()
  })

  it('imports, plans, runs and verifies, and shows where the PDFs are', async () => {
    const { stdout } = await mustRun(['demo'], { cwd: folder })
    const pdfs = [...stdout.matchAll(/(?:^|\s)(\S+\.pdf)\b/g)].map(([, file = '']) =>
      path.resolve(folder, file),
    )
    expect(pdfs).to.have.length.of.at.least(3)
    for (const file of pdfs) {
      expect(fs.readFileSync(file).subarray(0, 5).toString(), file).to.equal('%PDF-')
    }
    expect(stdout).to.match(/complete/)
    expect(stdout).not.to.match(/\bfailed\s+[1-9]/)
  })

  it('finds nothing to do the second time, and says so', async () => {
    const { stdout, stderr } = await mustRun(['demo'], { cwd: folder })
    expect(stdout + stderr).to.match(/nothing to do/i)
  })

  it('leaves no job behind', () => {
    expect(jobProcesses(folder)).to.deep.equal([])
  })
})
