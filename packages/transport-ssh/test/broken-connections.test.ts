/** A connection may break at any message, in any direction: work is done, or told to be tried again; never anything else. */

import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect } from 'chai'
import { TransportUnavailableError, type FileEntry, type Transport } from '@orbweaver/core'
import { startLab, type SshLab } from './support/lab.js'

const SMALL = Buffer.from('a few words\n')
const LARGE = Buffer.alloc(1.5 * 1024 ** 2, 'longer than one message, and not to be sent in one piece. ')

const entryOf = (data: Buffer): FileEntry => ({
  path: 'x',
  bytes: data.length,
  checksum: { algorithm: 'sha256', hex: createHash('sha256').update(data).digest('hex') },
})

interface Place {
  readonly transport: Transport
  /** On the far side. There are `small` and `large` in it. */
  readonly folder: string
  readonly localFolder: string
}

interface Work {
  readonly title: string
  /** May be done again. */
  readonly does: (place: Place) => Promise<void>
}

const same = async (file: string, data: Buffer): Promise<void> => {
  expect((await readFile(file)).equals(data), file).to.equal(true)
}

const WORKS: readonly Work[] = [
  { title: 'make a folder', does: ({ transport, folder }) => transport.files.mkdir(join(folder, 'a/b')) },
  {
    title: 'write a small file',
    does: async ({ transport, folder }) => {
      await transport.files.writeAtomic(join(folder, 'out'), SMALL.toString())
      await same(join(folder, 'out'), SMALL)
    },
  },
  {
    title: 'write a large file',
    does: async ({ transport, folder }) => {
      const source = Readable.from([LARGE.subarray(0, 1e6), LARGE.subarray(1e6)], { objectMode: false })
      await transport.files.write(join(folder, 'out'), source, entryOf(LARGE))
      await same(join(folder, 'out'), LARGE)
    },
  },
  {
    title: 'send a large file',
    does: async ({ transport, folder, localFolder }) => {
      await transport.files.put(join(localFolder, 'large'), join(folder, 'out'))
      await same(join(folder, 'out'), LARGE)
    },
  },
  {
    title: 'fetch a file',
    does: async ({ transport, folder, localFolder }) => {
      await transport.files.get(join(folder, 'large'), join(localFolder, 'got'))
      await same(join(localFolder, 'got'), LARGE)
    },
  },
  {
    title: 'open a file',
    does: async ({ transport, folder }) => {
      const content = await buffer(await transport.files.open(join(folder, 'large')))
      expect(content.equals(LARGE)).to.equal(true)
    },
  },
  {
    title: 'read many small files',
    does: async ({ transport, folder }) => {
      const paths = ['small', 'none', 'again'].map((name) => join(folder, name))
      const found = await transport.files.readMany(paths)
      expect([...found.values()]).to.deep.equal([SMALL.toString(), SMALL.toString()])
    },
  },
  {
    title: 'list a folder',
    does: async ({ transport, folder }) => {
      expect((await transport.files.list(folder)).map(({ path }) => path)).to.include.members([
        'large',
        'small',
      ])
    },
  },
  {
    title: 'compute checksums',
    does: async ({ transport, folder }) => {
      const sums = await transport.files.checksums(folder, ['small', 'large'])
      expect(sums.get('large')).to.equal(entryOf(LARGE).checksum?.hex)
    },
  },
  {
    title: 'remove a folder and make it anew',
    does: async ({ transport, folder }) => {
      const path = join(folder, 'work')
      await mkdir(join(path, 'deep'), { recursive: true })
      await transport.files.remove(path)
      await transport.files.mkdir(path)
      await transport.files.writeAtomic(join(path, 'new'), 'new')
      expect(await readdir(path)).to.deep.equal(['new'])
    },
  },
  {
    title: 'send many files together',
    does: async ({ transport, folder }) => {
      await rm(join(folder, 'batch'), { recursive: true, force: true })
      const batch = transport.files.batch?.(join(folder, 'batch'))
      if (batch === undefined) throw new Error('no batch')
      try {
        for (const name of ['a', 'b', 'c']) await batch.write(name, Readable.from([SMALL]), entryOf(SMALL))
        await batch.finish()
      } finally {
        await batch.abandon()
      }
      expect(await readdir(join(folder, 'batch'))).to.deep.equal(['a', 'b', 'c'])
    },
  },
  {
    title: 'fetch many files together',
    does: async ({ transport, folder }) => {
      const files = ['again', 'large', 'small'].map((path) => ({
        path,
        bytes: path === 'large' ? LARGE.length : SMALL.length,
      }))
      const gathering = transport.files.gather?.(folder, files)
      if (gathering === undefined) throw new Error('nothing is fetched together')
      try {
        for (const { path, bytes } of files)
          expect(await buffer(await gathering.open(path))).to.have.length(bytes)
      } finally {
        await gathering.close()
      }
    },
  },
  {
    title: 'run a program',
    does: async ({ transport }) => {
      const argv = ['/bin/sh', '-c', 'cat; echo ended >&2; exit 3']
      const result = await transport.runner.run({ argv, stdin: 'input' })
      expect(result).to.deep.equal({ exitCode: 3, stdout: 'input', stderr: 'ended\n' })
    },
  },
]

/** Every message at the beginning, fewer later: large transfers are many messages of one kind. */
const NUMBERS = [1, 2, 3, 4, 5, 7, 10, 14]

describe('connections that break', function () {
  this.timeout(60_000)
  let lab: SshLab
  before(async () => {
    lab = await startLab()
  })
  after(() => lab.dispose())

  const prepare = async (): Promise<Place> => {
    const { transport, folder, localFolder } = lab
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true })
    for (const name of ['small', 'again']) await writeFile(join(folder, name), SMALL)
    for (const place of [folder, localFolder]) await writeFile(join(place, 'large'), LARGE)
    return { transport, folder, localFolder }
  }

  for (const direction of ['from', 'to'] as const) {
    it(`at any message ${direction} the server while it logs in again: the call waits for the next connection`, async () => {
      const { transport } = lab
      await transport.files.exists('/')
      for (let number = 1; number <= 12; number += 1) {
        lab.server.cut()
        lab.server.cutAtMessage(direction, number)
        expect(await transport.files.exists('/')).to.equal(true)
      }
    })
  }

  for (const { title, does } of WORKS) {
    for (const direction of ['from', 'to'] as const) {
      it(`at any message ${direction} the server: ${title}`, async () => {
        for (const number of NUMBERS) {
          const place = await prepare()
          await place.transport.files.exists('/')
          const cut = lab.server.cutAtMessage(direction, number)
          try {
            await does(place)
          } catch (error) {
            if (!(error instanceof TransportUnavailableError))
              throw new Error(`message ${number}: ${String(error)}`, { cause: error })
          }
          const over = !cut()
          lab.server.cutAtMessage(direction, Infinity)
          if (over) break
          await does(place)
        }
      })
    }
  }

  for (const direction of ['from', 'to'] as const) {
    it(`at any message ${direction} the server: a command that is left behind has ended when the next one runs`, async () => {
      const { runner } = lab.transport
      const script = 'echo begun >>"$1"; sleep 0.3; echo ended >>"$1"'
      const marks: string[] = []
      for (let number = 1; number <= 9; number += 1) {
        const { folder } = await prepare()
        const mark = join(folder, 'mark')
        await runner.run({ argv: ['true'] })
        const cut = lab.server.cutAtMessage(direction, number)
        try {
          await runner.run({ argv: ['/bin/sh', '-c', script, 'sh', mark], timeoutMs: 20_000 })
        } catch (error) {
          expect(error).to.be.instanceOf(TransportUnavailableError)
        }
        const over = !cut()
        lab.server.cutAtMessage(direction, Infinity)
        await runner.run({ argv: ['true'] })
        marks.push(await readFile(mark, 'utf8').catch(() => ''))
        if (over) break
      }
      expect(marks.filter((text) => text !== '' && text !== 'begun\nended\n')).to.deep.equal([])
      expect(marks, 'some had begun').to.include('begun\nended\n')
    })
  }

  it('a command that is left behind for longer than it was given is ended', async () => {
    const { transport, folder } = await prepare()
    const file = join(folder, 'pid')
    const argv = ['/bin/sh', '-c', 'echo $$ >"$1"; exec sleep 300', 'sh', file]
    await transport.runner.run({ argv: ['true'] })
    let over = false
    const run = transport.runner
      .run({ argv, timeoutMs: 1500 })
      .catch((error: unknown) => error)
      .finally(() => (over = true))
    while (!over && (await readFile(file, 'utf8').catch(() => '')) === '')
      await new Promise((resolve) => setTimeout(resolve, 5))
    lab.server.cut()
    expect(await run).to.be.instanceOf(TransportUnavailableError)
    const pid = (await readFile(file, 'utf8')).trim()
    const { stdout } = await transport.runner.run({ argv: ['/bin/sh', '-c', `kill -0 ${pid} || echo gone`] })
    expect(stdout).to.equal('gone\n')
  })
})
