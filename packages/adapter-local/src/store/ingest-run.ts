/** An import at work: what is new is staged, and goes in a batch at a time. */

import * as fs from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import {
  InputError,
  checkFilePath,
  checkLabel,
  formatResourceRef,
  printable,
  systemErrorCode,
  type ResourceRef,
} from '@orbweaver/core'
import { eachOf, type ContentSwitch, type FileRow } from './content.js'
import { hashFile, stampOf, statIfThere } from './file-system.js'
import type { OpenArchive } from './folder-store.js'
import type { IngestFile, IngestItem, IngestOptions, IngestSummary } from './ingest.js'
import { checkResourceRef } from './layout.js'
import { StagingFolder, notAFile, type WantedFile } from './staging.js'
import { storeError, shownPath } from './store-errors.js'

/** A batch is one change of the archive: large enough to share the cost of getting on the disk, small enough to lose. */
const BATCH_ITEMS = 64
const BATCH_FILES = 1000
const BATCH_BYTES = 512 * 1024 ** 2
/** Files read at once. */
const FILES_AT_ONCE = 8
/** A file changed this short a time ago may change again without its time changing. */
const SETTLED_MS = 2000

interface Prepared {
  readonly item: IngestItem
  readonly change: ContentSwitch
  readonly files: readonly IngestFile[]
  readonly remembered: readonly Remembered[]
}

interface Remembered {
  readonly path: string
  readonly stamp: string
  readonly sha256: string
}

export async function ingestItems(
  archive: OpenArchive,
  items: AsyncIterable<IngestItem> | Iterable<IngestItem>,
  options: IngestOptions,
): Promise<IngestSummary> {
  const run = new IngestRun(archive, options)
  try {
    for await (const item of items) {
      options.signal?.throwIfAborted()
      await run.add(item)
    }
    return await run.finish()
  } catch (error) {
    options.signal?.throwIfAborted()
    throw storeError(error, 'import', archive.db.root)
  } finally {
    await run.cleanUp()
  }
}

class IngestRun {
  readonly #archive: OpenArchive
  readonly #options: IngestOptions
  readonly #summary = { created: 0, unchanged: 0, changed: 0, files: 0, bytes: 0, linked: 0 }
  /** With `prune`: every path named in this run, by resource. */
  readonly #named = new Map<string, { readonly ref: ResourceRef; readonly paths: Set<string> }>()
  #batch: Prepared[] = []
  #batchFiles = 0
  #batchBytes = 0
  #making: Promise<StagingFolder> | undefined
  #folder: StagingFolder | undefined
  #handedOver = false
  #resources = 0

  constructor(archive: OpenArchive, options: IngestOptions) {
    this.#archive = archive
    this.#options = options
  }

  async add(item: IngestItem): Promise<void> {
    const ref = checkItem(item)
    const prepared = await this.#prepare(item, ref)
    this.#batch.push(prepared)
    if (this.#options.prune === true) this.#name(ref, item)
    if (
      this.#batch.length >= BATCH_ITEMS ||
      this.#batchFiles >= BATCH_FILES ||
      this.#batchBytes >= BATCH_BYTES
    ) {
      await this.#flush()
    }
  }

  #name(ref: ResourceRef, item: IngestItem): void {
    const key = formatResourceRef(ref)
    const named = this.#named.get(key) ?? { ref, paths: new Set<string>() }
    for (const file of item.files) named.paths.add(file.path)
    this.#named.set(key, named)
  }

  async #prepare(item: IngestItem, ref: ResourceRef): Promise<Prepared> {
    const { db, tree, content } = this.#archive
    const there = db.read(() => {
      const node = tree.find(ref.node)
      return node === undefined ? undefined : content.resourceId(node.id, ref.resource)
    })
    const current = there === undefined ? undefined : content.locate(ref)
    const files = new Map<string, WantedFile>()
    const remembered: Remembered[] = []
    await eachOf(item.files, FILES_AT_ONCE, async (file) => {
      this.#options.signal?.throwIfAborted()
      const row = current?.rows.get(file.path)
      files.set(file.path, await this.#want(file, row, current?.place(file.path) ?? '', remembered))
    })
    return {
      item,
      files: item.files,
      remembered,
      change: { ref, files, exact: false, prepare: () => this.#makeNodes(item) },
    }
  }

  /** @param place - where the archive has the file that `row` tells of */
  async #want(
    file: IngestFile,
    row: FileRow | undefined,
    place: string,
    remembered: Remembered[],
  ): Promise<WantedFile> {
    const { signal, link = false } = this.#options
    const { db } = this.#archive
    const stats = await sourceStats(file.source)
    const bytes = Number(stats.size)
    const stamp = stampOf(stats)
    const known = db.read(() =>
      db.prepare<Remembered>('SELECT path, stamp, sha256 FROM source WHERE path = ?').get(file.source),
    )
    const asLink = link && file.copy !== true
    const isKnown = known?.stamp === stamp
    let sha256 = isKnown ? known.sha256 : undefined
    if (sha256 === undefined && (asLink || row?.bytes === bytes)) {
      sha256 = (await hashFile(file.source, 'sha256', signal)).hex
    }
    const same = row !== undefined && row.bytes === bytes && row.sha256 === sha256
    const archived = same ? await statIfThere(place) : undefined
    const onDisk = archived?.size === BigInt(bytes)
    // A link whose original was touched but not changed keeps its content and gets its new stamp.
    const sameLink = row?.linked == null || (archived !== undefined && stampOf(archived) === row.linked)
    const wanted =
      same && onDisk && sameLink
        ? { bytes, sha256: row.sha256 }
        : { ...(await this.#stage(file, bytes, sha256, asLink)), ...(same && { repair: true }) }
    // What goes away after the import is not worth remembering.
    const settled = Date.now() - Number(stats.mtimeMs) > SETTLED_MS
    if (!isKnown && settled && file.copy !== true) {
      const after = await sourceStats(file.source)
      if (stampOf(after) === stamp) remembered.push({ path: file.source, stamp, sha256: wanted.sha256 })
    }
    return wanted
  }

  async #stage(
    file: IngestFile,
    bytes: number,
    sha256: string | undefined,
    asLink: boolean,
  ): Promise<WantedFile> {
    // Several files ask at once; all of them wait for the same folder.
    this.#making ??= StagingFolder.make(this.#archive.db.root, 'in')
    const folder = await this.#making
    this.#folder = folder
    this.#batchFiles += 1
    this.#batchBytes += bytes
    if (asLink && sha256 !== undefined) return await folder.link(file.source, { bytes, sha256 })
    const checksum = sha256 === undefined ? {} : { checksum: { algorithm: 'sha256' as const, hex: sha256 } }
    return await folder.copy(
      file.source,
      { path: file.path, bytes, ...checksum },
      { signal: this.#options.signal },
    )
  }

  /** In the transaction that brings the files. */
  #makeNodes({ project, subject, session, scan, modality, date }: IngestItem): boolean {
    const { tree } = this.#archive
    if (session === undefined) return tree.ensureSubject({ project, subject })
    const ref = { project, subject, session }
    const made = tree.ensureSession(ref, {
      ...(modality !== undefined && { modality }),
      ...(date !== undefined && { date }),
    })
    return scan === undefined ? made : tree.ensureScan(ref, scan) || made
  }

  async #flush(): Promise<void> {
    const batch = this.#batch
    if (batch.length === 0) return
    const { db, content } = this.#archive
    const { signal } = this.#options
    this.#folder?.sync()
    const results = await content.commit(
      batch.map(({ change }) => change),
      {
        ...(signal !== undefined && { signal }),
        also: () => {
          const remember = db.prepare(
            'INSERT INTO source (path, stamp, sha256) VALUES (@path, @stamp, @sha256) ON CONFLICT (path) DO UPDATE SET stamp = excluded.stamp, sha256 = excluded.sha256',
          )
          for (const { remembered } of batch) for (const row of remembered) remember.run(row)
        },
        onCommitted: () => {
          this.#handedOver = true
        },
      },
    )
    this.#batch = []
    if (results === 'stale') {
      // Somebody changed one of these resources since we looked: look at all of them again.
      for (const { item, change } of batch) this.#batch.push(await this.#prepare(item, change.ref))
      return await this.#flush()
    }
    await this.#folder?.remove()
    this.#folder = undefined
    this.#making = undefined
    this.#handedOver = false
    this.#batchFiles = 0
    this.#batchBytes = 0
    batch.forEach(({ item, change }, index) => {
      const result = results[index]
      if (result === undefined) return
      this.#summary[result.outcome] += 1
      for (const path of result.moved) {
        const file = change.files.get(path)
        this.#summary.files += 1
        this.#summary.bytes += file?.bytes ?? 0
        if (file?.linked !== undefined) this.#summary.linked += 1
      }
      this.#resources += 1
      this.#options.onProgress?.({
        resources: this.#resources,
        files: this.#summary.files,
        bytes: this.#summary.bytes,
        item,
      })
    })
  }

  async finish(): Promise<IngestSummary> {
    await this.#flush()
    await this.#prune()
    return { ...this.#summary }
  }

  /** Remove what this run did not name, resource by resource. */
  async #prune(): Promise<void> {
    const { content } = this.#archive
    for (const { ref, paths } of this.#named.values()) {
      const kept = content.list(ref).filter((row) => paths.has(row.path))
      const results = await content.commit([
        {
          ref,
          exact: true,
          files: new Map(kept.map(({ path, bytes, sha256 }) => [path, { bytes, sha256 }])),
        },
      ])
      // Stale: somebody else has just changed it. What they put there is not ours to remove.
      if (results !== 'stale' && results[0]?.outcome === 'changed') this.#summary.changed += 1
    }
  }

  async cleanUp(): Promise<void> {
    if (!this.#handedOver) await this.#folder?.remove()
  }
}

async function sourceStats(source: string): Promise<Awaited<ReturnType<typeof stat>>> {
  const stats = await stat(source)
  if (!stats.isFile()) throw notAFile(source)
  return stats
}

async function stat(source: string) {
  try {
    return await fs.stat(source, { bigint: true })
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    throw new InputError(
      `Cannot import ${shownPath(source)}: ${code === 'ENOENT' ? 'it is not there, or its link leads nowhere' : `it cannot be read (${code})`}.`,
      { cause: error, details: { path: source, code } },
    )
  }
}

/** @throws InputError */
function checkItem(item: IngestItem): ResourceRef {
  const { project, subject, session, scan, resource, files, date } = item
  if (scan !== undefined && session === undefined) {
    throw new TypeError('An item with a scan names its session too.')
  }
  const node = {
    project,
    subject,
    ...(session !== undefined && { session }),
    ...(scan !== undefined && { scan: scan.label }),
  }
  const ref = { node, resource }
  checkResourceRef(ref)
  if (scan !== undefined) checkText(scan.type, 'The scan type')
  if (scan?.quality !== undefined) checkLabel(scan.quality, 'The scan quality')
  if (date !== undefined && !/^\d{4}-\d{2}-\d{2}$/.test(date)) {
    throw new InputError(`The session date ${printable(date)} is not of the form YYYY-MM-DD.`)
  }
  const paths = new Set<string>()
  for (const { path, source } of files) {
    checkFilePath(path)
    if (!isAbsolute(source)) throw new TypeError(`The source of ${printable(path)} is not an absolute path.`)
    if (paths.has(path)) {
      throw new InputError(
        `File path ${printable(path)} is given twice for ${printable(formatResourceRef(ref))}.`,
      )
    }
    paths.add(path)
  }
  return ref
}

/** A header's text, not a name: any characters that can be printed. */
function checkText(text: string, what: string): void {
  // eslint-disable-next-line no-control-regex
  if (text === '' || text.length > 500 || /[\u0000-\u001f\u007f]/.test(text)) {
    throw new InputError(`${what} ${printable(text)} is empty, too long, or holds a control character.`)
  }
}
