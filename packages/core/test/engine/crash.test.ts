import { expect } from 'chai'
import fc from 'fast-check'
import { createEngine, type EngineDeps } from '@orbweaver/core'
import { seedMany } from '@orbweaver/core/testing'
import { Bench, processor } from './bench.js'

/** The process is gone: no port answers any more. */
class Crash extends Error {}

/** Every port of an engine that dies after a number of calls. */
function dying(deps: EngineDeps, calls: number): EngineDeps {
  let left = calls
  const wrap = <T extends object>(port: T): T =>
    new Proxy(port, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target)
        // The process's own memory (maps of a fake) and plain data live on until then.
        if (typeof value === 'object' && value !== null && (key === 'files' || key === 'runner'))
          return wrap(value)
        if (typeof value !== 'function') return value
        return (...args: unknown[]): unknown => {
          if (left-- <= 0) throw new Crash('killed')
          return Reflect.apply(value, target, args)
        }
      },
    })
  const { store, backend, transport, journal, clock } = deps
  return {
    ...deps,
    store: wrap(store),
    backend: wrap(backend),
    transport: wrap(transport),
    journal: wrap(journal),
    clock: wrap(clock),
  }
}

describe('an engine that is killed', () => {
  it('at any call, again and again, runs every task exactly once in the end', async function () {
    this.timeout(60_000)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 160 }), { maxLength: 12 }), async (lives) => {
        const second = processor('second', {
          inputs: { first: { assessor: { type: 't1' }, resource: 'OUT' } },
          command: () => ['tool'],
        })
        const bench = new Bench({
          processors: [processor('t1'), second],
          seed: [seedMany('P', 3)],
          script: () => ({ runsForMs: 25_000 }),
          settings: { limits: { jobs: 4, transfers: 2 } },
        })
        try {
          for (const calls of lives) {
            await createEngine(dying(bench.deps(), calls))
              .run({})
              .catch((error: unknown) => {
                if (!(error instanceof Crash)) throw error
              })
            bench.freeLeases()
          }
          const summary = await bench.engine().run({})
          expect(summary).to.include({ open: 0, failedTasks: 0 })
          expect(await bench.stateCounts()).to.deep.equal({ complete: 6 })
          expect(bench.executions()).to.deep.equal([1, 1, 1, 1, 1, 1])
          const ok: boolean[] = []
          await bench.engine().verify({}, { deep: true, onResult: (result) => ok.push(result.ok) })
          expect(ok).to.deep.equal([true, true, true, true, true, true])
        } finally {
          bench.dispose()
        }
      }),
      { numRuns: 150 },
    )
  })

  it('and whose journal is lost as well, still runs no job twice', async function () {
    this.timeout(60_000)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 200 }), async (calls) => {
        const bench = new Bench({
          processors: [processor('t1')],
          seed: [seedMany('P', 3)],
          script: () => ({ runsForMs: 25_000 }),
        })
        try {
          await createEngine(dying(bench.deps(), calls))
            .run({})
            .catch((error: unknown) => {
              if (!(error instanceof Crash)) throw error
            })
          bench.loseJournal()
          await bench.engine().run({})
          expect(await bench.stateCounts()).to.deep.equal({ complete: 3 })
          expect(bench.executions()).to.deep.equal([1, 1, 1])
        } finally {
          bench.dispose()
        }
      }),
      { numRuns: 120 },
    )
  })
})
