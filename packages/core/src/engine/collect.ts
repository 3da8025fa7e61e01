/** Verified complete: find the outputs, upload, read back, compare. */

import { Readable } from 'node:stream'
import pLimit from 'p-limit'
import picomatch from 'picomatch'
import type { ArchiveRef, FileEntry } from '../domain/archive.js'
import type { FailureCause } from '../domain/cause.js'
import { filePathProblem } from '../domain/labels.js'
import type { Processor } from '../domain/processor.js'
import { sameContent, type OutputManifest } from '../domain/task.js'
import { IntegrityError, NotFoundError } from '../errors.js'
import type { WorkspacePaths } from '../job/workspace.js'
import type { DataStore, FileSource } from '../ports/data-store.js'
import type { FileTransfer, ListedFile } from '../ports/transport.js'

/** Files of one resource to be, with their checksums. */
export interface CollectedResource {
  readonly resource: string
  /** Folder on the side where jobs run; entries are relative to it. */
  readonly folder: string
  readonly files: readonly FileEntry[]
}

/** What the job left, or why that is not enough. */
export type Collected =
  | { readonly resources: readonly CollectedResource[]; readonly cause?: undefined }
  | { readonly cause: FailureCause; readonly resources?: undefined }

/** Label of the resource with what the job printed and how it was run. */
export const LOG_RESOURCE = 'LOG'

export async function findOutputs(
  transfer: FileTransfer,
  processor: Processor,
  paths: WorkspacePaths,
  nowMs: number,
  signal?: AbortSignal,
): Promise<Collected> {
  const options = signal === undefined ? {} : { signal }
  const listed = await transfer.list(paths.outputs, options)
  const files = listed.filter((entry) => entry.kind === 'file')
  const fail = (kind: 'no-output' | 'missing-output', summary: string): Collected => ({
    cause: {
      kind,
      summary,
      evidence: [{ source: 'engine', atMs: nowMs, text: `outputs/ holds ${describe(listed)}` }],
    },
  })
  if (files.length === 0) return fail('no-output', 'The program ended well and wrote nothing.')
  const bad = files.find((file) => filePathProblem(file.path) !== undefined)
  if (bad !== undefined) {
    return fail(
      'missing-output',
      `An output cannot be stored: its name is bad, ${filePathProblem(bad.path) ?? ''}.`,
    )
  }
  const missing: string[] = []
  const resources: CollectedResource[] = []
  for (const output of processor.outputs) {
    const matches = matchOutput(output.paths, files)
    if (matches.length > 0)
      resources.push({ resource: output.resource, folder: paths.outputs, files: matches })
    else if (output.required) missing.push(`${output.resource} (${output.paths.join(' or ')})`)
  }
  if (missing.length > 0) {
    return fail('missing-output', `The program ended well without its required output ${missing.join(', ')}.`)
  }
  if (resources.length === 0) {
    return fail('no-output', 'The program ended well, and nothing it wrote is a declared output.')
  }
  const sums = await transfer.checksums(
    paths.outputs,
    [...new Set(resources.flatMap((resource) => resource.files.map((file) => file.path)))],
    options,
  )
  return {
    resources: resources.map((resource) => ({
      ...resource,
      files: resource.files.map((file) => withChecksum(file, sums)),
    })),
  }
}

/** A trailing `/` means the folder and all below it. */
function matchOutput(patterns: readonly string[], files: readonly ListedFile[]): FileEntry[] {
  const globs = patterns.map((pattern) => (pattern.endsWith('/') ? `${pattern}**` : pattern))
  const test = picomatch(globs, { dot: true })
  return files.filter((file) => test(file.path)).map(({ path, bytes }) => ({ path, bytes }))
}

function withChecksum(file: FileEntry, sums: ReadonlyMap<string, string>): FileEntry {
  const hex = sums.get(file.path)
  return hex === undefined ? file : { ...file, checksum: { algorithm: 'sha256', hex } }
}

function describe(listed: readonly ListedFile[]): string {
  if (listed.length === 0) return 'nothing'
  const names = listed
    .slice(0, 10)
    .map((entry) =>
      entry.kind === 'file' ? `${entry.path} (${entry.bytes} bytes)` : `${entry.path} (${entry.kind})`,
    )
  return `${names.join(', ')}${listed.length > 10 ? ` and ${listed.length - 10} more` : ''}`
}

/** The log resource: what was asked, what was run, what it printed, how it ended. */
export async function collectLogs(
  transfer: FileTransfer,
  paths: WorkspacePaths,
  signal?: AbortSignal,
): Promise<CollectedResource> {
  const options = signal === undefined ? {} : { signal }
  const wanted = [
    'log/stdout.txt',
    'log/stderr.txt',
    'task.json',
    'job.sh',
    'started.json',
    'exit.json',
    'provenance.json',
  ]
  const listed = await transfer.list(paths.root, options)
  const files = listed.filter((entry) => entry.kind === 'file' && wanted.includes(entry.path))
  const sums = await transfer.checksums(
    paths.root,
    files.map((file) => file.path),
    options,
  )
  return {
    resource: LOG_RESOURCE,
    folder: paths.root,
    files: files.map(({ path, bytes }) => withChecksum({ path, bytes }, sums)),
  }
}

/** Resources of one result that are sent at once. */
const SENT_AT_ONCE = 4

/**
 * Send resources and see that the archive holds them. All is sent before anything is looked at: an archive that can show
 * several resources of a result in one answer is asked once.
 *
 * @returns the archive's own listing of each
 * @throws IntegrityError what the archive lists is not what was sent
 */
export async function uploadVerified(
  store: DataStore,
  transfer: FileTransfer,
  assessor: ArchiveRef,
  resources: readonly CollectedResource[],
  signal?: AbortSignal,
): Promise<OutputManifest[]> {
  const options = signal === undefined ? {} : { signal }
  const limit = pLimit(SENT_AT_ONCE)
  const sent = await Promise.allSettled(
    resources.map((collected) =>
      limit(async () => {
        signal?.throwIfAborted()
        const { folder, files } = collected
        const gathering = files.length > 1 ? transfer.gather?.(folder, files) : undefined
        const source: FileSource = {
          files,
          open: (path, callOptions) =>
            gathering?.open(path, callOptions) ?? transfer.open(`${folder}/${path}`, callOptions),
          localPath: (path) => transfer.localPath?.(`${folder}/${path}`),
        }
        try {
          await store.upload({ node: assessor, resource: collected.resource }, source, options)
        } finally {
          await gathering?.close()
        }
      }),
    ),
  )
  throwFirst(sent)
  // Asked again on purpose: what an upload answers is a claim, what a listing shows is a fact.
  const looked = await Promise.allSettled(
    resources.map(async ({ resource, files }): Promise<OutputManifest> => {
      const listed = await store.listFiles({ node: assessor, resource }, options)
      const differences = compareListings(files, listed)
      if (differences.length === 0) return { resource, files: listed }
      throw new IntegrityError(
        `The archive does not hold ${resource} of ${assessor.assessor ?? ''} as it was sent: ${differences.slice(0, 5).join('; ')}.`,
        {
          details: { resource, differences },
          hint: "It is sent again; if this stays, look at the archive's disk and logs.",
        },
      )
    }),
  )
  return throwFirst(looked)
}

/** Only after all have come to a stop: nothing is left running behind an error. */
function throwFirst<T>(results: readonly PromiseSettledResult<T>[]): T[] {
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

/** Differences in words; empty when the same. `recorded` is what should be there. */
export function compareListings(recorded: readonly FileEntry[], listed: readonly FileEntry[]): string[] {
  const there = new Map(listed.map((file) => [file.path, file]))
  const differences: string[] = []
  for (const file of recorded) {
    const now = there.get(file.path)
    there.delete(file.path)
    if (now === undefined) differences.push(`${file.path}: missing`)
    else if (now.bytes !== file.bytes)
      differences.push(`${file.path}: ${now.bytes} bytes, should be ${file.bytes}`)
    else if (!sameContent(file, now)) differences.push(`${file.path}: checksum differs`)
  }
  for (const path of there.keys()) differences.push(`${path}: not recorded`)
  return differences
}

/** Make resources of an earlier attempt, which this one did not write, empty. */
export async function clearStale(
  store: DataStore,
  assessor: ArchiveRef,
  stale: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const options = signal === undefined ? {} : { signal }
  const empty: FileSource = {
    files: [],
    open: () => Promise.resolve(Readable.from([])),
  }
  for (const resource of stale) {
    try {
      await store.upload({ node: assessor, resource }, empty, options)
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
    }
  }
}
