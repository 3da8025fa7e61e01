/** A real Slurm without accounting, where the queue and the jobs' own records are all there is. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { describeStage, ended, signal, until, untilFile, untilUnwell } from './support/stage.js'

describeStage(
  'a real Slurm without accounting',
  () => ({ cpus: 32, accounting: false, minJobAge: 2 }),
  (stage) => {
    const jobsDone = signal()
    const cancelDone = signal()
    stage.scenario('success, exit 3 and exit 137', async () => {
      const site = await stage.site('bare', {
        script: 'case $ORBWEAVER_TASK in *S001*) exit 3;; *S002*) exit 137;; esac',
        sessions: 3,
      })
      await ended(site.run(), 1)
      const tasks = await site.tasks()
      expect(
        tasks.map(({ state, cause }) => [state, cause?.kind, cause?.exitCode].join(' ')).sort(),
      ).to.deep.equal(['complete  ', 'failed killed 137', 'failed tool 3'])
      jobsDone.give()
    })

    stage.scenario('cancel of a waiting and of a running job', async () => {
      const site = await stage.site('bare-cancel', {
        script: 'sleep 600',
        requirements: { cpus: 20 },
        sessions: 2,
      })
      const run = site.run()
      await until(() => site.executions().length === 1)
      await until(async () => (await site.tasks()).filter(({ state }) => state === 'queued').length === 1)
      await site.cli(['cancel', '--yes', '--project', 'P'])
      await run.ended
      for (const { state } of await site.tasks()) expect(state).to.equal('cancelled')
      cancelDone.give()
    })

    stage.scenario('credentials are refused for a while: work waits, nothing fails', async () => {
      await Promise.all([jobsDone.done, cancelDone.done])
      const site = await stage.site('munge', { script: untilFile('go'), sessions: 2 })
      const run = site.run()
      await until(() => site.executions().length === 2)
      await stage.lab.halt('munged')
      await untilUnwell(site)
      fs.writeFileSync(path.join(site.folder, 'go'), '')
      const late = await stage.site('munge-submit', { script: 'true' })
      const lateRun = late.run()
      // At work, and without an answer: munged is still away.
      await until(() => fs.existsSync(path.join(late.folder, 'work', '.orbweaver', 'journal.db')))
      await stage.lab.start('munged')
      await Promise.all([ended(run, 0), ended(lateRun, 0)])
      for (const task of [...(await site.tasks()), ...(await late.tasks())])
        expect(task).to.include({ state: 'complete', attempt: 1 })
      expect(site.executions()).to.have.length(2)
      expect(late.executions()).to.have.length(1)
    })
  },
)
