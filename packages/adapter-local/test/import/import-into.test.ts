import { chmod, readFile, readdir, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { InputError } from '@orbweaver/core'
import {
  importInto,
  type ImportOptions,
  type ImportProgress,
  type IngestTarget,
} from '#src/import/import-into.js'
import type { IngestItem } from '#src/store/ingest.js'
import { asOrdinaryUser, dicom, makeFolder, niftiGz, put, removeFolder, type Content } from './sources.js'

/** Takes everything in, and reads every file as an archive would. */
class Recorder implements IngestTarget {
  readonly items: IngestItem[] = []
  readonly contents = new Map<string, Buffer>()

  async ingest(...[items, options]: Parameters<IngestTarget['ingest']>): ReturnType<IngestTarget['ingest']> {
    let files = 0
    let bytes = 0
    for await (const item of items) {
      this.items.push(item)
      for (const file of item.files) {
        const content = await readFile(file.source)
        this.contents.set(
          `${item.subject}/${item.session}/${item.scan?.label}/${item.resource}/${file.path}`,
          content,
        )
        files += 1
        bytes += content.length
      }
      options?.onProgress?.({ resources: this.items.length, files, bytes, item })
    }
    return { created: this.items.length, unchanged: 0, changed: 0, files, bytes, linked: 0 }
  }
}

describe('import', () => {
  const folders: string[] = []
  async function folder(files: Record<string, Content>): Promise<string> {
    const root = await makeFolder(files)
    folders.push(root)
    return root
  }
  afterEach(async () => {
    for (const root of folders.splice(0)) await removeFolder(root)
  })

  async function refused(root: string, options: ImportOptions): Promise<InputError> {
    const store = new Recorder()
    const failure: unknown = await importInto(store, root, options).then(
      () => new Error('it was imported'),
      (error: unknown) => error,
    )
    expect(failure).to.be.instanceOf(InputError)
    expect(store.items).to.deep.equal([])
    return failure as InputError
  }

  const BIDS = {
    'dataset_description.json': { Name: 'x', BIDSVersion: '1.10.0' },
    'bold.json': { A: 1 },
    'sub-01/func/sub-01_task-x_bold.nii.gz': niftiGz(),
    'sub-01/func/sub-01_task-x_bold.json': { B: 2 },
    'sub-02/anat/sub-02_T1w.nii.gz': niftiGz(),
  }

  it('imports a dataset, counts it, and leaves no temporary files', async () => {
    const before = (await readdir(tmpdir())).filter((name) => name.startsWith('orbweaver-import-'))
    const store = new Recorder()
    const progress: ImportProgress[] = []
    const root = await folder(BIDS)
    const summary = await importInto(store, root, { project: 'P1', onProgress: (p) => progress.push(p) })
    const { problems, bytes, copiedBytes, ...counts } = summary
    expect(counts).to.deep.equal({
      kind: 'bids',
      reasons: ['it has a dataset_description.json', 'it has 2 folders sub-…'],
      dryRun: false,
      projects: ['P1'],
      subjects: 2,
      sessions: 2,
      scans: 2,
      resources: 4,
      files: 5,
      created: 4,
      unchanged: 0,
      changed: 0,
      copiedFiles: 5,
      problemCounts: { error: 0, skipped: 0, note: 0 },
    })
    expect(problems).to.deep.equal([])
    expect(bytes).to.be.greaterThan(0)
    expect(copiedBytes).to.be.greaterThan(bytes)
    const merged = store.contents.get('01/single/task-x_bold/NIFTI/sub-01_task-x_bold.json')
    expect(JSON.parse(String(merged))).to.deep.equal({ A: 1, B: 2 })
    expect(progress.at(-1)).to.include({ phase: 'store', resources: 4, totalResources: 4 })
    const after = (await readdir(tmpdir())).filter((name) => name.startsWith('orbweaver-import-'))
    expect(after).to.deep.equal(before)
  })

  it('changes nothing in a dry run, and returns the problems', async () => {
    const store = new Recorder()
    const root = await folder({ ...BIDS, 'sub-03/anat/sub-03_T1w.nii.gz': '' })
    const summary = await importInto(store, root, { project: 'P1', dryRun: true })
    expect(store.items).to.deep.equal([])
    expect([summary.scans, summary.created, summary.problemCounts.error]).to.deep.equal([2, 0, 1])
  })

  it('imports nothing while there is an error, and says what, where and the way out', async () => {
    const root = await folder({ ...BIDS, 'sub-0;3/anat/x.nii.gz': 'x', 'sub-04/anat/sub-04_T1w.nii.gz': '' })
    const failure = await refused(root, { project: 'P1' })
    expect(failure.message).to.include('"sub-0;3"').and.to.include('sub-04/anat/sub-04_T1w.nii.gz')
    expect(failure.hint).to.include('--skip-bad')
    expect(failure.details.problems).to.have.length(2)
  })

  it('leaves bad parts out when asked to', async () => {
    const store = new Recorder()
    const root = await folder({
      ...BIDS,
      'sub-0;3/anat/x.nii.gz': 'x',
      'sub-04/anat/sub-04_T1w.nii.gz': '',
      'sub-04/anat/sub-04_T2w.nii.gz': niftiGz(),
    })
    const summary = await importInto(store, root, { project: 'P1', skipBad: true })
    expect(summary.problemCounts.error).to.equal(2)
    expect(store.items.flatMap((item) => item.scan?.label ?? [])).to.deep.equal(['task-x_bold', 'T1w', 'T2w'])
  })

  it('refuses a folder of which nothing is good', async () => {
    const root = await folder({ 'dataset_description.json': '{}', 'sub-01/anat/sub-01_T1w.nii.gz': '' })
    await refused(root, { project: 'P1', skipBad: true })
  })

  it('refuses a dataset without a project, and a project that is no label', async () => {
    const root = await folder(BIDS)
    expect((await refused(root, {})).hint).to.include('--project')
    for (const project of ['a;b', '../x', '', '-p', 'x'.repeat(300), 'a\nb', '$(x)']) {
      await refused(root, { project })
    }
  })

  it('refuses a DICOM folder with a file that is cut short; with skipBad its scan is unusable', async () => {
    const root = await folder({ a: dicom({ number: 1 }), b: dicom({ number: 2, pixels: 500 }) })
    await truncate(join(root, 'b'), 600)
    const failure = await refused(root, { project: 'P1' })
    expect(failure.message).to.match(/b: it is cut short: 600 bytes, its header says \d+/)
    const store = new Recorder()
    await importInto(store, root, { project: 'P1', skipBad: true })
    expect(store.items[0]?.scan?.quality).to.equal('unusable')
    expect(store.items[0]?.files).to.have.length(1)
  })

  it('refuses a file that cannot be read before anything is stored', async () => {
    const root = await folder({ 'S1/E1/1/NIFTI/a': 'x', 'S2/E1/1/NIFTI/a': 'x' })
    await chmod(join(root, 'S2/E1/1/NIFTI/a'), 0)
    const failure = await asOrdinaryUser(root, async () => {
      await chmod(root, 0o755).catch(() => undefined)
      return await refused(root, { kind: 'tree', project: 'P' })
    })
    expect(failure.message).to.include('may not be read')
  })

  it('passes link, and the signal, on', async () => {
    const root = await folder({ 'S1/E1/1/NIFTI/a': 'x' })
    let seen: unknown
    const store: IngestTarget = {
      ingest: async (_items, options) => {
        seen = options?.link
        return { created: 0, unchanged: 0, changed: 0, files: 0, bytes: 0, linked: 0 }
      },
    }
    await importInto(store, root, { kind: 'tree', project: 'P', link: true })
    expect(seen).to.equal(true)
    const reason = new Error('enough')
    const failure: unknown = await importInto(store, root, {
      kind: 'tree',
      project: 'P',
      signal: AbortSignal.abort(reason),
    }).catch((error: unknown) => error)
    expect(failure).to.equal(reason)
  })

  it('caps the list of problems, errors first', async () => {
    const files: Record<string, Content> = {
      'dataset_description.json': '{}',
      'sub-1/anat/sub-1_T1w.nii.gz': niftiGz(),
    }
    for (let i = 0; i < 600; i += 1) files[`sub-1/anat/note${i}_x.txt`] = 'x'
    const root = await folder(files)
    await put(root, 'sub-1/anat/zzz.nii.gz', 'x')
    const summary = await importInto(new Recorder(), root, { project: 'P', skipBad: true })
    expect(summary.problems).to.have.length(500)
    expect(summary.problems[0]?.path).to.equal('sub-1/anat/zzz.nii.gz')
    expect(summary.problemCounts).to.deep.equal({ error: 1, skipped: 600, note: 0 })
  })
})
