/** The engine here, a real Slurm behind a real OpenSSH server: other users, nothing in common but the network. */

import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import { slurmLabProblem, startSlurmLab, type SlurmLab } from '../../lab/slurm/slurm-lab.js'
import { sshLabProblem, startSshLab, type RealSshLab } from '../../lab/ssh/ssh-lab.js'
import { skip } from '../../support/skip.js'
import { mustRun } from '../support/cli.js'
import { createClusterSite, type ClusterSite } from '../support/cluster-site.js'
import { removeFolders, scratchFolder, write } from '../support/folders.js'
import { seedOfThisRun } from '../support/random.js'
import { ended } from '../support/scenario.js'

const SESSIONS = 48
/** At random moments, over all stages of the work: submissions, looks, inputs, results. */
const KILLS = 40

describe('Slurm over SSH', function () {
  this.timeout(300_000)
  let slurm: SlurmLab | undefined
  let ssh: RealSshLab
  let site: ClusterSite | undefined
  let transport: Readonly<Record<string, unknown>>

  before(async function () {
    const problem = sshLabProblem() ?? slurmLabProblem()
    if (problem !== undefined) skip(this, problem)
    slurm = await startSlurmLab({ cpus: 32, messageTimeout: 10 })
    // sshd without PAM takes an account with "!" as its password for a locked one.
    execFileSync('usermod', ['-p', '*', slurm.account.name])
    ssh = await startSshLab({
      account: slurm.account.name,
      environment: `SLURM_CONF=${slurm.environment['SLURM_CONF'] ?? ''}`,
    })
    transport = { use: 'ssh', host: 'login', configFile: ssh.configFile, loginsPerMinute: 600 }
  })
  after(async () => {
    site?.end()
    await ssh?.stop()
    await slurm?.stop()
    removeFolders()
  })

  const jobStates = async (): Promise<readonly string[]> => {
    const told = await slurm?.run(['sacct', '-a', '-n', '-X', '-P', '-S', 'now-1hour', '-o', 'State'])
    return (told ?? '').split('\n').filter((line) => line !== '')
  }

  it('the demo makes the same results there: --profile remote-slurm', async () => {
    const folder = scratchFolder('demo-remote')
    const where = { cwd: folder, environment: { HOME: folder } }
    // The profile names its host "cluster"; what that is, this user's configuration of OpenSSH says.
    const config = fs
      .readFileSync(ssh.configFile, 'utf8')
      .replaceAll(/^(Host .*)\blogin\b/gm, '$1login cluster')
    write(path.join(folder, '.ssh', 'config'), config)
    await mustRun(['demo'], where)
    const file = path.join(folder, 'orbweaver-demo', 'orbweaver.yaml')
    const text = fs.readFileSync(file, 'utf8')
    fs.writeFileSync(file, text.replace('/scratch/orbweaver-demo', ssh.folder()))
    // Nothing is done yet, for the cluster.
    fs.rmSync(path.join(folder, 'orbweaver-demo', 'archive'), { recursive: true })
    const { stdout } = await mustRun(['demo', '--profile', 'remote-slurm'], where)
    expect(stdout).to.match(/Yes: \d+ files of \d+ tasks read back, every byte\./)
    expect(new Set(await jobStates())).to.deep.equal(new Set(['COMPLETED']))
  })

  it(`the server is killed up to ${KILLS} times while ${SESSIONS} tasks go there and come back: each runs once`, async () => {
    const earlier = (await jobStates()).length
    site = await createClusterSite({
      name: 'ssh-faults',
      cluster: { use: 'slurm', transport },
      script: 'sleep 1',
      sessions: SESSIONS,
      more: {
        workRoot: ssh.folder(),
        stateDirectory: './state',
        timing: { poll: '1s', grace: '60s', outage: '1s' },
      },
    })
    // The jobs are another user's; what they write of themselves is in this folder.
    fs.chmodSync(site.folder, 0o711)
    fs.chmodSync(path.join(site.folder, 'executions.txt'), 0o666)
    const random = numbers(seedOfThisRun())
    const run = site.run()
    let over = false
    void run.ended.then(() => (over = true))
    let kills = 0
    while (!over && kills < KILLS) {
      await pause(random() * 2000)
      await ssh.kill('login')
      await ssh.start('login')
      kills += 1
    }
    await ended(run, 0)
    const tasks = await site.tasks()
    expect(tasks).to.have.length(SESSIONS)
    for (const task of tasks) expect(task).to.include({ state: 'complete', attempt: 1 })
    const executions = site.executions()
    expect(executions).to.have.length(SESSIONS)
    expect(new Set(executions).size).to.equal(SESSIONS)
    const jobs = (await jobStates()).slice(earlier)
    expect(jobs).to.deep.equal(Array<string>(SESSIONS).fill('COMPLETED'))
    expect(kills).to.be.at.least(KILLS / 2)
  })
})

/** The same numbers for the same seed. */
function numbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
