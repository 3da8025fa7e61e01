/** Scenarios on the small PBS servers, each on one of its own. They wait most of the time, so many go on at once. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import {
  startFakePbs,
  type FakePbs,
  type FakeSite,
  type Flavour,
} from '../../../../packages/adapter-pbs/dist-test/fake/start.js'
import { createClusterSite, type ClusterSite, type ClusterSiteOptions } from '../../support/cluster-site.js'
import { removeFolders, scratchFolder } from '../../support/folders.js'

export type { FakePbs, Flavour } from '../../../../packages/adapter-pbs/dist-test/fake/start.js'

export const FLAVOURS: readonly Flavour[] = ['openpbs', 'torque']
const AT_ONCE = 8
/** What is waited for and does not come would be waited for for ever. */
const LONGEST_MS = 280_000

export type AskedSite = Omit<ClusterSiteOptions, 'name' | 'cluster'> & {
  readonly cluster?: Readonly<Record<string, unknown>>
}

/** What a scenario works with: a server, and sites whose jobs go there. */
export interface Scene {
  readonly flavour: Flavour
  readonly fake: FakePbs
  readonly site: (asked: AskedSite) => Promise<ClusterSite>
  /** As an operator on the machine of the server would; gives back what it prints, whatever the exit code. */
  readonly operator: (program: string, ...words: readonly string[]) => Promise<string>
}

/** @param input - of the program; without it, it has none */
export async function call(
  fake: FakePbs,
  user: string | undefined,
  [program = '', ...words]: readonly string[],
  input?: string,
): Promise<{ readonly exit: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(path.join(fake.bin, program), words, {
    stdio: 'pipe',
    env: { ...process.env, ...(user !== undefined && { FAKE_PBS_USER: user }) },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.end(input)
  await once(child, 'close')
  return { exit: child.exitCode, stdout, stderr }
}

interface Scenario {
  readonly title: string
  readonly flavour: Flavour
  readonly body: (scene: Scene) => Promise<void>
  readonly server: Partial<FakeSite>
}

/** Register scenarios with mocha; those of both flavours go on at once. */
export function describeScenarios(
  title: string,
  define: (
    scenario: (title: string, body: Scenario['body'], server?: Partial<FakeSite>) => void,
    flavour: Flavour,
  ) => void,
): void {
  describe(title, function () {
    this.timeout(300_000)
    const scenarios: Scenario[] = []
    for (const flavour of FLAVOURS)
      define((name, body, server = {}) => {
        scenarios.push({ title: `${flavour}: ${name}`, flavour, body, server })
      }, flavour)
    const outcomes = new Map<
      Scenario,
      { readonly done: Promise<void>; readonly begin: () => Promise<void> }
    >()
    for (const scenario of scenarios) {
      let settle = { resolve: (): void => undefined, reject: (_problem: unknown): void => undefined }
      const done = new Promise<void>((resolve, reject) => (settle = { resolve, reject }))
      // Told by its own test.
      done.catch(() => undefined)
      outcomes.set(scenario, { done, begin: () => play(scenario).then(settle.resolve, settle.reject) })
    }
    before(() => {
      const waiting = [...outcomes.values()]
      const next = async (): Promise<void> => {
        for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) await one.begin()
      }
      for (let lane = 0; lane < AT_ONCE; lane += 1) void next()
    })
    for (const [{ title: name }, { done }] of outcomes) it(name, () => done)
    after(async () => {
      // Those that were not asked for (--grep) go on all the same.
      await Promise.allSettled([...outcomes.values()].map(({ done }) => done))
      removeFolders()
    })
  })
}

async function play({ title, flavour, body, server }: Scenario): Promise<void> {
  const name = title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 30)
    .replace(/-$/, '')
  const fake = await startFakePbs({ flavour, folder: scratchFolder(name), site: server })
  const sites: ClusterSite[] = []
  const tooLong = new AbortController()
  const limit = pause(LONGEST_MS, undefined, { signal: tooLong.signal, ref: false }).then(() => {
    throw new Error(`${title}: what it waits for does not come`)
  })
  // Aborted when the scenario ends in time.
  limit.catch(() => undefined)
  const course = async (): Promise<void> =>
    body({
      flavour,
      fake,
      site: async ({ cluster, ...asked }) => {
        const site = await createClusterSite({
          name: sites.length === 0 ? name : `${name}-${sites.length + 1}`,
          cluster: { use: 'pbs', bin: fake.bin, enforcesMemory: true, ...cluster },
          ...asked,
        })
        sites.push(site)
        return site
      },
      operator: async (...argv) => {
        const { stdout, stderr } = await call(fake, 'root', argv)
        return stdout + stderr
      },
    })
  try {
    await Promise.race([course(), limit])
  } finally {
    tooLong.abort()
    for (const site of sites) site.end()
    await fake.stop()
  }
}
