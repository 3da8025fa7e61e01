import { expect } from 'chai'
import {
  existsSync,
  lstatSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { copyFile, mkdir, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import Database from 'better-sqlite3'
import type { FileSource, SubjectNode, TaskState } from '@orbweaver/core'
import type { FolderStore } from '@orbweaver/adapter-local'
import {
  ASSESSOR,
  MemorySink,
  PDF,
  SCAN,
  SESSION,
  addSession,
  collect,
  contentOf,
  entryOf,
  failure,
  init,
  makeLab,
  memorySource,
  sha256,
  taskRecord,
  type Lab,
} from './helpers.js'

describe('folder archive', () => {
  let lab: Lab
  let store: FolderStore
  beforeEach(async () => {
    lab = await makeLab()
    store = await lab.open()
  })
  afterEach(() => lab.dispose())

  const place = (path: string): string => join(lab.archive, 'projects/P/subjects/S1/sessions/E1', path)
  const node = async () => (await store.readAssessor(ASSESSOR)).node

  describe('assessors', () => {
    it('gives back the record exactly, and says what decisions need without it', async () => {
      const record = taskRecord({
        state: 'failed',
        attempt: 2,
        retryAtMs: 5000,
        cause: { kind: 'memory', summary: 'too much', evidence: [] },
        outputs: [{ resource: 'PDF', files: [entryOf('a.pdf', 'x')] }],
      })
      const made = await store.createAssessor(ASSESSOR, { ...init(), record })
      expect(made.created).to.equal(true)
      expect(made.record).to.deep.equal(record)
      const read = await store.readAssessor(ASSESSOR)
      expect(read.record).to.deep.equal(record)
      expect(read.node).to.deep.equal({
        label: ASSESSOR.assessor,
        procType: 'qa_v1',
        procVersion: '1.2.0',
        state: 'failed',
        statusWord: 'JOB_FAILED',
        cause: 'memory',
        attempt: 2,
        retryAtMs: 5000,
        quality: '',
        resources: [],
        scans: ['1'],
        revision: made.node.revision,
      })
    })

    it('makes an assessor once', async () => {
      const [first, second] = await Promise.all([
        store.createAssessor(ASSESSOR, init()),
        (await lab.open()).createAssessor(ASSESSOR, init({ state: 'waiting' })),
      ])
      expect([first.created, second.created].sort()).to.deep.equal([false, true])
      expect(second.node).to.deep.equal(first.node)
      expect(second.record).to.deep.equal(first.record)
    })

    it('refuses a change by somebody who has not seen the last one', async () => {
      const { node: old } = await store.createAssessor(ASSESSOR, init())
      const next = await store.updateAssessor(
        ASSESSOR,
        { record: taskRecord({ state: 'queued' }) },
        old.revision,
      )
      expect(next.state).to.equal('queued')
      expect(
        (await failure(store.updateAssessor(ASSESSOR, { quality: 'Passed' }, old.revision))).code,
      ).to.equal('CONFLICT')
      const last = await store.updateAssessor(ASSESSOR, { quality: 'Passed' }, next.revision)
      expect(last).to.include({ state: 'queued', quality: 'Passed' })
    })

    it('never gives a revision twice, not even after deleting and making it again', async () => {
      const { node: old } = await store.createAssessor(ASSESSOR, init())
      await store.deleteAssessor(ASSESSOR)
      await store.createAssessor(ASSESSOR, init())
      expect((await failure(store.updateAssessor(ASSESSOR, { quality: 'x' }, old.revision))).code).to.equal(
        'CONFLICT',
      )
    })

    it('keeps the revision when files are uploaded, so that the uploader can go on', async () => {
      const { node: before } = await store.createAssessor(ASSESSOR, init())
      await store.upload(PDF, memorySource({ 'a.pdf': 'x' }))
      expect((await node()).revision).to.equal(before.revision)
    })

    it('hangs on subjects and projects too', async () => {
      for (const ref of [
        { project: 'P', assessor: 'A' },
        { project: 'P', subject: 'S1', assessor: 'A' },
      ]) {
        await store.createAssessor(ref, init())
        await store.upload({ node: ref, resource: 'PDF' }, memorySource({ 'a.pdf': 'x' }))
      }
      const snapshot = await store.snapshot('P')
      const [subject] = await collect(snapshot.subjects)
      expect(snapshot.project.assessors[0]?.resources[0]).to.include({ label: 'PDF', fileCount: 1, bytes: 1 })
      expect(subject?.assessors[0]?.resources[0]).to.include({ label: 'PDF', fileCount: 1, bytes: 1 })
      expect(readFileSync(join(lab.archive, 'projects/P/assessors/A/PDF/a.pdf'), 'utf8')).to.equal('x')
      expect(
        readFileSync(join(lab.archive, 'projects/P/subjects/S1/assessors/A/PDF/a.pdf'), 'utf8'),
      ).to.equal('x')
    })

    it('names the level that is missing', async () => {
      const ref = { ...SESSION, session: 'E9', assessor: 'A' }
      const error = await failure(store.createAssessor(ref, init()))
      expect(error.code).to.equal('NOT_FOUND')
      expect(error.message).to.contain('session "P/S1/E9"')
      expect((await failure(store.readAssessor(ASSESSOR))).code).to.equal('NOT_FOUND')
      expect((await failure(store.updateAssessor(ASSESSOR, {}, '1'))).code).to.equal('NOT_FOUND')
      await store.deleteAssessor(ref)
    })

    it('refuses labels that cannot be a folder, before anything is looked up', async () => {
      for (const assessor of ['../x', 'a/b', '-x', '.x', 'a\nb', '', 'a;b', '$(x)', 'x'.repeat(300)]) {
        expect((await failure(store.createAssessor({ ...SESSION, assessor }, init()))).code).to.equal(
          'INPUT_INVALID',
        )
      }
    })

    it('removes an assessor with its files, and only those', async () => {
      await store.createAssessor(ASSESSOR, init())
      await store.upload(PDF, memorySource({ 'a.pdf': 'x' }))
      await store.upload({ node: SCAN, resource: 'NIFTI' }, memorySource({ 'a.nii': 'y' }))
      await store.deleteAssessor(ASSESSOR)
      expect(existsSync(place('assessors/' + ASSESSOR.assessor))).to.equal(false)
      expect(readdirSync(join(lab.archive, '.staging'))).to.deep.equal([])
      expect(readFileSync(place('scans/1/NIFTI/a.nii'), 'utf8')).to.equal('y')
      expect(await collect(store.check({ deep: true }))).to.deep.equal([])
    })
  })

  describe('status words', () => {
    const written = async (
      words: 'dax' | 'notebook',
      state: TaskState,
      kind?: 'no-output',
    ): Promise<string> => {
      const other = await lab.open({ words })
      const ref = { ...SESSION, assessor: `${words}-${state}-${kind ?? ''}x` }
      const cause = kind === undefined ? {} : { cause: { kind, summary: '', evidence: [] } }
      const { node } = await other.createAssessor(ref, init({ state, ...cause }))
      expect(node.state).to.equal(state)
      return node.statusWord
    }

    it("are DAX's by default and the notebook's on demand; the state comes back exactly", async () => {
      expect(await written('dax', 'held')).to.equal('NEED_INPUTS')
      expect(await written('dax', 'cancelled')).to.equal('JOB_FAILED')
      expect(await written('notebook', 'ready')).to.equal('PRE_COMPLETE')
      expect(await written('notebook', 'failed')).to.equal('JOB_ERROR')
      expect(await written('notebook', 'failed', 'no-output')).to.equal('XVFB_ERROR')
    })
  })

  describe('files', () => {
    beforeEach(() => store.createAssessor(ASSESSOR, init()))

    it('lie in a readable tree, private to the user', async () => {
      const listed = await store.upload(PDF, memorySource({ 'report.pdf': 'abc', 'sub/b.txt': '' }))
      expect(listed).to.deep.equal([entryOf('report.pdf', 'abc'), entryOf('sub/b.txt', '')])
      const folder = place(`assessors/${ASSESSOR.assessor}/PDF`)
      expect(readFileSync(join(folder, 'report.pdf'), 'utf8')).to.equal('abc')
      expect(statSync(join(folder, 'report.pdf')).mode & 0o777).to.equal(0o600)
      expect(statSync(join(folder, 'sub')).mode & 0o777).to.equal(0o700)
      expect(statSync(join(lab.archive, 'archive.db')).mode & 0o777).to.equal(0o600)
      expect(statSync(lab.archive).mode & 0o777).to.equal(0o700)
      expect(readdirSync(join(lab.archive, '.staging'))).to.deep.equal([])
    })

    it('are replaced as a whole: others of the resource go', async () => {
      await store.upload(PDF, memorySource({ a: '1', 'd/b': '2', c: '3' }))
      const before = (await node()).resources[0]
      await store.upload(PDF, memorySource({ a: '1', c: 'changed', e: '5' }))
      expect(await contentOf(store)).to.deep.equal({ a: '1', c: 'changed', e: '5' })
      expect(existsSync(place(`assessors/${ASSESSOR.assessor}/PDF/d`))).to.equal(false)
      expect((await node()).resources[0]?.digest).not.to.equal(before?.digest)
    })

    it('may become folders and back', async () => {
      await store.upload(PDF, memorySource({ a: 'file' }))
      await store.upload(PDF, memorySource({ 'a/b': 'below' }))
      expect(await contentOf(store)).to.deep.equal({ 'a/b': 'below' })
      await store.upload(PDF, memorySource({ a: 'file' }))
      expect(await contentOf(store)).to.deep.equal({ a: 'file' })
      const both = await failure(store.upload(PDF, memorySource({ a: 'x', 'a/b': 'y' })))
      expect(both.code).to.equal('INPUT_INVALID')
    })

    it('are none in an empty resource, which is there', async () => {
      expect(await store.upload(PDF, memorySource({}))).to.deep.equal([])
      expect(await store.listFiles(PDF)).to.deep.equal([])
      expect((await node()).resources[0]).to.include({ label: 'PDF', fileCount: 0, bytes: 0 })
      expect((await failure(store.listFiles({ node: ASSESSOR, resource: 'NO' }))).code).to.equal('NOT_FOUND')
    })

    it('that are there and identical are not sent again, with or without a checksum of the source', async () => {
      await store.upload(PDF, memorySource({ a: '1', b: '2' }))
      const opened: string[] = []
      const progress: number[] = []
      const { cursor } = await store.changedSince('P', undefined)
      await store.upload(PDF, memorySource({ a: '1', b: '2' }, { opened }), {
        onProgress: (n) => progress.push(n),
      })
      expect(opened).to.deep.equal([])
      expect(progress).to.deep.equal([])
      expect((await store.changedSince('P', cursor)).subjects).to.deep.equal([])
      const md5: FileSource = {
        ...memorySource({ a: '1', b: '3' }, { opened }),
        files: [
          { path: 'a', bytes: 1, checksum: { algorithm: 'md5', hex: 'c4ca4238a0b923820dcc509a6f75849b' } },
          { path: 'b', bytes: 1, checksum: { algorithm: 'md5', hex: 'eccbc87e4b5ce2fe28308fd9f2a7baf3' } },
        ],
      }
      await store.upload(PDF, md5)
      expect(opened).to.deep.equal(['b'])
      expect(await contentOf(store)).to.deep.equal({ a: '1', b: '3' })
    })

    it('go on where a broken upload stopped, in another process life too', async () => {
      const files = { a: 'one', b: 'two', c: 'three' }
      const opened: string[] = []
      const source = memorySource(files, { opened })
      const broken: FileSource = {
        ...source,
        open: async (path, options) => {
          if (path === 'c') throw new Error('the line went dead')
          return await source.open(path, options)
        },
      }
      expect((await failure(store.upload(PDF, broken))).message).to.equal('the line went dead')
      expect((await failure(store.listFiles(PDF))).code).to.equal('NOT_FOUND')
      await store.close()
      store = await lab.open()
      opened.length = 0
      await store.upload(PDF, source)
      expect(opened).to.deep.equal(['c'])
      expect(await contentOf(store)).to.deep.equal(files)
      expect(readdirSync(join(lab.archive, '.staging'))).to.deep.equal([])
    })

    it('are refused when they are not what was announced; nothing is changed', async () => {
      await store.upload(PDF, memorySource({ a: 'old' }))
      for (const wrong of [{ ...entryOf('a', 'new'), bytes: 4 }, { ...entryOf('a', 'other') }]) {
        const source: FileSource = { files: [wrong], open: async () => Readable.from([Buffer.from('new')]) }
        expect((await failure(store.upload(PDF, source))).code).to.equal('INTEGRITY')
      }
      expect(await contentOf(store)).to.deep.equal({ a: 'old' })
    })

    it('with paths that leave the resource are refused', async () => {
      for (const path of ['../a', '/a', 'a//b', './a', 'a/..', 'a\\b', 'a\n']) {
        const source = { files: [{ path, bytes: 1 }], open: async () => Readable.from([Buffer.from('x')]) }
        expect((await failure(store.upload(PDF, source))).code).to.equal('INPUT_INVALID')
        expect((await failure(store.download(PDF, source.files, new MemorySink()))).code).to.equal(
          'INPUT_INVALID',
        )
      }
    })

    it('are copied from local paths, large ones too', async () => {
      const local = join(lab.folder, 'big')
      const big = Buffer.alloc(20 * 1024 ** 2, 'orbweaver')
      writeFileSync(local, big)
      const source: FileSource = {
        files: [{ path: 'big', bytes: big.length }],
        open: () => Promise.reject(new Error('not to be streamed')),
        localPath: () => local,
      }
      let sent = 0
      const [file] = await store.upload(PDF, source, { onProgress: (n) => (sent = n) })
      expect(file).to.deep.equal({
        path: 'big',
        bytes: big.length,
        checksum: { algorithm: 'sha256', hex: sha256(big) },
      })
      expect(sent).to.equal(big.length)
      const copies: string[] = []
      await store.download(PDF, [file ?? entryOf('', '')], {
        write: () => Promise.reject(new Error('not to be streamed')),
        copyFrom: async (path, from) => {
          copies.push(path)
          await copyFile(from, join(lab.folder, 'copy'))
        },
      })
      expect(copies).to.deep.equal(['big'])
      expect(readFileSync(join(lab.folder, 'copy')).equals(big)).to.equal(true)
    })

    it('that were changed by hand are refused on the way out, streamed or copied', async () => {
      await store.upload(PDF, memorySource({ a: 'good', b: 'fine' }))
      writeFileSync(place(`assessors/${ASSESSOR.assessor}/PDF/a`), 'evil')
      const files = await store.listFiles(PDF)
      const sink = new MemorySink()
      expect((await failure(store.download(PDF, files.slice(0, 1), sink))).code).to.equal('INTEGRITY')
      expect(sink.plain).to.deep.equal({})
      const copied: string[] = []
      const copier = {
        write: sink.write.bind(sink),
        copyFrom: async (path: string) => void copied.push(path),
      }
      expect((await failure(store.download(PDF, files, copier))).code).to.equal('INTEGRITY')
      expect(copied).to.deep.equal([])
      unlinkSync(place(`assessors/${ASSESSOR.assessor}/PDF/b`))
      expect((await failure(store.download(PDF, files.slice(1), sink))).code).to.equal('INTEGRITY')
    })

    it('that were lost are put back by the next upload', async () => {
      await store.upload(PDF, memorySource({ a: 'good', b: 'fine' }))
      unlinkSync(place(`assessors/${ASSESSOR.assessor}/PDF/a`))
      await store.upload(PDF, memorySource({ a: 'good', b: 'fine' }))
      expect(await contentOf(store)).to.deep.equal({ a: 'good', b: 'fine' })
    })

    it('that do not exist, or that changed since they were listed, are told apart', async () => {
      await store.upload(PDF, memorySource({ a: 'old' }))
      const files = await store.listFiles(PDF)
      await store.upload(PDF, memorySource({ a: 'newer' }))
      expect((await failure(store.download(PDF, files, new MemorySink()))).code).to.equal('INTEGRITY')
      expect((await failure(store.download(PDF, [entryOf('z', '')], new MemorySink()))).code).to.equal(
        'NOT_FOUND',
      )
    })

    it('that others put into the folder are not seen', async () => {
      await store.upload(PDF, memorySource({ a: '1' }))
      writeFileSync(place(`assessors/${ASSESSOR.assessor}/PDF/stray`), 'x')
      expect((await store.listFiles(PDF)).map((file) => file.path)).to.deep.equal(['a'])
      const problems = await collect(store.check())
      expect(problems.map(({ kind, path }) => ({ kind, path }))).to.deep.equal([
        { kind: 'unknown', path: 'stray' },
      ])
    })

    it('that cannot be put in place are told, kept, and put there once the way is free', async () => {
      const obstacle = place(`assessors/${ASSESSOR.assessor}/PDF/a`)
      await mkdir(join(obstacle, 'stray'), { recursive: true })
      expect((await failure(store.upload(PDF, memorySource({ a: '1', b: '2' })))).code).to.equal(
        'STORE_UNAVAILABLE',
      )
      expect(await contentOf(store)).to.deep.equal({ a: '1', b: '2' })
      await store.close()
      store = await lab.open()
      expect(await contentOf(store)).to.deep.equal({ a: '1', b: '2' })
      // The rest of the archive goes on.
      await store.upload({ node: SCAN, resource: 'NIFTI' }, memorySource({ x: 'y' }))
      rmSync(obstacle, { recursive: true })
      await store.upload(PDF, memorySource({ a: '1', b: '2' }))
      expect(readFileSync(obstacle, 'utf8')).to.equal('1')
      expect(await collect(store.check({ deep: true }))).to.deep.equal([])
    })

    it('can be read in place', async () => {
      await store.upload(PDF, memorySource({ 'd/a': '1' }))
      const source = await store.source(PDF)
      expect(source.files).to.deep.equal([entryOf('d/a', '1')])
      expect(source.localPath('d/a')).to.equal(place(`assessors/${ASSESSOR.assessor}/PDF/d/a`))
      expect(source.localPath('no')).to.equal(undefined)
    })
  })

  describe('aborts', () => {
    it('reject with the reason and change nothing', async () => {
      const reason = new Error('enough')
      const aborted = AbortSignal.abort(reason)
      await store.createAssessor(ASSESSOR, init())
      for (const call of [
        store.projects({ signal: aborted }),
        store.snapshot('P', { signal: aborted }),
        store.changedSince('P', undefined, { signal: aborted }),
        store.createAssessor({ ...SESSION, assessor: 'B' }, init(), { signal: aborted }),
        store.updateAssessor(ASSESSOR, { quality: 'x' }, (await node()).revision, { signal: aborted }),
        store.deleteAssessor(ASSESSOR, { signal: aborted }),
        store.upload(PDF, memorySource({ a: '1' }), { signal: aborted }),
        store.ingest([], { signal: aborted }),
      ]) {
        expect(await failure(call)).to.equal(reason)
      }
      expect((await node()).quality).to.equal('')
    })

    it('end an upload whose source hangs', async () => {
      await store.createAssessor(ASSESSOR, init())
      const controller = new AbortController()
      const source: FileSource = {
        files: [{ path: 'a', bytes: 100 }],
        open: async () =>
          new Readable({
            read() {
              setImmediate(() => controller.abort(new Error('enough')))
            },
          }),
      }
      expect((await failure(store.upload(PDF, source, { signal: controller.signal }))).message).to.equal(
        'enough',
      )
    })

    it('end a download whose sink hangs', async () => {
      await store.createAssessor(ASSESSOR, init())
      await store.upload(PDF, memorySource({ a: 'x'.repeat(10_000_000) }))
      const controller = new AbortController()
      const download = store.download(
        PDF,
        await store.listFiles(PDF),
        {
          write: (_path, content) =>
            new Promise((_, reject) => {
              content.on('error', reject)
              controller.abort(new Error('enough'))
            }),
        },
        { signal: controller.signal },
      )
      expect((await failure(download)).message).to.equal('enough')
    })
  })

  describe('snapshot', () => {
    it('streams subjects in order with everything that hangs on them', async () => {
      await store.ingest([
        {
          ...SESSION,
          subject: 'S0',
          session: 'E2',
          resource: 'NOTES',
          files: [],
          modality: 'MR',
          date: '2024-02-03',
        },
        { project: 'P', subject: 'S2', resource: 'FORMS', files: [] },
        ...['10', '2', '1', 'x'].map((label) => ({
          ...SESSION,
          scan: { label, type: 'BOLD', quality: 'questionable', description: `run ${label}` },
          resource: 'NIFTI',
          files: [],
        })),
      ])
      const { project, subjects } = await store.snapshot('P')
      expect(project).to.deep.equal({ label: 'P', resources: [], assessors: [] })
      const all = await collect(subjects)
      expect(all.map((subject) => subject.label)).to.deep.equal(['S0', 'S1', 'S2'])
      expect(all[0]?.sessions[0]).to.deep.include({ label: 'E2', modality: 'MR', date: '2024-02-03' })
      expect(all[0]?.sessions[0]?.resources.map((r) => r.label)).to.deep.equal(['NOTES'])
      expect(all[1]?.sessions[0]?.scans.map((scan) => scan.label)).to.deep.equal(['1', '2', '10', 'x'])
      expect(all[1]?.sessions[0]?.scans[1]).to.deep.include({
        type: 'BOLD',
        quality: 'questionable',
        description: 'run 2',
      })
      expect(all[2]?.resources.map((r) => r.label)).to.deep.equal(['FORMS'])
    })

    it('gives only the subjects and sessions asked for, and skips what is not there', async () => {
      for (const session of ['E1', 'E2'])
        for (const subject of ['S1', 'S2', 'S3']) await addSession(store, { project: 'P', subject, session })
      const shape = (subjects: readonly SubjectNode[]): string[] =>
        subjects.map((s) => `${s.label}:${s.sessions.map((e) => e.label).join('+')}`)
      const ask = async (options: { subjects?: string[]; sessions?: string[] }) =>
        shape(await collect((await store.snapshot('P', options)).subjects))
      expect(await ask({ subjects: ['S3', 'S1', 'no', 'S3'] })).to.deep.equal(['S1:E1+E2', 'S3:E1+E2'])
      expect(await ask({ sessions: ['E2', 'no'] })).to.deep.equal(['S1:E2', 'S2:E2', 'S3:E2'])
      expect(await ask({ subjects: ['S2'], sessions: ['E1'] })).to.deep.equal(['S2:E1'])
      expect(await ask({ subjects: [] })).to.deep.equal([])
      expect(await ask({ sessions: ['no'] })).to.deep.equal([])
      expect((await failure(store.snapshot('Q'))).code).to.equal('NOT_FOUND')
    })

    it('crosses pages without losing or doubling anybody', async () => {
      const subjects = Array.from({ length: 700 }, (_, i) => `T${String(i).padStart(4, '0')}`)
      await store.ingest(
        subjects.map((subject) => ({ project: 'Q', subject, session: 'E', resource: 'R', files: [] })),
      )
      const { subjects: found } = await store.snapshot('Q')
      expect((await collect(found)).map((subject) => subject.label)).to.deep.equal(subjects)
    })

    it('lets other work write while it is read', async () => {
      await addSession(store, { project: 'P', subject: 'S2', session: 'E' })
      for await (const subject of (await store.snapshot('P')).subjects) {
        await store.createAssessor({ project: 'P', subject: subject.label, assessor: 'A' }, init())
      }
      expect(await collect((await store.snapshot('P')).subjects)).to.have.length(2)
    })

    it('keeps awkward labels', async () => {
      const labels = ["O'Brien (2)", 'é', 'e\u0301', 'percent%20', '日本', '🧠', 'a b', '~x', 'x'.repeat(200)]
      for (const subject of labels) {
        await addSession(store, { project: 'P', subject, session: subject })
        await store.upload(
          { node: { project: 'P', subject }, resource: 'R' },
          memorySource({ [`${subject}.txt`]: 'x' }),
        )
      }
      const found = (await collect((await store.snapshot('P')).subjects)).map((subject) => subject.label)
      expect(new Set(found)).to.deep.equal(new Set([...labels, 'S1']))
      expect(await collect(store.check({ deep: true }))).to.deep.equal([])
    })
  })

  describe('change feed', () => {
    it('names exactly the subjects that changed', async () => {
      await addSession(store, { project: 'P', subject: 'S2', session: 'E' })
      const start = await store.changedSince('P', undefined)
      expect(start).to.include({ subjects: 'all', project: true })
      const news = async (cursor: string) => await store.changedSince('P', cursor)
      expect(await news(start.cursor)).to.deep.include({ subjects: [], project: false })
      const { node } = await store.createAssessor(ASSESSOR, init())
      let now = await news(start.cursor)
      expect(now).to.deep.include({ subjects: ['S1'], project: false })
      await store.updateAssessor(ASSESSOR, { quality: 'x' }, node.revision)
      now = await news(now.cursor)
      expect(now.subjects).to.deep.equal(['S1'])
      await store.upload({ node: { project: 'P', subject: 'S2' }, resource: 'R' }, memorySource({ a: '1' }))
      now = await news(now.cursor)
      expect(now.subjects).to.deep.equal(['S2'])
      await store.deleteAssessor(ASSESSOR)
      now = await news(now.cursor)
      expect(now.subjects).to.deep.equal(['S1'])
      await store.createAssessor({ project: 'P', assessor: 'A' }, init())
      now = await news(now.cursor)
      expect(now).to.deep.include({ subjects: [], project: true })
      await store.createAssessor({ project: 'P', assessor: 'A' }, init())
      expect(await news(now.cursor)).to.deep.include({ cursor: now.cursor, subjects: [], project: false })
    })

    it('says "all" to a cursor that is not its own', async () => {
      const { cursor } = await store.changedSince('P', undefined)
      const later = cursor.replace(/\d+$/, (n) => String(Number(n) + 1000))
      for (const wrong of ['', 'x', later, cursor.replace(/^./, (c) => (c === '0' ? '1' : '0'))]) {
        expect((await store.changedSince('P', wrong)).subjects).to.equal('all')
      }
    })
  })

  describe('on a file system that does not tell letter case apart', () => {
    it('refuses labels and paths that would share a folder or file', async () => {
      const { db } = await store.opened()
      Object.assign(db, { foldsCase: true })
      await store.createAssessor({ ...SESSION, assessor: 'Qa' }, init())
      const node = { ...SESSION, assessor: 'Qa' }
      await store.upload({ node, resource: 'PDF' }, memorySource({ a: '1' }))
      for (const call of [
        () => store.createAssessor({ ...SESSION, assessor: 'qA' }, init()),
        () => store.upload({ node, resource: 'pdf' }, memorySource({ a: '1' })),
        () => store.upload({ node, resource: 'PDF' }, memorySource({ a: '1', A: '2' })),
        () => store.upload({ node, resource: 'PDF' }, memorySource({ a: '1', 'A/b': '2' })),
        () => store.addProject('p'),
        () => addSession(store, { ...SESSION, subject: 's1' }),
        () => addSession(store, { ...SESSION, session: 'e1' }),
      ]) {
        expect((await failure(call())).code).to.equal('INPUT_INVALID')
      }
    })
  })

  describe('on a network file system', () => {
    it('has used a rollback journal since the first machine saw it so, and works as before', async () => {
      await store.createAssessor(ASSESSOR, init())
      const { db } = await store.opened()
      expect(db.sqlite.pragma('journal_mode', { simple: true })).to.equal('wal')
      db.sqlite.exec('UPDATE archive SET rollback = 1')
      await store.close()
      store = await lab.open()
      const again = await store.opened()
      expect(again.db.sqlite.pragma('journal_mode', { simple: true })).to.equal('delete')
      expect(existsSync(join(lab.archive, 'archive.db-wal'))).to.equal(false)
      const other = await lab.open()
      await other.upload(PDF, memorySource({ a: '1' }))
      expect(await contentOf(store)).to.deep.equal({ a: '1' })
      const { cursor } = await store.changedSince('P', undefined)
      await other.updateAssessor(ASSESSOR, { quality: 'x' }, (await node()).revision)
      expect((await store.changedSince('P', cursor)).subjects).to.deep.equal(['S1'])
    })
  })

  describe('opening', () => {
    it('says clearly that there is no archive, and makes nothing', async () => {
      const path = join(lab.folder, 'nothing')
      for (const make of [async () => undefined, async () => void (await mkdir(path))]) {
        await make()
        const error = await failure(lab.open({ path, create: false }))
        expect(error.code).to.equal('INPUT_INVALID')
        expect(error.message).to.contain('There is no archive at')
        expect(existsSync(join(path, 'archive.db'))).to.equal(false)
      }
    })

    it('refuses an archive of a newer version and changes nothing', async () => {
      await store.close()
      const path = join(lab.archive, 'archive.db')
      const sqlite = new Database(path)
      sqlite.exec('UPDATE archive SET schema = 99')
      sqlite.close()
      const error = await failure(lab.open())
      expect(error.code).to.equal('NOT_SUPPORTED')
      expect(error.message).to.contain('format 99')
    })

    it("refuses another program's database, and what is no database", async () => {
      for (const make of [
        (path: string) => new Database(path).exec('CREATE TABLE x (y)').close(),
        (path: string) => writeFileSync(path, 'not a database at all, however long it may be'.repeat(100)),
      ]) {
        const path = join(lab.folder, 'other', 'archive.db')
        await mkdir(dirname(path), { recursive: true })
        make(path)
        expect((await failure(lab.open({ path: dirname(path) }))).code).to.equal('STORE_PROTOCOL')
        unlinkSync(path)
      }
    })

    it('is tried again by the next call: a file system may have been mounted meanwhile', async () => {
      await store.close()
      await rename(lab.archive, lab.archive + '-away')
      const { FolderStore } = await import('@orbweaver/adapter-local')
      const early = new FolderStore({ path: lab.archive })
      expect((await failure(early.projects())).code).to.equal('INPUT_INVALID')
      await rename(lab.archive + '-away', lab.archive)
      expect(await early.projects()).to.deep.equal(['P'])
      await early.close()
    })

    it('lists projects in order', async () => {
      await store.addProject('Z')
      await store.addProject('A')
      expect(await store.projects()).to.deep.equal(['A', 'P', 'Z'])
      expect(lstatSync(join(lab.archive, 'archive.db')).isFile()).to.equal(true)
    })
  })
})
