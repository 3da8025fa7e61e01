/** Small tools on files of this machine. */

import { createHash, hash, type Hash } from 'node:crypto'
import { closeSync, constants, fsyncSync, mkdirSync, openSync, statSync, type BigIntStats } from 'node:fs'
import * as fs from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemErrorCode, type ChecksumAlgorithm } from '@orbweaver/core'

export const CHUNK_BYTES = 1024 ** 2
/** Up to here a file is read, hashed or copied in one go. */
export const SMALL_BYTES = 8 * 1024 ** 2

/**
 * `statfs` types whose locks and shared memory do not span the machines that mount them. Source: statfs(2) and
 * linux/magic.h of Linux 6.1; GPFS, Lustre, BeeGFS and PanFS from their clients' sources.
 */
const SHARED_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x0bd00bd0, 'Lustre'],
  [0x47504653, 'GPFS'],
  [0x00c36400, 'CephFS'],
  [0x19830326, 'BeeGFS'],
  [0xaad7aaea, 'PanFS'],
  [0x20030528, 'OrangeFS'],
  [0x5346414f, 'AFS'],
  [0x6b414653, 'AFS'],
  [0x73757245, 'Coda'],
  [0x01161970, 'GFS2'],
  [0x7461636f, 'OCFS2'],
  [0x01021997, '9P'],
  [0x65735546, 'FUSE'],
  [0x786f4256, 'VirtualBox shared folder'],
])

const LOCAL_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'XFS'],
  [0x9123683e, 'Btrfs'],
  [0x2fc12fc1, 'ZFS'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlayfs'],
  [0xf2f52010, 'F2FS'],
])

export interface FileSystemKind {
  readonly name: string
  /** Reached over a network, or by several machines at once. */
  readonly shared: boolean
  readonly freeBytes: number
}

export async function fileSystemOf(path: string): Promise<FileSystemKind> {
  const { type, bavail, bsize } = await fs.statfs(path)
  // 32-bit values arrive with or without their sign, depending on the platform's type.
  const kind = type >>> 0
  const shared = SHARED_FILE_SYSTEMS.get(kind)
  return {
    name: shared ?? LOCAL_FILE_SYSTEMS.get(kind) ?? `type 0x${kind.toString(16)}`,
    shared: shared !== undefined,
    freeBytes: bavail * bsize,
  }
}

/** Undefined: it is not there. */
export async function statIfThere(path: string): Promise<BigIntStats | undefined> {
  try {
    return await fs.stat(path, { bigint: true })
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined
    throw error
  }
}

/** Same stamp, same content, as far as the file system can tell without reading. */
export function stampOf(stats: BigIntStats): string {
  return `${stats.size}:${stats.mtimeNs}:${stats.dev}:${stats.ino}`
}

/** Put a folder's entries on the disk: without this a rename may be lost with the power. */
export function syncFolder(path: string): void {
  const file = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/**
 * Make a folder, mode 0700, with its parents. Adds to `touched` every folder that got a new entry.
 *
 * Not by `mkdir`'s own `recursive`: on a read-only file system Node 20 says ENOENT then, which is another error.
 */
export function makeFolder(path: string, touched = new Set<string>()): void {
  const parent = dirname(path)
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' && parent !== path) {
      makeFolder(parent, touched)
      makeFolder(path, touched)
      return
    }
    if (code === 'EEXIST' && statSync(path).isDirectory()) return
    throw error
  }
  touched.add(parent)
}

export async function syncFile(path: string): Promise<void> {
  const file = await fs.open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Checksum of a file in lower-case hex, and its size as read. */
export async function hashFile(
  path: string,
  algorithm: ChecksumAlgorithm,
  signal?: AbortSignal,
  onChunk?: (chunk: Buffer) => void,
): Promise<{ readonly hex: string; readonly bytes: number }> {
  const file = await fs.open(path, 'r')
  try {
    const { size } = await file.stat()
    if (size <= SMALL_BYTES) {
      signal?.throwIfAborted()
      const content = await file.readFile()
      onChunk?.(content)
      return { hex: hash(algorithm, content, 'hex'), bytes: content.length }
    }
    const digest: Hash = createHash(algorithm)
    let bytes = 0
    for await (const chunk of file.createReadStream({ highWaterMark: CHUNK_BYTES, autoClose: false })) {
      signal?.throwIfAborted()
      digest.update(chunk as Buffer)
      onChunk?.(chunk as Buffer)
      bytes += (chunk as Buffer).length
    }
    return { hex: digest.digest('hex'), bytes }
  } finally {
    await file.close()
  }
}

/** Remove a folder and all below it; links are removed, never followed. Missing is no error. */
export async function removeTree(path: string): Promise<void> {
  await fs.rm(path, { recursive: true, force: true, maxRetries: 3 })
}
