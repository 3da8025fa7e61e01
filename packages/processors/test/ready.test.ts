import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { procTypeOf, resolveProcessor, wildcard, type ScanNode, type TargetView } from '@orbweaver/core'
import {
  dcm2niix,
  dtiQa,
  fmriQa,
  FreesurferProcessor,
  niftiQa,
  readyProcessors,
  sampleDirectory,
} from '@orbweaver/processors'
import { ANATOMICAL, DIFFUSION, FUNCTIONAL } from '#src/definitions/scan-types.js'

const scan = (type: string, ...resources: string[]): TargetView => ({
  ref: { project: 'P', subject: 'S', session: 'E', scan: '1' },
  project: { label: 'P', resources: [], assessors: [] },
  scan: {
    label: '1',
    type,
    quality: 'usable',
    resources: resources.map((label) => ({ label })),
  } satisfies ScanNode,
})

describe('ready processors', () => {
  it('are found under their own names, and their scripts are there', () => {
    expect([...readyProcessors.keys()]).to.deep.equal([
      'dcm2niix',
      'nifti-qa',
      'fmri-qa',
      'dti-qa',
      'freesurfer',
    ])
    for (const [name, processor] of readyProcessors) {
      expect(processor.name).to.equal(name)
      expect(procTypeOf(processor.name, processor.version)).to.match(/^[a-z0-9-]+_v\d+$/)
      for (const file of processor.script === undefined
        ? []
        : [processor.script.path, ...(processor.script.files ?? [])]) {
        expect(fs.existsSync(file), file).to.be.true
      }
    }
  })

  it('hold every rule for processors, and have defaults for all parameters', () => {
    for (const processor of readyProcessors.values()) expect(() => resolveProcessor(processor)).to.not.throw()
    expect(fmriQa.params?.parse({})).to.deep.equal({ outlierZ: 3.5, sliceOutlierZ: 5, skipVolumes: 0 })
    expect(dtiQa.params?.parse({})).to.deep.equal({ b0Max: 50, sliceOutlierZ: 5 })
  })

  it('know the usual names of series, each for itself alone', () => {
    const kinds = { ANATOMICAL, FUNCTIONAL, DIFFUSION }
    const kindOf = (type: string): string[] =>
      Object.entries(kinds).flatMap(([kind, words]) =>
        words.some((word) => wildcard(word)(type)) ? [kind] : [],
      )
    for (const type of [
      'T1w',
      'T1',
      'MPRAGE',
      't1_mprage_sag_p2_iso',
      'T1_MPRAGE',
      'Sag T1',
      'FSPGR_BRAVO',
      'MP2RAGE_UNI',
    ]) {
      expect(kindOf(type), type).to.deep.equal(['ANATOMICAL'])
    }
    for (const type of [
      'bold',
      'BOLD',
      'task-rest_bold',
      'bold_rest',
      'fMRI_rest',
      'resting_state',
      'func_run1',
    ]) {
      expect(kindOf(type), type).to.deep.equal(['FUNCTIONAL'])
    }
    for (const type of ['dwi', 'DTI', 'ep2d_dti_64dir', 'dwi_24dir', 'dMRI_mb3_AP', 'diff_b1000', 'HARDI']) {
      expect(kindOf(type), type).to.deep.equal(['DIFFUSION'])
    }
    for (const type of ['localizer', 'AAHead_Scout', 'T2w', 'fieldmap', 'ax_asc_35sl'])
      expect(kindOf(type), type).to.deep.equal([])
  })

  it('decline scans that are not theirs, and say why', () => {
    expect(dcm2niix.canRun?.(scan('T1', 'DICOM'))).to.equal(true)
    expect(dcm2niix.canRun?.(scan('T1', 'NIFTI'))).to.match(/scan 1 has no DICOM/)
    expect(fmriQa.canRun?.(scan('bold_SBRef', 'NIFTI'))).to.match(/single-band/)
    expect(fmriQa.canRun?.(scan('bold', 'NIFTI'))).to.equal(true)
    expect(dtiQa.canRun?.(scan('ep2d_diff_ADC', 'NIFTI'))).to.match(/map/)
    expect(dtiQa.canRun?.(scan('dti_fast', 'NIFTI'))).to.equal(true)
  })

  it('take images from the scan, or from what dcm2niix made of it', () => {
    for (const { inputs } of [niftiQa, fmriQa, dtiQa]) {
      expect(inputs.image).to.deep.include({ resource: 'NIFTI', orFrom: { type: 'dcm2niix' } })
    }
  })
})

describe('freesurfer', () => {
  const context = {
    inputs: { t1: { path: '/w/inputs/t1/a b.nii.gz', paths: [], dir: '/w/inputs/t1', present: true } },
    params: {},
    workspace: { root: '/w', inputs: '/w/inputs', outputs: '/w/outputs', tmp: '/w/tmp' },
    requirements: { cpus: 4, gpus: 0, memoryBytes: 1, walltimeSeconds: 1, scratchBytes: 0 },
    task: {
      label: 'L',
      ref: { project: 'P' },
      procType: 'freesurfer_v7',
      target: { project: 'P' },
      inputs: [],
    },
  }

  it('runs the site’s own program', () => {
    const processor = new FreesurferProcessor()
    expect(processor.command(context)).to.deep.equal([
      'recon-all',
      '-s',
      'subject',
      '-sd',
      '/w/outputs',
      '-i',
      '/w/inputs/t1/a b.nii.gz',
      '-all',
      '-parallel',
      '-openmp',
      '4',
    ])
    expect(processor.programs).to.deep.equal(['recon-all'])
    expect(processor.requirements).to.deep.equal({ cpus: 4, memory: '4096 MB', walltime: '24h' })
    expect(processor.environment).to.deep.equal({})
    expect(processor.container).to.equal(undefined)
  })

  it('takes the licence along, natively and into a container', () => {
    expect(new FreesurferProcessor({ license: '/opt/fs/license.txt' }).environment).to.deep.equal({
      FS_LICENSE: '/opt/fs/license.txt',
    })
    const inside = new FreesurferProcessor({
      license: '/opt/fs/license.txt',
      image: 'docker://freesurfer/freesurfer:7.4.1',
    })
    expect(inside.environment).to.deep.equal({ FS_LICENSE: '/license.txt' })
    expect(inside.container).to.deep.equal({
      image: 'docker://freesurfer/freesurfer:7.4.1',
      binds: ['/opt/fs/license.txt:/license.txt'],
    })
    expect(inside.programs).to.deep.equal([])
  })
})

describe('sample archive', () => {
  const files = fs
    .readdirSync(sampleDirectory(), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))

  it('is small, and no file of it is without an origin', () => {
    const bytes = files.reduce((sum, file) => sum + fs.statSync(file).size, 0)
    expect(bytes).to.be.below(15e6)
    const licences = fs.readFileSync(path.join(sampleDirectory(), 'LICENSES.md'), 'utf8')
    for (const file of files) {
      const name = path.relative(sampleDirectory(), file)
      if (!/\.(nii\.gz|bval|bvec|dcm)$/.test(name)) continue
      const place = name.startsWith('dicom')
        ? `${path.dirname(name)}/`
        : name.replace(/\.(nii\.gz|bval|bvec)$/, '')
      expect(licences, name).to.include(place)
    }
  })

  it('has T1, functional and diffusion images of two BIDS subjects and of one in DICOM', () => {
    for (const subject of ['sub-01', 'sub-02']) {
      for (const [folder, suffix] of [
        ['anat', '_T1w.nii.gz'],
        ['func', '_bold.nii.gz'],
        ['dwi', '_dwi.nii.gz'],
      ] as const) {
        const found = fs
          .readdirSync(path.join(sampleDirectory(), 'bids', subject, folder))
          .filter((file) => file.endsWith(suffix))
        expect(found, `${subject}/${folder}`).to.have.length(1)
      }
    }
    const series = fs.readdirSync(path.join(sampleDirectory(), 'dicom')).sort()
    expect(series).to.deep.equal(['02-T1_MPRAGE', '05-bold_rest', '06-ax_asc_35sl', '07-dwi_24dir'])
    for (const one of series) {
      const folder = path.join(sampleDirectory(), 'dicom', one)
      for (const file of fs.readdirSync(folder)) {
        expect(fs.readFileSync(path.join(folder, file)).subarray(128, 132).toString(), file).to.equal('DICM')
      }
    }
  })
})
