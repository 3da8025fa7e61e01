/** What becomes of jobs on PBS, and what the command line then says of it: state, cause and evidence. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { ended, failure, tells, until, untilFile } from '../support/scenario.js'
import { describeScenarios } from './support/stage.js'

describeScenarios('jobs on PBS', (scenario) => {
  scenario('success: complete, with what it used', async ({ site: make }) => {
    const site = await make({ script: 'sleep 2', sessions: 3 })
    await ended(site.run(), 0)
    const tasks = await site.tasks()
    for (const task of tasks) {
      expect(task).to.include({ state: 'complete', attempt: 1 })
      expect(task.job?.node).to.match(/\S/)
      expect(task.job?.elapsedSeconds).to.be.at.least(1)
    }
    expect(new Set(tasks.map(({ job }) => job?.id)).size).to.equal(3)
    expect(site.executions()).to.have.length(3)
    await site.cli(['verify', '--deep'])
  })

  scenario(
    'exit 3: the tool failed',
    async ({ site }) => {
      const task = await failure(await site({ script: 'exit 3' }))
      expect(task.cause).to.include({ kind: 'tool', exitCode: 3 })
      tells(task, 'exit-record', /exit code 3/)
      tells(task, 'queue', /Exit_status 3/)
    },
    { needs: ['history'] },
  )

  scenario('exit 137: told as what a shell says of SIGKILL, and as no limit of the job', async ({ site }) => {
    const task = await failure(await site({ script: 'exit 137' }))
    expect(task.cause).to.include({ kind: 'killed', exitCode: 137 })
    tells(task, 'exit-record', /exit code 137/)
  })

  scenario(
    'walltime',
    async ({ site, isFake, flavour }) => {
      const task = await failure(await site({ script: 'sleep 600', requirements: { walltime: '3s' } }))
      expect(task.cause?.kind).to.equal('walltime')
      // Releases before 2022 have no number for it.
      if (isFake) tells(task, 'queue', flavour === 'openpbs' ? /Exit_status -29/ : /Exit_status -11/)
    },
    { needs: ['history'] },
  )

  scenario(
    'memory',
    async ({ site, isFake, flavour }) => {
      // tail keeps the whole of a line that never ends.
      const script = '(head -c 300000000 /dev/zero; sleep 30) | tail -n 1 >/dev/null'
      const task = await failure(await site({ script, requirements: { memory: '100 MB' } }))
      expect(task.cause?.kind).to.equal('memory')
      if (isFake) tells(task, 'queue', flavour === 'openpbs' ? /Exit_status -27/ : /Exit_status -10/)
    },
    { needs: ['history', 'memory'] },
  )

  scenario(
    'qdel by the hand of somebody else',
    async ({ site: make, operator }) => {
      const site = await make({ script: 'sleep 600' })
      const run = site.run()
      const { job } = await site.reach(run, 'running', ({ state }) => state === 'running')
      expect(await operator('qdel', job?.id ?? '')).to.equal('')
      await run.ended
      const task = await site.task()
      expect(task.state, JSON.stringify(task)).to.equal('cancelled')
      expect(task.reason).to.match(/cancelled by someone else/)
      expect(site.executions()).to.have.length(1)
    },
    { needs: ['history'] },
  )

  scenario(
    'cancel by us, of running and of waiting jobs',
    async ({ site: make, operator }) => {
      const site = await make({ script: 'sleep 600', sessions: 3, requirements: { cpus: 4 } })
      const run = site.run()
      await until(() => site.executions().length === 2)
      await site.cli(['cancel', '--yes', '--project', 'P'])
      await run.ended
      for (const { state } of await site.tasks()) expect(state).to.equal('cancelled')
      expect(await operator('qselect', '-s', 'QHWR')).to.equal('')
      expect(site.executions()).to.have.length(2)
    },
    { needs: ['own-server'] },
  )

  scenario(
    'qrerun: the same attempt, started again',
    async ({ site: make, operator }) => {
      const site = await make({ cluster: { rerunnable: true }, script: untilFile('go') })
      const run = site.run()
      const { job } = await site.reach(run, 'running', ({ state }) => state === 'running')
      await until(() => site.executions().length === 1)
      expect(await operator('qrerun', job?.id ?? '')).to.equal('')
      await until(() => site.executions().length === 2)
      fs.writeFileSync(path.join(site.folder, 'go'), '')
      await ended(run, 0)
      const task = await site.task()
      expect(task).to.include({ state: 'complete', attempt: 1 })
      expect(task.job).to.include({ id: job?.id, restarts: 1 })
    },
    { needs: ['operator'] },
  )

  scenario('held: waits, says so, and completes when released', async ({ site: make, operator }) => {
    const site = await make({ cluster: { hold: true }, script: 'true' })
    const run = site.run()
    const { job } = await site.reach(
      run,
      'held',
      ({ state, reason }) => state === 'queued' && /held/i.test(reason),
    )
    expect(await operator('qrls', job?.id ?? '')).to.equal('')
    await ended(run, 0)
    expect(await site.task()).to.include({ state: 'complete', attempt: 1 })
  })

  scenario(
    'a node that fails in the middle of the job',
    async ({ site: make, pbs, flavour }) => {
      const site = await make({ script: 'sleep 600' })
      const run = site.run()
      await site.reach(run, 'running', ({ state }) => state === 'running')
      pbs.faults.set('node-down', true)
      await ended(run, 1)
      const task = await site.task()
      expect(task.state).to.equal('failed')
      expect(task.cause?.kind).to.equal('node')
      tells(task, 'queue', flavour === 'openpbs' ? /Exit_status -20/ : /Exit_status -4/)
    },
    { needs: ['node-down'] },
  )

  scenario(
    'a node that fails under a job that may run again: started again',
    async ({ site: make, pbs }) => {
      const site = await make({
        cluster: { rerunnable: true },
        script: 'test -e "$SITE/go" || sleep 600',
      })
      const run = site.run()
      await site.reach(run, 'running', ({ state }) => state === 'running')
      fs.writeFileSync(path.join(site.folder, 'go'), '')
      pbs.faults.set('node-down', true)
      await site.reach(run, 'queued again', ({ state }) => state === 'queued')
      pbs.faults.set('node-down', false)
      await ended(run, 0)
      expect(await site.task()).to.include({ state: 'complete', attempt: 1 })
      expect(site.executions()).to.have.length(2)
    },
    { needs: ['node-down'] },
  )

  scenario(
    'a queue that is stopped: waits and says so, then completes',
    async ({ site: make, pbs }) => {
      pbs.faults.set('queue-stopped', true)
      const site = await make({ script: 'true' })
      const run = site.run()
      await site.reach(
        run,
        'waiting for its queue',
        ({ state, reason }) => state === 'queued' && /queue|partition/i.test(reason),
      )
      pbs.faults.set('queue-stopped', false)
      await ended(run, 0)
      expect(await site.task()).to.include({ state: 'complete', attempt: 1 })
    },
    { needs: ['queue-stopped'] },
  )

  scenario(
    'a queue that takes no jobs: refused by name',
    async ({ site: make, pbs }) => {
      pbs.faults.set('queue-disabled', true)
      const site = await make({ script: 'true' })
      await ended(site.run(), 1)
      const task = await site.task()
      expect(task.state).to.equal('failed')
      expect(task.cause?.kind).to.equal('rejected')
      expect(task.cause?.summary).to.match(/queue/i)
      expect(site.executions()).to.deep.equal([])
    },
    { needs: ['queue-disabled'] },
  )

  scenario(
    'a dependency that is never satisfied',
    async ({ site: make, call }) => {
      const failed = (await call(['qsub', '-h', '-o', '/dev/null', '-j', 'oe'], 'exit 1')).stdout.trim()
      const site = await make({ cluster: { qsubOptions: [`-Wdepend=afterok:${failed}`] }, script: 'true' })
      const run = site.run()
      await site.reach(run, 'queued', ({ state, job }) => state === 'queued' && job?.id !== undefined)
      await call(['qrls', failed])
      await ended(run, 1)
      const task = await site.task()
      expect(task.state).to.equal('failed')
      expect(task.cause?.summary).to.match(/depend/i)
      expect(site.executions()).to.deep.equal([])
    },
    { needs: ['history'] },
  )

  scenario(
    "more time than the queue's limit: refused before anything is staged, by name",
    async ({ site: make }) => {
      const site = await make({
        cluster: { queue: 'short' },
        script: 'true',
        requirements: { walltime: '20m' },
      })
      expect(await site.cli(['plan'])).to.match(/can never run here: .*walltime 20m.*10m.*queue short/)
      // Held, not failed: nothing went wrong, and nothing is in the archive.
      await ended(site.run(), 0)
      expect(await site.tasks()).to.deep.equal([])
      expect(site.executions()).to.deep.equal([])
    },
    { needs: ['own-server'] },
  )
})
