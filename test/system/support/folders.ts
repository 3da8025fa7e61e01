/** Scratch folders, and a folder's whole content as one word. */

import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** A new folder that {@link removeFolders} removes, whatever modes a test left in it. */
export function scratchFolder(name: string): string {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), `orbweaver-${name}-`)))
  made.push(folder)
  return folder
}
const made: string[] = []

export function removeFolders(): void {
  for (const folder of made.splice(0)) {
    unlock(folder)
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

function unlock(folder: string): void {
  fs.chmodSync(folder, 0o700)
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) unlock(path.join(folder, entry.name))
  }
}

/** Names, kinds, links and bytes of everything below a folder. SQLite's companions (`-wal`, `-shm`) come and go with readers. */
export function treeHash(folder: string, skip: (relative: string) => boolean = () => false): string {
  const hash = createHash('sha256')
  const visit = (relative: string): void => {
    const full = path.join(folder, relative)
    for (const entry of fs
      .readdirSync(full, { withFileTypes: true })
      .sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const below = path.join(relative, entry.name)
      if (/-(wal|shm|journal)$/.test(entry.name) || skip(below)) continue
      hash.update(`${below}\0${entry.isDirectory() ? 'd' : entry.isSymbolicLink() ? 'l' : 'f'}\0`)
      if (entry.isDirectory()) visit(below)
      else if (entry.isSymbolicLink()) hash.update(fs.readlinkSync(path.join(folder, below)))
      else if (entry.isFile()) hash.update(fs.readFileSync(path.join(folder, below)))
    }
  }
  if (fs.existsSync(folder)) visit('')
  return hash.digest('hex')
}

export function write(file: string, content: string | Buffer, mode = 0o600): string {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, content, { mode })
  return file
}
