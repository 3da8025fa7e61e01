import { expect } from 'chai'
import { plainLogger, silentLogger, silentNotifier, systemClock } from '@orbweaver/core'

describe('systemClock', () => {
  it('tells the time and sleeps', async () => {
    const before = systemClock.now()
    await systemClock.sleep(5)
    expect(systemClock.now()).to.be.at.least(before)
    await systemClock.sleep(-1)
  })

  it("ends a sleep of years at an abort, with the signal's reason", async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const sleeping = systemClock.sleep(100 * 365 * 86_400_000, { signal: controller.signal })
    controller.abort(reason)
    expect(await sleeping.catch((error: unknown) => error)).to.equal(reason)
  })

  it('does not begin to sleep with an aborted signal', async () => {
    const signal = AbortSignal.abort(new Error('before'))
    expect(await systemClock.sleep(1, { signal }).catch((error: unknown) => error)).to.equal(signal.reason)
  })
})

describe('plainLogger', () => {
  const lines: string[] = []
  const stream = { write: (text: string) => lines.push(text) }
  beforeEach(() => lines.splice(0))

  it('writes one line an event, with time, level, message and fields', () => {
    const logger = plainLogger(stream, { now: () => 0 })
    logger.log('info', 'pass done', { project: 'P1', failed: 0, left: undefined, words: 'two words' })
    expect(lines).to.deep.equal([
      '1970-01-01T00:00:00.000Z info  pass done project=P1 failed=0 words="two words"\n',
    ])
  })

  it('leaves out what is below its level', () => {
    const logger = plainLogger(stream, { level: 'warn' })
    for (const level of ['debug', 'info', 'warn', 'error'] as const) logger.log(level, level)
    expect(lines.map((line) => line.trim().split(' ').at(-1))).to.deep.equal(['warn', 'error'])
  })

  it('never lets a value start a line of its own', () => {
    const forged = 'x\n2026-01-01T00:00:00.000Z error forged\u2028\u001b[31m'
    plainLogger(stream).log('info', forged, { label: forged, nested: { forged }, error: new Error(forged) })
    expect(lines).to.have.length(1)
    expect(lines[0]?.slice(0, -1)).to.not.match(/[\n\u2028]/)
    expect(lines[0]).to.not.include('\u001b')
  })

  it('survives fields that cannot be written', () => {
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    plainLogger(stream).log('info', 'odd', { circular, big: 10n, nothing: null, call: () => 1 })
    expect(lines[0]).to.match(/circular="\[object\]" big=10 nothing=null/)
  })
})

describe('silent services', () => {
  it('say nothing and do not fail', async () => {
    silentLogger.log('error', 'x')
    await silentNotifier.notify({ kind: 'task-complete', label: 'x' })
  })
})
