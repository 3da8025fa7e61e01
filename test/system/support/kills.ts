/** The engine is killed between a scheduler accepting a job and the engine learning its id. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import type { ClusterSite } from './cluster-site.js'
import { scratchFolder, write } from './folders.js'

export interface KillingPrograms {
  readonly bin: string
  /** What the submit program answered to whom it then killed, so far. */
  accepted(): readonly string[]
}

/**
 * A folder with the programs of a scheduler, where the submit program kills whoever called it once the job is accepted. Calls
 * go one by one, and one whose caller has been killed meanwhile submits nothing: it would have been killed with it.
 *
 * @param submits - pattern of the shell for the words of a call that submits; others go straight through
 */
export function killingPrograms(
  programs: ReadonlyMap<string, string>,
  submit: string,
  submits: string,
): KillingPrograms {
  const bin = scratchFolder('programs')
  fs.chmodSync(bin, 0o777)
  for (const [program, file] of programs)
    if (program !== submit) fs.symlinkSync(file, path.join(bin, program))
  const real = programs.get(submit) ?? submit
  write(
    path.join(bin, submit),
    `#!/bin/sh
case " $* " in ${submits}) ;; *) exec '${real}' "$@" ;; esac
caller=$PPID
exec 9>>'${bin}/lock'
flock 9
# Of a process that has been killed nothing is told here; and an orphan has another parent.
alive() { grep -q orbweaver "/proc/$caller/cmdline" 2>/dev/null; }
alive || exit 1
answer=$('${real}' "$@") || exit
printf '%s\\n' "$answer" >>'${bin}/accepted'
kill -KILL "$caller"
while alive; do sleep 0.05; done
`,
    0o755,
  )
  return { bin, accepted: () => fs.readFileSync(path.join(bin, 'accepted'), 'utf8').trim().split('\n') }
}

/** Run, and run again after each kill, until a run comes to its end. Each job must then exist and have run once. */
export async function runThroughKills(
  site: ClusterSite,
  killing: KillingPrograms,
  expected: { readonly kills: number; readonly tasks: number },
): Promise<void> {
  let count = 0
  for (;;) {
    const { code, stdout, stderr } = await site.run().ended
    if (code === 0) break
    expect(code, `${stdout}\n${stderr}`).to.equal(null)
    count += 1
  }
  // Tasks that are staged at different moments do not fit in one array.
  expect(count).to.be.at.least(expected.kills)
  expect(killing.accepted()).to.have.length(count)
  const tasks = await site.tasks()
  expect(tasks).to.have.length(expected.tasks)
  for (const task of tasks) expect(task).to.include({ state: 'complete', attempt: 1 })
  const executions = site.executions()
  expect(executions).to.have.length(expected.tasks)
  expect(new Set(executions).size).to.equal(expected.tasks)
  expect(new Set(tasks.map(({ job }) => job?.id)).size).to.equal(expected.tasks)
}
