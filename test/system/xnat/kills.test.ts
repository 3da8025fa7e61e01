/** An XNAT that is killed while files are sent: every task ends complete all the same, and none ran twice. */

import { XnatClient, XnatCredentials } from '@orbweaver/xnat'
import { expect } from 'chai'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { removeFolders, write } from '../support/folders.js'
import { endJobs } from '../support/processes.js'
import { randomFrom, seedOfThisRun } from '../support/random.js'
import { Door } from './door.js'
import { TASKS, prepareSite, runUntilDone, serveFrom, verifyResults, type XnatSite } from './trouble.js'

const KILLS = Math.min(50, Math.floor(TASKS / 4))
/** Uploads between two kills, at most: the two of each task are enough for all kills. */
const MOST_BETWEEN = 3
const USER = 'cron'
const PASSWORD = 'only-for-this-test'
const UPLOAD = /^PUT \S+\/files\/\S+ HTTP/m

/** The server, and a door before it that sees uploads begin and has the server killed in the middle of some. */
class KilledServer {
  #child: ChildProcess | undefined
  #port = '0'
  #seen = 0
  #killAt: number
  #work: Promise<void> = Promise.resolve()
  #door: Door | undefined
  kills = 0

  private constructor(
    readonly site: XnatSite,
    readonly passwordFile: string,
    readonly random: () => number,
  ) {
    this.#killAt = this.#next()
  }

  static async start(site: XnatSite, random: () => number): Promise<KilledServer> {
    const server = new KilledServer(site, write(path.join(site.folder, 'password'), PASSWORD), random)
    await server.#spawn(site.archive)
    server.#door = await Door.open({
      port: () => Number(server.#port),
      onRequest: (piece) => {
        if (UPLOAD.test(piece.toString('latin1'))) server.#sawUpload()
      },
    })
    return server
  }

  get url(): string {
    return this.#door?.url ?? ''
  }

  async stop(): Promise<void> {
    await this.#work
    await this.#door?.close()
    await this.#kill()
  }

  #next(): number {
    return this.#seen + 1 + Math.floor(this.random() * MOST_BETWEEN)
  }

  async #spawn(...more: readonly string[]): Promise<void> {
    const script = fileURLToPath(new URL('server-process.js', import.meta.url))
    const directory = path.join(this.site.folder, 'server')
    const child = fork(script, [directory, this.#port, USER, this.passwordFile, ...more], {
      stdio: ['pipe', 'pipe', 'inherit', 'ipc'],
    })
    this.#child = child
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout?.once('data', (text: Buffer) => resolve(text.toString('utf8').trim()))
      child.once('exit', (code, signal) => reject(new Error(`the server ended: ${signal ?? code}`)))
    })
    this.#port = new URL(url).port
  }

  async #kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  #sawUpload(): void {
    this.#seen += 1
    if (this.kills >= KILLS || this.#seen < this.#killAt) return
    this.kills += 1
    this.#killAt = Infinity
    const afterMs = this.random() * 10
    this.#work = this.#work
      .then(() => new Promise((resolve) => setTimeout(resolve, afterMs)))
      .then(() => this.#kill())
      .then(() => this.#spawn())
      .then(() => {
        this.#killAt = this.#next()
      })
  }
}

describe('an XNAT that is killed', function () {
  this.timeout(900_000)
  const running = new Set<ChildProcess>()
  let folder: string | undefined
  after(() => {
    for (const child of running) child.kill('SIGKILL')
    if (folder !== undefined) endJobs(folder)
    removeFolders()
  })

  it(`${KILLS} times while files are sent has all results of ${TASKS} tasks in the end`, async () => {
    const site = await prepareSite('xnat-kills')
    folder = site.folder
    const seed = seedOfThisRun()
    const server = await KilledServer.start(site, randomFrom(seed))
    const client = new XnatClient({ url: server.url, credentials: new XnatCredentials(USER, PASSWORD) })
    try {
      serveFrom(site, server.url)
      const printed = await runUntilDone(site, { XNAT_USER: USER, XNAT_PASS: PASSWORD }, running)
      console.log(`      seed ${seed}; ${server.kills} kills, ${printed.length} runs`)
      expect(server.kills).to.equal(KILLS)
      await verifyResults(site, client)
    } finally {
      await client.close()
      await server.stop()
    }
  })
})
