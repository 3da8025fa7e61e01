/** Recorded replies of schedulers, with what each of them means. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A command of a scheduler, and what it answered. */
export interface Recording {
  readonly id: string
  readonly command: string
  readonly exit: number
  readonly stdout: string
  readonly stderr: string
}

/** A recording of a named release, with what a reader must find in it. */
export interface RecordedCase<Expectation> extends Recording {
  readonly scheduler: string
  readonly version: string
  readonly expect: Expectation
}

/**
 * The cases of some schedulers in `expected.json` of a folder; `stdout` and `stderr` of a case there name files beside it.
 *
 * @param schedulers - as the cases name them: `slurm`, `torque`
 */
export function recordedCases<Expectation>(
  folder: string,
  schedulers: readonly string[],
): readonly RecordedCase<Expectation>[] {
  const { cases } = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as {
    readonly cases: readonly (Omit<RecordedCase<Expectation>, 'stderr'> & {
      readonly stderr: string | null
    })[]
  }
  const read = (file: string | null): string =>
    file === null ? '' : readFileSync(join(folder, file), 'utf8')
  return cases
    .filter(({ scheduler }) => schedulers.includes(scheduler))
    .map((one) => ({ ...one, stdout: read(one.stdout), stderr: read(one.stderr) }))
}
