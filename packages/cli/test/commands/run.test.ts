import { expect } from 'chai'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { BIN, Sandbox, at } from '../helpers/cli.js'
import { smallSite, writeProcessor } from '../helpers/small-site.js'

/** Everything goes through the real program, the real engine and a cluster that somebody else wrote. */
describe('the whole way', function () {
  this.timeout(60_000)
  let sandbox: Sandbox
  beforeEach(() => (sandbox = new Sandbox()))
  afterEach(() => sandbox.remove())

  it('plan, run, look, verify; and then nothing is left to do', async () => {
    await smallSite(sandbox)

    const [plan, dry] = await Promise.all([sandbox.json(['plan']), sandbox.run(['run', '-n'])])
    expect(plan.value.schema).to.equal('orbweaver/plan/1')
    expect(at(plan.value, 'counts.actions.submit')).to.equal(2)
    expect(at(plan.value, 'decisions.0')).to.include({ processor: 'hello', action: 'submit', attempt: 1 })

    expect(dry.stdout).to.match(/^Submit \(2\)\n {2}TARGET +PROCESSOR +STATE +TRY +WHY\n {2}P\/S1\/E1 +hello/)
    expect((await sandbox.json(['status'])).value.tasks).to.deep.equal([])

    const run = await sandbox.run(['run'])
    expect(run.code, run.stderr).to.equal(0)
    expect(run.stdout).to.equal(
      'PROCESSOR  COMPLETE\nhello             2\n\n2 jobs submitted, 2 tasks completed and verified.\n',
    )
    for (const line of run.stderr.trimEnd().split('\n'))
      expect(line).to.match(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+ /)

    const again = await sandbox.run(['run'])
    expect(again.stdout).to.match(
      /^Nothing to do: (2 tasks are complete|nothing has changed since the last run)\.\n$/,
    )
    expect(again.code).to.equal(0)

    const [whole, part, none] = await Promise.all([
      sandbox.run(['launch', '--project', 'P', '--wait']),
      sandbox.run(['plan', '--session', 'E2']),
      sandbox.run(['plan', '--session', 'E3']),
    ])
    expect([whole.code, part.code, none.code]).to.deep.equal([0, 0, 1])
    expect(whole.stdout).to.match(/^Nothing to do/)
    expect(part.stdout).to.match(/Nothing to do: 1 task is complete\.\n$/)
    expect(none.stderr).to.match(/No targets of a processor match --session E3/)

    const { value: status } = await sandbox.json(['status', '--long'])
    expect(status.schema).to.equal('orbweaver/status/1')
    expect(status.total).to.equal(2)
    const [first] = status.tasks as { label: string; state: string; job: { backend: string } }[]
    expect(first).to.include({ state: 'complete', processor: 'hello', procType: 'hello_v1', attempt: 1 })
    expect(first?.job.backend).to.equal('lsf')
    const piece = String(first?.label.slice(-8))

    const [logs, stderr, jsonLogs, explain, trace] = await Promise.all([
      sandbox.run(['logs', piece]),
      sandbox.run(['logs', piece, '--stderr']),
      sandbox.json(['logs', piece]),
      sandbox.run(['explain', piece]),
      sandbox.json(['explain', piece]),
    ])
    expect(logs.stdout).to.equal('done\n')
    expect(logs.stderr).to.match(/^listed .*\n$/)
    expect(stderr.stdout).to.match(/^listed .*\n$/)
    expect(jsonLogs.value).to.include({ schema: 'orbweaver/logs/1', stdout: 'done\n' })
    expect(explain.stdout).to.match(/^hello 1\.0\.0 on P\/S1\/E1\n {2}task +P-x-S1-x-E1-x-hello_v1-x-/)
    expect(explain.stdout).to.match(/^ {2}yes {3}image: /m)
    expect(at(trace.value, 'decisions.0.trace')).to.be.an('array').that.is.not.empty

    const [verify, jsonVerify, summary] = await Promise.all([
      sandbox.run(['verify', '--deep']),
      sandbox.json(['verify']),
      sandbox.run(['status', '--summary']),
    ])
    expect(verify.stdout).to.match(/^All as recorded: 2 tasks, \d+ files/)
    expect(verify.code).to.equal(0)
    expect(jsonVerify.value).to.include({ schema: 'orbweaver/verify/1', tasks: 2, bad: 0 })
    expect(summary.stdout).to.equal('PROCESSOR  COMPLETE\nhello             2\n2 tasks: 2 complete.\n')
    const [report, jsonReport, csv, both] = await Promise.all([
      sandbox.run(['report']),
      sandbox.json(['report', '--processor', 'hello']),
      sandbox.run(['report', '--csv']),
      sandbox.run(['report', '--csv', '--json']),
    ])
    expect(report.stdout).to.match(/^hello\n {2}tasks +2: 2 complete\n {2}cpu hours +0\.00 used/)
    expect(jsonReport.value).to.include({ schema: 'orbweaver/report/1', total: 2 })
    expect(at(jsonReport.value, 'processors.0')).to.include({ processor: 'hello', tasks: 2, jobs: 2 })
    expect(csv.stdout).to.match(/^processor,tasks,[\w,]+\nhello,2,/)
    expect(both.code).to.equal(2)
    const doctor = await sandbox.json(['doctor'])
    expect((doctor.value.checks as { check: string }[]).map(({ check }) => check)).to.include.members([
      'node',
      'lsf',
      'work root',
      'clock',
    ])
    expect(doctor.value.problems, doctor.stdout).to.equal(0)
  })

  it('lists what the archive and the site have', async () => {
    await smallSite(sandbox)
    const list = async (...words: string[]): Promise<string> => (await sandbox.run(['list', ...words])).stdout
    expect(await list()).to.equal('PROJECT  PROCESSORS\nP        hello\n')
    expect(await list('sessions', '--subject', 'S2')).to.equal(
      'SESSION  SCANS  RESULTS\nP/S2/E2      1        0\n',
    )
    expect(await list('scans', '--session', 'E1')).to.equal(
      'SCAN             TYPE  QUALITY  RESOURCES\nP/S1/E1/scans/1  T1w   usable   NIFTI 1\n',
    )
    expect(await list('processors')).to.match(
      /^PROCESSOR +VERSION +LEVEL +ASKS FOR +PROJECTS\nhello +1\.0\.0 +session +1 cpu, 64 MiB, 5m +P\n$/,
    )
    expect((await sandbox.json(['list', 'subjects'])).value).to.deep.include({
      schema: 'orbweaver/list/1',
      total: 2,
    })
  })

  it('says what failed and why, with exit code 1; and lets it run again', async () => {
    await smallSite(sandbox, { sessions: 1, job: 'echo "no licence" >&2; exit 3' })
    const run = await sandbox.run(['run'])
    expect(run.code).to.equal(1)
    expect(run.stdout).to.match(
      /^FAILED +CAUSE +WHAT HAPPENED\nP-x-S1-x-E1-x-hello_v1-x-\w{8} +tool +The program ended with exit code 3/m,
    )
    expect(run.stdout).to.match(/See more: orbweaver logs \w{8} · orbweaver status --failed --long/)

    const long = await sandbox.run(['status', '--failed', '--long'])
    expect(long.stdout).to.match(/cause +tool: The program ended with exit code 3/)
    expect(long.stdout).to.match(/exit-record \(.*\): exit code 3/)

    const nothing = await sandbox.run(['run'])
    expect(nothing.stdout).to.match(/^Nothing to do: 0 tasks are complete, 1 failed before/)
    expect(nothing.code).to.equal(0)

    writeProcessor(sandbox, 'echo fine > "$2/listing.txt"')
    const preview = await sandbox.run(['retry', '--failed', '-n'])
    expect(preview.stdout).to.match(/Would retry 1 task\. Nothing was changed\.\n$/)
    const retry = await sandbox.run(['retry', '--failed'])
    expect(retry.stdout).to.match(/1 task ready again\. Next: orbweaver run\n$/)
    expect((await sandbox.run(['run'])).code).to.equal(0)
    expect((await sandbox.run(['retry', '--failed'])).code, 'nothing matches any more').to.equal(1)
  })

  it('tries a processor without touching the archive', async () => {
    await smallSite(sandbox)
    const good = await sandbox.run(['try', './processors/hello.yaml', '--session', 'E1', '--keep', 'tried'])
    expect(good.code, good.stderr).to.equal(0)
    expect(good.stdout)
      .to.match(/^complete P-x-S1/)
      .and.match(/ {2}command +sh -c 'ls "\$1"/)
    expect(good.stdout).to.match(/ {2}result +TEXT\/listing\.txt/)
    const shown = /folder +(.*)/.exec(good.stdout)?.[1] ?? ''
    expect(readFileSync(`${shown}/outputs/listing.txt`, 'utf8')).to.equal('image.txt\n')
    expect((await sandbox.json(['status'])).value.tasks).to.deep.equal([])

    writeProcessor(sandbox, 'exit 4')
    const bad = await sandbox.run(['try', 'hello', '--session', 'E1'])
    expect(bad.code).to.equal(1)
    expect(bad.stdout).to.match(/cause +tool: The program ended with exit code 4/)
    expect((await sandbox.run(['try', 'helo', '--session', 'E1'])).stderr).to.match(/Did you mean hello\?/)
  })

  it('pauses and resumes', async () => {
    await smallSite(sandbox, { sessions: 1 })
    expect((await sandbox.run(['pause'])).code, 'not everything by accident').to.equal(2)
    await sandbox.run(['pause', '--processor', 'hello', '--note', 'disk full'])
    expect((await sandbox.run(['pause', '--list'])).stdout).to.match(
      /^processor hello since .* \(disk full\)\n$/,
    )
    expect(at((await sandbox.json(['run'])).value, 'summary.submitted')).to.equal(0)
    expect((await sandbox.run(['resume', '--project', 'P'])).code, 'another scope').to.equal(1)
    expect((await sandbox.run(['resume'])).stdout).to.match(/^1 pause lifted/)
    expect(at((await sandbox.json(['run'])).value, 'summary.completed')).to.equal(1)
  })

  it('asks before it does what cannot be undone, and goes on with --yes', async () => {
    await smallSite(sandbox, { sessions: 1 })
    await sandbox.run(['run'])
    const asked = await sandbox.run(['retry', '--force', '--project', 'P'])
    expect(asked.code).to.equal(2)
    expect(asked.stderr).to.match(
      /Replace the results of 1 complete task\? Nobody can be asked here\.\n {2}Give --yes/,
    )
    const approve = await sandbox.run(['approve', '--project', 'P', '--quality', 'Failed', '--yes'])
    expect(approve.stdout).to.match(/Quality of 1 task is now Failed\.\n$/)
    expect((await sandbox.run(['status'])).stdout).to.match(/complete +1 +Failed/)
  })

  it('finds a damaged archive', async () => {
    await smallSite(sandbox, { sessions: 1 })
    await sandbox.run(['run'])
    const { value } = await sandbox.json(['status'])
    const label = String(at(value, 'tasks.0.label'))
    const { writeFileSync, chmodSync } = await import('node:fs')
    const file = sandbox.path(
      'archive/projects/P/subjects/S1/sessions/E1/assessors',
      label,
      'TEXT/listing.txt',
    )
    chmodSync(file, 0o600)
    writeFileSync(file, 'something else')
    const verify = await sandbox.run(['verify', '--deep'])
    expect(verify.code).to.equal(1)
    expect(verify.stderr).to.match(/differs P-x-S1[^]*TEXT\/listing\.txt/)
  })
})

describe('interruptions', function () {
  this.timeout(60_000)
  let sandbox: Sandbox
  beforeEach(() => (sandbox = new Sandbox()))
  afterEach(() => sandbox.remove())

  /** Jobs that end when a file appears. */
  const WAIT = (go: string): string => `while [ ! -e ${go} ]; do sleep 0.1; done; echo > "$2/listing.txt"`

  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    it(`${signal} stops cleanly with ${code}; jobs go on, and the next run takes over`, async () => {
      const go = sandbox.path('go')
      await smallSite(sandbox, { sessions: 1, job: WAIT(go) })
      let sent = false
      const result = await sandbox.spawn(['run'], {
        onStderr(text, pid) {
          if (!sent && text.includes(' running ')) {
            sent = true
            process.kill(pid, signal)
          }
        },
      })
      expect(result.code).to.equal(code)
      expect(result.signal).to.equal(null)
      expect(result.stderr).not.to.match(/Error/)
      expect(at((await sandbox.json(['status'])).value, 'tasks.0.state')).to.equal('running')

      const { writeFileSync } = await import('node:fs')
      writeFileSync(go, '')
      const next = await sandbox.json(['run'])
      expect(next.code).to.equal(0)
      expect(next.value.summary).to.include({ submitted: 0, completed: 1 })
    })
  }

  it('two runs at once: one works, the other leaves with 75 and says who is there', async () => {
    const go = sandbox.path('go')
    await smallSite(sandbox, { sessions: 1, job: WAIT(go) })
    let second: ReturnType<Sandbox['spawnJson']> | undefined
    const first = await sandbox.spawn(['run'], {
      onStderr(text) {
        if (second !== undefined || !text.includes(' running ')) return
        second = sandbox.spawnJson(['run']).finally(() => {
          void import('node:fs').then(({ writeFileSync }) => writeFileSync(go, ''))
        })
      },
    })
    expect(first.code, first.stderr).to.equal(0)
    const other = await second
    expect(other?.code).to.equal(75)
    expect(other?.value.error).to.include({ code: 'LEASE_HELD', retryable: true })
    expect(other?.stderr).to.match(/Error: .*P[^]*may pass by itself[^]*\[LEASE_HELD\]/)
  })

  it('cancel ends what runs', async () => {
    await smallSite(sandbox, { sessions: 1, job: WAIT('/nowhere') })
    const once = await sandbox.json(['run', '--once'])
    expect(at(once.value, 'summary.open')).to.equal(1)
    const cancel = await sandbox.run(['cancel', '--project', 'P', '--yes'])
    expect(cancel.stdout, cancel.stderr).to.match(/1 task cancelled/)
    await sandbox.run(['run'])
    expect(at((await sandbox.json(['status'])).value, 'tasks.0.state')).to.equal('cancelled')
  })

  it('a reader that has seen enough is no error', async () => {
    await smallSite(sandbox, { sessions: 20 })
    const child = spawn(
      'sh',
      ['-c', `"$0" "$1" plan --all --json | head -n 1; exit 0`, process.execPath, BIN],
      {
        cwd: sandbox.directory,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    await new Promise((done) => child.once('close', done))
    expect(stderr).to.equal('')
  })
})
