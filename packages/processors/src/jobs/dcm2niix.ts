/** Job: DICOM to NIfTI by dcm2niix as WebAssembly. */

import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import createModule from 'dcm2niix-module'
import { EXIT, JobFailure, noInput } from '../job/failure.js'
import { runJob, warn } from '../job/run.js'
import { sourceOf } from '../job/task.js'
import { statsFiles, type Metric } from '../report/stats.js'

/** Exit codes of dcm2niix. Source: its `console/nii_dicom.h`, kEXIT_*. */
const MEANING: Readonly<Record<number, string>> = {
  2: 'no file is a DICOM image it can convert',
  4: 'a file is damaged',
  8: 'some files could be converted and others could not',
  10: 'volumes are incomplete: slices are missing',
}
const SOME_OK = 8

await runJob(async (task) => {
  const source = sourceOf(task, 'dicom')
  if (source.files.length === 0) throw noInput(`${source.ref} holds no file.`)
  const said: string[] = []
  const listen = (text: string): void => {
    // Names inside the WebAssembly's own file system mean nothing to a reader.
    for (const line of text.split('\n'))
      said.push(line.replace(/\/in\/(\d+)/g, (_, n: string) => originalName(source.files, n)))
  }
  const wasm = fileURLToPath(new URL('./dcm2niix.wasm', import.meta.url))
  const converter = await createModule({
    print: listen,
    printErr: listen,
    locateFile: () => wasm,
    wasmBinary: await readFile(wasm),
  })
  converter.FS.mkdir('/in')
  converter.FS.mkdir('/out')
  const short: string[] = []
  for (const [n, file] of source.files.entries()) {
    const bytes = await readFile(path.join(source.dir, file))
    if (bytes.length < 132) short.push(file)
    // Numbered: names from an archive may be long, alike or not UTF-8, and only the content matters.
    converter.FS.writeFile(`/in/${String(n).padStart(6, '0')}`, bytes)
  }
  const exitCode = converter.callMain(['-b', 'y', '-ba', 'y', '-z', 'y', '-f', '%s_%d', '-o', '/out', '/in'])
  // Emscripten makes the program's exit code that of the whole process; here it is only information.
  process.exitCode = 0
  // One line a slice is usual for a warning: said once, with how often.
  const lines = new Map<string, number>()
  for (const line of said.map((text) => text.trim()))
    if (line !== '') lines.set(line, (lines.get(line) ?? 0) + 1)
  for (const [line, times] of lines) {
    process.stdout.write(`dcm2niix: ${line}${times > 1 ? ` (${times} times)` : ''}\n`)
  }

  const made = converter.FS.readdir('/out').filter((file) => /\.(nii\.gz|json|bval|bvec)$/.test(file))
  const images = made.filter((file) => file.endsWith('.nii.gz'))
  const because = reasonsOf(exitCode, [...lines.keys()])
  if (images.length === 0) {
    const files = `${source.files.length} file${source.files.length === 1 ? '' : 's'}`
    const hint = short.length > 0 ? ` Too short for DICOM: ${short.slice(0, 3).join(', ')}.` : ''
    throw new JobFailure(
      EXIT.failed,
      `${source.ref}: nothing was converted out of ${files}: ${because}.${hint}`,
    )
  }
  if (exitCode !== 0 && exitCode !== SOME_OK) {
    throw new JobFailure(
      EXIT.data,
      `${source.ref}: dcm2niix ended with exit code ${exitCode}: ${because}. Nothing is kept.`,
    )
  }
  const warnings: string[] = []
  if (exitCode === SOME_OK) warn(warnings, `${source.ref}: ${because}.`)
  for (const line of lines.keys())
    if (/^warning:/i.test(line)) warnings.push(line.replace(/^warning:\s*/i, ''))

  const metrics: Metric[] = [
    { name: 'files', value: source.files.length, definition: 'Files given.' },
    { name: 'images', value: images.length, definition: 'NIfTI images made.' },
    {
      name: 'exit_code',
      value: exitCode,
      definition: '0: all converted; 8: some files could not be converted.',
    },
    {
      name: 'converter',
      value: /version (v\S+)/.exec(said.join('\n'))?.[1] ?? null,
      definition: 'Version of dcm2niix, as it says.',
    },
  ]
  return [
    ...made.map((file) => ({ path: file, content: converter.FS.readFile(`/out/${file}`) })),
    ...statsFiles({ task, source, image: images.join(' '), metrics, warnings }).map((file) => ({
      ...file,
      path: `stats/${file.path}`,
    })),
  ]
})

/** Why, in dcm2niix's own words where it has any: its errors, else what it says of missing or damaged data. */
function reasonsOf(exitCode: number, lines: readonly string[]): string {
  const errors = lines.filter((line) => /^error/i.test(line))
  const signs = lines.filter((line) =>
    /missing|not large enough|equidistant|incompatible|corrupt|incomplete/i.test(line),
  )
  const own = [...errors, ...signs]
    .slice(0, 3)
    .map((line) => line.replace(/^(error|warning):\s*/i, '').replace(/\.$/, ''))
  const meaning = MEANING[exitCode]
  return (
    [...(meaning === undefined ? [] : [meaning]), ...own].join('; ') ||
    `exit code ${exitCode}, without a reason`
  )
}

function originalName(files: readonly string[], number: string): string {
  return files[Number(number)] ?? number
}
