/**
 * Composes the sample archive from unpacked Debian packages (see LICENSES.md for names, versions and paths).
 * Needs the package built, for it reads images with the processors' own reader.
 *
 *   node packages/processors/sample/compose.mjs FOLDER     FOLDER holds one folder a package, as `dpkg -x` makes it
 */

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import zlib from 'node:zlib'
import dcmjs from 'dcmjs'
import { parseGradients } from '../dist/imaging/gradients.js'
import { readNifti } from '../dist/imaging/nifti.js'

const packages = process.argv[2]
if (packages === undefined) {
  console.error('usage: node compose.mjs FOLDER')
  process.exit(2)
}
const here = path.dirname(fileURLToPath(import.meta.url))
const bids = path.join(here, 'bids')
const dicom = path.join(here, 'dicom')
const python = 'usr/lib/python3/dist-packages'
const from = {
  ch2: 'mricron-data/usr/share/mricron/templates/ch2.nii.gz',
  fmri: (n) => `python3-nitime/${python}/nitime/data/fmri${n}.nii.gz`,
  dwi: (name) => `python3-dipy/${python}/dipy/data/files/${name}`,
  kmeans: 'insighttoolkit5-examples/usr/share/doc/insighttoolkit5-examples/examples/Data/KmeansTest_T1UCharRaw.nii.gz',
  ds003: `python3-nipype/${python}/nipype/testing/data/ds003_sub-01_mc.nii.gz`,
  scanner: `heudiconv/${python}/heudiconv/tests/data/axasc35.dcm`,
}

const input = (name) => path.join(packages, name)
const writeJson = (file, value) => fs.writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`)
/** Unpacked, then packed without a time stamp: the same bytes whenever it is run. */
const packed = (file) => {
  const bytes = fs.readFileSync(file)
  return zlib.gzipSync(file.endsWith('.gz') ? zlib.gunzipSync(bytes) : bytes, { level: 9 })
}

fs.rmSync(bids, { recursive: true, force: true })
fs.rmSync(dicom, { recursive: true, force: true })

// ---------------------------------------------------------------- the BIDS dataset

/** python-nibabel-doc keeps downloads in folders named by a hash. */
function anatomy() {
  const folder = input('python-nibabel-doc/usr/share/doc/python-nibabel-doc/html/_downloads')
  for (const name of fs.readdirSync(folder)) {
    const file = path.join(folder, name, 'someones_anatomy.nii.gz')
    if (fs.existsSync(file)) return file
  }
  throw new Error(`someones_anatomy.nii.gz is not below ${folder}`)
}

/** Written as 3 rows of N, zeros for volumes without direction: some files have N rows of 3 and begin with NaN. */
function gradientTable(file) {
  const rows = fs
    .readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((row) => row.trim().split(/\s+/).map(Number))
  const columns = rows.length === 3 ? rows : [0, 1, 2].map((axis) => rows.map((row) => row[axis]))
  return columns.map((row) => row.map((x) => (Number.isNaN(x) ? 0 : Number(x.toFixed(6)))).join(' ')).join('\n') + '\n'
}
function bValues(file) {
  const values = fs.readFileSync(file, 'utf8').trim().split(/\s+/).map(Number)
  return `${values.map((b) => Number(b.toFixed(2))).join(' ')}\n`
}

const subjects = [
  { label: '01', t1: input(from.ch2), run: 1, dwi: ['small_64D.nii', 'small_64D'] },
  { label: '02', t1: anatomy(), run: 2, dwi: ['small_101D.nii.gz', 'small_101D'] },
]
for (const { label, t1, run, dwi } of subjects) {
  const sub = `sub-${label}`
  for (const folder of ['anat', 'func', 'dwi']) fs.mkdirSync(path.join(bids, sub, folder), { recursive: true })
  fs.writeFileSync(path.join(bids, sub, 'anat', `${sub}_T1w.nii.gz`), packed(t1))
  fs.writeFileSync(path.join(bids, sub, 'func', `${sub}_task-unknown_bold.nii.gz`), packed(input(from.fmri(run))))
  const [image, stem] = dwi
  const base = path.join(bids, sub, 'dwi', `${sub}_dwi`)
  fs.writeFileSync(`${base}.nii.gz`, packed(input(from.dwi(image))))
  fs.writeFileSync(`${base}.bval`, bValues(input(from.dwi(`${stem}.bval`))))
  fs.writeFileSync(`${base}.bvec`, gradientTable(input(from.dwi(`${stem}.bvec`))))
}
writeJson(path.join(bids, 'task-unknown_bold.json'), {
  TaskName: 'unknown',
  TaskDescription: 'The origin does not say what the person did.',
  RepetitionTime: 1.35,
})
writeJson(path.join(bids, 'dataset_description.json'), {
  Name: 'Orbweaver sample',
  BIDSVersion: '1.9.0',
  DatasetType: 'raw',
  License: 'BSD-3-Clause and MIT; see LICENSES.md',
  Authors: ['See LICENSES.md'],
})
fs.writeFileSync(
  path.join(bids, 'README'),
  'Small real images of different people, put together to try pipelines on. The images of one subject do not belong\n' +
    'together: good for software, of no use for science. Origins and licences: LICENSES.md in the folder above.\n',
)
fs.writeFileSync(path.join(bids, 'participants.tsv'), 'participant_id\nsub-01\nsub-02\n')

// ---------------------------------------------------------------- the DICOM folder

const { DicomMessage, DicomMetaDictionary } = dcmjs.data
/** Unique for this sample and the same at every run; 2.25 is the root for identifiers without registration. */
const uid = (...parts) => `2.25.${[20261125, ...parts].join('')}`

// One series is a scanner's own file, byte for byte; what is written here joins its study.
const scanned = path.join(dicom, '06-ax_asc_35sl', '0001.dcm')
fs.mkdirSync(path.dirname(scanned), { recursive: true })
fs.copyFileSync(input(from.scanner), scanned)
const real = DicomMetaDictionary.naturalizeDataset(
  DicomMessage.readFile(new Uint8Array(fs.readFileSync(scanned)).buffer).dict,
)
const study = {
  StudyInstanceUID: real.StudyInstanceUID,
  StudyDate: real.StudyDate,
  StudyTime: real.StudyTime,
  StudyID: real.StudyID,
  StudyDescription: real.StudyDescription,
  AccessionNumber: real.AccessionNumber ?? '',
  ReferringPhysicianName: '',
  PatientName: real.PatientName,
  PatientID: real.PatientID,
  PatientBirthDate: '',
  PatientSex: '',
}

/** One file a slice. NIfTI axes point right, anterior, superior; DICOM's left, posterior, superior. */
async function writeSeries(file, number, words, scale, { volumes, gradients } = {}) {
  const image = await readNifti(file)
  const [nx, ny, nz] = image.shape
  const a = image.affine
  const lps = (column, size) => [-a[0][column] / size, -a[1][column] / size, a[2][column] / size]
  const rounded = (digits) => (value) => Number(value.toFixed(digits))
  const folder = path.join(dicom, `${String(number).padStart(2, '0')}-${words.SeriesDescription}`)
  const count = volumes ?? image.volumes
  fs.mkdirSync(folder, { recursive: true })
  for (let t = 0; t < count; t++) {
    const volume = image.volume(t)
    for (let k = 0; k < nz; k++) {
      const instance = t * nz + k + 1
      const corner = [0, 1, 2].map((row) => a[row][2] * k + a[row][3])
      const slice = Uint16Array.from(volume.subarray(k * nx * ny, (k + 1) * nx * ny), (value) => Math.round(value * scale))
      const dataset = {
        _meta: { TransferSyntaxUID: { Value: ['1.2.840.10008.1.2.1'], vr: 'UI' } },
        _vrMap: { PixelData: 'OW' },
        SOPClassUID: '1.2.840.10008.5.1.4.1.1.4',
        SOPInstanceUID: uid(number, String(instance).padStart(5, '0')),
        SeriesInstanceUID: uid(number),
        FrameOfReferenceUID: uid(number, 9),
        ...study,
        SeriesNumber: number,
        ...words,
        ...(gradients !== undefined && diffusionTags(gradients, t, image)),
        Modality: 'MR',
        PatientPosition: 'HFS',
        Manufacturer: 'none: written from NIfTI',
        ProtocolName: words.SeriesDescription,
        ImageType: ['DERIVED', 'SECONDARY', 'OTHER'],
        ScanningSequence: 'RM',
        SequenceVariant: 'NONE',
        ScanOptions: '',
        AcquisitionNumber: t + 1,
        InstanceNumber: instance,
        TemporalPositionIdentifier: t + 1,
        NumberOfTemporalPositions: count,
        Rows: ny,
        Columns: nx,
        SamplesPerPixel: 1,
        PhotometricInterpretation: 'MONOCHROME2',
        BitsAllocated: 16,
        BitsStored: 16,
        HighBit: 15,
        PixelRepresentation: 0,
        ...(scale !== 1 && { RescaleSlope: 1 / scale, RescaleIntercept: 0, RescaleType: 'US' }),
        PixelSpacing: [image.voxelMm[1], image.voxelMm[0]].map(rounded(6)),
        SliceThickness: rounded(6)(image.voxelMm[2]),
        SpacingBetweenSlices: rounded(6)(image.voxelMm[2]),
        ImagePositionPatient: [-corner[0], -corner[1], corner[2]].map(rounded(4)),
        ImageOrientationPatient: [...lps(0, image.voxelMm[0]), ...lps(1, image.voxelMm[1])].map(rounded(6)),
        PixelData: slice.buffer,
      }
      const bytes = Buffer.from(dcmjs.data.datasetToDict(dataset).write())
      fs.writeFileSync(path.join(folder, `${String(instance).padStart(4, '0')}.dcm`), bytes)
    }
  }
}

/** FSL's frame (the image's own axes, the first one reversed where they are right-handed) to the patient's. */
function diffusionTags({ bValues, directions }, t, { affine, voxelMm }) {
  const b = bValues[t]
  const tags = { DiffusionBValue: b, DiffusionDirectionality: b > 0 ? 'DIRECTIONAL' : 'NONE' }
  if (b === 0) return tags
  const unit = (row, column) => affine[row][column] / voxelMm[column]
  const determinant = [0, 1, 2].reduce(
    (sum, i) =>
      sum + unit(0, i) * (unit(1, (i + 1) % 3) * unit(2, (i + 2) % 3) - unit(1, (i + 2) % 3) * unit(2, (i + 1) % 3)),
    0,
  )
  const [x, y, z] = directions[t]
  const inImage = [determinant > 0 ? -x : x, y, z]
  const ras = [0, 1, 2].map((row) => inImage.reduce((sum, part, column) => sum + unit(row, column) * part, 0))
  return { ...tags, DiffusionGradientOrientation: [-ras[0], -ras[1], ras[2]] }
}

await writeSeries(input(from.kmeans), 2, { SeriesDescription: 'T1_MPRAGE', MRAcquisitionType: '3D' }, 1)
await writeSeries(
  input(from.ds003),
  5,
  { SeriesDescription: 'bold_rest', MRAcquisitionType: '2D', RepetitionTime: 2000 },
  50,
)
// The first volumes of small_64D: one without weighting and 24 directions. One file a slice makes many files.
const dwi = input(from.dwi('small_64D.nii'))
const gradients = parseGradients(
  { file: 'bval', text: bValues(input(from.dwi('small_64D.bval'))) },
  { file: 'bvec', text: gradientTable(input(from.dwi('small_64D.bvec'))) },
  65,
  50,
)
await writeSeries(dwi, 7, { SeriesDescription: 'dwi_24dir', MRAcquisitionType: '2D' }, 1, { volumes: 25, gradients })
