/** Pauses an operator has set. A small file of its own: deleting the journal must not set paused work going. */

import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { PipelineError, systemErrorCode } from '../errors.js'
import type { Pause } from './engine.js'

const words = z.array(z.string()).optional()
const pauseSchema = z.strictObject({
  projects: words,
  processors: words,
  labels: words,
  note: z.string(),
  atMs: z.number(),
})
const fileSchema = z.strictObject({ schema: z.literal(1), pauses: z.array(pauseSchema) })

export class Controls {
  private readonly file: string

  constructor(private readonly directory: string) {
    this.file = join(directory, 'controls.json')
  }

  /** Read anew each time: another command may have changed it. */
  pauses(): readonly Pause[] {
    let text: string
    try {
      text = readFileSync(this.file, 'utf8')
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return []
      throw error
    }
    try {
      return fileSchema.parse(JSON.parse(text)).pauses as readonly Pause[]
    } catch (error) {
      throw new PipelineError(
        'CONFIG_INVALID',
        false,
        `The file of pauses ${this.file} cannot be read: ${(error as Error).message}.`,
        {
          cause: error,
          hint: 'Mend it, or delete it: then nothing is paused.',
        },
      )
    }
  }

  add(pause: Pause): void {
    this.write([...this.pauses().filter((other) => !sameScope(other, pause)), pause])
  }

  /** Lift the pauses of exactly this scope; with an empty scope, all. */
  lift(scope: Omit<Pause, 'note' | 'atMs'>): number {
    const before = this.pauses()
    const everything =
      scope.projects === undefined && scope.processors === undefined && scope.labels === undefined
    const rest = everything ? [] : before.filter((pause) => !sameScope(pause, scope))
    if (rest.length !== before.length) this.write(rest)
    return before.length - rest.length
  }

  private write(pauses: readonly Pause[]): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 })
    const temporary = `${this.file}.${randomUUID()}`
    writeFileSync(temporary, `${JSON.stringify({ schema: 1, pauses }, undefined, 2)}\n`, { mode: 0o600 })
    renameSync(temporary, this.file)
  }
}

function sameScope(a: Omit<Pause, 'note' | 'atMs'>, b: Omit<Pause, 'note' | 'atMs'>): boolean {
  const key = ({ projects, processors, labels }: Omit<Pause, 'note' | 'atMs'>): string =>
    JSON.stringify(
      [projects, processors, labels].map((list) => (list === undefined ? null : [...list].sort())),
    )
  return key(a) === key(b)
}
