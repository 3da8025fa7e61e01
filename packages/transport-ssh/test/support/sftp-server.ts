/** SFTP over the files of this machine, as far as the transport uses it. */

import * as fs from 'node:fs'
import ssh2, { type FileEntry, type SFTPWrapper } from 'ssh2'

const { STATUS_CODE, flagsToString } = ssh2.utils.sftp

export function fileSystemOver(sftp: SFTPWrapper): void {
  const open = new Map<number, number | { readonly path: string; done: boolean }>()
  const writes = new Map<number, Promise<void>>()
  let last = 0
  const handleOf = (value: number | { readonly path: string; done: boolean }): Buffer => {
    last += 1
    open.set(last, value)
    const handle = Buffer.alloc(4)
    handle.writeUInt32BE(last)
    return handle
  }
  const of = (handle: Buffer): number | { readonly path: string; done: boolean } | undefined =>
    open.get(handle.readUInt32BE())
  const settle =
    (id: number) =>
    (error: NodeJS.ErrnoException | null): void =>
      sftp.status(id, error === null ? STATUS_CODE.OK : codeOf(error))

  sftp.on('OPEN', (id, path, flags, attrs) => {
    fs.open(path, flagsToString(flags) ?? 'r', attrs.mode ?? 0o600, (error, file) => {
      if (error === null) sftp.handle(id, handleOf(file))
      else sftp.status(id, codeOf(error))
    })
  })
  sftp.on('READ', (id, handle, offset, length) => {
    const file = of(handle)
    if (typeof file !== 'number') {
      sftp.status(id, STATUS_CODE.FAILURE)
      return
    }
    const data = Buffer.alloc(length)
    fs.read(file, data, 0, length, offset, (error, bytes) => {
      if (error !== null) sftp.status(id, codeOf(error))
      else if (bytes === 0) sftp.status(id, STATUS_CODE.EOF)
      else sftp.data(id, data.subarray(0, bytes))
    })
  })
  sftp.on('WRITE', (id, handle, offset, data) => {
    const file = of(handle)
    if (typeof file !== 'number') sftp.status(id, STATUS_CODE.FAILURE)
    else {
      // One after another, as OpenSSH's server does: what is closed has been written.
      const written = Buffer.from(data)
      const last = writes.get(file) ?? Promise.resolve()
      const done = last.then(
        () =>
          new Promise<void>((resolve) => {
            fs.write(file, written, 0, written.length, offset, (error) => {
              settle(id)(error)
              resolve()
            })
          }),
      )
      writes.set(file, done)
    }
  })
  sftp.on('CLOSE', (id, handle) => {
    const file = of(handle)
    open.delete(handle.readUInt32BE())
    if (typeof file === 'number') {
      const last = writes.get(file) ?? Promise.resolve()
      writes.delete(file)
      void last.then(() => fs.close(file, settle(id)))
    } else sftp.status(id, STATUS_CODE.OK)
  })
  const stat = (id: number, path: string): void => {
    fs.stat(path, (error, stats) => {
      if (error === null) sftp.attrs(id, attributes(stats))
      else sftp.status(id, codeOf(error))
    })
  }
  sftp.on('STAT', stat)
  sftp.on('OPENDIR', (id, path) => {
    fs.stat(path, (error) => {
      if (error === null) sftp.handle(id, handleOf({ path, done: false }))
      else sftp.status(id, codeOf(error))
    })
  })
  sftp.on('READDIR', (id, handle) => {
    const folder = of(handle)
    if (typeof folder !== 'object' || folder.done) {
      sftp.status(id, typeof folder === 'object' ? STATUS_CODE.EOF : STATUS_CODE.FAILURE)
      return
    }
    folder.done = true
    const names: FileEntry[] = fs.readdirSync(folder.path).map((filename) => ({
      filename,
      longname: filename,
      attrs: attributes(fs.lstatSync(`${folder.path}/${filename}`)),
    }))
    if (names.length === 0) sftp.status(id, STATUS_CODE.EOF)
    else sftp.name(id, names)
  })
  sftp.on('close', () => {
    for (const file of open.values()) {
      if (typeof file !== 'number') continue
      const last = writes.get(file) ?? Promise.resolve()
      void last.then(() => fs.close(file, () => undefined))
    }
  })
}

function attributes(stats: fs.Stats): FileEntry['attrs'] {
  const { mode, uid, gid, size } = stats
  return {
    mode,
    uid,
    gid,
    size,
    atime: stats.atimeMs / 1000,
    mtime: stats.mtimeMs / 1000,
  }
}

/** As OpenSSH's server translates them: most reasons are just "failure". */
function codeOf({ code }: NodeJS.ErrnoException): number {
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return STATUS_CODE.NO_SUCH_FILE
  if (code === 'EACCES' || code === 'EPERM') return STATUS_CODE.PERMISSION_DENIED
  return STATUS_CODE.FAILURE
}
