import { expect } from 'chai'
import type { Changes } from '@orbweaver/core'
import { seedMany, seedScan } from '@orbweaver/core/testing'
import { claim, type Chapter } from '../claims.js'
import type { StoreContext } from './context.js'

async function since(lab: StoreContext, cursor?: string): Promise<Changes> {
  const changes = await lab.store.changedSince?.(lab.project, cursor)
  if (changes === undefined) expect.fail('the capability is claimed, and changedSince is not there')
  return changes
}

function names(changes: Changes, subject: string): boolean {
  return changes.subjects === 'all' || changes.subjects.includes(subject)
}

const hasFeed = (lab: StoreContext): true | string =>
  lab.store.capabilities.changedSince || 'there is no change feed'

export const changeFeed: Chapter<StoreContext> = {
  port: 'store',
  title: 'S9 change feed',
  claims: [
    claim(
      'S9.1',
      'without a cursor the feed says: look at everything, and go on from here',
      async (lab) => {
        await lab.seedTree()
        const start = await since(lab)
        expect(start.subjects).to.equal('all')
        expect(start.cursor).to.be.a('string').and.not.equal('')
      },
      hasFeed,
    ),

    claim(
      'S9.2',
      'where nothing changed the feed names nothing',
      async (lab) => {
        await lab.seedTree()
        const { cursor } = await since(lab)
        const next = await since(lab, cursor)
        expect(next).to.deep.include({ subjects: [], project: false })
        expect(await since(lab, next.cursor)).to.deep.include({ subjects: [], project: false })
      },
      hasFeed,
    ),

    claim(
      'S9.3',
      'every kind of change in a subject names that subject',
      async (lab) => {
        await lab.seedTree()
        let { cursor } = await since(lab)
        let revision = ''
        const step = async (what: string, change: () => Promise<void>): Promise<void> => {
          await change()
          const changes = await since(lab, cursor)
          expect(names(changes, 'S01'), what).to.equal(true)
          cursor = changes.cursor
        }
        await step('a new assessor', async () => {
          revision = (await lab.make()).revision
        })
        await step('another record', async () => {
          const change = { record: lab.record({ state: 'queued' }) }
          revision = (await lab.store.updateAssessor(lab.assessor, change, revision)).revision
        })
        await step("a person's verdict", async () => {
          await lab.store.updateAssessor(lab.assessor, { quality: 'Passed' }, revision)
        })
        await step('files of an assessor', async () => {
          await lab.send({ node: lab.assessor, resource: 'PDF' }, { 'a.pdf': 'a' })
        })
        await step('files of a scan', async () => {
          await lab.send({ node: { ...lab.session, scan: '1' }, resource: 'NIFTI' }, { 'b.nii': 'b' })
        })
        await step('a deleted assessor', () => lab.store.deleteAssessor(lab.assessor))
        await step('a new session', () =>
          lab.seed({
            label: lab.project,
            subjects: [{ label: 'S01', sessions: [{ label: 'S01_C', scans: [seedScan('1', 'T1w')] }] }],
          }),
        )
      },
      hasFeed,
    ),

    claim(
      'S9.4',
      "a change of the project's own things is told as such",
      async (lab) => {
        await lab.seedTree()
        const { cursor } = await since(lab)
        await lab.make({ project: lab.project, assessor: `${lab.project}-x-proj_v1-x-00000002` })
        const made = await since(lab, cursor)
        expect(made.project || made.subjects === 'all').to.equal(true)
        await lab.send({ node: { project: lab.project }, resource: 'NOTES' }, { 'n.txt': 'n' })
        const noted = await since(lab, made.cursor)
        expect(noted.project || noted.subjects === 'all').to.equal(true)
      },
      hasFeed,
    ),

    claim(
      'S9.5',
      'no change is missed while others ask and change at the same time',
      async (lab) => {
        await lab.seed(seedMany(lab.project, 12))
        let { cursor } = await since(lab)
        const named = new Set<string>()
        const poll = async (): Promise<void> => {
          const changes = await since(lab, cursor)
          cursor = changes.cursor
          const subjects = changes.subjects === 'all' ? (await lab.tree()).subjects : []
          for (const label of changes.subjects === 'all'
            ? subjects.map((one) => one.label)
            : changes.subjects)
            named.add(label)
        }
        const second = await lab.second()
        const changed = Array.from({ length: 12 }, (_, index) => `S${String(index + 1).padStart(4, '0')}`)
        const changing = Promise.all(
          changed.map(async (subject, index) => {
            const ref = { project: lab.project, subject, session: `${subject}_MR1`, assessor: 'result' }
            await (index % 2 === 0 ? lab.store : second).createAssessor(ref, lab.init())
          }),
        )
        for (let round = 0; round < 5; round++) await poll()
        await changing
        await poll()
        expect([...named].sort()).to.deep.equal(changed)
      },
      hasFeed,
    ),

    claim(
      'S9.6',
      'a cursor may be used again and tells the same or more',
      async (lab) => {
        await lab.seedTree()
        const { cursor } = await since(lab)
        await lab.make()
        expect(names(await since(lab, cursor), 'S01')).to.equal(true)
        expect(names(await since(lab, cursor), 'S01')).to.equal(true)
      },
      hasFeed,
    ),

    claim(
      'S9.7',
      'without the capability there is no changedSince',
      async (lab) => {
        expect('changedSince' in lab.store && lab.store.changedSince !== undefined).to.equal(false)
      },
      (lab) => !lab.store.capabilities.changedSince || 'there is a change feed',
    ),
  ],
}
