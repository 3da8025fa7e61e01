/** A PBS server that goes away for a while, forgets what has ended, or loses jobs: work waits, nothing runs twice. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { ended, states, until, untilFile, untilUnwell } from '../support/scenario.js'
import { describeScenarios } from './support/stage.js'

describeScenarios('a PBS server that goes away or forgets', (scenario) => {
  scenario(
    'it is away while jobs run and end',
    async ({ site: make, pbs }) => {
      const site = await make({
        script: `${untilFile('go')}\ncase $ORBWEAVER_TASK in *S001*) exit 3;; esac`,
        sessions: 3,
      })
      const run = site.run()
      await until(() => site.executions().length === 3)
      pbs.faults.set('server-down', true)
      fs.writeFileSync(path.join(site.folder, 'go'), '')
      await untilUnwell(site)
      expect(await states(site)).not.to.include('failed')
      pbs.faults.set('server-down', false)
      await ended(run, 1)
      expect(await states(site)).to.deep.equal(['complete', 'complete', 'failed'])
      const failed = (await site.tasks()).find(({ state }) => state === 'failed')
      expect(failed?.cause).to.include({ kind: 'tool', exitCode: 3 })
      expect(site.executions()).to.have.length(3)
    },
    { needs: ['server-down'] },
  )

  scenario(
    'it is away when jobs are submitted',
    async ({ site: make, pbs }) => {
      pbs.faults.set('server-down', true)
      const site = await make({ script: 'true', sessions: 3 })
      const run = site.run()
      // At work, and without an answer.
      await until(() => fs.existsSync(path.join(site.folder, 'work', '.orbweaver', 'journal.db')))
      await untilUnwell(site)
      expect(site.executions()).to.deep.equal([])
      pbs.faults.set('server-down', false)
      await ended(run, 0)
      for (const task of await site.tasks()) expect(task).to.include({ state: 'complete', attempt: 1 })
      expect(site.executions()).to.have.length(3)
    },
    { needs: ['server-down'] },
  )

  scenario(
    'the answer of qsub is lost: the job is found, and is not submitted again',
    async ({ site: make, pbs, isFake, operator }) => {
      pbs.faults.set('lose-answer', true)
      const site = await make({ script: 'sleep 1', cluster: { arrays: false } })
      await ended(site.run(), 0)
      expect(await site.task()).to.include({ state: 'complete', attempt: 1 })
      expect(site.executions()).to.have.length(1)
      if (isFake) expect((await operator('qselect', '-x')).trim().split('\n')).to.have.length(1)
    },
    { needs: ['lose-answer'] },
  )

  scenario(
    'it keeps nothing of what has ended: the records of the jobs tell',
    async ({ site: make, pbs }) => {
      pbs.faults.set('history-off', true)
      const site = await make({
        script: 'case $ORBWEAVER_TASK in *S001*) exit 3;; *S002*) exit 137;; esac',
        sessions: 3,
      })
      await ended(site.run(), 1)
      const told = (await site.tasks()).map(({ state, cause }) =>
        [state, cause?.kind, cause?.exitCode].join(' ').trim(),
      )
      expect(told.sort()).to.deep.equal(['complete', 'failed killed 137', 'failed tool 3'])
      expect(site.executions()).to.have.length(3)
    },
    { needs: ['history-off'] },
  )

  scenario(
    'jobs vanish between two looks, without a word',
    async ({ site: make, pbs }) => {
      const site = await make({
        script: 'case $ORBWEAVER_TASK in *S001*) sleep 600;; esac',
        sessions: 2,
        more: { timing: { poll: '1s', grace: '3s', outage: '2s' } },
      })
      const run = site.run()
      await until(async () => (await states(site)).join(' ') === 'complete running')
      pbs.faults.set('vanish', true)
      await ended(run, 1)
      const tasks = await site.tasks()
      expect(tasks.map(({ state }) => state).sort()).to.deep.equal(['complete', 'failed'])
      expect(tasks.find(({ state }) => state === 'failed')?.cause?.kind).to.equal('lost')
      expect(site.executions()).to.have.length(2)
    },
    { needs: ['vanish'] },
  )
})
