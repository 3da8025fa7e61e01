/** Is a file a whole NIfTI image? Answered from its header and its length, without reading the voxels. */

import { createReadStream } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { constants, createGunzip, gunzipSync } from 'node:zlib'
import type { CallOptions } from '@orbweaver/core'
import { systemErrorCode } from '@orbweaver/core'

// Offsets of the NIfTI-1 and NIfTI-2 headers: nifti1.h, nifti2.h (nifti.nimh.nih.gov).
const HEADER_1 = 348
const HEADER_2 = 540
const HEAD_BYTES = 16 * 1024

/**
 * Why an image file cannot be used, or undefined when it can: empty, not NIfTI, impossible dimensions, or cut short.
 *
 * A compressed file is checked by the length its trailer states; only when that does not fit is it unpacked once to see.
 *
 * @param path - ends in `.nii` or `.nii.gz`
 */
export async function niftiProblem(path: string, options: CallOptions = {}): Promise<string | undefined> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    if (size === 0) return 'it is empty (0 bytes)'
    const head = await readAt(file, 0, Math.min(size, HEAD_BYTES))
    const compressed = head[0] === 0x1f && head[1] === 0x8b
    if (path.endsWith('.gz') && !compressed) return 'its name ends in .gz but it is not a gzip file'
    if (!compressed) {
      const expected = expectedBytes(head)
      if (typeof expected === 'string') return expected
      return size < expected ? cutShort(size, expected) : undefined
    }
    let start: Buffer
    try {
      // `finishFlush`: the head of a stream is enough, its end is not looked for.
      start = gunzipSync(head, {
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: 64 * 1024 * 1024,
      })
    } catch (error) {
      return `its gzip data is damaged (${systemErrorCode(error) ?? String(error)})`
    }
    const expected = expectedBytes(start)
    if (typeof expected === 'string') return expected
    const trailer = size >= 18 ? await readAt(file, size - 4, 4) : Buffer.alloc(4)
    // RFC 1952: the last four bytes of a member are the length of the unpacked data modulo 2^32.
    if (trailer.readUInt32LE(0) === expected % 2 ** 32) return undefined
  } finally {
    await file.close()
  }
  return await unpackedProblem(path, options)
}

/** Several gzip members, or data after the image, also make the trailer differ: only unpacking tells. */
async function unpackedProblem(path: string, options: CallOptions): Promise<string | undefined> {
  let total = 0
  let expected: number | string | undefined
  let head: Buffer = Buffer.alloc(0)
  try {
    await pipeline(
      createReadStream(path),
      createGunzip(),
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          total += chunk.length
          if (head.length < HEADER_2) head = Buffer.concat([head, chunk.subarray(0, HEADER_2)])
        }
      },
      options,
    )
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined || !code.startsWith('Z_')) throw error
    expected = expectedBytes(head)
    return typeof expected === 'number' && code === 'Z_BUF_ERROR'
      ? `its gzip data ends early: ${total} bytes unpacked, its header says ${expected}`
      : `its gzip data is damaged (${code})`
  }
  expected = expectedBytes(head)
  if (typeof expected === 'string') return expected
  return total < expected ? cutShort(total, expected) : undefined
}

function cutShort(found: number, expected: number): string {
  return `it is cut short: ${found} bytes, its header says ${expected}`
}

/** Bytes that a whole single-file image has, or why the header is none. */
function expectedBytes(head: Buffer): number | string {
  if (head.length < HEADER_1) return `it is no NIfTI image: only ${head.length} bytes`
  const little = [HEADER_1, HEADER_2].includes(head.readInt32LE(0))
  if (!little && ![HEADER_1, HEADER_2].includes(head.readInt32BE(0))) {
    return 'it is no NIfTI image: the header does not start as one'
  }
  const int16 = (at: number): number => (little ? head.readInt16LE(at) : head.readInt16BE(at))
  const int64 = (at: number): number => Number(little ? head.readBigInt64LE(at) : head.readBigInt64BE(at))
  const second = (little ? head.readInt32LE(0) : head.readInt32BE(0)) === HEADER_2
  if (second && head.length < HEADER_2) return `it is no NIfTI image: only ${head.length} bytes`
  const magic = head.toString('latin1', second ? 4 : 344, second ? 7 : 347)
  if (magic !== (second ? 'n+2' : 'n+1')) {
    return magic === 'ni1' || magic === 'ni2'
      ? 'it is half of a two-file NIfTI (.hdr and .img); convert it to one .nii file'
      : 'it is no NIfTI image: its magic word is missing'
  }
  const dimensions = second
    ? Array.from({ length: 8 }, (_, i) => int64(16 + 8 * i))
    : Array.from({ length: 8 }, (_, i) => int16(40 + 2 * i))
  const rank = dimensions[0] ?? 0
  if (rank < 1 || rank > 7) return `its header says ${rank} dimensions`
  const bits = int16(second ? 14 : 72)
  const offset = second ? int64(168) : little ? head.readFloatLE(108) : head.readFloatBE(108)
  const voxels = dimensions.slice(1, rank + 1).reduce((product, size) => product * size, 1)
  const bytes = offset + Math.ceil((voxels * bits) / 8)
  if (
    dimensions.slice(1, rank + 1).some((size) => size < 1) ||
    bits < 1 ||
    !Number.isSafeInteger(bytes) ||
    offset < HEADER_1
  ) {
    return 'its header has impossible dimensions'
  }
  return bytes
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await file.read(buffer, 0, length, position)
  return buffer.subarray(0, bytesRead)
}
