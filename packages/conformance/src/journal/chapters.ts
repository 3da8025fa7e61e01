import { expect } from 'chai'
import { jobId, type AttemptRow, type Journal, type LeaseHolder } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import type { JournalLab } from '../harness.js'

const T0 = 1_767_225_600_000
const STALE_MS = 60_000

export class JournalContext {
  readonly #lab: JournalLab
  readonly #reopened: Journal[] = []
  journal: Journal

  constructor(lab: JournalLab) {
    this.#lab = lab
    this.journal = lab.journal
  }

  get canReopen(): true | string {
    return this.#lab.reopen !== undefined || 'the lab cannot reopen the journal'
  }

  async reopen(): Promise<void> {
    const again = await this.#lab.reopen?.()
    if (again === undefined) expect.fail('the lab cannot reopen the journal')
    this.#reopened.push(again)
    this.journal = again
  }

  async holder(kind: 'this' | 'living' | 'dead' | 'other-host', heartbeatMs = T0): Promise<LeaseHolder> {
    return await this.#lab.holder(kind, heartbeatMs)
  }

  attempt(this: void, label: string, attempt: number, change: Partial<AttemptRow> = {}): AttemptRow {
    return {
      label,
      attempt,
      name: `ow-${label.toLowerCase()}-${attempt}`,
      project: 'P',
      procType: 'proc_v1',
      stage: 'staging',
      workspace: `/work/P/${label}/${attempt}`,
      cancelAsked: false,
      createdAtMs: T0 + attempt,
      ...change,
    }
  }

  async dispose(): Promise<void> {
    for (const journal of this.#reopened) journal.close()
    await this.#lab.dispose()
  }
}

const labels = (rows: readonly { readonly label: string }[]): readonly string[] =>
  rows.map(({ label }) => label)

const attempts: Chapter<JournalContext> = {
  port: 'journal',
  title: 'J1 attempts',
  claims: [
    claim(
      'J1.1',
      'an attempt comes back exactly, and what was left out stays left out',
      async ({ journal, attempt }) => {
        const full: AttemptRow = {
          ...attempt('FULL', 1),
          subject: 'Ünï \'s "subject"',
          session: 'S; DROP TABLE attempts',
          stage: 'submitted',
          jobId: jobId('4711.server'),
          submittedAtMs: T0 + 5,
          missingSinceMs: T0 + 6,
          cancelAsked: true,
          result: 'failed memory',
          closedAtMs: T0 + 7,
        }
        const bare = attempt('BARE', 1)
        journal.putAttempt(full)
        journal.putAttempt(bare)
        expect(journal.getAttempt('FULL', 1)).to.deep.equal(full)
        expect(journal.getAttempt('BARE', 1)).to.deep.equal(bare)
        expect(journal.getAttempt('BARE', 2)).to.equal(undefined)
        expect(journal.getAttempt('NONE', 1)).to.equal(undefined)
      },
    ),

    claim(
      'J1.2',
      'a row put again replaces the one of the same label and attempt',
      async ({ journal, attempt }) => {
        journal.putAttempt(attempt('A', 1, { stage: 'submitted', missingSinceMs: T0 }))
        const later = attempt('A', 1, { stage: 'collecting' })
        journal.putAttempt(later)
        expect(journal.getAttempt('A', 1)).to.deep.equal(later)
        expect(journal.attemptsOf('A')).to.have.length(1)
      },
    ),

    claim(
      'J1.3',
      'open attempts are those that are not closed, of the projects asked for',
      async ({ journal, attempt }) => {
        journal.putAttempt(attempt('A', 1, { stage: 'closed', closedAtMs: T0 }))
        journal.putAttempt(attempt('A', 2))
        journal.putAttempt(attempt('B', 1, { stage: 'submitting' }))
        journal.putAttempt(attempt('C', 1, { project: 'Q', stage: 'collecting' }))
        expect([...labels(journal.openAttempts())].sort()).to.deep.equal(['A', 'B', 'C'])
        expect([...labels(journal.openAttempts(['P']))].sort()).to.deep.equal(['A', 'B'])
        expect(labels(journal.openAttempts(['Q', 'R']))).to.deep.equal(['C'])
        expect(journal.openAttempts([])).to.deep.equal([])
      },
    ),

    claim('J1.4', 'attempts of a task come newest first', async ({ journal, attempt }) => {
      for (const number of [2, 10, 1]) journal.putAttempt(attempt('A', number))
      journal.putAttempt(attempt('B', 3))
      expect(journal.attemptsOf('A').map((row) => row.attempt)).to.deep.equal([10, 2, 1])
      expect(journal.attemptsOf('NONE')).to.deep.equal([])
    }),

    claim(
      'J1.5',
      'workspaces of closed attempts are kept until they are forgotten',
      async ({ journal, attempt }) => {
        journal.putAttempt(attempt('OLD', 1, { stage: 'closed', closedAtMs: T0 }))
        journal.putAttempt(attempt('NEW', 1, { stage: 'closed', closedAtMs: T0 + 1000 }))
        journal.putAttempt(attempt('OPEN', 1))
        expect(labels(journal.keptWorkspaces(T0 + 500))).to.deep.equal(['OLD'])
        expect([...labels(journal.keptWorkspaces(T0 + 5000))].sort()).to.deep.equal(['NEW', 'OLD'])
        journal.forgetWorkspace('OLD', 1)
        expect(labels(journal.keptWorkspaces(T0 + 5000))).to.deep.equal(['NEW'])
        expect(journal.getAttempt('OLD', 1)?.stage, 'the attempt itself stays').to.equal('closed')
      },
    ),
  ],
}

const backlog: Chapter<JournalContext> = {
  port: 'journal',
  title: 'J2 backlog',
  claims: [
    claim(
      'J2.1',
      'due tasks come first in, first out; those whose time has not come wait',
      async ({ journal }) => {
        const row = (label: string, notBeforeMs: number) => ({
          label,
          project: 'P',
          subject: 'S',
          notBeforeMs,
        })
        journal.putBacklog([row('C', 0), row('A', 0)])
        journal.putBacklog([row('LATER', T0 + 10), row('B', 0)])
        expect(labels(journal.dueBacklog('P', T0, 10))).to.deep.equal(['C', 'A', 'B'])
        expect(labels(journal.dueBacklog('P', T0, 2))).to.deep.equal(['C', 'A'])
        expect(labels(journal.dueBacklog('P', T0 + 10, 10))).to.deep.equal(['C', 'A', 'B', 'LATER'])
        expect(journal.dueBacklog('OTHER', T0, 10)).to.deep.equal([])
      },
    ),

    claim('J2.2', 'rows come back exactly, with and without a subject', async ({ journal }) => {
      const rows = [
        { label: 'A', project: 'P', subject: 'Ünï', notBeforeMs: 0 },
        { label: 'B', project: 'P', notBeforeMs: 0 },
      ]
      journal.putBacklog(rows)
      expect(journal.dueBacklog('P', T0, 10)).to.deep.equal(rows)
    }),

    claim(
      'J2.3',
      'a task is in the backlog once, with its last time, and can be taken out',
      async ({ journal }) => {
        journal.putBacklog([{ label: 'A', project: 'P', notBeforeMs: 0 }])
        journal.putBacklog([{ label: 'A', project: 'P', notBeforeMs: T0 + 50 }])
        expect(journal.backlogCount('P')).to.equal(1)
        expect(journal.dueBacklog('P', T0, 10)).to.deep.equal([])
        journal.removeBacklog(['A', 'UNKNOWN'])
        expect(journal.backlogCount('P')).to.equal(0)
      },
    ),

    claim('J2.4', 'the next time something is due is known, over projects', async ({ journal }) => {
      expect(journal.nextDueMs(['P', 'Q'], T0)).to.equal(undefined)
      journal.putBacklog([
        { label: 'A', project: 'P', notBeforeMs: 0 },
        { label: 'B', project: 'P', notBeforeMs: T0 + 300 },
        { label: 'C', project: 'Q', notBeforeMs: T0 + 200 },
        { label: 'D', project: 'R', notBeforeMs: T0 + 100 },
      ])
      expect(journal.nextDueMs(['P', 'Q'], T0)).to.equal(T0 + 200)
      expect(journal.nextDueMs(['P'], T0 + 300)).to.equal(undefined)
    }),

    claim('J2.5', 'thousands of tasks are put and counted', async ({ journal }) => {
      const rows = Array.from({ length: 5000 }, (_, index) => ({
        label: `T${index}`,
        project: 'P',
        notBeforeMs: 0,
      }))
      journal.putBacklog(rows)
      expect(journal.backlogCount('P')).to.equal(5000)
      expect(labels(journal.dueBacklog('P', T0, 3))).to.deep.equal(['T0', 'T1', 'T2'])
      journal.removeBacklog(labels(rows))
      expect(journal.backlogCount('P')).to.equal(0)
    }),
  ],
}

const cursors: Chapter<JournalContext> = {
  port: 'journal',
  title: 'J3 what was unchanged',
  claims: [
    claim('J3.1', 'a cursor is kept for each project, replaced, and forgotten', async ({ journal }) => {
      const cursor = { cursor: 'c "1"', fingerprint: 'f', fullPassAtMs: T0 }
      expect(journal.getCursor('P')).to.equal(undefined)
      journal.putCursor('P', cursor)
      journal.putCursor('Q', { ...cursor, cursor: 'q' })
      expect(journal.getCursor('P')).to.deep.equal(cursor)
      journal.putCursor('P', { ...cursor, cursor: 'c2' })
      expect(journal.getCursor('P')?.cursor).to.equal('c2')
      journal.putCursor('P', undefined)
      expect(journal.getCursor('P')).to.equal(undefined)
      expect(journal.getCursor('Q')?.cursor).to.equal('q')
    }),
  ],
}

const leases: Chapter<JournalContext> = {
  port: 'journal',
  title: 'J4 leases',
  claims: [
    claim(
      'J4.1',
      'a free lease is taken; a living holder keeps it from others, and is named',
      async (lab) => {
        const other = await lab.holder('living')
        const mine = await lab.holder('this', T0 + 10 * STALE_MS)
        expect(lab.journal.acquireLeases(['P'], other, STALE_MS)).to.equal(undefined)
        const refused = lab.journal.acquireLeases(['P'], mine, STALE_MS)
        expect(refused).to.deep.equal({ project: 'P', holder: other })
        expect(lab.journal.beatLeases(['P'], mine)).to.equal(false)
        expect(lab.journal.beatLeases(['P'], other)).to.equal(true)
      },
    ),

    claim('J4.2', 'all leases are taken or none', async (lab) => {
      const other = await lab.holder('living')
      const mine = await lab.holder('this')
      lab.journal.acquireLeases(['B'], other, STALE_MS)
      expect(lab.journal.acquireLeases(['A', 'B', 'C'], mine, STALE_MS)?.project).to.equal('B')
      expect(lab.journal.acquireLeases(['A', 'C'], other, STALE_MS), 'A and C are free').to.equal(undefined)
    }),

    claim('J4.3', 'the holder takes its own lease again', async (lab) => {
      expect(lab.journal.acquireLeases(['P'], await lab.holder('this'), STALE_MS)).to.equal(undefined)
      const later = await lab.holder('this', T0 + 1)
      expect(lab.journal.acquireLeases(['P', 'Q'], later, STALE_MS)).to.equal(undefined)
      expect(lab.journal.beatLeases(['P', 'Q'], later)).to.equal(true)
    }),

    claim('J4.4', 'the lease of a dead process of this machine is taken over at once', async (lab) => {
      const dead = await lab.holder('dead')
      const mine = await lab.holder('this')
      lab.journal.acquireLeases(['P'], dead, STALE_MS)
      expect(lab.journal.acquireLeases(['P'], mine, STALE_MS)).to.equal(undefined)
      expect(lab.journal.beatLeases(['P'], dead), 'the old holder has lost it').to.equal(false)
    }),

    claim(
      'J4.5',
      'the lease of another host is taken over when its heartbeat is old, not before',
      async (lab) => {
        const far = await lab.holder('other-host', T0)
        lab.journal.acquireLeases(['P'], far, STALE_MS)
        const soon = await lab.holder('this', T0 + STALE_MS - 1)
        expect(lab.journal.acquireLeases(['P'], soon, STALE_MS)?.holder).to.deep.equal(far)
        expect(lab.journal.beatLeases(['P'], { ...far, heartbeatMs: T0 + STALE_MS })).to.equal(true)
        const later = await lab.holder('this', T0 + 2 * STALE_MS - 1)
        expect(lab.journal.acquireLeases(['P'], later, STALE_MS), 'it has beaten since').to.not.equal(
          undefined,
        )
        const muchLater = await lab.holder('this', T0 + 3 * STALE_MS)
        expect(lab.journal.acquireLeases(['P'], muchLater, STALE_MS)).to.equal(undefined)
        expect(lab.journal.beatLeases(['P'], far)).to.equal(false)
      },
    ),

    claim('J4.6', 'a released lease is free; nobody releases the lease of another', async (lab) => {
      const other = await lab.holder('living')
      const mine = await lab.holder('this')
      lab.journal.acquireLeases(['P', 'Q'], other, STALE_MS)
      lab.journal.releaseLeases(['P'], mine)
      expect(lab.journal.acquireLeases(['P'], mine, STALE_MS)?.project).to.equal('P')
      lab.journal.releaseLeases(['P', 'NEVER'], other)
      expect(lab.journal.acquireLeases(['P'], mine, STALE_MS)).to.equal(undefined)
      expect(lab.journal.acquireLeases(['Q'], mine, STALE_MS)?.project).to.equal('Q')
    }),

    claim('J4.7', 'a heartbeat of several leases counts only when all are held', async (lab) => {
      const mine = await lab.holder('this')
      lab.journal.acquireLeases(['P'], mine, STALE_MS)
      expect(lab.journal.beatLeases(['P', 'Q'], mine)).to.equal(false)
    }),
  ],
}

const durability: Chapter<JournalContext> = {
  port: 'journal',
  title: 'J5 durability',
  claims: [
    claim(
      'J5.1',
      'everything is still there for who opens the journal next, without a goodbye of the last',
      async (lab) => {
        const attempt = lab.attempt('A', 1, { stage: 'submitting' })
        const living = await lab.holder('living')
        lab.journal.putAttempt(attempt)
        lab.journal.putBacklog([{ label: 'B', project: 'P', notBeforeMs: 0 }])
        lab.journal.putCursor('P', { cursor: 'c', fingerprint: 'f', fullPassAtMs: T0 })
        lab.journal.acquireLeases(['P'], living, STALE_MS)
        await lab.reopen()
        expect(lab.journal.openAttempts()).to.deep.equal([attempt])
        expect(labels(lab.journal.dueBacklog('P', T0, 10))).to.deep.equal(['B'])
        expect(lab.journal.getCursor('P')?.cursor).to.equal('c')
        expect(lab.journal.acquireLeases(['P'], await lab.holder('this'), STALE_MS)?.holder).to.deep.equal(
          living,
        )
      },
      (lab) => lab.canReopen,
    ),
  ],
}

export const journalChapters: readonly Chapter<JournalContext>[] = [
  attempts,
  backlog,
  cursors,
  leases,
  durability,
]
