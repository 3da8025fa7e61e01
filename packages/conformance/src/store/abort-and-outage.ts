import { expect } from 'chai'
import { StoreUnavailableError, type CallOptions } from '@orbweaver/core'
import { seedMany, seedScan } from '@orbweaver/core/testing'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import { MemorySink, entryOf, sourceOf, type StoreContext } from './context.js'

function everyCall(lab: StoreContext, options?: CallOptions): readonly [string, () => Promise<unknown>][] {
  const { store } = lab
  const scan = { node: { ...lab.session, scan: '1' }, resource: 'NIFTI' }
  const other = { ...lab.session, assessor: 'other' }
  return [
    ['projects', () => store.projects(options)],
    ['snapshot', () => lab.tree(options)],
    ['readAssessor', () => store.readAssessor(lab.assessor, options)],
    ['createAssessor', () => store.createAssessor(other, lab.init(), options)],
    ['updateAssessor', () => store.updateAssessor(lab.assessor, { quality: 'x' }, '1', options)],
    ['deleteAssessor', () => store.deleteAssessor(lab.assessor, options)],
    ['listFiles', () => store.listFiles(scan, options)],
    ['download', () => store.download(scan, [entryOf('t1.nii', 't1 image\n')], new MemorySink(), options)],
    ['upload', () => store.upload(scan, sourceOf({ 'new.nii': 'new' }), options)],
    ...(store.changedSince === undefined
      ? []
      : [
          ['changedSince', () => store.changedSince?.(lab.project, undefined, options)] as [
            string,
            () => Promise<unknown>,
          ],
        ]),
  ]
}

export const abortAndOutage: Chapter<StoreContext> = {
  port: 'store',
  title: 'S10 abort and outage',
  claims: [
    claim(
      'S10.1',
      "every call with an aborted signal rejects with the signal's reason and changes nothing",
      async (lab) => {
        await lab.seedTree()
        await lab.make()
        const before = await lab.tree()
        const reason = new Error('not wanted any more')
        for (const [name, call] of everyCall(lab, { signal: AbortSignal.abort(reason) })) {
          expect(await rejection(call()), name).to.equal(reason)
        }
        expect(await lab.tree()).to.deep.equal(before)
      },
    ),

    claim('S10.2', 'an abort ends a snapshot that is being read', async (lab) => {
      await lab.seed(seedMany(lab.project, 60, [seedScan('1', 'T1w')]))
      const controller = new AbortController()
      const reason = new Error('enough')
      const { subjects } = await lab.store.snapshot(lab.project, { signal: controller.signal })
      let read = 0
      const reading = (async () => {
        for await (const _subject of subjects) if (++read === 1) controller.abort(reason)
      })()
      expect(await rejection(reading)).to.equal(reason)
      expect((await lab.tree()).subjects).to.have.length(60)
    }),

    claim(
      'S10.3',
      'while the archive is away every call says so, may be repeated, and changes nothing',
      async (lab) => {
        await lab.seedTree()
        await lab.make()
        const before = await lab.tree()
        await lab.outage(true)
        try {
          for (const [name, call] of everyCall(lab)) {
            const error = await rejection(call())
            expect(error, name).to.be.instanceOf(StoreUnavailableError)
            expect(error, name).to.have.property('retryable', true)
          }
          const problems = (await lab.store.diagnose()).filter(({ status }) => status === 'problem')
          expect(problems, 'diagnose').to.have.length.above(0)
        } finally {
          await lab.outage(false)
        }
        expect(await lab.tree()).to.deep.equal(before)
      },
      (lab) => lab.canTakeAway,
    ),

    claim('S10.4', 'diagnose says what it found, and finds no problem with a good archive', async (lab) => {
      await lab.seedTree()
      const checks = await lab.store.diagnose()
      expect(checks).to.have.length.above(0)
      for (const { check, found, status } of checks) {
        expect(check).to.not.equal('')
        expect(found).to.not.equal('')
        expect(status, `${check}: ${found}`).to.be.oneOf(['ok', 'warning'])
      }
    }),
  ],
}
