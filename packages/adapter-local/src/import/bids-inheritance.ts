/**
 * BIDS' inheritance principle: metadata files above a data file apply to it when they have its suffix and no entity
 * that it has not. JSON is merged, the nearer one wins; of tables and gradients the nearest one is taken whole.
 */

import { isDeepStrictEqual } from 'node:util'
import { containsEntities, type BidsName } from './bids-names.js'
import { readJsonObject, type JsonObject } from './json-file.js'

/** A metadata file with its place. */
export interface MetadataFile extends BidsName {
  readonly name: string
  readonly path: string
  readonly absolute: string
  /** 0 the dataset, 1 the subject, 2 the session, 3 the datatype folder. */
  readonly level: number
}

/** Applicable files, the farthest and most general first: apply them in this order. */
export function applicable(
  candidates: readonly MetadataFile[],
  of: {
    readonly entities: ReadonlyMap<string, string>
    readonly suffix: string
    readonly extension: string
    readonly exempt?: ReadonlySet<string>
  },
): readonly MetadataFile[] {
  return candidates
    .filter(
      (file) =>
        file.suffix === of.suffix &&
        file.extension === of.extension &&
        containsEntities(of.entities, file.entities, of.exempt),
    )
    .sort(
      (a, b) =>
        a.level - b.level ||
        a.entities.size - b.entities.size ||
        (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
    )
}

/**
 * Two files of one level of which neither is more special than the other: BIDS forbids it, because which one wins is
 * nobody's decision.
 */
export function ambiguousPair(
  files: readonly MetadataFile[],
): readonly [MetadataFile, MetadataFile] | undefined {
  for (const [index, file] of files.entries()) {
    const before = files[index - 1]
    if (before?.level === file.level && !containsEntities(file.entities, before.entities))
      return [before, file]
  }
  return undefined
}

/** Sidecars are read once per file, however many images they apply to; only the shared ones above a session are kept. */
export class SidecarReader {
  private readonly shared = new Map<string, JsonObject | string>()

  /** The object, or why there is none. */
  async read(file: Pick<MetadataFile, 'absolute' | 'level'>): Promise<JsonObject | string> {
    const known = this.shared.get(file.absolute)
    if (known !== undefined) return known
    const value = await readJsonObject(file.absolute)
    if (file.level === 0) this.shared.set(file.absolute, value)
    return value
  }
}

/** What applies to one image, merged; and whether that differs from what the nearest file says alone. */
export function mergeSidecars(objects: readonly JsonObject[]): {
  readonly merged: JsonObject
  readonly adds: boolean
} {
  // Entries, not assignment: a key named __proto__ stays a key.
  const merged = Object.fromEntries(objects.flatMap((object) => Object.entries(object)))
  const nearest = objects.at(-1) ?? {}
  return { merged, adds: !isDeepStrictEqual(merged, { ...nearest }) }
}
