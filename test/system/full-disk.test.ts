/** A full disk stops the work and fails nothing; when there is room the work goes on by itself. */

import { expect } from 'chai'
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { skip } from '../support/skip.js'
import { askJson, mustRun, runCli, startCli } from './support/cli.js'
import type { RunningCli } from './support/cli.js'
import { removeFolders, treeHash, write } from './support/folders.js'
import { endJobs } from './support/processes.js'
import { createSite, executions } from './support/site.js'
import type { Site } from './support/site.js'

const MIB = 1024 ** 2

describe('a full disk', function () {
  this.timeout(120_000)
  let site: Site
  const mounted: string[] = []

  /** Gives a folder a disk of its own. What was in it is copied there. */
  const disk = (folder: string, mebibytes: number): void => {
    const kept = `${folder}.kept`
    if (fs.existsSync(folder)) fs.renameSync(folder, kept)
    fs.mkdirSync(folder, { mode: 0o700 })
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=700`, 'tmpfs', folder])
    mounted.push(folder)
    if (fs.existsSync(kept)) fs.cpSync(kept, folder, { recursive: true })
  }
  const enlarge = (folder: string, mebibytes: number): void => {
    execFileSync('mount', ['-o', `remount,size=${mebibytes}m`, folder])
  }
  const states = async (): Promise<readonly string[]> => {
    const { tasks } = await askJson<{ tasks: readonly { state: string }[] }>(['status'], { cwd: site.folder })
    return tasks.map(({ state }) => state)
  }

  before(function () {
    if (process.getuid?.() !== 0) skip(this, 'only root can mount a small disk')
    const probe = fs.mkdtempSync('/tmp/orbweaver-mount-')
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe])
    if (status === 0) execFileSync('umount', [probe])
    fs.rmdirSync(probe)
    if (status !== 0) skip(this, 'this machine does not let root mount a small disk')
  })
  beforeEach(async () => {
    site = await createSite({ name: 'full-disk', sessions: 1 })
    // The pause after "no space" is a minute by default.
    fs.appendFileSync(path.join(site.folder, 'orbweaver.yaml'), 'timing: { outage: 1s }\n')
  })
  afterEach(() => {
    if (site !== undefined) endJobs(site.folder)
    for (const folder of mounted.splice(0)) execFileSync('umount', ['-l', folder])
    removeFolders()
  })

  it('of the archive: an import says so, with exit code 75, and changes nothing', async () => {
    disk(site.archive, 4)
    const large = path.join(site.folder, 'large')
    write(path.join(large, 'Q', 'S', 'E', '1-T1', 'DATA', 'large.bin'), Buffer.alloc(8 * MIB, 1))
    const before = treeHash(site.archive)
    const { code, stderr } = await runCli(['import', large, '--as', 'tree'], { cwd: site.folder })
    expect(code, stderr).to.equal(75)
    expect(stderr).to.contain('NO_SPACE')
    expect(treeHash(site.archive)).to.equal(before)
  })

  it('of the work root: nothing fails, and the task is done when there is room', async () => {
    disk(site.workRoot, 16)
    const first = await runCli(['run', '--once'], { cwd: site.folder })
    expect(first.code, first.stderr).to.equal(75)
    expect(first.stderr).to.match(/free|space/i)
    expect(await states()).not.to.include('failed')
    enlarge(site.workRoot, 256)
    await mustRun(['run'], { cwd: site.folder })
    expect(await states()).to.deep.equal(['complete'])
    expect(executions(site)).to.have.length(1)
  })

  it('of the archive while results are sent: the job is not run again for it', async () => {
    fs.appendFileSync(
      path.join(site.folder, 'count.sh'),
      `head -c ${24 * MIB} /dev/zero >"$ORBWEAVER_OUTPUTS/large.bin"\n`,
    )
    const processor = path.join(site.folder, 'p.yaml')
    fs.writeFileSync(
      processor,
      fs.readFileSync(processor, 'utf8').replace('path: result.txt', 'path: "*"').replace('64 MB', '256 MB'),
    )
    disk(site.archive, 8)
    const run = startCli(['run'], { cwd: site.folder })
    await says(run, /space/i)
    expect(executions(site)).to.have.length(1)
    enlarge(site.archive, 256)
    const { code, stderr } = await run.ended
    expect(code, stderr).to.equal(0)
    expect(await states()).to.deep.equal(['complete'])
    expect(executions(site)).to.have.length(1)
    await mustRun(['verify', '--deep'], { cwd: site.folder })
  })
})

/** Resolves when the command has said something; rejects when it ends without. */
async function says({ process: child, ended }: RunningCli, what: RegExp): Promise<void> {
  let text = ''
  const heard = new Promise<void>((resolve) => {
    child.stderr?.on('data', (data: string) => {
      text += data
      if (what.test(text)) resolve()
    })
  })
  const over = ended.then(({ code, stderr }) => {
    throw new Error(`ended with exit code ${code} without saying ${String(what)}: ${stderr}`)
  })
  await Promise.race([heard, over])
  // The loser's rejection is nobody's any more.
  over.catch(() => undefined)
}
