import { expect } from 'chai'
import { JsonList, writeJson } from '#src/terminal/json.js'
import { LiveBlock } from '#src/terminal/live-block.js'
import { formatElapsed, formatSpan, isoTime } from '#src/terminal/time.js'
import { memoryTerminal } from '../helpers/memory-terminal.js'

describe('terminal', () => {
  it('colours a terminal and nothing else', () => {
    expect(memoryTerminal({ tty: true }).terminal.paint.red('x')).to.equal('\u001b[31mx\u001b[39m')
    expect(memoryTerminal().terminal.paint.red('x')).to.equal('x')
    expect(memoryTerminal({ tty: true, environment: { NO_COLOR: '1' } }).terminal.paint.red('x')).to.equal(
      'x',
    )
    expect(memoryTerminal({ tty: true, environment: { TERM: 'dumb' } }).terminal.paint.red('x')).to.equal('x')
  })

  it('has no width in a pipe, unless COLUMNS gives one', () => {
    expect(memoryTerminal().terminal.width).to.equal(Infinity)
    expect(memoryTerminal({ environment: { COLUMNS: '120' } }).terminal.width).to.equal(120)
    expect(memoryTerminal({ tty: true, columns: 500 }).terminal.width).to.equal(200)
    expect(memoryTerminal({ tty: true, columns: 20 }).terminal.width).to.equal(60)
  })

  it('draws a live block below other lines and leaves nothing of it behind', () => {
    const { terminal, err } = memoryTerminal({ tty: true })
    const block = new LiveBlock(terminal, () => ['one', 'two'], 1_000_000)
    block.start()
    terminal.error('above\n')
    block.stop()
    terminal.error('after\n')
    expect(err()).to.equal(
      '\u001b[?25l' + // cursor away
        '\r\u001b[Jone\ntwo\n' +
        '\u001b[2A\r\u001b[Jabove\n' +
        '\r\u001b[Jone\ntwo\n' +
        '\u001b[2A\r\u001b[J\u001b[?25h' +
        'after\n',
    )
  })
})

describe('--json', () => {
  it('writes one object with its schema', async () => {
    const { terminal, out } = memoryTerminal()
    await writeJson(terminal, 'check', { ok: true })
    expect(JSON.parse(out())).to.deep.equal({ schema: 'orbweaver/check/1', ok: true })
  })

  for (const items of [[], [{ a: 1 }], [{ a: 1 }, { b: ['x', { c: null }] }]]) {
    it(`streams a list of ${items.length}`, async () => {
      const { terminal, out } = memoryTerminal()
      const list = new JsonList(terminal, 'status', 'tasks')
      for (const item of items) await list.add(item)
      await list.end({ total: items.length, nothing: undefined })
      expect(JSON.parse(out())).to.deep.equal({
        schema: 'orbweaver/status/1',
        tasks: items,
        total: items.length,
      })
      expect(out()).to.match(/\n$/)
    })
  }
})

describe('times', () => {
  it('print as clocks and spans', () => {
    expect(formatElapsed(7_000)).to.equal('0:07')
    expect(formatElapsed(3_723_000)).to.equal('1:02:03')
    expect(formatElapsed((3 * 86_400 + 3723) * 1000)).to.equal('3d 01:02:03')
    expect([59_000, 61_000, 7_200_000, 200_000_000].map(formatSpan)).to.deep.equal(['59s', '1m', '2h', '2d'])
    expect(isoTime(0)).to.equal('1970-01-01T00:00:00.000Z')
    expect(isoTime(undefined)).to.equal(undefined)
  })
})
