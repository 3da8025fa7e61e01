import { lstatSync, mkdirSync } from 'node:fs'
import { chmod, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalTransport, type CommandRunner, type FileTransfer } from '@orbweaver/core'
import { InMemoryFiles } from '@orbweaver/core/testing'
import type { TransportHarness } from '@orbweaver/conformance'

async function temporaryFolder(): Promise<string> {
  return await realpath(await mkdtemp(join(tmpdir(), 'orbweaver-transport-')))
}

/** This machine. @param wrap - puts something wrong in front of the runner */
export function localTransportHarness(
  wrap: (runner: CommandRunner) => CommandRunner = (runner) => runner,
): TransportHarness {
  return {
    async create() {
      const root = await temporaryFolder()
      const [folder, localFolder] = [join(root, 'far'), join(root, 'near')]
      for (const path of [folder, localFolder]) mkdirSync(path, { mode: 0o700 })
      const transport = createLocalTransport({ killGraceMs: 200 })
      return {
        transport: { ...transport, runner: wrap(transport.runner) },
        folder,
        localFolder,
        link: (target, path) => symlink(target, path),
        mode: async (path) => lstatSync(path).mode & 0o777,
        async dispose() {
          await chmod(folder, 0o700)
          await rm(root, { recursive: true, force: true })
        },
      }
    },
  }
}

/** Files in memory. @param wrap - puts something wrong in front of them */
export function memoryFilesHarness(
  wrap: (files: InMemoryFiles) => FileTransfer = (files) => files,
): TransportHarness {
  return {
    largeFile: { bytes: 1_500_000, maxGrowthBytes: undefined },
    async create() {
      const memory = new InMemoryFiles()
      const localFolder = await temporaryFolder()
      await memory.mkdir('/far')
      return {
        transport: {
          name: memory.name,
          runner: memory.runner,
          files: wrap(memory),
          close: () => memory.close(),
        },
        folder: '/far',
        localFolder,
        runsCommands: false,
        link: async (target, path) => memory.link(target, path),
        mode: async (path) => memory.mode(path),
        dispose: () => rm(localFolder, { recursive: true, force: true }),
      }
    },
  }
}
