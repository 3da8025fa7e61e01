import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import fc from 'fast-check'
import { IntegrityError } from '@orbweaver/core'
import { THREAD_FROM_BYTES, Verifier, checkWhole } from '#src/store/hashing.js'
import { ThreadHash } from '#src/store/thread-hash.js'

const md5 = (data: Buffer): string => createHash('md5').update(data).digest('hex')

async function through(verifier: Verifier, data: Buffer, piece: number): Promise<Buffer> {
  const pieces = function* (): Generator<Buffer> {
    for (let at = 0; at < data.length; at += piece) yield data.subarray(at, at + piece)
  }
  const chunks: Buffer[] = []
  for await (const chunk of Readable.from(pieces(), { objectMode: false }).pipe(verifier))
    chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

describe('bytes on their way', () => {
  it('are hashed alike in a thread, however they are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 2_500_000 }), { maxLength: 5 }), async (sizes) => {
        const chunks = sizes.map((size, index) => Buffer.alloc(size, `chunk ${index}`))
        const hash = new ThreadHash(['md5', 'sha256'])
        for (const chunk of chunks) await hash.update(chunk)
        const whole = Buffer.concat(chunks)
        expect(await hash.digest()).to.deep.equal({
          md5: md5(whole),
          sha256: createHash('sha256').update(whole).digest('hex'),
        })
      }),
      { numRuns: 10 },
    )
  })

  it('are checked alike when they are in memory at once', () => {
    const content = Buffer.from('some text')
    const hex = createHash('sha256').update(content).digest('hex')
    const entry = { path: 'a', bytes: 9, checksum: { algorithm: 'sha256', hex } as const }
    expect(checkWhole(entry, content, 'It').md5).to.equal(md5(content))
    for (const wrong of [content.subarray(1), Buffer.from('some text.'), Buffer.from('some tExt')])
      expect(() => checkWhole(entry, wrong, 'It'), wrong.toString()).to.throw(
        IntegrityError,
        'It is not what',
      )
  })

  for (const bytes of [0, 1, 70_000, THREAD_FROM_BYTES + 1]) {
    it(`${bytes} of them come out whole, with their sums`, async () => {
      const data = Buffer.alloc(bytes, 'some text ')
      const entry = {
        path: 'a',
        bytes,
        checksum: { algorithm: 'sha256', hex: createHash('sha256').update(data).digest('hex') } as const,
      }
      const verifier = new Verifier(entry, { md5: true, what: 'It' })
      expect((await through(verifier, data, 65_536)).equals(data)).to.equal(true)
      expect(verifier.sums.md5).to.equal(md5(data))
    })

    it(`${bytes} of them with another checksum never come to an end`, async () => {
      const entry = { path: 'a', bytes, checksum: { algorithm: 'md5', hex: '0'.repeat(32) } as const }
      const verifier = new Verifier(entry, { what: 'It' })
      let error: unknown
      try {
        await through(verifier, Buffer.alloc(bytes, 'x'), 1024 * 1024)
      } catch (caught) {
        error = caught
      }
      expect(error).to.be.instanceOf(IntegrityError)
    })
  }
})
