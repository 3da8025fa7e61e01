/** What a folder and XNAT looked like when they were last seen to be the same. Lies in the folder, and holds no secret. */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import {
  ConflictError,
  InputError,
  createLocalFiles,
  systemErrorCode,
  type CallOptions,
} from '@orbweaver/core'
import { z } from 'zod'
import type { LabelAddress } from '../client/address.js'
import type { Version } from './sync-plan.js'
import { MANIFEST, describeAddress, type LocalFile } from './sync-tree.js'

const version = z.object({ bytes: z.number().int().nonnegative(), md5: z.string().optional() })
const known = version.extend({ mtimeMs: z.number(), ctimeMs: z.number(), md5: z.string() })
const manifest = z.object({
  version: z.literal(1),
  url: z.string(),
  place: z.string(),
  /** Content when both sides were the same. */
  base: z.record(z.string(), version),
  /** Checksums of local files, good as long as size and times are those. */
  local: z.record(z.string(), known),
})

export class SyncManifest {
  readonly #file: string
  readonly #url: string
  readonly #place: string
  readonly #base: Map<string, Version>
  readonly #local: Map<string, z.output<typeof known>>
  #changed = false

  private constructor(file: string, url: string, place: string, content?: z.output<typeof manifest>) {
    this.#file = file
    this.#url = url
    this.#place = place
    this.#base = new Map(
      Object.entries(content?.base ?? {}).map(([path, { bytes, md5 }]) => [
        path,
        md5 === undefined ? { bytes } : { bytes, md5 },
      ]),
    )
    this.#local = new Map(Object.entries(content?.local ?? {}))
  }

  /** @throws ConflictError the folder was synced with another place; InputError the file cannot be read */
  static async open(folder: string, url: string, node: LabelAddress): Promise<SyncManifest> {
    const file = join(folder, MANIFEST)
    const place = describeAddress(node)
    let text: string
    try {
      text = await readFile(file, 'utf8')
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return new SyncManifest(file, url, place)
      throw error
    }
    let parsed: z.output<typeof manifest>
    try {
      parsed = manifest.parse(JSON.parse(text))
    } catch (error) {
      throw new InputError(`${file} cannot be read.`, {
        cause: error,
        hint: 'Remove it: files that differ are then reported as conflicts.',
      })
    }
    if (parsed.url !== url || parsed.place !== place) {
      throw new ConflictError(`${folder} belongs to ${parsed.place} of ${parsed.url}.`, {
        hint: `Take another folder for ${place}.`,
      })
    }
    return new SyncManifest(file, url, place, parsed)
  }

  base(path: string): Version | undefined {
    return this.#base.get(path)
  }

  settle(path: string, content: Version): void {
    const before = this.#base.get(path)
    if (before?.bytes === content.bytes && before.md5 === content.md5) return
    this.#base.set(path, { bytes: content.bytes, ...(content.md5 !== undefined && { md5: content.md5 }) })
    this.#changed = true
  }

  /** The checksum of a local file; it is read only when size or times have changed. */
  async md5(folder: string, path: string, file: LocalFile, options: CallOptions): Promise<string> {
    const { bytes, mtimeMs, ctimeMs } = file
    const before = this.#local.get(path)
    if (before?.bytes === bytes && before.mtimeMs === mtimeMs && before.ctimeMs === ctimeMs) return before.md5
    const hash = createHash('md5')
    await pipeline(createReadStream(join(folder, path)), hash, options)
    const md5 = hash.digest('hex')
    this.#local.set(path, { bytes, mtimeMs, ctimeMs, md5 })
    this.#changed = true
    return md5
  }

  async save(): Promise<void> {
    if (!this.#changed) return
    const content = {
      version: 1,
      url: this.#url,
      place: this.#place,
      base: Object.fromEntries(this.#base),
      local: Object.fromEntries(this.#local),
    }
    await createLocalFiles().writeAtomic(this.#file, `${JSON.stringify(content)}\n`)
    this.#changed = false
  }
}
