import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { expect } from 'chai'
import yauzl from 'yauzl'
import { IntegrityError } from '@orbweaver/core'
import type { SpooledFile } from '#src/store/spool.js'
import { smallZipOf, zipOf } from '#src/store/zip.js'

async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

function unzip(archive: Buffer): Promise<Record<string, string>> {
  return new Promise((resolve, reject) => {
    yauzl.fromBuffer(
      archive,
      { lazyEntries: true, validateEntrySizes: true, decodeStrings: false },
      (error, zip) => {
        if (error !== null) {
          reject(error)
          return
        }
        const found: Record<string, string> = {}
        zip.on('entry', (entry: yauzl.Entry) => {
          zip.openReadStream(entry, (failed, stream) => {
            if (failed !== null) {
              reject(failed)
              return
            }
            void bytesOf(stream).then((content) => {
              found[Buffer.from(entry.fileName as unknown as Buffer).toString('utf8')] =
                content.toString('utf8')
              zip.readEntry()
            }, reject)
          })
        })
        zip.once('end', () => resolve(found))
        zip.once('error', reject)
        zip.readEntry()
      },
    )
  })
}

describe('archives for XNAT', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'orbweaver-zip-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  async function spooled(content: Readonly<Record<string, string>>): Promise<SpooledFile[]> {
    return await Promise.all(
      Object.entries(content).map(async ([path, text], index) => {
        const at = join(folder, String(index))
        await writeFile(at, text)
        return { entry: { path, bytes: Buffer.byteLength(text) }, content: at, md5: '', crc32: crc32(text) }
      }),
    )
  }

  it('hold every file, with the size that was announced, and can be sent twice', async () => {
    const content = {
      'a.txt': 'a',
      empty: '',
      'deep/er/ünïcödé 脳.txt': 'x'.repeat(100_000),
      'a:b*?.txt': 'odd',
    }
    const body = zipOf(await spooled(content))
    for (let time = 0; time < 2; time += 1) {
      const archive = await bytesOf(await body.open(() => undefined))
      expect(archive.length).to.equal(body.bytes)
      expect(await unzip(archive)).to.deep.equal(content)
    }
  })

  it('say sizes before the content: a reader of streams needs them there', async () => {
    const archive = await bytesOf(await zipOf(await spooled({ 'a.txt': 'abc' })).open(() => undefined))
    const flags = archive.readUInt16LE(6)
    expect(flags & 0x0008, 'no data descriptor').to.equal(0)
    expect([archive.readUInt32LE(18), archive.readUInt32LE(22)]).to.deep.equal([3, 3])
    expect(archive.readUInt32LE(14)).to.equal(crc32('abc'))
  })

  it('are the same in one piece, where they are small and in memory', async () => {
    const files = (await spooled({ 'a.txt': 'abc', 'b/c.txt': 'def' })).map((file, index) => ({
      ...file,
      content: Buffer.from(['abc', 'def'][index] ?? ''),
    }))
    const whole = await smallZipOf(files)
    expect(Buffer.isBuffer(whole)).to.equal(true)
    expect(whole).to.deep.equal(await bytesOf(await zipOf(files).open(() => undefined)))
    expect(Buffer.isBuffer(await smallZipOf(await spooled({ 'a.txt': 'abc' })))).to.equal(false)
  })

  it('are not made of a file that changed in the meantime', async () => {
    const files = await spooled({ 'a.txt': 'abc' })
    await writeFile(join(folder, '0'), 'abcdef')
    let error: unknown
    try {
      await bytesOf(await zipOf(files).open(() => undefined))
    } catch (caught) {
      error = caught
    }
    expect(error).to.be.instanceOf(IntegrityError)
  })
})
