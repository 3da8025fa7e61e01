/** The examples, run as a reader would. */

import { FolderStore } from '@orbweaver/adapter-local'
import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { ROOT } from './support/repository.js'
import { mustRun } from './system/support/cli.js'

describe('examples', function () {
  this.timeout(60_000)
  let folder: string

  beforeEach(() => {
    // Below the checkout's own folder: packages are found from there, as they are for a reader.
    folder = fs.mkdtempSync(path.join(ROOT, 'examples', '.tmp-'))
  })
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

  it('one-job says how the job ended, with its exit code', () => {
    const run = (...words: readonly string[]) =>
      spawnSync(process.execPath, [path.join(ROOT, 'examples', 'one-job', 'one-job.mjs'), ...words], {
        encoding: 'utf8',
      })
    const good = run('echo', 'hello; $(world)')
    expect(good.stdout, good.stderr).to.match(/^hello; \$\(world\)\n.*: succeeded, exit code 0\n$/)
    expect(run('sh', '-c', 'exit 3').status).to.equal(3)
    expect(fs.readdirSync(os.tmpdir()).filter((name) => name.startsWith('one-job-'))).to.deep.equal([])
  })

  it('processor-class runs on sessions that it wants, with the parameter of the site', async () => {
    fs.cpSync(path.join(ROOT, 'examples', 'processor-class'), folder, { recursive: true })
    const note = path.join(folder, 'note.txt')
    fs.writeFileSync(note, 'one\ntwo\nthree\n')
    const store = await FolderStore.open({ path: path.join(folder, 'archive'), create: true })
    await store.ingest(
      ['S1_MR1', 'PHANTOM_1'].map((session) => ({
        project: 'P',
        subject: 'S1',
        session,
        scan: { label: '1', type: 'NOTE' },
        resource: 'TXT',
        files: [{ path: 'note.txt', source: note }],
      })),
    )
    await store.close()
    const { stdout } = await mustRun(['run', '--json'], { cwd: folder })
    const { summary } = JSON.parse(stdout) as { summary: { completed: number } }
    expect(summary.completed).to.equal(1)
    const explained = await mustRun(['explain', '--session', 'PHANTOM_1'], { cwd: folder })
    expect(explained.stdout).to.contain('phantoms have no notes')
  })
})
