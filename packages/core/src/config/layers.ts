/** Several documents laid over one another: the site file, its profile, and what was said on the command line. */

import { formatPath } from '../domain/problems.js'
import type { DataPath, DataProblem } from '../domain/problems.js'
import type { ConfigProblem } from '../errors.js'
import type { DocumentSource } from './yaml-document.js'

export interface Layer {
  readonly data: unknown
  readonly locate: (problem: DataProblem) => ConfigProblem
  readonly textAt: (path: DataPath) => string | undefined
}

type PlainMap = Readonly<Record<string, unknown>>

function isMap(value: unknown): value is PlainMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Maps that name another adapter (`use`) have nothing in common with what they are laid over. */
function mergeable(over: unknown, under: unknown): boolean {
  return (
    isMap(over) &&
    isMap(under) &&
    (over['use'] === undefined || under['use'] === undefined || over['use'] === under['use'])
  )
}

function merge(over: unknown, under: unknown): unknown {
  if (!isMap(over) || !isMap(under) || !mergeable(over, under)) return withoutNulls(over)
  const result: Record<string, unknown> = { ...under }
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete result[key]
    else result[key] = Object.hasOwn(under, key) ? merge(value, under[key]) : withoutNulls(value)
  }
  return result
}

/** `null` says "remove" wherever it stands in a map of an upper layer. */
function withoutNulls(value: unknown): unknown {
  if (!isMap(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null)
      .map(([key, inner]) => [key, withoutNulls(inner)]),
  )
}

/**
 * The layers as one document. Maps merge key by key; lists and single values replace; `null` removes; a map whose `use`
 * differs replaces the whole map. A value's place is that of the layer it comes from.
 */
export class LayeredDocument implements DocumentSource {
  readonly data: unknown
  readonly #layers: readonly Layer[]

  /** @param layers - the uppermost first; at least one */
  constructor(layers: readonly Layer[]) {
    this.#layers = layers
    this.data = layers.reduceRight<unknown>(
      (under, layer) => (under === undefined ? layer.data : merge(layer.data, under)),
      undefined,
    )
  }

  locate(problem: DataProblem): ConfigProblem {
    const located = this.#layerOf(problem.path)?.locate(problem)
    // The path is that of the document people think in, not `profiles.laptop.…`.
    return located === undefined
      ? { file: '', path: formatPath(problem.path), message: problem.message }
      : { ...located, path: formatPath(problem.path) }
  }

  textAt(path: DataPath): string | undefined {
    return this.#layerOf(path)?.textAt(path)
  }

  /** The layer in which the value stands, or the deepest part of the path that exists. */
  #layerOf(path: DataPath): Layer | undefined {
    let alive = this.#layers
      .filter((layer) => layer.data !== undefined)
      .map((layer) => ({ layer, value: layer.data }))
    let last = alive.at(-1)?.layer
    for (const key of path) {
      alive = shadow(alive)
        .filter(({ value }) => typeof value === 'object' && value !== null && Object.hasOwn(value, key))
        .map(({ layer, value }) => ({ layer, value: (value as Record<string | number, unknown>)[key] }))
      const [top] = alive
      if (top === undefined) return last
      last = top.layer
    }
    return last
  }
}

/** Drops the layers that an upper one hides wholly. */
function shadow(values: { layer: Layer; value: unknown }[]): { layer: Layer; value: unknown }[] {
  const kept: { layer: Layer; value: unknown }[] = []
  for (const entry of values) {
    const above = kept.at(-1)
    if (above !== undefined && !mergeable(above.value, entry.value)) break
    kept.push(entry)
  }
  return kept
}
