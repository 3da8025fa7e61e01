import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import type { SubjectNode } from '@orbweaver/core'
import { exportBidsDerivative } from '#src/export/bids-derivative.js'
import { importInto, type ImportSummary } from '#src/import/import-into.js'
import { FolderStore } from '#src/store/folder-store.js'
import { addResult } from '../export/archive.js'
import { dicom, makeFolder, niftiGz, put, removeFolder, type Content } from './sources.js'
import { skipTest } from '@orbweaver/core/testing'

describe('import into the folder archive', () => {
  const folders: string[] = []
  const stores: FolderStore[] = []
  async function folder(files: Record<string, Content> = {}): Promise<string> {
    const root = await makeFolder(files)
    folders.push(root)
    return root
  }
  async function archive(): Promise<FolderStore> {
    const store = await FolderStore.open({ path: join(await folder(), 'archive'), create: true })
    stores.push(store)
    return store
  }
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close()
    for (const root of folders.splice(0)) await removeFolder(root)
  })

  async function subjects(store: FolderStore, project: string): Promise<SubjectNode[]> {
    const found = []
    for await (const subject of (await store.snapshot(project)).subjects) found.push(subject)
    return found
  }
  function counts({ created, changed, unchanged, copiedFiles }: ImportSummary) {
    return { created, changed, unchanged, copiedFiles }
  }

  const bids = (): Record<string, Content> => ({
    'dataset_description.json': { Name: 'x', BIDSVersion: '1.10.0' },
    'bold.json': { A: 1 },
    'sub-01/ses-a/func/sub-01_ses-a_task-x_bold.nii.gz': niftiGz([2, 2, 2, 2], 1),
    'sub-01/ses-a/func/sub-01_ses-a_task-x_bold.json': { B: 2 },
    'sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz': niftiGz([2, 2, 2], 2),
    'sub-02/anat/sub-02_T1w.nii.gz': niftiGz([2, 2, 2], 3),
  })
  const series = (): Record<string, Content> =>
    Object.fromEntries(
      [1, 2, 3].map((number) => [
        `scan/IM${number}`,
        dicom({ number, comments: 'Project:P1 Subject:S1 Session:E1' }),
      ]),
    )
  const tree = (): Record<string, Content> => ({
    'P1/S1/E1/301-T1w/NIFTI/t1.nii.gz': niftiGz(),
    'P1/S1/E1/301-T1w/scan.json': { quality: 'questionable' },
    'P1/S1/E1/resources/NOTES/n.txt': 'x',
  })

  for (const [kind, files, resources] of [
    ['bids', bids, 5],
    ['dicom', series, 1],
    ['tree', tree, 2],
  ] as const) {
    for (const link of [false, true]) {
      it(`changes nothing when ${kind} is imported again${link ? ' with links' : ''}`, async () => {
        const store = await archive()
        const root = await folder(files())
        const options = { link, ...(kind === 'bids' && { project: 'P1' }) }
        const first = await importInto(store, root, options)
        expect(first.kind).to.equal(kind)
        expect(counts(first)).to.include({ created: resources, changed: 0, unchanged: 0 })
        const before = await subjects(store, 'P1')
        const second = await importInto(store, root, options)
        expect(counts(second)).to.deep.equal({ created: 0, changed: 0, unchanged: resources, copiedFiles: 0 })
        expect(await subjects(store, 'P1')).to.deep.equal(before)
      })
    }
  }

  it('gives the tree that the dataset describes', async () => {
    const store = await archive()
    await importInto(store, await folder(bids()), { project: 'P1' })
    const [first, second] = await subjects(store, 'P1')
    expect([first?.label, second?.label]).to.deep.equal(['01', '02'])
    expect(first?.sessions[0]).to.include({ label: 'a', modality: 'MR' })
    expect(first?.sessions[0]?.scans.map(({ label, type, quality }) => [label, type, quality])).to.deep.equal(
      [
        ['T1w', 'T1w', 'usable'],
        ['task-x_bold', 'bold', 'usable'],
      ],
    )
    expect(second?.sessions[0]?.label).to.equal('single')
  })

  it('keeps merged sidecars with links, after its own copies are gone', async function () {
    const store = await archive()
    // Temporary files on another file system: there a link would be symbolic and lead nowhere afterwards.
    const [here, there] = await Promise.all([stat(store.root), stat('/dev/shm').catch(() => undefined)])
    if (there === undefined || there.dev === here.dev) skipTest(this, '/dev/shm is no file system of its own')
    const { TMPDIR } = process.env
    const root = await folder(bids())
    process.env.TMPDIR = '/dev/shm'
    try {
      await importInto(store, root, { project: 'P1', link: true })
    } finally {
      if (TMPDIR === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = TMPDIR
    }
    const node = { project: 'P1', subject: '01', session: 'a', scan: 'task-x_bold' }
    const ref = { node, resource: 'NIFTI' }
    const files = await store.listFiles(ref)
    const read = new Map<string, string>()
    await store.download(ref, files, {
      write: async (path, content) => {
        read.set(path, Buffer.concat((await content.toArray()) as Buffer[]).toString())
      },
    })
    expect(JSON.parse(read.get('sub-01_ses-a_task-x_bold.json') ?? '')).to.deep.equal({ A: 1, B: 2 })
  })

  it('imports what was added, and leaves the archive as it is on an error', async () => {
    const store = await archive()
    const root = await folder(bids())
    await importInto(store, root, { project: 'P1' })
    await put(root, 'sub-03/anat/sub-03_T1w.nii.gz', niftiGz([2, 2, 2], 9))
    await put(root, 'sub-;4/anat/sub-4_T1w.nii.gz', niftiGz())
    const before = await subjects(store, 'P1')
    const failure: unknown = await importInto(store, root, { project: 'P1' }).catch((error: unknown) => error)
    expect(failure).to.be.instanceOf(Error)
    expect(await subjects(store, 'P1')).to.deep.equal(before)
    await rm(join(root, 'sub-;4'), { recursive: true })
    expect(counts(await importInto(store, root, { project: 'P1' }))).to.include({ created: 2, unchanged: 5 })
  })

  it('exports results of imported scans under their BIDS names, without touching the archive', async () => {
    const store = await archive()
    await importInto(store, await folder(bids()), { project: 'P1' })
    const target = { project: 'P1', subject: '01', session: 'a' }
    const ref = await addResult(store, target, {
      scans: ['task-x_bold'],
      outputs: { PDF: { 'report.pdf': 'pdf' }, MAPS: { 'tsnr.nii.gz': 'map' } },
    })
    const out = join(await folder(), 'derivatives')
    const { datasets, problems } = await exportBidsDerivative(store, { project: 'P1', out })
    expect(problems).to.deep.equal([])
    expect(datasets[0]).to.include({ files: 2, written: 2 })
    const exported = join(out, 'bold-qc-1.2.0/sub-01/ses-a/func/sub-01_ses-a_task-x_desc-PDF_report.pdf')
    expect(await readFile(exported, 'utf8')).to.equal('pdf')
    // A file of its own: changing it must not change the archive.
    expect((await stat(exported)).nlink).to.equal(1)
    expect(await store.listFiles({ node: ref, resource: 'PDF' })).to.have.length(1)
    expect((await exportBidsDerivative(store, { project: 'P1', out })).datasets[0]).to.include({
      written: 0,
      unchanged: 2,
    })
  })
})
