import { expect } from 'chai'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { setImmediate, setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { SubjectNode } from '@orbweaver/core'
import type { FolderStore } from '@orbweaver/adapter-local'
import { SESSION, addSession, collect, contentOf, makeLab, type Lab } from './helpers.js'

const CHILD = fileURLToPath(new URL('./worker-child.js', import.meta.url))
const SUBJECTS = ['S0', 'S1', 'S2']
const LABELS = Array.from({ length: 10 }, (_, index) => `A${index}`)

interface Report {
  readonly created: readonly string[]
  readonly counted: Readonly<Record<string, number>>
}

function work(archive: string, name: string, rounds: number): ChildProcess {
  return spawn(process.execPath, [CHILD, archive, name, String(rounds)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function report(child: ChildProcess): Promise<Report> {
  if (child.stdout === null || child.stderr === null) throw new Error('no pipes')
  const [out, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit') as Promise<[number | null]>,
  ])
  expect(errors).to.equal('')
  expect(code).to.equal(0)
  return JSON.parse(out) as Report
}

describe('folder archive with several processes', function () {
  this.timeout(60_000)
  let lab: Lab
  let store: FolderStore
  beforeEach(async () => {
    lab = await makeLab()
    store = await lab.open()
    for (const subject of SUBJECTS) await addSession(store, { ...SESSION, subject })
  })
  afterEach(() => lab.dispose())

  /** Every resource holds the whole of one upload, never a mixture. */
  async function expectWholeUploads(): Promise<void> {
    for (const subject of (await tree(store)).values()) {
      for (const assessor of subject.sessions.flatMap((session) => session.assessors)) {
        if (assessor.resources.length === 0) continue
        const ref = { ...SESSION, subject: subject.label, assessor: assessor.label }
        const files = await contentOf(store, { node: ref, resource: 'PDF' })
        expect(Object.keys(files)).to.deep.equal(['a', 'b', 'c/d'])
        const authors = new Set(Object.entries(files).map(([path, content]) => content.slice(path.length)))
        expect(authors.size, JSON.stringify(files)).to.equal(1)
      }
    }
    expect(await collect(store.check({ deep: true }))).to.deep.equal([])
  }

  it('makes each assessor once, loses no change and mixes no upload; the change feed misses nothing', async () => {
    const rounds = 30 // every label on every subject
    const children = ['w', 'x', 'y', 'z'].map((name) => work(lab.archive, name, rounds))
    // A reader that only ever looks at what the feed names ends up with the whole truth.
    const known = await tree(store)
    let cursor = (await store.changedSince('P', undefined)).cursor
    const catchUp = async (): Promise<void> => {
      const changes = await store.changedSince('P', cursor)
      cursor = changes.cursor
      if (changes.subjects === 'all') throw new Error('the feed lost its place')
      for (const [label, subject] of await tree(store, changes.subjects)) known.set(label, subject)
    }
    let running = true
    const all = Promise.all(children.map(report)).finally(() => (running = false))
    while (running) {
      await catchUp()
      await setImmediate()
    }
    const reports = await all
    await catchUp()

    expect(known).to.deep.equal(await tree(store))
    const created = reports.flatMap((each) => each.created)
    expect([...created].sort()).to.deep.equal([...LABELS, ...LABELS, ...LABELS].sort())
    for (const label of LABELS) {
      const counted = reports.reduce((sum, each) => sum + (each.counted[label] ?? 0), 0)
      let recorded = 0
      for (const subject of SUBJECTS) {
        const ref = { ...SESSION, subject, assessor: label }
        recorded += Number((await store.readAssessor(ref)).record?.params['n'])
      }
      expect(recorded, label).to.equal(counted)
    }
    await expectWholeUploads()
  })

  it('stays whole while processes are killed at random', async () => {
    let seed = 20240101
    const random = (): number => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648
    for (let round = 0; round < 3; round += 1) {
      const children = ['w', 'x', 'y'].map((name) => work(lab.archive, `${name}${round}`, 100_000))
      // They are at work: at least so many changes have come in.
      const { db } = await store.opened()
      const wanted = db.currentSeq() + Math.ceil(random() * 60)
      while (db.currentSeq() < wanted) await delay(1)
      const ends = children.map((child) => once(child, 'exit'))
      for (const child of children) child.kill('SIGKILL')
      await Promise.all(ends)
      await store.close()
      store = await lab.open()
      await expectWholeUploads()
    }
  })
})

async function tree(store: FolderStore, subjects?: readonly string[]): Promise<Map<string, SubjectNode>> {
  const snapshot = await store.snapshot('P', subjects === undefined ? {} : { subjects })
  return new Map((await collect(snapshot.subjects)).map((subject) => [subject.label, subject]))
}
