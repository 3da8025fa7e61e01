/**
 * The engine is killed between qsub accepting a job and the engine learning its id, again and again: no second job, and none
 * lost.
 */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { killingPrograms, runThroughKills } from '../support/kills.js'
import { describeScenarios, type Scene } from './support/stage.js'

/** On each server: of single jobs, and of arrays. */
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
  const programs = fs
    .readdirSync(scene.pbs.bin)
    .map((each) => [each, path.join(scene.pbs.bin, each)] as const)
  const killing = killingPrograms(new Map(programs), 'qsub', "*' -N '*")
  const cluster = { bin: killing.bin, arrays }
  const site = await scene.site({ sessions, processors, script: 'true', cluster })
  const tasks = sessions * processors
  await runThroughKills(site, killing, { kills, tasks })
  if (!scene.isFake) return
  // What the server knows: no job beside those.
  const words = scene.flavour === 'openpbs' ? ['-x', '-T'] : []
  expect((await scene.operator('qselect', ...words)).trim().split('\n')).to.have.length(tasks)
}
