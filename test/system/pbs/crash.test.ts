/**
 * The engine is killed between qsub accepting a job and the engine learning its id, again and again: no second job, and none
 * lost.
 */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { scratchFolder, write } from '../support/folders.js'
import { describeScenarios, type Scene } from './support/stage.js'

/** Of each flavour: of single jobs, and of arrays. */
const SINGLES = 13
const ARRAYS = 12
/** Elements of each array. */
const ELEMENTS = 2

describeScenarios('a run that is killed before it learns the id of a job on PBS', (scenario) => {
  scenario(`single jobs: ${SINGLES} kills, each job exists and runs once`, (scene) =>
    killed(scene, { arrays: false, sessions: SINGLES, processors: 1, kills: SINGLES }),
  )
  scenario(`arrays: ${ARRAYS} kills, each job exists and runs once`, (scene) =>
    killed(scene, { arrays: true, sessions: ELEMENTS, processors: ARRAYS, kills: ARRAYS }),
  )
})

interface Way {
  readonly arrays: boolean
  readonly sessions: number
  readonly processors: number
  readonly kills: number
}

async function killed(scene: Scene, { arrays, sessions, processors, kills }: Way): Promise<void> {
  const bin = killingPrograms(scene.fake.bin)
  const site = await scene.site({ sessions, processors, script: 'true', cluster: { bin, arrays } })
  let count = 0
  for (;;) {
    const { code, stdout, stderr } = await site.run().ended
    if (code === 0) break
    expect(code, `${stdout}\n${stderr}`).to.equal(null)
    count += 1
  }
  // Tasks that are staged at different moments do not fit in one array.
  expect(count).to.be.at.least(kills)
  const accepted = fs.readFileSync(path.join(bin, 'accepted'), 'utf8').trim().split('\n')
  expect(accepted).to.have.length(count)

  const all = sessions * processors
  const tasks = await site.tasks()
  expect(tasks).to.have.length(all)
  for (const task of tasks) expect(task).to.include({ state: 'complete', attempt: 1 })
  const executions = site.executions()
  expect(executions).to.have.length(all)
  expect(new Set(executions).size).to.equal(all)
  expect(new Set(tasks.map(({ job }) => job?.id)).size).to.equal(all)

  // What the server knows: no job beside those.
  const words = scene.flavour === 'openpbs' ? ['-x', '-T'] : []
  expect((await scene.operator('qselect', ...words)).trim().split('\n')).to.have.length(all)
}

/**
 * A folder with the programs, where qsub kills whoever called it once the job is accepted. Calls go one by one, and one
 * whose caller has been killed meanwhile submits nothing: it would have been killed with it.
 */
function killingPrograms(bin: string): string {
  const folder = scratchFolder('programs')
  for (const program of fs.readdirSync(bin).filter((name) => name !== 'qsub'))
    fs.symlinkSync(path.join(bin, program), path.join(folder, program))
  write(
    path.join(folder, 'qsub'),
    `#!/bin/sh
case "$*" in --version) exec '${bin}/qsub' "$@" ;; esac
caller=$PPID
exec 9>>'${folder}/lock'
flock 9
# Of a process that has been killed nothing is told here; and an orphan has another parent.
alive() { grep -q orbweaver "/proc/$caller/cmdline" 2>/dev/null; }
alive || exit 1
answer=$('${bin}/qsub' "$@") || exit
printf '%s\\n' "$answer" >>'${folder}/accepted'
kill -KILL "$caller"
while alive; do sleep 0.05; done
`,
    0o755,
  )
  return folder
}
