/** The engine here, a real Slurm behind a real OpenSSH server: other users, nothing in common but the network. */

import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import { slurmLabProblem, startSlurmLab, type SlurmLab } from '../../lab/slurm/slurm-lab.js'
import { sshLabProblem, startSshLab, type RealSshLab } from '../../lab/ssh/ssh-lab.js'
import { skip } from '../../support/skip.js'
import { mustRun, runCli } from '../support/cli.js'
import { createClusterSite, type ClusterSite } from '../support/cluster-site.js'
import { removeFolders, scratchFolder, write } from '../support/folders.js'
import { randomFrom, seedOfThisRun } from '../support/random.js'
import { ended, until } from '../support/scenario.js'
import { Stages, type Stage } from './support/stages.js'

/** In one round. The work is begun anew until there were enough kills. */
const SESSIONS = 40
/** In each stage. */
const KILLS = 10
const AWAY = 'away'
const PARTITIONS = ['odd', 'even', AWAY]
const STAGES: readonly Stage[] = ['submit', 'poll', 'inputs', 'results']

describe('Slurm over SSH', function () {
  this.timeout(600_000)
  let slurm: SlurmLab | undefined
  let ssh: RealSshLab
  let stages: Stages
  const sites: ClusterSite[] = []
  const kills = new Map<Stage, number>()
  let away: Promise<void>

  before(async function () {
    const problem = sshLabProblem() ?? slurmLabProblem()
    if (problem !== undefined) skip(this, problem)
    slurm = await startSlurmLab({
      cpus: 32,
      messageTimeout: 10,
      extra: [...PARTITIONS].map((name) => `PartitionName=${name} Nodes=ALL MaxTime=60 State=UP`).join('\n'),
    })
    // sshd without PAM takes an account with "!" as its password for a locked one.
    execFileSync('usermod', ['-p', '*', slurm.account.name])
    stages = new Stages(scratchFolder('stages'))
    const search = `${stages.programs}:/usr/local/bin:/usr/bin:/bin`
    ssh = await startSshLab({
      account: slurm.account.name,
      environment: `SLURM_CONF=${slurm.environment['SLURM_CONF'] ?? ''} PATH=${search}`,
      sftpServer: stages.sftpServer,
    })
    // It waits most of the time.
    away = runWhileAway()
    // Told by its own test.
    away.catch(() => undefined)
  })
  after(async () => {
    for (const site of sites) site.end()
    await ssh?.stop()
    await slurm?.stop()
    removeFolders()
  })

  /** All jobs of a partition so far: `name|state`. */
  const jobsIn = async (partition: string): Promise<readonly string[]> => {
    const words = ['-a', '-n', '-X', '-P', '-S', 'now-1hour', '-o', 'JobName,State', '-r', partition]
    const told = await slurm?.run(['sacct', ...words])
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
    // Makes the site file, and does nothing with it.
    await runCli(['demo', '--profile', 'none-of-it'], where)
    const file = path.join(folder, 'orbweaver-demo', 'orbweaver.yaml')
    const text = fs.readFileSync(file, 'utf8')
    const useWorkRoot = (folderThere: string): void =>
      fs.writeFileSync(file, text.replace('/scratch/orbweaver-demo', folderThere))
    useWorkRoot(path.join(ssh.directory, 'not-ours'))
    const { code, stderr } = await runCli(['demo', '--profile', 'remote-slurm'], where)
    expect(stderr).to.match(/workRoot: \S+\/not-ours cannot be used on cluster\. .*permission denied/)
    expect(code, stderr).to.equal(2)
    useWorkRoot(ssh.folder())
    const { stdout } = await mustRun(['demo', '--profile', 'remote-slurm'], where)
    expect(stdout).to.match(/Yes: \d+ files of \d+ tasks read back, every byte\./)
    // The demo's site file names no partition: they are all in the usual one.
    const states = (await jobsIn('main')).map((row) => row.split('|')[1])
    expect(new Set(states)).to.deep.equal(new Set(['COMPLETED']))
  })

  for (const stage of STAGES) kills.set(stage, 0)

  it(`the server is killed ${KILLS} times in each stage of the work: each task runs once`, async () => {
    const random = randomFrom(seedOfThisRun())
    let rounds = 0
    while (STAGES.some((stage) => killsIn(stage) < KILLS)) {
      rounds += 1
      const partition = rounds % 2 === 0 ? 'even' : 'odd'
      const earlier = (await jobsIn(partition)).length
      const site = await openSite(partition, SESSIONS)
      const run = site.run()
      let over = false
      void run.ended.then(() => (over = true))
      while (!over) {
        const open = STAGES.filter((stage) => killsIn(stage) < KILLS)
        // The least done first; among equals by chance.
        const [next] = open
          .map((stage) => ({ stage, order: killsIn(stage) + random() }))
          .sort((a, b) => a.order - b.order)
        if (next === undefined) break
        await killIn(next.stage, random, () => over)
      }
      await ended(run, 0)
      await checkResults(site, SESSIONS, partition, earlier)
    }
    for (const stage of STAGES) expect(killsIn(stage), stage).to.be.at.least(KILLS)
  })

  it('a host that is away when a run starts is waited for, and status says so', async () => {
    await away
  })

  const killsIn = (stage: Stage): number => kills.get(stage) ?? 0

  /** A kill while a program of the stage is at work, at a random moment of it. */
  async function killIn(stage: Stage, random: () => number, over: () => boolean): Promise<void> {
    const held = await stages.hold(stage, random, over)
    if (held === undefined) return
    try {
      await pause(random() * 200)
      await ssh.kill('login')
      if (stages.isThere(held.pid)) kills.set(stage, killsIn(stage) + 1)
    } finally {
      held.release()
    }
    await ssh.start('login')
  }

  /** The other server plays the host, so that nothing else is touched. */
  async function runWhileAway(): Promise<void> {
    const site = await openSite(AWAY, 2, 'jump')
    await ssh.kill('jump')
    const run = site.run()
    let over = false
    void run.ended.then(() => (over = true))
    await until(async () => {
      const { stdout, stderr } = await site.ask(['status'])
      return over || /does not answer .* cannot be reached/.test(stdout + stderr)
    })
    await ssh.start('jump')
    const { stderr } = await ended(run, 0)
    expect(stderr).to.match(/cluster away, work waits: .* cannot be reached/)
    await checkResults(site, 2, AWAY, 0)
  }

  async function openSite(partition: string, sessions: number, host = 'login'): Promise<ClusterSite> {
    const transport = { use: 'ssh', host, configFile: ssh.configFile, loginsPerMinute: 600 }
    const site = await createClusterSite({
      name: `ssh-${partition}`,
      cluster: { use: 'slurm', arrays: false, partition, transport },
      script: 'test -s "$ORBWEAVER_INPUT_PARTS/part-3.txt"',
      sessions,
      parts: 3,
      more: {
        workRoot: ssh.folder(),
        stateDirectory: './state',
        timing: { poll: '1s', grace: '60s', outage: '1s' },
      },
    })
    sites.push(site)
    // The jobs are another user's; what they write of themselves is in this folder.
    fs.chmodSync(site.folder, 0o711)
    fs.chmodSync(path.join(site.folder, 'executions.txt'), 0o666)
    return site
  }

  /** @param earlier - jobs of the partition that were there before */
  async function checkResults(
    site: ClusterSite,
    sessions: number,
    partition: string,
    earlier: number,
  ): Promise<void> {
    const tasks = await site.tasks()
    expect(tasks).to.have.length(sessions)
    for (const task of tasks) expect(task, task.reason).to.include({ state: 'complete', attempt: 1 })
    const executions = site.executions()
    expect(executions).to.have.length(sessions)
    expect(new Set(executions).size).to.equal(sessions)
    // The accounting is some seconds behind.
    await until(async () => {
      const queue = await slurm?.run(['squeue', '-h', '-t', 'pending,running,completing', '-p', partition])
      return queue === '' && (await jobsIn(partition)).length - earlier >= sessions
    })
    const rows = (await jobsIn(partition)).slice(earlier)
    expect(rows.map((row) => row.split('|')[1])).to.deep.equal(Array<string>(sessions).fill('COMPLETED'))
    expect(new Set(rows.map((row) => row.split('|')[0])).size, 'names of jobs').to.equal(sessions)
    await site.cli(['verify', '--deep'])
  }
})
