import { expect } from 'chai'
import fc from 'fast-check'
import {
  decide,
  resolveProcessor,
  taskLabel,
  type AssessorNode,
  type DecideContext,
  type Decision,
  type ProcessorDefinition,
  type ProjectNode,
  type ScanNode,
  type SessionNode,
  type SubjectNode,
} from '@orbweaver/core'

const NOW = Date.UTC(2026, 0, 1)

function scan(
  label: string,
  type: string,
  resources: readonly string[] = ['NIFTI'],
  more: Partial<ScanNode> = {},
): ScanNode {
  return {
    label,
    type,
    quality: 'usable',
    resources: resources.map((name) => ({ label: name, fileCount: 1 })),
    ...more,
  }
}
function session(
  label: string,
  scans: readonly ScanNode[],
  assessors: readonly AssessorNode[] = [],
): SessionNode {
  return { label, resources: [], scans, assessors }
}
function subject(
  label: string,
  sessions: readonly SessionNode[],
  assessors: readonly AssessorNode[] = [],
): SubjectNode {
  return { label, resources: [], assessors, sessions }
}
const project: ProjectNode = { label: 'P', resources: [], assessors: [] }

function assessor(label: string, procType: string, more: Partial<AssessorNode> = {}): AssessorNode {
  return {
    label,
    procType,
    procVersion: '1.0.0',
    state: 'complete',
    statusWord: 'COMPLETE',
    attempt: 1,
    quality: '',
    resources: [{ label: 'NIFTI', fileCount: 1 }],
    revision: '1',
    ...more,
  }
}

const base = { version: '1.0.0', command: () => ['true'], outputs: { OUT: 'x' } } as const
function processor(definition: Omit<ProcessorDefinition, 'version' | 'command' | 'outputs'>) {
  return resolveProcessor({ ...base, ...definition })
}
const t1 = processor({
  name: 't1',
  level: 'session',
  inputs: { t1: { scan: { type: ['T1*', 'MPRAGE'] }, resource: 'NIFTI' } },
})

function plan(
  subjects: readonly SubjectNode[],
  processors: DecideContext['processors'],
  more: Partial<DecideContext> = {},
  node = project,
): readonly Decision[] {
  return decide(node, subjects, {
    nowMs: NOW,
    processors,
    open: new Map(),
    pauses: [],
    limits: { source: {} },
    trace: true,
    ...more,
  }).decisions
}
function only(decisions: readonly Decision[]): Decision {
  expect(decisions).to.have.length(1)
  return decisions[0] as Decision
}

describe('decide', () => {
  describe('input selectors', () => {
    it('submits a session whose one T1 is there, whatever its letter case', () => {
      const decision = only(plan([subject('S', [session('E', [scan('1', 't1w'), scan('2', 'BOLD')])])], [t1]))
      expect(decision).to.include({ action: 'submit', to: 'ready', attempt: 1 })
      expect(decision.task?.label).to.match(/^P-x-S-x-E-x-t1_v1-x-[0-9a-f]{8}$/)
      expect(decision.task?.ref).to.deep.equal({
        project: 'P',
        subject: 'S',
        session: 'E',
        assessor: decision.task?.label,
      })
      expect(decision.trace.map(({ result }) => result)).to.deep.equal(['yes', 'no', 'yes'])
    })

    it('has no task and writes nothing when nothing matches', () => {
      const decision = only(plan([subject('S', [session('E', [scan('2', 'BOLD')])])], [t1]))
      expect(decision.task).to.equal(undefined)
      expect(decision).to.include({ action: 'none', to: 'waiting' })
      expect(decision.reason).to.contain('no match')
    })

    it('wants a clearer rule when several match and one is asked for', () => {
      const decision = only(
        plan([subject('S', [session('E', [scan('1', 'T1w'), scan('2', 'MPRAGE')])])], [t1]),
      )
      expect(decision.action).to.equal('none')
      expect(decision.reason).to.contain('scan 1').and.contain('pick, each or all')
    })

    it('leaves out unusable scans unless asked', () => {
      const scans = [scan('1', 'T1w', ['NIFTI'], { quality: 'unusable' }), scan('2', 'T1w')]
      expect(
        only(plan([subject('S', [session('E', scans)])], [t1])).task?.inputs[0]?.sources[0]?.node.scan,
      ).to.equal('2')
      const bad = processor({
        name: 'bad',
        level: 'session',
        inputs: { t1: { scan: { type: 'T1w', quality: 'unusable' }, resource: 'NIFTI' } },
      })
      expect(
        only(plan([subject('S', [session('E', scans)])], [bad])).task?.inputs[0]?.sources[0]?.node.scan,
      ).to.equal('1')
    })

    it('waits, with an assessor, for a scan that lacks its resource', () => {
      const decision = only(plan([subject('S', [session('E', [scan('1', 'T1w', [])])])], [t1]))
      expect(decision).to.include({ action: 'create', to: 'waiting' })
      expect(decision.reason).to.contain('scan 1 (T1w) has no NIFTI')
    })

    it('treats a resource without files as missing', () => {
      const empty = scan('1', 'T1w', [], { resources: [{ label: 'NIFTI', fileCount: 0 }] })
      expect(only(plan([subject('S', [session('E', [empty])])], [t1])).to).to.equal('waiting')
    })

    const bolds = [scan('10', 'BOLD'), scan('2', 'BOLD'), scan('3', 'T1w')]
    const inputs = (more: object) =>
      processor({
        name: 'b',
        level: 'session',
        inputs: { b: { scan: { type: 'BOLD' }, resource: 'NIFTI', ...more } },
      })
    const chosen = (more: object) =>
      plan([subject('S', [session('E', bolds)])], [inputs(more)]).map(({ task }) =>
        task?.inputs[0]?.sources.map(({ node }) => node.scan),
      )
    it('each makes one task per match, in numeric scan order', () => {
      expect(chosen({ each: true })).to.deep.equal([['2'], ['10']])
    })
    it('all takes them together', () => {
      expect(chosen({ all: true })).to.deep.equal([['2', '10']])
    })
    it('pick first, last and nth', () => {
      expect(chosen({ pick: 'first' })).to.deep.equal([['2']])
      expect(chosen({ pick: 'last' })).to.deep.equal([['10']])
      expect(chosen({ pick: 2 })).to.deep.equal([['10']])
      expect(plan([subject('S', [session('E', bolds)])], [inputs({ pick: 3 })])[0]?.reason).to.contain(
        'number 3',
      )
    })

    it('an optional input may be absent, and counts when it is there', () => {
      const p = processor({
        name: 'o',
        level: 'session',
        inputs: {
          t1: { scan: { type: 'T1w' }, resource: 'NIFTI' },
          t2: { scan: { type: 'T2w' }, resource: 'NIFTI', optional: true },
        },
      })
      const without = only(plan([subject('S', [session('E', [scan('1', 'T1w')])])], [p]))
      const withIt = only(plan([subject('S', [session('E', [scan('1', 'T1w'), scan('2', 'T2w')])])], [p]))
      expect(without.action).to.equal('submit')
      expect(without.task?.inputs[1]?.sources).to.deep.equal([])
      expect(withIt.task?.inputs[1]?.sources).to.have.length(1)
      expect(withIt.task?.label).not.to.equal(without.task?.label)
    })

    const recon = processor({
      name: 'stats',
      level: 'session',
      inputs: { fs: { assessor: { type: 'freesurfer', version: '>=7.1' }, resource: 'NIFTI' } },
    })
    it('waits for the result of another processor, then uses it', () => {
      const state = (more: Partial<AssessorNode>) =>
        only(
          plan(
            [
              subject('S', [
                session('E', [], [assessor('FS', 'freesurfer_v7', { procVersion: '7.4.1', ...more })]),
              ]),
            ],
            [recon],
          ),
        )
      expect(state({ state: 'running' })).to.include({ to: 'waiting', action: 'create' })
      expect(state({})).to.include({ to: 'ready', action: 'submit' })
      expect(state({ procVersion: '7.0.0' }).task).to.equal(undefined)
    })

    it('holds for a person when the result must be passed', () => {
      const p = processor({
        name: 'g',
        level: 'session',
        inputs: { fs: { assessor: { type: 'free*', passed: true }, resource: 'NIFTI' } },
      })
      const state = (quality: string) =>
        only(plan([subject('S', [session('E', [], [assessor('FS', 'freesurfer_v7', { quality })])])], [p]))
      expect(state('')).to.include({ to: 'held', action: 'create' })
      expect(state('Failed').to).to.equal('held')
      expect(state('passed with EDITS').to).to.equal('ready')
    })

    it('takes the same scan that a result was made from', () => {
      const p = processor({
        name: 'same',
        level: 'session',
        inputs: {
          t1: { scan: { type: 'T1w' }, resource: 'NIFTI', sameScanAs: 'fs' },
          fs: { assessor: { type: 'freesurfer' }, resource: 'NIFTI' },
        },
      })
      const scans = [scan('1', 'T1w'), scan('2', 'T1w')]
      const made = [assessor('FS', 'freesurfer_v7', { scans: ['2'] })]
      const decision = only(plan([subject('S', [session('E', scans, made)])], [p]))
      expect(decision.task?.inputs[0]?.sources[0]?.node.scan).to.equal('2')
    })

    it('takes a missing resource from the result made of that scan, under one and the same label', () => {
      const p = processor({
        name: 'qa',
        level: 'scan',
        inputs: { image: { scan: { type: 'T1w' }, resource: 'NIFTI', orFrom: { type: 'dcm2niix' } } },
      })
      const look = (scans: readonly ScanNode[], assessors: readonly AssessorNode[]) =>
        only(plan([subject('S', [session('E', scans, assessors)])], [p]))
      const none = look([scan('1', 'T1w', ['DICOM'])], [])
      const there = look([scan('1', 'T1w', ['DICOM'])], [assessor('D', 'dcm2niix_v1', { scans: ['1'] })])
      const own = look([scan('1', 'T1w', ['NIFTI'])], [])
      expect(none).to.include({ to: 'waiting', action: 'create' })
      expect(there).to.include({ to: 'ready', action: 'submit' })
      expect(there.task?.inputs[0]?.sources[0]?.node).to.deep.equal({
        project: 'P',
        subject: 'S',
        session: 'E',
        assessor: 'D',
      })
      expect(new Set([none, there, own].map(({ task }) => task?.label)).size).to.equal(1)
    })
  })

  describe('levels', () => {
    const two = [
      subject('A', [session('A1', [scan('1', 'T1w'), scan('2', 'T1w')]), session('A2', [scan('1', 'T1w')])]),
      subject('B', [session('B1', [scan('1', 'BOLD')])]),
    ]
    it('scan: one task for each scan that matches', () => {
      const p = processor({
        name: 's',
        level: 'scan',
        inputs: { t1: { scan: { type: 'T1w' }, resource: 'NIFTI' } },
      })
      const decisions = plan(two, [p])
      expect(decisions.map(({ target }) => [target.session, target.scan])).to.deep.equal([
        ['A1', '1'],
        ['A1', '2'],
        ['A2', '1'],
      ])
      expect(decisions[0]?.task?.ref.session).to.equal('A1')
    })
    it('subject: over all its sessions, with the assessor on the subject', () => {
      const p = processor({
        name: 'l',
        level: 'subject',
        inputs: { t1: { scan: { type: 'T1w' }, resource: 'NIFTI', all: true } },
      })
      const [a, b] = plan(two, [p])
      expect(a?.task?.inputs[0]?.sources).to.have.length(3)
      expect(a?.task?.ref).to.deep.equal({ project: 'P', subject: 'A', assessor: a?.task?.label })
      expect(b?.task).to.equal(undefined)
    })
    it('project: over all subjects, decided after the last of them', () => {
      const p = processor({
        name: 'g',
        level: 'project',
        inputs: { t1: { scan: { type: 'T1w' }, resource: 'NIFTI', all: true } },
      })
      const decision = only(plan(two, [p]))
      expect(decision.task?.inputs[0]?.sources).to.have.length(3)
      expect(decision.task?.ref).to.deep.equal({ project: 'P', assessor: decision.task?.label })
    })
    it('assessor: one task for each result', () => {
      const p = processor({
        name: 'r',
        level: 'assessor',
        inputs: { fs: { assessor: { type: 'fs' }, resource: 'NIFTI' } },
      })
      const made = [assessor('FS1', 'fs_v1'), assessor('FS2', 'fs_v1'), assessor('X', 'other_v1')]
      const decisions = plan([subject('S', [session('E', [], made)])], [p])
      expect(decisions.map(({ target }) => target.assessor)).to.deep.equal(['FS1', 'FS2'])
    })
    it('within subject: a scan of another session of the same subject', () => {
      const p = processor({
        name: 'w',
        level: 'session',
        inputs: {
          bold: { scan: { type: 'BOLD' }, resource: 'NIFTI' },
          t1: { scan: { type: 'T1w' }, resource: 'NIFTI', within: 'subject', pick: 'last' },
        },
      })
      const subjects = [subject('S', [session('E1', [scan('9', 'T1w')]), session('E2', [scan('1', 'BOLD')])])]
      const decision = plan(subjects, [p]).find(({ target }) => target.session === 'E2')
      expect(decision?.action).to.equal('submit')
      expect(decision?.task?.inputs[1]?.sources[0]?.node.session).to.equal('E1')
    })
    it('the own resource of the target', () => {
      const p = processor({ name: 'n', level: 'session', inputs: { log: { resource: 'EDAT' } } })
      const e = { ...session('E', []), resources: [{ label: 'EDAT' }] }
      expect(only(plan([subject('S', [e])], [p])).action).to.equal('submit')
      expect(only(plan([subject('S', [session('E', [])])], [p])).to).to.equal('waiting')
    })
  })

  describe('what is there already', () => {
    const tree = (more: Partial<AssessorNode>) => {
      const label = only(plan([subject('S', [session('E', [scan('1', 'T1w')])])], [t1])).task?.label ?? ''
      return [subject('S', [session('E', [scan('1', 'T1w')], [assessor(label, 't1_v1', more)])])]
    }
    const cases: [string, Partial<AssessorNode>, Partial<Decision>][] = [
      ['complete', {}, { action: 'none', to: 'complete' }],
      ['ready', { state: 'ready', attempt: 0 }, { action: 'submit', attempt: 1 }],
      [
        'waiting, and now everything is there',
        { state: 'waiting', attempt: 0 },
        { action: 'submit', to: 'ready' },
      ],
      ['failed for good', { state: 'failed', cause: 'tool' }, { action: 'none', to: 'failed' }],
      [
        'failed, its time has come',
        { state: 'failed', cause: 'node', retryAtMs: NOW - 1, attempt: 2 },
        { action: 'submit', attempt: 3 },
      ],
      [
        'failed, its time is yet to come',
        { state: 'failed', retryAtMs: NOW + 60_000 },
        { action: 'none', notBeforeMs: NOW + 60_000 },
      ],
      ['cancelled', { state: 'cancelled' }, { action: 'none', to: 'cancelled' }],
      ['running, unknown to this engine', { state: 'running' }, { action: 'follow', to: 'running' }],
      ['quality Rerun', { quality: 'Rerun', attempt: 2 }, { action: 'rerun', attempt: 3 }],
      ['quality Rerun while it runs', { quality: 'Rerun', state: 'running' }, { action: 'follow' }],
      ['quality Do Not Run', { quality: 'Do Not Run', state: 'ready' }, { action: 'none' }],
    ]
    for (const [name, more, wanted] of cases) {
      it(`${name}: ${wanted.action}`, () => {
        expect(only(plan(tree(more), [t1]))).to.include(wanted)
      })
    }
    it('made elsewhere with an unknown status: left alone', () => {
      const { state: _state, ...foreign } = assessor('x', 't1_v1', { statusWord: 'WHATEVER' })
      const [s] = tree({})
      const label = s?.sessions[0]?.assessors[0]?.label ?? ''
      const subjects = [subject('S', [session('E', [scan('1', 'T1w')], [{ ...foreign, label }])])]
      expect(only(plan(subjects, [t1]))).to.include({ action: 'none' })
    })
    it('an open attempt is followed, not submitted again', () => {
      const [s] = tree({ state: 'ready', attempt: 0 })
      const label = s?.sessions[0]?.assessors[0]?.label ?? ''
      const row = {
        label,
        attempt: 1,
        name: 'ow-1',
        project: 'P',
        procType: 't1_v1',
        stage: 'submitting',
        workspace: '/w',
        cancelAsked: false,
        createdAtMs: 0,
      } as const
      expect(only(plan(s === undefined ? [] : [s], [t1], { open: new Map([[label, row]]) }))).to.include({
        action: 'follow',
        attempt: 1,
      })
    })
  })

  it('pauses hold what is ready and write nothing', () => {
    const subjects = [subject('S', [session('E', [scan('1', 'T1w')])])]
    const pause = { processors: ['t*'], note: 'maintenance', atMs: 0 }
    expect(only(plan(subjects, [t1], { pauses: [pause] }))).to.include({ action: 'none', to: 'held' })
    expect(only(plan(subjects, [t1], { pauses: [{ ...pause, processors: ['other'] }] })).action).to.equal(
      'submit',
    )
  })

  it('what can never run is not submitted, and the rule is named', () => {
    const subjects = [subject('S', [session('E', [scan('1', 'T1w')])])]
    const limits = { maxMemoryBytes: 1024 ** 3, source: { maxMemoryBytes: 'memory of this machine' } }
    const decision = only(plan(subjects, [t1], { limits }))
    expect(decision).to.include({ action: 'none', to: 'held' })
    expect(decision.reason).to.contain('2 GiB').and.contain('1 GiB').and.contain('memory of this machine')
  })

  it('a processor may say no, with its reason', () => {
    const p = resolveProcessor({
      ...base,
      name: 'c',
      level: 'session',
      inputs: { t1: { scan: { type: 'T1w' }, resource: 'NIFTI' } },
      canRun: () => 'too young',
    })
    const decision = only(plan([subject('S', [session('E', [scan('1', 'T1w')])])], [p]))
    expect(decision).to.include({ action: 'none' })
    expect(decision.reason).to.contain('too young')
  })

  it('selections keep the rest out of decisions and counts', () => {
    const subjects = ['A', 'B'].map((name) => subject(name, [session(`${name}1`, [scan('1', 'T1w')])]))
    const result = decide(project, subjects, {
      nowMs: NOW,
      processors: [t1],
      open: new Map(),
      pauses: [],
      limits: { source: {} },
      trace: false,
      selection: { subjects: ['B*'] },
    })
    expect(result.decisions.map(({ target }) => target.subject)).to.deep.equal(['B'])
    expect(result.counts).to.deep.include({ subjects: 1, sessions: 1 })
  })

  it('gives the same label whatever the order of scans, sessions and processors', () => {
    const p = processor({
      name: 'all',
      level: 'session',
      inputs: { b: { scan: { type: '*' }, resource: 'NIFTI', all: true } },
    })
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 8 }),
        fc.infiniteStream(fc.nat()),
        (numbers, random) => {
          const scans = numbers.map((n) => scan(String(n), 'BOLD'))
          const shuffled = [...scans].sort(() => ((random.next().value as number) % 2) - 0.5)
          const label = (list: readonly ScanNode[]) =>
            only(plan([subject('S', [session('E', list)])], [p])).task?.label
          expect(label(scans)).to.equal(label(shuffled))
        },
      ),
    )
  })

  it('a label of very long names is cut, and stays unique', () => {
    const target = { project: 'P'.repeat(190), subject: 'Ü'.repeat(95), session: 'E'.repeat(190) }
    const label = (scan: string) =>
      taskLabel('x_v1', target, [{ name: 'i', sources: [{ node: { ...target, scan }, resource: 'NIFTI' }] }])
    expect(Buffer.byteLength(label('1'))).to.be.at.most(200)
    expect(label('1')).not.to.equal(label('2'))
    expect(label('1')).to.match(/^P+-x-Ü+-x-E+-x-x_v1-x-[0-9a-f]{8}$/)
  })

  it('a label is the documented hash over the procType and the sorted references', () => {
    const target = { project: 'P', subject: 'S', session: 'E' }
    const source = (n: string) => ({ node: { ...target, scan: n }, resource: 'NIFTI' })
    const a = taskLabel('x_v1', target, [{ name: 'i', sources: [source('1'), source('2')] }])
    const b = taskLabel('x_v1', target, [{ name: 'i', sources: [source('2'), source('1')] }])
    expect(a).to.equal(b)
    expect(taskLabel('x_v2', target, [{ name: 'i', sources: [source('1'), source('2')] }])).not.to.equal(a)
  })
})
