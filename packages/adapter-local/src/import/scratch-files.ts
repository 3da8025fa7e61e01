import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemErrorCode } from '@orbweaver/core'

/**
 * Texts that are made during an import and must lie somewhere as files. Named by content: the same merged sidecar of a
 * thousand subjects is one file. The folder is made when first needed and readable by this user only.
 */
export class ScratchFiles {
  private folder: string | undefined

  /** @param given - a folder of the caller's, which stays; without it one is made and {@link remove} removes it */
  constructor(private readonly given?: string) {}

  /** Absolute path of a file that holds the text. */
  async file(text: string): Promise<string> {
    const path = join(await this.ready(), createHash('sha256').update(text).digest('hex'))
    try {
      await writeFile(path, text, { flag: 'wx', mode: 0o600 })
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
    }
    return path
  }

  async remove(): Promise<void> {
    if (this.given === undefined && this.folder !== undefined) {
      await rm(this.folder, { recursive: true, force: true })
      this.folder = undefined
    }
  }

  private async ready(): Promise<string> {
    if (this.folder === undefined) {
      if (this.given === undefined) this.folder = await mkdtemp(join(tmpdir(), 'orbweaver-import-'))
      else {
        await mkdir(this.given, { recursive: true, mode: 0o700 })
        this.folder = this.given
      }
    }
    return this.folder
  }
}
