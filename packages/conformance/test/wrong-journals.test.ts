import { expect } from 'chai'
import type { AttemptRow, Journal } from '@orbweaver/core'
import { InMemoryJournal } from '@orbweaver/core/testing'
import { journalSuite, listClaims } from '@orbweaver/conformance'
import { runClaims } from './doubles/failed-claims.js'
import { memoryJournalHarness } from './doubles/memory-journal.js'
import { override } from './doubles/override.js'

type Change = (journal: InMemoryJournal) => Partial<Journal>

const wrong: readonly {
  readonly name: string
  readonly change: Change
  readonly fails: readonly string[]
}[] = [
  {
    name: 'forgets that a cancel was asked for',
    change: (journal) => ({
      putAttempt: (row) => journal.putAttempt({ ...row, cancelAsked: false }),
    }),
    fails: ['J1.1'],
  },
  {
    name: 'keeps what a new row left out',
    change: (journal) => ({
      putAttempt: (row) => journal.putAttempt({ ...journal.getAttempt(row.label, row.attempt), ...row }),
    }),
    fails: ['J1.2'],
  },
  {
    name: 'calls closed attempts open',
    change: (journal) => ({
      openAttempts: () => ['A', 'B', 'C'].flatMap((label) => [...journal.attemptsOf(label)]),
    }),
    fails: ['J1.3'],
  },
  {
    name: 'sorts attempts as text',
    change: (journal) => ({
      attemptsOf: (label): readonly AttemptRow[] =>
        [...journal.attemptsOf(label)].sort((a, b) => (String(a.attempt) < String(b.attempt) ? 1 : -1)),
    }),
    fails: ['J1.4'],
  },
  {
    name: 'never forgets a workspace',
    change: () => ({ forgetWorkspace: () => undefined }),
    fails: ['J1.5'],
  },
  {
    name: 'serves the last of the backlog first',
    change: (journal) => ({
      dueBacklog: (project, nowMs, limit) => [...journal.dueBacklog(project, nowMs, limit)].reverse(),
    }),
    fails: ['J2.1', 'J2.2', 'J2.5'],
  },
  {
    name: 'lets no time pass in the backlog',
    change: (journal) => ({
      putBacklog: (rows) => journal.putBacklog(rows.map((row) => ({ ...row, notBeforeMs: 0 }))),
    }),
    fails: ['J2.1', 'J2.3', 'J2.4'],
  },
  {
    name: 'keeps one cursor for all projects',
    change: (journal) => ({
      getCursor: () => journal.getCursor('all'),
      putCursor: (_project, cursor) => journal.putCursor('all', cursor),
    }),
    fails: ['J3.1'],
  },
  {
    name: 'gives leases to everybody',
    change: () => ({ acquireLeases: () => undefined }),
    fails: ['J4.1', 'J4.2', 'J4.3', 'J4.5', 'J4.6', 'J5.1'],
  },
  {
    name: 'takes some leases when it cannot have all',
    change: (journal) => ({
      acquireLeases(projects, holder, staleMs) {
        let refused: ReturnType<Journal['acquireLeases']>
        for (const project of projects) refused ??= journal.acquireLeases([project], holder, staleMs)
        return refused
      },
    }),
    fails: ['J4.2'],
  },
  {
    name: 'does not know its own lease again',
    change: (journal) => ({
      acquireLeases: (projects, holder, staleMs) =>
        journal.acquireLeases(projects, { ...holder, processStart: String(holder.heartbeatMs) }, staleMs),
    }),
    fails: ['J4.1', 'J4.3', 'J4.5', 'J4.6', 'J5.1'],
  },
  {
    name: 'trusts heartbeats even of processes that are gone',
    change: (journal) => {
      const blind = new InMemoryJournal()
      return {
        acquireLeases: (projects, holder, staleMs) => blind.acquireLeases(projects, holder, staleMs),
        beatLeases: (projects, holder) => blind.beatLeases(projects, holder),
        releaseLeases: (projects, holder) => blind.releaseLeases(projects, holder),
        close: () => journal.close(),
      }
    },
    fails: ['J4.1', 'J4.4', 'J5.1'],
  },
  {
    name: 'takes every lease of another host for stale',
    change: (journal) => ({
      acquireLeases: (projects, holder) => journal.acquireLeases(projects, holder, 0),
    }),
    fails: ['J4.5'],
  },
  {
    name: "releases other people's leases",
    change: (journal) => ({
      releaseLeases(projects) {
        for (const project of projects) {
          const held = journal.acquireLeases([project], NOBODY, 1e12)?.holder ?? NOBODY
          journal.releaseLeases([project], held)
        }
      },
    }),
    fails: ['J4.6'],
  },
  {
    name: 'beats the leases it has',
    change: (journal) => ({
      beatLeases: (projects, holder) => projects.some((project) => journal.beatLeases([project], holder)),
    }),
    fails: ['J4.7'],
  },
  {
    name: 'puts a task into the backlog once only, with its first time',
    change: (journal) => {
      const known = new Set<string>()
      return {
        putBacklog(rows) {
          journal.putBacklog(rows.filter(({ label }) => !known.has(label)))
          for (const { label } of rows) known.add(label)
        },
        removeBacklog: () => undefined,
      }
    },
    fails: ['J2.3', 'J2.5'],
  },
  {
    name: 'loses subjects',
    change: (journal) => ({
      putBacklog: (rows) => journal.putBacklog(rows.map(({ subject: _lost, ...row }) => row)),
    }),
    fails: ['J2.2'],
  },
]

const NOBODY = {
  host: 'here',
  pid: 99,
  processStart: 'nobody',
  bootId: 'boot',
  sinceMs: 0,
  heartbeatMs: 0,
  purpose: 'none',
}

describe('the kit on journals', () => {
  for (const { name, change, fails } of wrong) {
    it(`sees that a journal is wrong that ${name}`, async () => {
      const harness = memoryJournalHarness((journal) => override<Journal>(journal, change(journal)))
      const { failed } = await runClaims((options) => journalSuite(harness, options))
      expect(failed).to.deep.equal(fails)
    })
  }

  it('sees that a journal is wrong that is gone with its process', async () => {
    const harness = memoryJournalHarness()
    const forgetful = {
      async create() {
        return { ...(await harness.create()), reopen: async () => new InMemoryJournal() }
      },
    }
    const { failed } = await runClaims((options) => journalSuite(forgetful, options))
    expect(failed).to.deep.equal(['J5.1'])
  })

  it('has seen every one of its claims fail', () => {
    const seen = new Set(['J5.1', ...wrong.flatMap(({ fails }) => fails)])
    const all = listClaims().filter(({ port }) => port === 'journal')
    expect(all.map(({ id }) => id).filter((id) => !seen.has(id))).to.deep.equal([])
  })
})
