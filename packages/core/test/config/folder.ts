/** A folder of files for one test, removed after it. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

export interface Folder {
  readonly path: string
  /** Writes files by relative path; gives the absolute path of the first. */
  write(files: Readonly<Record<string, string | Buffer>>): Promise<string>
  remove(): Promise<void>
}

export async function createFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), 'orbweaver-config-'))
  return {
    path,
    write: async (files) => {
      for (const [name, text] of Object.entries(files)) {
        await mkdir(dirname(join(path, name)), { recursive: true })
        await writeFile(join(path, name), text)
      }
      return join(path, Object.keys(files)[0] ?? '')
    },
    remove: () => rm(path, { recursive: true, force: true }),
  }
}
