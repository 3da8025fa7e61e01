/** What becomes of jobs on a real Slurm, and what the command line then says of it: state, cause and evidence. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { hasMemoryController } from '../../lab/slurm/slurm-lab.js'
import { describeStage, ended, failure, tells, until, untilFile } from './support/stage.js'

describeStage(
  'jobs on a real Slurm',
  () => ({
    nodes: 4,
    cpus: 32,
    cgroup: hasMemoryController(),
    extra: [1, 2, 3, 4]
      .map((node) => `PartitionName=only${node} Nodes=node${node} MaxTime=60 State=UP`)
      .join('\n'),
  }),
  (stage) => {
    stage.scenario('success: complete, with what it used', async () => {
      const site = await stage.site('success', { script: 'sleep 3', sessions: 3 })
      await ended(site.run(), 0)
      for (const task of await site.tasks()) {
        expect(task).to.include({ state: 'complete', attempt: 1 })
        expect(task.job?.node).to.match(/\S/)
        expect(task.job?.peakMemoryBytes).to.be.above(0)
        expect(task.job?.elapsedSeconds).to.be.at.least(2)
      }
      expect(new Set((await site.tasks()).map(({ job }) => job?.id)).size).to.equal(3)
      expect(site.executions()).to.have.length(3)
      expect(await site.cli(['status', '--long'])).to.match(/of cpu/)
      await site.cli(['verify', '--deep'])
    })

    stage.scenario('exit 3: the tool failed', async () => {
      const task = await failure(await stage.site('exit-3', { script: 'exit 3' }))
      expect(task.cause).to.include({ kind: 'tool', exitCode: 3 })
      tells(task, 'exit-record', /exit code 3/)
      tells(task, 'accounting', /FAILED.*3:0/)
    })

    stage.scenario('exit 137: told as what a shell says of SIGKILL, and as no limit of the job', async () => {
      const task = await failure(await stage.site('exit-137', { script: 'exit 137' }))
      expect(task.cause).to.include({ kind: 'killed', exitCode: 137 })
      tells(task, 'exit-record', /exit code 137/)
      // 137:0 or, from releases before 25.05, 9:0.
      tells(task, 'accounting', /FAILED\|(137|9):0/)
    })

    stage.scenario('walltime', async () => {
      const site = await stage.site('walltime', { script: 'sleep 600', requirements: { walltime: '1m' } })
      const task = await failure(site)
      expect(task.cause?.kind).to.equal('walltime')
      expect(task.cause?.evidence).not.to.be.empty
    })

    stage.scenario('memory', async () => {
      // tail keeps the whole of a line that never ends.
      const script = '(head -c 700000000 /dev/zero; sleep 30) | tail -n 1 >/dev/null'
      const task = await failure(
        await stage.site('memory', {
          script,
          requirements: { memory: '200 MB' },
          cluster: { partition: 'only1' },
        }),
      )
      expect(task.cause?.kind).to.equal('memory')
      tells(task, 'accounting', hasMemoryController() ? /OUT_OF_MEMORY/ : /./)
    })

    stage.scenario('scancel by the hand of somebody else', async () => {
      const site = await stage.site('scancel', { script: 'sleep 600' })
      const run = site.run()
      const { job } = await site.reach(run, 'running', ({ state }) => state === 'running')
      // The lab's commands are root's.
      await stage.slurm('scancel', job?.id ?? '')
      await run.ended
      const task = await site.task()
      expect(task.state).to.equal('cancelled')
      expect(task.reason).to.match(/cancelled by someone else/)
      expect(site.executions()).to.have.length(1)
    })

    stage.scenario('cancel by us', async () => {
      const site = await stage.site('cancel', { script: 'sleep 600', sessions: 3 })
      const run = site.run()
      await site.reach(run, 'running', ({ state }) => state === 'running')
      await site.cli(['cancel', '--yes', '--project', 'P'])
      await run.ended
      for (const { state } of await site.tasks()) expect(state).to.equal('cancelled')
      expect((await stage.slurm('squeue', '-h', '-o', '%j')).split('\n')).not.to.include(
        (await site.tasks())[0]?.job?.name,
      )
    })

    stage.scenario('scontrol requeue: the same attempt, started again', async () => {
      const site = await stage.site('requeue', {
        cluster: { requeue: true, partition: 'only3' },
        script: untilFile('go'),
      })
      const run = site.run()
      const { job } = await site.reach(run, 'running', ({ state }) => state === 'running')
      await until(() => site.executions().length === 1)
      await stage.slurm('scontrol', 'requeue', job?.id ?? '')
      // Slurm waits two minutes before it starts a requeued job again, unless told not to.
      await until(async () => {
        await stage.slurm('scontrol', 'update', `JobId=${job?.id}`, 'EligibleTime=now').catch(() => '')
        return site.executions().length === 2
      })
      fs.writeFileSync(path.join(site.folder, 'go'), '')
      await ended(run, 0)
      const task = await site.task()
      expect(task).to.include({ state: 'complete', attempt: 1 })
      expect(task.job).to.include({ id: job?.id, restarts: 1 })
    })

    stage.scenario('requeuehold: waits, says who holds it, and completes when released', async () => {
      const site = await stage.site('requeuehold', { cluster: { requeue: true }, script: untilFile('go') })
      const run = site.run()
      const { job } = await site.reach(run, 'running', ({ state }) => state === 'running')
      await until(() => site.executions().length === 1)
      await stage.slurm('scontrol', 'requeuehold', job?.id ?? '')
      await site.reach(run, 'held', ({ state, reason }) => state === 'queued' && /held/i.test(reason))
      fs.writeFileSync(path.join(site.folder, 'go'), '')
      await stage.slurm('scontrol', 'release', job?.id ?? '')
      await until(async () => {
        await stage.slurm('scontrol', 'update', `JobId=${job?.id}`, 'EligibleTime=now').catch(() => '')
        return site.executions().length === 2
      })
      await ended(run, 0)
      expect(await site.task()).to.include({ state: 'complete', attempt: 1 })
    })

    stage.scenario('a node set DOWN in the middle of the job', async () => {
      const site = await stage.site('node-down', { cluster: { partition: 'only2' }, script: 'sleep 600' })
      const run = site.run()
      await site.reach(run, 'running', ({ state }) => state === 'running')
      await stage.slurm('scontrol', 'update', 'NodeName=node2', 'State=DOWN', 'Reason=test')
      await run.ended
      const task = await site.task()
      expect(task).to.include({ state: 'failed' })
      expect(task.cause?.kind).to.equal('node')
      tells(task, 'accounting', /NODE_FAIL/)
    })

    stage.scenario('a node that fails is no failure of the task: it is tried again', async () => {
      const site = await stage.site('node-again', {
        cluster: { partition: 'only4' },
        script: 'test -e "$SITE/go" || sleep 600',
        more: { retry: { node: { times: 3, delay: '1s' } } },
      })
      const run = site.run()
      await site.reach(run, 'running', ({ state }) => state === 'running')
      fs.writeFileSync(path.join(site.folder, 'go'), '')
      await stage.slurm('scontrol', 'update', 'NodeName=node4', 'State=DOWN', 'Reason=test')
      await site.reach(
        run,
        'failed or tried again',
        ({ attempt, state }) => attempt === 2 || state !== 'running',
      )
      await ended(run, 0)
      expect(await site.task()).to.include({ state: 'complete', attempt: 2 })
    })

    stage.scenario('a partition that is down: waits and says so, then completes', async () => {
      const site = await stage.site('partition-down', {
        cluster: { partition: 'closed', sbatchOptions: ['--nodelist=node1'] },
        script: 'true',
      })
      const run = site.run()
      await site.reach(run, 'waiting for its partition', ({ state, reason }) =>
        state === 'queued' || state === 'ready' ? /PartitionDown|partition/i.test(reason) : false,
      )
      await stage.slurm('scontrol', 'update', 'PartitionName=closed', 'State=UP')
      await ended(run, 0)
      expect(await site.task()).to.include({ state: 'complete', attempt: 1 })
    })

    stage.scenario('a dependency that is never satisfied: told, and cancelled by a person', async () => {
      const failed = (
        await stage.slurm('sbatch', '--parsable', '--chdir=/', '--output=/dev/null', '--wrap=exit 1')
      ).trim()
      const site = await stage.site('dependency', {
        cluster: { sbatchOptions: [`--dependency=afterok:${failed}`] },
        script: 'true',
      })
      const run = site.run()
      await site.reach(run, 'known to never run', ({ reason }) =>
        /never run.*DependencyNeverSatis/.test(reason),
      )
      await site.cli(['cancel', '--yes', '--project', 'P'])
      await run.ended
      expect(await site.task()).to.include({ state: 'cancelled' })
      expect(site.executions()).to.deep.equal([])
    })

    stage.scenario(
      "more time than the partition's limit: refused before anything is staged, by name",
      async () => {
        const site = await stage.site('over-limit', {
          cluster: { partition: 'short' },
          script: 'true',
          requirements: { walltime: '10m' },
        })
        expect(await site.cli(['plan'])).to.match(/can never run here: .*walltime 10m.*2m.*partition short/)
        // Held, not failed: nothing went wrong, and nothing is in the archive.
        await ended(site.run(), 0)
        expect(await site.tasks()).to.deep.equal([])
        expect(site.executions()).to.deep.equal([])
      },
    )
  },
)
