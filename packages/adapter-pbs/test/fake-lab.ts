/** A fake PBS, a work root and a backend over them. */

import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalTransport, systemClock, type ClusterBackend, type Transport } from '@orbweaver/core'
import { createPbsBackend, type PbsConfig } from '@orbweaver/adapter-pbs'
import { startFakePbs, type FakePbs, type FakeSite, type Flavour } from './fake/start.js'

export interface FakeLab {
  readonly fake: FakePbs
  readonly transport: Transport
  /** Work root, and room for anything else. */
  readonly folder: string
  open(config?: Partial<PbsConfig>, workRoot?: string): ClusterBackend
  dispose(): Promise<void>
}

export async function createFakeLab(flavour: Flavour, site: Partial<FakeSite> = {}): Promise<FakeLab> {
  const root = realpathSync(mkdtempSync(join(tmpdir(), `orbweaver-fake-${flavour}-`)))
  const folder = join(root, 'work')
  mkdirSync(folder)
  const fake = await startFakePbs({ flavour, folder: join(root, 'pbs'), site })
  const transport = createLocalTransport()
  return {
    fake,
    transport,
    folder,
    open: (config = {}, workRoot = folder) =>
      createPbsBackend({
        config: { bin: fake.bin, enforcesMemory: true, ...config },
        transport,
        clock: systemClock,
        workRoot,
        commands: { retry: { attempts: 2, firstMs: 20 } },
      }),
    dispose: async () => {
      await fake.stop()
      await transport.close()
      rmSync(root, { recursive: true, force: true, maxRetries: 10 })
    },
  }
}
