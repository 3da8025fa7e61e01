import type { Journal, LeaseHolder } from '@orbweaver/core'
import { InMemoryJournal } from '@orbweaver/core/testing'
import type { JournalHarness } from '@orbweaver/conformance'

/** @param wrap - puts something wrong in front of the journal */
export function memoryJournalHarness(
  wrap: (journal: InMemoryJournal) => Journal = (journal) => journal,
): JournalHarness {
  return {
    async create() {
      const running = new Set([1, 2])
      const journal = new InMemoryJournal({
        isRunning: ({ host, pid }) => (host === 'here' ? running.has(pid) : undefined),
      })
      const pids = { this: 1, living: 2, dead: 3, 'other-host': 4 }
      return {
        journal: wrap(journal),
        reopen: async () => wrap(journal.reopen()),
        async holder(kind, heartbeatMs): Promise<LeaseHolder> {
          return {
            host: kind === 'other-host' ? 'far away' : 'here',
            pid: pids[kind],
            processStart: `start of ${kind}`,
            bootId: 'boot',
            sinceMs: 0,
            heartbeatMs,
            purpose: 'run',
          }
        },
        async dispose() {
          journal.close()
        },
      }
    },
  }
}
