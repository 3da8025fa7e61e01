import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import { IntegrityError } from '@orbweaver/core'
import { KEPT_BYTES, takePart } from '#src/files/parts.js'
import { startLab, type SshLab } from './support/lab.js'

/** Not a whole number of requests. */
const CONTENT = randomBytes(KEPT_BYTES + 12_345)
const SHA256 = createHash('sha256').update(CONTENT).digest('hex')
const ENTRY = {
  path: 'big',
  bytes: CONTENT.length,
  checksum: { algorithm: 'sha256', hex: SHA256 },
} as const
/** What an engine had sent when it was killed. */
const BEGINNING = CONTENT.subarray(0, 20_000_003)
const OTHER = Buffer.alloc(BEGINNING.length, 'something else ')

describe('large files that were cut off', function () {
  this.timeout(120_000)
  let lab: SshLab
  beforeEach(async () => {
    lab = await startLab()
  })
  afterEach(async () => {
    await lab.dispose()
  })

  const stream = (): Readable =>
    Readable.from([CONTENT.subarray(0, 5e6), CONTENT.subarray(5e6)], { objectMode: false })
  const inode = async (path: string): Promise<bigint> => (await stat(path, { bigint: true })).ino
  /** The part that an earlier process had of a file, and its inode. */
  const leave = async (
    path: string,
    side: 'here' | 'there',
    source: string,
    data: Buffer,
  ): Promise<bigint> => {
    const part = takePart(path, side, source)
    part.release()
    await mkdir(dirname(part.path), { recursive: true })
    await writeFile(part.path, data, { mode: 0o600 })
    return await inode(part.path)
  }
  /** Of the lab's folders: it holds the content under that name alone, and whether it is the very file that was left there. */
  const check = async (path: string, left: bigint, goesOn: boolean): Promise<void> => {
    expect((await readFile(path)).equals(CONTENT)).to.equal(true)
    expect((await stat(path)).mode & 0o777).to.equal(0o600)
    if (goesOn) expect(await inode(path)).to.equal(left)
    expect(await readdir(dirname(path))).to.deep.equal(['big'])
  }

  for (const [what, data, goesOn] of [
    ['go on with what an earlier engine left', BEGINNING, true],
    ['are whole when all of it was there already', CONTENT, true],
    ['are begun anew when what was left is something else', OTHER, false],
    ['are begun anew when what was left is longer', Buffer.concat([CONTENT, OTHER]), false],
  ] as const) {
    it(`${what}: put and get`, async () => {
      const here = join(lab.localFolder, 'source')
      await writeFile(here, CONTENT)
      const found = await stat(here, { bigint: true })
      const far = join(lab.folder, 'a', 'big')
      const source = [here, found.dev, found.ino, found.size, found.mtimeNs].join(' ')
      const leftThere = await leave(far, 'there', source, data)
      await lab.transport.files.put(here, far)
      await check(far, leftThere, goesOn)

      const near = join(lab.localFolder, 'b', 'big')
      const { mtimeMs } = await stat(far)
      const identity = [far, CONTENT.length, Math.floor(mtimeMs / 1000)].join(' ')
      const leftHere = await leave(near, 'here', identity, data)
      await lab.transport.files.get(far, near)
      await check(near, leftHere, goesOn)
    })
  }

  it('go on as streams, which are compared with what was announced', async () => {
    const far = join(lab.folder, 'a', 'big')
    const left = await leave(far, 'there', `sha256 ${SHA256}`, BEGINNING)
    await lab.transport.files.write(far, stream(), ENTRY)
    await check(far, left, true)

    const other = join(lab.folder, 'b', 'big')
    await leave(other, 'there', `sha256 ${SHA256}`, OTHER)
    const ended = await lab.transport.files.write(other, stream(), ENTRY).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(ended).to.be.instanceOf(IntegrityError)
    expect(await readdir(dirname(other))).to.deep.equal([])
    await lab.transport.files.write(other, stream(), ENTRY)
    await check(other, 0n, false)
  })

  it('leave what was sent when they are stopped, in no listing, and another process goes on with it', async () => {
    const { files } = lab.transport
    const far = join(lab.folder, 'a', 'big')
    const stop = new AbortController()
    const stopped = new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()))
    async function* half(): AsyncGenerator<Buffer> {
      yield CONTENT.subarray(0, 30e6)
      await stopped
    }
    const content = Readable.from(half(), { objectMode: false })
    const write = files.write(far, content, ENTRY, { signal: stop.signal }).then(
      () => undefined,
      (error: unknown) => error,
    )
    const parts = async (): Promise<readonly string[]> => await readdir(dirname(far)).catch(() => [])
    const sent = async (): Promise<number> => {
      const [name] = await parts()
      return name === undefined ? 0 : (await stat(join(dirname(far), name))).size
    }
    while ((await sent()) < 20e6) await new Promise((resolve) => setTimeout(resolve, 5))
    stop.abort(new Error('enough'))
    expect(await write).to.have.property('message', 'enough')
    expect(await files.list(dirname(far))).to.deep.equal([])
    const [name = ''] = await parts()
    expect(name).to.match(/^\.orbweaver-[0-9a-f]{16}\.kept\.part$/)
    const left = await inode(join(dirname(far), name))
    await lab.transport.close()
    await lab.connect().files.write(far, stream(), ENTRY)
    await check(far, left, true)
  })

  it('stay when the folder around them is cleared, and nothing else does', async () => {
    const { files } = lab.transport
    const root = join(lab.folder, 'work space')
    await leave(join(root, 'inputs', "it's $(x)", 'big'), 'there', 'source', BEGINNING)
    for (const name of ['exit.json', 'inputs/t1/image', 'outputs/.orbweaver-0123456789abcdef.part']) {
      await mkdir(dirname(join(root, name)), { recursive: true })
      await writeFile(join(root, name), 'old')
    }
    await files.clear?.(root)
    expect(await readdir(lab.folder)).to.deep.equal(['work space'])
    expect(await readdir(root)).to.deep.equal(['inputs'])
    expect(await readdir(join(root, 'inputs'))).to.deep.equal(["it's $(x)"])
    expect((await readdir(join(root, 'inputs', "it's $(x)"))).join()).to.match(
      /^\.orbweaver-\w+\.kept\.part$/,
    )
    await files.clear?.(join(lab.folder, 'new', 'folder'))
    expect(await readdir(join(lab.folder, 'new'))).to.deep.equal(['folder'])
  })
})
