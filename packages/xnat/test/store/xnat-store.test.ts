import { Readable } from 'node:stream'
import { expect } from 'chai'
import {
  AccessDeniedError,
  ConflictError,
  IntegrityError,
  type ArchiveRef,
  type AssessorInit,
  type AssessorNode,
  type DataStore,
  type FileSource,
  type ResourceRef,
  type SnapshotOptions,
  type SubjectNode,
  type TaskState,
} from '@orbweaver/core'
import { seedMany, seedScan } from '@orbweaver/core/testing'
import { XnatClient, XnatCredentials, type XnatDataStore } from '@orbweaver/xnat'
import { XnatLab } from '../support/lab.js'

const session: ArchiveRef = { project: 'P1', subject: 'S0001', session: 'S0001_MR1' }
const label = 'P1-x-S0001-x-S0001_MR1-x-proc_v1-x-0123abcd'
const ref: ArchiveRef = { ...session, assessor: label }

const init: AssessorInit = {
  procType: 'proc_v1',
  procVersion: '1.2.3',
  scans: ['1'],
  record: {
    schema: 1,
    label,
    procType: 'proc_v1',
    procVersion: '1.2.3',
    target: session,
    inputs: [{ name: 't1', sources: [{ node: { ...session, scan: '1' }, resource: 'NIFTI', type: 'T1w' }] }],
    params: {},
    state: 'queued',
    reason: 'submitted as job 77',
    attempt: 1,
    failures: {},
    job: {
      name: 'ow-1',
      id: '77',
      backend: 'slurm',
      workspace: '/scratch/w',
      startedAtMs: Date.UTC(2026, 10, 25, 12),
      node: 'node07',
      peakMemoryBytes: 300 * 1024 ** 2,
      elapsedSeconds: 3723,
    },
    createdAtMs: Date.UTC(2026, 10, 25),
    updatedAtMs: Date.UTC(2026, 10, 25),
  },
}

async function subjectsOf(
  store: DataStore,
  project = 'P1',
  options: SnapshotOptions = {},
): Promise<SubjectNode[]> {
  const found: SubjectNode[] = []
  for await (const subject of (await store.snapshot(project, options)).subjects) found.push(subject)
  return found
}

function source(content: Readonly<Record<string, string>>): FileSource {
  return {
    files: Object.entries(content).map(([path, text]) => ({ path, bytes: Buffer.byteLength(text) })),
    open: async (path) => Readable.from([Buffer.from(content[path] ?? '')], { objectMode: false }),
  }
}

async function fetched(store: DataStore, from: ResourceRef): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  await store.download(from, await store.listFiles(from), {
    async write(path, content) {
      const chunks: Buffer[] = []
      for await (const chunk of content) chunks.push(chunk as Buffer)
      found[path] = Buffer.concat(chunks).toString('utf8')
    },
  })
  return found
}

async function failure(work: Promise<unknown>): Promise<Error> {
  try {
    await work
  } catch (error) {
    return error as Error
  }
  expect.fail('it did not fail')
}

describe('XNAT as the archive', () => {
  let lab: XnatLab
  let store: XnatDataStore
  beforeEach(async () => {
    lab = await XnatLab.start()
    store = lab.store()
    await lab.seed([seedMany('P1', 3)])
  })
  afterEach(() => lab.stop())

  /** As a person does it on the web page. */
  async function byHand(fields: Readonly<Record<string, string>>): Promise<void> {
    await lab.admin.setFields(ref, 'proc:genProcData', fields)
  }

  describe('requests', () => {
    it('of a snapshot are as many for three sessions as for forty', async () => {
      await lab.seed([seedMany('P2', 40, [seedScan('1', 'T1w'), seedScan('2', 'BOLD')])])
      const count = async (
        project: string,
        options: SnapshotOptions = { subjectResults: false },
      ): Promise<number> => {
        const before = store.client.requests
        await subjectsOf(store, project, options)
        return store.client.requests - before
      }
      await store.client.login()
      expect(await count('P1')).to.equal(5)
      expect(await count('P2')).to.equal(5)
      expect(await count('P1', {}), 'with results on subjects, and the types of the site').to.equal(7)
      expect(await count('P2', {}), 'with results on subjects').to.equal(6)
      await store.createAssessor(ref, init)
      expect(await count('P1'), 'with results').to.equal(6)
      expect(await count('P1', {}), 'with all results').to.equal(7)
    })

    it('to make an assessor where a snapshot was read: one', async () => {
      await subjectsOf(store)
      await store.createAssessor({ ...ref, assessor: 'first' }, init)
      const before = store.client.requests
      await store.createAssessor(ref, init)
      expect(store.client.requests - before).to.equal(1)
    })

    it('to change one: two; to send a new resource after that: two', async () => {
      const { node } = await store.createAssessor(ref, init)
      let before = store.client.requests
      await store.updateAssessor(ref, { record: { ...init.record, state: 'uploading' } }, node.revision)
      expect(store.client.requests - before).to.equal(2)
      before = store.client.requests
      await store.upload({ node: ref, resource: 'PDF' }, source({ 'a.pdf': 'pdf', 'b/c.txt': 'c' }))
      expect(store.client.requests - before).to.equal(2)
    })
  })

  it('shows four resources that were sent at once, and asked for at once, in two requests', async () => {
    const { node } = await store.createAssessor(ref, init)
    await store.updateAssessor(ref, { record: { ...init.record, state: 'uploading' } }, node.revision)
    const before = store.client.requests
    const labels = ['OUT', 'STATS', 'PDF', 'LOG']
    const sent = await Promise.all(
      labels.map((resource) =>
        store.upload({ node: ref, resource }, source({ [`a/${resource}`]: resource })),
      ),
    )
    expect(store.client.requests - before, 'four uploads and one look').to.equal(5)
    const listed = await Promise.all(labels.map((resource) => store.listFiles({ node: ref, resource })))
    expect(store.client.requests - before, 'and a second look').to.equal(6)
    expect(listed).to.deep.equal(sent)
    expect(listed.map((files) => files.map(({ path }) => path))).to.deep.equal(
      labels.map((one) => [`a/${one}`]),
    )
  })

  it('sees which of several uploads was answered with 200 and not stored, and sends that again', async () => {
    await store.createAssessor(ref, init)
    lab.sandbox.setFaults({ lies: 1 })
    const files = { 'a.txt': 'a', 'b.txt': 'b' }
    await Promise.all(['OUT', 'LOG'].map((resource) => store.upload({ node: ref, resource }, source(files))))
    for (const resource of ['OUT', 'LOG']) {
      const listed = await store.listFiles({ node: ref, resource })
      expect(listed.map(({ path }) => path).sort()).to.deep.equal(['a.txt', 'b.txt'])
    }
  })

  describe('beside DAX', () => {
    it("writes DAX's fields and words", async () => {
      const { node } = await store.createAssessor(ref, init)
      await store.updateAssessor(ref, { record: init.record }, node.revision)
      const item = await lab.admin.item(ref)
      expect(item.xsiType).to.equal('proc:genProcData')
      expect(item.fields).to.include({
        procstatus: 'JOB_RUNNING',
        proctype: 'proc_v1',
        procversion: '1.2.3',
        jobid: '77',
        jobnode: 'node07',
        jobstartdate: '2026-11-25',
        memusedmb: '300',
        walltimeused: '01:02:03',
        date: '2026-11-25',
      })
      expect(JSON.parse(item.fields.inputs ?? '')).to.deep.equal({
        t1: '/projects/P1/subjects/S0001/experiments/S0001_MR1/scans/1',
      })
    })

    it('shows what DAX has made, with its status, and does not take it for its own', async () => {
      const theirs = 'P1-x-S0001-x-S0001_MR1-x-fs_v7-x-89abcdef'
      await lab.admin.setFields({ ...session, assessor: theirs }, 'proc:genProcData', {
        'proc:genProcData/proctype': 'fs_v7',
        'proc:genProcData/procversion': '7.0.2',
        'proc:genProcData/procstatus': 'COMPLETE',
        'proc:genProcData/validation/status': 'Passed',
      })
      const [shown] = (await subjectsOf(store))[0]?.sessions[0]?.assessors ?? []
      expect(shown).to.deep.include({
        label: theirs,
        procType: 'fs_v7',
        procVersion: '7.0.2',
        state: 'complete',
        statusWord: 'COMPLETE',
        quality: 'Passed',
        attempt: 0,
      })
      const read = await store.readAssessor({ ...session, assessor: theirs })
      expect(read.record).to.equal(undefined)
      expect(read.node).to.deep.equal(shown)
      // Its verdict can be set, and its own fields stay.
      await store.updateAssessor({ ...session, assessor: theirs }, { quality: 'Rerun' }, read.node.revision)
      const after = await store.readAssessor({ ...session, assessor: theirs })
      expect(after.node).to.include({ quality: 'Rerun', statusWord: 'COMPLETE', procType: 'fs_v7' })
    })

    it('uses the words of the notebook where that is asked for', async () => {
      const notebook = lab.store({ words: 'notebook' })
      const { node } = await notebook.createAssessor(ref, {
        ...init,
        record: { ...init.record, state: 'complete' },
      })
      expect(node).to.include({ statusWord: 'BUILD_COMPLETE', state: 'complete' })
    })
  })

  describe('people', () => {
    it('who give a verdict meanwhile are not overwritten, and the engine hears of it', async () => {
      const { node } = await store.createAssessor(ref, init)
      await byHand({ 'proc:genProcData/validation/status': 'Rerun' })
      const change = { record: { ...init.record, state: 'running' as const } }
      expect(await failure(store.updateAssessor(ref, change, node.revision))).to.be.instanceOf(ConflictError)
      const read = await store.readAssessor(ref)
      expect(read.node).to.include({ quality: 'Rerun', state: 'queued' })
      const updated = await store.updateAssessor(ref, change, read.node.revision)
      expect(updated).to.include({ quality: 'Rerun', state: 'running' })
    })

    it('who write a status word count more than our own note', async () => {
      await store.createAssessor(ref, init)
      await byHand({ 'proc:genProcData/procstatus': 'NEED_TO_RUN' })
      const [shown] = (await subjectsOf(store))[0]?.sessions[0]?.assessors ?? []
      expect(shown).to.include({ statusWord: 'NEED_TO_RUN', state: 'ready', attempt: 1 })
    })

    it('who may only read are told so, and nothing is stored', async () => {
      await lab.admin.send({
        method: 'POST',
        path: '/xapi/users',
        body: JSON.stringify({ username: 'reader', password: 'reader-pw', enabled: true, verified: true }),
        contentType: 'application/json',
        also: [201],
      })
      await lab.admin.send({ method: 'PUT', path: '/data/projects/P1/users/Collaborators/reader' })
      const reader = lab.store({ credentials: new XnatCredentials('reader', 'reader-pw') })
      expect(await failure(reader.createAssessor(ref, init))).to.be.instanceOf(AccessDeniedError)
      const scan = { node: { ...session, scan: '1' }, resource: 'NEW' }
      const error = await failure(reader.upload(scan, source({ 'a.txt': 'a' })))
      expect(error instanceof IntegrityError || error instanceof AccessDeniedError, error.message).to.equal(
        true,
      )
      expect(await fetched(reader, { ...scan, resource: 'NIFTI' })).to.have.keys('image.nii')
    })
  })

  describe('two engines', () => {
    /** As another process: what waits for each other here does so by the address of the server. */
    const second = (): XnatDataStore => lab.store({ url: lab.sandbox.url.replace('127.0.0.1', 'localhost') })
    const change = (state: TaskState, reason: string) => ({ record: { ...init.record, state, reason } })

    /** Lets `other` write when `late` has read and not yet written. */
    function between(late: XnatDataStore, other: () => Promise<unknown>): void {
      const { client } = late
      const put = client.putDocument.bind(client)
      client.putDocument = async (...args) => {
        client.putDocument = put
        await other()
        return await put(...args)
      }
    }

    it('that write in the same moment: the later write stays, and the other hears of it when it goes on', async () => {
      const { node } = await store.createAssessor(ref, init)
      const late = second()
      let mine: AssessorNode | undefined
      between(late, async () => {
        mine = await store.updateAssessor(ref, change('running', 'mine'), node.revision)
      })
      await late.updateAssessor(ref, change('running', 'theirs'), node.revision)
      const error = await failure(
        store.updateAssessor(ref, change('uploading', 'mine'), mine?.revision ?? ''),
      )
      expect(error).to.be.instanceOf(ConflictError)
      expect((error as ConflictError).details).to.include({ overwritten: true })
      // Told once; whoever reads again may go on.
      const read = await store.readAssessor(ref)
      expect(read.record?.reason).to.equal('theirs')
      const next = await store.updateAssessor(ref, change('uploading', 'mine'), read.node.revision)
      expect(next.state).to.equal('uploading')
    })

    it('do not both end a task without noticing', async () => {
      const { node } = await store.createAssessor(ref, init)
      const late = second()
      const { client } = store
      const put = client.putDocument.bind(client)
      const done: Promise<unknown>[] = []
      between(late, async () => {
        // The other writes its end, and is about to look at it again when the late write comes.
        await new Promise<void>((written) => {
          client.putDocument = async (...args) => {
            const id = await put(...args)
            written()
            await lateWrite
            return id
          }
          done.push(failure(store.updateAssessor(ref, change('complete', 'mine'), node.revision)))
        })
      })
      let wrote = (): void => undefined
      const lateWrite = new Promise<void>((resolve) => (wrote = resolve))
      await late.updateAssessor(ref, change('failed', 'theirs'), node.revision)
      wrote()
      const [error] = await Promise.all(done)
      expect(error).to.be.instanceOf(ConflictError)
      expect((error as ConflictError).details).to.include({ overwritten: true })
    })

    it('that write one after the other are told of a plain conflict', async () => {
      const { node } = await store.createAssessor(ref, init)
      await second().updateAssessor(ref, change('running', 'theirs'), node.revision)
      const error = await failure(store.updateAssessor(ref, change('running', 'mine'), node.revision))
      expect(error).to.be.instanceOf(ConflictError)
      expect((error as ConflictError).details).to.not.have.property('overwritten')
    })
  })

  describe('files', () => {
    const resource: ResourceRef = { node: session, resource: 'DATA' }

    it('whose names begin alike do not go with one that is removed', async () => {
      await store.upload(resource, source({ a: '1', 'a.txt': '2', 'ab/c': '3', b: '4' }))
      await store.upload(resource, source({ 'a.txt': '2', 'ab/c': '3', b: '4' }))
      expect(await fetched(store, resource)).to.deep.equal({ 'a.txt': '2', 'ab/c': '3', b: '4' })
    })

    it('that XNAT said it stored and did not are sent again', async () => {
      lab.sandbox.setFaults({ lies: 1 })
      await store.upload(resource, source({ 'a.txt': 'a', 'b.txt': 'b' }))
      expect(await fetched(store, resource)).to.deep.equal({ 'a.txt': 'a', 'b.txt': 'b' })
    })

    it('in folders named like the scan come out under their own names', async () => {
      const scan: ResourceRef = { node: { ...session, scan: '1' }, resource: 'DATA' }
      const content = Object.fromEntries(
        ['1/a', '1/b', 'files/1/c', 'd', 'e', 'f', 'g'].map((name) => [name, name]),
      )
      await store.upload(scan, source(content))
      expect(await fetched(store, scan)).to.deep.equal(content)
    })

    it("that are named like XNAT's catalogs are kept", async () => {
      const content = { 'a_catalog.xml': '<x/>', 'b.txt': 'b', 'c/d_catalog.xml': '<y/>' }
      await store.upload(resource, source(content))
      expect(await fetched(store, resource)).to.deep.equal(content)
    })
  })

  it('finds a session again that was renamed and made anew', async () => {
    await store.listFiles({ node: { ...session, scan: '1' }, resource: 'NIFTI' })
    await lab.admin.remove({ project: 'P1', subject: 'S0001', session: 'S0001_MR1' })
    await lab.seed([seedMany('P1', 1, [seedScan('1', 'T2w')])])
    await store.createAssessor(ref, init)
    expect((await subjectsOf(store))[0]?.sessions[0]?.assessors).to.have.length(1)
  })

  it('logs out at the end', async () => {
    const own = lab.store()
    await own.projects()
    await own.close()
    const last = lab.sandbox.log.at(-1)
    expect([last?.method, last?.path]).to.deep.equal(['DELETE', '/data/JSESSION'])
  })

  it('serves scripts by alias tokens', async () => {
    const client = lab.client()
    const { alias, secret, expiresAtMs = 0 } = await client.issueToken()
    expect(expiresAtMs).to.be.above(Date.now())
    expect((await client.tokens()).map((token) => token.alias)).to.include(alias)
    const other = new XnatClient({ url: lab.sandbox.url, credentials: new XnatCredentials(alias, secret) })
    expect((await other.projects()).map(({ id }) => id)).to.include('P1')
    await other.close()
    await client.invalidateToken(alias)
    expect((await client.tokens()).map((token) => token.alias)).to.not.include(alias)
    await client.close()
  })
})
