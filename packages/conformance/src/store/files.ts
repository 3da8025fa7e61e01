import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { IntegrityError, createFolderSink, createFolderSource, type ResourceRef } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import { MemorySink, bytesOf, entryOf, sourceOf, streamOf, type StoreContext } from './context.js'

const everyByte = Buffer.from(Array.from({ length: 256 * 40 }, (_, index) => (index * 7) % 256))

async function resultOf(lab: StoreContext, resource = 'DATA'): Promise<ResourceRef> {
  await lab.seedTree()
  await lab.make()
  return { node: lab.assessor, resource }
}

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'orbweaver-kit-')))
  try {
    await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export const files: Chapter<StoreContext> = {
  port: 'store',
  title: 'S4 files',
  claims: [
    claim(
      'S4.1',
      'what is sent is fetched again byte for byte: text, binary, empty, in folders',
      async (lab) => {
        const ref = await resultOf(lab)
        const content = {
          'report.txt': 'text\nÜnïcödé\n',
          'binary.dat': everyByte,
          'empty.txt': '',
          'deep/er/and/deeper/image.nii': Buffer.alloc(100_000, 'x'),
          'deep/empty.dat': '',
        }
        await lab.send(ref, content)
        expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
      },
    ),

    claim(
      'S4.2',
      'an upload gives back what the archive then lists, with true sizes and checksums',
      async (lab) => {
        const ref = await resultOf(lab)
        const content = { 'a.txt': 'a', 'b/c.dat': everyByte, empty: '' }
        const { files: returned } = await lab.send(ref, content)
        const listed = await lab.store.listFiles(ref)
        const byPath = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : 1)
        expect([...returned].sort(byPath)).to.deep.equal([...listed].sort(byPath))
        expect(listed.map(({ path, bytes }) => [path, bytes]).sort()).to.deep.equal([
          ['a.txt', 1],
          ['b/c.dat', everyByte.length],
          ['empty', 0],
        ])
        const { checksums } = lab.store.capabilities
        for (const { path, checksum } of listed) {
          if (checksums === 'none') continue
          expect(checksum?.algorithm, path).to.equal(checksums)
          if (checksums === 'sha256') {
            expect(checksum).to.deep.equal(entryOf(path, content[path as keyof typeof content]).checksum)
          }
        }
        const [shown] = await lab.assessorsOf('S01_A')
        expect(shown?.resources.map(({ label }) => label)).to.deep.equal(['DATA'])
        expect(shown?.resources[0]?.fileCount ?? 3).to.equal(3)
      },
    ),

    claim(
      'S4.3',
      'after an upload the resource holds exactly those files: others are removed',
      async (lab) => {
        const ref = await resultOf(lab)
        await lab.send(ref, { 'old.txt': 'old', 'both.txt': 'both', 'folder/old.txt': 'old' })
        await lab.send({ ...ref, resource: 'OTHER' }, { 'other.txt': 'other' })
        const content = { 'both.txt': 'both', 'new.txt': 'new' }
        await lab.send(ref, content)
        expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
        expect(Object.keys(await lab.fetch({ ...ref, resource: 'OTHER' }))).to.deep.equal(['other.txt'])
      },
    ),

    claim(
      'S4.4',
      'files that are there and identical are not sent again; only what changed is',
      async (lab) => {
        const ref = await resultOf(lab)
        const content = { 'a.dat': everyByte, 'b.txt': 'b'.repeat(500), 'c.txt': 'c' }
        expect((await lab.send(ref, content)).sentBytes).to.equal(everyByte.length + 501)
        expect((await lab.send(ref, content)).sentBytes, 'nothing changed').to.equal(0)
        const changed = { ...content, 'b.txt': 'B'.repeat(500) }
        expect((await lab.send(ref, changed)).sentBytes, 'one file changed').to.equal(500)
        expect(await lab.fetch(ref)).to.deep.equal(bytesOf(changed))
      },
      (lab) => lab.comparesContent,
    ),

    claim('S4.5', 'a file with the same name and size but other content is replaced', async (lab) => {
      const ref = await resultOf(lab)
      await lab.send(ref, { 'a.txt': 'before' })
      await lab.send(ref, { 'a.txt': 'after!' })
      expect(await lab.fetch(ref)).to.deep.equal(bytesOf({ 'a.txt': 'after!' }))
    }),

    claim('S4.6', 'scans, sessions, subjects and projects have resources as assessors have', async (lab) => {
      await lab.seedTree()
      for (const node of [
        { ...lab.session, scan: '1' },
        lab.session,
        { project: lab.project, subject: 'S10' },
        { project: lab.project },
      ]) {
        const ref = { node, resource: 'EXTRA' }
        await lab.send(ref, { 'extra.txt': JSON.stringify(node) })
        expect(await lab.fetch(ref)).to.deep.equal(bytesOf({ 'extra.txt': JSON.stringify(node) }))
      }
      const { project, subjects } = await lab.tree()
      const nodes = [project, subjects[2], subjects[0]?.sessions[0], subjects[0]?.sessions[0]?.scans[0]]
      for (const node of nodes) {
        expect(node?.resources.map(({ label }) => label)).to.include('EXTRA')
      }
    }),

    claim('S4.7', 'content that is not what was announced is refused, and nobody sees it', async (lab) => {
      const ref = await resultOf(lab)
      await lab.send(ref, { 'a.txt': 'the old text' })
      for (const arrives of ['short', 'much longer than it was announced', 'other words!']) {
        const source = {
          files: [entryOf('a.txt', 'the new text')],
          open: async () => streamOf(arrives),
        }
        expect(await rejection(lab.store.upload(ref, source)), arrives).to.be.instanceOf(IntegrityError)
        expect(await lab.fetch(ref), arrives).to.deep.equal(bytesOf({ 'a.txt': 'the old text' }))
      }
    }),

    claim('S4.8', 'an upload of no files makes the resource empty', async (lab) => {
      const ref = await resultOf(lab)
      await lab.send(ref, { 'a.txt': 'a' })
      expect((await lab.send(ref, {})).files).to.deep.equal([])
      expect(await lab.store.listFiles(ref)).to.deep.equal([])
    }),

    claim('S4.9', 'a download brings only the files asked for', async (lab) => {
      const ref = await resultOf(lab)
      await lab.send(ref, { 'a.txt': 'a', 'b.txt': 'b', 'c/d.txt': 'd' })
      const wanted = (await lab.store.listFiles(ref)).filter(({ path }) => path !== 'b.txt')
      const sink = new MemorySink()
      await lab.store.download(ref, wanted, sink)
      expect([...sink.files.keys()].sort()).to.deep.equal(['a.txt', 'c/d.txt'])
    }),

    claim('S4.10', 'a download that is not what was listed is an error, and does not appear', async (lab) => {
      const ref = await resultOf(lab)
      await lab.send(ref, { 'a.txt': 'as it is' })
      const [listed] = await lab.store.listFiles(ref)
      if (listed === undefined) expect.fail('nothing is listed')
      const sink = new MemorySink()
      const wrong = [{ ...listed, bytes: listed.bytes + 1 }]
      expect(await rejection(lab.store.download(ref, wrong, sink))).to.be.instanceOf(IntegrityError)
      if (listed.checksum !== undefined) {
        const other = [
          { ...listed, checksum: { ...listed.checksum, hex: '0'.repeat(listed.checksum.hex.length) } },
        ]
        expect(await rejection(lab.store.download(ref, other, sink))).to.be.instanceOf(IntegrityError)
      }
      expect([...sink.files.keys()]).to.deep.equal([])
    }),

    claim('S4.11', 'progress only grows, and ends at the bytes that were sent', async (lab) => {
      const ref = await resultOf(lab)
      const seen: number[] = []
      await lab.send(
        ref,
        { 'a.dat': everyByte, 'b.dat': everyByte },
        { onProgress: (bytes) => seen.push(bytes) },
      )
      expect(seen).to.deep.equal([...seen].sort((a, b) => a - b))
      expect(seen.at(-1)).to.equal(2 * everyByte.length)
    }),

    claim('S4.12', 'many small files come through', async (lab) => {
      const ref = await resultOf(lab)
      const content = Object.fromEntries(
        Array.from({ length: lab.manyFiles }, (_, index) => [
          `slices/${index % 7}/${index}.dcm`,
          `slice ${index}`,
        ]),
      )
      await lab.send(ref, content)
      expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
    }),

    claim(
      'S4.13',
      'a file that is read in place stays as it is, and later changes of it do not reach the archive',
      async (lab) => {
        const ref = await resultOf(lab)
        await inFolder(async (folder) => {
          const path = join(folder, 'a.txt')
          await writeFile(path, 'as it was', { mode: 0o600 })
          await lab.store.upload(ref, await createFolderSource(folder))
          expect(await readFile(path, 'utf8')).to.equal('as it was')
          await writeFile(path, 'changed!!')
          expect(await lab.fetch(ref)).to.deep.equal(bytesOf({ 'a.txt': 'as it was' }))
        })
      },
    ),

    claim(
      'S4.14',
      'a download into a folder is a copy: changing it does not reach the archive',
      async (lab) => {
        const ref = await resultOf(lab)
        await lab.send(ref, { 'deep/a.txt': 'as it was' })
        await inFolder(async (folder) => {
          await lab.store.download(ref, await lab.store.listFiles(ref), createFolderSink(folder))
          const path = join(folder, 'deep', 'a.txt')
          expect(await readFile(path, 'utf8')).to.equal('as it was')
          await writeFile(path, 'changed!!')
          expect(await lab.fetch(ref)).to.deep.equal(bytesOf({ 'deep/a.txt': 'as it was' }))
        })
      },
    ),

    claim('S4.15', 'a file may become a folder, and a folder a file', async (lab) => {
      const ref = await resultOf(lab)
      await lab.send(ref, { thing: 'a file' })
      await lab.send(ref, { 'thing/inside.txt': 'in a folder' })
      expect(await lab.fetch(ref)).to.deep.equal(bytesOf({ 'thing/inside.txt': 'in a folder' }))
      await lab.send(ref, { thing: 'a file again' })
      expect(await lab.fetch(ref)).to.deep.equal(bytesOf({ thing: 'a file again' }))
    }),

    claim('S4.16', 'two uploads to two resources at once do not disturb each other', async (lab) => {
      const ref = await resultOf(lab)
      const refs = Array.from({ length: 6 }, (_, index) => ({ ...ref, resource: `R${index}` }))
      const second = await lab.second()
      await Promise.all(
        refs.map((one, index) =>
          (index % 2 === 0 ? lab.store : second).upload(one, sourceOf({ 'n.txt': `number ${index}` })),
        ),
      )
      for (const [index, one] of refs.entries()) {
        expect(await lab.fetch(one)).to.deep.equal(bytesOf({ 'n.txt': `number ${index}` }))
      }
    }),
  ],
}
