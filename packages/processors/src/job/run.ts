/** The frame of every job: read the task, compute, then write all results or none. */

import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { EXIT, JobFailure } from './failure.js'
import { readTask, type JobTask } from './task.js'

export interface JobFile {
  /** Relative to the output folder. */
  readonly path: string
  readonly content: string | Uint8Array
}

/**
 * Results are written under temporary names and renamed when all are there, so that a job that fails leaves no output.
 * Sets the exit code of the process.
 */
export async function runJob(work: (task: JobTask) => Promise<readonly JobFile[]>): Promise<void> {
  process.umask(0o077)
  try {
    const task = await readTask(process.env)
    await writeAll(task.outputs, await work(task))
  } catch (error) {
    process.exitCode = error instanceof JobFailure ? error.exitCode : systemExitCode(error)
    // A known failure is a sentence for a person; anything else is a defect, and its stack is the evidence.
    process.stderr.write(
      error instanceof JobFailure
        ? `ERROR: ${error.message}\n`
        : `ERROR: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    )
  }
}

function systemExitCode(error: unknown): number {
  const isSystem = error instanceof Error && typeof (error as NodeJS.ErrnoException).errno === 'number'
  return isSystem ? EXIT.io : EXIT.software
}

export async function writeAll(folder: string, files: readonly JobFile[]): Promise<void> {
  const placed: string[] = []
  try {
    for (const file of files) {
      const target = path.join(folder, file.path)
      await mkdir(path.dirname(target), { recursive: true })
      placed.push(`${target}.part`)
      await writeFile(`${target}.part`, file.content)
    }
    for (const file of files) {
      const target = path.join(folder, file.path)
      await rename(`${target}.part`, target)
      placed.push(target)
    }
  } catch (error) {
    await Promise.all(placed.map((file) => rm(file, { force: true })))
    throw error
  }
}

/** A line of the job's log that `stats.json` repeats. */
export function warn(warnings: string[], message: string): void {
  warnings.push(message)
  process.stderr.write(`WARNING: ${message}\n`)
}
