import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { niftiProblem } from '#src/import/nifti-check.js'
import { makeFolder, nifti, removeFolder } from './sources.js'

describe('nifti check', () => {
  let root: string
  beforeEach(async () => {
    root = await makeFolder()
  })
  afterEach(async () => {
    await removeFolder(root)
  })

  async function problem(name: string, bytes: Buffer): Promise<string | undefined> {
    await writeFile(join(root, name), bytes)
    return await niftiProblem(join(root, name))
  }

  /** The same image with the other byte order in its header. */
  function bigEndian(image: Buffer): Buffer {
    const swapped = Buffer.from(image)
    swapped.writeInt32BE(348, 0)
    for (let at = 40; at < 56; at += 2) swapped.writeInt16BE(image.readInt16LE(at), at)
    swapped.writeInt16BE(16, 72)
    swapped.writeFloatBE(352, 108)
    return swapped
  }

  function nifti2(): Buffer {
    const bytes = Buffer.alloc(544 + 16)
    bytes.writeInt32LE(540, 0)
    bytes.write('n+2\0\r\n\x1a\n', 4, 'latin1')
    bytes.writeInt16LE(16, 14)
    for (const [i, size] of [3, 2, 2, 2].entries()) bytes.writeBigInt64LE(BigInt(size), 16 + 8 * i)
    bytes.writeBigInt64LE(544n, 168)
    return bytes
  }

  it('accepts whole images of every form', async () => {
    const image = nifti([4, 4, 4])
    expect(await problem('a.nii', image)).to.equal(undefined)
    expect(await problem('a.nii.gz', gzipSync(image))).to.equal(undefined)
    expect(await problem('b.nii', bigEndian(image))).to.equal(undefined)
    expect(await problem('b.nii.gz', gzipSync(nifti2()))).to.equal(undefined)
    // Written in parts, as bgzip does; and with something after the image.
    const parts = Buffer.concat([gzipSync(image.subarray(0, 400)), gzipSync(image.subarray(400))])
    expect(await problem('c.nii.gz', parts)).to.equal(undefined)
    expect(await problem('d.nii.gz', gzipSync(Buffer.concat([image, Buffer.alloc(50)])))).to.equal(undefined)
    expect(await problem('e.nii', Buffer.concat([image, Buffer.alloc(50)]))).to.equal(undefined)
  })

  it('says what is wrong with others', async () => {
    const image = nifti([4, 4, 4])
    const packed = gzipSync(image)
    const pair = Buffer.from(image)
    pair.write('ni1', 344, 'latin1')
    const shape = Buffer.from(image)
    shape.writeInt16LE(-4, 42)
    const rank = Buffer.from(image)
    rank.writeInt16LE(9, 40)
    const cases: readonly [string, Buffer, RegExp][] = [
      ['a.nii', Buffer.alloc(0), /empty \(0 bytes\)/],
      ['a.nii', image.subarray(0, 100), /only 100 bytes/],
      ['a.nii', image.subarray(0, 479), /479 bytes, its header says 480/],
      ['a.nii', Buffer.alloc(500), /does not start as one/],
      ['a.nii', pair, /two-file/],
      ['a.nii', shape, /impossible dimensions/],
      ['a.nii', rank, /9 dimensions/],
      ['a.nii', nifti2().subarray(0, 559), /559 bytes, its header says 560/],
      ['a.nii.gz', image, /not a gzip file/],
      ['a.nii.gz', gzipSync(image.subarray(0, 470)), /470 bytes, its header says 480/],
      ['a.nii.gz', packed.subarray(0, packed.length - 20), /ends early/],
      ['a.nii.gz', gzipSync('text'), /only 4 bytes/],
      ['a.nii.gz', Buffer.concat([packed.subarray(0, 20), Buffer.alloc(200, 0xff)]), /damaged|ends early/],
    ]
    for (const [name, bytes, expected] of cases)
      expect(await problem(name, bytes), String(expected)).to.match(expected)
  })
})
