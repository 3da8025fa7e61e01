/** Services of a real Slurm that go away for a while: work waits, nothing is lost, nothing runs twice. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describeStage, ended, signal, until } from './support/stage.js'

/** How long a controller is away: as long as it takes operators to restart one. */
const AWAY_MS = 60_000

// MinJobAge of two seconds: a job that ends between two looks is gone from the queue at the next.
describeStage(
  'a real Slurm whose services go away',
  () => ({ cpus: 32, minJobAge: 2 }),
  (stage) => {
    const running = signal()
    const vanished = signal()
    let controllerBack: Promise<void>
    let controllerGone: Promise<void>
    let dbdGone: Promise<void>
    let dbdBack: () => Promise<void>

    stage.scenario(
      'jobs vanish from the queue between two looks: the accounting and their records tell',
      async () => {
        const site = await stage.site('vanish', {
          script: 'case $ORBWEAVER_TASK in *S001*) exit 3;; esac',
          sessions: 3,
          more: { timing: { poll: '12s', grace: '30s', outage: '2s' } },
        })
        await ended(site.run(), 1)
        const tasks = await site.tasks()
        expect(tasks.map(({ state }) => state).sort()).to.deep.equal(['complete', 'complete', 'failed'])
        expect(tasks.find(({ state }) => state === 'failed')?.cause).to.include({ kind: 'tool', exitCode: 3 })
        expect(site.executions()).to.have.length(3)
        vanished.give()
      },
    )

    stage.scenario('the controller is killed for a minute while jobs run', async () => {
      await vanished.done
      const site = await stage.site('poll-outage', {
        script: 'case $ORBWEAVER_TASK in *S001*) sleep 5; exit 3;; *S002*) sleep 90;; *) sleep 30;; esac',
        sessions: 4,
      })
      const run = site.run()
      await until(() => site.executions().length === 4)
      // A controller that is killed before it saves its state forgets jobs, and ends them when it comes back.
      const begunMs = fs.statSync(path.join(site.folder, 'executions.txt')).mtimeMs
      await until(() => fs.statSync(path.join(stage.lab.directory, 'state', 'job_state')).mtimeMs > begunMs)
      running.give()
      await controllerGone
      await ended(run, 1)
      await controllerBack
      const tasks = await site.tasks()
      expect(tasks.map(({ state }) => state).sort()).to.deep.equal([
        'complete',
        'complete',
        'complete',
        'failed',
      ])
      expect(tasks.find(({ state }) => state === 'failed')?.cause).to.include({ kind: 'tool', exitCode: 3 })
      expect(site.executions()).to.have.length(4)
    })

    stage.scenario('the controller is away when jobs are submitted', async () => {
      await controllerGone
      const site = await stage.site('submit-outage', { script: 'true', sessions: 3 })
      await ended(site.run(), 0)
      await controllerBack
      for (const task of await site.tasks()) expect(task).to.include({ state: 'complete', attempt: 1 })
      expect(site.executions()).to.have.length(3)
    })

    stage.scenario(
      'the accounting daemon is down: the queue and the records of the jobs are enough',
      async () => {
        await dbdGone
        const site = await stage.site('dbd-down', {
          script: 'case $ORBWEAVER_TASK in *S001*) exit 3;; *S002*) sleep 8;; esac',
          sessions: 3,
          more: { timing: { poll: '5s', grace: '20s', outage: '2s' } },
        })
        await ended(site.run(), 1)
        await dbdBack()
        const tasks = await site.tasks()
        expect(tasks.map(({ state }) => state).sort()).to.deep.equal(['complete', 'complete', 'failed'])
        expect(tasks.find(({ state }) => state === 'failed')?.cause).to.include({ kind: 'tool', exitCode: 3 })
        expect(site.executions()).to.have.length(3)
      },
    )

    return () => {
      controllerGone = running.done.then(() => stage.lab.kill('slurmctld'))
      controllerBack = controllerGone.then(() => pause(AWAY_MS)).then(() => stage.lab.restartController())
      // After the controller: what is asked for here is that one service is away.
      dbdGone = controllerBack.then(() => stage.lab.stopDbd())
      dbdBack = () => stage.lab.startDbd()
      for (const one of [controllerGone, controllerBack, dbdGone]) one.catch(() => undefined)
    }
  },
)
