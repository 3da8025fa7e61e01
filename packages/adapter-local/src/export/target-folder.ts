/** A folder of results on this disk: staged apart, verified, then put in place; what is there and the same stays. */

import { createHash } from 'node:crypto'
import { constants, createReadStream, createWriteStream } from 'node:fs'
import {
  copyFile,
  lstat,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  rmdir,
  writeFile,
} from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parse as parseCsv } from 'csv-parse/sync'
import {
  ConflictError,
  InputError,
  IntegrityError,
  NoSpaceError,
  filePathProblem,
  printable,
  systemErrorCode,
  type CallOptions,
  type Checksum,
  type DataStore,
  type FileEntry,
  type FileSink,
  type ResourceRef,
} from '@orbweaver/core'
import { compare, type ExportProblem } from './results.js'

/** Table of what an export wrote: one line a file. It also tells our files from other people's. */
export const MAPPING_FILE = 'orbweaver-mapping.tsv'

/** One file to be in the folder. */
export interface PlannedFile {
  /** Relative to the folder. */
  readonly path: string
  readonly from: ResourceRef
  readonly entry: FileEntry
  /** Further columns of {@link MAPPING_FILE}. */
  readonly columns: Readonly<Record<string, string>>
}

/** Small files that are made rather than brought: descriptions and tables. By path. */
export type MadeFiles = Readonly<Record<string, string>>

export interface PublishResult {
  /** New or changed files, and their size. */
  readonly written: number
  readonly bytes: number
  readonly unchanged: number
  /** Files of an earlier export that no longer belong. */
  readonly removed: number
}

interface MappingRow {
  readonly bytes: number
  readonly sha256: string
}

/** A line of {@link MAPPING_FILE} of an earlier export. */
export interface EarlierFile extends MappingRow {
  readonly path: string
  readonly columns: Readonly<Record<string, string>>
}

export interface Publishable {
  readonly files: readonly PlannedFile[]
  readonly made: MadeFiles
  /** Files of an earlier export that stay as they are, because this export is not about them. */
  readonly retained: readonly EarlierFile[]
}

/** A holder on another machine is believed for this long; its heartbeat is the change time of its folder. */
const FOREIGN_HOLDER_MS = 60 * 60 * 1000
/** Results are about people: what is exported is at first for this user alone. */
const FOLDER_MODE = 0o700
const FILE_MODE = 0o600

/**
 * Make a folder hold exactly these files beside those that no export made.
 *
 * `build` says what is wanted, given what an earlier export wrote; nobody else writes the folder meanwhile.
 * A new folder appears whole or not at all. In one that is there, each file is replaced as a whole; files of an earlier
 * export that no longer belong are removed; files of other people, and exported files that were changed since, are left
 * alone and reported. Everything that is brought is checked against the listing while it arrives; what is there already
 * is hashed to see that it is the same.
 *
 * @throws ConflictError another export is writing the same folder
 * @throws InputError the folder is there and was not made by an export
 * @throws IntegrityError what arrived is not what the archive lists
 * @throws NoSpaceError the disk is full; what was there before is untouched or newer
 */
export async function publish(
  store: DataStore,
  folder: string,
  build: (earlier: readonly EarlierFile[]) => Promise<Publishable>,
  report: (problem: ExportProblem) => void,
  options: CallOptions & { readonly onFile?: (bytes: number) => void },
): Promise<PublishResult> {
  const staging = join(dirname(folder), `.${basename(folder)}.partial`)
  try {
    await mkdir(dirname(folder), { recursive: true, mode: FOLDER_MODE })
    await takeStaging(staging)
    try {
      const earlier = await readEarlier(folder)
      const wanted = await build([...(earlier?.values() ?? [])])
      return await new Publication(store, folder, staging, report, options).run(wanted, earlier)
    } finally {
      await rm(staging, { recursive: true, force: true })
    }
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new NoSpaceError(`Cannot export to ${printable(folder)}: the disk is full.`, {
        details: { path: folder },
        hint: 'Make room and export again; what is there already is not brought again.',
        cause: error,
      })
    }
    if (
      code === 'EACCES' ||
      code === 'EPERM' ||
      code === 'EROFS' ||
      code === 'ENOTDIR' ||
      code === 'EEXIST'
    ) {
      throw new InputError(`Cannot export to ${printable(folder)}: it cannot be written (${code}).`, {
        details: { path: folder },
        hint: 'Choose a folder that this user can write.',
        cause: error,
      })
    }
    throw error
  }
}

class Publication {
  constructor(
    private readonly store: DataStore,
    private readonly folder: string,
    private readonly staging: string,
    private readonly report: (problem: ExportProblem) => void,
    private readonly options: CallOptions & { readonly onFile?: (bytes: number) => void },
  ) {}

  async run(
    { files: planned, made, retained }: Publishable,
    earlier: ReadonlyMap<string, EarlierFile> | undefined,
  ): Promise<PublishResult> {
    const rows = new Map<string, MappingRow>()
    const needed: PlannedFile[] = []
    let unchanged = 0
    for (const file of planned) {
      this.options.signal?.throwIfAborted()
      const there = earlier === undefined ? undefined : await this.compare(file, earlier)
      if (there === undefined) needed.push(file)
      else {
        rows.set(file.path, there)
        unchanged += 1
      }
    }
    // A new folder is built whole and renamed; files for one that is there wait beside each other until all have arrived.
    const fresh = earlier === undefined
    const base = join(this.staging, 'files')
    await mkdir(base, { mode: FOLDER_MODE })
    await this.bring(needed, base, rows)
    const lines = planned.map((file): EarlierFile => {
      const { bytes, sha256 } = rows.get(file.path) ?? { bytes: file.entry.bytes, sha256: '' }
      return { path: file.path, bytes, sha256, columns: file.columns }
    })
    const texts = { ...made, [MAPPING_FILE]: mappingText([...lines, ...retained]) }
    if (fresh) {
      for (const [path, text] of Object.entries(texts)) await writeWhole(join(base, path), text)
      await rename(base, this.folder)
    } else await this.moveIn(needed, base, texts)
    const stays = new Set([...planned, ...retained].map((file) => file.path))
    const removed = fresh ? 0 : await this.removeOld(earlier, stays)
    const bytes = needed.reduce((sum, file) => sum + (rows.get(file.path)?.bytes ?? 0), 0)
    return { written: needed.length, bytes, unchanged, removed }
  }

  /** What is there, when it needs no bringing: the same file, or one that must not be touched. */
  private async compare(
    file: PlannedFile,
    earlier: ReadonlyMap<string, MappingRow>,
  ): Promise<MappingRow | undefined> {
    const path = join(this.folder, file.path)
    const known = earlier.get(file.path)
    let found
    try {
      found = await lstat(path)
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined
      throw error
    }
    const { checksum } = file.entry
    if (found.isFile()) {
      const hashes = await hashFile(path, checksum?.algorithm, this.options)
      const row = { bytes: found.size, sha256: hashes.sha256 }
      const same =
        found.size === file.entry.bytes &&
        (checksum === undefined
          ? // The archive keeps no checksums: the file as it was exported is the best there is.
            known?.sha256 === hashes.sha256
          : checksum.hex === hashes.listed)
      if (same) return row
      if (known !== undefined && known.sha256 === hashes.sha256) return undefined
    }
    this.report({
      path: file.path,
      reason:
        known === undefined
          ? 'something that no export made is in its place; it was left alone'
          : 'it was changed after it was exported; it was left alone',
      hint: 'Move it away and export again.',
    })
    // Its line stays as it was, so that the next export sees the same.
    return known ?? { bytes: file.entry.bytes, sha256: '' }
  }

  private async bring(
    needed: readonly PlannedFile[],
    base: string,
    rows: Map<string, MappingRow>,
  ): Promise<void> {
    const byResource = new Map<string, PlannedFile[]>()
    for (const file of needed) {
      const key = JSON.stringify([file.from.node, file.from.resource])
      const same = byResource.get(key)
      if (same === undefined) byResource.set(key, [file])
      else same.push(file)
    }
    for (const files of byResource.values()) {
      this.options.signal?.throwIfAborted()
      const from = files[0]?.from
      if (from === undefined) continue
      const targets = new Map(files.map((file) => [file.entry.path, file]))
      const sink = new StagingSink(base, targets, rows, this.options)
      await this.store.download(
        from,
        files.map((file) => file.entry),
        sink,
        this.options.signal === undefined ? {} : { signal: this.options.signal },
      )
      for (const file of files) {
        if (!rows.has(file.path)) {
          throw new IntegrityError(`The archive did not deliver ${printable(file.path)}.`, {
            details: { path: file.entry.path },
            hint: 'Export again.',
          })
        }
      }
    }
  }

  private async moveIn(needed: readonly PlannedFile[], base: string, texts: MadeFiles): Promise<void> {
    for (const file of needed) {
      const target = join(this.folder, file.path)
      await mkdir(dirname(target), { recursive: true, mode: FOLDER_MODE })
      await rename(join(base, file.path), target)
    }
    for (const [path, text] of Object.entries(texts)) {
      const target = join(this.folder, path)
      if ((await readIfThere(target)) === text) continue
      await mkdir(dirname(target), { recursive: true, mode: FOLDER_MODE })
      // Written beside everything else first: a reader sees the old or the new text.
      const part = join(this.staging, 'text')
      await writeFile(part, text, { mode: FILE_MODE })
      await rename(part, target)
    }
  }

  private async removeOld(
    earlier: ReadonlyMap<string, MappingRow>,
    wanted: ReadonlySet<string>,
  ): Promise<number> {
    let removed = 0
    for (const [path, row] of earlier) {
      if (wanted.has(path) || row.sha256 === '') continue
      const target = join(this.folder, path)
      try {
        if (!(await lstat(target)).isFile()) continue
        if ((await hashFile(target, undefined, this.options)).sha256 !== row.sha256) {
          this.report({
            path,
            reason: 'it no longer belongs here, but was changed after it was exported; it was left alone',
          })
          continue
        }
        await rm(target)
        removed += 1
        await this.removeEmptyAbove(path)
      } catch (error) {
        if (systemErrorCode(error) !== 'ENOENT') throw error
      }
    }
    return removed
  }

  private async removeEmptyAbove(path: string): Promise<void> {
    for (let parent = dirname(path); parent !== '.'; parent = dirname(parent)) {
      const folder = join(this.folder, parent)
      if ((await readdir(folder)).length > 0) return
      await rmdir(folder)
    }
  }
}

/** Files arrive under their new names and are hashed on the way. */
class StagingSink implements FileSink {
  constructor(
    private readonly base: string,
    private readonly targets: ReadonlyMap<string, PlannedFile>,
    private readonly rows: Map<string, MappingRow>,
    private readonly options: { readonly onFile?: (bytes: number) => void },
  ) {}

  async write(path: string, content: Readable, entry: FileEntry, options?: CallOptions): Promise<void> {
    const file = this.targetOf(path)
    const target = await this.prepare(file)
    const hashing = new Hashing(entry.checksum)
    await pipeline(
      content,
      hashing,
      createWriteStream(target, { flags: 'w', mode: FILE_MODE, flush: true }),
      options?.signal === undefined ? {} : { signal: options.signal },
    )
    this.accept(file, hashing.result())
  }

  async copyFrom(path: string, localPath: string, options?: CallOptions): Promise<void> {
    const file = this.targetOf(path)
    const target = await this.prepare(file)
    // A clone where the file system can, and a file of its own in any case: the archive's must not change with it.
    await copyFile(localPath, target, constants.COPYFILE_FICLONE)
    const handle = await open(target, 'r+')
    try {
      await handle.chmod(FILE_MODE)
      await handle.sync()
    } finally {
      await handle.close()
    }
    const { bytes, sha256, listed } = await hashFile(target, file.entry.checksum?.algorithm, options ?? {})
    this.accept(file, { bytes, sha256, ...(listed !== undefined && { listed }) })
  }

  private targetOf(path: string): PlannedFile {
    const file = this.targets.get(path)
    if (file === undefined)
      throw new TypeError(`the store delivered a file that was not asked for: ${printable(path)}`)
    return file
  }

  private async prepare(file: PlannedFile): Promise<string> {
    const target = join(this.base, file.path)
    await mkdir(dirname(target), { recursive: true, mode: FOLDER_MODE })
    return target
  }

  private accept(
    file: PlannedFile,
    found: { readonly bytes: number; readonly sha256: string; readonly listed?: string },
  ): void {
    const { entry } = file
    const differs = entry.checksum !== undefined && entry.checksum.hex !== found.listed
    if (found.bytes !== entry.bytes || differs) {
      throw new IntegrityError(
        `${printable(entry.path)} arrived with ${found.bytes} bytes${differs ? ' and another checksum' : ''}; the archive lists ${entry.bytes}.`,
        { details: { path: entry.path, bytes: found.bytes, listed: entry.bytes }, hint: 'Export again.' },
      )
    }
    this.rows.set(file.path, { bytes: found.bytes, sha256: found.sha256 })
    this.options.onFile?.(found.bytes)
  }
}

class Hashing extends Transform {
  private readonly sha256 = createHash('sha256')
  private readonly other: ReturnType<typeof createHash> | undefined
  private bytes = 0

  constructor(private readonly checksum: Checksum | undefined) {
    super()
    this.other =
      checksum === undefined || checksum.algorithm === 'sha256' ? undefined : createHash(checksum.algorithm)
  }

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, chunk: Buffer) => void): void {
    this.bytes += chunk.length
    this.sha256.update(chunk)
    this.other?.update(chunk)
    done(null, chunk)
  }

  result(): { readonly bytes: number; readonly sha256: string; readonly listed?: string } {
    const sha256 = this.sha256.digest('hex')
    const listed = this.other?.digest('hex') ?? (this.checksum === undefined ? undefined : sha256)
    return { bytes: this.bytes, sha256, ...(listed !== undefined && { listed }) }
  }
}

/** SHA-256 of a file, and its checksum of the kind the archive lists. */
async function hashFile(
  path: string,
  algorithm: Checksum['algorithm'] | undefined,
  options: CallOptions,
): Promise<{ readonly bytes: number; readonly sha256: string; readonly listed?: string }> {
  const hashing = new Hashing(algorithm === undefined ? undefined : { algorithm, hex: '' })
  await pipeline(
    createReadStream(path),
    hashing,
    async (chunks: AsyncIterable<unknown>) => {
      // Drawn through; the hash is what is wanted.
      for await (const _ of chunks);
    },
    options.signal === undefined ? {} : { signal: options.signal },
  )
  return hashing.result()
}

/**
 * Files of an earlier export by path; undefined when there is no folder, or an empty one.
 *
 * @throws InputError the folder is somebody else's
 */
async function readEarlier(folder: string): Promise<ReadonlyMap<string, EarlierFile> | undefined> {
  const text = await readIfThere(join(folder, MAPPING_FILE))
  if (text === undefined) {
    let names: readonly string[]
    try {
      names = await readdir(folder)
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined
      throw error
    }
    if (names.length === 0) return undefined
    throw new InputError(
      `Cannot export to ${printable(folder)}: it is there and was not made by an export.`,
      {
        details: { path: folder, missing: MAPPING_FILE },
        hint: 'Choose another output folder, or move this one away.',
      },
    )
  }
  const rows: readonly Readonly<Record<string, string>>[] = parseCsv(text, {
    bom: true,
    columns: true,
    delimiter: '\t',
    quote: false,
    relax_column_count: true,
    skip_empty_lines: true,
  })
  const earlier = new Map<string, EarlierFile>()
  for (const { path = '', bytes = '', sha256 = '', ...columns } of rows) {
    // The table may have been edited: it must never lead out of the folder.
    if (filePathProblem(path) !== undefined) continue
    const texts = Object.entries(columns).map(([name, text]) => [name, text === 'n/a' ? '' : text] as const)
    earlier.set(path, {
      path,
      bytes: Number(bytes),
      sha256: sha256 === 'n/a' ? '' : sha256,
      columns: Object.fromEntries(texts),
    })
  }
  return earlier
}

const FIRST_COLUMNS = ['path', 'bytes', 'sha256'] as const

function mappingText(files: readonly EarlierFile[]): string {
  const further = [...new Set(files.flatMap((file) => Object.keys(file.columns)))]
  const rows = [...files]
    .sort((a, b) => compare(a.path, b.path))
    .map((file) => [
      file.path,
      String(file.bytes),
      file.sha256,
      ...further.map((name) => file.columns[name] ?? ''),
    ])
  return tableText([...FIRST_COLUMNS, ...further], rows)
}

/** Tab-separated, `n/a` for what is empty, as BIDS writes tables. Cells never hold tabs or line breaks. */
export function tableText(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (text: string): string => (text === '' ? 'n/a' : text.replace(/\p{Cc}+/gu, ' '))
  return [header, ...rows].map((row) => `${row.map(cell).join('\t')}\n`).join('')
}

/** A staging folder is also the lock: whoever can make it, writes. */
async function takeStaging(staging: string): Promise<void> {
  const owner = join(staging, 'owner.json')
  for (let tries = 0; ; tries += 1) {
    try {
      await mkdir(staging, { mode: 0o700 })
      await writeFile(owner, JSON.stringify({ host: hostname(), pid: process.pid }), { mode: 0o600 })
      return
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
      if (tries > 0 || (await isHeld(staging, owner))) {
        throw new ConflictError(
          `Cannot export: another export is writing to ${printable(dirname(staging))}.`,
          {
            details: { path: staging },
            hint: 'Wait until it has ended. If none is running, remove that folder.',
            cause: error,
          },
        )
      }
      await rm(staging, { recursive: true, force: true })
    }
  }
}

async function isHeld(staging: string, owner: string): Promise<boolean> {
  const text = await readIfThere(owner)
  let holder: { readonly host?: unknown; readonly pid?: unknown } = {}
  try {
    holder = JSON.parse(text ?? '{}') as typeof holder
  } catch (error) {
    // Half written by a writer that died, or is writing it now: its age tells.
    if (!(error instanceof SyntaxError)) throw error
  }
  if (holder.host === hostname() && typeof holder.pid === 'number') return isAlive(holder.pid)
  const age = Date.now() - (await lstat(staging)).mtimeMs
  return age < (text === undefined ? 10_000 : FOREIGN_HOLDER_MS)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemErrorCode(error) === 'EPERM'
  }
}

async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE })
  await writeFile(path, text, { mode: FILE_MODE, flush: true })
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
