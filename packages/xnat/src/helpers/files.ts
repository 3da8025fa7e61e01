/** Files of one resource, both ways and verified, for scripts that need no data store. */

import {
  ConflictError,
  NotFoundError,
  createFolderSink,
  printable,
  type CallOptions,
  type FileEntry,
  type FileSource,
} from '@orbweaver/core'
import type { ResourceAddress } from '../client/address.js'
import type { XnatClient } from '../client/client.js'
import { downloadFiles, type DownloadContext } from '../store/download.js'
import { toEntry, uploadFiles } from '../store/upload.js'
import { describeAddress } from './sync-tree.js'

/** So far; only grows. What is there already and is not sent again does not count. */
export interface TransferProgress {
  readonly bytes: number
  readonly totalBytes: number
}

export interface TransferOptions extends CallOptions {
  readonly onProgress?: (progress: TransferProgress) => void
}

/**
 * Send files into a resource and see by listing that they are there. Other files of the resource stay.
 *
 * @param options - `overwrite`: also replace files of the same name that differ. Default: false
 * @returns the files of the source as XNAT lists them
 * @throws ConflictError a file of the same name is there; nothing was sent
 * @throws IntegrityError XNAT does not hold what was sent
 */
export async function sendFiles(
  client: XnatClient,
  address: ResourceAddress,
  source: FileSource,
  options: TransferOptions & { readonly overwrite?: boolean } = {},
): Promise<readonly FileEntry[]> {
  const { overwrite = false, signal, onProgress } = options
  const totalBytes = source.files.reduce((sum, { bytes }) => sum + bytes, 0)
  const call: CallOptions = signal === undefined ? {} : { signal }
  // XNAT lists nothing for a place that is not there.
  await client.item(address.node, call)
  const mine = new Set(source.files.map(({ path }) => path))
  if (!overwrite) {
    const there = (await client.files(address, call)).find(({ path }) => mine.has(path))
    if (there !== undefined) {
      throw new ConflictError(`${printable(there.path)} is there already.`, {
        hint: 'Nothing was sent. Ask for it to be overwritten, or take it out.',
      })
    }
  }
  const listed = await uploadFiles(
    {
      client,
      shown: shownAs(address),
      isNew: false,
      keepOthers: true,
      list: (inner) => client.files(address, inner),
      nodeExists: () => Promise.resolve(),
    },
    address,
    source,
    {
      ...call,
      ...(onProgress !== undefined && { onProgress: (bytes) => onProgress({ bytes, totalBytes }) }),
    },
  )
  return listed.filter(({ path }) => mine.has(path))
}

/**
 * Fetch files of a resource into a folder; each appears whole, and with the size and checksum that XNAT lists.
 *
 * @param wanted - which, by path. Default: all
 * @returns what was fetched
 * @throws NotFoundError the resource is not there, or none of its files is wanted
 */
export async function fetchFiles(
  client: XnatClient,
  address: ResourceAddress,
  folder: string,
  options: TransferOptions & { readonly wanted?: (path: string) => boolean } = {},
): Promise<readonly FileEntry[]> {
  const { wanted = () => true, signal, onProgress } = options
  const call: CallOptions = signal === undefined ? {} : { signal }
  await client.item(address.node, call)
  const all = (await client.files(address, call)).map(toEntry)
  const files = all.filter(({ path }) => wanted(path))
  if (files.length === 0) {
    throw new NotFoundError(`There is no such file in ${printable(shownAs(address))}.`)
  }
  const totalBytes = all.reduce((sum, { bytes }) => sum + bytes, 0)
  const wantedBytes = files.reduce((sum, { bytes }) => sum + bytes, 0)
  const context: DownloadContext = {
    client,
    shown: shownAs(address),
    totalBytes,
    ...(onProgress !== undefined && {
      onProgress: (bytes) => onProgress({ bytes, totalBytes: wantedBytes }),
    }),
  }
  await downloadFiles(context, address, files, createFolderSink(folder), call)
  return files
}

function shownAs({ node, resource }: ResourceAddress): string {
  const place = 'experiment' in node ? node.experiment : describeAddress(node)
  return `${place}:${resource}`
}
