import { expect } from 'chai'
import fc from 'fast-check'
import {
  decide,
  resolveProcessor,
  taskLabel,
  type ArchiveRef,
  type AssessorNode,
  type DecideContext,
  type Decision,
  type InputBinding,
  type ProjectNode,
  type SessionNode,
} from '@orbweaver/core'

const at: ArchiveRef = { project: 'P', subject: 'S', session: 'E' }
const project: ProjectNode = { label: 'P', resources: [], assessors: [] }
const processor = resolveProcessor({
  name: 'fmri-qa',
  version: '2.3.0',
  level: 'session',
  inputs: {
    t1: { scan: { type: 'T1w' }, resource: 'NIFTI' },
    bold: { scan: { type: 'BOLD' }, resource: 'NIFTI', each: true },
  },
  command: () => ['true'],
  outputs: { OUT: 'x' },
})
const INPUTS = { t1: [{ ...at, scan: '1' }], bold: [{ ...at, scan: '2' }] }

function theirs(more: Partial<AssessorNode> = {}): AssessorNode {
  return {
    label: 'P-x-S-x-E-x-fMRI_QA_v2-x-0a1b2c3d',
    procType: 'fMRI_QA_v2',
    procVersion: '2.0.1',
    state: 'complete',
    statusWord: 'COMPLETE',
    attempt: 0,
    quality: 'Needs QA',
    resources: [],
    inputs: INPUTS,
    revision: '1',
    ...more,
  }
}

function session(assessors: readonly AssessorNode[], bolds: readonly string[] = ['2']): SessionNode {
  const scan = (label: string, type: string) => ({
    label,
    type,
    quality: 'usable',
    resources: [{ label: 'NIFTI', fileCount: 1 }],
  })
  return {
    label: 'E',
    resources: [],
    scans: [scan('1', 'T1w'), ...bolds.map((label) => scan(label, 'BOLD'))],
    assessors,
  }
}

function plan(node: SessionNode, more: Partial<DecideContext> = {}): readonly Decision[] {
  return decide(project, [{ label: 'S', resources: [], assessors: [], sessions: [node] }], {
    nowMs: 0,
    processors: [processor],
    open: new Map(),
    pauses: [],
    limits: { source: {} },
    trace: true,
    ...more,
  }).decisions
}

function first(assessors: readonly AssessorNode[]): Decision {
  const [decision] = plan(session(assessors))
  if (decision === undefined) throw new Error('nothing was decided')
  return decision
}

describe('results of another program', () => {
  it('count as made when procType, input names and nodes are the same', () => {
    const decision = first([theirs()])
    expect(decision).to.include({ action: 'none', to: 'complete', madeBy: theirs().label })
    expect(decision.from).to.equal(undefined)
    expect(decision.reason).to.contain(theirs().label)
    expect(decision.trace.map(({ rule }) => rule)).to.include('made by another program')
  })

  it('are found by their own label', () => {
    const [decision] = plan(session([theirs()]), { selection: { labels: [theirs().label] } })
    expect(decision?.madeBy).to.equal(theirs().label)
  })

  it('count for the set of inputs they were made from, and for no other', () => {
    const decisions = plan(session([theirs()], ['2', '3']))
    expect(decisions.map(({ action }) => action)).to.deep.equal(['none', 'submit'])
  })

  const OTHERS: readonly (readonly [string, Partial<AssessorNode>])[] = [
    ['of another major version', { procType: 'fMRI_QA_v1' }],
    ['of another scan', { inputs: { ...INPUTS, bold: [{ ...at, scan: '9' }] } }],
    ['of another session', { inputs: { ...INPUTS, t1: [{ ...at, session: 'E2', scan: '1' }] } }],
    ['with another input name', { inputs: { t1: INPUTS.t1, fmri: INPUTS.bold } }],
    ['with one input more', { inputs: { ...INPUTS, t2: [{ ...at, scan: '4' }] } }],
    ['with one input less', { inputs: { t1: INPUTS.t1 } }],
    ['with two nodes for one', { inputs: { ...INPUTS, bold: [...INPUTS.bold, { ...at, scan: '3' }] } }],
    [
      'whose input name is a property of every object',
      { inputs: { t1: INPUTS.t1, constructor: INPUTS.bold } },
    ],
  ]
  for (const [what, more] of OTHERS) {
    it(`do not count when they are ${what}`, () => {
      expect(first([theirs(more)])).to.include({ action: 'submit', to: 'ready' })
    })
  }

  it('count although a shared session is named by the project it came from', () => {
    const home = { ...at, project: 'HOME' }
    const inputs = { t1: [{ ...home, scan: '1' }], bold: [{ ...home, scan: '2' }] }
    expect(first([theirs({ inputs })])).to.include({ action: 'none', to: 'complete' })
  })

  const STANDINGS: readonly (readonly [Partial<AssessorNode>, Partial<Decision>, RegExp])[] = [
    [{ quality: 'Passed' }, { to: 'complete' }, /done.*Passed/],
    [{ state: 'running', statusWord: 'JOB_RUNNING' }, { to: 'running' }, /under way elsewhere.*JOB_RUNNING/],
    [{ state: 'uploading', statusWord: 'UPLOADING' }, { to: 'uploading' }, /under way elsewhere/],
    [{ state: 'failed', statusWord: 'JOB_FAILED' }, { to: 'failed' }, /has failed.*delete it/],
    [{ state: 'waiting', statusWord: 'NEED_INPUTS' }, { to: 'waiting' }, /left to it.*delete it/],
    [{ state: 'ready', statusWord: 'NEED_TO_RUN' }, { to: 'ready' }, /left to it/],
    [{ quality: 'Rerun' }, { to: 'complete' }, /rerun.*that program does/],
    [{ quality: 'Do Not Run' }, { to: 'complete' }, /do not run/],
  ]
  for (const [more, expected, reason] of STANDINGS) {
    it(`are left to their program: ${JSON.stringify(more)}`, () => {
      const decision = first([theirs(more)])
      expect(decision).to.include({ action: 'none', madeBy: theirs().label, ...expected })
      expect(decision.reason).to.match(reason)
    })
  }

  it('with a word nobody knows are left alone', () => {
    const { state: _state, ...unknown } = theirs({ statusWord: 'ON_THE_MOON' })
    expect(first([unknown])).to.include({ action: 'none', to: 'waiting' })
  })

  it('that do not say what they were made from are left to a person', () => {
    const decision = first([theirs({ inputs: {} })])
    expect(decision).to.include({ action: 'none', to: 'held', madeBy: theirs().label })
    expect(decision.reason).to.match(/does not say/)
  })

  it('of one scan, from before inputs were kept, count for the task of that scan alone', () => {
    const byScan = resolveProcessor({
      name: 'fmri-qa',
      version: '2.0.0',
      level: 'scan',
      inputs: { image: { scan: { type: '*' }, resource: 'NIFTI' } },
      command: () => ['true'],
      outputs: { OUT: 'x' },
    })
    const decisions = plan(session([theirs({ inputs: {}, scans: ['2'] })]), { processors: [byScan] })
    expect(decisions.map(({ target, action }) => [target.scan, action])).to.deep.equal([
      ['1', 'submit'],
      ['2', 'none'],
    ])
  })

  it('give way to the one that is complete when there are several', () => {
    const failed = theirs({ label: 'A', state: 'failed', statusWord: 'JOB_FAILED' })
    const running = theirs({ label: 'B', state: 'running', statusWord: 'JOB_RUNNING' })
    expect(first([failed, running, theirs({ label: 'C' })]).madeBy).to.equal('C')
    expect(first([failed, running]).madeBy).to.equal('B')
  })

  const bindings: readonly InputBinding[] = Object.entries(INPUTS).map(([name, nodes]) => ({
    name,
    sources: nodes.map((node) => ({ node, resource: 'NIFTI' })),
  }))
  const label = taskLabel('fmri-qa_v2', at, bindings)

  it('never end what was begun here', () => {
    const { inputs: _inputs, ...ours } = theirs({
      label,
      state: 'failed',
      retryAtMs: 0,
      attempt: 1,
      quality: '',
    })
    expect(first([ours, theirs()])).to.include({ action: 'submit', attempt: 2 })
  })

  it('make an assessor of ours that was never begun superfluous', () => {
    const { inputs: _inputs, ...ours } = theirs({ label, state: 'waiting', attempt: 0, quality: '' })
    expect(first([ours, theirs()])).to.include({ action: 'none', from: 'waiting', madeBy: theirs().label })
  })

  it('are the same in whatever order inputs are written', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 1, maxLength: 6 }),
        (names) => {
          const inputs = Object.fromEntries(
            [...names]
              .reverse()
              .map((name, index) => [name, [{ ...at, scan: String(names.length - index) }]]),
          )
          const many = resolveProcessor({
            name: 'fmri-qa',
            version: '2.0.0',
            level: 'session',
            inputs: Object.fromEntries(
              names.map((name, index) => [name, { scan: { label: String(index + 1) }, resource: 'NIFTI' }]),
            ),
            command: () => ['true'],
            outputs: { OUT: 'x' },
          })
          const node = session([theirs({ inputs })])
          const scans = names.map((_, index) => ({
            label: String(index + 1),
            type: 'X',
            quality: 'usable',
            resources: [{ label: 'NIFTI', fileCount: 1 }],
          }))
          expect(plan({ ...node, scans }, { processors: [many] })[0]).to.include({
            to: 'complete',
            action: 'none',
          })
        },
      ),
      { numRuns: 50 },
    )
  })
})
