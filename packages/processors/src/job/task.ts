/** What a job is told: `task.json` in its workspace, found through `ORBWEAVER_TASK`. */

import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { EXIT, JobFailure, noInput } from './failure.js'

export interface JobSource {
  readonly dir: string
  readonly path: string
  /** Relative to `dir`. */
  readonly files: readonly string[]
  /** Scan type or processor type. */
  readonly type?: string
  /** `P/S/E/scans/3:NIFTI`. */
  readonly ref: string
}

export interface JobInput {
  readonly present: boolean
  readonly path: string
  readonly dir: string
  readonly sources: readonly JobSource[]
}

export interface JobTask {
  readonly schema: 1
  readonly label: string
  readonly processor: { readonly name: string; readonly version: string }
  readonly params: Readonly<Record<string, unknown>>
  readonly inputs: Readonly<Record<string, JobInput>>
  readonly outputs: string
  readonly tmp: string
}

/** @throws JobFailure when this is no workspace of a job */
export async function readTask(environment: NodeJS.ProcessEnv): Promise<JobTask> {
  const file = environment['ORBWEAVER_TASK']
  if (file === undefined || file === '') {
    throw new JobFailure(
      EXIT.usage,
      'ORBWEAVER_TASK is not set. This script runs as a job of Orbweaver; try it with "orbweaver try".',
    )
  }
  let task: Partial<JobTask>
  try {
    task = JSON.parse(await readFile(file, 'utf8')) as Partial<JobTask>
  } catch (error) {
    throw new JobFailure(EXIT.usage, `${file} cannot be read as a task: ${String(error)}`, { cause: error })
  }
  if (task.schema !== 1 || typeof task.outputs !== 'string' || typeof task.inputs !== 'object') {
    throw new JobFailure(EXIT.usage, `${file} is no task of schema 1`)
  }
  return { params: {}, tmp: task.outputs, ...task } as JobTask
}

/** The first source of an input that the job cannot do without. */
export function sourceOf(task: JobTask, name: string): JobSource {
  const source = task.inputs[name]?.sources[0]
  if (source === undefined) throw noInput(`Input "${name}" is not there: the task names no source for it.`)
  return source
}

/** Files of a source by extension, without letter case. */
export function filesWith(source: JobSource, ...extensions: readonly string[]): string[] {
  return source.files.filter((file) => extensions.some((extension) => file.toLowerCase().endsWith(extension)))
}

/**
 * The one NIfTI image of an input. Of several, `among` chooses.
 *
 * @returns its path relative to `source.dir`
 */
export function imageOf(
  source: JobSource,
  among: (images: readonly string[]) => readonly string[] = (images) => images,
): string {
  const images = filesWith(source, '.nii', '.nii.gz')
  if (images.length === 0) {
    const there = source.files.length === 0 ? 'no file at all' : list(source.files)
    throw noInput(`${source.ref} holds no NIfTI image (.nii or .nii.gz); there is ${there}.`)
  }
  const chosen = images.length === 1 ? images : among(images)
  const [image] = chosen
  if (image === undefined || chosen.length > 1) {
    throw new JobFailure(
      EXIT.data,
      `${source.ref} holds ${images.length} images, and it is not clear which is meant: ${list(images)}.`,
    )
  }
  return image
}

/** `sub-01_bold` of `sub-01_bold.nii.gz`: what sidecars of an image share with it. */
export function stemOf(image: string): string {
  return image.replace(/\.nii(\.gz)?$/i, '')
}

/**
 * The companion of an image: first the file of the same stem beside it, else the only file of that extension beside it,
 * else the only one in an input of its own (archives that keep `BVAL`, `BVEC`, `JSON` as resources).
 *
 * @returns an absolute path
 */
export function companionOf(
  task: JobTask,
  source: JobSource,
  image: string,
  extension: string,
  inputName?: string,
): string | undefined {
  const beside = filesWith(source, extension)
  const same = beside.find((file) => file.slice(0, -extension.length) === stemOf(image))
  const found = same ?? (beside.length === 1 ? beside[0] : undefined)
  if (found !== undefined) return path.join(source.dir, found)
  const other = inputName === undefined ? undefined : task.inputs[inputName]?.sources[0]
  if (other === undefined) return undefined
  const [only, ...more] = filesWith(other, extension)
  return only === undefined || more.length > 0 ? undefined : path.join(other.dir, only)
}

/** A number from the parameters, or its default. */
export function numberParam(task: JobTask, name: string, fallback: number): number {
  const value = task.params[name] ?? fallback
  const number = Number(value)
  if (!Number.isFinite(number)) {
    throw new JobFailure(EXIT.usage, `Parameter ${name} must be a number; it is ${JSON.stringify(value)}.`)
  }
  return number
}

function list(files: readonly string[]): string {
  const shown = files.slice(0, 5).join(', ')
  return files.length > 5 ? `${shown} and ${files.length - 5} more` : shown
}
