import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { bootId, openJournal, processStart, type LeaseHolder } from '@orbweaver/core'
import { journalSuite } from '@orbweaver/conformance'
import { memoryJournalHarness } from './doubles/memory-journal.js'

describe('the in-memory journal', () => {
  journalSuite(memoryJournalHarness())
})

describe('the journal on SQLite', () => {
  let other: ChildProcess | undefined
  let gone: { readonly pid: number; readonly start: string } | undefined

  before(async () => {
    other = spawn('sleep', ['600'], { stdio: 'ignore' })
    const short = spawn('sleep', ['600'], { stdio: 'ignore' })
    gone = { pid: short.pid ?? 0, start: processStart(short.pid ?? 0) ?? '' }
    const ended = once(short, 'exit')
    short.kill('SIGKILL')
    await ended
  })
  after(() => other?.kill('SIGKILL'))

  journalSuite({
    async create() {
      const folder = await mkdtemp(join(tmpdir(), 'orbweaver-journal-'))
      const file = join(folder, 'journal.sqlite')
      const journal = openJournal(file)
      return {
        journal,
        reopen: async () => openJournal(file),
        async holder(kind, heartbeatMs): Promise<LeaseHolder> {
          const living = kind === 'living' ? (other?.pid ?? 0) : process.pid
          const pid = kind === 'dead' ? (gone?.pid ?? 0) : living
          return {
            host: kind === 'other-host' ? 'far-away.example.edu' : hostname(),
            pid,
            processStart: kind === 'dead' ? (gone?.start ?? '') : (processStart(pid) ?? ''),
            bootId: kind === 'other-host' ? 'another boot' : bootId(),
            sinceMs: 0,
            heartbeatMs,
            purpose: 'run',
          }
        },
        async dispose() {
          journal.close()
          await rm(folder, { recursive: true, force: true })
        },
      }
    },
  })
})
