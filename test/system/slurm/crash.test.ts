/**
 * The engine is killed between sbatch accepting a job and the engine learning its id, again and again: no second job, and
 * none lost.
 */

import { expect } from 'chai'
import path from 'node:path'
import { slurmLabProblem, startSlurmLab, type SlurmLab } from '../../lab/slurm/slurm-lab.js'
import { skip } from '../../support/skip.js'
import { createClusterSite } from '../support/cluster-site.js'
import { removeFolders } from '../support/folders.js'
import { killingPrograms, runThroughKills } from '../support/kills.js'
import { PROGRAMS, whereIs } from './support/programs.js'

const KILLS = 50
/** Elements of each array. */
const ELEMENTS = 2

describe('a run that is killed before it learns the id of a job on a real Slurm', function () {
  this.timeout(400_000)
  let lab: SlurmLab | undefined
  const ways = [
    { title: 'single jobs', arrays: false, partition: 'single', sessions: KILLS, processors: 1 },
    { title: 'arrays', arrays: true, partition: 'arrays', sessions: ELEMENTS, processors: KILLS },
  ]
  const begun = new Map<string, Promise<void>>()

  before(async function () {
    const problem = slurmLabProblem()
    if (problem !== undefined) skip(this, problem)
    const up = (lab = await startSlurmLab({
      cpus: 64,
      extra: ways
        .map(({ partition }) => `PartitionName=${partition} Nodes=ALL MaxTime=60 State=UP`)
        .join('\n'),
    }))
    for (const way of ways) {
      const done = scenario(up, way)
      // Told by its own test.
      done.catch(() => undefined)
      begun.set(way.title, done)
    }
  })
  after(async () => {
    await lab?.stop()
    removeFolders()
  })
  for (const { title } of ways) {
    it(`${title}: ${KILLS} kills, each job exists and runs once`, async () => {
      await begun.get(title)
    })
  }
})

interface Way {
  readonly arrays: boolean
  readonly partition: string
  readonly sessions: number
  readonly processors: number
}

async function scenario(lab: SlurmLab, way: Way): Promise<void> {
  const killing = killingPrograms(
    new Map(PROGRAMS.map((program) => [program, whereIs(program)])),
    'sbatch',
    "*' --parsable '*",
  )
  const { uid, gid } = lab.account
  const name = way.arrays ? 'crash-arrays' : 'crash-single'
  const site = await createClusterSite({
    name,
    sessions: way.sessions,
    processors: way.processors,
    script: 'true',
    user: { uid, gid, home: path.join(lab.directory, 'home') },
    cluster: {
      use: 'slurm',
      conf: lab.environment['SLURM_CONF'],
      bin: killing.bin,
      arrays: way.arrays,
      partition: way.partition,
    },
  })
  const wanted = way.sessions * way.processors
  await runThroughKills(site, killing, { kills: KILLS, tasks: wanted })

  // What Slurm knows: no element beside those, each of them one job.
  const words = [
    '-a',
    '-n',
    '-X',
    '-P',
    '-S',
    'now-1hour',
    `--partition=${way.partition}`,
    '-o',
    'JobID,State',
  ]
  const ask = async (): Promise<readonly string[]> => (await lab.run(['sacct', ...words])).trim().split('\n')
  const open = /\|(?:PENDING|RUNNING|COMPLETING)$/
  // The accounting comes a little after the jobs.
  let records = await ask()
  while (records.length < wanted || records.some((record) => open.test(record))) records = await ask()
  expect(records).to.have.length(wanted)
  for (const record of records) expect(record).to.match(/\|COMPLETED$/)
}
