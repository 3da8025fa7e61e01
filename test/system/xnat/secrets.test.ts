/** Credentials are planted, a site is run in every way and into every trouble, and nothing of them is found anywhere. */

import { FolderStore } from '@orbweaver/adapter-local'
import { XnatClient, XnatCredentials } from '@orbweaver/xnat'
import { startSandbox, type Sandbox } from '@orbweaver/xnat-sandbox'
import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { skip } from '../../support/skip.js'
import { runCli, type CliResult } from '../support/cli.js'
import { removeFolders, write } from '../support/folders.js'
import { endJobs } from '../support/processes.js'
import { Door } from './door.js'
import { secretsBelow, secretsIn, shapesOf } from './secrets.js'
import { prepareSite, serveFrom, type XnatSite } from './trouble.js'

const USER = 'planted-user'
const PASSWORD = 'planted:P4ss w0rd/&%"é'
const WRONG = 'planted-wr0ng-password'
const SESSIONS = 6

/**
 * What a job can see: its own environment and that of what runs it, and the words of every process of this machine. Every third job fails, for failures have logs of their own.
 */
const SPY = `#!/bin/sh
set -u
spy="$SPY/$$"
mkdir -p "$spy"
cat /proc/[0-9]*/cmdline >"$spy/cmdlines" 2>/dev/null
pid=$$
while [ "$pid" -gt 1 ] 2>/dev/null; do
  # The command that a person starts has the login in its environment: they put it there.
  grep -q orbweaver.mjs "/proc/$pid/cmdline" && break
  tr '\\0' '\\n' <"/proc/$pid/cmdline" >"$spy/$pid.cmdline" 2>/dev/null
  cat "/proc/$pid/environ" >"$spy/$pid.environ" 2>/dev/null
  pid=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status" 2>/dev/null)
  pid=\${pid:-1}
done
env
echo "\${ORBWEAVER_TASK%/task.json}" >>"$COUNTER"
cat "$ORBWEAVER_INPUT_NOTE" >"$ORBWEAVER_OUTPUTS/result.txt"
case $(cat "$ORBWEAVER_INPUT_NOTE") in *3 | *6) exit 3 ;; esac
`

describe('credentials of an XNAT', function () {
  this.timeout(600_000)
  let site: XnatSite
  let sandbox: Sandbox
  let door: Door
  /** All that any command has printed. */
  const printed: string[] = []
  /** Logins and sessions that went over the wire. */
  const heard = new Set<string>()
  let token: { readonly alias: string; readonly secret: string }

  before(async function () {
    if (!fs.existsSync('/proc/self/environ')) skip(this, 'there is no /proc on this machine')
    site = await prepareSite('xnat-secrets', SESSIONS)
    const spy = path.join(site.folder, 'spy')
    fs.mkdirSync(spy)
    write(path.join(site.folder, 'count.sh'), SPY)
    const processor = path.join(site.folder, 'p.yaml')
    const text = fs.readFileSync(processor, 'utf8')
    write(processor, text.replace('environment: {', `environment: { SPY: ${JSON.stringify(spy)},`))
    sandbox = await startSandbox({
      directory: path.join(site.folder, 'server'),
      logFile: path.join(site.folder, 'requests.log'),
      users: [{ name: USER, password: PASSWORD, projects: { P: 'owner' } }],
    })
    const store = await FolderStore.open({ path: site.archive })
    await sandbox.seed(store)
    await store.close()
    const hear = (piece: Buffer): void => {
      for (const [, secret = ''] of piece
        .toString('latin1')
        .matchAll(/(?:JSESSIONID="?|^authorization: Basic )([\w+/=.!~-]{8,})/gim))
        heard.add(secret)
    }
    door = await Door.open({ port: () => sandbox.port, onRequest: hear, onReply: hear })
    serveFrom(site, door.url)
    const client = new XnatClient({ url: sandbox.url, credentials: new XnatCredentials(USER, PASSWORD) })
    token = await client.issueToken()
    await client.close()
  })
  after(async () => {
    await door?.close()
    await sandbox?.close()
    if (site !== undefined) endJobs(site.folder)
    removeFolders()
  })

  async function run(
    args: readonly string[],
    environment: Readonly<Record<string, string>>,
  ): Promise<CliResult> {
    const result = await runCli(args, {
      cwd: site.folder,
      environment: { HOME: path.join(site.folder, 'home'), ...environment },
    })
    printed.push(`${args.join(' ')}\n${result.stdout}\n${result.stderr}`)
    return result
  }
  const byName = { XNAT_USER: USER, XNAT_PASS: PASSWORD }

  it('are used in every way: a password, a token, ~/.netrc, a wrong one, and an archive in trouble', async () => {
    // One step with each, and all of it with debug lines.
    expect((await run(['-v', 'build'], byName)).code).to.equal(0)
    const byToken = { XNAT_USER: token.alias, XNAT_PASS: token.secret }
    sandbox.setFaults({ seed: 1, errorRate: 0.1, dropRate: 0.1, truncateRate: 0.1 })
    await run(['-v', 'launch'], byToken)
    sandbox.setFaults({ errorRate: 1 })
    expect((await run(['-v', 'update'], byToken)).code).to.equal(75)
    sandbox.setFaults({})
    expect((await run(['-v', 'run'], { XNAT_USER: USER, XNAT_PASS: WRONG })).code).to.equal(1)
    const netrc = `machine 127.0.0.1 login ${USER} password ${PASSWORD.replaceAll(' ', '_')}\n`
    write(path.join(site.folder, 'home', '.netrc'), netrc)
    expect((await run(['-v', 'doctor'], {})).code, 'a password that netrc cannot hold').not.to.equal(0)
    write(
      path.join(site.folder, 'home', '.netrc'),
      `machine 127.0.0.1 login ${token.alias} password ${token.secret}\n`,
    )
    const { code, stdout, stderr } = await run(['-v', 'run'], {})
    expect(code, `${stdout}\n${stderr}`).to.equal(1) // the jobs that fail
    const lines = fs.readFileSync(site.counter, 'utf8').trim().split('\n')
    expect(new Set(lines).size, 'tasks that ran').to.equal(SESSIONS)
  })

  it('are asked for by every command that looks', async () => {
    for (const args of [
      ['status'],
      ['status', '--json'],
      ['explain', '--json'],
      ['plan', '--json'],
      ['report', '--json'],
      ['list', 'tasks'],
      ['verify'],
      ['doctor'],
      ['export', 'tree', '--out', 'out-tree'],
      ['export', 'bids', '--out', 'out-bids', '--project', 'P'],
      ['xnat', 'sync', 'down', 'out-sync', '--project', 'P', '--url', door.url],
      ['xnat', 'tokens', 'list', '--url', door.url],
      ['xnat', 'tokens', 'issue', '--out', 'token.env', '--url', door.url],
      ['xnat', 'list', 'sessions', '--project', 'P', '--url', door.url, '--json'],
    ])
      await run(['-v', ...args], byName)
    const labels = [...new Set(printed.join('\n').match(/P-x-S\d+-x-[\w-]+-x-[0-9a-f]{8}/g))]
    expect(labels).to.have.length(SESSIONS)
    for (const label of labels) await run(['logs', label], byName)
  })

  it('are nowhere: not in what was printed, written, sent to the archive or seen by jobs', () => {
    const file = path.join(site.folder, 'token.env')
    const issued = /XNAT_PASS='?([^'\n]+)/.exec(fs.readFileSync(file, 'utf8'))?.[1] ?? ''
    expect(issued, 'the token of `tokens issue`').to.have.length.greaterThan(8)
    expect(heard.size, 'logins and sessions on the wire').to.be.greaterThan(10)
    const shapes = shapesOf(
      {
        'the password': PASSWORD,
        'the wrong password': WRONG,
        'the password of ~/.netrc': PASSWORD.replaceAll(' ', '_'),
        "the token's secret": token.secret,
        'the secret of the issued token': issued,
        ...Object.fromEntries([...heard].map((secret, index) => [`session or login ${index}`, secret])),
      },
      USER,
    )
    shapes.set(
      Buffer.from(`${token.alias}:${token.secret}`).toString('base64'),
      'the token, as a Basic header',
    )
    // First: it would be found where it is.
    expect(secretsBelow(path.join(site.folder, 'home'), shapes)).to.have.length.greaterThan(0)

    expect(
      printed.flatMap((text) => secretsIn(text, shapes).map((what) => `${what} in: ${text}`)),
    ).to.deep.equal([])
    const mayHold = new Set([
      file,
      path.join(site.folder, 'home'),
      path.join(site.folder, 'server', 'journal.jsonl'),
    ])
    const spied = path.join(site.folder, 'spy')
    expect(secretsBelow(site.folder, shapes, (at) => mayHold.has(at) || at === spied)).to.deep.equal([])
    expect(fs.readdirSync(spied).length, 'jobs that looked').to.equal(SESSIONS)
    expect(secretsBelow(spied, shapes)).to.deep.equal([])
  })
})
