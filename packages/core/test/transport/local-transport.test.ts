import { execFileSync } from 'node:child_process'
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  realpath,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import {
  AccessDeniedError,
  InputError,
  IntegrityError,
  NoSpaceError,
  NotFoundError,
  TransportUnavailableError,
  createFolderSink,
  createFolderSource,
  createLocalTransport,
  fileError,
  hashFile,
} from '@orbweaver/core'
import { asNobody } from '../support/as-nobody.js'

const { files, runner } = createLocalTransport({ killGraceMs: 100 })

async function failure(promise: Promise<unknown>): Promise<Error> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof Error)) throw new Error('it did not fail')
  return error
}

describe('local transport', () => {
  let folder = ''
  const at = (...parts: readonly string[]): string => join(folder, ...parts)

  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'orbweaver-local-')))
  })
  afterEach(() => files.remove(folder))

  describe('commands', () => {
    it('gives up on output that a process outside the group keeps open', async () => {
      const pidFile = at('pid')
      // setsid leaves the group, so that nothing of ours can end it: the call must come back all the same.
      const script =
        'setsid sh -c \'echo $$ > "$1"; exec sleep 60\' sh "$1" & while [ ! -s "$1" ]; do sleep 0.05; done'
      const run = runner.run({ argv: ['/bin/sh', '-c', script, 'sh', pidFile], timeoutMs: 800 })
      expect(await failure(run)).to.be.instanceOf(TransportUnavailableError)
      process.kill(Number(await readFile(pidFile, 'utf8')))
    })

    it('refuses words with a NUL character, and an empty list of words', async () => {
      expect(await failure(runner.run({ argv: ['echo', 'a\0b'] }))).to.be.instanceOf(InputError)
      expect(await failure(runner.run({ argv: [] }))).to.be.instanceOf(TypeError)
    })

    it('says that a program may not be executed', async function () {
      await writeFile(at('program'), 'x', { mode: 0o600 })
      expect(await failure(runner.run({ argv: [at('program')] }))).to.be.instanceOf(AccessDeniedError)
    })

    it('does not take a folder of the PATH that may not be entered for a program', async () => {
      await mkdir(at('closed'), { mode: 0o000 })
      const own = createLocalTransport({ path: `${at('closed')}:/usr/bin:/bin` }).runner
      await asNobody([folder, at('closed')], async () => {
        expect(await failure(own.run({ argv: ['orbweaver-no-such-program'] }))).to.be.instanceOf(
          NotFoundError,
        )
        expect((await own.run({ argv: ['true'] })).exitCode).to.equal(0)
      })
    })

    it('says that arguments are too long for the system', async () => {
      const argv = ['true', ...Array.from({ length: 40 }, () => 'x'.repeat(120_000))]
      expect(await failure(runner.run({ argv }))).to.be.instanceOf(InputError)
    })

    it('looks for programs where it was told to', async () => {
      await writeFile(at('tool'), '#!/bin/sh\necho "$0 in $HOME"\n', { mode: 0o700 })
      const own = createLocalTransport({ path: folder, home: '/somewhere' }).runner
      expect((await own.run({ argv: ['tool'] })).stdout).to.equal(`${at('tool')} in /somewhere\n`)
      expect(await failure(runner.run({ argv: ['tool'] }))).to.be.instanceOf(NotFoundError)
    })
  })

  describe('files', () => {
    it('copies files that are too large for one step', async () => {
      const piece = Buffer.alloc(1024 ** 2, 'piece ')
      await files.write(
        at('large'),
        Readable.from(
          Array.from({ length: 20 }, () => piece),
          { objectMode: false },
        ),
        { path: 'large', bytes: 20 * piece.length },
      )
      await files.put(at('large'), at('deep', 'copy'), { mode: 0o640 })
      expect(await hashFile(at('deep', 'copy'))).to.equal(await hashFile(at('large')))
      expect((await stat(at('deep', 'copy'))).mode & 0o777).to.equal(0o640)
    })

    it('puts a file that its owner cannot write to', async () => {
      await writeFile(at('read-only'), 'text', { mode: 0o400 })
      await files.put(at('read-only'), at('copy'))
      expect((await stat(at('copy'))).mode & 0o777).to.equal(0o600)
    })

    it('follows the mode it was given whatever the umask', async () => {
      const before = process.umask(0o077)
      try {
        await files.writeAtomic(at('a.sh'), 'x', { mode: 0o755 })
      } finally {
        process.umask(before)
      }
      expect((await stat(at('a.sh'))).mode & 0o777).to.equal(0o755)
    })

    it('does not wait for the other end of a pipe', async () => {
      execFileSync('mkfifo', [at('pipe')])
      for (const call of [
        files.read(at('pipe')),
        files.open(at('pipe')),
        files.put(at('pipe'), at('copy')),
      ]) {
        expect(await failure(call)).to.be.instanceOf(InputError)
      }
      expect((await files.list(folder)).map(({ path, kind }) => [path, kind])).to.deep.equal([
        ['pipe', 'other'],
      ])
    })

    it('lists and removes names that are no UTF-8', async () => {
      const name = Buffer.concat([Buffer.from(`${folder}/sub/`), Buffer.from([0x62, 0xff, 0x64])])
      await mkdir(at('sub'))
      await writeFile(name, 'x')
      expect((await files.list(folder)).map(({ kind }) => kind)).to.deep.equal(['folder', 'other'])
      await files.remove(at('sub'))
      expect(await readdir(folder)).to.deep.equal([])
    })

    it('removes folders that their owner cannot write to', async () => {
      await mkdir(at('closed', 'inner'), { recursive: true })
      await writeFile(at('closed', 'inner', 'file'), 'x')
      await chmod(at('closed', 'inner'), 0o500)
      await chmod(at('closed'), 0o000)
      await files.remove(at('closed'))
      expect(await readdir(folder)).to.deep.equal([])
    })

    it('removes a link given with a slash at its end, not what it leads to', async () => {
      await mkdir(at('target'))
      await writeFile(at('target', 'kept'), 'x')
      await symlink(at('target'), at('link'))
      await files.remove(`${at('link')}/`)
      expect(await readdir(folder)).to.deep.equal(['target'])
      expect(await readdir(at('target'))).to.deep.equal(['kept'])
    })

    it('never removes the root of the file system', async () => {
      expect(await failure(files.remove('/'))).to.be.instanceOf(InputError)
      expect(await failure(files.remove('//'))).to.be.instanceOf(InputError)
    })

    it('leaves no part of a file behind when the place is taken', async () => {
      await mkdir(at('taken', 'inside'), { recursive: true })
      expect(await failure(files.writeAtomic(at('taken'), 'x'))).to.be.instanceOf(InputError)
      expect(await readdir(folder)).to.deep.equal(['taken'])
    })

    it('says that a folder may not be written to', async () => {
      await mkdir(at('closed'), { mode: 0o500 })
      await asNobody([folder, at('closed')], async () => {
        const error = await failure(files.writeAtomic(at('closed', 'a.txt'), 'x'))
        expect(error).to.be.instanceOf(AccessDeniedError)
        expect(error.message).to.include(at('closed', 'a.txt'))
        expect(await failure(files.mkdir(at('closed', 'sub')))).to.be.instanceOf(AccessDeniedError)
      })
    })

    it('reads files whose size the system does not tell', async () => {
      if (process.platform !== 'linux') return
      expect(await files.read('/proc/self/status')).to.match(/^Name:/)
      const tail = await files.read('/proc/self/status', { maxBytes: 10, tail: true }).catch(() => '')
      expect(tail.length).to.be.at.most(10)
    })
  })

  describe('folder sources and sinks', () => {
    it('offers every file of a folder with size and checksum', async () => {
      await mkdir(at('a', 'b'), { recursive: true })
      await writeFile(at('a', 'b', 'c.txt'), 'text')
      await writeFile(at('empty'), '')
      const source = await createFolderSource(folder)
      expect(source.files).to.deep.equal([
        {
          path: 'a/b/c.txt',
          bytes: 4,
          checksum: { algorithm: 'sha256', hex: await hashFile(at('a', 'b', 'c.txt')) },
        },
        { path: 'empty', bytes: 0, checksum: { algorithm: 'sha256', hex: await hashFile(at('empty')) } },
      ])
      expect(source.localPath?.('a/b/c.txt')).to.equal(at('a', 'b', 'c.txt'))
    })

    it('takes the files it is told of, and none outside', async () => {
      await writeFile(at('a'), 'a')
      await writeFile(at('b'), 'b')
      const source = await createFolderSource(folder, [{ path: 'a', bytes: 1 }])
      expect(source.files).to.have.length(1)
      expect(await failure(createFolderSource(folder, [{ path: '../a', bytes: 1 }]))).to.be.instanceOf(
        InputError,
      )
      expect(() => source.localPath?.('../../etc/passwd')).to.throw(InputError)
    })

    it('refuses a folder with a link in it, by name', async () => {
      await symlink('/etc/passwd', at('link'))
      const error = await failure(createFolderSource(folder))
      expect(error).to.be.instanceOf(InputError)
      expect(error.message).to.include('link')
    })

    it('writes whole files below its folder only', async () => {
      const sink = createFolderSink(at('sink'))
      const write = (path: string, text: string, bytes = text.length): Promise<void> =>
        sink.write(path, Readable.from([Buffer.from(text)]), { path, bytes })
      await write('a/b.txt', 'text')
      expect(await readFile(at('sink', 'a', 'b.txt'), 'utf8')).to.equal('text')
      expect(await failure(write('../out.txt', 'text'))).to.be.instanceOf(InputError)
      expect(await failure(write('/out.txt', 'text'))).to.be.instanceOf(InputError)
      expect(await failure(write('short.txt', 'text', 9))).to.be.instanceOf(IntegrityError)
      await writeFile(at('local'), 'copied')
      await sink.copyFrom?.('a/c.txt', at('local'))
      expect((await readdir(at('sink', 'a'))).sort()).to.deep.equal(['b.txt', 'c.txt'])
      expect((await readdir(folder)).sort()).to.deep.equal(['local', 'sink'])
    })

    it('never writes through a link, whether it leads somewhere or not', async () => {
      await mkdir(at('outside'))
      await mkdir(at('sink'))
      await symlink(at('outside'), at('sink', 'link'))
      await symlink(at('nowhere'), at('sink', 'dangling'))
      await symlink(at('outside', 'target'), at('sink', 'file'))
      const sink = createFolderSink(at('sink'))
      for (const path of ['link/a.txt', 'dangling/a.txt', 'link/deep/a.txt']) {
        const content = Readable.from([Buffer.from('x')])
        expect(await failure(sink.write(path, content, { path, bytes: 1 })), path).to.be.instanceOf(
          InputError,
        )
        expect(content.destroyed, 'the stream is let go').to.equal(true)
      }
      // A link in the place of the file itself is replaced, not followed.
      await sink.write('file', Readable.from([Buffer.from('x')]), { path: 'file', bytes: 1 })
      expect((await lstat(at('sink', 'file'))).isFile()).to.equal(true)
      expect(await readdir(at('outside'))).to.deep.equal([])
      expect(await readlink(at('sink', 'link'))).to.equal(at('outside'))
    })
  })
})

describe('fileError', () => {
  const systemError = (code: string): Error =>
    Object.assign(new Error(`${code}: something, open`), { code, syscall: 'open' })

  it('turns the codes of the system into errors with what failed, where, and what to do', () => {
    const kinds = {
      ENOSPC: NoSpaceError,
      EDQUOT: NoSpaceError,
      EACCES: AccessDeniedError,
      EPERM: AccessDeniedError,
      EROFS: AccessDeniedError,
      ENOENT: NotFoundError,
      ENOTDIR: NotFoundError,
      EISDIR: InputError,
      ENAMETOOLONG: InputError,
      EIO: TransportUnavailableError,
      ESTALE: TransportUnavailableError,
    }
    for (const [code, kind] of Object.entries(kinds)) {
      const error = fileError(systemError(code), 'write', '/some/pläce') as Error
      expect(error, code).to.be.instanceOf(kind)
      expect(error.message).to.include('Cannot write "/some/pläce"').and.include(code)
      expect(error.cause).to.be.instanceOf(Error)
    }
    expect(fileError(systemError('ENOSPC'), 'write', '/x')).to.have.property('retryable', true)
  })

  it('lets our own errors, aborts and mistakes pass', () => {
    for (const error of [
      new InputError('x'),
      new DOMException('x', 'AbortError'),
      new TypeError('x'),
      Object.assign(new TypeError('x'), { code: 'ERR_INVALID_ARG_TYPE' }),
    ]) {
      expect(fileError(error, 'write', '/x')).to.equal(error)
    }
  })

  it("gives the signal's reason when the call was aborted", () => {
    const reason = new Error('enough')
    expect(fileError(systemError('EIO'), 'write', '/x', AbortSignal.abort(reason))).to.equal(reason)
  })

  it('shows a long or hidden path so that it can be told', () => {
    const { message } = fileError(
      systemError('ENOENT'),
      'read',
      `/${'x'.repeat(500)}/the-end\u200b\n`,
    ) as Error
    expect(message).to.include('the-end\\u200b\\n').and.have.length.below(450)
  })
})
