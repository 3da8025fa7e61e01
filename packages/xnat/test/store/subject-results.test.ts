import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import {
  ConflictError,
  StoreUnavailableError,
  type ArchiveRef,
  type AssessorInit,
  type AssessorNode,
  type DataStore,
  type FileSource,
} from '@orbweaver/core'
import { seedMany } from '@orbweaver/core/testing'
import type { XnatDataStore } from '@orbweaver/xnat'
import type { SandboxOptions } from '@orbweaver/xnat-sandbox'
import { XnatLab } from '../support/lab.js'

const TYPE = 'proc:subjGenProcData'
const subject: ArchiveRef = { project: 'P1', subject: 'S0001' }
const label = 'P1-x-S0001-x-group_v2-x-0123abcd'
const ref: ArchiveRef = { ...subject, assessor: label }
const address = { project: 'P1', subject: 'S0001', session: label }

const init: AssessorInit = {
  procType: 'group_v2',
  procVersion: '2.0.0',
  scans: [],
  record: {
    schema: 1,
    label,
    procType: 'group_v2',
    procVersion: '2.0.0',
    target: subject,
    inputs: [
      {
        name: 't1',
        sources: [{ node: { ...subject, session: 'S0001_MR1', scan: '1' }, resource: 'NIFTI', type: 'T1w' }],
      },
    ],
    params: {},
    state: 'queued',
    reason: 'submitted as job 77',
    attempt: 1,
    failures: {},
    job: { name: 'ow-1', id: '77', backend: 'slurm', workspace: '/scratch/w' },
    createdAtMs: Date.UTC(2026, 10, 25),
    updatedAtMs: Date.UTC(2026, 10, 25),
  },
}

function source(content: Readonly<Record<string, string>>): FileSource {
  return {
    files: Object.entries(content).map(([path, text]) => ({ path, bytes: Buffer.byteLength(text) })),
    open: async (path) => Readable.from([Buffer.from(content[path] ?? '')], { objectMode: false }),
  }
}

async function shown(store: DataStore): Promise<readonly AssessorNode[]> {
  for await (const one of (await store.snapshot('P1', { subjects: ['S0001'] })).subjects) return one.assessors
  return []
}

async function failure(work: Promise<unknown>): Promise<Error> {
  try {
    await work
  } catch (error) {
    return error as Error
  }
  expect.fail('it did not fail')
}

describe('results on subjects, where XNAT has a type for them', () => {
  let lab: XnatLab
  let store: XnatDataStore
  beforeEach(async () => {
    lab = await XnatLab.start()
    store = lab.store()
    await lab.seed([seedMany('P1', 1)])
  })
  afterEach(() => lab.stop())

  const byHand = (fields: Readonly<Record<string, string>>): Promise<void> =>
    lab.admin.setFields(address, TYPE, fields)
  const running = { record: { ...init.record, state: 'running' as const, reason: 'the job runs' } }

  it("are experiments of the subject with DAX's fields, and hold their files", async () => {
    const { node } = await store.createAssessor(ref, init)
    await store.upload({ node: ref, resource: 'PDF' }, source({ 'report.pdf': 'pdf' }))
    const complete = { record: { ...init.record, state: 'complete' as const } }
    const updated = await store.updateAssessor(ref, complete, node.revision)
    const item = await lab.admin.item(address)
    expect(item.xsiType).to.equal(TYPE)
    expect(item.fields).to.include({
      procstatus: 'COMPLETE',
      proctype: 'group_v2',
      procversion: '2.0.0',
      jobid: '77',
    })
    expect(JSON.parse(item.fields.inputs ?? '')).to.deep.equal({
      t1: '/projects/P1/subjects/S0001/experiments/S0001_MR1/scans/1',
    })
    expect((await lab.admin.resources(address)).map((one) => one.label)).to.deep.equal(['PDF'])
    expect(updated).to.deep.include({
      state: 'complete',
      resources: [{ label: 'PDF', fileCount: 1, bytes: 3 }],
    })
    expect(await shown(store)).to.deep.equal([updated])
    // Another process knows nothing of where it was made.
    const other = lab.store()
    expect((await other.listFiles({ node: ref, resource: 'PDF' })).map(({ path }) => path)).to.deep.equal([
      'report.pdf',
    ])
    expect((await other.readAssessor(ref)).record).to.deep.equal(complete.record)
  })

  it('take the verdict and the words of people, and are not changed over them', async () => {
    const { node } = await store.createAssessor(ref, init)
    await byHand({ [`${TYPE}/validation/status`]: 'Rerun' })
    expect(await failure(store.updateAssessor(ref, running, node.revision))).to.be.instanceOf(ConflictError)
    const [now] = await shown(store)
    expect(now).to.include({ quality: 'Rerun', state: 'queued' })
    const updated = await store.updateAssessor(ref, running, now?.revision ?? '')
    expect(updated).to.include({ quality: 'Rerun', state: 'running' })
    await byHand({ [`${TYPE}/procstatus`]: 'NEED_TO_RUN' })
    expect((await shown(store))[0]).to.include({ statusWord: 'NEED_TO_RUN', state: 'ready', attempt: 1 })
  })

  it('that a person deletes are gone, and are made anew', async () => {
    const { node } = await store.createAssessor(ref, init)
    await store.updateAssessor(ref, running, node.revision)
    await lab.admin.remove(address)
    expect(await shown(store)).to.deep.equal([])
    const again = await store.createAssessor(ref, init)
    expect(again).to.include({ created: true })
    expect(again.node).to.include({ state: 'queued' })
    expect(await shown(store)).to.deep.equal([again.node])
  })

  it('tell the last state although a crash kept its words from being written', async () => {
    const { node } = await store.createAssessor(ref, init)
    const sending = { record: { ...init.record, state: 'uploading' as const } }
    lab.sandbox.setFaults({ errorRate: 1, only: /^PUT \/data\/projects\/P1\/subjects/ })
    expect(await failure(store.updateAssessor(ref, sending, node.revision))).to.be.instanceOf(
      StoreUnavailableError,
    )
    lab.sandbox.setFaults({})
    expect((await lab.admin.item(address)).fields.note).to.contain('s=queued')
    const other = lab.store()
    const [now] = await shown(other)
    expect(now).to.include({ state: 'uploading' })
    expect((await other.readAssessor(ref)).node).to.deep.equal(now)
    // A verdict writes the words that are behind, too.
    const judged = await other.updateAssessor(ref, { quality: 'Passed' }, now?.revision ?? '')
    expect(judged).to.include({ state: 'uploading', statusWord: 'UPLOADING', quality: 'Passed' })
    const { fields } = await lab.admin.item(address)
    expect(fields.note).to.contain('s=uploading')
    expect(fields.procstatus).to.equal('UPLOADING')
    expect(await shown(other)).to.deep.equal([judged])
  })

  it('go on where a crash came between the record and the experiment', async () => {
    lab.sandbox.setFaults({ errorRate: 1, only: /^POST \/data\/projects\/P1\/subjects/ })
    expect(await failure(store.createAssessor(ref, init))).to.be.instanceOf(StoreUnavailableError)
    lab.sandbox.setFaults({})
    expect(await shown(store)).to.deep.equal([])
    const made = await lab.store().createAssessor(ref, init)
    expect(made.created).to.equal(false)
    expect(made.record).to.deep.equal(init.record)
    expect(await shown(store)).to.deep.equal([made.node])
  })

  it('that DAX has made say what from; their verdict can be set, and the rest stays', async () => {
    const path = '/projects/P1/subjects/S0001/experiments/S0001_MR1/scans/1'
    await byHand({
      [`${TYPE}/proctype`]: 'group_v2',
      [`${TYPE}/procstatus`]: 'COMPLETE',
      [`${TYPE}/inputs`]: JSON.stringify({ t1: [path] }),
    })
    const [theirs] = await shown(store)
    expect(theirs).to.deep.include({
      label,
      procType: 'group_v2',
      state: 'complete',
      inputs: { t1: [{ ...subject, session: 'S0001_MR1', scan: '1' }] },
    })
    const read = await store.readAssessor(ref)
    expect(read).to.deep.equal({ node: theirs })
    await store.updateAssessor(ref, { quality: 'Passed' }, read.node.revision)
    expect((await shown(store))[0]).to.include({ quality: 'Passed', statusWord: 'COMPLETE' })
    await store.deleteAssessor(ref)
    expect(await shown(store)).to.deep.equal([])
  })

  it('are left out where they are not wanted', async () => {
    await store.createAssessor(ref, init)
    for await (const one of (await store.snapshot('P1', { subjectResults: false })).subjects)
      expect(one.assessors).to.deep.equal([])
  })

  it('refuse a label that something else has', async () => {
    await lab.admin.putSession({ ...address }, 'xnat:mrSessionData')
    expect(await failure(store.createAssessor(ref, init))).to.be.instanceOf(ConflictError)
  })
})

describe('results on subjects from before the type was there', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'orbweaver-xnat-before-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  async function on<T>(options: Partial<SandboxOptions>, work: (lab: XnatLab) => Promise<T>): Promise<T> {
    const lab = await XnatLab.start({ directory: folder, ...options })
    try {
      return await work(lab)
    } finally {
      await lab.stop()
    }
  }

  it('stay where they were made', async () => {
    await on({ subjGenProcData: false }, async (lab) => {
      await lab.seed([seedMany('P1', 1)])
      const store = lab.store()
      await store.createAssessor(ref, init)
      await store.upload({ node: ref, resource: 'PDF' }, source({ 'report.pdf': 'pdf' }))
    })
    await on({}, async (lab) => {
      const store = lab.store()
      const [old] = await shown(store)
      expect(old).to.deep.include({ label, state: 'queued' })
      expect(old?.resources.map((one) => one.label)).to.deep.equal(['PDF'])
      const other = lab.store()
      expect(await other.listFiles({ node: ref, resource: 'PDF' })).to.have.length(1)
      const again = await other.createAssessor(ref, init)
      expect(again).to.deep.include({ created: false, node: old })
      const complete = { record: { ...init.record, state: 'complete' as const } }
      expect(await other.updateAssessor(ref, complete, old?.revision ?? '')).to.include({ state: 'complete' })
      await other.deleteAssessor(ref)
      expect(await shown(store)).to.deep.equal([])
    })
  })
})
