import { readFile, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { BIDS_RESOURCE, readBids } from '#src/import/bids.js'
import { parseBidsName, scanLabelOf } from '#src/import/bids-names.js'
import { InputError, NotFoundError } from '@orbweaver/core'
import type { IngestItem } from '#src/store/ingest.js'
import { makeFolder, niftiGz, nifti, problemList, put, removeFolder, type Content } from './sources.js'

const DESCRIPTION = { Name: 'Small', BIDSVersion: '1.10.0' }

describe('bids import', () => {
  const folders: string[] = []
  async function folder(files: Record<string, Content>): Promise<string> {
    const root = await makeFolder({ 'dataset_description.json': DESCRIPTION, ...files })
    folders.push(root)
    return root
  }
  afterEach(async () => {
    for (const root of folders.splice(0)) await removeFolder(root)
  })

  interface Loaded extends IngestItem {
    /** Content of small files, read while the reader still holds its temporary ones. */
    readonly text: Readonly<Record<string, string>>
  }

  async function load(root: string) {
    const { all, onProblem } = problemList()
    const items: Loaded[] = []
    for await (const item of readBids(root, { project: 'P1', onProblem })) {
      const text: Record<string, string> = {}
      for (const file of item.files) {
        if (!/nii/.test(file.path)) text[file.path] = await readFile(file.source, 'utf8')
      }
      items.push({ ...item, text })
    }
    const scan = (label: string, subject?: string): Loaded => {
      const found = items.find(
        (item) => item.scan?.label === label && (subject === undefined || item.subject === subject),
      )
      if (found === undefined)
        throw new Error(`no scan ${label} among ${items.map((i) => i.scan?.label).join()}`)
      return found
    }
    return { items, scan, problems: all, errors: all.filter((problem) => problem.kind === 'error') }
  }

  it('names subject, session, scan, type and description by the table', async () => {
    const root = await folder({
      'participants.tsv': 'participant_id\tage\nsub-01\t31\n',
      'sub-01/ses-pre/anat/sub-01_ses-pre_T1w.nii.gz': niftiGz(),
      'sub-01/ses-pre/anat/sub-01_ses-pre_T1w.json': { SeriesDescription: 'MPRAGE iso' },
      'sub-01/ses-pre/func/sub-01_ses-pre_task-rest_run-1_bold.nii.gz': niftiGz([2, 2, 2, 3]),
      'sub-01/ses-pre/sub-01_ses-pre_scans.tsv':
        'filename\tacq_time\tquality\n' +
        'anat/sub-01_ses-pre_T1w.nii.gz\t2024-03-05T10:15:00\tquestionable\n' +
        'func/sub-01_ses-pre_task-rest_run-1_bold.nii.gz\t2024-03-04T09:00:00\tn/a\n',
    })
    const { items, scan, problems } = await load(root)
    expect(problems).to.deep.equal([])
    expect(
      items.map((item) => [item.project, item.subject, item.session, item.scan?.label, item.resource]),
    ).to.deep.equal([
      ['P1', '01', 'pre', undefined, BIDS_RESOURCE],
      ['P1', '01', 'pre', 'T1w', 'NIFTI'],
      ['P1', '01', 'pre', 'task-rest_run-1_bold', 'NIFTI'],
    ])
    expect(scan('T1w').scan).to.deep.equal({
      label: 'T1w',
      type: 'T1w',
      description: 'MPRAGE iso',
      quality: 'questionable',
    })
    expect(scan('task-rest_run-1_bold').scan).to.deep.equal({
      label: 'task-rest_run-1_bold',
      type: 'bold',
      description: 'func/task-rest_run-1_bold',
    })
    expect(new Set(items.map((item) => `${item.modality} ${item.date}`))).to.deep.equal(
      new Set(['MR 2024-03-04']),
    )
  })

  it('records the mapping between labels and names in the session', async () => {
    const root = await folder({
      'participants.tsv': '\uFEFFparticipant_id\tage\tsex\nsub-01\t31\tF\n',
      'sub-01/perf/sub-01_asl.nii.gz': niftiGz(),
      'sub-01/perf/sub-01_m0scan.nii.gz': niftiGz(),
      'sub-01/fmap/sub-01_m0scan.nii.gz': niftiGz(),
    })
    const { items } = await load(root)
    const record: unknown = JSON.parse(items[0]?.text['mapping.json'] ?? '')
    expect(record).to.deep.equal({
      schema: 1,
      dataset: { name: 'Small', bidsVersion: '1.10.0' },
      subject: { label: '01', bids: 'sub-01' },
      session: { label: 'single', bids: null },
      participant: { age: '31', sex: 'F' },
      scans: {
        m0scan: { datatype: 'fmap', stem: 'sub-01_m0scan' },
        asl: { datatype: 'perf', stem: 'sub-01_asl' },
        'm0scan-perf': { datatype: 'perf', stem: 'sub-01_m0scan' },
      },
    })
  })

  it('merges sidecars from every level, the nearest winning, and only when that adds something', async () => {
    const root = await folder({
      'bold.json': { Manufacturer: 'A', RepetitionTime: 1 },
      'task-rest_bold.json': { RepetitionTime: 2, TaskName: 'rest' },
      'task-other_bold.json': { RepetitionTime: 9 },
      'T1w.json': { Manufacturer: 'A' },
      'T2w.json': { Manufacturer: 'A' },
      'sub-01/sub-01_task-rest_bold.json': { EchoTime: 0.03 },
      'sub-01/ses-a/func/sub-01_ses-a_task-rest_bold.nii.gz': niftiGz(),
      'sub-01/ses-a/func/sub-01_ses-a_task-rest_bold.json': { RepetitionTime: 3 },
      'sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz': niftiGz(),
      'sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz': niftiGz(),
      'sub-01/ses-a/anat/sub-01_ses-a_T2w.json': { Manufacturer: 'B' },
    })
    const { scan, errors } = await load(root)
    expect(errors).to.deep.equal([])
    const bold = scan('task-rest_bold')
    expect(JSON.parse(bold.text['sub-01_ses-a_task-rest_bold.json'] ?? '')).to.deep.equal({
      Manufacturer: 'A',
      RepetitionTime: 3,
      TaskName: 'rest',
      EchoTime: 0.03,
    })
    expect(bold.files.find((file) => file.path.endsWith('.json'))?.copy).to.equal(true)
    const source = (label: string) => scan(label).files.find((file) => file.path.endsWith('.json'))?.source
    expect(source('T1w')).to.equal(join(root, 'T1w.json'))
    expect(source('T2w')).to.equal(join(root, 'sub-01/ses-a/anat/sub-01_ses-a_T2w.json'))
  })

  it('removes its temporary files at the end', async () => {
    const root = await folder({
      'bold.json': { A: 1 },
      'sub-01/func/sub-01_task-x_bold.nii.gz': niftiGz(),
      'sub-01/func/sub-01_task-x_bold.json': { B: 1 },
    })
    const { scan } = await load(root)
    const merged = scan('task-x_bold').files.find((file) => file.copy === true)
    const gone = await stat(merged?.source ?? '').then(
      () => false,
      () => true,
    )
    expect(gone).to.equal(true)
  })

  it('takes gradients and events from the nearest place that has them', async () => {
    const root = await folder({
      'dwi.bval': '0 1000',
      'dwi.bvec': '0 1\n0 0\n0 0',
      'task-rest_events.tsv': 'onset\tduration\n1\t1\n',
      'task-rest_events.json': { onset: { Units: 's' } },
      'sub-01/dwi/sub-01_dwi.nii.gz': niftiGz(),
      'sub-01/dwi/sub-01_dwi.bval': '0 2000',
      'sub-01/func/sub-01_task-rest_echo-1_bold.nii.gz': niftiGz(),
      'sub-01/func/sub-01_task-rest_echo-2_bold.nii.gz': niftiGz(),
      'sub-01/func/sub-01_task-go_bold.nii.gz': niftiGz(),
      'sub-01/func/sub-01_task-go_events.tsv': 'onset\tduration\n5\t1\n',
      'sub-01/func/sub-01_task-go_recording-cardiac_physio.tsv.gz': niftiGz(),
      'sub-01/func/sub-01_task-go_recording-cardiac_physio.json': { SamplingFrequency: 100 },
      'sub-01/func/sub-01_task-go_recording-resp_physio.tsv.gz': niftiGz(),
      'sub-01/func/sub-01_task-go_sbref.nii.gz': niftiGz(),
    })
    const { scan, errors, items } = await load(root)
    expect(errors).to.deep.equal([])
    expect(scan('dwi').text['sub-01_dwi.bval']).to.equal('0 2000')
    expect(scan('dwi').text['sub-01_dwi.bvec']).to.equal('0 1\n0 0\n0 0')
    expect(scan('task-rest_echo-2_bold').files.map((file) => file.path)).to.deep.equal([
      'sub-01_task-rest_echo-2_bold.nii.gz',
      'sub-01_task-rest_echo-2_events.tsv',
      'sub-01_task-rest_echo-2_events.json',
    ])
    expect(scan('task-go_bold').files.map((file) => file.path)).to.deep.equal([
      'sub-01_task-go_bold.nii.gz',
      'sub-01_task-go_events.tsv',
      'sub-01_task-go_recording-cardiac_physio.tsv.gz',
      'sub-01_task-go_recording-cardiac_physio.json',
      'sub-01_task-go_recording-resp_physio.tsv.gz',
    ])
    expect(scan('task-go_sbref').files).to.have.length(1)
    expect(items.map((item) => item.scan?.type)).not.to.include.members(['events', 'physio'])
  })

  it('makes a scan of a table that belongs to no recording', async () => {
    const root = await folder({
      'sub-01/beh/sub-01_task-stroop_beh.tsv': 'a\tb\n',
      'sub-01/beh/sub-01_task-x_events.tsv': 'a\n',
    })
    const { scan } = await load(root)
    expect(scan('task-stroop_beh').resource).to.equal('BEH')
    expect(scan('task-x_events').scan?.type).to.equal('events')
  })

  it('keeps a recording that is a folder together', async () => {
    const root = await folder({
      'sub-01/meg/sub-01_task-rest_meg.ds/rest.meg4': 'x',
      'sub-01/meg/sub-01_task-rest_meg.ds/hz/a.txt': 'y',
      'sub-01/meg/sub-01_task-rest_channels.tsv': 'name\n',
      'sub-01/meg/sub-01_coordsystem.json': { MEGCoordinateSystem: 'CTF' },
    })
    const { scan } = await load(root)
    const meg = scan('task-rest_meg')
    expect([meg.resource, meg.modality]).to.deep.equal(['MEG', 'MEG'])
    expect(meg.files.map((file) => file.path).sort()).to.deep.equal([
      'sub-01_coordsystem.json',
      'sub-01_task-rest_channels.tsv',
      'sub-01_task-rest_meg.ds/hz/a.txt',
      'sub-01_task-rest_meg.ds/rest.meg4',
    ])
  })

  it('lets every subject have sessions of its own, or none', async () => {
    const root = await folder({
      'sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz': niftiGz(),
      'sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz': niftiGz(),
      'sub-02/anat/sub-02_T1w.nii.gz': niftiGz(),
      'sub-03/ses-x/anat/sub-03_ses-x_T1w.nii.gz': niftiGz(),
      'sub-04/code/readme.txt': 'x',
    })
    const { items, problems } = await load(root)
    const sessions = new Set(items.map((item) => `${item.subject}/${item.session}`))
    expect([...sessions]).to.deep.equal(['01/1', '01/2', '02/single', '03/x'])
    expect(problems.map((problem) => `${problem.kind} ${problem.path}`)).to.deep.equal([
      'skipped sub-04/code',
      'skipped sub-04',
    ])
  })

  it('leaves out derivatives, source data, code, hidden files and what .bidsignore names', async () => {
    const root = await folder({
      '.bidsignore': '*_T2w.nii.gz\nextra/\n# comment\n!sub-01_acq-keep_T2w.nii.gz\n',
      'derivatives/x/sub-01/anat/sub-01_T1w.nii.gz': 'x',
      'sourcedata/sub-01/a.dcm': 'x',
      'code/run.sh': 'x',
      'extra/a': 'x',
      README: 'x',
      'sub-01/anat/.DS_Store': 'x',
      'sub-01/anat/sub-01_T1w.nii.gz': niftiGz(),
      'sub-01/anat/sub-01_T2w.nii.gz': niftiGz(),
      'sub-01/anat/sub-01_acq-keep_T2w.nii.gz': niftiGz(),
    })
    const { items, problems } = await load(root)
    expect(problems).to.deep.equal([])
    expect(items.flatMap((item) => item.scan?.label ?? [])).to.deep.equal(['T1w', 'acq-keep_T2w'])
  })

  it('collects bad names with path and reason, and goes on', async () => {
    const root = await folder({
      'sub-01/anat/sub-01_T1w.nii.gz': niftiGz(),
      'sub-01/anat/scan.nii.gz': niftiGz(),
      'sub-01/anat/sub-02_T1w.nii.gz': niftiGz(),
      'sub-01/anat/sub-01_ses-1_T1w.nii.gz': niftiGz(),
      'sub-01/anat/sub-01_foo-1_T1w.nii.gz': niftiGz(),
      'sub-01/anat/sub-01_run-1_run-2_T1w.nii.gz': niftiGz(),
      'sub-01/anat/sub-01_run-1.nii.gz': niftiGz(),
      'sub-01/anat/sub-01_T1w_bak.txt': 'x',
      'sub-01/anat/sub-01_T2w.json': { a: 1 },
      'sub-0;1/anat/sub-0;1_T1w.nii.gz': niftiGz(),
      'sub-$(x)/anat/a.nii': 'x',
      'sub-/anat/a.nii': 'x',
      'sub-a\nb/anat/a.nii': 'x',
      'sub-02/ses-a b/anat/a.nii': 'x',
      'sub-02/anat/sub-02_T1w.nii.gz': niftiGz(),
    })
    const { items, problems } = await load(root)
    const found = Object.fromEntries(problems.map((problem) => [problem.path, problem.kind]))
    expect(found).to.deep.equal({
      'sub-': 'error',
      'sub-01/anat/scan.nii.gz': 'error',
      'sub-01/anat/sub-02_T1w.nii.gz': 'error',
      'sub-01/anat/sub-01_ses-1_T1w.nii.gz': 'error',
      'sub-01/anat/sub-01_foo-1_T1w.nii.gz': 'error',
      'sub-01/anat/sub-01_run-1_run-2_T1w.nii.gz': 'error',
      'sub-01/anat/sub-01_run-1.nii.gz': 'error',
      'sub-01/anat/sub-01_T1w_bak.txt': 'skipped',
      'sub-01/anat/sub-01_T2w.json': 'skipped',
      '"sub-0;1"': 'error',
      '"sub-$(x)"': 'error',
      '"sub-a\\nb"': 'error',
      'sub-02/ses-a b': 'error',
      'sub-02': 'note',
    })
    expect(
      items.flatMap((item) => (item.scan === undefined ? [] : `${item.subject} ${item.scan.label}`)),
    ).to.deep.equal(['01 T1w', '02 T1w'])
  })

  it('refuses images that are empty, cut short, no NIfTI, or there twice', async () => {
    const whole = niftiGz([8, 8, 8, 8], 1)
    const root = await folder({
      'sub-01/anat/sub-01_run-1_T1w.nii.gz': Buffer.alloc(0),
      'sub-01/anat/sub-01_run-2_T1w.nii.gz': whole.subarray(0, whole.length - 100),
      'sub-01/anat/sub-01_run-3_T1w.nii.gz': 'no gzip at all',
      'sub-01/anat/sub-01_run-4_T1w.nii': nifti().subarray(0, 360),
      'sub-01/anat/sub-01_run-5_T1w.nii': Buffer.alloc(400),
      'sub-01/anat/sub-01_run-6_T1w.nii': nifti(),
      'sub-01/anat/sub-01_run-6_T1w.nii.gz': niftiGz(),
      'sub-01/anat/sub-01_run-7_T1w.nii.gz': whole,
    })
    const { items, errors } = await load(root)
    const runs = errors.map((problem) => /run-\d/.exec(problem.path)?.[0])
    expect(runs).to.deep.equal(['run-1', 'run-2', 'run-3', 'run-4', 'run-5', 'run-6'])
    expect(errors[3]?.reason).to.match(/360 bytes.*368/)
    expect(items.flatMap((item) => item.scan?.label ?? [])).to.deep.equal(['run-7_T1w'])
  })

  it('refuses a scan whose sidecar cannot be read, without quoting it', async () => {
    const root = await folder({
      'T1w.json': '{ "secret": "jane doe" ',
      'sub-01/anat/sub-01_T1w.nii.gz': niftiGz(),
      'sub-02/anat/sub-02_T1w.nii.gz': niftiGz(),
      'sub-02/anat/sub-02_T2w.nii.gz': niftiGz(),
      'sub-02/anat/sub-02_T2w.json': '[1]',
    })
    const { items, errors } = await load(root)
    expect(errors.map((problem) => problem.path)).to.deep.equal(['T1w.json', 'sub-02/anat/sub-02_T2w.json'])
    expect(JSON.stringify(errors)).not.to.include('jane')
    expect(items).to.deep.equal([])
  })

  it('refuses sidecars of which neither is the more special one', async () => {
    const root = await folder({
      'acq-a_bold.json': { A: 1 },
      'task-rest_bold.json': { A: 2 },
      'sub-01/func/sub-01_task-rest_acq-a_bold.nii.gz': niftiGz(),
    })
    const { errors } = await load(root)
    expect(errors).to.have.length(1)
    expect(errors[0]?.reason).to.include('acq-a_bold.json')
  })

  it('follows links inside the dataset and refuses those that lead out, nowhere or in a circle', async () => {
    const outside = await folder({ 'secret.nii.gz': niftiGz() })
    const root = await folder({
      '.git/annex/objects/abc': niftiGz(),
      'sub-01/anat/sub-01_run-9_T1w.nii.gz': niftiGz(),
    })
    const link = (target: string, name: string) => symlink(target, join(root, 'sub-01/anat', name))
    await link('../../.git/annex/objects/abc', 'sub-01_run-1_T1w.nii.gz')
    await link(join(outside, 'secret.nii.gz'), 'sub-01_run-2_T1w.nii.gz')
    await link('../../.git/annex/objects/missing', 'sub-01_run-3_T1w.nii.gz')
    await link('sub-01_run-4_T1w.nii.gz', 'sub-01_run-4_T1w.nii.gz')
    await symlink('..', join(root, 'sub-01/ses-loop'))
    const { items, problems } = await load(root)
    expect(items.flatMap((item) => item.scan?.label ?? [])).to.deep.equal(['run-1_T1w', 'run-9_T1w'])
    expect(problems.map((problem) => `${problem.kind} ${problem.path}`)).to.deep.equal([
      'skipped sub-01/ses-loop',
      'error sub-01/anat/sub-01_run-2_T1w.nii.gz',
      'error sub-01/anat/sub-01_run-3_T1w.nii.gz',
      'error sub-01/anat/sub-01_run-4_T1w.nii.gz',
    ])
  })

  it('says what is wrong with the folder itself', async () => {
    const root = await folder({ 'a.txt': 'x' })
    await put(root, 'file', 'x')
    const fails = async (path: string): Promise<unknown> =>
      readBids(path, { project: 'P' })
        .next()
        .catch((error: unknown) => error)
    expect(await fails(root)).to.be.instanceOf(InputError)
    expect(await fails(join(root, 'file'))).to.be.instanceOf(InputError)
    expect(await fails(join(root, 'nothing'))).to.be.instanceOf(NotFoundError)
  })

  it('stops when aborted', async () => {
    const root = await folder({ 'sub-01/anat/sub-01_T1w.nii.gz': niftiGz() })
    const reason = new Error('enough')
    const failure: unknown = await readBids(root, { project: 'P', signal: AbortSignal.abort(reason) })
      .next()
      .catch((error: unknown) => error)
    expect(failure).to.equal(reason)
  })

  it('takes names apart and puts entities into order', () => {
    const name = parseBidsName('sub-01_run-1_task-rest_acq-x_bold.nii.gz')
    if (typeof name === 'string') throw new Error(name)
    expect(name.extension).to.equal('.nii.gz')
    expect(scanLabelOf(name)).to.equal('task-rest_acq-x_run-1_bold')
    for (const bad of [
      'T1w-x.nii',
      'sub-01_.nii',
      'sub_01_T1w.nii',
      'sub-0-1_T1w.nii',
      '',
      '_',
      'SUB-01_T1w.nii',
    ]) {
      expect(parseBidsName(bad), bad).to.be.a('string')
    }
  })
})
