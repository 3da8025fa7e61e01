import { expect } from 'chai'
import { gunzipSync } from 'node:zlib'
import { JobFailure } from '#src/job/failure.js'
import { encodeNifti, parseNifti } from '#src/imaging/nifti.js'
import { orientationOf, rasView } from '#src/imaging/orientation.js'
import { makeNifti } from '../support.js'

const affine = [
  [-2, 0, 0, 90],
  [0, 0, 3, -126],
  [0, 2, 0, -72],
] as const
const values = Float64Array.from({ length: 24 }, (_, v) => v)

describe('NIfTI', () => {
  for (const version of [1, 2] as const) {
    for (const bigEndian of [false, true]) {
      for (const [code, name] of [
        [2, 'uint8'],
        [256, 'int8'],
        [4, 'int16'],
        [512, 'uint16'],
        [8, 'int32'],
        [768, 'uint32'],
        [16, 'float32'],
        [64, 'float64'],
        [1024, 'int64'],
        [1280, 'uint64'],
      ] as const) {
        it(`reads ${name}, NIfTI-${version}, ${bigEndian ? 'big' : 'little'}-endian`, () => {
          const image = parseNifti(
            makeNifti({
              shape: [2, 3, 4],
              code,
              version,
              bigEndian,
              affine,
              slope: 0.5,
              intercept: 10,
              values,
            }),
            'a.nii',
          )
          expect(image.datatype).to.equal(name)
          expect(image.format).to.equal(`NIfTI-${version}`)
          expect(image.shape).to.deep.equal([2, 3, 4])
          expect(image.affine).to.deep.equal(affine)
          expect(Array.from(image.volume(0))).to.deep.equal(Array.from(values, (value) => value * 0.5 + 10))
        })
      }
    }
  }

  it('reads a packed file, and volumes one by one', () => {
    const image = parseNifti(
      makeNifti({ shape: [2, 3, 2, 2], code: 4, gzip: true, values, seconds: 2.5 }),
      'a.nii.gz',
    )
    expect(image.volumes).to.equal(2)
    expect(image.volumeSeconds).to.equal(2.5)
    expect(Array.from(image.volume(1))).to.deep.equal(Array.from(values.slice(12)))
  })

  it('takes a slope of 0 as no scaling, and milliseconds as such', () => {
    const image = parseNifti(
      makeNifti({ shape: [2, 3, 2, 2], slope: 0, intercept: 99, values, seconds: 2500, units: 18 }),
      'a.nii',
    )
    expect(image.volume(0)[1]).to.equal(1)
    expect(image.volumeSeconds).to.be.closeTo(2.5, 1e-6)
  })

  it('gives 0 for voxels that are no numbers', () => {
    const image = parseNifti(makeNifti({ shape: [3, 1, 1], values: [NaN, Infinity, 3] }), 'a.nii')
    expect(Array.from(image.volume(0))).to.deep.equal([0, 0, 3])
  })

  it('turns a quaternion into the affine', () => {
    // A quarter turn about z: (a, b, c, d) = (sqrt½, 0, 0, sqrt½); qfac -1 turns k round.
    const image = parseNifti(
      makeNifti({
        shape: [2, 3, 4],
        voxelMm: [2, 3, 4],
        qform: { quaternion: [0, 0, Math.SQRT1_2], offset: [10, 20, 30], qfac: -1 },
        values,
      }),
      'a.nii',
    )
    expect(image.affineFrom).to.equal('qform')
    const expected = [
      [0, -3, 0, 10],
      [2, 0, 0, 20],
      [0, 0, -4, 30],
    ]
    image.affine.flat().forEach((value, n) => expect(value).to.be.closeTo(expected.flat()[n] as number, 1e-5))
    expect(orientationOf(image.affine).letters).to.equal('ALI')
  })

  it('says what is wrong with a damaged file, and ends with 65', () => {
    const good = makeNifti({ shape: [2, 3, 4], values })
    const packed = makeNifti({ shape: [2, 3, 4], values, gzip: true })
    const changed = (change: (bytes: Buffer) => void): Buffer => {
      const bytes = Buffer.from(good)
      change(bytes)
      return bytes
    }
    const cases: readonly (readonly [Buffer, RegExp])[] = [
      [Buffer.alloc(0), /empty/],
      [Buffer.from('hello'), /no NIfTI/],
      [Buffer.alloc(1000, 7), /no NIfTI/],
      [good.subarray(0, 400), /cut short.*448 bytes.*400/],
      [packed.subarray(0, packed.length - 20), /cut short|damaged/],
      [changed((bytes) => bytes.writeInt16LE(128, 70)), /RGB24/],
      [changed((bytes) => bytes.writeInt16LE(-4, 42)), /damaged/],
      [changed((bytes) => bytes.writeInt16LE(9, 40)), /damaged/],
      [changed((bytes) => bytes.writeFloatLE(NaN, 108)), /damaged/],
      [changed((bytes) => bytes.write('ni1', 344)), /pair/],
    ]
    for (const [bytes, reason] of cases) {
      expect(() => parseNifti(bytes, 'x.nii'))
        .to.throw(JobFailure, reason)
        .that.has.property('exitCode', 65)
      expect(() => parseNifti(bytes, 'x.nii')).to.throw(/^x\.nii: /)
    }
  })

  it('reads what it writes', () => {
    const grid = parseNifti(makeNifti({ shape: [2, 3, 4], voxelMm: [2, 2, 3], affine, values }), 'a.nii')
    const again = parseNifti(encodeNifti(grid, values, 'a map'), 'b.nii.gz')
    expect(again.affine).to.deep.equal(grid.affine)
    expect(again.voxelMm).to.deep.equal(grid.voxelMm)
    expect(Array.from(again.volume(0))).to.deep.equal(Array.from(values))
    const mask = Uint8Array.from(values, (value) => (value > 5 ? 1 : 0))
    const bytes = encodeNifti(grid, mask, 'a mask')
    expect(parseNifti(bytes, 'c.nii.gz').datatype).to.equal('uint8')
    expect(gunzipSync(bytes).subarray(148, 154).toString()).to.equal('a mask')
    expect(encodeNifti(grid, mask, 'a mask').equals(bytes)).to.be.true
  })
})

describe('orientation', () => {
  it('sees an image as if it lay right, anterior, superior', () => {
    expect(orientationOf(affine).letters).to.equal('LSA')
    const view = rasView([4, 5, 6], [2, 2, 3], affine)
    expect(view.shape).to.deep.equal([4, 6, 5])
    expect(view.voxelMm).to.deep.equal([2, 3, 2])
    // The leftmost, hindmost, lowest voxel: i last, k first, j first.
    expect(view.index(0, 0, 0)).to.equal(3)
    expect(view.index(1, 2, 3)).to.equal(2 + 3 * 4 + 2 * 20)
  })
})
