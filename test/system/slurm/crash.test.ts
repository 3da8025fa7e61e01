/**
 * The engine is killed between sbatch accepting a job and the engine learning its id, again and again: no second job, and
 * none lost.
 */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { slurmLabProblem, startSlurmLab, type SlurmLab } from '../../lab/slurm/slurm-lab.js'
import { skip } from '../../support/skip.js'
import { createClusterSite, type ClusterSite } from '../support/cluster-site.js'
import { removeFolders, scratchFolder, write } from '../support/folders.js'
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
  const bin = killingPrograms()
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
      bin,
      arrays: way.arrays,
      partition: way.partition,
    },
  })
  let kills = 0
  for (;;) {
    const { code, stdout, stderr } = await site.run().ended
    if (code === 0) break
    expect(code, `${stdout}\n${stderr}`).to.equal(null)
    kills += 1
  }
  // Tasks that are staged at different moments do not fit in one array.
  expect(kills).to.be.at.least(KILLS)
  expect(accepted(bin)).to.have.length(kills)
  await allOnce(site, way.sessions * way.processors)

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
  const wanted = way.sessions * way.processors
  const ask = async (): Promise<readonly string[]> => (await lab.run(['sacct', ...words])).trim().split('\n')
  const open = /\|(?:PENDING|RUNNING|COMPLETING)$/
  // The accounting comes a little after the jobs.
  let records = await ask()
  while (records.length < wanted || records.some((record) => open.test(record))) records = await ask()
  expect(records).to.have.length(wanted)
  for (const record of records) expect(record).to.match(/\|COMPLETED$/)
}

async function allOnce(site: ClusterSite, count: number): Promise<void> {
  const tasks = await site.tasks()
  expect(tasks).to.have.length(count)
  for (const task of tasks) expect(task).to.include({ state: 'complete', attempt: 1 })
  const executions = site.executions()
  expect(executions).to.have.length(count)
  expect(new Set(executions).size).to.equal(count)
  expect(new Set(tasks.map(({ job }) => job?.id)).size).to.equal(count)
}

/**
 * A folder with Slurm's programs, where sbatch kills whoever called it once the job is accepted. Calls go one by one,
 * and one whose caller has been killed meanwhile submits nothing: it would have been killed with it.
 */
function killingPrograms(): string {
  const folder = scratchFolder('programs')
  fs.chmodSync(folder, 0o777)
  for (const program of PROGRAMS.filter((each) => each !== 'sbatch'))
    fs.symlinkSync(whereIs(program), path.join(folder, program))
  write(
    path.join(folder, 'sbatch'),
    `#!/bin/sh
case " $* " in *' --parsable '*) ;; *) exec ${whereIs('sbatch')} "$@" ;; esac
caller=$PPID
exec 9>>'${folder}/lock'
flock 9
# Of a process that has been killed nothing is told here; and an orphan has another parent.
alive() { grep -q orbweaver "/proc/$caller/cmdline" 2>/dev/null; }
alive || exit 1
answer=$(${whereIs('sbatch')} "$@") || exit
printf '%s\\n' "$answer" >>'${folder}/accepted'
kill -KILL "$caller"
while alive; do sleep 0.05; done
`,
    0o755,
  )
  return folder
}

const accepted = (bin: string): string[] =>
  fs.readFileSync(path.join(bin, 'accepted'), 'utf8').trim().split('\n')
