import { expect } from 'chai'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FolderStore } from '@orbweaver/adapter-local'
import { eachOf } from '#src/store/content.js'
import { CASES, seen, type CrashCase, type Seen } from './crash-cases.js'
import { PDF, collect, makeLab, memorySource, type Lab } from './helpers.js'

const AT_ONCE = 3
const CHILD = fileURLToPath(new URL('./crash-child.js', import.meta.url))

/** @returns whether it was killed before it was done */
async function killedAt(archive: string, name: string, step: number): Promise<boolean> {
  const child = spawn(process.execPath, [CHILD, archive, name, String(step)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  if (signal === 'SIGKILL') return true
  expect(code).to.equal(0)
  return false
}

const canonical = (state: Seen): string =>
  typeof state === 'string' ? state : JSON.stringify(Object.entries(state).sort())

describe('folder archive after a crash', function () {
  this.timeout(60_000)
  const labs: Lab[] = []
  const newLab = async (): Promise<Lab> => {
    const lab = await makeLab()
    labs.push(lab)
    return lab
  }
  afterEach(async () => {
    for (const lab of labs.splice(0)) await lab.dispose()
  })

  /** Whole: everything listed is there with its checksum, nothing else is, and nothing is left over. */
  async function expectWhole(store: FolderStore, uploadsMayBeLeft: boolean): Promise<void> {
    expect(await collect(store.check({ deep: true }))).to.deep.equal([])
    const left = readdirSync(join(store.root, '.staging'))
    expect(uploadsMayBeLeft ? left.filter((name) => !name.startsWith('up-')) : left).to.deep.equal([])
  }

  async function countSteps(each: CrashCase): Promise<number> {
    const lab = await newLab()
    await each.prepare(await lab.open())
    let steps = 0
    await each.run(await lab.open({ onStep: () => (steps += 1) }))
    return steps
  }

  for (const [name, each] of Object.entries(CASES) as [string, CrashCase][]) {
    it(`${name}: killed at any step, the old or the new state is there, and a repeat gives the new one`, async () => {
      const states: string[] = []
      const steps = Array.from({ length: await countSteps(each) }, (_, index) => index + 1)
      await eachOf(steps, AT_ONCE, async (step) => {
        const lab = await newLab()
        const first = await lab.open()
        await each.prepare(first)
        expect(await killedAt(lab.archive, name, step)).to.equal(true)
        // A process that has been there all the time sees a whole state at once, before anybody repaired anything.
        const state = canonical(await seen(first))
        expect(state, `step ${step}`).to.be.oneOf([canonical(each.before), canonical(each.after)])
        const reopened = await lab.open()
        expect(canonical(await seen(reopened)), `step ${step}, opened again`).to.equal(state)
        await expectWhole(reopened, true)
        await each.run(reopened)
        expect(await seen(reopened), `step ${step}, repeated`).to.deep.equal(each.after)
        await expectWhole(reopened, false)
        states.push(state)
      })
      // Both sides of the change were hit.
      expect(states).to.include(canonical(each.before))
      expect(states).to.include(canonical(each.after))
    })
  }

  it('goes on in a process that was there all the time, and takes nothing that is still needed for more', async () => {
    const each = CASES['replacing upload']
    const more = { ...each.after, more: 'more' }
    for (const step of [1, 2, 4]) {
      const lab = await newLab()
      const store = await lab.open()
      await each.prepare(store)
      expect(await killedAt(lab.archive, 'replacing upload', step)).to.equal(true)
      await store.upload(PDF, memorySource(more))
      expect(await seen(store)).to.deep.equal(more)
      await expectWhole(store, true)
    }
  })
})
