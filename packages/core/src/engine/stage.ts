/** Stage before submit: inputs are downloaded and checked, then the job is a folder that needs nobody. */

import picomatch from 'picomatch'
import { formatResourceRef, type FileEntry } from '../domain/archive.js'
import type { JobSpec } from '../domain/job.js'
import { checkFilePath } from '../domain/labels.js'
import type { CommandContext, InputValue, Processor } from '../domain/processor.js'
import { formatMemory, type Requirements } from '../domain/requirements.js'
import type { InputSource, TaskIdentity } from '../domain/task.js'
import { InputError, NoSpaceError } from '../errors.js'
import { containerPaths, interpreterFor, renderJobScript } from '../job/job-script.js'
import type { WorkspacePaths } from '../job/workspace.js'
import type { DataStore, FileSink } from '../ports/data-store.js'
import type { FileTransfer } from '../ports/transport.js'

export interface StageTask {
  readonly processor: Processor
  readonly task: TaskIdentity
  readonly attempt: number
  /** Unique name of the job. */
  readonly name: string
  readonly requirements: Requirements
  readonly paths: WorkspacePaths
  readonly containerRuntime?: 'apptainer' | 'singularity' | 'podman' | 'docker'
}

export interface Staged {
  readonly spec: JobSpec
  readonly command: readonly string[]
  readonly files: number
  readonly bytes: number
}

/** One source as it lies in the workspace. */
interface StagedSource {
  readonly source: InputSource
  /** Relative to the input folder. */
  readonly folder: string
  readonly files: readonly FileEntry[]
}

/** Room left on the work root beyond what the inputs and the processor's scratch need. */
const SPARE_BYTES = 64 * 1024 * 1024

/**
 * Make the workspace of an attempt: inputs, `task.json`, `job.sh`. What an earlier, unfinished staging left is removed first,
 * so the caller must know that no job uses the folder.
 *
 * @throws NoSpaceError before anything is downloaded
 * @throws InputError a resource holds no file that the input asks for
 * @throws IntegrityError, StoreUnavailableError from the archive
 */
export async function stage(
  store: DataStore,
  transfer: FileTransfer,
  { processor, task, attempt, name, requirements, paths, containerRuntime }: StageTask,
  signal?: AbortSignal,
): Promise<Staged> {
  const options = signal === undefined ? {} : { signal }
  const inputs = new Map<string, readonly StagedSource[]>()
  let bytes = 0
  let fileCount = 0
  for (const { name: input, sources } of task.inputs) {
    const staged: StagedSource[] = []
    for (const [index, source] of sources.entries()) {
      const files = await wantedFiles(store, source, input, options)
      bytes += files.reduce((sum, file) => sum + file.bytes, 0)
      fileCount += files.length
      staged.push({
        source,
        files,
        folder: sources.length === 1 ? input : `${input}/${folderName(index, source)}`,
      })
    }
    inputs.set(input, staged)
  }

  if (transfer.clear === undefined) {
    await transfer.remove(paths.root, options)
    await transfer.mkdir(paths.root, options)
  } else await transfer.clear(paths.root, options)
  const free = await transfer.freeSpace(paths.root, options)
  const needed = bytes + requirements.scratchBytes + SPARE_BYTES
  if (free < needed) {
    throw new NoSpaceError(
      `No room to stage ${task.label}: the work root has ${formatMemory(free)} free, and ${formatMemory(needed)} are needed.`,
      {
        details: { label: task.label, free, needed, path: paths.root },
        hint: 'Free some space below workRoot; the task waits and goes on by itself.',
      },
    )
  }
  for (const folder of [paths.inputs, paths.outputs, paths.tmp, `${paths.root}/log`])
    await transfer.mkdir(folder, options)
  for (const staged of inputs.values()) {
    for (const { source, files, folder } of staged) {
      await download(store, source, files, transfer, `${paths.inputs}/${folder}`, options)
    }
  }

  const container = processor.container
  const seen = container === undefined ? { ...paths } : containerPaths
  const values = Object.fromEntries(
    [...inputs].map(([name, staged]) => [name, inputValue(seen.inputs, staged)]),
  )
  const context: CommandContext = {
    inputs: values,
    params: processor.params,
    workspace: { root: seen.root, inputs: seen.inputs, outputs: seen.outputs, tmp: seen.tmp },
    requirements,
    task,
  }
  const command = await commandOf(processor, context, transfer, paths, seen.root, options)
  const description = {
    schema: 1,
    label: task.label,
    attempt,
    processor: { name: processor.name, version: processor.version },
    params: processor.params,
    inputs: Object.fromEntries(
      [...inputs].map(([name, staged]) => [
        name,
        {
          ...values[name],
          sources: staged.map(({ source, folder, files }) => ({
            dir: `${seen.inputs}/${folder}`,
            path: mainFile(`${seen.inputs}/${folder}`, files),
            files: files.map((file) => file.path),
            type: source.type,
            ref: formatResourceRef(source),
          })),
        },
      ]),
    ),
    outputs: seen.outputs,
    tmp: seen.tmp,
    requirements,
    ref: task.ref,
    target: task.target,
  }
  await transfer.writeAtomic(paths.task, `${JSON.stringify(description, undefined, 2)}\n`, options)
  const script = renderJobScript(command, {
    name,
    workspace: paths.root,
    walltimeSeconds: requirements.walltimeSeconds,
    cpus: requirements.cpus,
    environment: { ...environmentOf(processor, values, requirements), ...processor.environment },
    ...(container !== undefined && {
      container: {
        ...container,
        gpus: requirements.gpus > 0,
        ...(container.runtime === undefined &&
          containerRuntime !== undefined && { runtime: containerRuntime }),
      },
    }),
  })
  await transfer.writeAtomic(paths.script, script, { ...options, mode: 0o700 })
  return {
    command,
    bytes,
    files: fileCount,
    spec: {
      name,
      command: ['/bin/sh', paths.script],
      directory: paths.root,
      stdoutPath: paths.stdout,
      stderrPath: paths.stderr,
      requirements,
      groupKey: `${processor.procType}@${processor.version}`,
    },
  }
}

async function wantedFiles(
  store: DataStore,
  source: InputSource,
  name: string,
  options: { readonly signal?: AbortSignal },
): Promise<readonly FileEntry[]> {
  const listed = await store.listFiles(source, options)
  const patterns = source.files
  const wanted =
    patterns === undefined
      ? listed
      : listed.filter((file) => picomatch(patterns as string[], { dot: true })(file.path))
  if (wanted.length === 0) {
    const what = patterns === undefined ? 'no file' : `no file like ${patterns.join(' or ')}`
    throw new InputError(`Input ${name} cannot be staged: ${formatResourceRef(source)} holds ${what}.`, {
      details: { input: name, resource: formatResourceRef(source), listed: listed.length },
      hint: 'Look at the resource in the archive, or change `files` of the input.',
    })
  }
  for (const file of wanted) checkFilePath(file.path)
  return wanted
}

/** `1-scan-301`, `2-LABEL`: in order and readable; labels were checked when they came in. */
function folderName(index: number, { node }: InputSource): string {
  const what = node.assessor ?? (node.scan === undefined ? (node.session ?? 'node') : `scan-${node.scan}`)
  return `${index + 1}-${node.session === undefined || node.assessor !== undefined ? what : `${node.session}-${what}`}`
}

/** Files go from the archive to the cluster as they come; where a transport can send many at once, it does. */
async function download(
  store: DataStore,
  source: InputSource,
  files: readonly FileEntry[],
  transfer: FileTransfer,
  folder: string,
  options: { readonly signal?: AbortSignal },
): Promise<void> {
  const batch = files.length > 1 ? transfer.batch?.(folder) : undefined
  if (batch === undefined) {
    await store.download(source, files, sinkAt(transfer, folder), options)
    return
  }
  try {
    await store.download(source, files, batch, options)
    await batch.finish(options)
  } finally {
    await batch.abandon()
  }
}

function sinkAt(transfer: FileTransfer, folder: string): FileSink {
  return {
    write: (path, content, entry, options) => transfer.write(`${folder}/${path}`, content, entry, options),
    // A store on this machine hands over the file itself; the transport copies or sends it.
    copyFrom: (path, localPath, options) => transfer.put(localPath, `${folder}/${path}`, options),
  }
}

/** Suffixes of image files; what lies beside one of them in a resource is its sidecar. */
const IMAGE = /\.(nii|nii\.gz|mgz|mgh|mnc|nrrd|mif|mif\.gz|img)$/i

/** The one file; or the one image among its sidecars; or else the folder. */
function mainFile(folder: string, files: readonly FileEntry[]): string {
  const images = files.filter((file) => IMAGE.test(file.path))
  const only = files.length === 1 ? files[0] : images.length === 1 ? images[0] : undefined
  return only === undefined ? folder : `${folder}/${only.path}`
}

function inputValue(root: string, staged: readonly StagedSource[]): InputValue {
  const paths = staged.map(({ folder, files }) => mainFile(`${root}/${folder}`, files))
  const first = staged[0]
  return {
    present: first !== undefined,
    path: paths[0] ?? '',
    paths,
    dir: first === undefined ? '' : `${root}/${first.folder}`,
  }
}

async function commandOf(
  processor: Processor,
  context: CommandContext,
  transfer: FileTransfer,
  paths: WorkspacePaths,
  seenRoot: string,
  options: { readonly signal?: AbortSignal },
): Promise<readonly string[]> {
  const words = processor.command(context)
  const { script } = processor
  if (script === undefined) {
    if (words.length === 0) throw new InputError(`Processor ${processor.name} gave an empty command.`)
    return words
  }
  const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
  for (const file of [script.path, ...(script.files ?? [])]) {
    await transfer.put(file, `${paths.root}/script/${baseName(file)}`, { ...options, mode: 0o700 })
  }
  return [
    ...(script.interpreter ?? interpreterFor(script.path)),
    `${seenRoot}/script/${baseName(script.path)}`,
    ...words,
  ]
}

/** `ORBWEAVER_INPUT_T1`, `ORBWEAVER_PARAM_THRESHOLD`, …: what a script needs without reading JSON. */
function environmentOf(
  processor: Processor,
  inputs: Readonly<Record<string, InputValue>>,
  requirements: Requirements,
): Record<string, string> {
  const word = (name: string): string => name.replace(/[^A-Za-z0-9]/g, '_').toUpperCase()
  const environment: Record<string, string> = {
    ORBWEAVER_CPUS: String(requirements.cpus),
    ORBWEAVER_MEMORY_MB: String(Math.floor(requirements.memoryBytes / 1024 ** 2)),
  }
  for (const [name, value] of Object.entries(inputs))
    environment[`ORBWEAVER_INPUT_${word(name)}`] = value.path
  for (const [name, value] of Object.entries(processor.params)) {
    environment[`ORBWEAVER_PARAM_${word(name)}`] = typeof value === 'string' ? value : JSON.stringify(value)
  }
  return environment
}
