/** An XNAT in trouble: every task ends complete, byte by byte as it was made, and none ran twice. */

import { FolderStore } from '@orbweaver/adapter-local'
import { XnatClient, XnatCredentials } from '@orbweaver/xnat'
import { startSandbox, type LoggedRequest } from '@orbweaver/xnat-sandbox'
import { expect } from 'chai'
import type { ChildProcess } from 'node:child_process'
import path from 'node:path'
import { removeFolders } from '../support/folders.js'
import { endJobs } from '../support/processes.js'
import { seedOfThisRun } from '../support/random.js'
import { secretsBelow, secretsIn, shapesOf } from './secrets.js'
import { TASKS, prepareSite, runUntilDone, serveFrom, verifyResults } from './trouble.js'

const USER = 'cron'
const PASSWORD = 'planted:P4ssw0rd/&%"é'
/** `ORBWEAVER_XNAT_OUTAGE=5` for a short run; in seconds. */
const OUTAGE_MS = Number(process.env['ORBWEAVER_XNAT_OUTAGE'] ?? 60) * 1000
/** At these parts of all uploads the server goes away. */
const OUTAGES_AT = [0.25, 0.6]

describe('an XNAT in trouble', function () {
  this.timeout(900_000)
  const running = new Set<ChildProcess>()
  let folder: string | undefined
  after(() => {
    for (const child of running) child.kill('SIGKILL')
    if (folder !== undefined) endJobs(folder)
    removeFolders()
  })

  it(`completes ${TASKS} tasks across errors, drops, cut-off replies and two outages of ${OUTAGE_MS / 1000} s`, async () => {
    const site = await prepareSite('xnat-faults')
    folder = site.folder
    const seed = seedOfThisRun()
    const rates = { errorRate: 0.05, dropRate: 0.05, truncateRate: 0.05 }
    let uploads = 0
    let outages = 0
    let refused = 0
    const onRequest = ({ method, path: at, status }: LoggedRequest): void => {
      if (status === 0) refused += 1
      if (method !== 'PUT' || status !== 200 || !at.includes('/files/')) return
      uploads += 1
      // Results and logs: two uploads a task. By counts and not by time: the work is always in the middle then.
      if (outages >= OUTAGES_AT.length || uploads < TASKS * 2 * (OUTAGES_AT[outages] ?? 1)) return
      outages += 1
      refused = 0
      sandbox.setFaults({
        seed: seed + outages,
        ...rates,
        outages: [{ startMs: 0, durationMs: OUTAGE_MS }],
      })
    }
    const sandbox = await startSandbox({
      directory: path.join(site.folder, 'server'),
      users: [{ name: USER, password: PASSWORD, projects: { P: 'owner' } }],
      onRequest,
    })
    const client = new XnatClient({ url: sandbox.url, credentials: new XnatCredentials(USER, PASSWORD) })
    try {
      const store = await FolderStore.open({ path: site.archive })
      await sandbox.seed(store)
      await store.close()
      serveFrom(site, sandbox.url)
      sandbox.setFaults({ seed, ...rates })
      const printed = await runUntilDone(site, { XNAT_USER: USER, XNAT_PASS: PASSWORD }, running)
      expect(outages, 'outages').to.equal(OUTAGES_AT.length)
      expect(refused, 'requests that met the last outage').to.be.greaterThan(0)
      sandbox.setFaults({})
      console.log(`      seed ${seed}; ${printed.length} runs, ${sandbox.counts().requests} requests`)
      await verifyResults(site, client)
      const shapes = shapesOf({ password: PASSWORD }, USER)
      expect(printed.flatMap((text) => secretsIn(text, shapes))).to.deep.equal([])
      // The server's own folder holds passwords; the site's may not.
      const own = path.join(site.folder, 'server')
      expect(secretsBelow(site.folder, shapes, (file) => file === own)).to.deep.equal([])
    } finally {
      await client.close()
      await sandbox.close()
    }
  })
})
