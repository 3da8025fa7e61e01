import { expect } from 'chai'
import type { EngineEvent, PlanCounts, TaskState } from '@orbweaver/core'
import { RunProgress, RunView } from '#src/run-view.js'
import { readyProcessor } from '#src/ready.js'
import { memoryTerminal } from './helpers/memory-terminal.js'

const LABEL = 'P-x-S-x-E-x-dti-qa_v1-x-0a1b2c3d'

function task(
  to: TaskState,
  label = LABEL,
  more: Partial<Extract<EngineEvent, { kind: 'task' }>> = {},
): EngineEvent {
  return {
    kind: 'task',
    label,
    ref: { project: 'P', subject: 'S', session: 'E', assessor: label },
    processor: 'dti-qa',
    to,
    reason: 'because',
    attempt: 1,
    ...more,
  }
}

function planned(complete: number, submit: number): EngineEvent {
  const states = {
    waiting: 0,
    held: 0,
    ready: 0,
    queued: submit,
    running: 0,
    uploading: 0,
    complete,
    failed: 0,
    cancelled: 0,
  }
  const actions = { none: complete, create: 0, mark: 0, submit, rerun: 0, follow: 0 }
  const counts: PlanCounts = { subjects: 1, sessions: 1, scans: 1, actions, states, noTask: 0 }
  return { kind: 'planned', project: 'P', counts }
}

const FAILED = {
  kind: 'tool',
  summary: 'The program ended with exit code 3.',
  exitCode: 3,
  evidence: [],
} as const

describe('the progress of a run', () => {
  it('counts each task once, in its last state', () => {
    const progress = new RunProgress(() => 0)
    for (const event of [
      planned(5, 2),
      task('queued'),
      task('running'),
      task('queued', 'other'),
      planned(6, 1),
    ]) {
      progress.handle(event)
    }
    expect(progress.completeBefore).to.equal(5)
    expect(progress.share).to.deep.equal({ done: 0, all: 2 })
    expect(progress.inState('running').map(({ label }) => label)).to.deep.equal([LABEL])
    progress.handle(task('complete'))
    expect(progress.share).to.deep.equal({ done: 1, all: 2 })
  })

  it('counts what waits for room, and not what waits for inputs', () => {
    const progress = new RunProgress(() => 0)
    progress.handle(task('waiting'))
    progress.handle(task('ready', 'a'))
    progress.handle({ kind: 'idle', open: 0, backlog: 10 })
    expect(progress.share).to.deep.equal({ done: 0, all: 10 })
  })

  it('starts the clock of a state when it is entered', () => {
    let now = 100
    const progress = new RunProgress(() => now)
    progress.handle(task('running'))
    now = 200
    progress.handle(task('running'))
    expect(progress.tasks.get(LABEL)?.sinceMs).to.equal(100)
    now = 300
    progress.handle(task('uploading'))
    expect(progress.tasks.get(LABEL)?.sinceMs).to.equal(300)
  })
})

describe('the view of a run', () => {
  const processors = [readyProcessor('dti-qa')].filter((processor) => processor !== undefined)

  it('prints a dated line an event where nobody watches', () => {
    const { terminal, err } = memoryTerminal()
    const view = new RunView({ terminal, processors, style: 'lines', title: 'run' })
    view.start()
    const away: EngineEvent = { kind: 'away', what: 'archive', message: 'no answer', untilMs: 0 }
    for (const event of [planned(5, 2), task('failed', LABEL, { cause: FAILED, attempt: 2 }), away, away])
      view.onEvent(event)
    view.stop()
    const lines = err().trimEnd().split('\n')
    expect(lines).to.have.length(3)
    expect(lines[0]).to.match(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d planned {3}P: 2 to submit, 0 under way, 5 complete$/,
    )
    expect(lines[1]).to.match(
      / failed {4}P-x-S-x-E-x-dti-qa_v1-x-0a1b2c3d \(attempt 2\) — tool: The program ended with exit code 3\.$/,
    )
    expect(lines[2]).to.match(/ away {6}archive is away, next try at .*: no answer$/)
  })

  it('keeps only failures on the screen when the block is gone', () => {
    const { terminal, err } = memoryTerminal({ tty: true, environment: { NO_COLOR: '1' } })
    const view = new RunView({ terminal, processors, style: 'block', title: 'run' })
    view.start()
    view.onEvent(task('running'))
    view.onEvent(task('failed', LABEL, { cause: FAILED }))
    view.stop()
    // What a person sees at the end: everything after each erasure up to the next one.
    const kept = screenOf(err())
    expect(kept).to.deep.equal([`failed    ${LABEL} — tool: The program ended with exit code 3.`])
  })

  it('never draws a line wider than the terminal', () => {
    for (const columns of [40, 60, 80, 200]) {
      const { terminal, err } = memoryTerminal({ tty: true, columns, environment: { NO_COLOR: '1' } })
      const view = new RunView({ terminal, processors, style: 'block', title: 'run' })
      view.onEvent(planned(3, 2))
      view.onEvent(task('running'))
      view.onEvent(task('uploading', `${LABEL}-2`))
      view.start()
      const drawn = err()
      view.stop()
      // eslint-disable-next-line no-control-regex
      for (const line of drawn.replace(/\u001b\[[?0-9]*[A-Za-z]|\r/g, '').split('\n')) {
        expect([...line].length, line).to.be.below(columns)
      }
    }
  })
})

/** Plays cursor-up and erase-below, the only movements there are. */
function screenOf(text: string): string[] {
  const rows: string[] = ['']
  let row = 0
  for (const [, move, erase, other] of text.matchAll(
    // eslint-disable-next-line no-control-regex
    /\u001b\[(\d+)A|(\u001b\[J)|(?:\u001b\[[?0-9]*[hlm])|([^\u001b])/gs,
  )) {
    if (move !== undefined) row -= Number(move)
    else if (erase !== undefined) rows.splice(row, Infinity, '')
    else if (other === '\n') {
      row += 1
      rows[row] ??= ''
    } else if (other !== undefined && other !== '\r') rows[row] += other
  }
  return rows.filter((line) => line !== '')
}
