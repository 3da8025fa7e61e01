/** The fakes print what the real servers print: the same scenario on both, the shapes of their replies side by side. */

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import { readRecords } from '#src/records.js'
import { createFakeLab, type FakeLab } from './fake-lab.js'
import type { Flavour } from './fake/start.js'

interface Recorded {
  readonly id: string
  readonly command: string
  readonly exit: number
  readonly stdout: string
}
const SCENARIOS: readonly {
  readonly recorded: RegExp
  readonly qsub: readonly string[]
  readonly script: string
  readonly state: RegExp
  /** After qsub. */
  readonly then?: readonly string[]
}[] = [
  { recorded: /^done-ok\/.*done/, qsub: [], script: 'true', state: /[FC]/ },
  { recorded: /^failed-exit-3\/.*done/, qsub: [], script: 'exit 3', state: /[FC]/ },
  { recorded: /^held\/.*user-held/, qsub: ['-h'], script: 'true', state: /H/ },
  {
    recorded: /^cancelled-while-queued\/.*done/,
    qsub: ['-h'],
    script: 'true',
    state: /[FC]/,
    then: ['qdel'],
  },
]
/** What a server may leave out or add by its configuration, by how long a job took and by the login that submitted. */
const MAY_DIFFER =
  /^(?:jobdir|Submit_arguments|submit_args|session_id|etime|Walltime\.Remaining|total_runtime|egroup|history_timestamp|Stageout_status|obittime|exec_|run_count|eligible_time)/

for (const [flavour, release] of [
  ['openpbs', 'openpbs-23.06'],
  ['torque', 'torque-7.0'],
] as const satisfies readonly (readonly [Flavour, string])[]) {
  describe(`the fake ${flavour} prints what ${release} prints`, () => {
    const file = new URL(`../test/fixtures/${release}/qstat.json`, import.meta.url)
    const recordings = JSON.parse(readFileSync(file, 'utf8')) as readonly Recorded[]
    let lab: FakeLab
    before(async () => {
      lab = await createFakeLab(flavour)
    })
    after(() => lab.dispose())
    const call = (program: string, words: readonly string[], input = '') => {
      const cwd = lab.folder
      const { status, stdout } = spawnSync(join(lab.fake.bin, program), [...words], {
        encoding: 'utf8',
        cwd,
        input,
      })
      return { exit: status, stdout }
    }

    for (const { recorded, qsub, script, state, then } of SCENARIOS) {
      const wanted = recordings.filter(
        ({ id, command }) => recorded.test(id) && /^qstat .*-\w*[fx]/.test(command) && !/json/.test(command),
      )
      if (wanted.length === 0) continue
      it(`${recorded.source.replace(/\W+/g, ' ').trim()}: ${wanted.length} replies`, async () => {
        const id = call('qsub', qsub, script).stdout.trim()
        if (then !== undefined) call(then[0] ?? '', [...then.slice(1), id])
        const words = flavour === 'openpbs' ? ['-x', '-f', id] : ['-f', id]
        let found = ''
        for (let round = 0; round < 400 && !state.test(found); round++) {
          found = readRecords(call('qstat', words).stdout)[0]?.fields.get('job_state') ?? ''
          if (!state.test(found)) await pause(20)
        }
        for (const { command, exit, stdout } of wanted) {
          const theirs = readRecords(stdout)[0]
          if (theirs === undefined) continue
          const number = theirs.id.split('.')[0] ?? ''
          const [, ...argv] = command
            .replaceAll("'", '')
            .replace(new RegExp(String.raw`\b${number}\b.*$`), id)
            .split(' ')
          const ours = call('qstat', argv)
          expect(ours.exit, command).to.equal(exit)
          const [mine] = readRecords(ours.stdout)
          const names = (fields: ReadonlyMap<string, string> | undefined): readonly string[] =>
            [...(fields?.keys() ?? [])].filter((name) => !MAY_DIFFER.test(name)).sort()
          expect(names(mine?.fields), command).to.deep.equal(names(theirs.fields))
          for (const name of [
            'job_state',
            'Exit_status',
            'exit_status',
            'substate',
            'Hold_Types',
            'Rerunable',
          ])
            expect(mine?.fields.get(name), `${command}: ${name}`).to.equal(theirs.fields.get(name))
          // Layout: indents, separators and the width at which lines are broken.
          const layout = (text: string): string =>
            [/^Job Id: /m, /^ {4}\w+ = /m, /^\t/m, /<Job_Id>/, /\|job_state=/]
              .map((one) => one.test(text))
              .join()
          expect(layout(ours.stdout), command).to.equal(layout(stdout))
        }
      })
    }
  })
}
