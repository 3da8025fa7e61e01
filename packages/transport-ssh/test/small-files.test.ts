import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { expect } from 'chai'
import fc from 'fast-check'
import { InputError, NotFoundError } from '@orbweaver/core'
import { TAR_END, readTar, tarFile } from '#src/files/tar.js'
import { startLab, type SshLab } from './support/lab.js'

const NAMES = Array.from({ length: 700 }, (_, index) => `series ${index % 7}/-img $(x) ${index} é.dcm`)

describe('many small files', () => {
  let lab: SshLab
  beforeEach(async () => {
    lab = await startLab()
    for (const name of NAMES) {
      const path = join(lab.folder, name)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, contentOf(name))
    }
  })
  afterEach(async () => {
    await lab.dispose()
  })

  const contentOf = (name: string): string => name.repeat(NAMES.indexOf(name) % 50)
  const entries = NAMES.map((path) => ({ path, bytes: Buffer.byteLength(contentOf(path)) }))
  const rejection = async (promise: Promise<unknown>): Promise<unknown> =>
    await promise.then(
      () => 'it did not fail',
      (error: unknown) => error,
    )

  it('are fetched together, in whatever order they are wanted, and again', async () => {
    const { transport, server, folder } = lab
    const before = server.channels
    const gathering = transport.files.gather?.(folder, entries)
    if (gathering === undefined) throw new Error('nothing is gathered')
    const wanted = [...NAMES.slice(300), ...NAMES.slice(0, 300).toReversed()]
    for (const name of wanted)
      expect((await buffer(await gathering.open(name))).toString()).to.equal(contentOf(name))
    // 700 files, in a handful of exchanges.
    expect(server.channels - before).to.be.below(20)
    for (const name of NAMES.slice(0, 3))
      expect((await buffer(await gathering.open(name))).toString()).to.equal(contentOf(name))
    await gathering.close()
  })

  it('say what is wrong with one of them, and give the others', async () => {
    const { transport, folder } = lab
    const [gone = '', link = '', other = ''] = NAMES
    await rm(join(folder, gone))
    await rm(join(folder, link))
    await symlink(join(folder, other), join(folder, link))
    await writeFile(join(folder, 'large'), Buffer.alloc(1e6, 'large'))
    const gathering = transport.files.gather?.(folder, [...entries, { path: 'large', bytes: 1e6 }])
    if (gathering === undefined) throw new Error('nothing is gathered')
    expect(await rejection(gathering.open(gone))).to.be.instanceOf(NotFoundError)
    expect((await buffer(await gathering.open(other))).toString()).to.equal(contentOf(other))
    expect(await buffer(await gathering.open('large'))).to.have.length(1e6)
    expect(await rejection(gathering.open('../outside'))).to.be.instanceOf(InputError)
    await gathering.close()
    expect(() => transport.files.gather?.(folder, [{ path: '../outside', bytes: 1 }])).to.throw(InputError)
  })

  it('are sent together from this machine', async () => {
    const { transport, server, folder, localFolder } = lab
    await mkdir(join(folder, 'sent'))
    for (const name of NAMES) {
      mkdirSync(dirname(join(localFolder, name)), { recursive: true })
      writeFileSync(join(localFolder, name), contentOf(name))
    }
    const before = server.channels
    const batch = transport.files.batch?.(join(folder, 'sent', 'all'))
    if (batch === undefined) throw new Error('no batch')
    await Promise.all(NAMES.map(async (name) => await batch.copyFrom?.(name, join(localFolder, name))))
    await batch.finish()
    expect(server.channels - before).to.be.below(5)
    for (const name of NAMES)
      expect(readFileSync(join(folder, 'sent', 'all', name), 'utf8')).to.equal(contentOf(name))
    expect(await readdir(join(folder, 'sent'))).to.deep.equal(['all'])
  })
})

describe('tar', () => {
  const folders: string[] = []
  const folder = (): string => {
    const made = mkdtempSync(join(tmpdir(), 'orbweaver-tar-'))
    folders.push(made)
    return made
  }
  after(() => {
    for (const made of folders) rmSync(made, { recursive: true })
  })
  const files = fc.uniqueArray(
    fc.record({
      name: fc
        .array(fc.stringMatching(/^[a-z0-9 é日$'"-]{1,60}$/u), { minLength: 1, maxLength: 4 })
        .map((parts) => parts.map((part) => `x${part}`).join('/')),
      data: fc.uint8Array({ maxLength: 2000 }).map((data) => Buffer.from(data)),
    }),
    { selector: ({ name }) => name.split('/')[0], minLength: 1, maxLength: 5 },
  )

  it('that we make is unpacked by the program, and the other way round', function () {
    if (process.platform !== 'linux') this.skip() // the programs of others write more than files
    fc.assert(
      fc.property(files, (all) => {
        const here = folder()
        const archive = Buffer.concat([...all.flatMap(({ name, data }) => tarFile(name, data, 1e9)), TAR_END])
        expect([...readTar(archive)].map(({ name, data }) => [name, data.toString('hex')])).to.deep.equal(
          all.map(({ name, data }) => [name, data.toString('hex')]),
        )
        execFileSync('tar', ['-x', '-C', here], { input: archive })
        for (const { name, data } of all) expect(readFileSync(join(here, name)).equals(data)).to.equal(true)
        const words = ['-c', '--format=gnu', '-C', here, '--', ...all.map(({ name }) => name)]
        expect(
          [...readTar(execFileSync('tar', words))].map(({ name, type, data }) => [
            name,
            type,
            data.toString('hex'),
          ]),
        ).to.deep.equal(all.map(({ name, data }) => [name, 'file', data.toString('hex')]))
      }),
      { numRuns: 25 },
    )
  })

  it('that is damaged or cut off is no tar', () => {
    const archive = Buffer.concat([...tarFile('name', Buffer.from('data'), 1e9), TAR_END])
    for (let length = 0; length < 1536; length += 1)
      expect(() => [...readTar(archive.subarray(0, length))], String(length)).to.throw()
    for (let at = 0; at < 512; at += 1) {
      const damaged = Buffer.from(archive)
      damaged[at] = (damaged[at] ?? 0) ^ 0x01
      // The byte after the sum says nothing.
      if (at !== 155) expect(() => [...readTar(damaged)], String(at)).to.throw()
    }
  })
})
