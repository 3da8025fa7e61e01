import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { expect } from 'chai'
import fc from 'fast-check'
import { RowSpool } from '#src/store/row-spool.js'

describe('rows of a snapshot', () => {
  it('come back by group in their order, from memory or from files alike', async () => {
    const rows = fc.array(fc.tuple(fc.nat(4), fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 4 })))
    await fc.assert(
      fc.asyncProperty(rows, fc.integer({ min: 0, max: 20 }), async (all, mostInMemory) => {
        const spool = new RowSpool(mostInMemory)
        for (const [group, row] of all) await spool.add(group, row)
        for (let group = 0; group < 5; group += 1) {
          const expected = all.filter(([of]) => of === group).map(([, row]) => row)
          expect(await spool.take(group)).to.deep.equal(expected)
        }
        await spool.close()
      }),
      { numRuns: 40 },
    )
  })

  it('leave no folder behind', async () => {
    const mine = async (): Promise<number> =>
      (await readdir(tmpdir())).filter((name) => name.startsWith(`orbweaver-xnat-rows-${process.pid}-`))
        .length
    const spool = new RowSpool(1)
    for (let row = 0; row < 5; row += 1) await spool.add(0, [String(row)])
    expect(await mine()).to.equal(1)
    await spool.close()
    expect(await mine()).to.equal(0)
  })
})
