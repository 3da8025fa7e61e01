import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect } from 'chai'
import { InputError, IntegrityError, NotFoundError, PipelineError, type CallOptions } from '@orbweaver/core'
import { AWKWARD_WORDS } from '../backend/awkward.js'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import { entryOf, sha256, streamOf } from '../store/context.js'
import type { TransportContext } from './context.js'

const everyByte = Buffer.from(Array.from({ length: 256 * 300 }, (_, index) => (index * 7) % 256))

async function write(lab: TransportContext, path: string, content: string | Buffer): Promise<void> {
  await lab.files.write(path, streamOf(content), entryOf(path, content))
}

function brokenStream(error: Error): Readable {
  async function* pieces(): AsyncGenerator<Buffer> {
    yield Buffer.from('the first half')
    await Promise.resolve()
    throw error
  }
  return Readable.from(pieces(), { objectMode: false })
}

export const files: Chapter<TransportContext> = {
  port: 'transport',
  title: 'T2 files',
  claims: [
    claim('T2.1', 'a folder is made with its parents; one that is there already is no error', async (lab) => {
      await lab.files.mkdir(lab.path('a', 'b', 'c'))
      await lab.files.mkdir(lab.path('a', 'b', 'c'))
      expect(await lab.listing()).to.deep.equal(['a (folder)', 'a/b (folder)', 'a/b/c (folder)'])
    }),

    claim(
      'T2.2',
      'new folders and files are for their owner alone, unless a mode is given',
      async (lab) => {
        await write(lab, lab.path('a', 'written.txt'), 'text')
        await lab.files.writeAtomic(lab.path('a', 'atomic.txt'), 'text')
        await lab.files.writeAtomic(lab.path('a', 'script.sh'), 'text', { mode: 0o700 })
        await writeFile(lab.local('put.txt'), 'text', { mode: 0o644 })
        await lab.files.put(lab.local('put.txt'), lab.path('a', 'put.txt'))
        await lab.files.put(lab.local('put.txt'), lab.path('a', 'put.sh'), { mode: 0o750 })
        expect(await lab.mode(lab.path('a'))).to.equal(0o700)
        const modes = ['written.txt', 'atomic.txt', 'script.sh', 'put.txt', 'put.sh'].map((name) =>
          lab.mode(lab.path('a', name)),
        )
        expect(await Promise.all(modes)).to.deep.equal([0o600, 0o600, 0o700, 0o600, 0o750])
      },
      (lab) => lab.tellsModes,
    ),

    claim(
      'T2.3',
      'a stream is written whole, parents are made, and what was there is replaced',
      async (lab) => {
        const path = lab.path('deep', 'er', 'data.bin')
        await write(lab, path, 'before')
        await write(lab, path, everyByte)
        expect((await buffer(await lab.files.open(path))).equals(everyByte)).to.equal(true)
        await write(lab, path, '')
        expect(await lab.files.read(path)).to.equal('')
      },
    ),

    claim('T2.4', 'a stream that breaks leaves nothing, or what was there before', async (lab) => {
      const error = new Error('the cable was pulled')
      const entry = entryOf('a.txt', 'the first half and the other')
      await write(lab, lab.path('old.txt'), 'old')
      for (const name of ['new.txt', 'old.txt']) {
        const ended = await rejection(lab.files.write(lab.path(name), brokenStream(error), entry))
        expect(ended === error || ended.cause === error, ended.message).to.equal(true)
      }
      expect(await lab.listing()).to.deep.equal(['old.txt'])
      expect(await lab.files.read(lab.path('old.txt'))).to.equal('old')
    }),

    claim('T2.5', 'a stream that is not what was announced leaves nothing', async (lab) => {
      const entry = entryOf('a.txt', 'the right text')
      for (const content of ['short', 'a text that is far too long', 'the wrong text']) {
        const ended = await rejection(lab.files.write(lab.path('a.txt'), streamOf(content), entry))
        expect(ended, content).to.be.instanceOf(IntegrityError)
      }
      expect(await lab.listing()).to.deep.equal([])
    }),

    claim('T2.6', 'a file is put there and got back byte for byte', async (lab) => {
      for (const content of [Buffer.alloc(0), Buffer.from('text'), everyByte]) {
        await writeFile(lab.local('here.dat'), content)
        await lab.files.put(lab.local('here.dat'), lab.path('there', 'a.dat'))
        await lab.files.get(lab.path('there', 'a.dat'), lab.local('back.dat'))
        expect((await readFile(lab.local('back.dat'))).equals(content)).to.equal(true)
      }
      await writeFile(lab.local('here.dat'), 'changed')
      expect((await buffer(await lab.files.open(lab.path('there', 'a.dat')))).equals(everyByte)).to.equal(
        true,
      )
    }),

    claim('T2.7', 'what is missing is not found, on either side, and nothing appears', async (lab) => {
      const missing = lab.path('missing')
      for (const call of [
        () => lab.files.put(lab.local('missing'), lab.path('target')),
        () => lab.files.get(missing, lab.local('target')),
        () => lab.files.open(missing),
        () => lab.files.read(missing),
        () => lab.files.rename(missing, lab.path('target')),
        () => lab.files.checksums(lab.path(), ['missing']),
        () => lab.files.freeSpace(missing),
        () => lab.files.writeAtomic(lab.path('missing', 'a.txt'), 'text'),
      ]) {
        const error = await rejection(call())
        expect(error).to.be.instanceOf(NotFoundError)
        expect(error.message).to.contain('missing')
      }
      expect(await lab.listing()).to.deep.equal([])
      expect(await readdir(lab.local())).to.deep.equal([])
    }),

    claim(
      'T2.8',
      'a text that is too long is an error; its tail is the last bytes, from a whole character on',
      async (lab) => {
        const path = lab.path('text.txt')
        await lab.files.writeAtomic(path, '0123456789')
        expect(await lab.files.read(path, { maxBytes: 10 })).to.equal('0123456789')
        expect(await rejection(lab.files.read(path, { maxBytes: 9 }))).to.be.instanceOf(PipelineError)
        expect(await lab.files.read(path, { maxBytes: 4, tail: true })).to.equal('6789')
        expect(await lab.files.read(path, { maxBytes: 40, tail: true })).to.equal('0123456789')
        await lab.files.writeAtomic(path, 'Ünï脳end')
        expect(await lab.files.read(path, { maxBytes: 4, tail: true })).to.equal('end')
        expect(await lab.files.read(path, { maxBytes: 6, tail: true })).to.equal('脳end')
      },
    ),

    claim('T2.9', 'many small files are read in one go; missing ones are absent', async (lab) => {
      const paths = Array.from({ length: 100 }, (_, index) => lab.path(`file ${index}`))
      for (const path of paths) await lab.files.writeAtomic(path, `content of ${path}`)
      const found = await lab.files.readMany([...paths, lab.path('missing'), lab.path('no', 'folder')])
      expect(found.size).to.equal(100)
      for (const path of paths) expect(found.get(path)).to.equal(`content of ${path}`)
      expect((await lab.files.readMany([])).size).to.equal(0)
    }),

    claim(
      'T2.10',
      'readers of a file that is written atomically see the old or the new text, never a part',
      async (lab) => {
        const path = lab.path('state.json')
        const texts = ['a', 'b'].map((letter) => letter.repeat(200_000))
        await lab.files.writeAtomic(path, texts[0] ?? '')
        let writing = true
        const writer = (async () => {
          for (let round = 0; round < 30; round++) await lab.files.writeAtomic(path, texts[round % 2] ?? '')
          writing = false
        })()
        do {
          const text = await lab.files.read(path)
          expect(texts.includes(text), `a text of ${text.length}`).to.equal(true)
        } while (writing)
        await writer
        expect(await lab.listing()).to.deep.equal(['state.json'])
      },
    ),

    claim('T2.11', 'rename moves files and folders, and replaces a file', async (lab) => {
      await write(lab, lab.path('a', 'one.txt'), 'one')
      await write(lab, lab.path('two.txt'), 'two')
      await lab.files.rename(lab.path('a', 'one.txt'), lab.path('two.txt'))
      expect(await lab.files.read(lab.path('two.txt'))).to.equal('one')
      await write(lab, lab.path('a', 'deep', 'three.txt'), 'three')
      await lab.files.rename(lab.path('a'), lab.path('b'))
      expect(await lab.listing()).to.deep.equal([
        'b (folder)',
        'b/deep (folder)',
        'b/deep/three.txt',
        'two.txt',
      ])
    }),

    claim(
      'T2.12',
      'a listing has everything below a folder, sorted, with sizes; a missing folder is empty',
      async (lab) => {
        await write(lab, lab.path('b.txt'), 'four')
        await write(lab, lab.path('a', 'z.txt'), '')
        await write(lab, lab.path('a', 'b', 'c.dat'), everyByte)
        await lab.files.mkdir(lab.path('empty'))
        const listed = await lab.files.list(lab.path())
        expect(listed.map(({ path, kind }) => [path, kind])).to.deep.equal([
          ['a', 'folder'],
          ['a/b', 'folder'],
          ['a/b/c.dat', 'file'],
          ['a/z.txt', 'file'],
          ['b.txt', 'file'],
          ['empty', 'folder'],
        ])
        const sizes = listed.filter(({ kind }) => kind === 'file').map(({ bytes }) => bytes)
        expect(sizes).to.deep.equal([everyByte.length, 0, 4])
        expect(await lab.files.list(lab.path('missing'))).to.deep.equal([])
      },
    ),

    claim('T2.13', 'a file that is being written is not listed', async (lab) => {
      const entry = entryOf('a.txt', 'first and second')
      let resume: () => void = () => undefined
      const written = new Promise<void>((resolve) => (resume = resolve))
      let tell: () => void = () => undefined
      const underWay = new Promise<void>((resolve) => (tell = resolve))
      async function* pieces(): AsyncGenerator<Buffer> {
        yield Buffer.from('first ')
        tell() // the first piece was taken, and more is wanted
        await written
        yield Buffer.from('and second')
      }
      const content = Readable.from(pieces(), { objectMode: false, highWaterMark: 1 })
      const write = lab.files.write(lab.path('a.txt'), content, entry)
      await underWay
      expect(await lab.listing()).to.deep.equal([])
      resume()
      await write
      expect(await lab.listing()).to.deep.equal(['a.txt'])
    }),

    claim(
      'T2.14',
      'links are listed and removed as links, never followed',
      async (lab) => {
        await write(lab, lab.path('outside', 'kept.txt'), 'kept')
        await lab.files.mkdir(lab.path('inside'))
        await lab.link(lab.path('outside'), lab.path('inside', 'to-folder'))
        await lab.link(lab.path('outside', 'kept.txt'), lab.path('inside', 'to-file'))
        await lab.link(lab.path('nowhere'), lab.path('inside', 'to-nothing'))
        const listed = await lab.files.list(lab.path('inside'))
        expect(listed.map(({ path, kind }) => [path, kind])).to.deep.equal([
          ['to-file', 'link'],
          ['to-folder', 'link'],
          ['to-nothing', 'link'],
        ])
        await lab.files.remove(lab.path('inside', 'to-folder'))
        await lab.files.remove(lab.path('inside'))
        expect(await lab.listing()).to.deep.equal(['outside (folder)', 'outside/kept.txt'])
      },
      (lab) => lab.canLink,
    ),

    claim(
      'T2.15',
      'checksums are SHA-256 in hex, by relative path, of files inside the folder only',
      async (lab) => {
        await write(lab, lab.path('f', 'a', 'every.dat'), everyByte)
        await write(lab, lab.path('f', 'empty'), '')
        await write(lab, lab.path('outside'), 'x')
        const sums = await lab.files.checksums(lab.path('f'), ['a/every.dat', 'empty'])
        expect(Object.fromEntries(sums)).to.deep.equal({
          'a/every.dat': sha256(everyByte),
          empty: sha256(''),
        })
        for (const bad of ['../outside', 'a/../../outside', lab.path('outside')]) {
          expect(await rejection(lab.files.checksums(lab.path('f'), [bad])), bad).to.be.instanceOf(InputError)
        }
        expect((await lab.files.checksums(lab.path('f'), [])).size).to.equal(0)
      },
    ),

    claim('T2.16', 'exists tells of files and folders', async (lab) => {
      await write(lab, lab.path('a', 'b.txt'), 'b')
      expect(await lab.files.exists(lab.path('a'))).to.equal(true)
      expect(await lab.files.exists(lab.path('a', 'b.txt'))).to.equal(true)
      expect(await lab.files.exists(lab.path('a', 'c.txt'))).to.equal(false)
      expect(await lab.files.exists(lab.path('a', 'b.txt', 'below'))).to.equal(false)
    }),

    claim('T2.17', 'a file or a whole folder is removed; what is missing is no error', async (lab) => {
      await write(lab, lab.path('a', 'b', 'c.txt'), 'c')
      await write(lab, lab.path('ab', 'd.txt'), 'd')
      await write(lab, lab.path('e.txt'), 'e')
      await lab.files.remove(lab.path('a'))
      await lab.files.remove(lab.path('e.txt'))
      await lab.files.remove(lab.path('missing'))
      expect(await lab.listing()).to.deep.equal(['ab (folder)', 'ab/d.txt'])
    }),

    claim('T2.18', 'free space is a number of bytes', async (lab) => {
      const bytes = await lab.files.freeSpace(lab.path())
      expect(bytes).to.be.above(0)
      expect(Number.isSafeInteger(bytes)).to.equal(true)
    }),

    claim('T2.19', 'names may hold blanks, quotes, dollars, semicolons and any script', async (lab) => {
      const names = AWKWARD_WORDS.map((word) => `d ${word} d`)
      for (const name of names) {
        await lab.files.mkdir(lab.path(name))
        await write(lab, lab.path(name, `w ${name}`), name)
        await lab.files.writeAtomic(lab.path(name, `a ${name}`), name)
        await lab.files.rename(lab.path(name, `a ${name}`), lab.path(name, `r ${name}`))
        await writeFile(lab.local('here'), name)
        await lab.files.put(lab.local('here'), lab.path(name, `p ${name}`))
      }
      const expected = names.flatMap((name) => [
        name,
        ...['p', 'r', 'w'].map((kind) => `${name}/${kind} ${name}`),
      ])
      const listed = await lab.files.list(lab.path())
      expect(listed.map(({ path }) => path)).to.deep.equal([...expected].sort())
      for (const name of names) {
        const texts = await lab.files.readMany(
          ['p', 'r', 'w'].map((kind) => lab.path(name, `${kind} ${name}`)),
        )
        expect([...texts.values()]).to.deep.equal([name, name, name])
        const [sum] = (await lab.files.checksums(lab.path(name), [`w ${name}`])).values()
        expect(sum).to.equal(sha256(name))
        await lab.files.get(lab.path(name, `w ${name}`), lab.local('back'))
        expect(await readFile(lab.local('back'), 'utf8')).to.equal(name)
        await lab.files.remove(lab.path(name))
      }
      expect(await lab.listing()).to.deep.equal([])
    }),

    claim(
      'T2.20',
      "every call with an aborted signal rejects with the signal's reason and changes nothing",
      async (lab) => {
        await write(lab, lab.path('a.txt'), 'a')
        await writeFile(lab.local('here'), 'here')
        const before = await lab.listing()
        const reason = new Error('not wanted any more')
        const options: CallOptions = { signal: AbortSignal.abort(reason) }
        const a = lab.path('a.txt')
        const b = lab.path('b.txt')
        const calls: readonly (() => Promise<unknown>)[] = [
          () => lab.files.mkdir(lab.path('folder'), options),
          () => lab.files.write(b, streamOf('b'), entryOf('b.txt', 'b'), options),
          () => lab.files.put(lab.local('here'), b, options),
          () => lab.files.get(a, lab.local('back'), options),
          () => lab.files.open(a, options),
          () => lab.files.read(a, options),
          () => lab.files.readMany([a], options),
          () => lab.files.writeAtomic(b, 'b', options),
          () => lab.files.rename(a, b, options),
          () => lab.files.list(lab.path(), options),
          () => lab.files.checksums(lab.path(), ['a.txt'], options),
          () => lab.files.exists(a, options),
          () => lab.files.remove(a, options),
          () => lab.files.freeSpace(lab.path(), options),
        ]
        for (const [index, call] of calls.entries()) {
          expect(await rejection(call()), `call ${index}`).to.equal(reason)
        }
        expect(await lab.listing()).to.deep.equal(before)
        expect(await readdir(lab.local())).to.deep.equal(['here'])
      },
    ),

    claim('T2.21', 'an abort in the middle of a write leaves nothing', async (lab) => {
      const controller = new AbortController()
      const reason = new Error('enough')
      async function* pieces(): AsyncGenerator<Buffer> {
        yield Buffer.from('first')
        controller.abort(reason)
        await new Promise((resolve) => setImmediate(resolve))
        yield Buffer.from('second')
      }
      const write = lab.files.write(
        lab.path('a.txt'),
        Readable.from(pieces(), { objectMode: false }),
        entryOf('a.txt', 'firstsecond'),
        { signal: controller.signal },
      )
      expect(await rejection(write)).to.equal(reason)
      expect(await lab.listing()).to.deep.equal([])
    }),

    claim('T2.22', 'a path that is not absolute is a programming mistake', async (lab) => {
      for (const call of [
        () => lab.files.mkdir('relative'),
        () => lab.files.read('./relative'),
        () => lab.files.remove(''),
        () => lab.files.list('../relative'),
      ]) {
        expect(await rejection(call())).to.be.instanceOf(TypeError)
      }
    }),

    claim(
      'T2.23',
      'a folder is no file, and a file is no folder: such a mix-up is an error that says so',
      async (lab) => {
        await write(lab, lab.path('file'), 'x')
        await lab.files.mkdir(lab.path('folder'))
        await mkdir(lab.local('folder'))
        for (const call of [
          () => lab.files.read(lab.path('folder')),
          () => lab.files.open(lab.path('folder')),
          () => lab.files.mkdir(lab.path('file')),
          () => lab.files.mkdir(lab.path('file', 'below')),
          () => write(lab, lab.path('file', 'below', 'x.txt'), 'x'),
          () => lab.files.put(lab.local('folder'), lab.path('target')),
        ]) {
          expect(await rejection(call())).to.be.instanceOf(PipelineError)
        }
        expect(await lab.listing()).to.deep.equal(['file', 'folder (folder)'])
      },
    ),

    claim(
      'T2.24',
      'a large file is streamed both ways: whole, and without being held in memory',
      async (lab) => {
        const { bytes, maxGrowthBytes } = lab.largeFile
        const piece = Buffer.alloc(64 * 1024, 'piece ')
        const before = process.memoryUsage().rss
        let peak = before
        function* pieces(): Generator<Buffer> {
          for (let left = bytes; left > 0; left -= piece.length) {
            peak = Math.max(peak, process.memoryUsage().rss)
            yield left < piece.length ? piece.subarray(0, left) : piece
          }
        }
        const sum = createHash('sha256')
        for (const part of pieces()) sum.update(part)
        const hex = sum.digest('hex')
        const path = lab.path('large.dat')
        const entry = { path: 'large.dat', bytes, checksum: { algorithm: 'sha256', hex } as const }
        await lab.files.write(path, Readable.from(pieces(), { objectMode: false }), entry)
        await lab.files.get(path, lab.local('large.dat'))
        expect((await stat(lab.local('large.dat'))).size).to.equal(bytes)
        await lab.files.put(lab.local('large.dat'), lab.path('again.dat'))
        expect((await lab.files.checksums(lab.path(), ['again.dat'])).get('again.dat')).to.equal(hex)
        for await (const _chunk of await lab.files.open(path))
          peak = Math.max(peak, process.memoryUsage().rss)
        if (maxGrowthBytes !== undefined)
          expect(peak - before, 'growth of memory').to.be.below(maxGrowthBytes)
      },
    ),

    claim('T2.25', 'a local path, where one is told, leads to the very file', async (lab) => {
      await write(lab, lab.path('a.txt'), 'the very file')
      const path = lab.files.localPath?.(lab.path('a.txt'))
      if (path !== undefined) expect(await readFile(path, 'utf8')).to.equal('the very file')
    }),
  ],
}
