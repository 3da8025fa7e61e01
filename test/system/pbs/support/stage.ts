/**
 * Scenarios on small PBS servers, each on one of its own; and, where there is one, on a real PBS, all on the same. They wait most
 * of the time, so many go on at once.
 */

import { setTimeout as pause } from 'node:timers/promises'
import {
  startFakePbs,
  type FakePbs,
  type FakeSite,
  type Fault,
  type Flavour,
} from '../../../../packages/adapter-pbs/dist-test/fake/start.js'
import { livePbsProblem } from '../../../../packages/adapter-pbs/dist-test/live-site.js'
import { skip } from '../../../support/skip.js'
import { createClusterSite, type ClusterSite, type ClusterSiteOptions } from '../../support/cluster-site.js'
import { removeFolders, scratchFolder } from '../../support/folders.js'
import { call, type CallResult } from './call.js'
import { realPbs, REAL_FAULTS, type RealPbs } from './real.js'

export type { Flavour } from '../../../../packages/adapter-pbs/dist-test/fake/start.js'

export const FLAVOURS: readonly Flavour[] = ['openpbs', 'torque']
const AT_ONCE = 8
/** What is waited for and does not come would be waited for for ever. */
const LONGEST_MS = 280_000
/** A real server looks after its jobs at its own pace. */
const LONGEST_REAL_MS = 580_000

export type AskedSite = Omit<ClusterSiteOptions, 'name' | 'cluster'> & {
  readonly cluster?: Readonly<Record<string, unknown>>
}

/** What a scenario works with: a server, and sites whose jobs go there. */
export interface Scene {
  readonly flavour: Flavour
  /** The server is the scenario's alone, of a known size, and ends jobs in words that are known. */
  readonly isFake: boolean
  readonly pbs: Pick<FakePbs, 'bin' | 'faults'>
  readonly site: (asked: AskedSite) => Promise<ClusterSite>
  /** As an operator on the machine of the server would; gives back what it prints, whatever the exit code. */
  readonly operator: (program: string, ...words: readonly string[]) => Promise<string>
  /** As the account whose the jobs are. */
  readonly call: (argv: readonly string[], input?: string) => Promise<CallResult>
}

/** What not every server can: a fault, an operator, an end for jobs over their memory, to be there for one scenario alone. */
export type Need = Fault | 'operator' | 'memory' | 'history' | 'own-server'

interface Scenario {
  readonly title: string
  /** `real`: the one that is there. */
  readonly server: Flavour | 'real'
  readonly body: (scene: Scene) => Promise<void>
  readonly needs: readonly Need[]
  readonly fakeSite: Partial<FakeSite>
}

interface ScenarioOptions {
  readonly needs?: readonly Need[]
  /** Of the fakes. */
  readonly fakeSite?: Partial<FakeSite>
}

class Unmet extends Error {}

/** Register scenarios with mocha; those of all servers go on at once. */
export function describeScenarios(
  title: string,
  define: (scenario: (title: string, body: Scenario['body'], options?: ScenarioOptions) => void) => void,
): void {
  describe(title, function () {
    const problem = livePbsProblem(true)
    this.timeout((problem === undefined ? LONGEST_REAL_MS : LONGEST_MS) + 20_000)
    const servers = [...FLAVOURS, ...(problem === undefined ? (['real'] as const) : [])]
    const scenarios: Scenario[] = []
    for (const server of servers)
      define((name, body, { needs = [], fakeSite = {} } = {}) => {
        scenarios.push({ title: `${server}: ${name}`, server, body, needs, fakeSite })
      })
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
    for (const [{ title: name }, { done }] of outcomes)
      it(name, async function () {
        try {
          await done
        } catch (error) {
          if (!(error instanceof Unmet)) throw error
          skip(this, error.message)
        }
      })
    if (problem !== undefined)
      it('the same on a real PBS', function () {
        skip(this, problem)
      })
    after(async () => {
      // Those that were not asked for (--grep) go on all the same.
      await Promise.allSettled([...outcomes.values()].map(({ done }) => done))
      removeFolders()
    })
  })
}

/** A server for one scenario. */
async function open(
  { server, fakeSite, needs }: Scenario,
  name: string,
): Promise<
  Pick<RealPbs, 'flavour' | 'bin' | 'faults' | 'account' | 'queue' | 'enforcesMemory'> & {
    stop?(): Promise<void>
  }
> {
  if (server !== 'real') {
    const fake = await startFakePbs({ flavour: server, folder: scratchFolder(name), site: fakeSite })
    return { ...fake, account: undefined, queue: undefined, enforcesMemory: true }
  }
  const real = await realPbs()
  const can: Readonly<Partial<Record<Need, boolean>>> = {
    ...Object.fromEntries(REAL_FAULTS.map((fault) => [fault, true])),
    operator: real.hasOperator,
    memory: real.enforcesMemory,
    history: needs.includes('history') && (await keepsEnded(real)),
  }
  const unmet = needs.filter((need) => can[need] !== true)
  if (unmet.length > 0) throw new Unmet(`this real PBS cannot be had with: ${unmet.join(', ')}`)
  return real
}

async function keepsEnded(real: RealPbs): Promise<boolean> {
  const { stdout } = await call(real, undefined, ['qstat', '-B', '-f'])
  return /^\s*(?:job_history_enable = True|keep_completed = [1-9])/im.test(stdout)
}

async function play(scenario: Scenario): Promise<void> {
  const { title, server, body } = scenario
  const name = title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 30)
    .replace(/-$/, '')
  const pbs = await open(scenario, name)
  const { flavour, account, queue } = pbs
  const sites: ClusterSite[] = []
  const tooLong = new AbortController()
  const longestMs = server === 'real' ? LONGEST_REAL_MS : LONGEST_MS
  const limit = pause(longestMs, undefined, { signal: tooLong.signal, ref: false }).then(() => {
    throw new Error(`${title}: what it waits for does not come`)
  })
  // Aborted when the scenario ends in time.
  limit.catch(() => undefined)
  const course = async (): Promise<void> =>
    body({
      flavour,
      isFake: server !== 'real',
      pbs,
      site: async ({ cluster, ...asked }) => {
        const site = await createClusterSite({
          name: sites.length === 0 ? name : `${name}-${sites.length + 1}`,
          cluster: {
            use: 'pbs',
            bin: pbs.bin,
            enforcesMemory: pbs.enforcesMemory,
            ...(queue !== undefined && { queue }),
            ...cluster,
          },
          ...(account !== undefined && { user: account }),
          ...asked,
        })
        sites.push(site)
        return site
      },
      operator: async (...argv) => {
        const { stdout, stderr } = await call(pbs, 'root', argv)
        return stdout + stderr
      },
      call: (argv, input) => call(pbs, undefined, argv, input),
    })
  try {
    await Promise.race([course(), limit])
  } finally {
    tooLong.abort()
    for (const site of sites) {
      site.end()
      // A fake takes its jobs with it.
      if (server === 'real') await site.ask(['cancel', '--yes', '--project', 'P'])
    }
    await pbs.stop?.()
  }
}
