import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import { PNG } from 'pngjs'
import { readyProcessors, sampleDirectory } from '@orbweaver/processors'
import { parseNifti } from '#src/imaging/nifti.js'
import { makeNifti, normal, seeded } from './support.js'

interface Outcome {
  readonly exitCode: number | null
  readonly stderr: string
  readonly stdout: string
  /** Every file below the output folder. */
  readonly outputs: readonly string[]
  read(file: string): Buffer
  stats(): Stats
}
interface Stats {
  readonly metrics: Readonly<Record<string, number | string | null>>
  readonly warnings: readonly string[]
}

/** The bundled scripts, run as a compute node runs them: with Node, a workspace and nothing else. */
describe('jobs', function () {
  this.timeout(30_000)
  let root: string
  let count = 0
  beforeEach(() => (root = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-jobs-'))))
  afterEach(() => fs.rmSync(root, { recursive: true, force: true }))

  function run(
    name: string,
    inputs: Readonly<Record<string, Readonly<Record<string, Buffer | string>>>>,
    params: Readonly<Record<string, unknown>> = {},
  ): Outcome {
    const workspace = path.join(root, String(count++))
    const outputs = path.join(workspace, 'outputs')
    fs.mkdirSync(outputs, { recursive: true })
    const task = {
      schema: 1,
      label: 'P-x-S-x-E-x-T-x-00000000',
      processor: { name, version: '1.0.0' },
      params,
      inputs: Object.fromEntries(
        Object.entries(inputs).map(([input, files]) => {
          const dir = path.join(workspace, 'inputs', input)
          for (const [file, content] of Object.entries(files)) {
            fs.mkdirSync(path.dirname(path.join(dir, file)), { recursive: true })
            fs.writeFileSync(path.join(dir, file), content)
          }
          const source = { dir, path: dir, files: Object.keys(files), type: 'X', ref: 'P/S/E/scans/3:NIFTI' }
          return [input, { present: true, path: dir, dir, sources: [source] }]
        }),
      ),
      outputs,
      tmp: workspace,
    }
    fs.writeFileSync(path.join(workspace, 'task.json'), JSON.stringify(task))
    const script = path.join(workspace, 'script')
    fs.mkdirSync(script)
    const declared = readyProcessors.get(name)?.script
    if (declared === undefined) throw new Error(`${name} has no script`)
    // The files alone, away from any package they could lean on.
    for (const file of [declared.path, ...(declared.files ?? [])])
      fs.copyFileSync(file, path.join(script, path.basename(file)))
    const ended = spawnSync(process.execPath, [path.join(script, path.basename(declared.path))], {
      cwd: workspace,
      env: { ORBWEAVER_TASK: path.join(workspace, 'task.json') },
    })
    const found = fs
      .readdirSync(outputs, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(outputs, path.join(entry.parentPath, entry.name)))
      .sort()
    const read = (file: string): Buffer => fs.readFileSync(path.join(outputs, file))
    return {
      exitCode: ended.status,
      stderr: ended.stderr.toString(),
      stdout: ended.stdout.toString(),
      outputs: found,
      read,
      stats: () => JSON.parse(read('stats.json').toString()) as Stats,
    }
  }

  const sample = (...parts: string[]): Buffer => fs.readFileSync(path.join(sampleDirectory(), ...parts))
  const random = seeded(12)
  const noise = (shape: readonly number[]): Buffer =>
    makeNifti({
      shape,
      code: 4,
      values: Float64Array.from({ length: shape.reduce((a, b) => a * b) }, () => 500 + 20 * normal(random)),
    })

  const isOnePage = (pdf: Buffer): boolean => pdf.toString('latin1').match(/\/Type \/Page\b/g)?.length === 1

  it('nifti-qa looks at a real head', () => {
    const done = run('nifti-qa', {
      image: { 'a.nii.gz': sample('bids', 'sub-02', 'anat', 'sub-02_T1w.nii.gz') },
    })
    expect(done.stderr).to.equal('')
    expect(done.exitCode).to.equal(0)
    expect(done.outputs).to.deep.equal(['mosaic.png', 'report.pdf', 'stats.json', 'stats.tsv'])
    expect(isOnePage(done.read('report.pdf'))).to.be.true
    const png = PNG.sync.read(done.read('mosaic.png'))
    expect(png.width).to.be.above(600)
    expect(done.stats().metrics).to.include({ dim_i: 57, orientation: 'RAS' })
    const [head = '', row = ''] = done.read('stats.tsv').toString().split('\n')
    expect(row.split('\t')).to.have.length(head.split('\t').length)
  })

  it('nifti-qa gives the same numbers and pictures for the same image', () => {
    const [one, two] = [1, 2].map(() =>
      run('nifti-qa', { image: { 'a.nii.gz': sample('bids', 'sub-02', 'anat', 'sub-02_T1w.nii.gz') } }),
    )
    const digest = (outcome: Outcome | undefined, file: string): string =>
      createHash('sha256')
        .update(outcome?.read(file) ?? '')
        .digest('hex')
    for (const file of ['stats.json', 'stats.tsv', 'mosaic.png'])
      expect(digest(one, file)).to.equal(digest(two, file))
  })

  it('fmri-qa writes maps on the grid of the series, and takes the sidecar’s repetition time', () => {
    const done = run('fmri-qa', {
      image: {
        'a.nii.gz': sample('bids', 'sub-01', 'func', 'sub-01_task-unknown_bold.nii.gz'),
        'a.json': '{"RepetitionTime": 1.35}',
      },
    })
    expect(done.exitCode, done.stderr).to.equal(0)
    expect(done.outputs).to.deep.equal([
      'mask.nii.gz',
      'mean.nii.gz',
      'mosaic.png',
      'report.pdf',
      'stats.json',
      'stats.tsv',
      'std.nii.gz',
      'tsnr.nii.gz',
      'volumes.tsv',
    ])
    expect(isOnePage(done.read('report.pdf'))).to.be.true
    const map = parseNifti(done.read('tsnr.nii.gz'), 'tsnr')
    const source = parseNifti(sample('bids', 'sub-01', 'func', 'sub-01_task-unknown_bold.nii.gz'), 'source')
    expect(map.shape).to.deep.equal(source.shape)
    expect(map.affine).to.deep.equal(source.affine)
    expect(done.stats().metrics).to.include({ repetition_time_s: 1.35, volumes: 40 })
    expect(done.read('volumes.tsv').toString().trim().split('\n')).to.have.length(41)
  })

  it('fmri-qa obeys its parameters, reads a sidecar of its own, and doubts a header that disagrees with it', () => {
    const image = makeNifti({
      shape: [6, 6, 6, 20],
      code: 4,
      seconds: 2,
      values: Float64Array.from({ length: 4320 }, () => 500 + 20 * normal(random)),
    })
    const done = run(
      'fmri-qa',
      { image: { 'a.nii': image }, json: { 'x.json': '{"RepetitionTime": 3}' } },
      { skipVolumes: 4, outlierZ: 50 },
    )
    expect(done.exitCode, done.stderr).to.equal(0)
    expect(done.stats().metrics).to.include({ frames: 16, repetition_time_s: 3, outlier_volumes: 0 })
    expect(done.stats().warnings.join()).to.match(/sidecar says a repetition time of 3 s, the header 2 s/)
  })

  it('dti-qa fits a tensor, also with b-values in resources of their own', () => {
    const folder = ['bids', 'sub-02', 'dwi'] as const
    const [bval, bvec] = [sample(...folder, 'sub-02_dwi.bval'), sample(...folder, 'sub-02_dwi.bvec')]
    const image = sample(...folder, 'sub-02_dwi.nii.gz')
    const beside = run('dti-qa', { image: { 'a.nii.gz': image, 'a.bval': bval, 'a.bvec': bvec } })
    expect(beside.exitCode, beside.stderr).to.equal(0)
    expect(beside.outputs).to.deep.equal([
      'fa.nii.gz',
      'mask.nii.gz',
      'md.nii.gz',
      'mean-b0.nii.gz',
      'mosaic.png',
      'report.pdf',
      'stats.json',
      'stats.tsv',
      'volumes.tsv',
    ])
    expect(isOnePage(beside.read('report.pdf'))).to.be.true
    expect(beside.stats().metrics['fa_mean']).to.be.closeTo(0.42, 0.02)
    const apart = run('dti-qa', {
      image: { 'a.nii.gz': image },
      bval: { 'b.bval': bval },
      bvec: { 'b.bvec': bvec },
    })
    expect(apart.stats().metrics).to.deep.equal(beside.stats().metrics)
  })

  it('dti-qa without enough directions tells the signals and why there is no tensor', () => {
    const done = run('dti-qa', {
      image: { 'a.nii': noise([5, 5, 5, 3]), 'a.bval': '0 5 1500', 'a.bvec': '0 1 1\n0 0 0\n0 0 0' },
    })
    expect(done.exitCode, done.stderr).to.equal(0)
    expect(done.outputs).to.not.include('fa.nii.gz')
    expect(done.stderr).to.match(/No tensor was fitted: 1 weighted volume; at least 6 directions/)
  })

  it('dcm2niix converts a scanner’s own mosaic', () => {
    const done = run('dcm2niix', { dicom: { 'deep/ä 1.dcm': sample('dicom', '06-ax_asc_35sl', '0001.dcm') } })
    expect(done.exitCode, done.stderr).to.equal(0)
    expect(done.outputs).to.deep.equal([
      '6_ax_asc_35sl.json',
      '6_ax_asc_35sl.nii.gz',
      'stats/stats.json',
      'stats/stats.tsv',
    ])
    expect(parseNifti(done.read('6_ax_asc_35sl.nii.gz'), 'a').shape).to.deep.equal([64, 64, 35])
    const sidecar = JSON.parse(done.read('6_ax_asc_35sl.json').toString()) as Record<string, unknown>
    expect(sidecar).to.include({ Manufacturer: 'Siemens', SeriesDescription: 'ax_asc_35sl' })
    expect(sidecar).to.not.have.any.keys('PatientName', 'PatientID', 'PatientBirthDate')
  })

  it('dcm2niix and dti-qa make a chain', () => {
    const folder = path.join(sampleDirectory(), 'dicom', '07-dwi_24dir')
    const files = Object.fromEntries(
      fs.readdirSync(folder).map((file) => [file, fs.readFileSync(path.join(folder, file))]),
    )
    const converted = run('dcm2niix', { dicom: files })
    expect(converted.exitCode, converted.stderr).to.equal(0)
    const made = Object.fromEntries(
      converted.outputs.filter((file) => !file.includes('/')).map((file) => [file, converted.read(file)]),
    )
    expect(Object.keys(made)).to.deep.equal([
      '7_dwi_24dir.bval',
      '7_dwi_24dir.bvec',
      '7_dwi_24dir.json',
      '7_dwi_24dir.nii.gz',
    ])
    const done = run('dti-qa', { image: made })
    expect(done.exitCode, done.stderr).to.equal(0)
    expect(done.stats().metrics).to.include({ weighted_volumes: 24, b0_volumes: 1 })
    expect(done.stats().metrics['fa_mean']).to.be.closeTo(0.42, 0.05)
  })

  it('dcm2niix converts what it can, and warns of the rest', () => {
    const folder = path.join(sampleDirectory(), 'dicom', '02-T1_MPRAGE')
    const files = Object.fromEntries(
      fs.readdirSync(folder).map((file) => [file, fs.readFileSync(path.join(folder, file))]),
    )
    const cut = sample('dicom', '06-ax_asc_35sl', '0001.dcm').subarray(0, 200_000)
    const done = run('dcm2niix', { dicom: { ...files, 'cut.dcm': cut, 'note.txt': 'hello' } })
    expect(done.exitCode, done.stderr).to.equal(0)
    expect(done.stderr).to.match(/WARNING: .*others could not.*cut\.dcm/)
    expect((JSON.parse(done.read('stats/stats.json').toString()) as Stats).metrics).to.include({
      exit_code: 8,
      images: 1,
    })
  })

  const b0 = {
    'a.bval': '0 1000 1000 1000 1000 1000 1000',
    'a.bvec': '0 1 0 0 1 1 0\n0 0 1 0 1 0 1\n0 0 0 1 0 1 1',
  }
  const packed = (): Buffer => sample('bids', 'sub-02', 'anat', 'sub-02_T1w.nii.gz')
  const refusals: readonly (readonly [
    title: string,
    processor: string,
    inputs: () => Record<string, Record<string, Buffer | string>>,
    exitCode: number,
    message: RegExp,
  ])[] = [
    ['an empty image', 'nifti-qa', () => ({ image: { 'a.nii': '' } }), 65, /a\.nii: the file is empty/],
    [
      'text for an image',
      'nifti-qa',
      () => ({ image: { 'a.nii': 'hello' } }),
      65,
      /a\.nii: this is no NIfTI/,
    ],
    [
      'a packed image cut short',
      'nifti-qa',
      () => ({ image: { 'a.nii.gz': packed().subarray(0, 50_000) } }),
      65,
      /a\.nii\.gz: it is cut short/,
    ],
    [
      'an image cut short',
      'nifti-qa',
      () => ({ image: { 'a.nii': gunzipSync(packed()).subarray(0, 50_000) } }),
      65,
      /a\.nii: it is cut short/,
    ],
    [
      'a series for a head',
      'nifti-qa',
      () => ({ image: { 'a.nii': noise([4, 4, 4, 6]) } }),
      65,
      /a\.nii: one volume is wanted, and it has 6/,
    ],
    [
      'two heads',
      'nifti-qa',
      () => ({ image: { 'a.nii': noise([4, 4, 4]), 'b.nii': noise([4, 4, 4]) } }),
      65,
      /2 images.*a\.nii, b\.nii/,
    ],
    [
      'no image',
      'nifti-qa',
      () => ({ image: { 'a.json': '{}' } }),
      66,
      /holds no NIfTI image.*there is a\.json/,
    ],
    ['no input', 'nifti-qa', () => ({}), 66, /Input "image" is not there/],
    [
      'a volume for a series',
      'fmri-qa',
      () => ({ image: { 'a.nii': noise([4, 4, 4]) } }),
      65,
      /a\.nii: a series in time is wanted.*3D/,
    ],
    [
      'a broken sidecar',
      'fmri-qa',
      () => ({ image: { 'a.nii': noise([4, 4, 4, 8]), 'a.json': '{' } }),
      65,
      /a\.json: it is no JSON/,
    ],
    [
      'a lost bvec',
      'dti-qa',
      () => ({ image: { 'a.nii': noise([4, 4, 4, 7]), 'a.bval': b0['a.bval'] } }),
      66,
      /a\.nii: there is no \.bvec file/,
    ],
    [
      'a lost bval',
      'dti-qa',
      () => ({ image: { 'a.nii': noise([4, 4, 4, 7]), 'a.bvec': b0['a.bvec'] } }),
      66,
      /no \.bval file/,
    ],
    [
      'too few b-values',
      'dti-qa',
      () => ({ image: { 'a.nii': noise([4, 4, 4, 9]), ...b0 } }),
      65,
      /a\.bval: it has 7 b-values, and the image has 9 volumes/,
    ],
    [
      'a volume for diffusion',
      'dti-qa',
      () => ({ image: { 'a.nii': noise([4, 4, 4]), 'a.bval': '0', 'a.bvec': '0\n0\n0' } }),
      65,
      /a\.nii: a diffusion series is wanted/,
    ],
    [
      'no DICOM',
      'dcm2niix',
      () => ({ dicom: { 'note.txt': 'hello' } }),
      1,
      /nothing was converted out of 1 file.*note\.txt/,
    ],
    [
      'a DICOM cut short',
      'dcm2niix',
      () => ({ dicom: { 'a.dcm': sample('dicom', '06-ax_asc_35sl', '0001.dcm').subarray(0, 200_000) } }),
      1,
      /not large enough.*a\.dcm/,
    ],
    ['an empty folder', 'dcm2niix', () => ({ dicom: {} }), 66, /holds no file/],
  ]
  for (const [title, processor, inputs, exitCode, message] of refusals) {
    it(`${processor} refuses ${title}, names it and leaves no output`, () => {
      const done = run(processor, inputs())
      expect(done.exitCode, done.stderr).to.equal(exitCode)
      expect(done.stderr)
        .to.match(/^ERROR: /m)
        .and.to.match(message)
      expect(done.stderr).to.not.match(/\n {4}at /)
      expect(done.outputs).to.deep.equal([])
    })
  }

  it('tells a person who starts a script by hand what it is', () => {
    const script = readyProcessors.get('nifti-qa')?.script?.path ?? ''
    const ended = spawnSync(process.execPath, [script], { env: {} })
    expect(ended.status).to.equal(64)
    expect(ended.stderr.toString()).to.match(/ORBWEAVER_TASK is not set.*orbweaver try/)
  })
})
