/**
 * Runs the bundled processors on the sample images, as jobs but without an engine, then compares what they wrote with
 * an independent computation in Python (check.py). Exit code 0: every number agrees.
 *
 *   node test/system/numbers/run.mjs [FOLDER]     FOLDER keeps the results; default: a temporary one, removed at the end
 *
 * PYTHON names the interpreter; it needs nibabel, dipy, numpy and scipy. Default: /usr/bin/python3.
 */

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { readyProcessors, sampleDirectory } from '../../../packages/processors/dist/index.js'

const here = path.dirname(fileURLToPath(import.meta.url))
const kept = process.argv[2]
const work =
  kept === undefined ? fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-numbers-')) : path.resolve(kept)
const python = process.env.PYTHON ?? '/usr/bin/python3'

try {
  process.exitCode = main()
} finally {
  if (kept === undefined) fs.rmSync(work, { recursive: true, force: true })
}

function main() {
  const sample = sampleDirectory()
  const runs = []
  for (const subject of ['sub-01', 'sub-02']) {
    const folder = (kind) => path.join(sample, 'bids', subject, kind)
    const named = (kind, ending) => [folder(kind), (file) => file.includes(ending)]
    runs.push(['nifti-qa', `${subject}-t1`, 'image', ...named('anat', '_T1w.')])
    runs.push(['fmri-qa', `${subject}-bold`, 'image', ...named('func', '_bold.')])
    runs.push(['dti-qa', `${subject}-dwi`, 'image', ...named('dwi', '_dwi.')])
  }
  for (const series of fs.readdirSync(path.join(sample, 'dicom')).sort()) {
    runs.push(['dcm2niix', `dicom-${series}`, 'dicom', path.join(sample, 'dicom', series), () => true])
  }
  // What became of the DICOM series is looked at as well.
  const converted = (series) => [path.join(work, `dicom-${series}`, 'outputs'), (file) => !file.includes('/')]
  runs.push(['nifti-qa', 'dicom-t1', 'image', ...converted('02-T1_MPRAGE')])
  runs.push(['fmri-qa', 'dicom-bold', 'image', ...converted('05-bold_rest')])
  runs.push(['dti-qa', 'dicom-dwi', 'image', ...converted('07-dwi_24dir')])

  for (const [processor, label, input, folder, wanted] of runs) {
    const started = Date.now()
    const result = runJob(processor, label, input, folder, wanted)
    console.log(
      `${processor.padEnd(9)} ${label.padEnd(24)} exit ${result.status}  ${((Date.now() - started) / 1000).toFixed(2)} s`,
    )
    if (result.status !== 0) {
      console.error(result.stderr.toString())
      return 1
    }
  }
  const check = spawnSync(python, [path.join(here, 'check.py'), sample, work], { stdio: 'inherit' })
  if (check.error !== undefined) console.error(`${python} could not be started: ${check.error.message}`)
  return check.status ?? 1
}

/** A workspace as the engine makes one, and the script run in it with nothing but its variables. */
function runJob(processor, label, input, folder, wanted) {
  const definition = readyProcessors.get(processor)
  const root = path.join(work, label)
  fs.rmSync(root, { recursive: true, force: true })
  for (const name of ['outputs', 'tmp']) fs.mkdirSync(path.join(root, name), { recursive: true })
  const files = fs
    .readdirSync(folder)
    .filter((file) => fs.statSync(path.join(folder, file)).isFile() && wanted(file))
  // BIDS keeps what holds for all runs beside the subjects; an importer brings it to each image.
  const shared = path.join(sampleDirectory(), 'bids', 'task-unknown_bold.json')
  const dir = path.join(root, 'inputs', input)
  fs.mkdirSync(dir, { recursive: true })
  for (const file of files) fs.copyFileSync(path.join(folder, file), path.join(dir, file))
  if (label.startsWith('sub-') && label.endsWith('-bold')) {
    const name = files[0].replace(/\.nii\.gz$/, '.json')
    fs.copyFileSync(shared, path.join(dir, name))
    files.push(name)
  }
  const source = {
    dir,
    path: files.length === 1 ? path.join(dir, files[0]) : dir,
    files,
    ref: `SAMPLE/${label}/1/scans/1:${input === 'dicom' ? 'DICOM' : 'NIFTI'}`,
  }
  const task = {
    schema: 1,
    label,
    processor: { name: definition.name, version: definition.version },
    params: definition.params?.parse({}) ?? {},
    inputs: { [input]: { present: true, path: source.path, dir, sources: [source] } },
    outputs: path.join(root, 'outputs'),
    tmp: path.join(root, 'tmp'),
    requirements: { cpus: 1, memoryBytes: 2 ** 31, walltimeSeconds: 600 },
  }
  fs.writeFileSync(path.join(root, 'task.json'), JSON.stringify(task, null, 2))
  return spawnSync(process.execPath, [definition.script.path], {
    cwd: root,
    env: { PATH: process.env.PATH, ORBWEAVER_TASK: path.join(root, 'task.json') },
  })
}
