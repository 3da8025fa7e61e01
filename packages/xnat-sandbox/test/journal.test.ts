import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Journal } from '#src/state/journal.js'
import type { Change } from '#src/state/records.js'

describe('the journal', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'orbweaver-journal-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const setting = (number: number): Change => ({ o: 'setting', n: String(number), v: 'x' })

  it('goes through all that is alive now and then only, when all of it is needed', async () => {
    const alive: Change[] = []
    let looks = 0
    const journal = await Journal.open(
      join(folder, 'journal.jsonl'),
      () => undefined,
      () => {
        looks += 1
        return alive
      },
    )
    for (let batch = 0; batch < 1000; batch += 1) {
      for (let line = 0; line < 100; line += 1) {
        const change = setting(alive.length)
        alive.push(change)
        journal.append(change)
      }
      await journal.flush()
    }
    await journal.close()
    expect(looks).to.be.lessThan(10)
    expect((await readFile(join(folder, 'journal.jsonl'), 'utf8')).split('\n')).to.have.length(100_001)
  })

  it('gets short again when most of it is about what is no more', async () => {
    const file = join(folder, 'journal.jsonl')
    const journal = await Journal.open(
      file,
      () => undefined,
      () => [setting(1)],
    )
    for (let batch = 0; batch < 250; batch += 1) {
      journal.append(...Array.from({ length: 100 }, () => setting(1)))
      await journal.flush()
    }
    await journal.close()
    expect((await readFile(file, 'utf8')).split('\n').length).to.be.lessThan(10_000)
  })
})
