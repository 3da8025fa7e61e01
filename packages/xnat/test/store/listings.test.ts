import { SharedListings } from '#src/store/listings.js'
import type { XnatFile } from '#src/client/listed.js'
import { expect } from 'chai'

const node = { project: 'P', subject: 'S', session: 'E', assessor: 'A' }
const file = (resource: string): XnatFile => ({
  path: 'a.txt',
  bytes: 1,
  format: '',
  content: '',
  tags: '',
  uri: `/out/resources/1/files/a.txt`,
  resource,
})

describe('listings that are shared', () => {
  let asked: string[][]
  let listings: SharedListings
  const list = (labels: readonly string[]): Promise<ReadonlyMap<string, readonly XnatFile[]>> => {
    asked.push([...labels])
    return Promise.resolve(new Map(labels.map((label) => [label, [file(label)]])))
  }

  beforeEach(() => {
    asked = []
    listings = new SharedListings()
  })

  it('answer what is asked in the same moment with one request, and what is asked later with another', async () => {
    const [one, two] = await Promise.all([listings.list(node, 'X', list), listings.list(node, 'Y', list)])
    expect([one[0]?.resource, two[0]?.resource]).to.deep.equal(['X', 'Y'])
    expect(asked).to.deep.equal([['X', 'Y']])
    await listings.list(node, 'X', list)
    expect(asked).to.deep.equal([['X', 'Y'], ['X']])
  })

  it('keep nodes apart', async () => {
    await Promise.all([listings.list(node, 'X', list), listings.list({ ...node, assessor: 'B' }, 'X', list)])
    expect(asked).to.deep.equal([['X'], ['X']])
  })

  it('wait for uploads that are under way, and begin after the last of them', async () => {
    const first = listings.sending(node, list)
    const second = listings.sending(node, list)
    first()
    first()
    const look = listings.list(node, 'X', list)
    await new Promise((done) => setImmediate(done))
    expect(asked).to.deep.equal([])
    second()
    await look
    expect(asked).to.deep.equal([['X']])
  })

  it('tell everybody who asked of a failure, and ask anew the next time', async () => {
    const failing = (): Promise<never> => Promise.reject(new Error('away'))
    const results = await Promise.allSettled([
      listings.list(node, 'X', failing),
      listings.list(node, 'Y', failing),
    ])
    expect(results.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected'])
    await listings.list(node, 'X', list)
    expect(asked).to.deep.equal([['X']])
  })
})
