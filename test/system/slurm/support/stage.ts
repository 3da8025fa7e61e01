/** Scenarios on a Slurm of their own. They wait for it most of the time, so they all go on at once. */

import path from 'node:path'
import {
  slurmLabProblem,
  startSlurmLab,
  type SlurmLab,
  type SlurmLabOptions,
} from '../../../lab/slurm/slurm-lab.js'
import { skip } from '../../../support/skip.js'
import { createClusterSite, type ClusterSite, type ClusterSiteOptions } from '../../support/cluster-site.js'
import { removeFolders } from '../../support/folders.js'

export * from '../../support/scenario.js'

export type AskedSite = Omit<ClusterSiteOptions, 'name' | 'cluster'> & {
  readonly cluster?: Readonly<Record<string, unknown>>
}

/** For a mocha timeout: scenarios that wait for a walltime or an outage need a minute and a half. */
export const STAGE_TIMEOUT_MS = 400_000

export class Stage {
  readonly scenarios: { readonly title: string; readonly body: () => Promise<void> }[] = []
  readonly #sites: ClusterSite[] = []
  #lab: SlurmLab | undefined

  get lab(): SlurmLab {
    if (this.#lab === undefined) throw new Error('the lab is not up yet')
    return this.#lab
  }

  /** Begun with all others of the stage; mocha tells its outcome when its turn comes. */
  scenario(title: string, body: () => Promise<void>): void {
    this.scenarios.push({ title, body })
  }

  async site(name: string, { cluster, ...asked }: AskedSite): Promise<ClusterSite> {
    const conf = this.lab.environment['SLURM_CONF']
    const { uid, gid } = this.lab.account
    const site = await createClusterSite({
      name,
      cluster: { use: 'slurm', conf, ...cluster },
      // Not root, who may do all things with everybody's jobs and whose login may run anything.
      user: { uid, gid, home: path.join(this.lab.directory, 'home') },
      ...asked,
    })
    this.#sites.push(site)
    return site
  }

  /** As an operator on the scheduler's machine would. */
  async slurm(...argv: readonly string[]): Promise<string> {
    return this.lab.run(argv)
  }

  async open(options: SlurmLabOptions): Promise<void> {
    this.#lab = await startSlurmLab(options)
  }

  async close(): Promise<void> {
    for (const site of this.#sites) site.end()
    await this.#lab?.stop()
    removeFolders()
  }
}

/** One test a scenario, or all skipped where no Slurm can be had. */
export function describeStage(
  title: string,
  options: () => SlurmLabOptions,
  define: (stage: Stage) => (() => void) | void,
): void {
  describe(title, function () {
    this.timeout(STAGE_TIMEOUT_MS)
    const stage = new Stage()
    const begun = new Map<string, Promise<void>>()
    const ready = define(stage)

    before(async function () {
      const problem = slurmLabProblem()
      if (problem !== undefined) skip(this, problem)
      await stage.open(options())
      ready?.()
      for (const { title: name, body } of stage.scenarios) {
        const done = body()
        // Told by its own test.
        done.catch(() => undefined)
        begun.set(name, done)
      }
    })
    for (const { title: name } of stage.scenarios) {
      it(name, async () => {
        await begun.get(name)
      })
    }
    after(() => stage.close())
  })
}
