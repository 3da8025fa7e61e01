import { gzipSync } from 'node:zlib'

export interface NiftiSpec {
  readonly shape: readonly number[]
  readonly code?: number
  readonly voxelMm?: readonly number[]
  readonly affine?: readonly (readonly number[])[]
  readonly slope?: number
  readonly intercept?: number
  readonly bigEndian?: boolean
  readonly version?: 1 | 2
  readonly units?: number
  readonly seconds?: number
  readonly qform?: {
    readonly quaternion: readonly number[]
    readonly offset: readonly number[]
    readonly qfac: number
  }
  readonly gzip?: boolean
  /** Voxels as stored, before slope and intercept. */
  readonly values: ArrayLike<number>
}

const BYTES: Readonly<Record<number, number>> = {
  2: 1,
  256: 1,
  4: 2,
  512: 2,
  8: 4,
  768: 4,
  16: 4,
  64: 8,
  1024: 8,
  1280: 8,
}

/** Writes a NIfTI image by the letter of the standard, to read it back in tests. */
export function makeNifti(spec: NiftiSpec): Buffer {
  const { version = 1, bigEndian = false, code = 16 } = spec
  const little = !bigEndian
  const offset = version === 1 ? 352 : 544
  const bytes = Buffer.alloc(offset + spec.values.length * (BYTES[code] ?? 1))
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const dim = [spec.shape.length, ...spec.shape, ...Array<number>(7 - spec.shape.length).fill(1)]
  const pixdim = [spec.qform?.qfac ?? 1, ...(spec.voxelMm ?? [1, 1, 1]), spec.seconds ?? 0, 0, 0, 0]
  const srow = spec.affine?.flat() ?? []
  const quaternion = [...(spec.qform?.quaternion ?? [0, 0, 0]), ...(spec.qform?.offset ?? [0, 0, 0])]
  if (version === 1) {
    view.setInt32(0, 348, little)
    dim.forEach((value, i) => view.setInt16(40 + 2 * i, value, little))
    view.setInt16(70, code, little)
    view.setInt16(72, 8 * (BYTES[code] ?? 1), little)
    pixdim.forEach((value, i) => view.setFloat32(76 + 4 * i, value, little))
    view.setFloat32(108, offset, little)
    view.setFloat32(112, spec.slope ?? 0, little)
    view.setFloat32(116, spec.intercept ?? 0, little)
    view.setUint8(123, spec.units ?? 10)
    view.setInt16(252, spec.qform ? 1 : 0, little)
    view.setInt16(254, spec.affine ? 1 : 0, little)
    quaternion.forEach((value, i) => view.setFloat32(256 + 4 * i, value, little))
    srow.forEach((value, i) => view.setFloat32(280 + 4 * i, value, little))
    bytes.write('n+1\0', 344, 'latin1')
  } else {
    view.setInt32(0, 540, little)
    bytes.write('n+2\0\r\n\x1a\n', 4, 'latin1')
    view.setInt16(12, code, little)
    dim.forEach((value, i) => view.setBigInt64(16 + 8 * i, BigInt(value), little))
    pixdim.forEach((value, i) => view.setFloat64(104 + 8 * i, value, little))
    view.setBigInt64(168, BigInt(offset), little)
    view.setFloat64(176, spec.slope ?? 0, little)
    view.setFloat64(184, spec.intercept ?? 0, little)
    view.setInt32(344, spec.qform ? 1 : 0, little)
    view.setInt32(348, spec.affine ? 1 : 0, little)
    quaternion.forEach((value, i) => view.setFloat64(352 + 8 * i, value, little))
    srow.forEach((value, i) => view.setFloat64(400 + 8 * i, value, little))
    view.setInt32(500, spec.units ?? 10, little)
  }
  for (let v = 0; v < spec.values.length; v++) {
    const at = offset + v * (BYTES[code] ?? 1)
    const value = spec.values[v] as number
    if (code === 2) view.setUint8(at, value)
    else if (code === 256) view.setInt8(at, value)
    else if (code === 4) view.setInt16(at, value, little)
    else if (code === 512) view.setUint16(at, value, little)
    else if (code === 8) view.setInt32(at, value, little)
    else if (code === 768) view.setUint32(at, value, little)
    else if (code === 16) view.setFloat32(at, value, little)
    else if (code === 64) view.setFloat64(at, value, little)
    else if (code === 1024) view.setBigInt64(at, BigInt(value), little)
    else if (code === 1280) view.setBigUint64(at, BigInt(value), little)
  }
  return spec.gzip === true ? gzipSync(bytes) : bytes
}

/** A small generator of the same numbers each time: uniform in 0 to 1. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    // Mulberry32: unlike a plain linear congruence its neighbours are independent enough for Box and Muller.
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Normal deviates from {@link seeded} ones (Box and Muller). */
export function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
