/**
 * Which jobs are in which array. Schedulers know an array under one name; the names of its elements are written down here
 * before it is submitted, on the jobs' file system, so that any later engine can find each of them by name.
 */

import type { CallOptions } from '../ports/options.js'
import type { FileTransfer } from '../ports/transport.js'

/** A name's place in an array. */
export interface ArrayPlace {
  /** The array's name in the scheduler. */
  readonly array: string
  readonly index: number
}

const NAMES = '.names'
/** `<anything>-<base 36 milliseconds>-<anything>`: when it was made, for clearing away. */
const MADE_AT = /-([0-9a-z]{8,9})-[0-9a-z]+$/

/** `ow-arr-<when>-<random>`: what {@link ArrayBook.prune} reads the age from. */
export const arrayToken = (nowMs: number, random: string): string => `${nowMs.toString(36)}-${random}`

export class ArrayBook {
  readonly #files: FileTransfer
  readonly #folder: string
  /** An array never changes: read once. */
  readonly #known = new Map<string, readonly string[]>()

  constructor(files: FileTransfer, folder: string) {
    this.#files = files
    this.#folder = folder
  }

  async add(array: string, names: readonly string[], options?: CallOptions): Promise<void> {
    await this.#files.mkdir(this.#folder, options)
    await this.#files.writeAtomic(this.#pathOf(array), names.map((name) => `${name}\n`).join(''), options)
    this.#known.set(array, names)
  }

  /** The array was not accepted. */
  async remove(array: string, options?: CallOptions): Promise<void> {
    this.#known.delete(array)
    await this.#files.remove(this.#pathOf(array), options)
  }

  /** Every place each of these names was ever given; a name can be in several arrays when earlier ones were refused. */
  async placesOf(
    names: readonly string[],
    options?: CallOptions,
  ): Promise<ReadonlyMap<string, readonly ArrayPlace[]>> {
    await this.#readAll(options)
    const wanted = new Set(names)
    const places = new Map<string, ArrayPlace[]>()
    for (const [array, members] of this.#known) {
      for (const [index, name] of members.entries()) {
        if (wanted.has(name)) places.set(name, [...(places.get(name) ?? []), { array, index }])
      }
    }
    return places
  }

  /** Names of the members of an array, in order; undefined: nobody wrote them down. */
  async membersOf(array: string, options?: CallOptions): Promise<readonly string[] | undefined> {
    if (!this.#known.has(array)) await this.#readAll(options)
    return this.#known.get(array)
  }

  /** Forget arrays made before this time: their names, and what lies beside them under the array's name. */
  async prune(beforeMs: number, options?: CallOptions): Promise<number> {
    const listed = await this.#files.list(this.#folder, options)
    const old = listed.filter(({ path }) => {
      const made = MADE_AT.exec(path.split('.')[0] ?? '')?.[1]
      return made !== undefined && Number.parseInt(made, 36) < beforeMs
    })
    for (const { path } of old) {
      await this.#files.remove(`${this.#folder}/${path}`, options)
      if (path.endsWith(NAMES)) this.#known.delete(path.slice(0, -NAMES.length))
    }
    return old.length
  }

  async #readAll(options?: CallOptions): Promise<void> {
    const listed = await this.#files.list(this.#folder, options)
    const fresh = listed
      .map(({ path }) => path)
      .filter((path) => path.endsWith(NAMES) && !path.includes('/'))
      .map((path) => path.slice(0, -NAMES.length))
      .filter((array) => !this.#known.has(array))
    if (fresh.length === 0) return
    const texts = await this.#files.readMany(
      fresh.map((array) => this.#pathOf(array)),
      options,
    )
    for (const array of fresh) {
      const text = texts.get(this.#pathOf(array))
      // Cleared away between the two looks.
      if (text !== undefined) this.#known.set(array, text.split('\n').slice(0, -1))
    }
  }

  #pathOf(array: string): string {
    if (!/^[a-z0-9-]+$/.test(array)) throw new TypeError(`${array} is no name of an array`)
    return `${this.#folder}/${array}${NAMES}`
  }
}
