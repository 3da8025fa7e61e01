import { expect } from 'chai'
import { NotFoundError, type ArchiveRef, type DataStore, type ResourceRef } from '@orbweaver/core'
import { seedMany } from '@orbweaver/core/testing'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import { MemorySink, entryOf, sourceOf, type StoreContext } from './context.js'

/** Every way to ask about something below a project, except for making and deleting. */
function questions(store: DataStore, node: ArchiveRef): readonly [string, () => Promise<unknown>][] {
  const resource: ResourceRef = { node, resource: 'NIFTI' }
  return [
    ['listFiles', () => store.listFiles(resource)],
    ['download', () => store.download(resource, [entryOf('a.txt', 'a')], new MemorySink())],
    ['upload', () => store.upload(resource, sourceOf({ 'a.txt': 'a' }))],
  ]
}

async function allNotFound(asked: readonly [string, () => Promise<unknown>][], what: string): Promise<void> {
  for (const [name, ask] of asked) {
    expect(await rejection(ask()), `${name} of ${what}`).to.be.instanceOf(NotFoundError)
  }
}

export const absence: Chapter<StoreContext> = {
  port: 'store',
  title: 'S8 not found and hidden',
  claims: [
    claim('S8.1', 'what does not exist is not found, at every level and by every question', async (lab) => {
      await lab.seedTree()
      const { session } = lab
      for (const node of [
        { ...session, project: `${lab.project}_NOT` },
        { ...session, subject: 'NOBODY' },
        { ...session, session: 'NOTHING' },
        { ...session, scan: '99' },
        { ...session, assessor: 'nothing' },
        { project: lab.project, assessor: 'nothing' },
        { project: lab.project, subject: 'S01', assessor: 'nothing' },
        // A session of another subject is not this subject's.
        { ...session, subject: 'S02' },
      ]) {
        await allNotFound(questions(lab.store, node), JSON.stringify(node))
      }
      expect(await rejection(lab.store.snapshot(`${lab.project}_NOT`))).to.be.instanceOf(NotFoundError)
      expect(await rejection(lab.store.readAssessor(lab.assessor))).to.be.instanceOf(NotFoundError)
      expect(await rejection(lab.store.updateAssessor(lab.assessor, { quality: 'x' }, '1'))).to.be.instanceOf(
        NotFoundError,
      )
    }),

    claim('S8.2', 'a resource or file that is not there is not found', async (lab) => {
      await lab.seedTree()
      const scan = { ...lab.session, scan: '1' }
      expect(await rejection(lab.store.listFiles({ node: scan, resource: 'NOTHING' }))).to.be.instanceOf(
        NotFoundError,
      )
      const sink = new MemorySink()
      const download = lab.store.download({ node: scan, resource: 'NIFTI' }, [entryOf('no.nii', 'x')], sink)
      expect(await rejection(download)).to.be.instanceOf(NotFoundError)
      expect(sink.files.size).to.equal(0)
    }),

    claim('S8.3', 'asking for what is not there makes nothing', async (lab) => {
      await lab.seedTree()
      const before = await lab.tree()
      await allNotFound(questions(lab.store, { ...lab.session, session: 'NOTHING' }), 'a session')
      await lab.store.deleteAssessor({ ...lab.session, session: 'NOTHING', assessor: 'nothing' })
      expect(await lab.tree()).to.deep.equal(before)
      expect(await lab.store.projects()).to.not.include(`${lab.project}_NOT`)
    }),

    claim(
      'S8.4',
      'a project that this user may not see is like one that does not exist',
      async (lab) => {
        const hidden = `${lab.project}_HIDDEN`
        await lab.seedTree()
        await lab.seed({ ...seedMany(hidden, 1), hidden: true })
        expect(await lab.store.projects())
          .to.include(lab.project)
          .and.not.include(hidden)
        const absent = await rejection(lab.store.snapshot(`${lab.project}_ABSENT`))
        const error = await rejection(lab.store.snapshot(hidden))
        expect(error).to.be.instanceOf(NotFoundError)
        expect(error.message.replaceAll(hidden, ''), 'the message gives it away').to.equal(
          absent.message.replaceAll(`${lab.project}_ABSENT`, ''),
        )
        const session = { project: hidden, subject: 'S0001', session: 'S0001_MR1' }
        await allNotFound(
          [
            ...questions(lab.store, { ...session, scan: '1' }),
            ['createAssessor', () => lab.store.createAssessor({ ...session, assessor: 'x' }, lab.init())],
            ['readAssessor', () => lab.store.readAssessor({ ...session, assessor: 'x' })],
          ],
          'a hidden project',
        )
      },
      (lab) => lab.seedsHidden || 'the lab cannot make hidden projects',
    ),
  ],
}
