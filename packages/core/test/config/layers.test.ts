import { expect } from 'chai'
import fc from 'fast-check'
import { LayeredDocument } from '#src/config/layers.js'
import { placed } from '#src/config/yaml-document.js'

const layer = (name: string, data: unknown) => ({
  data,
  locate: (problem: Parameters<typeof placed>[0]) => placed(problem, name),
  textAt: () => name,
})
const laid = (...data: unknown[]) =>
  new LayeredDocument(data.map((each, index) => layer(String(index), each)))

describe('layers', () => {
  it('merge maps, replace lists and values, remove by null', () => {
    const document = laid(
      {
        limits: { jobs: 1 },
        list: [3],
        gone: null,
        deep: { a: { x: null, y: 2 } },
        added: { p: 1, q: null },
      },
      { limits: { jobs: 5, transfers: 2 }, list: [1, 2], gone: 'x', deep: { a: { x: 1 }, b: 1 }, kept: true },
    )
    expect(document.data).to.deep.equal({
      limits: { jobs: 1, transfers: 2 },
      list: [3],
      deep: { a: { y: 2 }, b: 1 },
      kept: true,
      added: { p: 1 },
    })
  })

  it('replace a map that names another adapter as a whole, and merge one that names the same or none', () => {
    const base = { cluster: { use: 'slurm', account: 'x', transport: { use: 'ssh', host: 'h' } } }
    expect(laid({ cluster: { use: 'local' } }, base).data).to.deep.equal({ cluster: { use: 'local' } })
    expect(laid({ cluster: { use: 'slurm', queue: 'q' } }, base).data).to.deep.equal({
      cluster: { use: 'slurm', account: 'x', queue: 'q', transport: { use: 'ssh', host: 'h' } },
    })
    expect(laid({ cluster: { transport: { host: 'other' } } }, base).data).to.deep.equal({
      cluster: { use: 'slurm', account: 'x', transport: { use: 'ssh', host: 'other' } },
    })
  })

  it('know from which layer a value comes', () => {
    const document = laid(
      { limits: { jobs: 1 } },
      { limits: { transfers: 2 }, list: [1], store: { use: 'b' } },
      { limits: { transfers: 3, more: 4 }, list: [1, 2], site: 's', store: { use: 'a', path: 'p' } },
    )
    const from = (...path: (string | number)[]) => document.locate({ path, message: '' }).file
    expect(from('limits', 'jobs')).to.equal('0')
    expect(from('limits', 'transfers')).to.equal('1')
    expect(from('limits', 'more')).to.equal('2')
    expect(from('site')).to.equal('2')
    expect(from('list', 0)).to.equal('1')
    expect(from('list', 1), 'hidden by the shorter list').to.equal('1')
    expect(from('store', 'path'), 'hidden by the other adapter').to.equal('1')
    expect(from('nowhere')).to.equal('2')
    expect(document.textAt(['limits', 'jobs'])).to.equal('0')
  })

  it('a single layer is itself, and an empty one changes nothing', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (data) => {
        expect(laid(data).data).to.deep.equal(data)
        expect(laid({}, data).data).to.deep.equal(data)
      }),
    )
  })
})
