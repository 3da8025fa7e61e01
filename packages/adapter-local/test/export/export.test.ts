import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { ConflictError, InputError, IntegrityError, NotFoundError } from '@orbweaver/core'
import { InMemoryStore, seedScan } from '@orbweaver/core/testing'
import { exportBidsDerivative } from '#src/export/bids-derivative.js'
import { bidsLabels } from '#src/export/bids-labels.js'
import { derivativePath } from '#src/export/derivative-names.js'
import { exportTree } from '#src/export/result-tree.js'
import { addResult, sourceOf } from './archive.js'

const SESSION = { project: 'P1', subject: 'sub_01', session: 'MR 1' }
const OTHER = { project: 'P1', subject: 'sub-02', session: 'MR1' }

function archive(options: { readonly checksums?: 'sha256' | 'md5' | 'none' } = {}): InMemoryStore {
  const scans = [
    seedScan('T1w', 'T1w'),
    seedScan('task-rest_run-1_bold', 'bold'),
    seedScan('task-rest_run-2_bold', 'bold'),
    seedScan('301', 'BOLD'),
  ]
  return new InMemoryStore({
    ...options,
    projects: [
      {
        label: 'P1',
        subjects: [
          { label: 'sub_01', sessions: [{ label: 'MR 1', scans }] },
          { label: 'sub-02', sessions: [{ label: 'MR1', scans }] },
        ],
      },
    ],
  })
}

describe('export', () => {
  let out: string
  beforeEach(async () => {
    out = await mkdtemp(join(tmpdir(), 'orbweaver-test-export-'))
  })
  afterEach(async () => {
    await rm(out, { recursive: true, force: true })
  })

  async function listing(folder: string): Promise<string[]> {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
      .sort()
  }
  const text = async (path: string): Promise<string> => await readFile(join(out, path), 'utf8')
  async function table(path: string): Promise<Record<string, string>[]> {
    const [header = '', ...lines] = (await text(path)).trimEnd().split('\n')
    const names = header.split('\t')
    return lines.map((line) => Object.fromEntries(line.split('\t').map((cell, i) => [names[i] ?? '', cell])))
  }
  const MADE = [
    '.bidsignore',
    'README.md',
    'dataset_description.json',
    'orbweaver-mapping.tsv',
    'participants.json',
    'participants.tsv',
  ]
  const results = async (folder: string): Promise<string[]> =>
    (await listing(join(out, folder))).filter((path) => !MADE.includes(path))

  async function failureOf(work: Promise<unknown>): Promise<unknown> {
    return await work.then(
      () => undefined,
      (error: unknown) => error,
    )
  }

  describe('as a BIDS derivative', () => {
    it('writes one dataset a pipeline, with names by the rules', async () => {
      const store = archive()
      await addResult(store, SESSION, {
        scans: ['task-rest_run-1_bold'],
        outputs: { PDF: { 'report.pdf': 'pdf' }, MAPS: { 'tsnr.nii.gz': 'map', 'sub/deep.txt': 'deep' } },
      })
      await addResult(store, SESSION, { scans: ['301'], outputs: { PDF: { 'report.pdf': 'other' } } })
      await addResult(store, SESSION, {
        name: 'freesurfer',
        version: '7.4.1',
        scans: ['T1w'],
        outputs: { STATS: { 'aseg.stats': 'x' } },
      })
      await addResult(store, OTHER, {
        scans: ['T1w', 'task-rest_run-2_bold'],
        outputs: { PDF: { 'report.pdf': 'second' } },
        quality: 'Passed',
      })
      const summary = await exportBidsDerivative(store, { project: 'P1', out })
      expect(summary.problems).to.deep.equal([])
      expect(summary.datasets.map(({ folder: _, ...rest }) => rest)).to.deep.equal([
        {
          pipeline: 'bold-qc',
          version: '1.2.0',
          results: 3,
          files: 5,
          written: 5,
          bytes: 21,
          unchanged: 0,
          removed: 0,
        },
        {
          pipeline: 'freesurfer',
          version: '7.4.1',
          results: 1,
          files: 1,
          written: 1,
          bytes: 1,
          unchanged: 0,
          removed: 0,
        },
      ])
      const found = await results('bold-qc-1.2.0')
      expect(found.map((path) => path.replace(/_v1-[0-9a-f]{8}/, '_v1-H'))).to.have.members([
        'sub-02/ses-MR1/func/sub-02_ses-MR1_task-rest_run-2_desc-PDF_report.pdf',
        'sub-sub01/ses-MR1/bold-qc_v1-H/MAPS/sub/deep.txt',
        'sub-sub01/ses-MR1/bold-qc_v1-H/PDF/report.pdf',
        'sub-sub01/ses-MR1/func/sub-sub01_ses-MR1_task-rest_run-1_desc-MAPS_tsnr.nii.gz',
        'sub-sub01/ses-MR1/func/sub-sub01_ses-MR1_task-rest_run-1_desc-PDF_report.pdf',
      ])
      expect(await results('freesurfer-7.4.1')).to.deep.equal([
        'sub-sub01/ses-MR1/anat/sub-sub01_ses-MR1_desc-STATS_aseg.stats',
      ])
      expect(await text('bold-qc-1.2.0/participants.tsv')).to.equal(
        'participant_id\tarchive_subject\nsub-02\tsub-02\nsub-sub01\tsub_01\n',
      )
      const rows = await table('bold-qc-1.2.0/orbweaver-mapping.tsv')
      const row = rows.find(({ path }) => path?.includes('run-2'))
      expect(row).to.include({
        participant_id: 'sub-02',
        session_id: 'ses-MR1',
        project: 'P1',
        subject: 'sub-02',
        session: 'MR1',
        resource: 'PDF',
        file: 'report.pdf',
        quality: 'Passed',
        sha256: sourceOf({ a: 'second' }).files[0]?.checksum?.hex,
        inputs: 'P1/sub-02/MR1/scans/T1w:NIFTI, P1/sub-02/MR1/scans/task-rest_run-2_bold:NIFTI',
      })
      const ignored = (await text('bold-qc-1.2.0/.bidsignore')).split('\n')
      expect(ignored[0]).to.equal('orbweaver-mapping.tsv')
      expect(ignored.filter((line) => /^bold-qc_v1-[0-9a-f]{8}\/$/.test(line))).to.have.length(2)
    })

    it('describes the dataset: software, container, sources', async () => {
      const store = archive()
      await addResult(store, SESSION, { outputs: { PDF: { 'report.pdf': 'pdf' } } })
      await exportBidsDerivative(store, {
        project: 'P1',
        out,
        source: { doi: '10.1/x', version: '3' },
        describe: (pipeline, version) => ({
          codeUrl: `https://example.org/${pipeline}`,
          container: { type: 'docker', tag: `lab/boldqc:${version}`, uri: 'docker://lab/boldqc' },
        }),
      })
      const description = JSON.parse(await text('bold-qc-1.2.0/dataset_description.json')) as {
        GeneratedBy: Record<string, unknown>[]
      }
      expect(description).to.deep.include({
        Name: 'bold-qc 1.2.0 of P1',
        BIDSVersion: '1.10.0',
        DatasetType: 'derivative',
        SourceDatasets: [{ URL: 'https://doi.org/10.1/x', DOI: '10.1/x', Version: '3' }],
        DatasetLinks: { source: 'https://doi.org/10.1/x' },
      })
      expect(description.GeneratedBy[0]).to.deep.equal({
        Name: 'bold-qc',
        Version: '1.2.0',
        CodeURL: 'https://example.org/bold-qc',
        Container: { Type: 'docker', Tag: 'lab/boldqc:1.2.0', URI: 'docker://lab/boldqc' },
      })
      expect(description.GeneratedBy[1]).to.include({ Name: 'Orbweaver' })
    })

    it('takes only complete results, and only those that are selected', async () => {
      const store = archive()
      await addResult(store, SESSION, { scans: ['T1w'], outputs: { A: { 'a.txt': '1' } }, quality: 'Failed' })
      await addResult(store, SESSION, { scans: ['301'], outputs: { A: { 'a.txt': '2' } }, state: 'failed' })
      await addResult(store, OTHER, { scans: ['T1w'], outputs: { A: { 'a.txt': '3' } }, quality: 'Passed' })
      await addResult(
        store,
        { project: 'P1', subject: 'sub-02' },
        { name: 'group', outputs: { A: { 'a.txt': '4' } } },
      )
      await addResult(store, { project: 'P1' }, { name: 'all', outputs: { A: { 'a.txt': '5' } } })
      const count = async (options: object): Promise<Record<string, number>> => {
        const { datasets, problems } = await exportBidsDerivative(store, {
          project: 'P1',
          out: await mkdtemp(join(out, 'one-')),
          ...options,
        })
        expect(problems).to.deep.equal([])
        return Object.fromEntries(datasets.map((dataset) => [dataset.pipeline, dataset.results]))
      }
      expect(await count({})).to.deep.equal({ all: 1, 'bold-qc': 2, group: 1 })
      expect(await count({ quality: ['pass*'] })).to.deep.equal({ 'bold-qc': 1 })
      expect(await count({ subjects: ['sub-02'] })).to.deep.equal({ 'bold-qc': 1, group: 1 })
      expect(await count({ sessions: ['MR 1'] })).to.deep.equal({ 'bold-qc': 1 })
      expect(await count({ processors: ['bold-qc_v1', 'al?'] })).to.deep.equal({ all: 1, 'bold-qc': 2 })
      expect(await count({ processors: ['nothing'] })).to.deep.equal({})
    })

    it('gives a name once: the second result goes into a folder of its own', async () => {
      const store = archive()
      await addResult(store, SESSION, { scans: ['task-rest_run-1_bold'], outputs: { A: { 'a.txt': '1' } } })
      await addResult(store, SESSION, {
        scans: ['T1w', 'task-rest_run-1_bold'],
        outputs: { A: { 'a.txt': '22' } },
      })
      const { datasets } = await exportBidsDerivative(store, { project: 'P1', out })
      expect(datasets[0]).to.include({ files: 2, bytes: 3 })
      const found = await results('bold-qc-1.2.0')
      expect(found.map((path) => path.replace(/-[0-9a-f]{8}/, ''))).to.deep.equal([
        'sub-sub01/ses-MR1/bold-qc_v1/A/a.txt',
        'sub-sub01/ses-MR1/func/sub-sub01_ses-MR1_task-rest_run-1_desc-A_a.txt',
      ])
    })

    it('writes results of a subject and of the project', async () => {
      const store = archive()
      await addResult(store, { project: 'P1', subject: 'sub-02' }, { outputs: { PDF: { 'a b.pdf': '4' } } })
      await addResult(store, { project: 'P1' }, { outputs: { PDF: { 'a.pdf': '5' } } })
      await exportBidsDerivative(store, { project: 'P1', out })
      const found = await results('bold-qc-1.2.0')
      expect(found.map((path) => path.replace(/-[0-9a-f]{8}/, ''))).to.deep.equal([
        'bold-qc_v1/PDF/a.pdf',
        'sub-02/sub-02_desc-PDF_ab.pdf',
      ])
    })

    it('changes nothing when nothing has changed', async () => {
      const store = archive()
      await addResult(store, SESSION, { scans: ['T1w'], outputs: { A: { 'a.txt': '1', 'b.txt': '2' } } })
      await exportBidsDerivative(store, { project: 'P1', out })
      const times = async (): Promise<string[]> =>
        await Promise.all(
          (await listing(out)).map(async (path) => {
            const { mtimeMs, ino } = await stat(join(out, path))
            return `${path} ${mtimeMs} ${ino}`
          }),
        )
      const before = await times()
      const { datasets } = await exportBidsDerivative(store, { project: 'P1', out })
      expect(datasets[0]).to.include({ written: 0, unchanged: 2, removed: 0 })
      expect(await times()).to.deep.equal(before)
    })

    for (const checksums of ['sha256', 'md5', 'none'] as const) {
      it(`brings only what differs, and removes what is gone (checksums: ${checksums})`, async () => {
        const store = archive({ checksums })
        const ref = await addResult(store, SESSION, {
          scans: ['T1w'],
          outputs: { A: { 'a.txt': 'one', 'b.txt': 'two' } },
          unrecorded: true,
        })
        const gone = await addResult(store, OTHER, { scans: ['T1w'], outputs: { A: { 'a.txt': 'x' } } })
        await exportBidsDerivative(store, { project: 'P1', out })
        await store.upload(
          { node: ref, resource: 'A' },
          sourceOf({ 'a.txt': 'one', 'b.txt': 'three', 'c.txt': 'new' }),
        )
        await store.deleteAssessor(gone)
        const { datasets, problems } = await exportBidsDerivative(store, { project: 'P1', out })
        expect(problems).to.deep.equal([])
        expect(datasets[0]).to.include({ written: 2, unchanged: 1, removed: 1 })
        const name = (stem: string): string => `sub-sub01/ses-MR1/anat/sub-sub01_ses-MR1_desc-A_${stem}.txt`
        expect(await results('bold-qc-1.2.0')).to.deep.equal([name('a'), name('b'), name('c')])
        expect(await text(`bold-qc-1.2.0/${name('b')}`)).to.equal('three')
        expect(await readdir(join(out, 'bold-qc-1.2.0'))).not.to.include('sub-02')
      })
    }

    it('keeps what an earlier export wrote of subjects that this one is not about', async () => {
      const store = archive()
      await addResult(store, SESSION, { scans: ['T1w'], outputs: { A: { 'a.txt': '1' } } })
      await addResult(store, OTHER, { scans: ['301'], outputs: { A: { 'a.txt': '2' } } })
      await exportBidsDerivative(store, { project: 'P1', out })
      const before = await listing(out)
      const ignored = await text('bold-qc-1.2.0/.bidsignore')
      const { datasets } = await exportBidsDerivative(store, { project: 'P1', out, subjects: ['sub_01'] })
      expect(datasets[0]).to.include({ files: 1, unchanged: 1, removed: 0 })
      expect(await listing(out)).to.deep.equal(before)
      expect(await table('bold-qc-1.2.0/orbweaver-mapping.tsv')).to.have.length(2)
      expect(await table('bold-qc-1.2.0/participants.tsv')).to.have.length(2)
      expect(await text('bold-qc-1.2.0/.bidsignore')).to.equal(ignored)
    })

    it("leaves other people's files and changed files alone, and says so", async () => {
      const store = archive()
      const outputs = { A: { 'a.txt': '1', 'b.txt': '2' } }
      const ref = await addResult(store, SESSION, { scans: ['T1w'], outputs, unrecorded: true })
      await exportBidsDerivative(store, { project: 'P1', out })
      const folder = join(out, 'bold-qc-1.2.0/sub-sub01/ses-MR1/anat')
      const name = (stem: string): string => join(folder, `sub-sub01_ses-MR1_desc-A_${stem}.txt`)
      await writeFile(name('a'), 'edited')
      await writeFile(name('mine'), 'mine')
      await writeFile(name('c'), 'in the way')
      await store.upload({ node: ref, resource: 'A' }, sourceOf({ ...outputs.A, 'c.txt': 'new' }))
      for (let round = 0; round < 2; round += 1) {
        const { problems } = await exportBidsDerivative(store, { project: 'P1', out })
        expect(problems.map((problem) => problem.path.slice(-5))).to.deep.equal(['a.txt', 'c.txt'])
        expect(await readFile(name('a'), 'utf8')).to.equal('edited')
        expect(await readFile(name('c'), 'utf8')).to.equal('in the way')
        expect(await readFile(name('mine'), 'utf8')).to.equal('mine')
      }
      await rm(name('a'))
      await rm(name('c'))
      const { problems } = await exportBidsDerivative(store, { project: 'P1', out })
      expect(problems).to.deep.equal([])
      expect(await readFile(name('a'), 'utf8')).to.equal('1')
    })

    it('refuses a folder that no export made', async () => {
      const store = archive()
      await addResult(store, SESSION, { outputs: { A: { 'a.txt': '1' } } })
      await mkdir(join(out, 'bold-qc-1.2.0'))
      await writeFile(join(out, 'bold-qc-1.2.0/thesis.tex'), 'x')
      expect(await failureOf(exportBidsDerivative(store, { project: 'P1', out }))).to.be.instanceOf(
        InputError,
      )
      expect(await listing(out)).to.deep.equal(['bold-qc-1.2.0/thesis.tex'])
    })

    it('does not export a result that is not what was recorded', async () => {
      const store = archive()
      const ref = await addResult(store, SESSION, { scans: ['T1w'], outputs: { A: { 'a.txt': '1' } } })
      await addResult(store, OTHER, { scans: ['T1w'], outputs: { A: { 'a.txt': '1' } } })
      await store.upload({ node: ref, resource: 'A' }, sourceOf({ 'a.txt': '2' }))
      const { datasets, problems } = await exportBidsDerivative(store, { project: 'P1', out })
      expect(datasets[0]?.results).to.equal(1)
      expect(problems).to.have.length(1)
      expect(problems[0]?.reason).to.include('a.txt')
    })

    it('leaves nothing behind when bytes go wrong on the way', async () => {
      const store = archive()
      await addResult(store, SESSION, { outputs: { A: { 'a.txt': 'abc' } } })
      const download = store.download.bind(store)
      // A store that checks nothing: the export sees it all the same.
      store.download = async (ref, files, sink, options) => {
        await download(
          ref,
          files,
          {
            write: async (path, content, entry) => {
              content.resume()
              await sink.write(path, await sourceOf({ [path]: 'abd' }).open(path), entry, options)
            },
          },
          options,
        )
      }
      expect(await failureOf(exportBidsDerivative(store, { project: 'P1', out }))).to.be.instanceOf(
        IntegrityError,
      )
      expect(await readdir(out)).to.deep.equal([])
    })

    it('leaves nothing behind when aborted', async () => {
      const store = archive()
      await addResult(store, SESSION, { outputs: { A: { 'a.txt': '1', 'b.txt': '2' } } })
      const controller = new AbortController()
      const reason = new Error('enough')
      const failure = await failureOf(
        exportBidsDerivative(store, {
          project: 'P1',
          out,
          signal: controller.signal,
          onProgress: ({ files }) => {
            if (files > 0) controller.abort(reason)
          },
        }),
      )
      expect(failure).to.equal(reason)
      expect(await readdir(out)).to.deep.equal([])
    })

    it('refuses to write where another export is writing, and takes over from a dead one', async () => {
      const store = archive()
      await addResult(store, SESSION, { outputs: { A: { 'a.txt': '1' } } })
      const staging = join(out, '.bold-qc-1.2.0.partial')
      const hold = async (pid: number): Promise<void> => {
        await mkdir(join(staging, 'files'), { recursive: true })
        await writeFile(join(staging, 'owner.json'), JSON.stringify({ host: hostname(), pid }))
        await writeFile(join(staging, 'files/half'), 'x')
      }
      await hold(process.pid)
      expect(await failureOf(exportBidsDerivative(store, { project: 'P1', out }))).to.be.instanceOf(
        ConflictError,
      )
      const { pid } = spawnSync(process.execPath, ['-e', ''])
      await hold(pid)
      const { datasets } = await exportBidsDerivative(store, { project: 'P1', out })
      expect(datasets[0]?.written).to.equal(1)
      expect(await readdir(out)).to.deep.equal(['bold-qc-1.2.0'])
    })

    it('never follows a mapping table out of its folder', async () => {
      const store = archive()
      await addResult(store, SESSION, { outputs: { A: { 'a.txt': '1' } } })
      await exportBidsDerivative(store, { project: 'P1', out })
      const victim = join(out, 'victim')
      await writeFile(victim, 'x')
      const mapping = join(out, 'bold-qc-1.2.0/orbweaver-mapping.tsv')
      const sha256 = sourceOf({ a: 'x' }).files[0]?.checksum?.hex ?? ''
      await writeFile(mapping, `${await readFile(mapping, 'utf8')}../victim\t1\t${sha256}\n`)
      await exportBidsDerivative(store, { project: 'P1', out })
      expect(await readFile(victim, 'utf8')).to.equal('x')
    })

    it('says when there is no such project, or no place to write', async () => {
      const store = archive()
      await addResult(store, SESSION, { outputs: { A: { 'a.txt': '1' } } })
      expect(await failureOf(exportBidsDerivative(store, { project: 'P9', out }))).to.be.instanceOf(
        NotFoundError,
      )
      expect(await failureOf(exportBidsDerivative(store, { project: '../x', out }))).to.be.instanceOf(
        InputError,
      )
      await writeFile(join(out, 'file'), 'x')
      expect(
        await failureOf(exportBidsDerivative(store, { project: 'P1', out: join(out, 'file') })),
      ).to.be.instanceOf(InputError)
    })
  })

  describe('names', () => {
    it('follow the scans a result is made from', () => {
      const name = (scans: string[], file: string, resource = 'MAPS') =>
        derivativePath({ subject: '1', session: '2', scans, folder: 'f' }, resource, file)
      expect(name([], 'mean.nii.gz')).to.equal('sub-1/ses-2/sub-1_ses-2_desc-MAPS_mean.nii.gz')
      expect(name(['task-a_run-1_bold', 'task-a_run-2_bold'], 'x.tsv')).to.equal(
        'sub-1/ses-2/func/sub-1_ses-2_task-a_desc-MAPS_x.tsv',
      )
      expect(name(['dwi'], 'mean_fa.nii.gz', 'FA map')).to.equal(
        'sub-1/ses-2/dwi/sub-1_ses-2_desc-FAmap_meanfa.nii.gz',
      )
      expect(name(['dwi'], 'x/y.txt')).to.equal(undefined)
      expect(name(['301'], 'y.txt')).to.equal(undefined)
      expect(name(['dwi'], 'noextension')).to.equal(undefined)
      expect(name(['dwi'], '.nii.gz')).to.equal(undefined)
      expect(name(['dwi'], 'a.b c')).to.equal(undefined)
      expect(name(['dwi'], 'y.txt', 'ÄÖ-')).to.equal('sub-1/ses-2/dwi/sub-1_ses-2_desc-AO_y.txt')
      expect(name(['dwi'], 'y.txt', '漢字')).to.equal(undefined)
    })

    it('keep what a BIDS tool gave, with our subject and session', () => {
      const file = 'sub-XX/anat/sub-XX_ses-YY_space-MNI_desc-preproc_T1w.nii.gz'
      expect(
        derivativePath({ subject: '1', session: '2', scans: ['T1w'], folder: 'f' }, 'DATA', file),
      ).to.equal('sub-1/ses-2/anat/sub-1_ses-2_space-MNI_desc-preproc_T1w.nii.gz')
      expect(derivativePath({ subject: '1', scans: [], folder: 'f' }, 'DATA', file)).to.equal(
        'sub-1/anat/sub-1_space-MNI_desc-preproc_T1w.nii.gz',
      )
    })

    it('of subjects and sessions are letters and digits, and never two alike', () => {
      const plain = bidsLabels(['sub-01', 'P_2', 'Zoë'], 'sub-')
      expect([...plain]).to.deep.equal([
        ['sub-01', '01'],
        ['P_2', 'P2'],
        ['Zoë', 'Zoe'],
      ])
      const close = bidsLabels(['P2', 'P_2', 'P-2', 'p2x', 'P2X'], 'sub-')
      expect(close.get('P2')).to.equal('P2')
      expect(close.get('P_2')).to.match(/^P2[0-9a-f]{6}$/)
      expect(new Set(close.values()).size).to.equal(5)
      // Somebody's label may even look like another one's with its digits.
      const digits = close.get('P_2') ?? ''
      expect(new Set(bidsLabels(['P2', 'P_2', digits], 'sub-').values()).size).to.equal(3)
      fc.assert(
        fc.property(
          fc.uniqueArray(
            fc.string({ unit: fc.constantFrom('a', 'A', 'b', '1', '_', '-', ' ', 'é', '漢'), minLength: 1 }),
            {
              maxLength: 30,
            },
          ),
          (labels) => {
            const made = bidsLabels(labels, 'ses-')
            expect(new Set([...made.values()].map((label) => label.toLowerCase())).size).to.equal(
              labels.length,
            )
            for (const label of made.values()) expect(label).to.match(/^[A-Za-z0-9]+$/)
            expect(bidsLabels([...labels].reverse(), 'ses-')).to.deep.equal(made)
          },
        ),
      )
    })
  })

  describe('as a tree', () => {
    it('copies results below project, subject, session and type', async () => {
      const store = archive()
      await addResult(store, SESSION, { scans: ['301'], outputs: { PDF: { 'r.pdf': 'x', 'd/e.txt': 'y' } } })
      await addResult(store, SESSION, { scans: ['T1w'], outputs: { PDF: { 'r.pdf': 'z' } } })
      await addResult(store, { project: 'P1' }, { name: 'all', outputs: { A: { 'a.txt': '5' } } })
      const summary = await exportTree(store, { project: 'P1', out })
      expect(summary).to.include({ results: 3, files: 4, written: 4, folder: join(out, 'P1') })
      const found = (await listing(join(out, 'P1'))).map((path) => path.replace(/-[0-9a-f]{8}/, '-H'))
      expect(found.sort()).to.deep.equal([
        'all_v1-H/A/a.txt',
        'orbweaver-mapping.tsv',
        'sub_01/MR 1/bold-qc_v1-H/PDF/d/e.txt',
        'sub_01/MR 1/bold-qc_v1-H/PDF/r.pdf',
        'sub_01/MR 1/bold-qc_v1-H/PDF/r.pdf',
      ])
      expect(await exportTree(store, { project: 'P1', out })).to.include({
        written: 0,
        unchanged: 4,
        removed: 0,
      })
      // Another selection neither brings nor removes what it is not about.
      expect(await exportTree(store, { project: 'P1', out, processors: ['all'] })).to.include({
        written: 0,
        unchanged: 1,
        removed: 0,
      })
      expect(dirname(summary.folder)).to.equal(out)
    })
  })
})
