/** A server that keeps nothing of what has ended. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import type { JobId, JobStatus } from '@orbweaver/core'
import { createFakeLab, type FakeLab } from './fake-lab.js'
import { spec } from './specs.js'

describe('OpenPBS without history', () => {
  let lab: FakeLab
  before(async () => {
    lab = await createFakeLab('openpbs', { history: false })
  })
  after(() => lab.dispose())

  // As OpenPBS 23.06.06: X, "Subjob finished" and the Exit_status of the array for each, whether it failed or not.
  it('tells of elements that ended in an array that goes on only that they ended', async () => {
    const backend = lab.open()
    const gate = join(lab.folder, 'gate')
    const scripts = ['exit 3', `until [ -e '${gate}' ]; do sleep 0.1; done`, 'exit 0']
    const outcomes = await backend.submit(
      scripts.map((script, index) =>
        spec(`ow-${index}`, {
          command: ['/bin/sh', '-c', script],
          directory: lab.folder,
          stdoutPath: join(lab.folder, `out-${index}`),
          stderrPath: join(lab.folder, `err-${index}`),
          groupKey: 'k',
        }),
      ),
    )
    const ids = outcomes.flatMap((outcome) => (outcome.kind === 'accepted' ? [outcome.id] : []))
    expect(ids).to.have.length(3)
    const until = async (ready: (statuses: ReadonlyMap<JobId, JobStatus>) => boolean) => {
      for (;;) {
        const statuses = await backend.query(ids)
        if (ready(statuses)) return ids.map((id) => statuses.get(id))
        await pause(50)
      }
    }
    const [failed, running, good] = await until((now) =>
      [0, 2].every((at) => now.get(ids[at] as JobId)?.phase === 'finished'),
    )
    expect([failed?.outcome, good?.outcome]).to.deep.equal(['unknown', 'unknown'])
    expect(failed).not.to.have.property('exitCode')
    expect(running?.phase).to.equal('running')
    writeFileSync(gate, '')
    await until((now) => now.size === 0)
    await backend.close()
  })
})
