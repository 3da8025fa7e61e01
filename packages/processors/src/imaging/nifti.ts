/**
 * NIfTI-1 and NIfTI-2 single files. Source of offsets, codes and units: nifti1.h and nifti2.h of the NIfTI reference
 * library. The order of transforms is the standard's: sform, else qform, else voxel sizes alone.
 */

import { readFile } from 'node:fs/promises'
import { gunzipSync, gzipSync } from 'node:zlib'
import { badData, noInput } from '../job/failure.js'

export type Affine = readonly [readonly number[], readonly number[], readonly number[]]

export interface NiftiImage {
  /** For messages. */
  readonly file: string
  readonly format: 'NIfTI-1' | 'NIfTI-2'
  /** Voxels along i, j, k. */
  readonly shape: readonly [number, number, number]
  /** Length of the fourth axis; 1 for a single volume. */
  readonly volumes: number
  readonly voxelMm: readonly [number, number, number]
  /** `pixdim[4]` in seconds; undefined when it is 0 or its unit is not a time. */
  readonly volumeSeconds: number | undefined
  /** Voxel indices to millimetres, rows x, y, z; RAS+. */
  readonly affine: Affine
  readonly affineFrom: 'sform' | 'qform' | 'voxel size'
  /** As `int16`. */
  readonly datatype: string
  readonly slope: number
  readonly intercept: number
  /** Voxels of one volume. */
  readonly voxels: number
  /**
   * One volume in real units, i running fastest. Voxels that are not finite are given as 0.
   *
   * @param into - reused when given
   */
  volume(index: number, into?: Float64Array): Float64Array
}

interface Datatype {
  readonly name: string
  readonly bytes: 1 | 2 | 4 | 8
  /** Little-endian bytes to numbers, without copying. */
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => ArrayLike<number | bigint>
}

const DATATYPES: Readonly<Record<number, Datatype>> = {
  2: { name: 'uint8', bytes: 1, view: (b, o, n) => new Uint8Array(b, o, n) },
  256: { name: 'int8', bytes: 1, view: (b, o, n) => new Int8Array(b, o, n) },
  4: { name: 'int16', bytes: 2, view: (b, o, n) => new Int16Array(b, o, n) },
  512: { name: 'uint16', bytes: 2, view: (b, o, n) => new Uint16Array(b, o, n) },
  8: { name: 'int32', bytes: 4, view: (b, o, n) => new Int32Array(b, o, n) },
  768: { name: 'uint32', bytes: 4, view: (b, o, n) => new Uint32Array(b, o, n) },
  16: { name: 'float32', bytes: 4, view: (b, o, n) => new Float32Array(b, o, n) },
  64: { name: 'float64', bytes: 8, view: (b, o, n) => new Float64Array(b, o, n) },
  1024: { name: 'int64', bytes: 8, view: (b, o, n) => new BigInt64Array(b, o, n) },
  1280: { name: 'uint64', bytes: 8, view: (b, o, n) => new BigUint64Array(b, o, n) },
}
const OTHER_DATATYPES: Readonly<Record<number, string>> = {
  0: 'unknown',
  1: 'binary',
  32: 'complex64',
  128: 'RGB24',
  1536: 'float128',
  1792: 'complex128',
  2048: 'complex256',
  2304: 'RGBA32',
}

const SECONDS: Readonly<Record<number, number>> = { 8: 1, 16: 1e-3, 24: 1e-6 }
const MILLIMETRES: Readonly<Record<number, number>> = { 1: 1000, 2: 1, 3: 1e-3 }

/** @throws JobFailure 66 when the file is not there, 65 when it is no usable image */
export async function readNifti(file: string, name = file): Promise<NiftiImage> {
  let bytes: Buffer
  try {
    bytes = await readFile(file)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw noInput(`${name}: there is no such file.`)
    if (code === 'ERR_FS_FILE_TOO_LARGE') throw badData(name, TOO_LARGE, { cause: error })
    throw error
  }
  return parseNifti(bytes, name)
}

/** @param file - the name to use in messages */
export function parseNifti(packed: Uint8Array, file: string): NiftiImage {
  if (packed.length === 0) throw badData(file, 'the file is empty.')
  const bytes = unpack(packed, file)
  const { header, littleEndian, version } = openHeader(bytes, file)
  const layout = version === 1 ? nifti1(header, littleEndian) : nifti2(header, littleEndian)

  const rank = layout.dim[0] ?? 0
  const sizes = layout.dim.slice(1, 1 + rank)
  if (rank < 1 || rank > 7 || sizes.some((size) => size < 1)) {
    throw badData(file, `its header is damaged: dimensions [${layout.dim.join(', ')}].`)
  }
  const datatype = DATATYPES[layout.datatype]
  if (datatype === undefined) {
    const word = OTHER_DATATYPES[layout.datatype] ?? `code ${layout.datatype}`
    throw badData(file, `voxels of type ${word} are not supported; real numbers are needed.`)
  }
  if (sizes.slice(4).some((size) => size > 1)) {
    throw badData(file, `it has ${rank} dimensions (${sizes.join(' x ')}); at most 4 are supported.`)
  }
  const shape = [sizes[0] ?? 1, sizes[1] ?? 1, sizes[2] ?? 1] as const
  const volumes = sizes[3] ?? 1
  const voxels = shape[0] * shape[1] * shape[2]
  const expected = layout.offset + voxels * volumes * datatype.bytes
  if (!Number.isFinite(layout.offset) || layout.offset < header.byteLength) {
    throw badData(file, `its header is damaged: the voxels would begin at byte ${layout.offset}.`)
  }
  if (bytes.length < expected) {
    throw badData(
      file,
      `it is cut short: ${sizes.join(' x ')} voxels of ${datatype.name} need ${expected} bytes, and there are ${bytes.length}.`,
    )
  }

  const toMm = MILLIMETRES[layout.units & 7] ?? 1
  const pixdim = layout.pixdim.map((size) => Math.abs(size))
  const voxelMm = [1, 2, 3].map((axis) => (pixdim[axis] ?? 0) * toMm || 1) as [number, number, number]
  // A unit of 0 says nothing: seconds are usual, and a "repetition time" of hours or none is no repetition time.
  const timeUnit = SECONDS[layout.units & 56] ?? ((layout.units & 56) === 0 ? 1 : 0)
  const seconds = (pixdim[4] ?? 0) * timeUnit
  // As the standard says: a slope of 0 (or one that is no number) means that there is no scaling.
  const scaled = Number.isFinite(layout.slope) && layout.slope !== 0
  const slope = scaled ? layout.slope : 1
  const intercept = scaled && Number.isFinite(layout.intercept) ? layout.intercept : 0

  const all = typedView(bytes, layout.offset, voxels * volumes, datatype, littleEndian)
  return {
    file,
    format: version === 1 ? 'NIfTI-1' : 'NIfTI-2',
    shape,
    volumes,
    voxelMm,
    volumeSeconds: volumes > 1 && seconds > 0 && seconds < 3600 ? seconds : undefined,
    ...affineOf(layout, voxelMm, toMm, file),
    datatype: datatype.name,
    slope,
    intercept,
    voxels,
    volume(index, into = new Float64Array(voxels)) {
      const start = index * voxels
      for (let v = 0; v < voxels; v++) {
        const value = Number(all[start + v]) * slope + intercept
        into[v] = Number.isFinite(value) ? value : 0
      }
      return into
    },
  }
}

const TOO_LARGE =
  'it is too large: an image is read in one piece, of at most 2 GiB packed and 4 GiB unpacked.'

function unpack(packed: Uint8Array, file: string): Uint8Array {
  if (packed[0] !== 0x1f || packed[1] !== 0x8b) return packed
  try {
    return gunzipSync(packed)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ERR_BUFFER_TOO_LARGE') throw badData(file, TOO_LARGE, { cause: error })
    const reason = code === 'Z_BUF_ERROR' ? 'it is cut short' : 'it is damaged'
    throw badData(file, `${reason}: it cannot be unpacked (${(error as Error).message}).`, { cause: error })
  }
}

function openHeader(
  bytes: Uint8Array,
  file: string,
): { readonly header: DataView; readonly littleEndian: boolean; readonly version: 1 | 2 } {
  if (bytes.length < 348) {
    throw badData(file, `this is no NIfTI image: ${bytes.length} bytes are fewer than its header has.`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (const littleEndian of [true, false]) {
    for (const [version, size] of [
      [1, 348],
      [2, 540],
    ] as const) {
      if (view.getInt32(0, littleEndian) !== size || bytes.length < size) continue
      const magic = Buffer.from(bytes.subarray(version === 1 ? 344 : 4, version === 1 ? 347 : 7)).toString(
        'latin1',
      )
      if (magic === `n+${version}`) {
        return { header: new DataView(bytes.buffer, bytes.byteOffset, size), littleEndian, version }
      }
      if (magic === `ni${version}`) {
        throw badData(
          file,
          'this is the header of a .hdr/.img pair; a single .nii or .nii.gz file is needed.',
        )
      }
      throw badData(file, 'this is no NIfTI image (an Analyze header, or a damaged one).')
    }
  }
  throw badData(file, 'this is no NIfTI image: its header does not begin as one.')
}

/** The header's fields that matter here, whatever the version. */
interface Layout {
  readonly dim: readonly number[]
  readonly pixdim: readonly number[]
  readonly datatype: number
  readonly offset: number
  readonly slope: number
  readonly intercept: number
  readonly units: number
  readonly qformCode: number
  readonly sformCode: number
  /** b, c, d, then the offsets x, y, z. */
  readonly quaternion: readonly number[]
  /** Twelve numbers. */
  readonly srow: readonly number[]
}

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

function nifti1(view: DataView, le: boolean): Layout {
  const float = (at: number): number => view.getFloat32(at, le)
  return {
    dim: range(8).map((i) => view.getInt16(40 + 2 * i, le)),
    pixdim: range(8).map((i) => float(76 + 4 * i)),
    datatype: view.getInt16(70, le),
    offset: float(108),
    slope: float(112),
    intercept: float(116),
    units: view.getUint8(123),
    qformCode: view.getInt16(252, le),
    sformCode: view.getInt16(254, le),
    quaternion: range(6).map((i) => float(256 + 4 * i)),
    srow: range(12).map((i) => float(280 + 4 * i)),
  }
}

function nifti2(view: DataView, le: boolean): Layout {
  const double = (at: number): number => view.getFloat64(at, le)
  return {
    dim: range(8).map((i) => Number(view.getBigInt64(16 + 8 * i, le))),
    pixdim: range(8).map((i) => double(104 + 8 * i)),
    datatype: view.getInt16(12, le),
    offset: Number(view.getBigInt64(168, le)),
    slope: double(176),
    intercept: double(184),
    units: view.getInt32(500, le),
    qformCode: view.getInt32(344, le),
    sformCode: view.getInt32(348, le),
    quaternion: range(6).map((i) => double(352 + 8 * i)),
    srow: range(12).map((i) => double(400 + 8 * i)),
  }
}

function affineOf(
  layout: Layout,
  voxelMm: readonly [number, number, number],
  toMm: number,
  file: string,
): Pick<NiftiImage, 'affine' | 'affineFrom'> {
  if (layout.sformCode > 0) {
    const rows = [0, 4, 8].map((at) => layout.srow.slice(at, at + 4).map((value) => value * toMm))
    if (rows.flat().every(Number.isFinite)) return { affine: rows as unknown as Affine, affineFrom: 'sform' }
    throw badData(file, 'its header is damaged: the sform holds values that are no numbers.')
  }
  const [di, dj, dk] = voxelMm
  if (layout.qformCode > 0) {
    const [b = 0, c = 0, d = 0, x = 0, y = 0, z = 0] = layout.quaternion
    const a = Math.sqrt(Math.max(0, 1 - (b * b + c * c + d * d)))
    const k = (layout.pixdim[0] ?? 1) < 0 ? -dk : dk
    const affine: Affine = [
      [(a * a + b * b - c * c - d * d) * di, 2 * (b * c - a * d) * dj, 2 * (b * d + a * c) * k, x * toMm],
      [2 * (b * c + a * d) * di, (a * a + c * c - b * b - d * d) * dj, 2 * (c * d - a * b) * k, y * toMm],
      [2 * (b * d - a * c) * di, 2 * (c * d + a * b) * dj, (a * a + d * d - b * b - c * c) * k, z * toMm],
    ]
    return { affine, affineFrom: 'qform' }
  }
  return {
    affine: [
      [di, 0, 0, 0],
      [0, dj, 0, 0],
      [0, 0, dk, 0],
    ],
    affineFrom: 'voxel size',
  }
}

function typedView(
  bytes: Uint8Array,
  offset: number,
  count: number,
  datatype: Datatype,
  littleEndian: boolean,
): ArrayLike<number | bigint> {
  const start = bytes.byteOffset + offset
  const aligned = start % datatype.bytes === 0
  if (aligned && (littleEndian || datatype.bytes === 1)) return datatype.view(bytes.buffer, start, count)
  const copy = Buffer.from(bytes.subarray(offset, offset + count * datatype.bytes))
  const own = new Uint8Array(copy.length)
  own.set(copy)
  if (!littleEndian) {
    const swapped = Buffer.from(own.buffer)
    if (datatype.bytes === 2) swapped.swap16()
    else if (datatype.bytes === 4) swapped.swap32()
    else if (datatype.bytes === 8) swapped.swap64()
  }
  return datatype.view(own.buffer, 0, count)
}

/** Where a new image lies: that of the image it was computed from. */
export type Grid = Pick<NiftiImage, 'shape' | 'voxelMm' | 'affine'>

/** A gzipped NIfTI-1 image of one volume, float32 or uint8, with the grid as its sform. Same input, same bytes. */
export function encodeNifti(
  grid: Grid,
  data: Float64Array | Float32Array | Uint8Array,
  description: string,
): Buffer {
  const mask = data instanceof Uint8Array
  const voxelBytes = mask ? 1 : 4
  const bytes = Buffer.alloc(352 + data.length * voxelBytes)
  bytes.writeInt32LE(348, 0)
  ;[3, ...grid.shape, 1, 1, 1, 1].forEach((size, i) => bytes.writeInt16LE(size, 40 + 2 * i))
  bytes.writeInt16LE(mask ? 2 : 16, 70)
  bytes.writeInt16LE(8 * voxelBytes, 72)
  ;[1, ...grid.voxelMm, 0, 0, 0, 0].forEach((size, i) => bytes.writeFloatLE(size, 76 + 4 * i))
  bytes.writeFloatLE(352, 108)
  bytes.writeFloatLE(1, 112)
  bytes.writeUInt8(2, 123) // millimetres
  bytes.write(description.slice(0, 79), 148, 'latin1')
  bytes.writeInt16LE(1, 254) // sform: scanner coordinates
  grid.affine.flat().forEach((value, i) => bytes.writeFloatLE(value, 280 + 4 * i))
  bytes.write('n+1\0', 344, 'latin1')
  if (mask) bytes.set(data, 352)
  else for (let v = 0; v < data.length; v++) bytes.writeFloatLE(data[v] ?? 0, 352 + 4 * v)
  return gzipSync(bytes, { level: 6 })
}
