import { expect } from 'chai'
import { NotFoundError, TASK_STATES, statusWordOf, type TaskRecord, type TaskState } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import type { StoreContext } from './context.js'

export const assessors: Chapter<StoreContext> = {
  port: 'store',
  title: 'S2 assessors',
  claims: [
    claim('S2.1', 'a new assessor is read back by its address, and shows in the snapshot', async (lab) => {
      await lab.seedTree()
      const made = await lab.store.createAssessor(lab.assessor, lab.init())
      expect(made.created).to.equal(true)
      const read = await lab.store.readAssessor(lab.assessor)
      expect(read.record).to.deep.equal(lab.record())
      expect(read.node).to.deep.equal(made.node)
      const [shown, ...others] = await lab.assessorsOf('S01_A')
      expect(others).to.deep.equal([])
      expect(shown).to.deep.include({
        label: lab.assessor.assessor,
        procType: 'proc_v1',
        procVersion: '1.2.3',
        state: 'ready',
        attempt: 0,
        quality: '',
        resources: [],
        revision: made.node.revision,
      })
      expect(shown?.scans ?? ['1']).to.deep.equal(['1'])
    }),

    claim('S2.2', 'an assessor that is there already is found, not changed', async (lab) => {
      await lab.seedTree()
      const first = await lab.make()
      const again = await lab.store.createAssessor(
        lab.assessor,
        lab.init({ state: 'waiting', reason: 'other' }),
      )
      expect(again.created).to.equal(false)
      expect(again.record).to.deep.equal(lab.record())
      expect(again.node).to.deep.equal(first)
      expect((await lab.store.readAssessor(lab.assessor)).record).to.deep.equal(lab.record())
    }),

    claim('S2.3', 'of eight that make the same assessor at once exactly one makes it', async (lab) => {
      await lab.seedTree()
      const second = await lab.second()
      const made = await Promise.all(
        Array.from({ length: 8 }, (_, index) =>
          (index % 2 === 0 ? lab.store : second).createAssessor(
            lab.assessor,
            lab.init({ reason: `maker ${index}` }),
          ),
        ),
      )
      expect(made.filter(({ created }) => created)).to.have.length(1)
      const winner = made.find(({ created }) => created)
      for (const { record } of made) expect(record?.reason).to.equal(winner?.record?.reason)
      expect(await lab.assessorsOf('S01_A')).to.have.length(1)
    }),

    claim('S2.4', 'assessors hang on subjects and on projects as well', async (lab) => {
      await lab.seedTree()
      const subject = {
        project: lab.project,
        subject: 'S01',
        assessor: `${lab.project}-x-S01-x-sub_v1-x-00000001`,
      }
      const project = { project: lab.project, assessor: `${lab.project}-x-proj_v1-x-00000002` }
      await lab.make(subject, { procType: 'sub_v1' })
      await lab.make(project, { procType: 'proj_v1' })
      const tree = await lab.tree()
      expect(tree.project.assessors.map(({ label }) => label)).to.deep.equal([project.assessor])
      expect(tree.subjects[0]?.assessors.map(({ label }) => label)).to.deep.equal([subject.assessor])
      expect(tree.subjects.flatMap(({ sessions }) => sessions.flatMap((one) => one.assessors))).to.deep.equal(
        [],
      )
      expect((await lab.store.readAssessor(project)).record?.procType).to.equal('proj_v1')
      await lab.send({ node: subject, resource: 'PDF' }, { 'a.pdf': 'pdf' })
      expect(Object.keys(await lab.fetch({ node: subject, resource: 'PDF' }))).to.deep.equal(['a.pdf'])
    }),

    claim('S2.5', 'the record is given back exactly as it was given, whatever it holds', async (lab) => {
      await lab.seedTree()
      const record = lab.record({
        reason: 'Ünïcödé 脳 🧠 "quotes" \'single\' <xml> & back\\slash\nnew line\ttab $(x) `y` %s {z}',
        params: {
          nested: { list: [1, 2.5, -0.1, null, true, { deep: ['a', ['b']] }], empty: {}, none: [] },
          large: 9_007_199_254_740_991,
          text: 'x'.repeat(20_000),
        },
        cause: {
          kind: 'tool',
          summary: 'exit code 3',
          exitCode: 3,
          evidence: [{ source: 'log', text: 'line 1\nline 2 ]]> --', atMs: 1 }],
        },
        retryAtMs: 1_767_225_600_001,
        failures: { tool: 2 },
      })
      const later = { ...record, futureKey: { kept: ['as', 'it', 'is'] } } as TaskRecord
      await lab.store.createAssessor(lab.assessor, { ...lab.init(), record: later })
      expect((await lab.store.readAssessor(lab.assessor)).record).to.deep.equal(later)
    }),

    claim(
      'S2.6',
      'every task state comes back exactly, with its status word, cause, attempt and next try',
      async (lab) => {
        await lab.seedTree()
        let { revision } = await lab.make()
        const words = new Map<TaskState, string>()
        for (const [attempt, state] of TASK_STATES.entries()) {
          const record = lab.record({
            state,
            attempt,
            ...(state === 'failed' && {
              cause: { kind: 'memory', summary: 'too much', evidence: [] },
              retryAtMs: 1_767_225_600_000,
            }),
          })
          const node = await lab.store.updateAssessor(lab.assessor, { record }, revision)
          expect(node).to.include({ state, attempt })
          expect(node.statusWord).to.not.equal('')
          words.set(state, node.statusWord)
          if (state === 'failed') expect(node).to.include({ cause: 'memory', retryAtMs: 1_767_225_600_000 })
          else expect(node).to.not.have.any.keys('cause', 'retryAtMs')
          revision = node.revision
          expect((await lab.assessorsOf('S01_A'))[0]).to.deep.equal(node)
        }
        expect(words.get('complete'), 'a word people know').to.be.oneOf([
          statusWordOf('complete', 'dax'),
          statusWordOf('complete', 'notebook'),
        ])
        expect(words.get('complete')).to.not.equal(words.get('failed'))
      },
    ),

    claim('S2.7', "a person's verdict and the record do not touch each other", async (lab) => {
      await lab.seedTree()
      const made = await lab.make()
      const judged = await lab.store.updateAssessor(
        lab.assessor,
        { quality: 'Needs QA – später' },
        made.revision,
      )
      expect(judged).to.include({ quality: 'Needs QA – später', state: 'ready' })
      expect((await lab.store.readAssessor(lab.assessor)).record).to.deep.equal(lab.record())
      const moved = await lab.store.updateAssessor(
        lab.assessor,
        { record: lab.record({ state: 'queued' }) },
        judged.revision,
      )
      expect(moved).to.include({ quality: 'Needs QA – später', state: 'queued' })
    }),

    claim('S2.8', 'a deleted assessor is gone with its files; deleting it again is no error', async (lab) => {
      await lab.seedTree()
      await lab.make()
      const resource = { node: lab.assessor, resource: 'PDF' }
      await lab.send(resource, { 'report.pdf': 'pdf' })
      await lab.store.deleteAssessor(lab.assessor)
      await lab.store.deleteAssessor(lab.assessor)
      expect(await lab.assessorsOf('S01_A')).to.deep.equal([])
      expect(await rejection(lab.store.readAssessor(lab.assessor))).to.be.instanceOf(NotFoundError)
      expect(await rejection(lab.store.listFiles(resource))).to.be.instanceOf(NotFoundError)
      const again = await lab.make()
      expect(again.resources).to.deep.equal([])
    }),

    claim('S2.9', 'an assessor cannot be made where there is no session, subject or project', async (lab) => {
      await lab.seedTree()
      for (const ref of [
        { project: lab.project, subject: 'S01', session: 'NOTHING', assessor: 'x' },
        { project: lab.project, subject: 'NOBODY', session: 'S01_A', assessor: 'x' },
        { project: lab.project, subject: 'NOBODY', assessor: 'x' },
        { project: `${lab.project}_NOT`, assessor: 'x' },
      ]) {
        expect(await rejection(lab.store.createAssessor(ref, lab.init()))).to.be.instanceOf(NotFoundError)
      }
    }),
  ],
}
