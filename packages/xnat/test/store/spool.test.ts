import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import { IntegrityError, createFolderSource, type FileEntry, type FileSource } from '@orbweaver/core'
import { Spool, WHOLE_BYTES } from '#src/store/spool.js'

describe('files gathered before they are sent', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'orbweaver-spool-test-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  /** Of another machine: can only be read as a stream. */
  const remote = (files: readonly FileEntry[], content: Buffer): FileSource => ({
    files,
    open: () => Promise.resolve(Readable.from([content.subarray(0, 1), content.subarray(1)])),
  })

  for (const bytes of [0, 1, WHOLE_BYTES, WHOLE_BYTES + 1]) {
    it(`of ${bytes} bytes are alike, from here and from elsewhere`, async () => {
      const content = Buffer.alloc(bytes, 'content ')
      await writeFile(join(folder, 'a.dat'), content)
      const entry = { path: 'a.dat', bytes }
      const spool = new Spool('P:R')
      try {
        const here = await spool.take(await createFolderSource(folder, [entry]), entry, {})
        const there = await spool.take(remote([entry], content), entry, {})
        expect({ md5: here.md5, crc32: here.crc32 }).to.deep.equal({ md5: there.md5, crc32: there.crc32 })
        expect(Buffer.isBuffer(here.content)).to.equal(bytes <= WHOLE_BYTES)
      } finally {
        await spool.clear()
      }
    })
  }

  for (const [what, bytes] of [
    ['grew', 10],
    ['shrank', 12],
  ] as const) {
    it(`are refused when one ${what} since it was listed`, async () => {
      const content = Buffer.from('just eleven')
      await writeFile(join(folder, 'a.dat'), content)
      const entry = { path: 'a.dat', bytes }
      for (const source of [await createFolderSource(folder, [entry]), remote([entry], content)]) {
        const error: unknown = await new Spool('P:R')
          .take(source, entry, {})
          .catch((caught: unknown) => caught)
        expect(error).to.be.instanceOf(IntegrityError)
      }
    })
  }

  it('leave nothing on this machine', async () => {
    const before = await readdir(tmpdir())
    const entry = { path: 'a.dat', bytes: WHOLE_BYTES + 1 }
    const spool = new Spool('P:R')
    const { content } = await spool.take(remote([entry], Buffer.alloc(entry.bytes)), entry, {})
    expect(content).to.be.a('string')
    await spool.clear()
    const made = (await readdir(tmpdir())).filter(
      (name) => !before.includes(name) && String(content).includes(name),
    )
    expect(made).to.deep.equal([])
  })
})
