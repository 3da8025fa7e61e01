import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { ConflictError, NotFoundError } from '@orbweaver/core'
import { seedMany } from '@orbweaver/core/testing'
import { JobHandler, type XnatDataStore } from '@orbweaver/xnat'
import { XnatLab } from '../support/lab.js'

const target = { project: 'P1', subject: 'S0001', session: 'S0001_MR1' }
const about = { procType: 'fmri-qa_v1', procVersion: '1.0.0' }

describe('JobHandler', () => {
  let lab: XnatLab
  let store: XnatDataStore
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'orbweaver-job-'))
    await writeFile(join(folder, 'report.pdf'), 'a report')
    await writeFile(join(folder, 'small.png'), 'small picture')
    await writeFile(join(folder, 'large.png'), 'large picture')
    await mkdir(join(folder, 'out', 'deep'), { recursive: true })
    await writeFile(join(folder, 'out', 'deep', 'a.txt'), 'a')
    await writeFile(join(folder, 'out', 'b.txt'), '')
  })
  after(() => rm(folder, { recursive: true, force: true }))
  beforeEach(async () => {
    lab = await XnatLab.start()
    store = lab.store()
    await lab.seed([seedMany('P1', 1)])
  })
  afterEach(() => lab.stop())

  it('makes a whole result: report, snapshots, folder, provenance', async () => {
    const job = new JobHandler(store, target, about)
    await job.start()
    expect((await store.readAssessor(job.ref)).node).to.include({
      state: 'running',
      statusWord: 'JOB_RUNNING',
    })
    job.addPdf(join(folder, 'report.pdf'))
    job.addSnapshots(join(folder, 'small.png'), join(folder, 'large.png'))
    job.addDirectory(join(folder, 'out'), 'DATA')
    job.addProvenance({ program: 'fmri-qa', version: '1.0.0' })
    await job.finish()
    const { node, record } = await store.readAssessor(job.ref)
    expect(node).to.include({ state: 'complete', statusWord: 'COMPLETE' })
    expect(node.resources.map(({ label, fileCount }) => [label, fileCount])).to.deep.equal([
      ['DATA', 2],
      ['PDF', 1],
      ['PROVENANCE', 1],
      ['SNAPSHOTS', 2],
    ])
    expect(record?.outputs?.map(({ resource, files }) => [resource, files.length])).to.deep.equal([
      ['PDF', 1],
      ['SNAPSHOTS', 2],
      ['DATA', 2],
      ['PROVENANCE', 1],
    ])
    // XNAT's pages find the pictures by their content.
    const shown = await lab.admin.files({ node: job.ref, resource: 'SNAPSHOTS' })
    expect(shown.map(({ path, content }) => [path, content]).sort()).to.deep.equal([
      ['snapshot_original.png', 'ORIGINAL'],
      ['snapshot_preview.png', 'THUMBNAIL'],
    ])
  })

  it('does not touch a complete result, and takes up one that failed', async () => {
    const job = new JobHandler(store, target, about)
    await job.start()
    await job.cleanUp('the program ended with exit code 3')
    expect((await store.readAssessor(job.ref)).node).to.include({ state: 'failed', cause: 'tool' })
    const again = new JobHandler(store, target, about)
    await again.start()
    again.addPdf(join(folder, 'report.pdf'))
    await again.finish()
    expect((await store.readAssessor(job.ref)).node).to.include({ state: 'complete', attempt: 2 })
    let error: unknown
    try {
      await new JobHandler(store, target, about).start()
    } catch (caught) {
      error = caught
    }
    expect(error).to.be.instanceOf(ConflictError)
  })

  it('leaves nothing behind when asked to', async () => {
    const job = new JobHandler(store, target, about)
    await job.start()
    await job.cleanUp()
    let error: unknown
    try {
      await store.readAssessor(job.ref)
    } catch (caught) {
      error = caught
    }
    expect(error).to.be.instanceOf(NotFoundError)
  })

  it('is not complete when XNAT said it stored something and did not', async () => {
    const job = new JobHandler(store, target, about)
    await job.start()
    job.addSnapshots(join(folder, 'small.png'), join(folder, 'large.png'))
    lab.sandbox.setFaults({ lies: 1 })
    let error: unknown
    try {
      await job.finish()
    } catch (caught) {
      error = caught
    }
    expect(error).to.be.instanceOf(Error)
    expect((await store.readAssessor(job.ref)).node.state).to.equal('uploading')
    await job.finish()
    expect((await store.readAssessor(job.ref)).node.state).to.equal('complete')
  })
})
