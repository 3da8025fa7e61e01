import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import { expect } from 'chai'
import { BackendUnavailableError, jobId, type JobId, type JobSpec, type SubmitOutcome } from '@orbweaver/core'
import { findCgroupHome } from '#src/backend/cgroup.js'
import { localConfig } from '#src/backend/config.js'
import type { LocalBackend } from '#src/backend/local-backend.js'
import { linuxTable, psTable } from '#src/backend/process-table.js'
import { Supervisors, parseEnd } from '#src/backend/supervisor.js'
import {
  Lab,
  MIB,
  finished,
  hasProgram,
  isLiving,
  lines,
  marked,
  phase,
  statusNow,
  submitOne,
  textOf,
  until,
} from './lab.js'
import { skipTest } from '@orbweaver/core/testing'

const sh = (script: string, ...words: readonly string[]): readonly string[] => [
  '/bin/sh',
  '-c',
  script,
  'job',
  ...words,
]
/** A process that left its parent, its group and its session. */
const ESCAPE = `setsid sh -c 'sh -c "echo \\$\\$ >$1; exec sleep 300" & ' x "$1"`
const HOG = (megabytes: number): string => `perl -e '$x = "a" x (${megabytes} * 1048576); sleep 300'`

describe('local backend', function () {
  this.timeout(40_000)
  let lab: Lab
  beforeEach(() => {
    lab = new Lab()
  })
  afterEach(() => lab.dispose())

  describe('submit', () => {
    it('gives the same id for the same name, and runs it once', async () => {
      const backend = lab.open()
      const spec = lab.spec(sh('echo run >>"$1"', lab.path('mark')))
      const [first, second] = await backend.submit([spec, spec])
      expect(second).to.deep.equal(first)
      const id = await submitOne(lab.open(), spec)
      await finished(backend, id)
      expect(await submitOne(backend, spec)).to.equal(id)
      expect(lines(lab.path('mark'))).to.deep.equal(['run'])
    })

    it('refuses what the machine does not have, naming the numbers and the options', async () => {
      const backend = lab.open({ config: { maxWalltime: 3600 } })
      const base = lab.spec(['/bin/true'])
      const asking = (change: Partial<JobSpec['requirements']>): JobSpec => ({
        ...base,
        requirements: { ...base.requirements, ...change },
      })
      const outcomes = await backend.submit([
        asking({ cpus: 3 }),
        asking({ memoryBytes: 4096 * MIB }),
        asking({ gpus: 1 }),
        asking({ walltimeSeconds: 3601 }),
        { ...base, command: [] },
        { ...base, name: 'Not Allowed' },
        { ...base, directory: 'relative' },
        { ...base, command: ['a\0b'] },
        { ...base, environment: { SHELLOPTS: 'noexec' } },
      ])
      const told = outcomes.map((outcome) =>
        outcome.kind === 'refused' ? `${outcome.error.message} ${outcome.error.hint}` : outcome.kind,
      )
      for (const [index, words] of [
        ['3 cpus', '2', 'cluster.cpus'],
        ['4 GiB', '2 GiB', 'cluster.memory'],
        ['1 GPUs', 'cluster.gpus'],
        ['1h 1s', '1h', 'cluster.maxWalltime'],
        ['empty'],
        ['name'],
        ['relative'],
        ['NUL'],
        ['SHELLOPTS'],
      ].entries()) {
        for (const one of words) expect(told[index]).to.contain(one)
      }
      expect((await backend.find([base.name])).size).to.equal(0)
    })

    it('gives each job GPUs of its own', async () => {
      const backend = lab.open({ config: { gpus: 2 } })
      const gate = lab.path('gate')
      const asking = (gpus: number): JobSpec => {
        const spec = lab.spec(
          sh('echo "[$CUDA_VISIBLE_DEVICES]"; while [ ! -e "$1" ]; do sleep 0.05; done', gate),
        )
        return { ...spec, requirements: { ...spec.requirements, gpus } }
      }
      const specs = [asking(1), asking(1), asking(0)]
      const ids = accepted(await backend.submit(specs))
      writeFileSync(gate, '')
      for (const id of ids) await finished(backend, id)
      expect(specs.map(({ stdoutPath }) => textOf(stdoutPath).trim())).to.deep.equal(['[0]', '[1]', '[]'])
    })
  })

  describe('environment', () => {
    it('is what is documented, and nothing of ours', async () => {
      process.env['XNAT_PASS'] = 'must stay here'
      try {
        const backend = lab.open({ config: { environment: { FREESURFER_HOME: '/opt/fs' } } })
        const spec = lab.spec(['/usr/bin/env', '-0'], { environment: { GIVEN: 'yes', LANG: 'de_DE.UTF-8' } })
        const id = await submitOne(backend, spec)
        expect(await finished(backend, id)).to.include({ outcome: 'succeeded' })
        const variables = Object.fromEntries(
          textOf(spec.stdoutPath)
            .split('\0')
            .filter(Boolean)
            .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
        )
        expect(Object.keys(variables).sort()).to.deep.equal(
          [
            'FREESURFER_HOME',
            'GIVEN',
            'HOME',
            'LANG',
            'LOGNAME',
            'ORBWEAVER_JOB_ID',
            'PATH',
            'PWD',
            'SHLVL',
            'TMPDIR',
            'USER',
          ].sort(),
        )
        expect(variables).to.include({ GIVEN: 'yes', LANG: 'de_DE.UTF-8', ORBWEAVER_JOB_ID: id })
      } finally {
        delete process.env['XNAT_PASS']
      }
    })

    it('may be as hostile as it likes', async () => {
      const backend = lab.open()
      const evil = lab.path('evil.sh')
      writeFileSync(evil, `echo pwned >${lab.path('pwned')}\n`)
      const environment = {
        PATH: '/nonexistent',
        IFS: '/',
        ENV: evil,
        BASH_ENV: evil,
        PS4: '$(touch pwned)',
        LD_PRELOAD: '/nonexistent/evil.so',
        HOME: "it's\n$(touch pwned)",
        CDPATH: '/',
        POSIXLY_CORRECT: '1',
        TMPDIR: '',
      }
      const specs = [
        lab.spec(['/usr/bin/env', '-0'], { environment }),
        lab.spec(sh('exit 4'), { environment }),
        lab.spec(sh('/bin/sleep 300'), { environment }),
      ]
      const [one, two, three] = accepted(await backend.submit(specs))
      expect(await finished(backend, one as JobId)).to.include({ outcome: 'succeeded' })
      expect(await finished(backend, two as JobId)).to.include({ outcome: 'failed', exitCode: 4 })
      await phase(backend, three as JobId, 'running')
      await backend.cancel([three as JobId])
      expect(await finished(backend, three as JobId)).to.include({ outcome: 'cancelled' })
      const told = textOf(specs[0]?.stdoutPath ?? '').split('\0')
      for (const [name, value] of Object.entries(environment)) expect(told).to.include(`${name}=${value}`)
      expect(existsSync(lab.path('pwned'))).to.equal(false)
    })
  })

  describe('the end of a job', () => {
    const bash = existsSync('/bin/bash') ? ['/bin/bash', '--posix'] : undefined
    const dash = hasProgram('dash') ? ['dash'] : undefined
    const busybox = hasProgram('busybox') ? ['busybox', 'sh'] : undefined
    for (const [shell, table] of [
      [bash, linuxTable()],
      [bash, psTable()],
      [dash, linuxTable()],
      [dash === undefined ? busybox : undefined, linuxTable()],
    ] as const) {
      if (shell !== undefined) {
        it(`is told right under ${shell.join(' ')}, processes by ${table.kind}`, async () => {
          const backend = lab.open({ shell, table, config: { cpus: 8, enforceMemory: 'watch' } })
          const limited = (spec: JobSpec, change: Partial<JobSpec['requirements']>): JobSpec => ({
            ...spec,
            requirements: { ...spec.requirements, ...change },
          })
          const specs = [
            lab.spec(['/bin/true']),
            lab.spec(sh('exit 7')),
            lab.spec(sh('kill -KILL $$')),
            limited(lab.spec(sh('sh -c "trap \'\' TERM; sleep 300" & sleep 300')), { walltimeSeconds: 1 }),
            limited(lab.spec(sh(`${HOG(80)} & ${HOG(80)}`)), { memoryBytes: 120 * MIB }),
            lab.spec(sh('sleep 300 & wait')),
            lab.spec(sh(ESCAPE, lab.path('escaped'))),
          ]
          const ids = accepted(await backend.submit(specs))
          await phase(backend, ids[5] as JobId, 'running')
          await backend.cancel([ids[5] as JobId])
          const ends = await Promise.all(ids.map((id) => finished(backend, id)))
          expect(
            ends.map(({ outcome, exitCode, signal }) => [
              outcome,
              outcome === 'failed' ? (signal ?? exitCode) : undefined,
            ]),
          ).to.deep.equal([
            ['succeeded', undefined],
            ['failed', 7],
            ['failed', 'SIGKILL'],
            ['timeout', undefined],
            ['out-of-memory', undefined],
            ['cancelled', undefined],
            ['succeeded', undefined],
          ])
          expect(ends[4]?.usage?.peakMemoryBytes).to.be.above(120 * MIB)
          await until('no process is left', () => lab.processes().length === 0)
        })
      }
    }

    it('is the end of what left its parent, group and session as well', async () => {
      const backend = lab.open({ config: { enforceMemory: 'watch' } })
      for (const tail of ['exit 0', 'sleep 300']) {
        const note = lab.path(`escaped-${tail.length}`)
        const id = await submitOne(
          backend,
          lab.spec(sh(`${ESCAPE}; while [ ! -s "$1" ]; do sleep 0.02; done; ${tail}`, note)),
        )
        const pid = Number(await until('it has escaped', () => lines(note)[0]))
        if (tail !== 'exit 0') {
          expect(isLiving(pid)).to.equal(true)
          await backend.cancel([id])
        }
        await finished(backend, id)
        expect(isLiving(pid), tail).to.equal(false)
      }
    })

    it('comes by memory in a cgroup, which is put away', async function () {
      const home = findCgroupHome()
      if (home === undefined) {
        skipTest(this, 'no memory cgroup can be made here')
      }
      const backend = lab.open({ config: { enforceMemory: 'cgroup' } })
      const spec = lab.spec(sh(`${HOG(60)} & ${HOG(120)}`))
      const id = await submitOne(backend, {
        ...spec,
        requirements: { ...spec.requirements, memoryBytes: 96 * MIB },
      })
      const status = await finished(backend, id)
      expect(status).to.include({ outcome: 'out-of-memory' })
      expect(status.usage?.peakMemoryBytes).to.be.within(48 * MIB, 96 * MIB)
      await until('its cgroup is gone', () => !existsSync(join(home.parent, `orbweaver-${id}`)))
    })

    it('does not come by memory that its processes share', async function () {
      if (!hasProgram('perl')) skipTest(this, 'there is no perl')
      if (textOf('/proc/self/smaps_rollup') === '') skipTest(this, 'the kernel tells no shared memory')
      const backend = lab.open({ config: { enforceMemory: 'watch' } })
      const family = `perl -e '$x = "a" x (40 * 1048576); for (1..5) { fork or last } open F, ">", $ARGV[0]; close F; sleep 2' "$1"`
      const spec = lab.spec(sh(family, lab.path('shared')))
      const id = await submitOne(backend, {
        ...spec,
        requirements: { ...spec.requirements, memoryBytes: 150 * MIB },
      })
      const status = await finished(backend, id)
      expect(status, JSON.stringify(status)).to.include({ outcome: 'succeeded' })
    })

    it('is launch-failed when the directory or an output file cannot be', async () => {
      const backend = lab.open()
      const nowhere = lab.spec(['/bin/true'])
      const noOutput = lab.spec(['/bin/true'])
      writeFileSync(lab.path('file'), '')
      mkdirSync(lab.path('gone'))
      const ids = accepted(
        await backend.submit([
          { ...nowhere, directory: lab.path('does', 'not', 'exist') },
          { ...noOutput, stdoutPath: lab.path('file', 'out.txt') },
        ]),
      )
      for (const id of ids) {
        const status = await finished(backend, id)
        expect(status.outcome).to.equal('launch-failed')
        expect(status.evidence[0]?.text).to.contain('could not be started')
      }
    })
  })

  describe('after an engine was killed', () => {
    it('the next one knows every job, and each runs once', async () => {
      const gate = lab.path('gate')
      const mark = (name: string): string => `echo run >>'${lab.path(name)}'`
      const specs = [
        lab.spec(sh(`${mark('a')}; while [ ! -e "$1" ]; do sleep 0.05; done; exit 3`, gate)),
        lab.spec(sh(`${mark('b')}; while [ ! -e "$1" ]; do sleep 0.05; done`, gate)),
        lab.spec(sh(mark('c'))),
      ]
      const { ids, signal } = await engine(lab, 'die', specs)
      expect(signal).to.equal('SIGKILL')
      const backend = lab.open()
      expect(Object.fromEntries(await backend.find(specs.map(({ name }) => name)))).to.deep.equal(
        Object.fromEntries(specs.map(({ name }, index) => [name, ids[index]])),
      )
      await phase(backend, ids[0] as JobId, 'running')
      await phase(backend, ids[1] as JobId, 'running')
      expect((await statusNow(backend, ids[2] as JobId)).phase).to.equal('queued')
      writeFileSync(gate, '')
      expect(await finished(backend, ids[0] as JobId)).to.include({ outcome: 'failed', exitCode: 3 })
      expect(await finished(backend, ids[1] as JobId)).to.include({ outcome: 'succeeded' })
      expect(await finished(backend, ids[2] as JobId)).to.include({ outcome: 'succeeded' })
      for (const name of ['a', 'b', 'c']) expect(lines(lab.path(name)), name).to.deep.equal(['run'])
    })

    it('jobs do not keep the process of an engine alive', async () => {
      const spec = lab.spec(sh('sleep 300'))
      const { ids, signal, code } = await engine(lab, 'end', [spec])
      expect([code, signal]).to.deep.equal([0, null])
      await phase(lab.open(), ids[0] as JobId, 'running')
    })

    it('a job that was to be started and was not is started, once', async () => {
      const spec = lab.spec(sh('echo run >>"$1"', lab.path('mark')))
      const first = lab.open()
      const blocker = await submitOne(first, blocking(lab))
      await phase(first, blocker, 'running')
      const id = await submitOne(first, spec)
      await first.close()
      // As a kill leaves it between the transaction and the start.
      const table = linuxTable()
      change(lab, id, { state: 'starting', machine: table.machine, boot: table.boot, starting_at: 1 })
      const engines = [lab.open(), lab.open()]
      for (const backend of engines) await backend.query([id])
      expect(await finished(engines[0] as LocalBackend, id)).to.include({ outcome: 'succeeded' })
      expect(lines(lab.path('mark'))).to.deep.equal(['run'])
    })

    it('of many supervisors of one job one runs it', async () => {
      const supervisors = new Supervisors(join(lab.state, 'local-jobs'), linuxTable(), 4096)
      const spec = lab.spec([])
      const children = Array.from({ length: 8 }, () =>
        supervisors.launch({
          id: 'race-000000001',
          walltimeSeconds: 60,
          graceSeconds: 1,
          memoryMode: 'off',
          memoryBytes: MIB,
          cgroup: '',
          command: sh('echo run >>"$1"; sleep 0.2', lab.path('mark')),
          directory: spec.directory,
          stdoutPath: spec.stdoutPath,
          stderrPath: spec.stderrPath,
          environment: { PATH: process.env['PATH'] ?? '' },
        }),
      )
      const codes = await Promise.all(
        children.map((child) => new Promise((resolve) => child.once('exit', resolve))),
      )
      expect(codes).to.deep.equal(children.map(() => 0))
      expect(lines(lab.path('mark'))).to.deep.equal(['run'])
      expect(supervisors.end('race-000000001')).to.include({ code: 0, reason: undefined })
      expect(textOf(spec.stderrPath)).to.equal('')
    })

    it('a process that was given the number of a supervisor is not taken for it, and is left alone', async () => {
      const stranger = spawn('/bin/sleep', ['300'], { stdio: 'ignore' })
      try {
        const first = lab.open()
        await phase(first, await submitOne(first, blocking(lab)), 'running')
        const id = await submitOne(first, lab.spec(['/bin/true']))
        await first.close()
        const table = linuxTable()
        change(lab, id, {
          state: 'running',
          machine: table.machine,
          boot: table.boot,
          host: 'here',
          starting_at: 1,
          started_at: Date.now(),
        })
        writeFileSync(join(lab.state, 'local-jobs', `${id}.claim`), `${stranger.pid}\n12345\n\nend\n`)
        const backend = lab.open()
        await backend.cancel([id])
        const status = await finished(backend, id)
        expect(status).to.include({ outcome: 'unknown' })
        expect(isLiving(stranger.pid ?? 0)).to.equal(true)
      } finally {
        stranger.kill('SIGKILL')
      }
    })

    it('a job that ran when the machine was started anew is a failure of the node', async () => {
      const first = lab.open()
      await phase(first, await submitOne(first, blocking(lab)), 'running')
      const id = await submitOne(first, lab.spec(['/bin/true']))
      await first.close()
      change(lab, id, {
        state: 'running',
        machine: linuxTable().machine,
        boot: 'earlier pid:[1]',
        host: 'here',
        starting_at: 1,
        started_at: 2,
      })
      writeFileSync(join(lab.state, 'local-jobs', `${id}.claim`), `${process.pid}\n1\n\nend\n`)
      expect(await finished(lab.open(), id)).to.include({ outcome: 'node-fail' })
    })

    it('a job whose supervisor was killed is unknown, and what it left is ended', async () => {
      const backend = lab.open({ config: { enforceMemory: 'watch' } })
      const note = lab.path('note')
      const id = await submitOne(backend, lab.spec(sh(`${ESCAPE}; sleep 300`, note)))
      const escaped = Number(await until('it has escaped', () => lines(note)[0]))
      await phase(backend, id, 'running')
      const [supervisor] = lines(join(lab.state, 'local-jobs', `${id}.claim`))
      process.kill(Number(supervisor), 'SIGKILL')
      const status = await finished(backend, id)
      expect(status).to.include({ outcome: 'unknown' })
      expect(status).to.not.have.property('exitCode')
      expect(isLiving(escaped)).to.equal(false)
      expect(marked((found) => found === id)).to.deep.equal([])
    })
  })

  it('cancels thousands in one go', async () => {
    const backend = lab.open()
    const base = blocking(lab)
    const specs = Array.from({ length: 2000 }, (_, index) => ({ ...base, name: `ow-many-${index}` }))
    const ids = accepted(await backend.submit(specs))
    await backend.cancel(ids)
    const found = await until('all have ended', async () => {
      const statuses = await backend.query(ids)
      return [...statuses.values()].every((status) => status.phase === 'finished') && statuses
    })
    expect(found.size).to.equal(2000)
    for (const { outcome } of found.values()) expect(outcome).to.equal('cancelled')
  })

  it('keeps its files to itself', async () => {
    const backend = lab.open()
    await finished(backend, await submitOne(backend, lab.spec(['/bin/true'])))
    expect(statSync(lab.state).mode & 0o077).to.equal(0)
    for (const file of readdirSync(lab.state, { recursive: true, encoding: 'utf8' })) {
      expect(statSync(join(lab.state, file)).mode & 0o077, file).to.equal(0)
    }
  })

  it('is unavailable, and says so, when its state cannot be used', async () => {
    mkdirSync(join(lab.state, 'local-jobs.db'), { recursive: true })
    const backend = lab.open()
    const error: unknown = await backend.query([jobId('x')]).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    expect(error).to.be.instanceOf(BackendUnavailableError)
    const problem = (await backend.diagnose()).find(({ status }) => status === 'problem')
    expect(problem?.hint).to.be.a('string')
  })

  it('reads its options in plain words', () => {
    expect(localConfig.parse({ memory: '8 GiB', maxWalltime: '12h', killGrace: '5s' })).to.deep.include({
      memory: 8 * 1024 ** 3,
      maxWalltime: 43_200,
      killGrace: 5,
      gpus: 0,
      enforceMemory: 'auto',
    })
    expect(localConfig.parse({}).killGrace).to.equal(10)
    for (const wrong of [{ memory: 'much' }, { cpus: 0 }, { cpu: 1 }, { enforceMemory: 'yes' }]) {
      expect(localConfig.safeParse(wrong).success, JSON.stringify(wrong)).to.equal(false)
    }
  })

  it('takes an end record for one only when it is whole', () => {
    const whole = 'code=3\nreason=\npeak=12\noom=0\nleft=\n0m0.010s 0m0.000s\n1m2.500s 0m0.250s\nend\n'
    expect(parseEnd(whole, 5)).to.deep.equal({
      code: 3,
      reason: undefined,
      peakMemoryBytes: 12,
      oomKills: 0,
      left: '',
      cpuSeconds: 62.75,
      atMs: 5,
    })
    for (let length = 0; length < whole.length; length++)
      expect(parseEnd(whole.slice(0, length), 5)).to.equal(undefined)
  })
})

function accepted(outcomes: readonly SubmitOutcome[]): readonly JobId[] {
  return outcomes.map((outcome) =>
    outcome.kind === 'accepted' ? outcome.id : expect.fail(JSON.stringify(outcome)),
  )
}

/** Takes all cpus of the lab. */
function blocking(lab: Lab): JobSpec {
  const spec = lab.spec(sh('sleep 300'))
  return { ...spec, requirements: { ...spec.requirements, cpus: 2 } }
}

/** Make the state that a kill or a boot would leave. */
function change(lab: Lab, id: JobId, values: Readonly<Record<string, string | number>>): void {
  const db = new Database(join(lab.state, 'local-jobs.db'))
  const names = Object.keys(values)
  db.prepare(`UPDATE jobs SET ${names.map((name) => `${name} = ?`).join(', ')} WHERE seq = ?`).run(
    ...Object.values(values),
    Number(id.split('-')[1]),
  )
  db.close()
}

async function engine(
  lab: Lab,
  then: 'die' | 'end',
  specs: readonly JobSpec[],
): Promise<{
  readonly ids: readonly JobId[]
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('engine-child.js', import.meta.url)), lab.state, then, JSON.stringify(specs)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.once('close', (...end) => resolve(end))
  })
  return { ids: JSON.parse(text) as JobId[], code, signal }
}
