import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import {
  BackendProtocolError,
  BackendUnavailableError,
  AccessDeniedError,
  NotFoundError,
  TransportUnavailableError,
  jobId,
  type JobId,
  type JobStatus,
} from '@orbweaver/core'
import { AWAY, TIMED_OUT, scripted, spec, specs, type Says } from './invented.js'

const failing = async (call: Promise<unknown>): Promise<unknown> => {
  try {
    await call
  } catch (error) {
    return error
  }
  return expect.fail('it did not fail')
}
const ids = (...texts: readonly string[]) => texts.map(jobId)

describe('CommandLineBackend', () => {
  describe('submit', () => {
    it('sends a single job and gives its id', async () => {
      const { backend, runs, ran } = scripted({ put: 'a banner\nid 7\n' }, { arrays: false })
      expect(await backend.submit([spec('one')])).to.deep.equal([{ kind: 'accepted', id: '7' }])
      expect(runs('put')).to.deep.equal([['one', '1']])
      expect(ran.find(({ argv }) => argv[0] === 'put')?.stdin).to.equal('run it')
      expect(ran.find(({ argv }) => argv[0] === 'put')?.environment).to.deep.equal({ INVENTED: 'yes' })
    })

    it('makes arrays within the site’s size, and writes down who is in them before the command runs', async () => {
      let names = ''
      const { backend, files, runs, say } = scripted({}, { concurrency: 1 })
      let next = 10
      say({
        put: ([name = '']) => {
          names += `${name} `
          return `id ${next++}`
        },
      })
      const outcomes = await backend.submit(specs(6))
      expect(outcomes.map((outcome) => outcome.kind === 'accepted' && outcome.id)).to.deep.equal([
        '10.0',
        '10.1',
        '10.2',
        '10.3',
        '11.0',
        '11.1',
      ])
      expect(runs('put').map(([, count]) => count)).to.deep.equal(['4', '2'])
      const [first = ''] = names.split(' ')
      expect(await files.read(`/state/${first}.names`)).to.equal('job-0\njob-1\njob-2\njob-3\n')
      expect(await files.read(`/state/${first}.tasks`)).to.equal('job-0 job-1 job-2 job-3')
    })

    it('refuses by the limits of the site before anything is sent, and sends the rest', async () => {
      const { backend, runs } = scripted({ put: 'id 3' })
      const big = spec('big', { requirements: { ...spec('x').requirements, cpus: 9 } })
      const [refused, accepted] = await backend.submit([big, spec('small')])
      expect(refused?.kind === 'refused' && refused.error.details).to.deep.equal({
        name: 'big',
        rule: 'size',
      })
      expect(accepted).to.deep.equal({ kind: 'accepted', id: '3' })
      expect(runs('put')).to.deep.equal([['small', '1']])
    })

    it('refuses every member of a refused array by its own name, and forgets the array', async () => {
      const { backend, files } = scripted({ put: { exitCode: 1, stderr: 'never' } })
      const outcomes = await backend.submit(specs(3))
      expect(
        outcomes.map((outcome) => outcome.kind === 'refused' && outcome.error.details['name']),
      ).to.deep.equal(['job-0', 'job-1', 'job-2'])
      expect(await files.list('/state')).to.deep.equal([])
    })

    it('halves an array that is too large until the site takes it', async () => {
      let id = 0
      const { backend, runs } = scripted({
        put: ([, count]) => (Number(count) > 2 ? { exitCode: 1, stderr: 'too many' } : `id ${++id}`),
      })
      const outcomes = await backend.submit(specs(4))
      expect(outcomes.every(({ kind }) => kind === 'accepted')).to.equal(true)
      expect(runs('put').map(([, count]) => count)).to.deep.equal(['4', '2', '2'])
    })

    it('fills what room is left, in few commands, and says later for the rest', async () => {
      let room = 11
      let id = 0
      const { backend, runs } = scripted({
        size: '100 8',
        put: ([, count]) => {
          if (Number(count) > room) return { exitCode: 1, stderr: 'full' }
          room -= Number(count)
          return `id ${++id}`
        },
      })
      const outcomes = await backend.submit(specs(64))
      expect(outcomes.filter(({ kind }) => kind === 'accepted')).to.have.length(11)
      expect(outcomes.filter(({ kind }) => kind === 'later')).to.have.length(53)
      expect(runs('put').length).to.be.at.most(12)
      expect(
        new Set(outcomes.flatMap((outcome) => (outcome.kind === 'accepted' ? [outcome.id] : []))).size,
      ).to.equal(11)
    })

    it('asks for one job only when there is no room at all', async () => {
      const { backend, runs } = scripted({ size: '100 8', put: { exitCode: 1, stderr: 'full' } })
      const outcomes = await backend.submit(specs(64))
      expect(outcomes.every(({ kind }) => kind === 'later')).to.equal(true)
      expect(runs('put').map(([, count]) => count)).to.deep.equal(['64', '1'])
    })

    for (const [what, says] of [
      ['no answer', AWAY],
      ['a time-out', TIMED_OUT],
    ] as const) {
      it(`is never sent twice after ${what}`, async () => {
        const { backend, runs } = scripted({ put: says })
        expect(await failing(backend.submit([spec('one')]))).to.be.instanceOf(BackendUnavailableError)
        expect(runs('put')).to.have.length(1)
      })
    }

    it('asks for the names when the answer cannot be read, and takes the id from there', async () => {
      const { backend, runs } = scripted({ put: 'have a nice day', now: '5 runs one;\n' })
      expect(await backend.submit([spec('one')])).to.deep.equal([{ kind: 'accepted', id: '5' }])
      expect(runs('put')).to.have.length(1)
    })

    it('keeps the raw text when the answer cannot be read and the name is not known', async () => {
      const { backend } = scripted({ put: `have a nice day${'!'.repeat(100_000)}` })
      const error = await failing(backend.submit([spec('one')]))
      expect(error).to.be.instanceOf(BackendProtocolError)
      const raw = (error as BackendProtocolError).details['raw'] as { stdout: string }
      expect(raw.stdout).to.match(/^have a nice day/)
      expect(raw.stdout.length).to.be.below(5000)
    })
  })

  describe('query', () => {
    it('asks the queue once, and the accounting for those that left it and those that ended', async () => {
      const { backend, runs } = scripted({
        now: '1 runs a;\n2 good b;\n99 runs stranger;\n',
        past: (words) => (words.includes('3') ? '3 bad c;\n2 good b;\n' : ''),
      })
      const found = await backend.query(ids('1', '2', '3', '4', 'no id'))
      expect(runs('now')).to.deep.equal([['me']])
      expect(runs('past')).to.deep.equal([['form0', '2', '3', '4']])
      expect([...found].map(([id, { phase, outcome }]) => [id, phase, outcome])).to.deep.equal([
        ['1', 'running', undefined],
        ['2', 'finished', 'succeeded'],
        ['3', 'finished', 'failed'],
      ])
      expect(found.get(jobId('2'))?.usage).to.deep.equal({ peakMemoryBytes: 7 })
      expect(found.get(jobId('2'))?.evidence.map(({ source }) => source)).to.deep.equal([
        'queue',
        'accounting',
      ])
    })

    it('gives elements of arrays their own names, not that of the array', async () => {
      const { backend, say, runs } = scripted({ put: 'id 20' })
      const [first] = await backend.submit(specs(2))
      expect(first).to.deep.equal({ kind: 'accepted', id: '20.0' })
      const array = runs('put')[0]?.[0] ?? ''
      say({ now: `20.0 runs ${array};\n20.1 waits ${array};\n30.1 runs many-stranger;\n7 runs single;` })
      const seen = await backend.query(ids('20.0', '20.1', '30.1', '7'))
      expect([...seen].map(([id, { name }]) => [id, name])).to.have.deep.members([
        ['20.0', 'job-0'],
        ['20.1', 'job-1'],
        // Nobody wrote down who is in it: it says nothing.
        ['30.1', undefined],
        ['7', 'single'],
      ])
    })

    it('cuts long lists of ids into several commands', async () => {
      const { backend, runs } = scripted({})
      await backend.query(ids('1', '2', '3', '4', '5', '6', '7'))
      expect(runs('past').map((words) => words.slice(1))).to.deep.equal([
        ['1', '2', '3'],
        ['4', '5', '6'],
        ['7'],
      ])
    })

    it('waits a while for what the accounting adds to an end, and not for ever', async () => {
      const { backend, clock } = scripted({ now: '2 bad b;\n' })
      const first = (await backend.query(ids('2'))).get(jobId('2'))
      expect(first).to.include({ phase: 'finishing' })
      expect(first).to.not.have.property('outcome')
      await clock.advance(5000)
      expect((await backend.query(ids('2'))).get(jobId('2'))).to.include({
        phase: 'finished',
        outcome: 'failed',
      })
    })

    it('does not wait for an accounting that does not answer', async () => {
      const { backend } = scripted({ now: '2 bad b;\n', past: AWAY })
      expect((await backend.query(ids('2'))).get(jobId('2'))).to.include({
        phase: 'finished',
        outcome: 'failed',
      })
    })

    it('calls unknown, not absent, what only a silent accounting could know; and notes it', async () => {
      const { backend, say, logger } = scripted({ past: AWAY })
      expect((await backend.query(ids('3'))).get(jobId('3'))).to.include({ phase: 'unknown' })
      expect(backend.health().notes).to.have.length(1)
      expect(logger.of('warn')).to.have.length(1)
      say({ past: '' })
      expect((await backend.query(ids('3'))).size).to.equal(0)
      expect(backend.health().notes).to.deep.equal([])
    })

    it('goes on without an accounting that the site does not have', async () => {
      for (const past of [
        { exitCode: 1, stderr: 'no books' },
        new NotFoundError('no program'),
      ] satisfies Says[]) {
        const { backend, runs } = scripted({ now: '1 good a;\n', past })
        const found = await backend.query(ids('1', '2'))
        expect([...found.keys()]).to.deep.equal(['1'])
        expect(found.get(jobId('1'))).to.include({ outcome: 'succeeded' })
        await backend.query(ids('1', '2'))
        expect(runs('past'), 'asked again').to.have.length(1)
      }
    })

    it('takes the older form of a question when the newer one is not understood, and remembers', async () => {
      const { backend, runs } = scripted({
        past: ([form]) => (form === 'form0' ? { exitCode: 1, stderr: 'no such form' } : '3 bad c;\n'),
      })
      expect((await backend.query(ids('3'))).get(jobId('3'))).to.include({ outcome: 'failed' })
      await backend.query(ids('3'))
      expect(runs('past').map(([form]) => form)).to.deep.equal(['form0', 'form1', 'form1'])
    })

    it('says that a waiting job which we cancelled was cancelled, when nobody knows it any more', async () => {
      const { backend, say } = scripted({ now: '1 waits a;\n2 runs b;\n' })
      await backend.query(ids('1', '2'))
      await backend.cancel(ids('1', '2'))
      say({ now: '' })
      const found = await backend.query(ids('1', '2'))
      expect(found.get(jobId('1'))).to.include({ phase: 'finished', outcome: 'cancelled' })
      expect(found.has(jobId('2')), 'it ran: somebody must know how it ended').to.equal(false)
    })

    it('says so of a job that another instance submitted, too', async () => {
      const { backend, say } = scripted({ now: '7 waits x;', past: '' })
      await backend.cancel(ids('7'))
      say({ now: '', past: '' })
      expect((await backend.query(ids('7'))).get(jobId('7'))).to.include({
        phase: 'finished',
        outcome: 'cancelled',
      })
    })

    it('asks again when there is no answer, with longer and longer pauses', async () => {
      let calls = 0
      const { backend, clock } = scripted({ now: () => (++calls < 3 ? AWAY : '1 runs a;\n') })
      const begun = clock.now()
      expect((await backend.query(ids('1'))).get(jobId('1'))).to.include({ phase: 'running' })
      expect(calls).to.equal(3)
      expect(clock.now() - begun).to.equal(3000)
    })

    it('never takes a reply that cannot be read for an empty one', async () => {
      const { backend } = scripted({ now: '1 runs a;\n2 go' })
      const error = await failing(backend.query(ids('1', '2')))
      expect(error).to.be.instanceOf(BackendProtocolError)
      expect((error as BackendProtocolError).details['raw']).to.deep.equal({
        stdout: '1 runs a;\n2 go',
        stderr: '',
      })
    })

    it('reads a reply that was cut once the next time', async () => {
      let calls = 0
      const { backend } = scripted({ now: () => (++calls === 1 ? '1 ru' : '1 runs a;\n') })
      expect((await backend.query(ids('1'))).get(jobId('1'))).to.include({ phase: 'running' })
    })

    it('never makes a success of a reply that was cut or garbled', async () => {
      const whole = '1 bad a;\n2 waits b;\n3 runs c;\n'
      await fc.assert(
        fc.asyncProperty(
          fc.nat(whole.length),
          fc.nat(whole.length),
          fc.string({ maxLength: 8 }),
          fc.constantFrom(0, 1, undefined),
          async (from, to, noise, exitCode) => {
            const text = whole.slice(0, Math.min(from, to)) + noise + whole.slice(Math.max(from, to))
            const { backend } = scripted({
              now: { stdout: text, exitCode },
              past: { stdout: text, exitCode },
            })
            const found = await backend.query(ids('1', '2', '3')).catch((error: unknown) => {
              expect(error).to.be.instanceOf(BackendProtocolError)
              return new Map<JobId, JobStatus>()
            })
            for (const status of found.values()) expect(status.outcome).to.not.equal('succeeded')
          },
        ),
        { numRuns: 300 },
      )
    })
  })

  describe('find', () => {
    it('knows single jobs, and elements of arrays by a new instance too', async () => {
      const first = scripted({ put: 'id 40' })
      await first.backend.submit(specs(3))
      const [[array = ''] = []] = first.runs('put')
      const again = scripted({ now: `40.0 runs ${array};\n9 runs single;\n8 waits single;\n` })
      for (const { path } of await first.files.list('/state')) {
        await again.files.mkdir('/state')
        await again.files.writeAtomic(`/state/${path}`, await first.files.read(`/state/${path}`))
      }
      expect(
        Object.fromEntries(await again.backend.find(['job-1', 'single', 'job-7', 'job-2'])),
      ).to.deep.equal({
        'job-1': '40.1',
        'job-2': '40.2',
        single: '9',
      })
    })

    it('asks the accounting for names that the queue does not know', async () => {
      const { backend, runs } = scripted({ now: '1 runs a;\n', past: '2 good b;\n' })
      expect(Object.fromEntries(await backend.find(['a', 'b', 'c']))).to.deep.equal({ a: '1', b: '2' })
      expect(runs('past')).to.deep.equal([['names', 'b', 'c']])
    })

    it('gives no answer while the accounting gives none: a name taken for free would run twice', async () => {
      const { backend } = scripted({ past: AWAY })
      expect(await failing(backend.find(['c']))).to.be.instanceOf(BackendUnavailableError)
    })

    it('needs no accounting for what the queue knows, or where the site has none', async () => {
      expect((await scripted({ now: '1 runs a;\n', past: AWAY }).backend.find(['a'])).get('a')).to.equal('1')
      const { backend } = scripted({ past: { exitCode: 1, stderr: 'no books' } })
      expect((await backend.find(['c'])).size).to.equal(0)
    })
  })

  describe('cancel, hold, release', () => {
    it('goes in few commands, each id once', async () => {
      const { backend, runs } = scripted({ hold: '', release: '' })
      await backend.cancel(ids('1', '2', '2', '3', 'x'))
      expect(runs('end')).to.deep.equal([['1', '2'], ['3']])
      await backend.hold(ids('1'))
      await backend.release(ids('1'))
      expect([runs('hold'), runs('release')]).to.deep.equal([[['1']], [['1']]])
    })

    it('says whose jobs they are when they are not ours', async () => {
      const { backend } = scripted({ end: { exitCode: 1, stderr: 'not yours' } })
      expect(await failing(backend.cancel(ids('1')))).to.be.instanceOf(AccessDeniedError)
    })
  })

  describe('circuit breaker', () => {
    it('fails at once after failures in a row, tries again after a pause, and closes when it goes well', async () => {
      const { backend, runs, clock, say } = scripted({ now: AWAY }, { retry: { attempts: 1 } })
      for (let call = 0; call < 5; call++) await failing(backend.query(ids('1')))
      expect(backend.health()).to.include({ state: 'open', failures: 5 })
      const before = runs('now').length
      const error = await failing(backend.query(ids('1')))
      expect(error).to.be.instanceOf(BackendUnavailableError)
      expect(runs('now'), 'asked while open').to.have.length(before)
      await clock.advance(15_000)
      expect(backend.health().state).to.equal('probing')
      await failing(backend.query(ids('1')))
      expect(backend.health().nextTryMs).to.equal(clock.now() + 30_000)
      await clock.advance(30_000)
      say({ now: '1 runs a;\n' })
      expect((await backend.query(ids('1'))).size).to.equal(1)
      expect(backend.health()).to.deep.equal({ state: 'closed', failures: 0, notes: [] })
    })

    it('pauses shortly when it is the way to the scheduler that is cut: that has a back-off of its own', async () => {
      const cut = new TransportUnavailableError('host cannot be reached')
      const { backend, clock } = scripted({ now: cut }, { retry: { attempts: 1 } })
      for (let call = 0; call < 5; call++) await failing(backend.query(ids('1')))
      for (let call = 0; call < 4; call++) {
        expect(backend.health()).to.deep.include({ state: 'open', nextTryMs: clock.now() + 5_000 })
        expect(backend.health().lastFailure?.message).to.equal('host cannot be reached')
        await clock.advance(5_000)
        expect(await failing(backend.query(ids('1')))).to.equal(cut)
      }
    })

    it('lets one probe through at a time', async () => {
      const { backend, runs, clock } = scripted(
        { now: AWAY },
        { retry: { attempts: 1 }, breaker: { failures: 1 } },
      )
      await failing(backend.query(ids('1')))
      await clock.advance(15_000)
      await Promise.allSettled([backend.query(ids('1')), backend.query(ids('1')), backend.query(ids('1'))])
      expect(runs('now')).to.have.length(2)
    })

    it('is not opened by the accounting, which is another service', async () => {
      const { backend } = scripted({ past: AWAY, now: '1 runs a;\n' }, { retry: { attempts: 1 } })
      for (let call = 0; call < 9; call++) await backend.query(ids('1', '2'))
      expect(backend.health().state).to.equal('closed')
    })

    it('is seen by other processes, and taken back', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'ow-health-'))
      try {
        const options = {
          retry: { attempts: 1 },
          breaker: { failures: 1 },
          healthFile: join(folder, 'health.json'),
        }
        const runs = scripted({ now: AWAY }, options)
        await failing(runs.backend.query(ids('1')))
        const looks = scripted({}, options)
        expect(looks.backend.health()).to.include({ state: 'open', failures: 1 })
        await runs.clock.advance(15_000)
        runs.say({ now: '' })
        await runs.backend.query(ids('1'))
        expect(looks.backend.health().state).to.equal('closed')
        writeFileSync(options.healthFile, '{"state":"open"')
        expect(looks.backend.health().state, 'another file').to.equal('closed')
      } finally {
        rmSync(folder, { recursive: true })
      }
    })

    it('tells other processes of a service that is away, while it is', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'ow-health-'))
      try {
        const options = { retry: { attempts: 1 }, healthFile: join(folder, 'health.json') }
        const runs = scripted({ now: '1 runs a;\n', past: AWAY }, options)
        const looks = scripted({}, options)
        const seen = async (): Promise<readonly string[]> => {
          await runs.backend.query(ids('1', '2'))
          return looks.backend.health().notes
        }
        expect((await seen()).join()).to.match(/^past does not answer: /)
        // What a process said that was ended long ago is not believed; one that lives says it again.
        await looks.clock.advance(1_000_000)
        expect(looks.backend.health().notes).to.deep.equal([])
        await runs.clock.advance(1_000_000)
        expect(await seen()).to.have.length(1)
        runs.say({ past: '' })
        expect(await seen()).to.deep.equal([])
      } finally {
        rmSync(folder, { recursive: true })
      }
    })

    it('is told by diagnose', async () => {
      const { backend } = scripted(
        { now: AWAY, size: AWAY },
        { retry: { attempts: 1 }, breaker: { failures: 1 } },
      )
      await failing(backend.query(ids('1')))
      const checks = (await backend.diagnose())
        .filter(({ status }) => status === 'problem')
        .map(({ check }) => check)
      expect(checks).to.deep.equal(['invented: size', 'invented: answers'])
    })
  })

  describe('limits', () => {
    it('that nobody can be asked for show in the health, from the name of the account on', async () => {
      const cut = new TransportUnavailableError('host cannot be reached')
      const { backend } = scripted({ id: cut }, { retry: { attempts: 1 } })
      for (let call = 0; call < 5; call++) expect(await failing(backend.limits())).to.equal(cut)
      expect(backend.health()).to.include({ state: 'open', failures: 5 })
    })

    it('are kept for a while, and longer when the scheduler is away', async () => {
      const { backend, runs, clock, say } = scripted({})
      expect(await backend.limits()).to.include({ maxArraySize: 4, maxCpus: 8 })
      await backend.limits()
      expect(runs('size')).to.have.length(1)
      await clock.advance(300_000)
      say({ size: AWAY })
      expect(await backend.limits()).to.include({ maxCpus: 8 })
      say({ size: '5 9' })
      expect(await backend.limits()).to.include({ maxCpus: 9 })
    })
  })

  it('runs nothing under an aborted signal, and throws its reason', async () => {
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    const { backend, ran } = scripted({})
    for (const call of [
      backend.submit([spec('a')], { signal }),
      backend.query(ids('1'), { signal }),
      backend.find(['a'], { signal }),
      backend.cancel(ids('1'), { signal }),
      backend.limits({ signal }),
      backend.diagnose({ signal }),
    ])
      expect(await failing(call)).to.equal(reason)
    expect(ran).to.deep.equal([])
  })
})
