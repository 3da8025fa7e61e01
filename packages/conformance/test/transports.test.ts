import { chmod, lstat, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalTransport } from '@orbweaver/core'
import { InMemoryFiles } from '@orbweaver/core/testing'
import { transportSuite } from '@orbweaver/conformance'

async function temporaryFolder(): Promise<string> {
  return await realpath(await mkdtemp(join(tmpdir(), 'orbweaver-transport-')))
}

describe('the local transport', () => {
  transportSuite({
    async create() {
      const root = await temporaryFolder()
      const [folder, localFolder] = [join(root, 'far'), join(root, 'near')]
      for (const path of [folder, localFolder]) mkdirSync(path, { mode: 0o700 })
      return {
        transport: createLocalTransport({ killGraceMs: 200 }),
        folder,
        localFolder,
        link: (target, path) => symlink(target, path),
        mode: async (path) => (await lstat(path)).mode & 0o777,
        async dispose() {
          await chmod(folder, 0o700)
          await rm(root, { recursive: true, force: true })
        },
      }
    },
  })
})

describe('the in-memory files', () => {
  transportSuite({
    largeFile: { bytes: 4 * 1024 ** 2, maxGrowthBytes: undefined },
    async create() {
      const transport = new InMemoryFiles()
      const localFolder = await temporaryFolder()
      await transport.mkdir('/far')
      return {
        transport,
        folder: '/far',
        localFolder,
        runsCommands: false,
        link: async (target, path) => transport.link(target, path),
        mode: async (path) => transport.mode(path),
        dispose: () => rm(localFolder, { recursive: true, force: true }),
      }
    },
  })
})
