import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import { claim, type Chapter } from '../claims.js'
import type { StoreContext } from './context.js'

const PIECE_BYTES = 64 * 1024
/** Few pieces, used again and again in a changing order: making the data takes neither time nor memory. */
const PIECES = Array.from({ length: 16 }, (_, index) => Buffer.alloc(PIECE_BYTES, `piece ${index} `))

function* pieces(bytes: number): Generator<Buffer> {
  let state = 1
  for (let left = bytes; left > 0; left -= PIECE_BYTES) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    const piece = PIECES[(state >> 8) % PIECES.length] ?? Buffer.alloc(PIECE_BYTES)
    yield left < PIECE_BYTES ? piece.subarray(0, left) : piece
  }
}

export const large: Chapter<StoreContext> = {
  port: 'store',
  title: 'S7 large files',
  claims: [
    claim(
      'S7.1',
      'a large file is streamed both ways: whole, and without being held in memory',
      async (lab) => {
        const { bytes, maxGrowthBytes } = lab.largeFile
        await lab.seedTree()
        await lab.make()
        const ref = { node: lab.assessor, resource: 'DATA' }
        const sum = createHash('sha256')
        for (const piece of pieces(bytes)) sum.update(piece)
        const hex = sum.digest('hex')

        const before = process.memoryUsage().rss
        let peak = before
        const look = (): void => {
          peak = Math.max(peak, process.memoryUsage().rss)
        }
        function* watched(): Generator<Buffer> {
          for (const piece of pieces(bytes)) {
            look()
            yield piece
          }
        }
        const entry = { path: 'large.dat', bytes, checksum: { algorithm: 'sha256', hex } as const }
        await lab.store.upload(ref, {
          files: [entry],
          open: async () => Readable.from(watched(), { objectMode: false }),
        })
        const arrived = createHash('sha256')
        let received = 0
        await lab.store.download(ref, await lab.store.listFiles(ref), {
          async write(_path, stream) {
            for await (const chunk of stream as AsyncIterable<Buffer>) {
              look()
              arrived.update(chunk)
              received += chunk.length
            }
          },
        })
        expect(received).to.equal(bytes)
        expect(arrived.digest('hex')).to.equal(hex)
        if (maxGrowthBytes !== undefined)
          expect(peak - before, 'growth of memory').to.be.below(maxGrowthBytes)
      },
    ),
  ],
}
