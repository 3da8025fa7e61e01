/** A fake Slurm, a work root and a backend over them, for tests. */

import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalTransport, systemClock, type ClusterBackend, type Transport } from '@orbweaver/core'
import { createSlurmBackend, type SlurmBackendOptions, type SlurmConfig } from '@orbweaver/adapter-slurm'
import { startFakeSlurm, type FakeSite, type FakeSlurm } from './fake/start.js'

export interface FakeLab {
  readonly fake: FakeSlurm
  readonly transport: Transport
  /** Work root of the backends, and room for anything else. */
  readonly folder: string
  /** Another backend over the same cluster and work root. */
  open(config?: Partial<SlurmConfig>, options?: Partial<SlurmBackendOptions>): ClusterBackend
  dispose(): Promise<void>
}

/** A minute of a walltime, in the fake. */
export const MINUTE_MS = 800

export async function createFakeLab(site: Partial<FakeSite> = {}): Promise<FakeLab> {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'orbweaver-fake-slurm-')))
  const folder = join(root, 'work')
  mkdirSync(folder)
  const fake = await startFakeSlurm({ folder: join(root, 'slurm'), site: { minuteMs: MINUTE_MS, ...site } })
  const transport = createLocalTransport()
  return {
    fake,
    transport,
    folder,
    open: (config = {}, options = {}) =>
      createSlurmBackend({
        config: { bin: fake.bin, ...config },
        transport,
        clock: systemClock,
        workRoot: folder,
        commands: { retry: { attempts: 2, firstMs: 20 }, breaker: { firstMs: 100, lastMs: 500 } },
        ...options,
      }),
    dispose: async () => {
      await fake.stop()
      await transport.close()
      rmSync(root, { recursive: true, force: true, maxRetries: 10 })
    },
  }
}
