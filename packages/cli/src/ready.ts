/** Processors by the word a person uses: a ready one's name, or the path of a file. */

import { loadProcessorFile, resolveProcessor, type EngineProject, type Processor } from '@orbweaver/core'
import { readyProcessors } from '@orbweaver/processors'

export function readyNames(): readonly string[] {
  return [...readyProcessors.keys()]
}

/** A ready processor with its defaults. */
export function readyProcessor(name: string): Processor | undefined {
  const definition = readyProcessors.get(name)
  return definition === undefined ? undefined : resolveProcessor(definition)
}

/** `./x.yaml`, `/x/y.ts`, `x.yaml`: names of processors have neither dots nor slashes. */
export function looksLikeFile(word: string): boolean {
  return /[./]/.test(word)
}

/** @throws ConfigError with every problem of the file */
export async function loadProcessor(file: string): Promise<Processor> {
  return resolveProcessor(await loadProcessorFile(file), {}, { origin: file })
}

/** The processors of all projects; each once, however many projects use it in the same way. */
export function distinctProcessors(projects: readonly EngineProject[]): readonly Processor[] {
  const all = projects.flatMap(({ processors }) => processors)
  return [
    ...new Map(
      all.map((processor) => {
        const { name, version, container, script } = processor
        return [[name, version, container?.image, script?.path].join('\n'), processor] as const
      }),
    ).values(),
  ]
}
