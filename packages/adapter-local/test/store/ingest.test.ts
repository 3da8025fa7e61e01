import { expect } from 'chai'
import {
  appendFileSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { FolderStore, IngestItem } from '@orbweaver/adapter-local'
import { SCAN, SESSION, collect, contentOf, failure, makeLab, type Lab } from './helpers.js'
import { skipTest } from '@orbweaver/core/testing'

const NIFTI = { node: SCAN, resource: 'NIFTI' }
const NOTHING = { created: 0, unchanged: 0, changed: 0, files: 0, bytes: 0, linked: 0 }

describe('folder archive import', () => {
  let lab: Lab
  let store: FolderStore
  let source: string
  beforeEach(async () => {
    lab = await makeLab()
    store = await lab.open()
    source = join(lab.folder, 'source')
    mkdirSync(source)
  })
  afterEach(() => lab.dispose())

  /** A file old enough that its time is to be trusted. */
  const file = (name: string, content: string): { path: string; source: string } => {
    const path = join(source, name)
    writeFileSync(path, content)
    utimesSync(path, 1e9, 1e9)
    return { path: name, source: path }
  }
  const item = (...files: IngestItem['files']): IngestItem => ({
    ...SESSION,
    scan: { label: '1', type: 'T1w' },
    resource: 'NIFTI',
    files,
  })
  const inArchive = (path: string): string =>
    join(lab.archive, 'projects/P/subjects/S1/sessions/E1/scans/1/NIFTI', path)

  it('makes the nodes it needs and copies the files', async () => {
    const items: IngestItem[] = [
      {
        project: 'Q',
        subject: 'N',
        session: 'M',
        scan: { label: '3', type: 'BOLD', description: 'rest', quality: 'questionable' },
        resource: 'DICOM',
        files: [file('1.dcm', 'a'), file('2.dcm', 'bc')],
        modality: 'MR',
        date: '2024-01-02',
      },
      { project: 'Q', subject: 'N', session: 'M', resource: 'NOTES', files: [file('n.txt', 'd')] },
      { project: 'Q', subject: 'N', resource: 'FORM', files: [] },
    ]
    const progress: number[] = []
    const summary = await store.ingest(items, { onProgress: ({ resources }) => progress.push(resources) })
    expect(summary).to.deep.equal({ ...NOTHING, created: 3, files: 3, bytes: 4 })
    expect(progress).to.deep.equal([1, 2, 3])
    const [subject] = await collect((await store.snapshot('Q')).subjects)
    expect(subject?.resources[0]).to.include({ label: 'FORM', fileCount: 0 })
    expect(subject?.sessions[0]).to.deep.include({ modality: 'MR', date: '2024-01-02' })
    expect(subject?.sessions[0]?.scans[0]).to.deep.include({
      label: '3',
      type: 'BOLD',
      description: 'rest',
      quality: 'questionable',
    })
    expect(await collect(store.check({ deep: true }))).to.deep.equal([])
    expect(readdirSync(join(lab.archive, '.staging'))).to.deep.equal([])
  })

  it('changes nothing the second time', async () => {
    const items = [item(file('a', '1'), file('b', '2')), { ...item(file('c', '3')), resource: 'JSON' }]
    expect(await store.ingest(items)).to.include({ created: 1, changed: 1 })
    const { cursor } = await store.changedSince('P', undefined)
    expect(await store.ingest(items)).to.deep.equal({ ...NOTHING, unchanged: 2 })
    // Touched: read again, found to be the same.
    utimesSync(join(source, 'a'), 2e9, 1.5e9)
    expect(await store.ingest(items)).to.deep.equal({ ...NOTHING, unchanged: 2 })
    expect(await store.changedSince('P', cursor)).to.deep.equal({ cursor, subjects: [], project: false })
  })

  it('takes a file that changed at the source, of the same size too', async () => {
    const files = [file('a', 'old'), file('b', 'same')]
    await store.ingest([item(...files)])
    writeFileSync(join(source, 'a'), 'new')
    expect(await store.ingest([item(...files)])).to.deep.equal({ ...NOTHING, changed: 1, files: 1, bytes: 3 })
    expect(await contentOf(store, NIFTI)).to.deep.equal({ a: 'new', b: 'same' })
  })

  it('does not trust the time of a file that was changed a moment ago', async () => {
    writeFileSync(join(source, 'a'), 'old')
    const files = [{ path: 'a', source: join(source, 'a') }]
    await store.ingest([item(...files)])
    const { mtime } = statSync(join(source, 'a'))
    writeFileSync(join(source, 'a'), 'new')
    utimesSync(join(source, 'a'), mtime, mtime)
    expect(await store.ingest([item(...files)])).to.include({ changed: 1 })
  })

  it('keeps files that it does not name, unless it is told to prune', async () => {
    const [a, b] = [file('a', '1'), file('b', '2')]
    await store.ingest([item(a, b)])
    expect(await store.ingest([item(a)])).to.deep.equal({ ...NOTHING, unchanged: 1 })
    expect(await store.ingest([item(a), item(b)], { prune: true })).to.deep.equal({
      ...NOTHING,
      unchanged: 2,
    })
    expect(await store.ingest([item(a)], { prune: true })).to.include({ changed: 1 })
    expect(await contentOf(store, NIFTI)).to.deep.equal({ a: '1' })
  })

  it('reports a change of the scan alone', async () => {
    const a = file('a', '1')
    await store.ingest([item(a)])
    const renamed = { ...item(a), scan: { label: '1', type: 'MPRAGE', quality: 'unusable' } }
    expect(await store.ingest([renamed])).to.deep.equal({ ...NOTHING, changed: 1 })
    expect(await store.ingest([renamed])).to.deep.equal({ ...NOTHING, unchanged: 1 })
    // Quality that is left out stays as a person set it.
    await store.ingest([item(a)])
    const [subject] = await collect((await store.snapshot('P')).subjects)
    expect(subject?.sessions[0]?.scans[0]).to.include({ type: 'T1w', quality: 'unusable' })
  })

  it('links on demand, and notices when the original changes or goes', async () => {
    const [a, b] = [file('a', 'one'), file('b', 'two')]
    const copied = { ...file('c', 'three'), copy: true }
    const items = [item(a, b, copied)]
    expect(await store.ingest(items, { link: true })).to.deep.equal({
      ...NOTHING,
      changed: 1,
      files: 3,
      bytes: 11,
      linked: 2,
    })
    expect(statSync(inArchive('a')).ino).to.equal(statSync(a.source).ino)
    expect(statSync(inArchive('c')).ino).not.to.equal(statSync(copied.source).ino)
    expect(await store.ingest(items, { link: true })).to.deep.equal({ ...NOTHING, unchanged: 1 })
    expect(await contentOf(store, NIFTI)).to.deep.equal({ a: 'one', b: 'two', c: 'three' })

    appendFileSync(a.source, '!')
    expect((await failure(contentOf(store, NIFTI))).code).to.equal('INTEGRITY')
    const kinds = async (deep: boolean) =>
      (await collect(store.check({ deep }))).map(({ kind, path }) => `${kind} ${path}`)
    expect(await kinds(false)).to.deep.equal(['linked a'])
    expect(await kinds(true)).to.deep.equal(['size a'])
    expect(await store.ingest(items, { link: true })).to.deep.equal({
      ...NOTHING,
      changed: 1,
      files: 1,
      bytes: 4,
      linked: 1,
    })
    expect(await contentOf(store, NIFTI)).to.deep.equal({ a: 'one!', b: 'two', c: 'three' })
    expect(await kinds(true)).to.deep.equal([])
    expect(readdirSync(join(lab.archive, '.staging'))).to.deep.equal([])
  })

  it('links symbolically to the real file where a hard link cannot be', async function () {
    // A device of its own, as another disk would be.
    const [other] = ['/dev/shm'].filter(
      (path) => statSync(path, { throwIfNoEntry: false })?.dev !== statSync(lab.folder).dev,
    )
    if (other === undefined) skipTest(this, '/dev/shm is no file system of its own')
    const original = join(other, `orbweaver-test-${process.pid}`)
    writeFileSync(original, 'far')
    try {
      symlinkSync(original, join(source, 'link'))
      const items = [item({ path: 'a', source: join(source, 'link') })]
      await store.ingest(items, { link: true })
      expect(readlinkSync(inArchive('a'))).to.equal(original)
      expect(await contentOf(store, NIFTI)).to.deep.equal({ a: 'far' })
      expect(await store.ingest(items, { link: true })).to.include({ unchanged: 1 })
      // What goes is the link.
      await store.ingest([item()], { prune: true })
      expect(lstatSync(inArchive('a'), { throwIfNoEntry: false })).to.equal(undefined)
      expect(readFileSync(original, 'utf8')).to.equal('far')
    } finally {
      unlinkSync(original)
    }
  })

  it('puts back what is missing in the folder', async () => {
    const items = [item(file('a', 'one'))]
    await store.ingest(items)
    unlinkSync(inArchive('a'))
    await store.ingest(items)
    expect(await contentOf(store, NIFTI)).to.deep.equal({ a: 'one' })
  })

  it('takes many items in batches', async () => {
    const one = file('a', 'x')
    const many = Array.from({ length: 150 }, (_, n) => ({ ...item(one), subject: `T${n}` }))
    expect(await store.ingest(many)).to.include({ created: 150, files: 150 })
    expect(await store.ingest(many)).to.deep.equal({ ...NOTHING, unchanged: 150 })
  })

  it('refuses what it cannot use; what came before stays', async () => {
    const good = item(file('a', '1'))
    const bad: IngestItem[] = [
      { ...good, subject: '../x' },
      { ...good, resource: '' },
      { ...good, date: '1.2.2024' },
      { ...good, scan: { label: '1', type: 'a\u0000b' } },
      item({ path: '../a', source: join(source, 'a') }),
      item({ path: 'a', source: join(source, 'missing') }),
      item({ path: 'a', source }),
      item({ path: 'a', source: join(source, 'a') }, { path: 'a', source: join(source, 'a') }),
      item({ path: 'a', source: join(source, 'a') }, { path: 'a/b', source: join(source, 'a') }),
    ]
    for (const each of bad) {
      expect((await failure(store.ingest([each]))).code, JSON.stringify(each)).to.equal('INPUT_INVALID')
      expect(await contentOf(store, NIFTI)).to.deep.equal({})
    }
    expect(readdirSync(join(lab.archive, '.staging'))).to.deep.equal([])
  })

  it('can be aborted between items, and does the rest the next time', async () => {
    const controller = new AbortController()
    const items = (function* () {
      yield item(file('a', '1'))
      controller.abort(new Error('enough'))
      yield item(file('b', '2'))
    })()
    expect((await failure(store.ingest(items, { signal: controller.signal }))).message).to.equal('enough')
    await store.ingest([item(file('a', '1')), item(file('b', '2'))])
    expect(await contentOf(store, NIFTI)).to.deep.equal({ a: '1', b: '2' })
  })
})
